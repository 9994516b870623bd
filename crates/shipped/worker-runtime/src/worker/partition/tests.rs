use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use caravan_events::names::DEAD_LETTER_TOPIC;
use rdkafka::{
    producer::Producer as _,
    types::{RDKafkaApiKey, RDKafkaRespErr},
};
use tokio::time::Instant;

use super::{
    super::rig::{
        Cluster, Fake, NO_BROKER, PROCESSED, Rig, cluster, eventually, good, poison, sized,
    },
    MAX_EVENTS,
};
use crate::{
    Health, InfrastructureError, Reason,
    worker::{Outcome, batch::MAX_BYTES},
};

const MAX: i64 = MAX_EVENTS as i64;

/// A task whose processor succeeds for every event.
fn content() -> Rig {
    Rig::new(Fake::new(|_| Ok(PROCESSED)), NO_BROKER)
}

fn sizes(rig: &Rig) -> Vec<usize> {
    rig.shared
        .processor
        .batches()
        .iter()
        .map(Vec::len)
        .collect()
}

fn permanent() -> Outcome {
    Outcome::Permanent(Reason::new("bad", "no good"))
}

/// The number of messages in the one partition of the dead-letter topic.
async fn dead_letters(rig: &Rig) -> i64 {
    let producer = rig.shared.producer.clone();
    let ends = tokio::task::spawn_blocking(move || {
        let within = Duration::from_secs(10);
        producer
            .current()
            .client()
            .fetch_watermarks(DEAD_LETTER_TOPIC, 0, within)
    });
    ends.await.expect("no panic").expect("an answer").1
}

fn refuse(cluster: &Cluster, error: RDKafkaRespErr) {
    cluster.request_errors(RDKafkaApiKey::Produce, &[error; 100]);
}

