//! The object around every payload.

use std::fmt;

use chrono::{DateTime, Datelike, Utc};
use serde::{Deserialize, Deserializer, Serialize, de};
use uuid::Uuid;

use crate::{ids, payloads::Payload};

/// The one version of the envelope and its payloads that there is so far.
pub const VERSION: u32 = 1;

/// An event: `{eventId, eventType, version, correlationId, occurredAt, payload}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event<P> {
    /// Unique to the event; a redelivery has the same.
    pub event_id: Uuid,
    /// [`Payload::EVENT_TYPE`].
    pub event_type: String,
    /// [`VERSION`].
    pub version: u32,
    /// The payment that all of it began with; the Kafka key.
    pub correlation_id: Uuid,
    /// When what it tells of happened: RFC 3339, from 1970 to 9999 in UTC.
    #[serde(deserialize_with = "date")]
    pub occurred_at: DateTime<Utc>,
    /// What happened.
    pub payload: P,
}

impl<P: Payload> Event<P> {
    /// The one event of its type about the payload's natural key: same key, same event id.
    pub fn about(payload: P, correlation_id: Uuid, occurred_at: DateTime<Utc>) -> Self {
        Self {
            event_id: ids::event_id(P::EVENT_TYPE, payload.natural_key()),
            event_type: P::EVENT_TYPE.to_owned(),
            version: VERSION,
            correlation_id,
            occurred_at,
            payload,
        }
    }

    /// The event as JSON text.
    #[must_use]
    pub fn encode(&self) -> String {
        // Strings, integers, UUIDs and dates under string keys: nothing that serde_json refuses.
        serde_json::to_string(self).unwrap_or_else(|e| unreachable!("an event is plain JSON: {e}"))
    }
}

/// A date as RFC 3339 writes it, and of a year in which it can be meant: a clock that was never set
/// or a unit taken for another would plan lessons where no calendar shows them.
fn date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime<Utc>, D::Error> {
    struct Date;

    impl de::Visitor<'_> for Date {
        type Value = DateTime<Utc>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an RFC 3339 date and time")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<DateTime<Utc>, E> {
            let date = DateTime::parse_from_rfc3339(text)
                .map_err(|e| E::custom(format_args!("not an RFC 3339 date and time: {e}")))?
                .to_utc();
            if !(1970..=9999).contains(&date.year()) {
                let year = date.year();
                return Err(E::custom(format_args!(
                    "the year {year} is not from 1970 to 9999"
                )));
            }
            Ok(date)
        }
    }

    deserializer.deserialize_str(Date)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{decode, payloads::PurchaseCreated};

    fn created() -> Event<PurchaseCreated> {
        let payload = PurchaseCreated {
            purchase_id: Uuid::from_u128(1),
            payment_id: Uuid::from_u128(2),
            student_id: Uuid::from_u128(3),
            course_id: Uuid::from_u128(4),
        };
        let occurred_at = "2026-01-02T03:04:05.678Z".parse().expect("a date");
        Event::about(payload, Uuid::from_u128(2), occurred_at)
    }

    /// The bytes on the wire, to the letter: other teams read them.
    #[test]
    fn encodes_as_the_wire_format_says() {
        assert_eq!(
            created().encode(),
            format!(
                "{{\"eventId\":\"{}\",\"eventType\":\"PURCHASE_CREATED\",\"version\":1,\
                 \"correlationId\":\"00000000-0000-0000-0000-000000000002\",\
                 \"occurredAt\":\"2026-01-02T03:04:05.678Z\",\"payload\":{{\
                 \"purchaseId\":\"00000000-0000-0000-0000-000000000001\",\
                 \"paymentId\":\"00000000-0000-0000-0000-000000000002\",\
                 \"studentId\":\"00000000-0000-0000-0000-000000000003\",\
                 \"courseId\":\"00000000-0000-0000-0000-000000000004\"}}}}",
                ids::event_id("PURCHASE_CREATED", Uuid::from_u128(1))
            )
        );
    }

    #[test]
    fn decodes_what_it_encoded() {
        let event = created();
        let read = decode::<PurchaseCreated>(Some(event.encode().as_bytes()));
        assert_eq!(read, Ok(event));
    }

    /// The same fact told twice is the same event, however long after.
    #[test]
    fn an_event_about_the_same_thing_has_the_same_id() {
        let first = created();
        let again = Event::about(first.payload.clone(), first.correlation_id, Utc::now());
        assert_eq!(first.event_id, again.event_id);
    }
}
