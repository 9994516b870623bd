//! One step of a payment through the pipeline.

use std::time::Duration;

use chrono::{DateTime, Utc};

use declaration::Pattern;

/// Where a hop can be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HopPlace {
    /// The HTTP request that made the payment, answered by this service.
    Entry {
        /// The entry service.
        service: String,
    },
    /// An event on a topic.
    Topic {
        /// Topic name.
        topic: String,
    },
    /// A worker's log line of one stage.
    Log {
        /// The service that logs it.
        service: String,
        /// What the line matches, as declared.
        stage: Pattern,
    },
    /// Rows of a table.
    Table {
        /// Table name as declared.
        table: String,
        /// Expected number of rows.
        rows: i64,
    },
    /// Redis keys were deleted.
    Cache {
        /// The service that deletes the keys.
        service: String,
        /// Number of keys.
        keys: usize,
    },
}

/// A hop and whether it was seen.
#[derive(Debug, Clone)]
pub struct Hop {
    /// Where it can be seen.
    pub place: HopPlace,
    /// None: not seen before the deadline.
    pub seen: Option<Seen>,
}

/// The first sighting of a hop.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The event's or log line's own timestamp; without one, the local clock.
    pub at: DateTime<Utc>,
    /// Since the payment was posted.
    pub after: Duration,
    /// `partition 2 offset 17`, `201 Created`, `7 rows`.
    pub detail: String,
}
