//! Decodes a message's bytes into an event, or gives the reason why they are not one.
//!
//! A valid event is read in one pass that allocates only what the event keeps. Only an invalid one is
//! read again, to give the most specific reason: not JSON, depth, type, version or field. No pass
//! recurses with the input or builds a tree of it: ten megabytes of brackets cost neither stack nor
//! memory.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use crate::{
    envelope::{Event, VERSION},
    object::{Object, Place},
    payloads::Payload,
    text::{excerpt, quoted},
};

/// Maximum nesting of arrays and objects. The pipeline's events have 2 levels; the limits of other
/// JSON readers are 100 or more.
pub const MAX_DEPTH: usize = 64;

/// Why a message is not an event of the wanted type. Never transient: the same bytes fail again.
/// Its text is one line of at most [`MAX_TEXT`] bytes, with only short quotes of the message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The message has no value (a tombstone), or one of no bytes.
    #[error("the message has no value: {0} means nothing on this topic")]
    Empty(&'static str),
    /// Not text, so not JSON.
    #[error("not UTF-8: byte 0x{byte:02x} at position {position}")]
    NotUtf8 {
        /// The first invalid byte.
        byte: u8,
        /// Its index in the value, from 0.
        position: usize,
    },
    /// Text that is not JSON, or JSON that is not an object.
    #[error("not a JSON object: {0}")]
    NotJson(String),
    /// Deeper than [`MAX_DEPTH`]; the value is the depth.
    #[error("arrays and objects are nested {0} deep, the limit is {MAX_DEPTH}")]
    TooDeep(usize),
    /// A duplicate key in the event or its payload: it is ambiguous which value counts.
    #[error("the field {0} occurs twice")]
    DuplicateKey(String),
    /// A field of the envelope is missing or has the wrong type.
    #[error("not a valid event: {0}")]
    BadEnvelope(String),
    /// An `eventType` that this consumer does not know.
    #[error("unknown eventType {found}, expected {expected:?}")]
    UnknownType {
        /// The message's `eventType`, in quotes, cut if it is long.
        found: String,
        /// The type that the consumer expects.
        expected: &'static str,
    },
    /// A version that this code does not support; the value is the version as written.
    #[error(
        "version {0} is not supported, only version 1 is: deploy a worker that knows it, then replay"
    )]
    UnknownVersion(u64),
    /// The envelope is valid, the payload is not.
    #[error("not a valid {event_type} payload: {reason}")]
    BadPayload {
        /// The event's type.
        event_type: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

/// The longest text of a [`DecodeError`], in bytes.
pub const MAX_TEXT: usize = 512;

impl DecodeError {
    /// The stable word for `dlq-error-kind`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Empty(_) => "empty",
            Self::NotUtf8 { .. } => "not-utf8",
            Self::NotJson(_) => "not-json",
            Self::TooDeep(_) => "too-deep",
            Self::DuplicateKey(_) => "duplicate-key",
            Self::BadEnvelope(_) => "bad-envelope",
            Self::UnknownType { .. } => "unknown-event-type",
            Self::UnknownVersion(_) => "unknown-version",
            Self::BadPayload { .. } => "bad-payload",
        }
    }
}

/// Reads one message's value.
///
/// Unknown fields are ignored, whatever their value is: another team may have added some.
///
/// # Errors
/// See [`DecodeError`]. Type and version are checked first, so that a newer schema is reported as such
/// and not as a missing field.
pub fn decode<P: Payload>(value: Option<&[u8]>) -> Result<Event<P>, DecodeError> {
    let bytes = value.ok_or(DecodeError::Empty("a tombstone"))?;
    if bytes.is_empty() {
        return Err(DecodeError::Empty("an empty message"));
    }
    let text = std::str::from_utf8(bytes).map_err(|e| DecodeError::NotUtf8 {
        byte: bytes[e.valid_up_to()],
        position: e.valid_up_to(),
    })?;
    let place = Place::default();
    let event: Event<P> = read(text, &place).map_err(|error| explain::<P>(text, &place, &error))?;
    if place.has_extra() {
        check_depth(text)?;
    }
    check_type::<P>(&event.event_type)?;
    check_version(event.version.into())?;
    event
        .payload
        .validate()
        .map_err(|violation| bad_payload::<P>(violation.to_string()))?;
    Ok(event)
}

/// The whole text as one struct.
fn read<'de, T: Deserialize<'de>>(text: &'de str, place: &Place) -> Result<T, serde_json::Error> {
    let mut json = serde_json::Deserializer::from_str(text);
    let inner = &mut json;
    let value = T::deserialize(Object { inner, place })?;
    json.end()?;
    Ok(value)
}

