//! The metrics of a worker.

use std::{sync::Arc, time::Duration};

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use super::{
    BATCH_BUCKETS, BATCH_SIZE, DEAD_LETTERS, Durations, EVENTS, EVENTS_EMITTED, EventOutcome,
    Histograms, PARTITION_LAG, PARTITIONS_ASSIGNED, PARTITIONS_PAUSED, PauseReason, RETRIES,
    RetryKind, STAGE_DURATION, Stage,
    labels::{DeadLetter, Event, Kinds, OfStage, Partition, Paused, Retry, Topic},
    register,
};

/// The metrics of a worker. Cheap to clone; all clones share their state.
#[derive(Debug, Clone)]
pub struct WorkerMetrics {
    topic: &'static str,
    events: Family<Event, Counter>,
    emitted: Family<Topic, Counter>,
    batch_size: Histogram,
    stages: Histograms<OfStage>,
    retries: Family<Retry, Counter>,
    dead_letters: Family<DeadLetter, Counter>,
    kinds: Arc<Kinds>,
    lag: Family<Partition, Gauge>,
    assigned: Gauge,
    paused: Family<Paused, Gauge>,
}

/// A partition counts as paused for as long as this lives.
#[derive(Debug)]
#[must_use = "dropping it ends the pause"]
pub struct PausedGuard(Gauge);

impl Drop for PausedGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl WorkerMetrics {
    pub(super) fn register(registry: &mut Registry, topic: &'static str) -> Self {
        let metrics = Self {
            topic,
            events: Family::default(),
            emitted: Family::default(),
            batch_size: Histogram::new(BATCH_BUCKETS),
            stages: Family::new_with_constructor(Durations),
            retries: Family::default(),
            dead_letters: Family::default(),
            kinds: Arc::default(),
            lag: Family::default(),
            assigned: Gauge::default(),
            paused: Family::default(),
        };
        metrics.begin_at_zero();
        register(registry, EVENTS, &metrics.events);
        register(registry, EVENTS_EMITTED, &metrics.emitted);
        register(registry, BATCH_SIZE, &metrics.batch_size);
        register(registry, STAGE_DURATION, &metrics.stages);
        register(registry, RETRIES, &metrics.retries);
        register(registry, DEAD_LETTERS, &metrics.dead_letters);
        register(registry, PARTITION_LAG, &metrics.lag);
        register(registry, PARTITIONS_ASSIGNED, &metrics.assigned);
        register(registry, PARTITIONS_PAUSED, &metrics.paused);
        metrics
    }

    /// Creates the counters with 0: `rate()` misses the first event of a counter that appears with it.
    fn begin_at_zero(&self) {
        for outcome in EventOutcome::ALL {
            self.outcomes(*outcome, 0);
        }
        for kind in RetryKind::ALL {
            self.retried(*kind, 0);
        }
        for stage in Stage::ALL {
            let stage = *stage;
            drop(self.stages.get_or_create(&OfStage { stage }));
        }
        for reason in PauseReason::ALL {
            let reason = *reason;
            drop(self.paused.get_or_create(&Paused { reason }));
        }
    }

    /// Counts events by their outcome.
    pub fn outcomes(&self, outcome: EventOutcome, events: usize) {
        let topic = self.topic;
        let counter = self.events.get_or_create(&Event { topic, outcome });
        counter.inc_by(count(events));
    }

    /// Counts emitted events that the brokers have acknowledged.
    pub fn emitted(&self, topic: &'static str, events: usize) {
        let counter = self.emitted.get_or_create(&Topic { topic });
        counter.inc_by(count(events));
    }

    /// Observes the number of events in a batch.
    pub fn batch(&self, events: usize) {
        #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
        self.batch_size.observe(events as f64);
    }

    /// Observes the time that a batch spent in a stage.
    pub fn stage(&self, stage: Stage, took: Duration) {
        let histogram = self.stages.get_or_create(&OfStage { stage });
        histogram.observe(took.as_secs_f64());
    }

    /// Counts retries: of single events, or of one batch.
    pub fn retried(&self, kind: RetryKind, tries: usize) {
        let counter = self.retries.get_or_create(&Retry { kind });
        counter.inc_by(count(tries));
    }

    /// Counts an event that was written to the dead-letter topic.
    pub fn dead_letter(&self, kind: &str) {
        let kind = self.kinds.bounded(kind).to_owned();
        self.dead_letters.get_or_create(&DeadLetter { kind }).inc();
    }

    /// Sets the partition's lag, in events.
    pub fn lag(&self, partition: i32, events: i64) {
        self.lag
            .get_or_create(&self.partition(partition))
            .set(events);
    }

    /// Removes the lag of a partition that this worker no longer has.
    pub fn forget(&self, partition: i32) {
        self.lag.remove(&self.partition(partition));
    }

    /// Sets the number of assigned partitions.
    pub fn assigned(&self, partitions: usize) {
        self.assigned
            .set(i64::try_from(partitions).unwrap_or(i64::MAX));
    }

    /// Counts a partition as paused until the returned guard is dropped.
    pub fn paused(&self, reason: PauseReason) -> PausedGuard {
        let gauge = self.paused.get_or_create_owned(&Paused { reason });
        gauge.inc();
        PausedGuard(gauge)
    }

    fn partition(&self, partition: i32) -> Partition {
        let topic = self.topic;
        Partition { topic, partition }
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
