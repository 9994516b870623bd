//! A worker: events of one topic in, effects and events out, nothing lost and nothing twice.
//!
//! In the order in which a message passes:
//! - `consumer`: the thread that polls Kafka and commits; `context`: what Kafka calls back;
//! - `lane`: from that thread to the partitions' tasks, bounded by what `gauge` counts; `inbox`:
//!   the tasks' side of it, where messages are decoded into batches (`batch`, `message`);
//! - `partition`: one task per partition; `work`: what it does with a batch: retries, dead
//!   letters; with `parked` (waiting events), `offsets` (what may be committed), `dead_letter` and
//!   `stages` (log lines);
//! - `processor`: what a partition's task needs done; `transactional` does it with the inbox, the
//!   effects and the outputs of a [`Handler`], which is domain alone, and with `bisection` where
//!   one of a batch is at fault.

mod batch;
mod bisection;
mod consumer;
mod context;
mod dead_letter;
mod ending;
mod gauge;
mod inbox;
mod lag;
mod lane;
mod message;
mod offsets;
mod parked;
mod partition;
mod processor;
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
use lane::{Lanes, Spawn};
use partition::Partition;
use work::Shared;

pub use message::{Message, Received};
pub use processor::{Outcome, Processor};
pub use transactional::{Emitted, Handler, Transactional};

/// From the request to end until the process ends whatever hangs: work under way, the last
/// commit, leaving the group. Docker kills after `stop_grace_period`, which is more.
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

    /// As [`Worker::start`], on a service that is there already.
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

    /// The database at [`database::address`], once it answers; None where the process was told to
    /// end before that.
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
        // An idle worker has no other way to notice.
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

    /// Consumes the processor's topic until the process is told to end. The startup line is
    /// printed once the group has given this worker its partitions.
    ///
    /// # Errors
    /// The Kafka client could not be created, or has come into a state that no retry leaves.
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
            Lanes::new(spawner(shared, lags), Handle::current(), metrics),
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
    Box::new(move |partition, inbox, gauge, stop| {
        lags.add(partition, &gauge);
        let task = Partition::new(Arc::clone(&shared), partition, inbox, gauge, stop);
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
            // Nobody listens any more where this took too long.
            end.send(()).ok();
        })
        .map_err(|e| RunError::Start(format!("cannot start a thread: {e}")))?;
    Ok(ended)
}
