//! The JSON Schemas in `schemas/`, which other teams write their workers against, and `decode`,
//! which ours read with, say the same about the same document.

use caravan_events::{
    Event, Payload, PurchaseConfirmed, PurchaseCreated, TrainerAllocated, decode, ids,
};
use chrono::{DateTime, Utc};
use jsonschema::Validator;
use serde_json::{Value, json};
use uuid::Uuid;

const PURCHASE_CONFIRMED: &str = include_str!("../schemas/purchase-confirmed.json");
const PURCHASE_CREATED: &str = include_str!("../schemas/purchase-created.json");
const TRAINER_ALLOCATED: &str = include_str!("../schemas/trainer-allocated.json");

fn validator(schema: &str) -> Validator {
    let schema: Value = serde_json::from_str(schema).expect("the schema is JSON");
    jsonschema::draft202012::options()
        .should_validate_formats(true)
        .build(&schema)
        .expect("the schema is a valid schema")
}

fn confirmed() -> PurchaseConfirmed {
    PurchaseConfirmed {
        payment_id: Uuid::from_u128(1),
        student_id: Uuid::from_u128(2),
        course_id: Uuid::from_u128(3),
        amount_cents: 4900,
        currency: "EUR".to_owned(),
    }
}

fn created() -> PurchaseCreated {
    PurchaseCreated {
        purchase_id: ids::purchase_id(Uuid::from_u128(1)),
        payment_id: Uuid::from_u128(1),
        student_id: Uuid::from_u128(2),
        course_id: Uuid::from_u128(3),
    }
}

fn allocated() -> TrainerAllocated {
    let purchase_id = ids::purchase_id(Uuid::from_u128(1));
    TrainerAllocated {
        allocation_id: ids::allocation_id(purchase_id),
        purchase_id,
        trainer_id: Uuid::from_u128(4),
        student_id: Uuid::from_u128(2),
        course_id: Uuid::from_u128(3),
    }
}

fn event<P: Payload>(payload: P) -> Event<P> {
    let occurred_at: DateTime<Utc> = "2026-02-28T23:59:59.123456Z".parse().expect("a date");
    Event::about(payload, Uuid::from_u128(1), occurred_at)
}

/// The event as a document to be spoilt.
fn document<P: Payload>(payload: P) -> Value {
    serde_json::from_str(&event(payload).encode()).expect("an event is JSON")
}

