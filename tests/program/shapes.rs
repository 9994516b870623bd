//! Messages of any shape, thousands of them among good ones, through the whole chain: each has its
//! effect or its dead letter, and nobody stumbles.

use caravan_events::{
    DecodeError, Event, Payload, PurchaseConfirmed, PurchaseCreated, TrainerAllocated, decode, ids,
};
use chrono::{DateTime, Utc};
use proptest::{collection, strategy::Strategy, strategy::ValueTree, test_runner::TestRunner};
use sqlx::PgPool;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

use crate::support::{
    eventually,
    kafka::{KeyAndValue, Stored, lag, produce, read_all, set_message_limit},
    payments::COURSE,
    pipeline::Pipeline,
};

#[path = "../../crates/shipped/events/tests/mutation/mod.rs"]
mod mutation;

const DEAD_LETTERS: &str = "dead-letter-queue";
/// What the topics are made to take, and what the largest messages carry.
const LIMIT: usize = 12_000_000;
const LARGE: usize = 10_000_000;
/// Mutated events for the first topic, and for each of the others.
const MUTATED: usize = 3_000;
const MUTATED_LATER: usize = 1_000;
/// One good payment among this many others.
const GOOD_EVERY: usize = 10;

/// Each worker with the topic that it consumes.
const WORKERS: [(&str, &str); 4] = [
    ("purchase-worker", PurchaseConfirmed::TOPIC),
    ("allocation-worker", PurchaseCreated::TOPIC),
    ("session-worker", TrainerAllocated::TOPIC),
    ("cache-worker", PurchaseCreated::TOPIC),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_message_has_its_effect_or_its_dead_letter() {
    let pipeline = Pipeline::up("shapes", &[]);
    for (_, topic) in &WORKERS[..3] {
        set_message_limit(&pipeline, topic, LIMIT).await;
    }
    // Which makes room on the dead-letter topic.
    pipeline.caravan(&["up", "kafka-init"]).expect(0);
    let began = WORKERS.map(|(worker, _)| pipeline.inspect(worker, "{{.State.StartedAt}}"));

    let known = known_shapes();
    let places = produce(
        &pipeline,
        PurchaseConfirmed::TOPIC,
        &messages(known.iter().map(|(shape, _)| shape.clone())),
    )
    .await;
    let good = send_mutated_payments(&pipeline).await;
    send_mutated::<PurchaseCreated>(&pipeline, created).await;
    send_mutated::<TrainerAllocated>(&pipeline, allocated).await;

    wait_for_no_lag(&pipeline);
    let database = pipeline.database().await;
    let effects = Effects::read(&database).await;
    let mut letters = Letters::read(&pipeline);
    for ((shape, kind), place) in known.iter().zip(places) {
        let letter = letters.find("purchase-worker", PurchaseConfirmed::TOPIC, place);
        let told = letter.map(|letter| letter.headers["dlq-error-kind"].as_str());
        let start = shape.as_deref().map(|s| &s[..s.len().min(60)]);
        let start = start.map(String::from_utf8_lossy);
        assert_eq!(told, *kind, "{start:?}");
    }
    for payment in &good {
        let sessions = effects.sessions.get(&allocation(*payment));
        assert_eq!(sessions, Some(&7), "the good neighbour {payment}");
    }
    let purchases = |p: &PurchaseConfirmed| effects.purchases.contains(&p.payment_id);
    let allocations = |p: &PurchaseCreated| effects.allocations.contains(&p.purchase_id);
    let sessions = |p: &TrainerAllocated| effects.sessions.get(&p.allocation_id) >= Some(&7);
    letters.account_for(&pipeline, "purchase-worker", purchases);
    letters.account_for(&pipeline, "allocation-worker", allocations);
    letters.account_for(&pipeline, "session-worker", sessions);
    // What it does is to delete keys that never were.
    letters.account_for(&pipeline, "cache-worker", |_: &PurchaseCreated| true);
    assert_eq!(letters.left(), 0, "dead letters of no message");

    for ((worker, _), began) in WORKERS.into_iter().zip(began) {
        let now = pipeline.inspect(worker, "{{.State.StartedAt}}");
        assert_eq!(now, began, "{worker} ran through");
    }
}

/// Each with the kind of its dead letter; None where it is an event.
fn known_shapes() -> Vec<(Option<Vec<u8>>, Option<&'static str>)> {
    let text = |n: u128| payment(Uuid::from_u128(0x5a4e << 64 | n)).encode();
    let with = |n, from: &str, to: &str| {
        let spoilt = text(n).replace(from, to);
        assert_ne!(spoilt, text(n), "{from} is there");
        Some(spoilt.into_bytes())
    };
    let extra = |n, value: &str| with(n, "{\"eventId\"", &format!("{{\"x\":{value},\"eventId\""));
    let large = |c: &str| c.repeat(LARGE / c.len());
    vec![
        (None, Some("empty")),
        (Some(Vec::new()), Some("empty")),
        (Some(b"not json".to_vec()), Some("not-json")),
        (Some(vec![0xff, 0xfe, 0]), Some("not-utf8")),
        (Some(vec![0x80; LARGE]), Some("not-utf8")),
        (Some(large("[").into_bytes()), Some("not-json")),
        (with(1, "}}", "}} x"), Some("not-json")),
        (with(2, "EUR", "E\0R"), Some("not-json")),
        (
            extra(3, &format!("{}{}", "[".repeat(5000), "]".repeat(5000))),
            Some("too-deep"),
        ),
        (
            with(4, "\"version\"", "\"version\":1,\"version\""),
            Some("duplicate-key"),
        ),
        (
            with(5, "PURCHASE_CONFIRMED", "REFUNDED"),
            Some("unknown-event-type"),
        ),
        (
            with(6, "\"version\":1", "\"version\":2"),
            Some("unknown-version"),
        ),
        (
            with(7, "\"occurredAt\":\"20", "\"occurredAt\":\"00"),
            Some("bad-envelope"),
        ),
        (
            with(8, "correlationId", "correlation"),
            Some("bad-envelope"),
        ),
        (with(9, "\"studentId\"", "\"student\""), Some("bad-payload")),
        (with(10, "4900", "9223372036854775808"), Some("bad-payload")),
        (with(11, "4900", "1e400"), Some("bad-payload")),
        (with(12, "4900", "\"4900\""), Some("bad-payload")),
        (with(13, "EUR", "E\\u0000R"), Some("bad-payload")),
        (with(14, "EUR", &large("EUR")), Some("bad-payload")),
        (extra(15, "\"\\u0000\""), None),
        (extra(16, &format!("\"{}\"", large("x"))), None),
        (with(17, "4900", "9223372036854775807"), None),
    ]
}

fn payment(id: Uuid) -> Event<PurchaseConfirmed> {
    let payload = PurchaseConfirmed {
        payment_id: id,
        student_id: Uuid::from_u128(2),
        course_id: COURSE.parse().unwrap(),
        amount_cents: 4900,
        currency: "EUR".to_owned(),
    };
    Event::about(payload, id, now())
}

fn created(id: Uuid) -> Event<PurchaseCreated> {
    let payload = PurchaseCreated {
        purchase_id: ids::purchase_id(id),
        payment_id: id,
        student_id: Uuid::from_u128(2),
        course_id: COURSE.parse().unwrap(),
    };
    Event::about(payload, id, now())
}

fn allocated(id: Uuid) -> Event<TrainerAllocated> {
    let payload = TrainerAllocated {
        allocation_id: allocation(id),
        purchase_id: ids::purchase_id(id),
        trainer_id: Uuid::from_u128(4),
        student_id: Uuid::from_u128(2),
        course_id: COURSE.parse().unwrap(),
    };
    Event::about(payload, id, now())
}

fn allocation(payment: Uuid) -> Uuid {
    ids::allocation_id(ids::purchase_id(payment))
}

fn now() -> DateTime<Utc> {
    "2026-11-24T12:00:00Z".parse().unwrap()
}

/// Under keys that spread over the partitions.
fn messages(values: impl Iterator<Item = Option<Vec<u8>>>) -> Vec<KeyAndValue> {
    let key = |n: usize| Some(format!("k{n}").into_bytes());
    values
        .enumerate()
        .map(|(n, value)| (key(n), value))
        .collect()
}

/// Good events, each broken in one to three places: the same ones in every run.
fn mutated(event: impl Fn(Uuid) -> String, count: usize) -> Vec<Vec<u8>> {
    let mut runner = TestRunner::deterministic();
    let mutations = collection::vec(mutation::mutation(), 1..4);
    (0..count)
        .map(|_| {
            let mut bytes = event(Uuid::new_v4()).into_bytes();
            for mutation in mutations.new_tree(&mut runner).unwrap().current() {
                mutation.apply(&mut bytes);
            }
            bytes
        })
        .collect()
}

/// The payments of the good events among them.
async fn send_mutated_payments(pipeline: &Pipeline) -> Vec<Uuid> {
    let mut good = Vec::new();
    let mut values = Vec::new();
    for (n, bytes) in mutated(|id| payment(id).encode(), MUTATED)
        .into_iter()
        .enumerate()
    {
        values.push(Some(bytes));
        if n % GOOD_EVERY == 0 {
            let id = Uuid::new_v4();
            good.push(id);
            values.push(Some(payment(id).encode().into_bytes()));
        }
    }
    produce(
        pipeline,
        PurchaseConfirmed::TOPIC,
        &messages(values.into_iter()),
    )
    .await;
    good
}

async fn send_mutated<P: Payload>(pipeline: &Pipeline, event: fn(Uuid) -> Event<P>) {
    let mut values: Vec<_> = mutated(|id| event(id).encode(), MUTATED_LATER)
        .into_iter()
        .map(Some)
        .collect();
    values.push(None);
    values.push(Some(vec![b'{'; LARGE]));
    produce(pipeline, P::TOPIC, &messages(values.into_iter())).await;
}

fn wait_for_no_lag(pipeline: &Pipeline) {
    for (group, topic) in WORKERS {
        let what = format!("{group} has caught up");
        eventually(&what, || (lag(pipeline, group, topic) == 0).then_some(()));
    }
}

/// What came of the events.
struct Effects {
    /// By payment.
    purchases: BTreeSet<Uuid>,
    /// By purchase.
    allocations: BTreeSet<Uuid>,
    /// How many, by allocation.
    sessions: BTreeMap<Uuid, i64>,
}

impl Effects {
    async fn read(database: &PgPool) -> Self {
        let ids = async |sql: &'static str| -> BTreeSet<Uuid> {
            let rows: Vec<Uuid> = sqlx::query_scalar(sql).fetch_all(database).await.unwrap();
            rows.into_iter().collect()
        };
        let sessions: Vec<(Uuid, i64)> =
            sqlx::query_as("SELECT allocation_id, count(*) FROM tutoring_sessions GROUP BY 1")
                .fetch_all(database)
                .await
                .unwrap();
        Self {
            purchases: ids("SELECT payment_id FROM student_course_purchases").await,
            allocations: ids("SELECT purchase_id FROM trainer_allocations").await,
            sessions: sessions.into_iter().collect(),
        }
    }
}

