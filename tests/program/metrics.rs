//! What the processes of the shipped pipeline tell of themselves, and what becomes of one that
//! stands still.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::stalls::a_stuck_handler_is_seen_and_ended;
use crate::support::{
    eventually, eventually_async,
    kafka::{lag, produce, read_all},
    payments::{self, expect_lessons, post_many},
    pipeline::Pipeline,
};

const PAYMENTS: usize = 12;

#[tokio::test(flavor = "multi_thread")]
async fn processes_report_their_state() {
    let pipeline = Pipeline::up("metrics", &[]);
    post_many(&pipeline, "counted", PAYMENTS).await;
    let database = pipeline.database().await;
    expect_lessons(&database, 12).await;

    every_process_answers(&pipeline).await;
    counters_agree_with_what_was_sent(&pipeline).await;
    a_dead_letter_is_counted(&pipeline).await;
    a_trace_reaches_the_last_topic(&pipeline).await;
    a_stuck_handler_is_seen_and_ended(&pipeline).await;
}

/// Samples by name and labels, as they stand in the text.
type Samples = BTreeMap<String, f64>;

async fn scrape(pipeline: &Pipeline, service: &str) -> Samples {
    let answer = pipeline.get(service, "/metrics").await;
    assert_eq!(answer.status(), 200, "{service}");
    let text = answer.text().await.unwrap();
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        })
        .collect()
}

/// A sample's value; labels may be given in full or left out: then the sum over all of them.
fn find(samples: &Samples, name: &str) -> Option<f64> {
    let of_name = format!("{name}{{");
    samples
        .iter()
        .filter(|(sample, _)| *sample == name || sample.starts_with(&of_name))
        .map(|(_, value)| *value)
        .reduce(|a, b| a + b)
}

#[track_caller]
fn value(samples: &Samples, name: &str) -> f64 {
    find(samples, name).unwrap_or_else(|| panic!("no {name} in {samples:#?}"))
}

const PROCESS: [&str; 5] = [
    "caravan_live",
    "caravan_ready",
    "caravan_log_lines_dropped_total",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
];
const DATABASE: [&str; 2] = [
    "caravan_database_connections",
    "caravan_database_connections_max",
];
const HTTP: [&str; 2] = [
    "caravan_http_requests_total",
    "caravan_http_request_duration_seconds_count",
];
const WORKER: [&str; 8] = [
    "caravan_events_total",
    "caravan_batch_size_events_count",
    "caravan_stage_duration_seconds_count",
    "caravan_retries_total",
    "caravan_partition_lag_events",
    "caravan_partitions_assigned",
    "caravan_partitions_paused",
    "caravan_stage_duration_seconds_bucket",
];
const EMITTER: [&str; 1] = ["caravan_events_emitted_total"];
const OUTBOX: [&str; 2] = [
    "caravan_outbox_unsent_events",
    "caravan_outbox_oldest_unsent_age_seconds",
];

async fn every_process_answers(pipeline: &Pipeline) {
    let promised: [(&str, &[&[&str]]); 6] = [
        (
            "payment-service",
            &[&PROCESS, &DATABASE, &HTTP, &EMITTER, &OUTBOX],
        ),
        ("admin-service", &[&PROCESS, &DATABASE, &HTTP]),
        ("purchase-worker", &[&PROCESS, &DATABASE, &WORKER, &EMITTER]),
        (
            "allocation-worker",
            &[&PROCESS, &DATABASE, &WORKER, &EMITTER],
        ),
        ("session-worker", &[&PROCESS, &DATABASE, &WORKER]),
        ("cache-worker", &[&PROCESS, &WORKER]),
    ];
    for (service, names) in promised {
        let live = pipeline.get(service, "/live").await;
        assert_eq!(live.status(), 200, "{service}");
        assert_eq!(live.json::<Value>().await.unwrap(), json!({"live": true}));
        assert_eq!(
            pipeline.get(service, "/ready").await.status(),
            200,
            "{service}"
        );
        // The lag is known once the broker was asked, every 5 s.
        let what = format!("all of {service}'s metrics");
        let samples = eventually_async(&what, async || {
            let samples = scrape(pipeline, service).await;
            let mut names = names.iter().copied().flatten();
            names
                .all(|name| find(&samples, name).is_some())
                .then_some(samples)
        })
        .await;
        assert_eq!(value(&samples, "caravan_live"), 1.0, "{service}");
        assert_eq!(value(&samples, "caravan_ready"), 1.0, "{service}");
        assert!(value(&samples, "process_resident_memory_bytes") > 1e6);
    }
}

/// Waits until a worker is through with `events` events and has no lag.
async fn through(pipeline: &Pipeline, worker: &str, events: f64) -> Samples {
    eventually_async(
        &format!("{worker} through with {events} events"),
        async || {
            let samples = scrape(pipeline, worker).await;
            let done = value(&samples, "caravan_events_total") >= events;
            let lag = value(&samples, "caravan_partition_lag_events");
            (done && lag == 0.0).then_some(samples)
        },
    )
    .await
}

