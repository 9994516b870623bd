//! What Docker has of a project, parsed leniently.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use super::{labels, settings::Settings};
use chrono::{DateTime, TimeDelta, Utc};
use declaration::Service;

/// A container as `inspect` shows it.
#[derive(Debug, Clone)]
pub(crate) struct Container {
    pub(crate) id: String,
    /// Without the leading slash.
    pub(crate) name: String,
    /// The Compose service label.
    pub(crate) service: String,
    /// The Compose container number label, from 1.
    pub(crate) replica: u32,
    pub(crate) state: State,
    /// Of the last run, once it ended.
    pub(crate) exit_code: Option<i64>,
    pub(crate) oom_killed: bool,
    /// In bytes, where it has one.
    pub(crate) memory_limit: Option<i64>,
    /// Docker's own error text, for instance why a start failed.
    pub(crate) error: Option<String>,
    /// Its log begins there, unless it was rotated.
    pub(crate) created_at: Option<DateTime<Utc>>,
    pub(crate) started_at: Option<DateTime<Utc>>,
    pub(crate) finished_at: Option<DateTime<Utc>>,
    /// By Docker's restart policy, since the container was last started by hand.
    pub(crate) restart_count: i64,
    pub(crate) health: Option<Health>,
    pub(crate) image_id: String,
    /// In its networks.
    pub(crate) addresses: Vec<IpAddr>,
    /// `127.0.0.1:8080->8080/tcp`
    pub(crate) ports: Vec<String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) settings: Settings,
    /// On the host; 0 when not running.
    pub(crate) pid: i64,
}

impl Container {
    /// From when on log lines belong to the current run, or to the last one if it ended. None: it
    /// never ran.
    ///
    /// Docker notes `StartedAt` when the process runs already, so its first lines may be older, and
    /// so may the end of a short run. While it runs, the end of the run before bounds them.
    pub(crate) fn run_began(&self) -> Option<DateTime<Utc>> {
        let started = self.started_at?;
        let earliest = started - TimeDelta::seconds(1);
        let runs = matches!(self.state, State::Running | State::Paused);
        let previous_end = self.finished_at.filter(|end| runs && *end <= started);
        Some(previous_end.map_or(earliest, |end| end.max(earliest)))
    }
}

/// How many replicas a service is to have: as declared, or more where `caravan scale` added some.
pub(crate) fn replicas(service: &Service, containers: &[Container]) -> u32 {
    let scaled =
        |c: &&Container| c.service == service.name && c.labels.contains_key(labels::SCALED);
    let highest = containers.iter().filter(scaled).map(|c| c.replica).max();
    service.replicas.max(highest.unwrap_or_default())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
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
    pub(crate) fn name(self) -> &'static str {
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
pub(crate) struct Health {
    /// `starting`, `healthy` or `unhealthy`.
    pub(crate) status: String,
    pub(crate) failing_streak: i64,
    /// What the last probes said, oldest first, trimmed; the exit code where one failed silently.
    pub(crate) outputs: Vec<String>,
}

/// One line that a container wrote.
#[derive(Debug, Clone)]
pub(crate) struct LogLine {
    pub(crate) service: String,
    /// The container's name.
    pub(crate) container: Arc<str>,
    /// When Docker read it.
    pub(crate) at: DateTime<Utc>,
    pub(crate) text: String,
}
