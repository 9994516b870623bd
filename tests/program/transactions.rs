//! Transactional producers: the ends of transactions, and what was aborted, take offsets that no
//! consumer is ever handed. That is no lag.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use uuid::Uuid;

use crate::support::{
    eventually,
    kafka::{Transactions, lag, read_all},
    pipeline::Pipeline,
};

const WORKER: &str = "purchase-worker";
const TOPIC: &str = "purchase-confirmed";
const LAG: &str = "groups.purchase-worker.lag";

/// What announces a payment, as another team's service would write it.
fn event() -> Vec<u8> {
    let [payment, event, student] = [(); 3].map(|()| Uuid::new_v4());
    let event = json!({
        "eventId": event, "eventType": "PURCHASE_CONFIRMED", "version": 1,
        "correlationId": payment, "occurredAt": "2026-01-01T00:00:00Z",
        "payload": {
            "paymentId": payment, "studentId": student, "amountCents": 4900, "currency": "EUR",
            "courseId": "00000000-0000-4000-8000-00000000c001",
        },
    });
    event.to_string().into_bytes()
}

#[test]
fn what_transactions_leave_is_no_lag() {
    let pipeline = Pipeline::up("transactions", &[]);
    let transactions = Transactions::of(&pipeline);
    the_end_of_a_transaction_is_no_lag(&pipeline, &transactions);
    what_was_aborted_is_no_lag(&pipeline, &transactions);
    what_was_committed_is(&pipeline, &transactions);
    one_that_stays_open_holds_events_back(&pipeline, &transactions);
    load_is_accounted_for_between_transactions(&pipeline, &transactions);
}

/// The events here were produced past the payment-service: no purchase is without its payment.
fn with_payments(pipeline: &Pipeline) {
    let sql =
        "INSERT INTO payments (id, idempotency_key, student_id, course_id, amount_cents, currency)
        SELECT payment_id, payment_id::text, student_id, course_id, amount_cents, currency
        FROM student_course_purchases ON CONFLICT DO NOTHING";
    let container = pipeline.container("postgres");
    let psql = [
        "psql",
        "-U",
        "kodingcaravan",
        "-h",
        "/var/run/postgresql",
        "-c",
        sql,
    ];
    pipeline.docker(&[&["exec", &container][..], &psql].concat());
}

/// The group has taken all, and stands `behind` offsets before the ends.
#[track_caller]
fn expect_nothing_to_take(pipeline: &Pipeline, behind: i64, seen: &str) {
    eventually("all is taken", || {
        (lag(pipeline, WORKER, TOPIC) == behind).then_some(())
    });
    with_payments(pipeline);
    pipeline.expect_green();
    let (ran, _) = pipeline.not_passing();
    assert_eq!(Pipeline::finding(&ran, LAG)["seen"], seen);
    // As Kafka's own tools count.
    let groups = pipeline.caravan(&["groups", "-o", "json"]).expect(0).json();
    let groups = groups["groups"].as_array().unwrap();
    let group = groups.iter().find(|g| g["group"] == WORKER).unwrap();
    assert_eq!(group["lag"], behind);
}

fn the_end_of_a_transaction_is_no_lag(pipeline: &Pipeline, transactions: &Transactions) {
    transactions.committed(TOPIC, 0, &[event()]);
    eventually("its event is emitted", || {
        (read_all(pipeline, "purchase-created").len() == 1).then_some(())
    });
    expect_nothing_to_take(pipeline, 1, "0: the last offset holds no message");
}

fn what_was_aborted_is_no_lag(pipeline: &Pipeline, transactions: &Transactions) {
    let events: Vec<_> = (0..50).map(|_| event()).collect();
    transactions.aborted(TOPIC, 0, &events);
    transactions.aborted(TOPIC, 1, &events);
    // Each with the marker that ends it.
    expect_nothing_to_take(pipeline, 103, "0: the last 103 offsets hold no message");
}

/// A worker that hangs runs, and takes nothing.
fn what_was_committed_is(pipeline: &Pipeline, transactions: &Transactions) {
    let container = pipeline.container(WORKER);
    pipeline.docker(&["kill", "-s", "STOP", &container]);
    transactions.committed(TOPIC, 2, &[event()]);
    let ran = pipeline.caravan(&["verify", "--only", LAG, "-o", "json"]);
    pipeline.docker(&["kill", "-s", "CONT", &container]);
    let finding = Pipeline::finding(&ran, LAG);
    assert_eq!(finding["status"], "fail", "{finding}");
    // The other partitions hold nothing, so what is behind are a message and the end behind it.
    let seen = finding["seen"].as_str().unwrap();
    assert!(seen.starts_with("2, stuck"), "{seen}");
    expect_nothing_to_take(pipeline, 104, "0: the last 104 offsets hold no message");
}

/// The worker has committed all that it can read, so its lag by the last stable offset is 0.
fn one_that_stays_open_holds_events_back(pipeline: &Pipeline, transactions: &Transactions) {
    let ago = std::time::Duration::from_secs(300);
    transactions.open(TOPIC, 0, &[event(), event()], ago);
    let ran = pipeline.caravan(&["verify", "--only", LAG, "-o", "json"]);
    let finding = Pipeline::finding(&ran, LAG);
    assert_eq!(finding["status"], "fail", "{finding}");
    let seen = "2, behind a transaction that is open for 5m";
    assert_eq!(finding["seen"], seen);
    transactions.abort();
    expect_nothing_to_take(pipeline, 107, "0: the last 107 offsets hold no message");
}

/// Ends of topics run away from what was sent, all the time.
fn load_is_accounted_for_between_transactions(pipeline: &Pipeline, transactions: &Transactions) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for topic in [TOPIC, "purchase-created", "trainer-allocated"] {
                    transactions.aborted(topic, 1, &[event()]);
                }
            }
        });
        let flow = pipeline.caravan(&["test-flow", "--count", "9", "--keep", "-o", "json"]);
        let collected = pipeline.caravan(&["test-flow", "--collect=0s", "-o", "json"]);
        done.store(true, Ordering::Relaxed);
        assert_eq!(flow.expect(0).json()["status"], "pass");
        collected.expect(0);
    });
    pipeline.expect_green();
}
