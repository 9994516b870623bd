//! The containers of services.

use std::{collections::BTreeMap, net::IpAddr};

use chrono::{DateTime, TimeDelta, Utc};
use declaration::Service;

/// The configuration of a container: Compose key, for instance `environment.LOG_FORMAT`, to value. A
/// key that is absent is not set.
pub type Settings = BTreeMap<String, String>;

/// A container of a service.
#[derive(Debug, Clone)]
pub struct Container {
    /// The platform's id of it.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The declared service.
    pub service: String,
    /// Its number among the replicas of its service, from 1.
    pub replica: u32,
    /// Whether Caravan created it, or another tool from the same declaration.
    pub by_caravan: bool,
    /// Whether `caravan scale` added it to the declared replicas: `up` does not remove it.
    pub scaled: bool,
    /// The files of the declaration that it was created from, comma separated, or `embedded`. None: not
    /// recorded.
    pub declared_in: Option<String>,
    /// Its state.
    pub state: State,
    /// Exit code of the last run. None: it has not ended.
    pub exit_code: Option<i64>,
    /// Whether the kernel killed a process of the last run because memory ran out.
    pub oom_killed: bool,
    /// In bytes. None: no limit.
    pub memory_limit: Option<i64>,
    /// The platform's own error text, for instance why a start failed.
    pub error: Option<String>,
    /// When it was created. Its log begins there, unless the log was rotated.
    pub created_at: Option<DateTime<Utc>>,
    /// Start of the current or last run. None: it never ran.
    pub started_at: Option<DateTime<Utc>>,
    /// End of the last run that ended. None: no run ended yet.
    pub finished_at: Option<DateTime<Utc>>,
    /// Restarts by its restart policy since the container was last started by hand.
    pub restart_count: i64,
    /// None: the container has no health check.
    pub health: Option<Health>,
    /// Digest of the image that the container was created from.
    pub image_id: String,
    /// Its addresses in its networks.
    pub addresses: Vec<IpAddr>,
    /// Published ports, each as `127.0.0.1:8080->8080/tcp`.
    pub ports: Vec<String>,
    /// Its labels, for the implementation of the platform; they include those of the image.
    pub labels: BTreeMap<String, String>,
    /// Its configuration, as it is compared with the declaration to find drift.
    pub settings: Settings,
}

impl Container {
    /// Whether it has processes, frozen ones included.
    pub fn has_processes(&self) -> bool {
        matches!(self.state, State::Running | State::Paused)
    }

    /// The time from which log lines belong to the current run, or to the last run if that ended.
    /// None: the container never ran.
    ///
    /// The start is recorded after the process started. The first lines of the run, and even the end of
    /// a short run, may be older. While the container runs, the end of the previous run
    /// is the lower bound.
    pub fn run_began(&self) -> Option<DateTime<Utc>> {
        let started = self.started_at?;
        let earliest = started - TimeDelta::seconds(1);
        let runs = self.has_processes();
        let previous_end = self.finished_at.filter(|end| runs && *end <= started);
        Some(previous_end.map_or(earliest, |end| end.max(earliest)))
    }
}

/// The desired number of replicas of a service: the declared number, or more if `caravan scale`
/// added some.
pub fn replicas(service: &Service, containers: &[Container]) -> u32 {
    let scaled = |c: &&Container| c.service == service.name && c.scaled;
    let highest = containers.iter().filter(scaled).map(|c| c.replica).max();
    service.replicas.max(highest.unwrap_or_default())
}

/// The state of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Created, and never started.
    Created,
    /// Its main process runs, or is being stopped.
    Running,
    /// Its processes are frozen.
    Paused,
    /// It exited, and the restart policy starts it again.
    Restarting,
    /// It is being removed.
    Removing,
    /// Its main process ended.
    Exited,
    /// It could not be removed completely.
    Dead,
    /// The platform reported no state, or one that this version does not know.
    Unknown,
}

impl State {
    /// The name of the state.
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

/// The result of a container's health check.
#[derive(Debug, Clone)]
pub struct Health {
    /// `starting`, `healthy` or `unhealthy`.
    pub status: String,
    /// How many probes in a row failed.
    pub failing_streak: i64,
    /// Output of the last probes, oldest first, trimmed. A failed probe without output is shown as its
    /// exit code.
    pub outputs: Vec<String>,
}
