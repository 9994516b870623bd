//! What a worker counts.

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

/// The metrics of a worker. Cheap to clone; all clones are one.
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
pub struct Pause(Gauge);

impl Drop for Pause {
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

    /// A counter that only appears with its first event hides that event from `rate()`.
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

    /// So many events are done with.
    pub fn outcomes(&self, outcome: EventOutcome, events: usize) {
        let topic = self.topic;
        let counter = self.events.get_or_create(&Event { topic, outcome });
        counter.inc_by(count(events));
    }

    /// The brokers have acknowledged so many events.
    pub fn emitted(&self, topic: &'static str, events: usize) {
        let counter = self.emitted.get_or_create(&Topic { topic });
        counter.inc_by(count(events));
    }

    /// So many events are worked on together.
    pub fn batch(&self, events: usize) {
        #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
        self.batch_size.observe(events as f64);
    }

    /// A batch spent this long in a stage.
    pub fn stage(&self, stage: Stage, took: Duration) {
        let histogram = self.stages.get_or_create(&OfStage { stage });
        histogram.observe(took.as_secs_f64());
    }

    /// So many events, or one batch, are to be tried again.
    pub fn retried(&self, kind: RetryKind, tries: usize) {
        let counter = self.retries.get_or_create(&Retry { kind });
        counter.inc_by(count(tries));
    }

    /// One event was written to the dead-letter topic.
    pub fn dead_letter(&self, kind: &str) {
        let kind = self.kinds.bounded(kind).to_owned();
        self.dead_letters.get_or_create(&DeadLetter { kind }).inc();
    }

    /// So many events of the partition are not done with.
    pub fn lag(&self, partition: i32, events: i64) {
        self.lag
            .get_or_create(&self.partition(partition))
            .set(events);
    }

    /// The partition is another worker's now.
    pub fn forget(&self, partition: i32) {
        self.lag.remove(&self.partition(partition));
    }

    /// This worker has so many partitions.
    pub fn assigned(&self, partitions: usize) {
        self.assigned
            .set(i64::try_from(partitions).unwrap_or(i64::MAX));
    }

    /// Nothing is read from a partition until the answer is dropped.
    pub fn pause(&self, reason: PauseReason) -> Pause {
        let gauge = self.paused.get_or_create_owned(&Paused { reason });
        gauge.inc();
        Pause(gauge)
    }

    fn partition(&self, partition: i32) -> Partition {
        let topic = self.topic;
        Partition { topic, partition }
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
