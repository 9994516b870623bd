//! The payload of each event type. Unknown fields are ignored: another team may add some.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::text::quoted;

/// A rule that a payload violates, with the field's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// The amount is not positive.
    #[error("amountCents must be above 0, is {0}")]
    Amount(i64),
    /// The currency is not written as in ISO 4217.
    #[error("currency must be three capital letters (ISO 4217), is {}", quoted(.0))]
    Currency(String),
}

/// A payload defines its event's type, topic and natural key, and the rules that its shape alone
/// cannot express.
pub trait Payload: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// `eventType` on the wire.
    const EVENT_TYPE: &'static str;
    /// The topic of these events.
    const TOPIC: &'static str;

    /// The id of the entity that the event is about; event ids are derived from it.
    fn natural_key(&self) -> Uuid;

    /// Checks the rules that the shape alone cannot express.
    ///
    /// # Errors
    /// The rule that the payload violates.
    fn validate(&self) -> Result<(), Violation> {
        Ok(())
    }
}

/// A payment was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PurchaseConfirmed {
    /// The payment; also the correlation id of everything that follows from it.
    pub payment_id: Uuid,
    /// The student.
    pub student_id: Uuid,
    /// The purchased course.
    pub course_id: Uuid,
    /// Above 0, in hundredths of the currency's unit.
    pub amount_cents: i64,
    /// ISO 4217, three capital letters.
    pub currency: String,
}

impl Payload for PurchaseConfirmed {
    const EVENT_TYPE: &'static str = "PURCHASE_CONFIRMED";
    const TOPIC: &'static str = crate::names::PURCHASE_CONFIRMED_TOPIC;

    fn natural_key(&self) -> Uuid {
        self.payment_id
    }

    fn validate(&self) -> Result<(), Violation> {
        validate_amount(self.amount_cents, &self.currency)
    }
}

/// Checks an amount, both in events and in the payment service's requests.
///
/// # Errors
/// The rule that is violated.
pub fn validate_amount(amount_cents: i64, currency: &str) -> Result<(), Violation> {
    if amount_cents <= 0 {
        return Err(Violation::Amount(amount_cents));
    }
    if currency.len() != 3 || !currency.bytes().all(|b| b.is_ascii_uppercase()) {
        return Err(Violation::Currency(currency.to_owned()));
    }
    Ok(())
}

/// A purchase was written to the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PurchaseCreated {
    /// The row in `student_course_purchases`.
    pub purchase_id: Uuid,
    /// The payment behind it.
    pub payment_id: Uuid,
    /// The student.
    pub student_id: Uuid,
    /// The purchased course.
    pub course_id: Uuid,
}

impl Payload for PurchaseCreated {
    const EVENT_TYPE: &'static str = "PURCHASE_CREATED";
    const TOPIC: &'static str = crate::names::PURCHASE_CREATED_TOPIC;

    fn natural_key(&self) -> Uuid {
        self.purchase_id
    }
}

/// A trainer was allocated to a purchase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrainerAllocated {
    /// The row in `trainer_allocations`.
    pub allocation_id: Uuid,
    /// The purchase that it serves.
    pub purchase_id: Uuid,
    /// The allocated trainer.
    pub trainer_id: Uuid,
    /// The student.
    pub student_id: Uuid,
    /// The purchased course.
    pub course_id: Uuid,
}

impl Payload for TrainerAllocated {
    const EVENT_TYPE: &'static str = "TRAINER_ALLOCATED";
    const TOPIC: &'static str = crate::names::TRAINER_ALLOCATED_TOPIC;

    fn natural_key(&self) -> Uuid {
        self.allocation_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_above_zero_in_three_capital_letters() {
        assert_eq!(validate_amount(1, "EUR"), Ok(()));
        assert_eq!(validate_amount(i64::MAX, "JPY"), Ok(()));
        for (amount, currency, field) in [
            (0, "EUR", "amountCents"),
            (-4900, "EUR", "amountCents"),
            (4900, "", "currency"),
            (4900, "eur", "currency"),
            (4900, "EURO", "currency"),
            (4900, "€€€", "currency"),
        ] {
            let broken = validate_amount(amount, currency).expect_err("breaks a rule");
            let broken = broken.to_string();
            assert!(broken.starts_with(field), "{broken}");
        }
    }
}
