//! A worker: consumes events of one topic, applies their effects once and emits events.
//!
//! The modules, in the order in which a message passes through them:
//! - `consumer`: the thread that polls Kafka and commits; `context`: what Kafka calls back;
//! - `queues`: a queue from that thread to each partition's task, bounded by what `progress` counts;
//!   `batch_builder`: the task's end of the queue, which decodes messages (`message`) into batches
//!   (`batch`);
//! - `partition`: one task per partition; `work`: what it does with a batch: retries, dead
//!   letters; with `parked` (events that wait for a retry), `offsets` (what may be committed),
//!   `dead_letter` and `stages` (log lines);
//! - `processor`: the trait that processes a batch. `transactional` implements it with the inbox and
//!   the effects and outputs of a [`Handler`], and uses `bisection` to find the event that makes a
//!   batch fail.

mod batch;
mod batch_builder;
mod bisection;
mod consumer;
mod context;
mod dead_letter;
mod ending;
mod lag;
mod message;
mod offsets;
mod parked;
mod partition;
mod processor;
mod progress;
mod queues;
#[cfg(test)]
mod rig;
mod stages;
mod transactional;
mod work;

use std::{sync::Arc, thread, time::Duration};

use axum::Router;
use caravan_events::Payload;
use sqlx::PgPool;
use tokio::{runtime::Handle, sync::oneshot, time::timeout};

use crate::{
    Housekeeping, RunError, Service, database,
    kafka::{self, Producer},
    metrics::WorkerMetrics,
    settings,
};
use consumer::Reader;
use context::{GROUP_PART, KAFKA_PART};
use ending::Ending;
use lag::Lags;
use partition::Partition;
use queues::{PartitionQueues, Spawn};
use work::Shared;

pub use message::{Message, Received};
pub use processor::{Outcome, Processor};
pub use transactional::{Emitted, Handler, Transactional};

/// Time from SIGTERM until the process ends even if work, the last commit or leaving the group
/// hangs. It is shorter than `stop_grace_period`, after which Docker kills the container.
const STOP_WITHIN: Duration = Duration::from_secs(9);
/// One for each partition's transaction, and some for periodic work.
const DATABASE_CONNECTIONS: u32 = 8;

/// A worker process: its consumer group, its brokers, and what every service has.
pub struct Worker {
    /// Health, and the token that ends the process.
    pub service: Service,
    group: &'static str,
    brokers: String,
    producer: Producer,
}

impl Worker {
    /// Reads `KAFKA_BROKERS` and `HTTP_PORT`, and answers `/live` and `/ready`. `group` is the
    /// service's name: consumer group, and name in the inbox.
    ///
    /// # Errors
    /// A setting is missing or wrong, or the port is taken.
    pub async fn start(group: &'static str) -> Result<Self, RunError> {
        Self::on(Service::start(&[], Router::new()).await?, group)
    }

    /// As [`Worker::start`], on a service that is already started.
    ///
    /// # Errors
    /// A setting is missing or wrong.
    pub fn on(service: Service, group: &'static str) -> Result<Self, RunError> {
        let brokers = settings::required("KAFKA_BROKERS")?;
        for part in [KAFKA_PART, GROUP_PART] {
            service.health.not_ready(part, "starting");
        }
        Ok(Self {
            service,
            group,
            producer: kafka::producer(&brokers)?,
            brokers,
        })
    }

    /// Waits until the database at [`database::address`] answers. None if the process is shut
    /// down before that.
    ///
    /// # Errors
    /// A setting is missing or wrong.
    pub async fn database(&self) -> Result<Option<PgPool>, RunError> {
        let pool = database::pool(database::address()?, DATABASE_CONNECTIONS);
        let service = &self.service;
        service.metrics.watch_pool(pool.clone());
        if !database::wait(&pool, &service.health, &service.shutdown).await {
            return Ok(None);
        }
        // An idle worker sends no query, so it would not notice that the database is gone.
        let watch = database::watch(
            pool.clone(),
            service.health.clone(),
            service.shutdown.clone(),
        );
        tokio::spawn(watch);
        Ok(Some(pool))
    }

    /// [`Worker::run`] with an inbox and outputs around a handler.
    ///
    /// # Errors
    /// As [`Worker::run`].
    pub async fn transact<H: Handler>(self, db: PgPool, handler: H) -> Result<(), RunError> {
        let metrics = self.service.metrics.worker(H::Input::TOPIC);
        let producer = self.producer.clone();
        let inbox = Housekeeping::inbox(db.clone(), &self.brokers, self.group, H::Input::TOPIC);
        tokio::spawn(inbox.run(self.service.shutdown.clone()));
        let processor = Transactional::new(self.group, handler, db, producer, metrics.clone());
        self.consume(processor, metrics).await
    }

    /// Consumes the processor's topic until shutdown. The startup line is printed after the first
    /// partition assignment.
    ///
    /// # Errors
    /// The Kafka client could not be created, or has a fatal error.
    pub async fn run<P: Processor>(self, processor: P) -> Result<(), RunError> {
        let metrics = self.service.metrics.worker(P::Input::TOPIC);
        self.consume(processor, metrics).await
    }

    async fn consume<P: Processor>(
        self,
        processor: P,
        metrics: WorkerMetrics,
    ) -> Result<(), RunError> {
        let lags = Lags::default();
        let producer = self.producer.clone();
        lags.clone()
            .watch(P::Input::TOPIC, producer, metrics.clone())?;
        let ending = Ending::new(self.service.shutdown.clone());
        let shared = Arc::new(Shared {
            group: self.group,
            processor,
            producer: self.producer,
            health: self.service.health.clone(),
            metrics: metrics.clone(),
            watchdog: self.service.watchdog.clone(),
            ending: ending.clone(),
        });
        let reader = Reader::new(
            &self.brokers,
            self.group,
            P::Input::TOPIC,
            PartitionQueues::new(spawner(shared, lags), Handle::current(), metrics),
            self.service.health.clone(),
            ending.clone(),
            self.service.watchdog.watch("consumer"),
        )?;
        let closed = run_in_thread(reader)?;
        ending.token().cancelled().await;
        if timeout(STOP_WITHIN, closed).await.is_err() {
            tracing::warn!("the Kafka client did not close in time");
        }
        self.service.stop().await;
        tracing::info!("stopped");
        ending.result()
    }
}

/// Starts the task of a partition on the current runtime.
fn spawner<P: Processor>(shared: Arc<Shared<P>>, lags: Lags) -> Spawn {
    let runtime = Handle::current();
    Box::new(move |partition, inbox, progress, stop| {
        lags.add(partition, &progress);
        let task = Partition::new(Arc::clone(&shared), partition, inbox, progress, stop);
        runtime.spawn(task.run())
    })
}

/// The receiver ends when the consumer is closed.
fn run_in_thread(reader: Reader) -> Result<oneshot::Receiver<()>, RunError> {
    let (end, ended) = oneshot::channel();
    thread::Builder::new()
        .name("consumer".to_owned())
        .spawn(move || {
            reader.run();
            // The receiver is gone if this took longer than STOP_WITHIN.
            end.send(()).ok();
        })
        .map_err(|e| RunError::Start(format!("cannot start a thread: {e}")))?;
    Ok(ended)
}
