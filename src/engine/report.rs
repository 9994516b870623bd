//! What `up` hands back.

use std::time::Duration;

use super::event::Outcome;

/// How a whole `up` went.
#[derive(Debug, Clone)]
pub(crate) struct UpReport {
    /// In the declaration's order.
    pub(crate) services: Vec<ServiceReport>,
    pub(crate) took: Duration,
}

/// How one service came up.
#[derive(Debug, Clone)]
pub(crate) struct ServiceReport {
    pub(crate) name: String,
    pub(crate) outcome: Outcome,
    /// From the moment that it could begin until it was ready.
    pub(crate) took: Duration,
    /// Where the host reaches it: its URL, else its published ports.
    pub(crate) addresses: Vec<String>,
}