/// The most specific reason for `error`, which occurred while reading `text`.
fn explain<P: Payload>(text: &str, place: &Place, error: &serde_json::Error) -> DecodeError {
    not_json(text)
        .and_then(|()| check_depth(text))
        .and_then(|()| other_type_or_version::<P>(text))
        .err()
        .unwrap_or_else(|| {
            let reason = in_place(place, error);
            match place.take_duplicate() {
                Some(key) => DecodeError::DuplicateKey(quoted(&key)),
                None if place.is_in("payload") => bad_payload::<P>(reason),
                None => DecodeError::BadEnvelope(reason),
            }
        })
}

fn not_json(text: &str) -> Result<(), DecodeError> {
    serde_json::from_str::<IgnoredAny>(text)
        .map_err(|error| DecodeError::NotJson(error.to_string()))?;
    let found = match text.trim_start().bytes().next() {
        Some(b'{') => return Ok(()),
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    };
    Err(DecodeError::NotJson(format!("the value is {found}")))
}

/// Counts the brackets outside strings; `text` has to be JSON.
fn check_depth(text: &str) -> Result<(), DecodeError> {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => skip_string(&mut bytes),
            _ => {}
        }
    }
    if deepest > MAX_DEPTH {
        return Err(DecodeError::TooDeep(deepest));
    }
    Ok(())
}

fn skip_string(bytes: &mut std::str::Bytes<'_>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => {
                bytes.next();
            }
            _ => {}
        }
    }
}

/// The fields that events of all types and versions have.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    event_type: Scalar,
    version: Option<Scalar>,
}

fn other_type_or_version<P: Payload>(text: &str) -> Result<(), DecodeError> {
    let place = Place::default();
    let head: Head = read(text, &place).map_err(|error| match place.take_duplicate() {
        Some(key) => DecodeError::DuplicateKey(quoted(&key)),
        None => DecodeError::BadEnvelope(in_place(&place, &error)),
    })?;
    match head.event_type {
        Scalar::Text(found) => check_type::<P>(&found)?,
        Scalar::Whole(_) | Scalar::Other => {
            let reason = "eventType must be a string".to_owned();
            return Err(DecodeError::BadEnvelope(reason));
        }
    }
    match head.version {
        Some(Scalar::Whole(version)) => check_version(version),
        _ => Ok(()),
    }
}

fn check_type<P: Payload>(found: &str) -> Result<(), DecodeError> {
    if found == P::EVENT_TYPE {
        return Ok(());
    }
    Err(DecodeError::UnknownType {
        found: quoted(found),
        expected: P::EVENT_TYPE,
    })
}

fn check_version(version: u64) -> Result<(), DecodeError> {
    if version == u64::from(VERSION) {
        return Ok(());
    }
    Err(DecodeError::UnknownVersion(version))
}

fn bad_payload<P: Payload>(reason: String) -> DecodeError {
    DecodeError::BadPayload {
        event_type: P::EVENT_TYPE,
        reason,
    }
}

/// `payload.studentId: what is wrong with it`.
fn in_place(place: &Place, error: &serde_json::Error) -> String {
    let path = place.path();
    let reason = plain(&error.to_string());
    if path.is_empty() {
        reason
    } else {
        format!("{path}: {reason}")
    }
}

/// serde's message without the quoted value, which may be long or a secret.
fn plain(text: &str) -> String {
    let quoting = ["invalid type: ", "invalid value: "]
        .into_iter()
        .find_map(|start| text.strip_prefix(start));
    let Some((value, expected)) = quoting.and_then(|rest| rest.rsplit_once(", expected ")) else {
        return excerpt(text);
    };
    let (expected, place) = expected
        .split_once(" at line")
        .map_or((expected, ""), |(expected, place)| (expected, place));
    let expects_whole = matches!(expected, "i64" | "u32");
    let found = match value.split([' ', '`']).next() {
        Some("string") => "a string",
        Some("integer") if expects_whole => "a number out of range",
        Some("integer") => "a number",
        Some("floating") => "a number with a fraction or an exponent",
        Some("boolean") => "a boolean",
        Some("null") => "null",
        Some("sequence") => "an array",
        Some("map") => "an object",
        _ => "something else",
    };
    let expected = if expects_whole {
        "a whole number"
    } else {
        expected
    };
    format!("is {found}, expected {expected} (line{place})")
}

