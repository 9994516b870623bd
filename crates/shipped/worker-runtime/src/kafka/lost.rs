//! Clients that have lost all brokers, those of `bootstrap.servers` included.
//!
//! A broker that has just started is fenced for some moments, and answers a question for metadata with
//! topics and no broker. librdkafka (since 2.10, and still in 2.12) then takes leave of every broker
//! that it knew, and is left with nobody to ask: such a client never connects again. Another one does.

use std::sync::atomic::{AtomicU32, Ordering};

use rdkafka::Statistics;

/// In so many statistics in a row: where brokers are exchanged, the new ones may come a moment later.
const LOST_AFTER: u32 = 2;

/// Between two statistics, of all clients that look: a lost one is seen within twice that.
pub(crate) const STATISTICS_EVERY_MS: &str = "2000";

/// Whether a client still has brokers that it could ask, by its statistics.
#[derive(Debug, Default)]
pub(crate) struct Brokers {
    /// Statistics in a row that knew none.
    none: AtomicU32,
}

impl Brokers {
    pub(crate) fn are_in(&self, statistics: &Statistics) {
        // The others are librdkafka's own, and names for one of these.
        let real = |source: &str| matches!(source, "configured" | "learned");
        if statistics.brokers.values().any(|b| real(&b.source)) {
            self.none.store(0, Ordering::Relaxed);
        } else {
            self.none.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn are_lost(&self) -> bool {
        self.none.load(Ordering::Relaxed) >= LOST_AFTER
    }
}

#[cfg(test)]
pub(crate) mod tests;
