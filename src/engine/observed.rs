//! What Docker has of a project, parsed leniently.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};

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
    /// Docker's own error text, for instance why a start failed.
    pub(crate) error: Option<String>,
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
    /// On the host; 0 when not running.
    pub(crate) pid: i64,
}

impl Container {
    /// From when on log lines belong to the current run, or to the last one if it ended. None: it
    /// never ran.
    ///
    /// Docker notes `StartedAt` when the process runs already, so its first lines may be older;
    /// the end of the run before bounds them, where it is still known.
    pub(crate) fn run_began(&self) -> Option<DateTime<Utc>> {
        let started = self.started_at?;
        let earliest = started - TimeDelta::seconds(1);
        let previous_end = self.finished_at.filter(|end| *end <= started);
        Some(previous_end.map_or(earliest, |end| end.max(earliest)))
    }
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
    /// Output of the last probes, oldest first, trimmed.
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