/// A value of which only this much is of interest.
enum Scalar {
    Text(String),
    Whole(u64),
    Other,
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar::Text(text.to_owned()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Scalar, E> {
        Ok(Scalar::Whole(number))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_unit<E>(self) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Scalar, A::Error> {
        IgnoredAny.visit_seq(seq).map(|_| Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Scalar, A::Error> {
        IgnoredAny.visit_map(map).map(|_| Scalar::Other)
    }
}

#[cfg(test)]
mod tests {
    use chrono::Utc;
    use uuid::Uuid;

    use super::*;
    use crate::payloads::{PurchaseConfirmed, PurchaseCreated};

    fn created() -> Event<PurchaseCreated> {
        let payload = PurchaseCreated {
            purchase_id: Uuid::from_u128(1),
            payment_id: Uuid::from_u128(2),
            student_id: Uuid::from_u128(3),
            course_id: Uuid::from_u128(4),
        };
        Event::about(payload, Uuid::from_u128(2), Utc::now())
    }

    fn confirmed() -> Event<PurchaseConfirmed> {
        let payload = PurchaseConfirmed {
            payment_id: Uuid::from_u128(1),
            student_id: Uuid::from_u128(2),
            course_id: Uuid::from_u128(3),
            amount_cents: 4900,
            currency: "EUR".to_owned(),
        };
        Event::about(payload, Uuid::from_u128(1), Utc::now())
    }

    /// The reason why `text` is refused: `kind: text`.
    #[track_caller]
    fn refused<P: Payload>(text: &str) -> String {
        let Err(refusal) = decode::<P>(Some(text.as_bytes())) else {
            panic!("an event: {text}");
        };
        assert!(refusal.to_string().len() <= MAX_TEXT, "{refusal}");
        format!("{}: {refusal}", refusal.kind())
    }

    #[test]
    fn refusals_have_a_stable_kind_and_name_the_fault() {
        let good = created().encode();
        let newer = good
            .replace("\"version\":1", "\"version\":2")
            .replace("purchaseId", "orderId");
        for (text, expected) in [
            ("{\"eventType\":", "not-json: not a JSON object: EOF"),
            (" ", "not-json: not a JSON object: EOF"),
            ("[]", "not-json: not a JSON object: the value is an array"),
            (
                "{}",
                "bad-envelope: not a valid event: missing field `eventType`",
            ),
            (
                &good.replace("eventId", "id"),
                "bad-envelope: not a valid event: missing field `eventId`",
            ),
            (
                &good.replace("PURCHASE_CREATED", "REFUNDED\\u001b[31m"),
                "unknown-event-type: unknown eventType \"REFUNDED\\u{1b}[31m\", expected \"PURCHASE_CREATED\"",
            ),
            (&newer, "unknown-version: version 2 is not supported"),
            (
                &good.replace("studentId", "pupilId"),
                "bad-payload: not a valid PURCHASE_CREATED payload: payload: missing field `studentId`",
            ),
            (
                &format!("{good} {good}"),
                "not-json: not a JSON object: trailing characters",
            ),
            (
                &good.replace("\"version\":1", "\"version\":-1"),
                "bad-envelope: not a valid event: version: is a number out of range, expected a whole number (line 1",
            ),
            (
                &good.replace("\"version\":1", "\"version\":1e999"),
                "bad-envelope: not a valid event: version: number out of range",
            ),
        ] {
            let refusal = refused::<PurchaseCreated>(text);
            assert!(refusal.starts_with(expected), "{refusal}\n{text}");
        }
        for nothing in [None, Some(&b""[..])] {
            let refusal = decode::<PurchaseCreated>(nothing).expect_err("nothing there");
            assert_eq!(refusal.kind(), "empty");
        }
        let refusal = decode::<PurchaseCreated>(Some(b"{\"\xff\xfe\":0}")).expect_err("no text");
        assert_eq!(refusal.kind(), "not-utf8");
        assert_eq!(refusal.to_string(), "not UTF-8: byte 0xff at position 2");
    }

    /// An invalid value is described, not quoted: it may be a secret.
    #[test]
    fn an_invalid_field_is_named_and_its_value_is_not_quoted() {
        let good = confirmed().encode();
        for (spoilt, expected) in [
            (
                "\"hunter2, expected nothing\"",
                "is a string, expected a whole number (line 1",
            ),
            (
                "9223372036854775808",
                "is a number out of range, expected a whole number (line",
            ),
            ("1e999", "number out of range at line"),
            (
                "1e6",
                "is a number with a fraction or an exponent, expected a whole number",
            ),
            ("[\"hunter2\"]", "is an array, expected a whole number"),
            (
                "{\"amount\": 4900}",
                "is an object, expected a whole number",
            ),
            ("null", "is null, expected a whole number"),
        ] {
            let refusal = refused::<PurchaseConfirmed>(&good.replace("4900", spoilt));
            let field =
                "bad-payload: not a valid PURCHASE_CONFIRMED payload: payload.amountCents: ";
            assert!(
                refusal.starts_with(&format!("{field}{expected}")),
                "{refusal}"
            );
            assert!(!refusal.contains("hunter2"), "{refusal}");
        }
    }

    #[test]
    fn a_duplicate_key_is_refused() {
        let good = created().encode();
        for (text, key) in [
            (good.replacen('{', "{\"version\":1,", 1), "version"),
            (good.replacen('{', "{\"\\u0076ersion\":1,", 1), "version"),
            (good.replace("\"studentId\"", "\"courseId\""), "courseId"),
            (good.replacen('{', "{\"x\\ty\":1,\"x\\ty\":2,", 1), "x\\ty"),
            (
                good.replace("\"payload\":{", "\"payload\":{\"x\":1,\"x\":1,"),
                "x",
            ),
        ] {
            let expected = format!("duplicate-key: the field \"{key}\" occurs twice");
            assert_eq!(refused::<PurchaseCreated>(&text), expected, "{text}");
        }
        // Of another object.
        let apart = good.replacen('{', "{\"courseId\":1,\"x\":{\"x\":[{\"x\":0}]},", 1);
        assert!(decode::<PurchaseCreated>(Some(apart.as_bytes())).is_ok());
    }

    #[test]
    fn excessive_nesting_is_refused_in_every_position() {
        let good = created().encode();
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let with = |value: &str| good.replacen('{', &format!("{{\"extra\":{value},"), 1);
        let brackets_in_text = with(&format!("\"\\\"{}\"", "[".repeat(1000)));
        for good in [with(&nested(MAX_DEPTH - 1)), brackets_in_text] {
            assert!(decode::<PurchaseCreated>(Some(good.as_bytes())).is_ok());
        }
        for deep in [
            with(&nested(MAX_DEPTH)),
            with(&nested(2_000_000)),
            good.replace(
                "\"version\":1",
                &format!("\"version\":{}", nested(1_000_000)),
            ),
        ] {
            let refusal = refused::<PurchaseCreated>(&deep);
            assert!(refusal.starts_with("too-deep: "), "{refusal}");
        }
        let open = refused::<PurchaseCreated>(&"{\"a\":".repeat(1_000_000));
        assert!(open.starts_with("not-json: "), "{open}");
    }

    #[test]
    fn dates_with_an_implausible_year_are_refused() {
        let good = created().encode();
        let end = good.find("\",\"payload\"").expect("the date's end");
        let start = good[..end].rfind('"').expect("the date's begin") + 1;
        let with = |date: &str| format!("{}{date}{}", &good[..start], &good[end..]);
        for date in ["1970-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z"] {
            assert!(
                decode::<PurchaseCreated>(Some(with(date).as_bytes())).is_ok(),
                "{date}"
            );
        }
        for date in [
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
            "+12345-01-01T00:00:00Z",
            "0000-00-00T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "1772323199000",
            "",
        ] {
            let refusal = refused::<PurchaseCreated>(&with(date));
            assert!(
                refusal.starts_with("bad-envelope: not a valid event: occurredAt: "),
                "{refusal}"
            );
        }
    }

    /// The payload's rules are checked as well as its shape. A NUL, which PostgreSQL cannot store, is
    /// not a letter.
    #[test]
    fn a_payload_that_breaks_a_rule_is_refused() {
        let good = confirmed().encode();
        for (text, field) in [
            (good.replace("4900", "0"), "amountCents"),
            (good.replace("EUR", "E\\u0000R"), "currency"),
            (good.replace("EUR", &"EUR".repeat(1_000_000)), "currency"),
        ] {
            let refusal = refused::<PurchaseConfirmed>(&text);
            assert!(
                refusal.starts_with("bad-payload") && refusal.contains(field),
                "{refusal}"
            );
        }
        let nul_elsewhere = good.replacen('{', "{\"note\":\"\\u0000\",", 1);
        assert!(decode::<PurchaseConfirmed>(Some(nul_elsewhere.as_bytes())).is_ok());
    }

    /// An unknown field of ten megabytes is allowed.
    #[test]
    fn a_large_unknown_field_is_ignored() {
        let note = format!("{{\"note\":\"{}\",", "x".repeat(10_000_000));
        let large = created().encode().replacen('{', &note, 1);
        assert!(decode::<PurchaseCreated>(Some(large.as_bytes())).is_ok());
    }
}
