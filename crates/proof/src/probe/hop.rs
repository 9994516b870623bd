//! One step of a payment's way through the pipeline.

use std::time::Duration;

use chrono::{DateTime, Utc};

use declaration::Pattern;

/// Where a hop can be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HopPlace {
    /// The HTTP request that made the payment, answered by this service.
    Entry { service: String },
    /// An event on a topic.
    Topic { topic: String },
    /// A worker's log line of one stage.
    Log { service: String, stage: Pattern },
    /// Rows of a table.
    Table { table: String, rows: i64 },
    /// Redis keys gone.
    Cache { service: String, keys: usize },
}

/// A hop and what came of it.
#[derive(Debug, Clone)]
pub struct Hop {
    pub place: HopPlace,
    /// None: not seen before the deadline.
    pub seen: Option<Seen>,
}

/// When and how a hop was seen.
#[derive(Debug, Clone)]
pub struct Seen {
    /// By the clock of the place itself where it has one (event or log timestamp), else ours.
    pub at: DateTime<Utc>,
    /// Since the payment was posted.
    pub after: Duration,
    /// `partition 2 offset 17`, `201 Created`, `7 rows`.
    pub detail: String,
}
