//! Clients that have lost all brokers, those of `bootstrap.servers` included.
//!
//! A broker that has just started is fenced for some moments, and answers metadata requests with
//! topics but without brokers. librdkafka (since 2.10, and still in 2.12) then removes every broker
//! that it knew. Such a client never connects again and has to be replaced.

use std::sync::atomic::{AtomicU32, Ordering};

use rdkafka::Statistics;

/// Statistics in a row without a broker, before a client counts as lost: when brokers are replaced,
/// the new ones may appear a moment later.
const LOST_AFTER: u32 = 2;

/// Interval of the statistics: a lost client is detected within twice that.
pub(crate) const STATISTICS_EVERY_MS: &str = "2000";

/// Whether a client still knows brokers, according to its statistics.
#[derive(Debug, Default)]
pub(crate) struct Brokers {
    /// Statistics in a row without a broker.
    none: AtomicU32,
}

impl Brokers {
    pub(crate) fn are_in(&self, statistics: &Statistics) {
        // Other sources are internal or logical brokers, which refer to one of these.
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