/// One change to a good document.
enum Change {
    Set(&'static str, Value),
    Remove(&'static str),
}
use Change::{Remove, Set};

fn changed(mut document: Value, change: &Change) -> Value {
    match change {
        Set(pointer, value) => {
            let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
            document.pointer_mut(parent).expect("its parent")[field] = value.clone();
        }
        Remove(pointer) => {
            let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
            let parent = document.pointer_mut(parent).expect("its parent");
            let removed = parent.as_object_mut().expect("an object").remove(field);
            assert!(removed.is_some(), "{pointer} was there");
        }
    }
    document
}

fn agree<P: Payload>(schema: &Validator, document: &Value, good: bool) {
    let read = decode::<P>(Some(document.to_string().as_bytes())).err();
    assert_eq!(read.is_none(), good, "decode: {read:?}\n{document:#}");
    let refusal = schema.validate(document).err().map(|e| e.to_string());
    assert_eq!(refusal.is_none(), good, "schema: {refusal:?}\n{document:#}");
}

/// What holds for every type: what we encode is valid, and the envelope is judged alike.
fn envelope_agrees<P: Payload + Clone>(schema: &str, payload: P) {
    let schema = validator(schema);
    let good = document(payload);
    agree::<P>(&schema, &good, true);

    for change in [
        Set("/extra", json!({"from": "another team"})),
        Set("/payload/extra", json!([1, 2, 3])),
        Set("/occurredAt", json!("2026-02-28T23:59:59+02:00")),
        Set("/eventId", json!("6B0D1A9C-8A3E-4C61-9D5B-4C6172617661")),
    ] {
        agree::<P>(&schema, &changed(good.clone(), &change), true);
    }
    for change in [
        Remove("/eventId"),
        Remove("/eventType"),
        Remove("/version"),
        Remove("/correlationId"),
        Remove("/occurredAt"),
        Remove("/payload"),
        Set("/eventId", json!("1")),
        Set("/eventId", json!(1)),
        Set("/eventId", Value::Null),
        Set("/correlationId", json!("not-a-uuid")),
        Set("/eventType", json!("SOMETHING_ELSE")),
        Set("/eventType", json!(7)),
        Set("/version", json!(2)),
        Set("/version", json!(0)),
        Set("/version", json!("1")),
        Set("/version", Value::Null),
        Set("/occurredAt", json!("yesterday")),
        Set("/occurredAt", json!("2026-02-30T00:00:00Z")),
        Set("/occurredAt", json!("2026-02-28")),
        Set("/occurredAt", json!("1969-12-31T23:59:59Z")),
        Set("/occurredAt", json!("0001-01-01T00:00:00Z")),
        Set("/occurredAt", json!("2026-02-28T23:59:59")),
        Set("/occurredAt", json!(1_772_323_199)),
        Set("/payload", Value::Null),
        Set("/payload", json!("{}")),
        Set("/payload", json!({})),
        Set("/payload", json!([])),
    ] {
        agree::<P>(&schema, &changed(good.clone(), &change), false);
    }
    for not_an_object in [
        json!([]),
        json!("event"),
        json!(1),
        json!(true),
        Value::Null,
    ] {
        agree::<P>(&schema, &not_an_object, false);
    }
    agree::<P>(
        &schema,
        &changed(good.clone(), &Set("/payload", values(&good))),
        false,
    );
    ids_agree::<P>(&schema, &good);
}

/// The payload as an array, which serde would read a struct from too.
fn values(document: &Value) -> Value {
    let payload = document["payload"].as_object().expect("an object");
    payload.values().cloned().collect()
}

/// Every id of the payload is needed, and is a UUID.
fn ids_agree<P: Payload>(schema: &Validator, good: &Value) {
    let payload = good["payload"].as_object().expect("an object");
    let ids: Vec<&String> = payload.keys().filter(|k| k.ends_with("Id")).collect();
    assert!(ids.len() >= 3, "{ids:?}");
    for id in ids {
        let mut missing = good.clone();
        missing["payload"]
            .as_object_mut()
            .expect("an object")
            .remove(id);
        agree::<P>(schema, &missing, false);
        for bad in [json!("c-17"), json!(17), Value::Null, json!("")] {
            let mut spoilt = good.clone();
            spoilt["payload"][id] = bad;
            agree::<P>(schema, &spoilt, false);
        }
    }
}

#[test]
fn purchase_confirmed() {
    envelope_agrees(PURCHASE_CONFIRMED, confirmed());
}

#[test]
fn purchase_created() {
    envelope_agrees(PURCHASE_CREATED, created());
}

#[test]
fn trainer_allocated() {
    envelope_agrees(TRAINER_ALLOCATED, allocated());
}

#[test]
fn amounts() {
    let schema = validator(PURCHASE_CONFIRMED);
    let good = document(confirmed());
    for (pointer, value, is_good) in [
        ("/payload/amountCents", json!(1), true),
        ("/payload/amountCents", json!(i64::MAX), true),
        ("/payload/amountCents", json!(0), false),
        ("/payload/amountCents", json!(-1), false),
        ("/payload/amountCents", json!(i64::MAX as u64 + 1), false),
        ("/payload/amountCents", json!(49.5), false),
        ("/payload/amountCents", json!("4900"), false),
        ("/payload/currency", json!("CHF"), true),
        ("/payload/currency", json!("eur"), false),
        ("/payload/currency", json!("EURO"), false),
        ("/payload/currency", json!("EUR\n"), false),
        ("/payload/currency", json!("ÄÖÜ"), false),
        ("/payload/currency", json!(978), false),
    ] {
        let change = Set(pointer, value);
        agree::<PurchaseConfirmed>(&schema, &changed(good.clone(), &change), is_good);
    }
    for field in ["/payload/amountCents", "/payload/currency"] {
        agree::<PurchaseConfirmed>(&schema, &changed(good.clone(), &Remove(field)), false);
    }
}

/// The one thing that JSON Schema cannot state: to it 4900.0 is an integer. The schema's
/// description says it in words.
#[test]
fn an_amount_with_a_fraction_of_zero_is_refused_by_decode_alone() {
    let change = Set("/payload/amountCents", json!(4900.0));
    let document = changed(document(confirmed()), &change);
    assert!(validator(PURCHASE_CONFIRMED).is_valid(&document));
    let refusal = decode::<PurchaseConfirmed>(Some(document.to_string().as_bytes()))
        .expect_err("not an integer as written");
    assert_eq!(refusal.kind(), "bad-payload");
}

/// A document of one type is none of another's.
#[test]
fn types_do_not_pass_for_each_other() {
    let schemas = [PURCHASE_CONFIRMED, PURCHASE_CREATED, TRAINER_ALLOCATED].map(validator);
    let documents = [
        document(confirmed()),
        document(created()),
        document(allocated()),
    ];
    for (s, schema) in schemas.iter().enumerate() {
        for (d, document) in documents.iter().enumerate() {
            assert_eq!(
                schema.is_valid(document),
                s == d,
                "schema {s}, document {d}"
            );
        }
    }
}