async fn counters_agree_with_what_was_sent(pipeline: &Pipeline) {
    let sent = PAYMENTS as f64;
    let workers = [
        (
            "purchase-worker",
            "purchase-confirmed",
            Some("purchase-created"),
        ),
        (
            "allocation-worker",
            "purchase-created",
            Some("trainer-allocated"),
        ),
        ("session-worker", "trainer-allocated", None),
        ("cache-worker", "purchase-created", None),
    ];
    for (worker, topic, emits) in workers {
        let samples = through(pipeline, worker, sent).await;
        let events = |outcome: &str| {
            let labels = format!("{{topic=\"{topic}\",outcome=\"{outcome}\"}}");
            value(&samples, &format!("caravan_events_total{labels}"))
        };
        assert_eq!(events("processed"), sent, "{worker}");
        assert_eq!(events("dead_lettered"), 0.0, "{worker}");
        // Each event was in one batch, unless it was tried again.
        let batches = value(&samples, "caravan_batch_size_events_count");
        assert!(batches >= 1.0, "{worker}: {batches} batches");
        let tried = value(&samples, "caravan_batch_size_events_sum");
        assert!(tried >= sent, "{worker}: {tried} events in batches");
        assert_eq!(
            value(&samples, "caravan_partitions_assigned"),
            3.0,
            "{worker}"
        );
        assert_eq!(
            value(&samples, "caravan_partitions_paused"),
            0.0,
            "{worker}"
        );
        if let Some(topic) = emits {
            let emitted = format!("caravan_events_emitted_total{{topic=\"{topic}\"}}");
            let emitted = value(&samples, &emitted);
            assert_eq!(emitted, sent + events("duplicate"), "{worker}");
        }
    }
    let samples = scrape(pipeline, "payment-service").await;
    let labels = "{method=\"POST\",route=\"/payments\",status=\"201\"}";
    let accepted = value(&samples, &format!("caravan_http_requests_total{labels}"));
    assert_eq!(accepted, sent);
    assert_eq!(value(&samples, "caravan_events_emitted_total"), sent);
    // Looked up every 10 s.
    eventually_async("an empty outbox", async || {
        let samples = scrape(pipeline, "payment-service").await;
        (value(&samples, "caravan_outbox_unsent_events") == 0.0).then_some(())
    })
    .await;
}

async fn a_dead_letter_is_counted(pipeline: &Pipeline) {
    let poison = (Some(b"k".to_vec()), Some(b"not json".to_vec()));
    produce(pipeline, "purchase-confirmed", &[poison]).await;
    let samples = through(pipeline, "purchase-worker", PAYMENTS as f64 + 1.0).await;
    let kind = "caravan_dead_letters_total{kind=\"not-json\"}";
    assert_eq!(value(&samples, kind), 1.0);
    let labels = "{topic=\"purchase-confirmed\",outcome=\"dead_lettered\"}";
    assert_eq!(
        value(&samples, &format!("caravan_events_total{labels}")),
        1.0
    );
}

/// One trace over every topic, each hop with a span of its own; beside it the correlation id.
async fn a_trace_reaches_the_last_topic(pipeline: &Pipeline) {
    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let body = json!({
        "studentId": uuid::Uuid::new_v4(), "courseId": payments::COURSE,
        "amountCents": 4900, "currency": "EUR",
    });
    let port = pipeline.port("PAYMENT_PORT");
    let request = reqwest::Client::new()
        .post(format!("http://127.0.0.1:{port}/payments"))
        .bearer_auth(pipeline.secret("PAYMENT_TOKEN"))
        .header("Idempotency-Key", "traced")
        .header("traceparent", PARENT)
        .json(&body);
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    let payment = answer["paymentId"].as_str().unwrap().to_owned();
    let mut spans = vec![PARENT[36..52].to_owned()];
    for topic in [
        "purchase-confirmed",
        "purchase-created",
        "trainer-allocated",
    ] {
        let message = eventually("the payment's event", || {
            let stored = read_all(pipeline, topic);
            stored
                .into_iter()
                .find(|m| m.key.as_deref() == Some(payment.as_bytes()))
        });
        assert_eq!(message.headers["correlation-id"], payment, "{topic}");
        let trace = &message.headers["traceparent"];
        assert_eq!(
            (&trace[..36], &trace[52..]),
            (&PARENT[..36], "-01"),
            "{topic}"
        );
        spans.push(trace[36..52].to_owned());
    }
    spans.sort();
    spans.dedup();
    assert_eq!(spans.len(), 4, "a span id for each hop: {spans:?}");
    // Payments without the header begin a trace of their own.
    let begun = read_all(pipeline, "trainer-allocated");
    let traced = begun
        .iter()
        .filter(|m| m.headers.contains_key("traceparent"));
    assert_eq!(traced.count(), PAYMENTS + 1);
    eventually("all of it processed", || {
        (lag(pipeline, "session-worker", "trainer-allocated") == 0).then_some(())
    });
}
