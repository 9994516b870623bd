//! One partition's task: messages in, offsets out. In order; an event that has to wait is parked
//! and its neighbours go on, the committed offset staying before it.

use std::sync::Arc;

use caravan_events::Payload;
use chrono::Utc;
use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    Message, Outcome, Processor,
    context::{GROUP_PART, KAFKA_PART, TOPIC_PART},
    dead_letter,
    ending::Ending,
    lane::Gauge,
    offsets::Offsets,
    parked::{Item, Parked},
    stages,
};
use crate::{
    Health, Reason,
    backoff::Backoff,
    kafka::{self, Producer, Record},
    metrics::{EventOutcome, Pause, PauseReason, RetryKind, Stage, WorkerMetrics},
    watchdog::{Pulse, Watchdog},
};

/// A batch is what is there already, up to these bounds: a lone event never waits for company.
const BATCH_EVENTS: usize = 100;
const BATCH_BYTES: usize = 1024 * 1024;
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

/// The task of one partition.
pub(crate) struct Partition<P: Processor> {
    shared: Arc<Shared<P>>,
    /// Its name in `/ready`: `purchase-confirmed/2`.
    name: String,
    inbox: UnboundedReceiver<Message>,
    gauge: Arc<Gauge>,
    pulse: Arc<Pulse>,
    /// Finish what is under way, begin nothing more.
    stop: CancellationToken,
    offsets: Offsets,
    parked: Parked<P::Input>,
    /// While too many are parked.
    full: Option<Pause>,
}

/// The task was told to stop before it was through.
struct Stopped;

impl<P: Processor> Partition<P> {
    pub(crate) fn new(
        shared: Arc<Shared<P>>,
        partition: i32,
        inbox: UnboundedReceiver<Message>,
        gauge: Arc<Gauge>,
        stop: CancellationToken,
    ) -> Self {
        let name = format!("{}/{partition}", P::Input::TOPIC);
        let pulse = shared.watch(&name, &gauge);
        Self {
            shared,
            name,
            inbox,
            gauge,
            pulse,
            stop,
            offsets: Offsets::default(),
            parked: Parked::new(),
            full: None,
        }
    }

    /// Works until it is told to stop or no more messages can come.
    pub(crate) async fn run(mut self) {
        self.shared.health.ready(&self.name);
        while let Some(batch) = self.next_batch().await {
            if let Err(Stopped) = self.work(batch).await {
                break;
            }
            self.pulse.beat();
            self.tell_of_parked();
        }
        self.shared.health.remove(&self.name);
    }

