//! One synthetic payment, followed hop by hop.

use std::time::Duration;

use chrono::{DateTime, Utc};

pub(crate) mod hop;

use hop::Hop;

/// How to probe.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// Leave the payment's rows where they are.
    pub(crate) keep: bool,
    /// For the last hop to be seen.
    pub(crate) timeout: Duration,
}

/// A payment's way, as far as it came.
#[derive(Debug)]
pub(crate) struct Trace {
    /// What the entry service called it.
    pub(crate) correlation_id: Option<String>,
    pub(crate) posted_at: DateTime<Utc>,
    /// All that are expected, in the expected order.
    pub(crate) hops: Vec<Hop>,
    /// From the request to the last hop that was seen, or the deadline.
    pub(crate) took: Duration,
    /// The first hop that was not seen.
    pub(crate) missing: Option<Missing>,
    pub(crate) cleanup: Cleanup,
}

/// Where a payment got stuck.
#[derive(Debug)]
pub(crate) struct Missing {
    /// Index into [`Trace::hops`].
    pub(crate) hop: usize,
    /// Whose work it is.
    pub(crate) service: String,
    /// What Docker says of that service's containers.
    pub(crate) state: String,
    /// Of this start, oldest first.
    pub(crate) last_log_lines: Vec<String>,
}

/// What became of the payment's rows and keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cleanup {
    /// The payment was not made, or left no trace that can be deleted.
    Nothing,
    /// As asked.
    Kept,
    /// Rows for each table, in the order of their deletion.
    Deleted(Vec<(String, u64)>),
    /// What is still there, and why.
    Failed(String),
}
