//! The result of `up`.

use std::time::Duration;

use super::event::Outcome;

/// The result of a successful `up`.
#[derive(Debug, Clone)]
pub struct UpReport {
    /// In the declaration's order.
    pub services: Vec<ServiceReport>,
    /// Duration of the whole `up`.
    pub took: Duration,
}

/// The result for one service.
#[derive(Debug, Clone)]
pub struct ServiceReport {
    /// Name of the service.
    pub name: String,
    /// What `up` did.
    pub outcome: Outcome,
    /// From the time when its dependencies were ready until it was ready.
    pub took: Duration,
    /// Addresses on the host: its URL, or else its published ports.
    pub addresses: Vec<String>,
}
