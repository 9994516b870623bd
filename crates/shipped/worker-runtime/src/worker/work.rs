//! What a partition's task does with a batch: it retries until the infrastructure is available,
//! parks events for a later retry, writes dead letters, and reports which offsets are done.

use std::sync::Arc;

use caravan_events::Payload;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{
    Outcome, Processor,
    batch::{Batch, RejectedMessage},
    context::{GROUP_PART, KAFKA_PART, TOPIC_PART},
    ending::Ending,
    offsets::Offsets,
    parked::{Item, Parked},
    progress::PartitionProgress,
    stages,
};
use crate::{
    Health, InfrastructureError,
    backoff::Backoff,
    kafka::{self, Producer},
    kill::{self, Point},
    metrics::{EventOutcome, PauseReason, PausedGuard, RetryKind, Stage, WorkerMetrics},
    watchdog::{Pulse, Watchdog},
};

/// Attempts for an event with a transient failure, before it becomes a dead letter.
const MAX_ATTEMPTS: u32 = 5;
const INFRASTRUCTURE: PauseReason = PauseReason::Infrastructure;

/// What all partitions of a worker share.
pub(crate) struct Shared<P> {
    pub(crate) group: &'static str,
    pub(crate) processor: P,
    pub(crate) producer: Producer,
    pub(crate) health: Health,
    pub(crate) metrics: WorkerMetrics,
    pub(crate) watchdog: Watchdog,
    pub(crate) ending: Ending,
}

/// The work on one partition.
pub(super) struct Work<P: Processor> {
    shared: Arc<Shared<P>>,
    /// The partition's name in `/ready`: `purchase-confirmed/2`.
    name: String,
    progress: Arc<PartitionProgress>,
    pulse: Arc<Pulse>,
    /// Ends every wait before a retry.
    stop: CancellationToken,
    offsets: Offsets,
    /// Events that wait for a retry.
    pub(super) parked: Parked<P::Input>,
    /// Set while the parked events are at their limit.
    full: Option<PausedGuard>,
}

/// The task was stopped before the batch was done.
pub(super) struct Stopped;

impl<P: Processor> Work<P> {
    pub(super) fn new(
        shared: Arc<Shared<P>>,
        partition: i32,
        progress: Arc<PartitionProgress>,
        stop: CancellationToken,
    ) -> Self {
        let name = format!("{}/{partition}", P::Input::TOPIC);
        let pulse = shared.watch(&name, &progress);
        shared.health.ready(&name);
        Self {
            shared,
            name,
            progress,
            pulse,
            stop,
            offsets: Offsets::default(),
            parked: Parked::new(),
            full: None,
        }
    }

    /// Processes a batch, with as many retries as needed. Ends early if stopped during a wait.
    pub(super) async fn on(&mut self, batch: Batch<P::Input>) -> Result<(), Stopped> {
        let began = Instant::now();
        let metrics = self.shared.metrics.clone();
        metrics.batch(batch.len());
        if batch.is_new() {
            kill::reached(Point::AfterPoll);
            for offset in batch.offsets() {
                self.offsets.begin(offset);
            }
        }
        let mut rejected = batch.invalid;
        if !batch.items.is_empty() {
            let outcomes = self.process(&batch.items).await?;
            count_processed(&metrics, &outcomes);
            for (item, outcome) in batch.items.into_iter().zip(outcomes) {
                rejected.extend(self.settle(item, outcome));
            }
        }
        self.update_progress();
        let published = self.publish_dead_letters(rejected).await;
        self.update_progress();
        metrics.stage(Stage::Batch, began.elapsed());
        published?;
        self.pulse.beat();
        self.report_parked();
        Ok(())
    }

    /// Publishes the offset that may be committed: that of the first message that is not done.
    fn update_progress(&self) {
        if let Some(offset) = self.offsets.committable() {
            self.progress.done_before(offset);
        }
    }

    /// Calls the processor until it returns outcomes; infrastructure failures are retried forever.
    async fn process(&self, items: &[Item<P::Input>]) -> Result<Vec<Outcome>, Stopped> {
        let events: Vec<_> = items.iter().map(|item| &item.received).collect();
        for (item, event) in items.iter().zip(&events) {
            if item.attempts == 0 {
                stages::received(event);
                stages::processing(event);
            }
        }
        let mut backoff = Backoff::infrastructure();
        let mut paused = None;
        loop {
            match self.shared.processor.process(&events).await {
                Ok(outcomes) => {
                    self.report_recovered(&backoff);
                    return Ok(outcomes);
                }
                Err(error) => {
                    paused.get_or_insert_with(|| self.shared.metrics.paused(INFRASTRUCTURE));
                    self.wait_before_retry(&error, &mut backoff).await?;
                }
            }
        }
    }

    /// Records an outcome. Returns the message if it has to become a dead letter.
    fn settle(&mut self, mut item: Item<P::Input>, outcome: Outcome) -> Option<RejectedMessage> {
        item.attempts += 1;
        match outcome {
            Outcome::Processed { duplicate } => {
                stages::processed(&item.received, duplicate);
                self.offsets.done(item.message.offset);
                None
            }
            Outcome::Unconfirmed(why) => {
                self.shared.metrics.retried(RetryKind::Unconfirmed, 1);
                self.park(item, "unconfirmed", &why);
                None
            }
            Outcome::Transient(reason) if item.attempts < MAX_ATTEMPTS => {
                self.shared.metrics.retried(RetryKind::Transient, 1);
                self.park(item, &reason.kind, &reason.text);
                None
            }
            Outcome::Transient(reason) | Outcome::Permanent(reason) => Some(RejectedMessage {
                attempts: item.attempts,
                message: item.message,
                reason,
            }),
        }
    }

