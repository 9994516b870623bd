//! The object around every payload.

use std::fmt;

use chrono::{DateTime, Datelike, Utc};
use serde::{Deserialize, Deserializer, Serialize, de};
use uuid::Uuid;

use crate::{ids, payloads::Payload};

/// The only version of the envelope and its payloads so far.
pub const VERSION: u32 = 1;

/// An event: `{eventId, eventType, version, correlationId, occurredAt, payload}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event<P> {
    /// Unique per event; a redelivery has the same id.
    pub event_id: Uuid,
    /// The event's type, [`Payload::EVENT_TYPE`].
    pub event_type: String,
    /// The version of the format, [`VERSION`].
    pub version: u32,
    /// The id of the payment that caused the event; also the Kafka key.
    pub correlation_id: Uuid,
    /// When the fact occurred: RFC 3339, from 1970 to 9999 in UTC.
    #[serde(deserialize_with = "date")]
    pub occurred_at: DateTime<Utc>,
    /// The fact, by type.
    pub payload: P,
}

impl<P: Payload> Event<P> {
    /// The event of this type about the payload's natural key: the same key has the same event id.
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
        // Strings, integers, UUIDs and dates under string keys: serde_json can encode all of them.
        serde_json::to_string(self).unwrap_or_else(|e| unreachable!("an event is plain JSON: {e}"))
    }
}

/// Parses an RFC 3339 date and checks the year: an unset clock or a wrong time unit would plan sessions
/// in implausible years.
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

    /// The exact bytes on the wire: other teams read them.
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

    /// A repetition of the same fact has the same event id, even much later.
    #[test]
    fn an_event_about_the_same_thing_has_the_same_id() {
        let first = created();
        let again = Event::about(first.payload.clone(), first.correlation_id, Utc::now());
        assert_eq!(first.event_id, again.event_id);
    }
}
