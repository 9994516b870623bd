//! The metrics of the outbox's relay.

use std::time::Duration;

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::{EVENTS_EMITTED, OUTBOX_OLDEST_UNSENT, OUTBOX_UNSENT, labels::Topic, register};

/// The metrics of an outbox. Cheap to clone; all clones share their state.
#[derive(Debug, Clone)]
pub struct OutboxMetrics {
    emitted: Family<Topic, Counter>,
    unsent: Gauge,
    oldest_unsent: Gauge<f64, std::sync::atomic::AtomicU64>,
}

impl OutboxMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            emitted: Family::default(),
            unsent: Gauge::default(),
            oldest_unsent: Gauge::default(),
        };
        register(registry, EVENTS_EMITTED, &metrics.emitted);
        register(registry, OUTBOX_UNSENT, &metrics.unsent);
        register(registry, OUTBOX_OLDEST_UNSENT, &metrics.oldest_unsent);
        metrics
    }

    /// Counts events that the brokers have acknowledged.
    pub fn emitted(&self, topic: &'static str, events: usize) {
        let counter = self.emitted.get_or_create(&Topic { topic });
        counter.inc_by(u64::try_from(events).unwrap_or(u64::MAX));
    }

    /// Sets the number of unsent events in the outbox, and the age of the oldest.
    pub fn unsent(&self, events: i64, oldest: Duration) {
        self.unsent.set(events);
        self.oldest_unsent.set(oldest.as_secs_f64());
    }
}
