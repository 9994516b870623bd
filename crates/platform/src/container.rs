//! Instances of services: containers, as the platform describes them.

use std::{collections::BTreeMap, net::IpAddr};

use super::labels;
use chrono::{DateTime, TimeDelta, Utc};
use declaration::Service;

/// What a container is set to, key by key, in Compose's words: `environment.LOG_FORMAT` to its value. A
/// key that is absent is not set.
pub type Settings = BTreeMap<String, String>;

/// A container of a service.
#[derive(Debug, Clone)]
pub struct Container {
    pub id: String,
    /// Without the leading slash.
    pub name: String,
    /// The Compose service label.
    pub service: String,
    /// The Compose container number label, from 1.
    pub replica: u32,
    pub state: State,
    /// Of the last run, once it ended.
    pub exit_code: Option<i64>,
    pub oom_killed: bool,
    /// In bytes, where it has one.
    pub memory_limit: Option<i64>,
    /// Docker's own error text, for instance why a start failed.
    pub error: Option<String>,
    /// Its log begins there, unless it was rotated.
    pub created_at: Option<DateTime<Utc>>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    /// By Docker's restart policy, since the container was last started by hand.
    pub restart_count: i64,
    pub health: Option<Health>,
    pub image_id: String,
    /// In its networks.
    pub addresses: Vec<IpAddr>,
    /// `127.0.0.1:8080->8080/tcp`
    pub ports: Vec<String>,
    pub labels: BTreeMap<String, String>,
    pub settings: Settings,
    /// On the host; 0 when not running.
    pub pid: i64,
}

impl Container {
    /// From when on log lines belong to the current run, or to the last one if it ended. None: it
    /// never ran.
    ///
    /// Docker notes `StartedAt` when the process runs already, so its first lines may be older, and
    /// so may the end of a short run. While it runs, the end of the run before bounds them.
    pub fn run_began(&self) -> Option<DateTime<Utc>> {
        let started = self.started_at?;
        let earliest = started - TimeDelta::seconds(1);
        let runs = matches!(self.state, State::Running | State::Paused);
        let previous_end = self.finished_at.filter(|end| runs && *end <= started);
        Some(previous_end.map_or(earliest, |end| end.max(earliest)))
    }
}

/// How many replicas a service is to have: as declared, or more where `caravan scale` added some.
pub fn replicas(service: &Service, containers: &[Container]) -> u32 {
    let scaled =
        |c: &&Container| c.service == service.name && c.labels.contains_key(labels::SCALED);
    let highest = containers.iter().filter(scaled).map(|c| c.replica).max();
    service.replicas.max(highest.unwrap_or_default())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Created,
    Running,
    Paused,
    Restarting,
    Removing,
    Exited,
    Dead,
    Unknown,
}

impl State {
    /// Docker's own word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Removing => "removing",
            Self::Exited => "exited",
            Self::Dead => "dead",
            Self::Unknown => "unknown",
        }
    }
}

/// Docker's health check of a container that has one.
#[derive(Debug, Clone)]
pub struct Health {
    /// `starting`, `healthy` or `unhealthy`.
    pub status: String,
    pub failing_streak: i64,
    /// What the last probes said, oldest first, trimmed; the exit code where one failed silently.
    pub outputs: Vec<String>,
}
