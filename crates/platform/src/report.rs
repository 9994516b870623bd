//! What `up` hands back.

use std::time::Duration;

use super::event::Outcome;

/// How a whole `up` went.
#[derive(Debug, Clone)]
pub struct UpReport {
    /// In the declaration's order.
    pub services: Vec<ServiceReport>,
    pub took: Duration,
}

/// How one service came up.
#[derive(Debug, Clone)]
pub struct ServiceReport {
    pub name: String,
    pub outcome: Outcome,
    /// From the moment that it could begin until it was ready.
    pub took: Duration,
    /// Where the host reaches it: its URL, else its published ports.
    pub addresses: Vec<String>,
}
