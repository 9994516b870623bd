//! The object around every payload.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
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
    /// When what it tells of happened.
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

/// Why a message is not an event of the wanted type. Never transient: the same bytes fail again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The message has no value (a tombstone).
    #[error("the message has no value: a tombstone means nothing on this topic")]
    Empty,
    /// Bytes that are not JSON, or JSON that is not an object.
    #[error("not a JSON object: {0}")]
    NotJson(String),
    /// A field of the envelope is missing or has the wrong type.
    #[error("not a valid event: {0}")]
    BadEnvelope(String),
    /// An event that this consumer does not know.
    #[error("unknown eventType {found:?}, expected {expected:?}")]
    UnknownType {
        /// What the message said.
        found: String,
        /// What the consumer takes.
        expected: &'static str,
    },
    /// A version later than this code.
    #[error("version {0} is not supported, only version 1 is: deploy a newer worker, then replay")]
    UnknownVersion(u64),
    /// The envelope is right, the payload is not.
    #[error("not a valid {event_type} payload: {reason}")]
    BadPayload {
        /// Which type it claimed to be.
        event_type: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl DecodeError {
    /// The stable word for `dlq-error-kind`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::NotJson(_) => "not-json",
            Self::BadEnvelope(_) => "bad-envelope",
            Self::UnknownType { .. } => "unknown-event-type",
            Self::UnknownVersion(_) => "unknown-version",
            Self::BadPayload { .. } => "bad-payload",
        }
    }
}

/// Reads one message's value.
///
/// The type and version are looked at before the rest, so that a newer schema is reported as
/// such and not as whatever field it happens to lack.
///
/// # Errors
/// See [`DecodeError`].
pub fn decode<P: Payload>(value: Option<&[u8]>) -> Result<Event<P>, DecodeError> {
    let bytes = value.ok_or(DecodeError::Empty)?;
    let json: Value =
        serde_json::from_slice(bytes).map_err(|e| DecodeError::NotJson(e.to_string()))?;
    let Value::Object(fields) = &json else {
        return Err(DecodeError::NotJson(format!(
            "the value is {}",
            json_type(&json)
        )));
    };
    match fields.get("eventType") {
        Some(Value::String(found)) if found == P::EVENT_TYPE => {}
        Some(Value::String(found)) => {
            return Err(DecodeError::UnknownType {
                found: found.clone(),
                expected: P::EVENT_TYPE,
            });
        }
        Some(other) => {
            let found = json_type(other);
            return Err(DecodeError::BadEnvelope(format!(
                "eventType must be a string, is {found}"
            )));
        }
        None => {
            return Err(DecodeError::BadEnvelope(
                "missing field `eventType`".to_owned(),
            ));
        }
    }
    if let Some(version) = fields.get("version").and_then(Value::as_u64)
        && version != u64::from(VERSION)
    {
        return Err(DecodeError::UnknownVersion(version));
    }
    let envelope: Event<Value> =
        serde_json::from_value(json).map_err(|e| DecodeError::BadEnvelope(e.to_string()))?;
    let bad_payload = |reason: String| DecodeError::BadPayload {
        event_type: P::EVENT_TYPE,
        reason,
    };
    // serde reads a struct from an array as well; the wire format has objects only.
    if !envelope.payload.is_object() {
        return Err(bad_payload(format!(
            "it is {}, not an object",
            json_type(&envelope.payload)
        )));
    }
    let payload: P =
        serde_json::from_value(envelope.payload).map_err(|e| bad_payload(e.to_string()))?;
    payload.validate().map_err(bad_payload)?;
    Ok(Event {
        event_id: envelope.event_id,
        event_type: envelope.event_type,
        version: envelope.version,
        correlation_id: envelope.correlation_id,
        occurred_at: envelope.occurred_at,
        payload,
    })
}

fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payloads::{PurchaseConfirmed, PurchaseCreated};

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

    #[test]
    fn refusals_have_a_stable_kind_and_name_the_fault() {
        let good = created().encode();
        let newer = good
            .replace("\"version\":1", "\"version\":2")
            .replace("purchaseId", "orderId");
        let cases = [
            (None, "empty", "tombstone"),
            (Some(""), "not-json", "EOF"),
            (Some("{\"eventType\":"), "not-json", "EOF"),
            (Some("[]"), "not-json", "an array"),
            (Some("{}"), "bad-envelope", "eventType"),
            (
                Some(&good.replace("eventId", "id")),
                "bad-envelope",
                "eventId",
            ),
            (
                Some(&good.replace("PURCHASE_CREATED", "REFUNDED")),
                "unknown-event-type",
                "REFUNDED",
            ),
            (Some(&newer), "unknown-version", "version 2"),
            (
                Some(&good.replace("studentId", "pupilId")),
                "bad-payload",
                "studentId",
            ),
        ];
        for (bytes, kind, names) in cases {
            let refusal =
                decode::<PurchaseCreated>(bytes.map(str::as_bytes)).expect_err("not a valid event");
            assert_eq!(refusal.kind(), kind, "{bytes:?}");
            assert!(refusal.to_string().contains(names), "{refusal}");
        }
    }

    #[test]
    fn bytes_that_are_not_text_are_refused() {
        let refusal = decode::<PurchaseCreated>(Some(&[0xff, 0xfe, 0])).expect_err("not JSON");
        assert_eq!(refusal.kind(), "not-json");
    }

    /// The payload's own rules count as well as its shape.
    #[test]
    fn a_payload_that_breaks_a_rule_is_refused() {
        let payload = PurchaseConfirmed {
            payment_id: Uuid::from_u128(1),
            student_id: Uuid::from_u128(2),
            course_id: Uuid::from_u128(3),
            amount_cents: 0,
            currency: "EUR".to_owned(),
        };
        let event = Event::about(payload, Uuid::from_u128(1), Utc::now());
        let refusal = decode::<PurchaseConfirmed>(Some(event.encode().as_bytes()))
            .expect_err("an amount of 0");
        assert_eq!(refusal.kind(), "bad-payload");
        assert!(refusal.to_string().contains("amountCents"), "{refusal}");
    }
}