    /// Parked events that are due, else the messages that are there; None at the end.
    async fn next_batch(&mut self) -> Option<Batch<P::Input>> {
        loop {
            let due = self.parked.take_due(Instant::now(), BATCH_EVENTS);
            if !due.is_empty() {
                return Some(Batch::retry(due));
            }
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return None,
                () = self.parked.until_due() => {}
                first = self.inbox.recv(), if !self.parked.is_full() => {
                    return Some(self.read(first?));
                }
            }
        }
    }

    /// `first` and what else is there already.
    fn read(&mut self, first: Message) -> Batch<P::Input> {
        let mut batch = Batch::default();
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(message) = next {
            bytes += message.size();
            self.gauge.taken(&message);
            self.offsets.begin(message.offset);
            batch.add(message);
            let full = batch.len() >= BATCH_EVENTS || bytes >= BATCH_BYTES;
            next = if full {
                None
            } else {
                self.inbox.try_recv().ok()
            };
        }
        batch
    }

    async fn work(&mut self, batch: Batch<P::Input>) -> Result<(), Stopped> {
        let began = Instant::now();
        let metrics = self.shared.metrics.clone();
        metrics.batch(batch.len());
        let mut hopeless = batch.invalid;
        if !batch.items.is_empty() {
            let outcomes = self.process(&batch.items).await?;
            count(&metrics, &outcomes);
            for (item, outcome) in batch.items.into_iter().zip(outcomes) {
                hopeless.extend(self.settle(item, outcome));
            }
        }
        self.bury(hopeless).await?;
        if let Some(offset) = self.offsets.committable() {
            self.gauge.done_before(offset);
        }
        metrics.stage(Stage::Batch, began.elapsed());
        Ok(())
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
                self.park(item, "unconfirmed", &why);
                None
            }
            Outcome::Transient(reason) if item.attempts < MAX_ATTEMPTS => {
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

    /// Writes dead letters, and only then counts their messages as done.
    async fn bury(&mut self, hopeless: Vec<Hopeless>) -> Result<(), Stopped> {
        if hopeless.is_empty() {
            return Ok(());
        }
        let group = self.shared.group;
        let records: Vec<Record> = hopeless.iter().map(|h| h.record(group)).collect();
        let mut backoff = Backoff::infrastructure();
        let mut paused = None;
        while let Err(failure) = kafka::send_all(&self.shared.producer, &records).await {
            paused.get_or_insert_with(|| self.shared.metrics.pause(INFRASTRUCTURE));
            self.pause(&failure.to_string(), &mut backoff).await?;
        }
        self.works(&backoff);
        let metrics = &self.shared.metrics;
        metrics.outcomes(EventOutcome::DeadLettered, hopeless.len());
        for dead in hopeless {
            dead.log();
            metrics.dead_letter(&dead.reason.kind);
            self.offsets.done(dead.message.offset);
        }
        Ok(())
    }

    /// Waits before the next try: one line when work comes to a halt, the current reason in
    /// `/ready`.
    async fn pause(&self, reason: &str, backoff: &mut Backoff) -> Result<(), Stopped> {
        if let Err(fatal) = kafka::check_fatal(&self.shared.producer) {
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

/// What became of a batch; dead letters are counted once they are written.
fn count(metrics: &WorkerMetrics, outcomes: &[Outcome]) {
    let (mut processed, mut duplicates, mut unconfirmed, mut transient) = (0, 0, 0, 0);
    for outcome in outcomes {
        match outcome {
            Outcome::Processed { duplicate: false } => processed += 1,
            Outcome::Processed { duplicate: true } => duplicates += 1,
            Outcome::Unconfirmed(_) => unconfirmed += 1,
            Outcome::Transient(_) => transient += 1,
            Outcome::Permanent(_) => {}
        }
    }
    metrics.outcomes(EventOutcome::Processed, processed);
    metrics.outcomes(EventOutcome::Duplicate, duplicates);
    metrics.retried(RetryKind::Unconfirmed, unconfirmed);
    metrics.retried(RetryKind::Transient, transient);
}

/// Messages that are worked on together.
struct Batch<I> {
    items: Vec<Item<I>>,
    invalid: Vec<Hopeless>,
}

impl<I> Default for Batch<I> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            invalid: Vec::new(),
        }
    }
}

impl<I> Batch<I> {
    fn retry(items: Vec<Item<I>>) -> Self {
        Self {
            items,
            invalid: Vec::new(),
        }
    }

    fn len(&self) -> usize {
        self.items.len() + self.invalid.len()
    }
}

impl<I: Payload> Batch<I> {
    fn add(&mut self, message: Message) {
        match message.decode() {
            Ok(received) => self.items.push(Item::new(message, received)),
            Err(error) => self.invalid.push(Hopeless {
                reason: Reason::new(error.kind(), error.to_string()),
                message,
                attempts: 1,
            }),
        }
    }
}

/// A message on its way to the dead letters.
struct Hopeless {
    message: Message,
    reason: Reason,
    attempts: u32,
}

impl Hopeless {
    fn record(&self, group: &str) -> Record {
        dead_letter::record(
            &self.message,
            group,
            &self.reason,
            self.attempts,
            Utc::now(),
        )
    }

    fn log(&self) {
        tracing::warn!(
            partition = self.message.partition,
            offset = self.message.offset,
            kind = %self.reason.kind,
            error = self.reason.text,
            attempts = self.attempts,
            "dead letter written"
        );
    }
}
