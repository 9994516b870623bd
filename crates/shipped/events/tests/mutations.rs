//! Decodes some hundred thousand mutated events: each gives an event or a reason.

use caravan_events::{
    DecodeError, Event, Payload, PurchaseConfirmed, PurchaseCreated, TrainerAllocated, decode,
    decode::{MAX_DEPTH, MAX_TEXT},
};
use chrono::DateTime;
use proptest::{collection, prelude::*};
use serde_json::Value;
use uuid::Uuid;

mod mutation;
use mutation::mutation;

/// Per event type; together 105,000.
const CASES: u32 = 35_000;

/// Checks what must hold for any bytes. Returns whether they are an event.
fn check<P: Payload + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> Result<bool, TestCaseError> {
    let result = decode::<P>(Some(bytes));
    prop_assert_eq!(&result, &decode::<P>(Some(bytes)), "not always the same");
    let error = match result {
        Ok(event) => {
            same_meaning(&event, bytes)?;
            let again = decode::<P>(Some(event.encode().as_bytes()));
            prop_assert_eq!(again, Ok(event), "what it encodes is itself");
            return Ok(true);
        }
        Err(error) => error,
    };
    let text = error.to_string();
    prop_assert!(
        !text.is_empty() && text.len() <= MAX_TEXT,
        "{} bytes",
        text.len()
    );
    prop_assert!(!text.chars().any(char::is_control), "{text:?}");
    is_so::<P>(&error, bytes)?;
    Ok(false)
}

/// The event equals what an independent JSON reader finds in the document.
fn same_meaning<P: Payload>(event: &Event<P>, bytes: &[u8]) -> Result<(), TestCaseError> {
    let Ok(document) = serde_json::from_slice::<Value>(bytes) else {
        // A number too large, or half a surrogate pair, in an unknown field.
        return Ok(());
    };
    let ours: Value = serde_json::from_str(&event.encode()).expect("JSON");
    for (ours, theirs) in [(&ours, &document), (&ours["payload"], &document["payload"])] {
        for (name, value) in ours.as_object().expect("an object") {
            let theirs = &theirs[name];
            let same = match (value, theirs) {
                (Value::Object(_), Value::Object(_)) => true,
                (Value::String(a), Value::String(b)) => a == b || same_id(a, b) || same_date(a, b),
                (a, b) => a == b,
            };
            prop_assert!(same, "{name}: {value} of {theirs}");
        }
    }
    Ok(())
}

fn same_id(a: &str, b: &str) -> bool {
    matches!((a.parse::<Uuid>(), b.parse::<Uuid>()), (Ok(a), Ok(b)) if a == b)
}

fn same_date(a: &str, b: &str) -> bool {
    let date = DateTime::parse_from_rfc3339;
    matches!((date(a), date(b)), (Ok(a), Ok(b)) if a == b)
}

/// The reason is correct, as far as an independent JSON reader can check.
fn is_so<P: Payload>(error: &DecodeError, bytes: &[u8]) -> Result<(), TestCaseError> {
    let text = std::str::from_utf8(bytes);
    let document = serde_json::from_slice::<Value>(bytes);
    match error {
        DecodeError::Empty(_) => prop_assert!(bytes.is_empty()),
        DecodeError::NotUtf8 { position, .. } => {
            prop_assert_eq!(text.expect_err("not text").valid_up_to(), *position);
        }
        DecodeError::NotJson(_) => {
            prop_assert!(!document.is_ok_and(|document| document.is_object()));
        }
        DecodeError::TooDeep(depth) => prop_assert!(*depth > MAX_DEPTH),
        DecodeError::UnknownType { .. } => {
            if let Ok(document) = document {
                prop_assert_ne!(&document["eventType"], P::EVENT_TYPE);
            }
        }
        DecodeError::UnknownVersion(version) => {
            if let Ok(document) = document {
                prop_assert_eq!(&document["version"], *version);
            }
        }
        DecodeError::DuplicateKey(_)
        | DecodeError::BadEnvelope(_)
        | DecodeError::BadPayload { .. } => {
            prop_assert!(text.is_ok());
        }
    }
    Ok(())
}

/// Runs the mutations on one valid event. Both outcomes must occur, else the test checked nothing.
fn mutated<P: Payload + PartialEq + std::fmt::Debug>(payload: P) {
    let occurred_at = "2026-02-28T23:59:59.123456Z".parse().expect("a date");
    let good = Event::about(payload, Uuid::from_u128(1), occurred_at).encode();
    let config = ProptestConfig {
        cases: CASES,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let (mut events, mut reasons) = (0, std::collections::BTreeSet::new());
    let mut runner = proptest::test_runner::TestRunner::new_with_rng(
        config,
        proptest::test_runner::TestRng::deterministic_rng(Default::default()),
    );
    let counters = std::cell::RefCell::new((&mut events, &mut reasons));
    let result = runner.run(&collection::vec(mutation(), 1..4), |mutations| {
        let mut bytes = good.clone().into_bytes();
        for mutation in &mutations {
            mutation.apply(&mut bytes);
        }
        let is_event = check::<P>(&bytes)?;
        let mut counters = counters.borrow_mut();
        if is_event {
            *counters.0 += 1;
        } else if let Err(error) = decode::<P>(Some(&bytes)) {
            counters.1.insert(error.kind());
        }
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
    assert!(events > 1_000, "only {events} events were still good");
    let kinds = [
        "bad-envelope",
        "bad-payload",
        "duplicate-key",
        "empty",
        "not-json",
        "not-utf8",
        "too-deep",
        "unknown-event-type",
        "unknown-version",
    ];
    assert_eq!(
        reasons.into_iter().collect::<Vec<_>>(),
        kinds,
        "all kinds came up"
    );
}

#[test]
fn mutated_purchases_confirmed() {
    mutated(PurchaseConfirmed {
        payment_id: Uuid::from_u128(1),
        student_id: Uuid::from_u128(2),
        course_id: Uuid::from_u128(3),
        amount_cents: 4900,
        currency: "EUR".to_owned(),
    });
}

#[test]
fn mutated_purchases_created() {
    mutated(PurchaseCreated {
        purchase_id: Uuid::from_u128(5),
        payment_id: Uuid::from_u128(1),
        student_id: Uuid::from_u128(2),
        course_id: Uuid::from_u128(3),
    });
}

#[test]
fn mutated_trainers_allocated() {
    mutated(TrainerAllocated {
        allocation_id: Uuid::from_u128(6),
        purchase_id: Uuid::from_u128(5),
        trainer_id: Uuid::from_u128(4),
        student_id: Uuid::from_u128(2),
        course_id: Uuid::from_u128(3),
    });
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Arbitrary bytes.
    #[test]
    fn any_bytes(bytes in collection::vec(any::<u8>(), 0..200)) {
        check::<PurchaseCreated>(&bytes)?;
    }
}
