//! What a partition's task does with a batch: tries until infrastructure is there, parks what may
//! do better later, writes dead letters, and says which offsets are done.

use std::sync::Arc;

use caravan_events::Payload;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{
    Outcome, Processor,
    batch::{Batch, Hopeless},
    context::{GROUP_PART, KAFKA_PART, TOPIC_PART},
    ending::Ending,
    gauge::Gauge,
    offsets::Offsets,
    parked::{Item, Parked},
    stages,
};
use crate::{
    Health,
    backoff::Backoff,
    kafka::{self, Producer},
    kill::{self, Point},
    metrics::{EventOutcome, Pause, PauseReason, RetryKind, Stage, WorkerMetrics},
    watchdog::{Pulse, Watchdog},
};

/// Tries of an event that might succeed later, before it becomes a dead letter.
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
    /// Its name in `/ready`: `purchase-confirmed/2`.
    name: String,
    gauge: Arc<Gauge>,
    pulse: Arc<Pulse>,
    /// Wait for nothing more.
    stop: CancellationToken,
    offsets: Offsets,
    /// Events that wait to be tried again.
    pub(super) parked: Parked<P::Input>,
    /// While too many are parked.
    full: Option<Pause>,
}

/// The task was told to stop before it was through.
pub(super) struct Stopped;

impl<P: Processor> Work<P> {
    pub(super) fn new(
        shared: Arc<Shared<P>>,
        partition: i32,
        gauge: Arc<Gauge>,
        stop: CancellationToken,
    ) -> Self {
        let name = format!("{}/{partition}", P::Input::TOPIC);
        let pulse = shared.watch(&name, &gauge);
        shared.health.ready(&name);
        Self {
            shared,
            name,
            gauge,
            pulse,
            stop,
            offsets: Offsets::default(),
            parked: Parked::new(),
            full: None,
        }
    }

    /// Works on a batch for as long as it takes, unless it is told to stop while it waits.
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
        let mut hopeless = batch.invalid;
        if !batch.items.is_empty() {
            let outcomes = self.process(&batch.items).await?;
            count_processed(&metrics, &outcomes);
            for (item, outcome) in batch.items.into_iter().zip(outcomes) {
                hopeless.extend(self.settle(item, outcome));
            }
        }
        self.tell_done();
        let buried = self.bury(hopeless).await;
        self.tell_done();
        metrics.stage(Stage::Batch, began.elapsed());
        buried?;
        self.pulse.beat();
        self.tell_of_parked();
        Ok(())
    }

    /// What is done may be committed, up to the first event that is not.
    fn tell_done(&self) {
        if let Some(offset) = self.offsets.committable() {
            self.gauge.done_before(offset);
        }
    }

    /// The outcomes of a batch, after as many tries as it takes.
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
                    self.works(&backoff);
                    return Ok(outcomes);
                }
                Err(reason) => {
                    paused.get_or_insert_with(|| self.shared.metrics.pause(INFRASTRUCTURE));
                    self.pause(&reason, &mut backoff).await?;
                }
            }
        }
    }

    /// Books an outcome; a dead letter where there is no hope left.
    fn settle(&mut self, mut item: Item<P::Input>, outcome: Outcome) -> Option<Hopeless> {
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
            Outcome::Transient(reason) | Outcome::Permanent(reason) => Some(Hopeless {
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
                "to be tried again"
            );
        }
        self.parked.park(item, Instant::now());
    }

    /// Writes dead letters, and only then counts their messages as done. Those that were written
    /// are not written again where others were not.
    async fn bury(&mut self, mut hopeless: Vec<Hopeless>) -> Result<(), Stopped> {
        let group = self.shared.group;
        let mut backoff = Backoff::infrastructure();
        let mut paused = None;
        while !hopeless.is_empty() {
            let records = hopeless.iter().map(|dead| dead.record(group)).collect();
            let results = kafka::send_each(&self.shared.producer, records).await;
            let mut refused = None;
            let mut left = Vec::new();
            for (dead, result) in hopeless.into_iter().zip(results) {
                match result {
                    Ok(()) => self.buried(&dead),
                    Err(failure) => {
                        refused = Some(failure);
                        left.push(dead);
                    }
                }
            }
            hopeless = left;
            if let Some(failure) = refused {
                paused.get_or_insert_with(|| self.shared.metrics.pause(INFRASTRUCTURE));
                self.tell_done();
                self.pause(&failure.to_string(), &mut backoff).await?;
            }
        }
        self.works(&backoff);
        Ok(())
    }

    fn buried(&mut self, dead: &Hopeless) {
        dead.log();
        let metrics = &self.shared.metrics;
        metrics.outcomes(EventOutcome::DeadLettered, 1);
        metrics.dead_letter(&dead.reason.kind);
        self.offsets.done(dead.message.offset);
    }

    /// Waits before the next try: one line when work comes to a halt, the current reason in
    /// `/ready`. No longer than until something that was away is back.
    async fn pause(&self, reason: &str, backoff: &mut Backoff) -> Result<(), Stopped> {
        if let Err(fatal) = self.shared.producer.check_fatal() {
            self.shared.ending.fatal(fatal);
            return Err(Stopped);
        }
        // A known reason, which can be seen: no stall.
        self.pulse.beat();
        self.shared.metrics.retried(RetryKind::Infrastructure, 1);
        let why = format!("paused: {reason}");
        if self.shared.health.not_ready(&self.name, why) {
            tracing::warn!(partition = self.name, why = reason, "paused");
        }
        tokio::select! {
            () = self.stop.cancelled() => Err(Stopped),
            () = sleep(backoff.next_delay()) => Ok(()),
            () = self.shared.health.recovered() => Ok(()),
        }
    }

    /// One line when work goes on after a halt.
    fn works(&self, backoff: &Backoff) {
        if !backoff.is_first() && self.shared.health.ready(&self.name) {
            tracing::info!(partition = self.name, "working again");
        }
    }

    fn tell_of_parked(&mut self) {
        let waiting = self.parked.len();
        if !self.parked.is_full() {
            self.full = None;
        } else if self.full.is_none() {
            self.full = Some(self.shared.metrics.pause(PauseReason::WaitingEvents));
        }
        let health = &self.shared.health;
        if self.parked.is_full() {
            let why = format!("{waiting} events wait to be tried again, no more are read");
            if health.not_ready(&self.name, &why) {
                tracing::warn!(partition = self.name, waiting, "too many events wait");
            }
        } else if waiting > 0 {
            health.degraded(
                &self.name,
                format!("{waiting} events wait to be tried again"),
            );
        } else {
            health.ready(&self.name);
        }
    }
}

impl<P> Shared<P> {
    /// The partition's work is its lag. Where Kafka is at fault, and says so, none can be done.
    fn watch(&self, name: &str, gauge: &Arc<Gauge>) -> Arc<Pulse> {
        let gauge = Arc::downgrade(gauge);
        let health = self.health.clone();
        self.watchdog.watch_with_others(name, move || {
            gauge
                .upgrade()
                .is_some_and(|gauge| gauge.lag().is_some_and(|lag| lag > 0))
                && ![KAFKA_PART, GROUP_PART, TOPIC_PART]
                    .iter()
                    .any(|part| health.is_not_ready(part))
        })
    }
}

/// What is processed, a batch at a time; the exceptions count themselves.
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
    /// However the task ended.
    fn drop(&mut self) {
        self.shared.health.remove(&self.name);
    }
}