/// The state of partition 0 in `/ready`.
fn why(health: &Health) -> String {
    let (_, body) = health.report();
    let part = format!("{}/0", super::super::rig::TOPIC);
    body["parts"][part]["why"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[tokio::test]
async fn a_batch_is_bounded_by_count_and_in_order() {
    let rig = content();
    rig.send((0..MAX * 2 + 200).map(good).collect());
    rig.until_done(MAX * 2 + 200).await;
    assert_eq!(sizes(&rig), [MAX_EVENTS, MAX_EVENTS, 200]);
    let offsets = rig.shared.processor.batches().concat();
    assert!(offsets.is_sorted());
}

#[tokio::test]
async fn a_batch_is_bounded_by_bytes_and_a_larger_event_is_alone() {
    let rig = content();
    let third = MAX_BYTES / 3;
    let mut messages: Vec<_> = (0..5).map(|offset| sized(offset, third)).collect();
    messages.push(sized(5, 10 * MAX_BYTES));
    messages.push(good(6));
    rig.send(messages);
    rig.until_done(7).await;
    assert_eq!(sizes(&rig), [3, 2, 1, 1]);
}

/// The clock is paused, so a wait for a timer would be visible.
#[tokio::test(start_paused = true)]
async fn a_single_event_is_not_delayed() {
    let rig = content();
    let began = Instant::now();
    rig.send(vec![good(0)]);
    while rig.progress.done() != Some(1) {
        tokio::task::yield_now().await;
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn the_next_batch_is_decoded_while_this_one_waits() {
    let rig = Rig::new(Fake::waiting(), NO_BROKER);
    rig.send(vec![good(0)]);
    eventually("the first is given", || sizes(&rig) == [1]).await;
    rig.send((1..=MAX + 10).map(good).collect());
    // Exactly one batch is decoded ahead; the rest stays queued.
    eventually("a batch is taken", || !rig.progress.is_above(10, MAX_BYTES)).await;
    assert!(rig.progress.is_above(9, 0));
    assert_eq!(sizes(&rig), [1]);
    rig.shared.processor.let_through(3);
    rig.until_done(MAX + 11).await;
    assert_eq!(sizes(&rig), [1, MAX_EVENTS, 10]);
}

#[tokio::test]
async fn after_the_stop_the_current_batch_is_finished_and_no_other_begins() {
    let rig = Rig::new(Fake::waiting(), NO_BROKER);
    rig.send(vec![good(0), good(1)]);
    eventually("the first are given", || sizes(&rig) == [2]).await;
    rig.send(vec![good(2)]);
    rig.stop.cancel();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!rig.task.is_finished(), "work was abandoned");
    rig.shared.processor.let_through(2);
    rig.task.await.expect("no panic");
    assert_eq!(rig.progress.done(), Some(2));
    assert_eq!(rig.shared.processor.batches(), [vec![0, 1]]);
}

/// Log lines, for counting.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn with(&self, text: &str) -> usize {
        let bytes = self.0.lock().expect("no panic").clone();
        let log = String::from_utf8(bytes).expect("text");
        log.lines().filter(|line| line.contains(text)).count()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const NO_DATABASE: InfrastructureError =
    InfrastructureError::DatabaseTimeout(Duration::from_secs(30));

#[tokio::test(start_paused = true)]
async fn an_infrastructure_failure_is_retried_without_limit_and_logged_once() {
    let lines = Lines::default();
    let out = lines.clone();
    let log = tracing_subscriber::fmt()
        .with_writer(move || out.clone())
        .finish();
    let _log = tracing::subscriber::set_default(log);
    let tries = Arc::new(AtomicUsize::new(0));
    let tried = Arc::clone(&tries);
    let fake = Fake::new(move |_| match tried.fetch_add(1, Ordering::Relaxed) {
        0..40 => Err(NO_DATABASE),
        _ => Ok(PROCESSED),
    });
    let rig = Rig::new(fake, NO_BROKER);
    let began = Instant::now();
    rig.send(vec![good(0)]);
    while tries.load(Ordering::Relaxed) < 20 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(
        why(&rig.shared.health),
        "paused: database: no answer within 30s"
    );
    assert_eq!(rig.progress.done(), None);
    while rig.progress.done() != Some(1) {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    // 40 pauses, nearly all of them between 15 and 30 s.
    assert!((400..1_200).contains(&began.elapsed().as_secs()));
    assert!(rig.shared.health.is_ready());
    assert_eq!((lines.with("paused"), lines.with("working again")), (1, 1));
    assert_eq!(lines.with("message received"), 1);
}

/// After five minutes of an outage, the delay between retries is at its maximum.
#[tokio::test(start_paused = true)]
async fn processing_continues_as_soon_as_a_part_is_ready_again() {
    let away = Arc::new(AtomicBool::new(true));
    let gone = Arc::clone(&away);
    let fake = Fake::new(move |_| {
        let gone = gone.load(Ordering::Relaxed);
        if gone {
            Err(NO_DATABASE)
        } else {
            Ok(PROCESSED)
        }
    });
    let rig = Rig::new(fake, NO_BROKER);
    rig.shared.health.not_ready("database", "gone");
    rig.send(vec![good(0)]);
    tokio::time::sleep(Duration::from_secs(300)).await;
    away.store(false, Ordering::Relaxed);
    let back = Instant::now();
    rig.shared.health.ready("database");
    while rig.progress.done() != Some(1) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(
        back.elapsed() < Duration::from_secs(1),
        "{:?}",
        back.elapsed()
    );
}

#[tokio::test]
async fn an_invalid_message_does_not_delay_other_events() {
    let cluster = cluster(&[(DEAD_LETTER_TOPIC, 1)]);
    let fake = Fake::new(|received| {
        Ok(if received.offset == 5 {
            permanent()
        } else {
            PROCESSED
        })
    });
    let rig = Rig::new(fake, &cluster.bootstrap_servers());
    let poisoned = [0, 3, 9];
    rig.send(
        (0..10)
            .map(|offset| {
                if poisoned.contains(&offset) {
                    poison(offset)
                } else {
                    good(offset)
                }
            })
            .collect(),
    );
    rig.until_done(10).await;
    assert_eq!(rig.shared.processor.batches(), [vec![1, 2, 4, 5, 6, 7, 8]]);
    assert_eq!(dead_letters(&rig).await, 4);
}

#[tokio::test]
async fn a_transient_failure_is_retried_a_bounded_number_of_times() {
    let cluster = cluster(&[(DEAD_LETTER_TOPIC, 1)]);
    let reason = || Reason::new("busy", "later");
    let fake = Fake::new(move |received| match received.offset {
        1 => Ok(Outcome::Transient(reason())),
        _ => Ok(PROCESSED),
    });
    let rig = Rig::new(fake, &cluster.bootstrap_servers());
    rig.send((0..3).map(good).collect());
    rig.until_done(1).await;
    rig.until_done(3).await;
    let tries = rig.shared.processor.batches();
    assert_eq!(tries[0], [0, 1, 2]);
    assert_eq!(tries[1..], vec![vec![1]; 4]);
    assert_eq!(dead_letters(&rig).await, 1);
}

#[tokio::test]
async fn without_its_dead_letter_an_offset_is_not_committed() {
    let cluster = cluster(&[(DEAD_LETTER_TOPIC, 1)]);
    let rig = Rig::new(Fake::new(|_| Ok(PROCESSED)), &cluster.bootstrap_servers());
    refuse(
        &cluster,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
    );
    rig.send(vec![good(0), poison(1), good(2)]);
    let health = &rig.shared.health;
    eventually("it is paused", || why(health).contains(DEAD_LETTER_TOPIC)).await;
    assert_eq!(rig.progress.done(), Some(1));
    assert_eq!(dead_letters(&rig).await, 0);
    cluster.clear_request_errors(RDKafkaApiKey::Produce);
    rig.until_done(3).await;
    assert_eq!(dead_letters(&rig).await, 1);
}

#[tokio::test]
async fn a_dead_letter_that_is_too_large_names_the_remedy() {
    let cluster = cluster(&[(DEAD_LETTER_TOPIC, 1)]);
    let rig = Rig::new(Fake::new(|_| Ok(PROCESSED)), &cluster.bootstrap_servers());
    refuse(
        &cluster,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
    );
    rig.send(vec![poison(0)]);
    let health = &rig.shared.health;
    let remedy = || why(health).contains("set its max.message.bytes to ");
    eventually("it is paused", remedy).await;
    assert_eq!(rig.progress.done(), Some(0));
    cluster.clear_request_errors(RDKafkaApiKey::Produce);
    rig.until_done(1).await;
}

/// The producer accepts ten megabytes; the topic's `max.message.bytes` decides.
#[tokio::test]
async fn a_large_message_becomes_a_dead_letter_too() {
    let cluster = cluster(&[(DEAD_LETTER_TOPIC, 1)]);
    let fake = Fake::new(|_| Ok(permanent()));
    let rig = Rig::new(fake, &cluster.bootstrap_servers());
    rig.send(vec![sized(0, 10 * 1024 * 1024)]);
    rig.until_done(1).await;
    assert_eq!(dead_letters(&rig).await, 1);
}
