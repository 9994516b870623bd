//! Ids that follow from natural keys (UUID version 5, RFC 9562), not from the event at hand: a
//! second event for the same payment yields the same rows and the same output events.

use uuid::Uuid;

/// The namespace of all ids that the pipeline derives.
const NAMESPACE: Uuid = Uuid::from_u128(0x6b0d_1a9c_8a3e_5c61_9d5b_4c61_7261_7661);

/// The id of a payment's purchase.
#[must_use]
pub fn purchase_id(payment_id: Uuid) -> Uuid {
    derive("purchase", &payment_id.to_string())
}

/// The id of a purchase's trainer allocation.
#[must_use]
pub fn allocation_id(purchase_id: Uuid) -> Uuid {
    derive("allocation", &purchase_id.to_string())
}

/// The id of session `seq` (from 1) of an allocation.
#[must_use]
pub fn session_id(allocation_id: Uuid, seq: i32) -> Uuid {
    derive("session", &format!("{allocation_id}/{seq}"))
}

/// The id of the one event of `event_type` about `natural_key` (payment, purchase or allocation).
#[must_use]
pub fn event_id(event_type: &str, natural_key: Uuid) -> Uuid {
    derive("event", &format!("{event_type}/{natural_key}"))
}

fn derive(kind: &str, key: &str) -> Uuid {
    Uuid::new_v5(&NAMESPACE, format!("{kind}/{key}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ids live in databases and topics: they must never change between releases.
    #[test]
    fn ids_are_stable() {
        let one = Uuid::from_u128(1);
        for (id, literal) in [
            (purchase_id(one), "9d38ac35-6345-5267-b5e5-9eb2d6526a45"),
            (allocation_id(one), "a92db8da-a5ea-509f-a40f-5f74904914fc"),
            (session_id(one, 7), "e577dce2-de56-59d7-a769-562741091c38"),
            (
                event_id("PURCHASE_CREATED", one),
                "60786782-7424-526a-9c02-e418475beb2d",
            ),
        ] {
            assert_eq!(id.to_string(), literal);
        }
    }

    #[test]
    fn different_things_have_different_ids() {
        let one = Uuid::from_u128(1);
        let ids = [
            purchase_id(one),
            purchase_id(Uuid::from_u128(2)),
            allocation_id(one),
            session_id(one, 1),
            session_id(one, 2),
            event_id("PURCHASE_CREATED", one),
            event_id("TRAINER_ALLOCATED", one),
        ];
        let distinct: std::collections::HashSet<Uuid> = ids.into_iter().collect();
        assert_eq!(distinct.len(), ids.len());
    }
}