/// Group, topic, partition and offset of the source.
type Source = (String, String, String, String);

/// All dead letters, by what they were; each is taken out once it is accounted for.
struct Letters(BTreeMap<Source, Vec<Stored>>);

impl Letters {
    fn read(pipeline: &Pipeline) -> Self {
        let mut letters: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for letter in read_all(pipeline, DEAD_LETTERS) {
            let header = |name: &str| letter.headers[name].clone();
            let source = (
                header("dlq-group"),
                header("dlq-topic"),
                header("dlq-partition"),
                header("dlq-offset"),
            );
            letters.entry(source).or_default().push(letter);
        }
        Self(letters)
    }

    fn source(group: &str, topic: &str, (partition, offset): (i32, i64)) -> Source {
        (
            group.to_owned(),
            topic.to_owned(),
            partition.to_string(),
            offset.to_string(),
        )
    }

    fn find(&self, group: &str, topic: &str, place: (i32, i64)) -> Option<&Stored> {
        self.0.get(&Self::source(group, topic, place))?.first()
    }

    /// Asserts of every message on the payload's topic that it has its effect or, in this group's
    /// name, exactly one dead letter: byte for byte, with the reason that decoding gives.
    fn account_for<P: Payload>(
        &mut self,
        pipeline: &Pipeline,
        group: &str,
        has_effect: impl Fn(&P) -> bool,
    ) {
        let stored = read_all(pipeline, P::TOPIC);
        assert!(
            stored.len() > MUTATED_LATER,
            "{}: {}",
            P::TOPIC,
            stored.len()
        );
        let (mut effects, mut refused) = (0, 0);
        for message in &stored {
            let place = (message.partition, message.offset);
            let letters = self
                .0
                .remove(&Self::source(group, P::TOPIC, place))
                .unwrap_or_default();
            let result = decode::<P>(message.value.as_deref());
            let at = format!(
                "{group}, {}/{}/{}: {:?}",
                P::TOPIC,
                place.0,
                place.1,
                result.as_ref().err()
            );
            assert!(letters.len() <= 1, "{} dead letters: {at}", letters.len());
            match (&result, letters.first()) {
                (Ok(event), None) => {
                    assert!(
                        has_effect(&event.payload),
                        "neither effect nor dead letter: {at}"
                    );
                    effects += 1;
                }
                (Ok(event), Some(letter)) => {
                    // A course that nobody teaches, because its id was hit.
                    let kind = &letter.headers["dlq-error-kind"];
                    assert_eq!(kind, "no-trainer-available", "{at}");
                    assert!(!has_effect(&event.payload), "both: {at}");
                }
                (Err(error), Some(letter)) => {
                    same(message, letter, error, &at);
                    refused += 1;
                }
                (Err(_), None) => panic!("no dead letter: {at}"),
            }
        }
        assert!(
            effects > 100 && refused > 100,
            "{group}: {effects} and {refused}"
        );
    }

    fn left(&self) -> usize {
        self.0.len()
    }
}

fn same(message: &Stored, letter: &Stored, error: &DecodeError, at: &str) {
    assert!(
        letter.key == message.key && letter.value == message.value,
        "byte for byte: {at}"
    );
    assert_eq!(letter.headers["dlq-error-kind"], error.kind(), "{at}");
    assert_eq!(letter.headers["dlq-error"], error.to_string(), "{at}");
}
