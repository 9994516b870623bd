//! Shared by the tests of this module: a partition's task with a scripted processor, and messages.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use caravan_events::{Event, Payload, PurchaseCreated};
use rdkafka::{mocking::MockCluster, producer::DefaultProducerContext};
use tokio::{
    sync::{
        Semaphore,
        mpsc::{UnboundedSender, unbounded_channel},
    },
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    Message, Outcome, Processor, Received, ending::Ending, partition::Partition,
    progress::PartitionProgress, work::Shared,
};
use crate::{
    Health, InfrastructureError, Metrics, kafka,
    watchdog::{Limits, Watchdog},
};

pub(super) const TOPIC: &str = PurchaseCreated::TOPIC;
/// An address on which nothing listens.
pub(super) const NO_BROKER: &str = "127.0.0.1:1";
pub(super) const PROCESSED: Outcome = Outcome::Processed { duplicate: false };

type Answer =
    dyn Fn(&Received<PurchaseCreated>) -> Result<Outcome, InfrastructureError> + Send + Sync;

/// A processor that returns scripted outcomes and records its batches.
pub(super) struct Fake {
    answer: Box<Answer>,
    /// The offsets of each batch.
    batches: Mutex<Vec<Vec<i64>>>,
    /// Each batch consumes one permit.
    turns: Semaphore,
}

impl Fake {
    pub(super) fn new(
        answer: impl Fn(&Received<PurchaseCreated>) -> Result<Outcome, InfrastructureError>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self {
            answer: Box::new(answer),
            batches: Mutex::default(),
            turns: Semaphore::new(1_000_000),
        }
    }

    /// Waits in each batch until [`Fake::let_through`] is called.
    pub(super) fn waiting() -> Self {
        Self {
            turns: Semaphore::new(0),
            ..Self::new(|_| Ok(PROCESSED))
        }
    }

    pub(super) fn let_through(&self, batches: usize) {
        self.turns.add_permits(batches);
    }

    pub(super) fn batches(&self) -> Vec<Vec<i64>> {
        self.batches.lock().expect("no panic").clone()
    }
}

impl Processor for Fake {
    type Input = PurchaseCreated;

    async fn process(
        &self,
        batch: &[&Received<PurchaseCreated>],
    ) -> Result<Vec<Outcome>, InfrastructureError> {
        let offsets = batch.iter().map(|received| received.offset).collect();
        self.batches.lock().expect("no panic").push(offsets);
        self.turns.acquire().await.expect("open").forget();
        batch
            .iter()
            .map(|received| (self.answer)(received))
            .collect()
    }
}

/// The parts of a worker, and the task of partition 0.
pub(super) struct Rig {
    pub(super) shared: Arc<Shared<Fake>>,
    pub(super) progress: Arc<PartitionProgress>,
    pub(super) stop: CancellationToken,
    pub(super) task: JoinHandle<()>,
    chunks: UnboundedSender<Vec<Message>>,
}

pub(super) fn shared(fake: Fake, brokers: &str) -> (Arc<Shared<Fake>>, Metrics) {
    let health = Health::default();
    let metrics = Metrics::new(health.clone());
    let exit = Box::new(|_: &str| {});
    let shared = Shared {
        group: "group",
        processor: fake,
        producer: kafka::producer(brokers).expect("a producer"),
        health: health.clone(),
        metrics: metrics.worker(TOPIC),
        watchdog: Watchdog::start(Limits::default(), health, exit).expect("a thread"),
        ending: Ending::new(CancellationToken::new()),
    };
    (Arc::new(shared), metrics)
}

impl Rig {
    pub(super) fn new(fake: Fake, brokers: &str) -> Self {
        let (shared, _) = shared(fake, brokers);
        let (chunks, inbox) = unbounded_channel();
        let progress = Arc::new(PartitionProgress::new(Arc::default()));
        let stop = CancellationToken::new();
        let partition = Partition::new(
            Arc::clone(&shared),
            0,
            inbox,
            Arc::clone(&progress),
            stop.clone(),
        );
        Self {
            shared,
            progress,
            stop,
            task: tokio::spawn(partition.run()),
            chunks,
        }
    }

    /// Sends a chunk to the task, as the consumer's thread does.
    pub(super) fn send(&self, messages: Vec<Message>) {
        for message in &messages {
            self.progress.enqueued(message.size());
        }
        self.chunks.send(messages).expect("the task runs");
    }

    pub(super) async fn until_done(&self, offset: i64) {
        let what = format!("offset {offset} is done, not {:?}", self.progress.done());
        eventually(&what, || self.progress.done() == Some(offset)).await;
    }
}

/// A good event of about this many bytes.
pub(super) fn sized(offset: i64, bytes: usize) -> Message {
    let id = || Uuid::from_u128(u128::try_from(offset).expect("not below zero"));
    let payload = PurchaseCreated {
        purchase_id: id(),
        payment_id: id(),
        student_id: id(),
        course_id: id(),
    };
    let mut value = Event::about(payload, id(), chrono::DateTime::UNIX_EPOCH).encode();
    let padding = bytes.saturating_sub(value.len());
    value.push_str(&" ".repeat(padding));
    Message {
        topic: TOPIC,
        partition: 0,
        offset,
        key: None,
        value: Some(value.into_bytes()),
        headers: None,
    }
}

pub(super) fn good(offset: i64) -> Message {
    sized(offset, 0)
}

/// Not an event at all.
pub(super) fn poison(offset: i64) -> Message {
    Message {
        value: Some(b"{\xff".to_vec()),
        ..good(offset)
    }
}

pub(super) type Cluster = MockCluster<'static, DefaultProducerContext>;

/// A cluster of one broker within this process.
pub(super) fn cluster(topics: &[(&str, i32)]) -> Cluster {
    let cluster = MockCluster::new(1).expect("a cluster");
    for (topic, partitions) in topics {
        let created = cluster.create_topic(topic, *partitions, 1);
        created.expect("a topic");
    }
    cluster
}

pub(super) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(
        timeout(Duration::from_secs(90), wait).await.is_ok(),
        "{what}"
    );
}