    fn park(&mut self, item: Item<P::Input>, kind: &str, why: &str) {
        if item.attempts == 1 {
            tracing::warn!(
                correlationId = %item.received.event.correlation_id,
                eventId = %item.received.event.event_id,
                partition = item.message.partition,
                offset = item.message.offset,
                kind,
                why,
                "to be retried"
            );
        }
        self.parked.park(item, Instant::now());
    }

    /// Writes dead letters and marks each message as done once its dead letter is acknowledged. A
    /// retry sends only the dead letters that were not acknowledged.
    async fn publish_dead_letters(
        &mut self,
        mut rejected: Vec<RejectedMessage>,
    ) -> Result<(), Stopped> {
        let group = self.shared.group;
        let mut backoff = Backoff::infrastructure();
        let mut paused = None;
        while !rejected.is_empty() {
            let records = rejected.iter().map(|dead| dead.record(group)).collect();
            let results = kafka::send_each(&self.shared.producer, records).await;
            let mut refused = None;
            let mut left = Vec::new();
            for (dead, result) in rejected.into_iter().zip(results) {
                match result {
                    Ok(()) => self.dead_letter_written(&dead),
                    Err(error) => {
                        refused = Some(error);
                        left.push(dead);
                    }
                }
            }
            rejected = left;
            if let Some(error) = refused {
                paused.get_or_insert_with(|| self.shared.metrics.paused(INFRASTRUCTURE));
                self.update_progress();
                self.wait_before_retry(&error.into(), &mut backoff).await?;
            }
        }
        self.report_recovered(&backoff);
        Ok(())
    }

    fn dead_letter_written(&mut self, dead: &RejectedMessage) {
        dead.log();
        let metrics = &self.shared.metrics;
        metrics.outcomes(EventOutcome::DeadLettered, 1);
        metrics.dead_letter(&dead.reason.kind);
        self.offsets.done(dead.message.offset);
    }

    /// Waits before a retry: the backoff's delay, or less if some part becomes ready again. Logs
    /// the first wait only; `/ready` has the current reason.
    async fn wait_before_retry(
        &self,
        error: &InfrastructureError,
        backoff: &mut Backoff,
    ) -> Result<(), Stopped> {
        if let Err(fatal) = self.shared.producer.check_fatal() {
            self.shared.ending.fatal(fatal);
            return Err(Stopped);
        }
        // Waiting for a reason that `/ready` shows is not a stall.
        self.pulse.beat();
        self.shared.metrics.retried(RetryKind::Infrastructure, 1);
        let why = format!("paused: {error}");
        if self.shared.health.not_ready(&self.name, why) {
            tracing::warn!(partition = self.name, why = %error, "paused");
        }
        tokio::select! {
            () = self.stop.cancelled() => Err(Stopped),
            () = sleep(backoff.next_delay()) => Ok(()),
            () = self.shared.health.recovered() => Ok(()),
        }
    }

    /// Logs once that processing works again after a wait.
    fn report_recovered(&self, backoff: &Backoff) {
        if !backoff.is_first() && self.shared.health.ready(&self.name) {
            tracing::info!(partition = self.name, "working again");
        }
    }

    fn report_parked(&mut self) {
        let waiting = self.parked.len();
        if !self.parked.is_full() {
            self.full = None;
        } else if self.full.is_none() {
            self.full = Some(self.shared.metrics.paused(PauseReason::WaitingEvents));
        }
        let health = &self.shared.health;
        if self.parked.is_full() {
            let why = format!("{waiting} events wait to be retried, no more are read");
            if health.not_ready(&self.name, &why) {
                tracing::warn!(partition = self.name, waiting, "too many events wait");
            }
        } else if waiting > 0 {
            health.degraded(&self.name, format!("{waiting} events wait to be retried"));
        } else {
            health.ready(&self.name);
        }
    }
}

impl<P> Shared<P> {
    /// The partition has work while its lag is above 0. While Kafka, the group or the topic is not
    /// ready, no work can be done, so that time does not count as a stall.
    fn watch(&self, name: &str, progress: &Arc<PartitionProgress>) -> Arc<Pulse> {
        let progress = Arc::downgrade(progress);
        let health = self.health.clone();
        self.watchdog.watch_with_others(name, move || {
            progress
                .upgrade()
                .is_some_and(|progress| progress.lag().is_some_and(|lag| lag > 0))
                && ![KAFKA_PART, GROUP_PART, TOPIC_PART]
                    .iter()
                    .any(|part| health.is_not_ready(part))
        })
    }
}

/// Counts processed events and duplicates once per batch. Retries and dead letters are counted
/// where they occur.
fn count_processed(metrics: &WorkerMetrics, outcomes: &[Outcome]) {
    let of = |wanted: bool| {
        let like =
            |o: &&Outcome| matches!(o, Outcome::Processed { duplicate } if *duplicate == wanted);
        outcomes.iter().filter(like).count()
    };
    metrics.outcomes(EventOutcome::Processed, of(false));
    metrics.outcomes(EventOutcome::Duplicate, of(true));
}

impl<P: Processor> Drop for Work<P> {
    /// Runs however the task ends: done, aborted or panicked.
    fn drop(&mut self) {
        self.shared.health.remove(&self.name);
    }
}
