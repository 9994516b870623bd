//! The pipeline as declared: every name resolved, every reference checked. Everything else that
//! Caravan does is derived from this.

mod build;
mod grant;
mod group;
mod http;
mod letters;
mod runtime;
mod table;

pub use build::{Build, Dockerfile};
pub use grant::{Grant, Written};
pub use group::Group;
pub use http::{Http, HttpRequest};
pub use letters::{DEAD_LETTER_HEADER_BYTES, LetterHeaders, REPLAY_OF};
pub use runtime::{Device, Runtime, Ulimit};
pub use table::{Column, Removal, Table};

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::{correlation::Correlation, pattern::Pattern, yaml::Position};

/// A Compose file with its `x-caravan`, parsed, interpolated and validated.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Pipeline {
    /// Compose project name: the prefix and label of all that belongs to it.
    pub project: String,
    pub origin: Origin,
    pub state: StateFiles,
    /// In the file's order.
    pub services: Vec<Service>,
    /// Services that belong to it only under a profile that is not active.
    pub inactive: Vec<Service>,
    /// Where drivers of networks and volumes are named, by their names.
    #[serde(skip)]
    pub drivers: BTreeMap<String, Position>,
    pub networks: Vec<Network>,
    pub volumes: Vec<Volume>,
    pub kafka: Option<Endpoint>,
    pub postgres: Option<Endpoint>,
    pub redis: Option<Endpoint>,
    pub topics: Vec<Topic>,
    /// The topic of dead letters, one of `topics`.
    pub dead_letters: Option<String>,
    /// What their headers are called.
    pub letter_headers: LetterHeaders,
    pub migrations: Option<Migrations>,
    /// In the order in which one payment reaches them.
    pub tables: Vec<Table>,
    /// Stage name to what a log line of that stage has.
    pub stages: BTreeMap<String, Pattern>,
    /// A line that has one of these is a failure.
    pub forbidden_logs: Vec<Pattern>,
    /// Unless it has one of these, too.
    pub allowed_logs: Vec<Pattern>,
    /// The share of lines at level error (percent) from which on it is told of, if one is declared.
    pub error_logs: Option<f64>,
    pub flow: Option<Flow>,
    pub invariants: Vec<Invariant>,
    /// Values that must never be shown.
    pub secrets: Vec<String>,
    /// What a person should know about the declaration, a line each.
    pub warnings: Vec<String>,
}

/// Where the declaration came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// The pipeline that Caravan ships.
    Embedded,
    /// Compose files, absolute, later ones over earlier ones.
    Files(Vec<PathBuf>),
}

/// Where Caravan keeps what belongs to a project beside its declaration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateFiles {
    /// With `.env`, chosen ports and written secrets.
    pub directory: PathBuf,
    /// The file of variables, where `--env-file` named one.
    pub env_file: Option<PathBuf>,
}

impl StateFiles {
    /// The file of variables.
    pub fn env_path(&self) -> PathBuf {
        let default = || self.directory.join(".env");
        self.env_file.clone().unwrap_or_else(default)
    }
}

/// A part of the infrastructure and where the host reaches it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Endpoint {
    /// The service that provides it; none where somebody else does.
    pub service: Option<String>,
    /// `host:port` for Kafka, a URL (with credentials) for the others.
    pub address: String,
}

/// A topic as declared. What is None is not declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topic {
    pub name: String,
    pub partitions: i32,
    pub retention: Option<Duration>,
    /// Copies of each partition.
    pub replication: Option<i32>,
    /// `min.insync.replicas`
    pub min_insync: Option<i32>,
}

/// How applied migrations are known.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Migrations {
    /// sqlx's bookkeeping table: `version bigint, success boolean`.
    pub table: String,
    /// The version that must be applied.
    pub latest: i64,
}

/// A rule over the database.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Invariant {
    /// Key in the declaration, stable.
    pub name: String,
    /// The rule in words.
    pub says: String,
    /// A younger counterexample is in flight.
    pub grace: Duration,
    /// Returns counterexamples as (`id text`, `since timestamptz`).
    pub sql: String,
    /// How far back it looks, where the query has [`RULE_SINCE`]. None: at everything.
    pub within: Option<Duration>,
    /// What the query may take.
    pub patience: Duration,
    /// The event that, replayed, heals a counterexample: its topic and the query that turns the
    /// counterexample's id (`$1`, text) into the event's key.
    pub replay: Option<Replay>,
}

/// Stands in a rule's query for the time (timestamptz) from which on it looks.
pub const RULE_SINCE: &str = "$1";
/// A span that goes back to the beginning.
pub const EVER: Duration = Duration::MAX;
/// What a rule's query may take every day, while people wait: where it looks back as far as is
/// declared, and where it always looks at everything.
pub const RULE_PATIENCE: Duration = Duration::from_secs(1);
pub const RULE_PATIENCE_WITH_ALL: Duration = Duration::from_secs(5);

/// See [`Invariant::replay`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Replay {
    pub topic: String,
    pub key_sql: String,
}

/// How one payment enters the pipeline and what it leaves.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Flow {
    /// Names for `{{name}}`: `uuid` draws a random one per payment, `now` is the moment at which
    /// it is made, anything else stands for itself.
    pub values: BTreeMap<String, String>,
    /// The request that makes it; where there is none there is an `event`.
    pub entry: Option<Entry>,
    /// What the entry announces, for those who produce it themselves.
    pub event: Option<FirstEvent>,
    /// How it is known again on its way.
    pub correlation: Correlation,
    /// What `test-flow --poison` sends; None: something that is not JSON, to the first event's topic.
    pub poison: Option<Poison>,
    pub gone_keys: Option<GoneKeys>,
    /// Topics that a payment does not reach: of retries, or of another flow.
    pub excludes: Vec<String>,
}

impl Flow {
    /// Who makes a payment: the entry service or, where it begins with its first event, nobody of
    /// the pipeline. (No service has a space in its name.)
    pub fn maker(&self) -> &str {
        self.entry
            .as_ref()
            .map_or("caravan test-flow", |entry| &entry.service)
    }
}

/// Where a payment's correlation id comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum IdSource {
    /// JSON pointer (RFC 6901) into the answer, or into the event's body.
    Pointer(String),
    /// A text with `{{name}}` in it.
    Template(String),
}

/// The HTTP request that makes a payment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    pub service: String,
    pub method: String,
    pub path: String,
    pub headers: BTreeMap<String, String>,
    /// JSON with `{{name}}` inside strings; a string alone is sent as it is.
    pub body: serde_json::Value,
    /// The status that means accepted.
    pub status: u16,
    pub correlation_id: IdSource,
}

/// The event by which a payment enters the topics.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FirstEvent {
    pub topic: String,
    pub key: Option<String>,
    pub headers: BTreeMap<String, String>,
    /// JSON with `{{name}}` inside strings; a string alone is sent as it is.
    pub body: serde_json::Value,
    pub correlation_id: IdSource,
    /// JSON pointer into the body: what tells one event from another of the same payment.
    pub id: Option<String>,
}

/// An event that is to be given up.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Poison {
    pub topic: String,
    /// None: as the first event's.
    pub key: Option<String>,
    /// A string is sent as it is, anything else as JSON; both with `{{name}}` filled in.
    pub body: serde_json::Value,
    /// What its dead letter has to give as the reason.
    pub reason: Option<String>,
}

/// Redis keys that a service deletes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GoneKeys {
    pub service: String,
    pub keys: Vec<String>,
}

/// A service: the Compose half, resolved to what Docker needs, and the `x-caravan` half.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Service {
    pub name: String,
    /// Under which it belongs to the pipeline; under any where there is none.
    pub profiles: Vec<String>,
    /// Of what is built here: the name that it gets.
    pub image: String,
    pub build: Option<Build>,
    pub pull_policy: PullPolicy,
    /// `container_name`, else derived from project and service by the engine.
    pub container_name: Option<String>,
    pub entrypoint: Option<Vec<String>>,
    pub command: Option<Vec<String>>,
    pub environment: BTreeMap<String, String>,
    pub ports: Vec<Port>,
    pub mounts: Vec<Mount>,
    /// Secrets and configs.
    pub grants: Vec<Grant>,
    /// Keys of `networks`, with extra aliases.
    pub networks: Vec<NetworkUse>,
    pub depends_on: Vec<Dependency>,
    pub healthcheck: Option<Healthcheck>,
    pub restart: Restart,
    pub replicas: u32,
    pub user: Option<String>,
    pub working_dir: Option<String>,
    pub hostname: Option<String>,
    pub read_only: bool,
    pub init: bool,
    pub tmpfs: Vec<String>,
    pub cap_add: Vec<String>,
    pub cap_drop: Vec<String>,
    pub security_opt: Vec<String>,
    pub labels: BTreeMap<String, String>,
    pub logging: Option<Logging>,
    pub stop_grace_period: Option<Duration>,
    pub stop_signal: Option<String>,
    /// Bytes.
    pub mem_limit: Option<i64>,
    pub pids_limit: Option<i64>,
    /// Bytes.
    pub shm_size: Option<i64>,
    pub extra_hosts: Vec<String>,
    pub runtime: Runtime,

    // x-caravan
    pub image_from: ImageFrom,
    /// How `up` knows that it is ready, besides its startup line.
    pub ready: Option<Ready>,
    /// The line that says that it works.
    pub startup: Option<Pattern>,
    /// Set on a one-shot: what it leaves behind. It runs again when that is missing.
    pub effect: Option<Effect>,
    pub http: Option<Http>,
    pub group: Option<Group>,
    pub consumes: Vec<String>,
    pub emits: Vec<String>,
    pub writes: Vec<String>,
    pub calls: Vec<String>,
    /// Names out of [`Pipeline::stages`], in order.
    pub stages: Vec<String>,
}

impl Service {
    /// A one-shot ends by itself: another service waits for its completion, or it declares an effect.
    pub fn is_one_shot(&self, pipeline: &Pipeline) -> bool {
        self.effect.is_some()
            || pipeline.services.iter().any(|s| {
                s.depends_on
                    .iter()
                    .any(|d| d.service == self.name && d.condition == Condition::Completed)
            })
    }
}

/// Images that Caravan can build from its own templates (`templates/images/NAME`): what
/// `image-from` may say, besides `self`.
pub const TEMPLATES: &[&str] = &["kafka", "postgres", "redis"];

/// Where a service's image comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ImageFrom {
    /// Local, else pulled.
    #[default]
    Registry,
    /// Packed from the running executable.
    Caravan,
    /// Rendered from `templates/images/<name>`; see `engine::images`.
    Template(&'static str),
}

impl Serialize for ImageFrom {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::Registry => "registry",
            Self::Caravan => "self",
            Self::Template(name) => name,
        })
    }
}

impl<'de> Deserialize<'de> for ImageFrom {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "registry" => Ok(Self::Registry),
            "self" => Ok(Self::Caravan),
            name => match TEMPLATES.iter().find(|known| **known == name) {
                Some(known) => Ok(Self::Template(known)),
                None => Err(D::Error::custom(format!("there is no template {name}"))),
            },
        }
    }
}

/// When a registry is asked for an image that is not built here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PullPolicy {
    /// Where there is no local one.
    #[default]
    Missing,
    /// Each time.
    Always,
    Never,
}

/// Protocol probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ready {
    Kafka,
    Postgres,
    Redis,
}

/// What a one-shot leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// All declared topics with at least their partitions.
    Topics,
    /// The declared migrations.
    Migrations,
}

/// A host port that a container of the engine has, or will have as soon as it runs, whichever
/// project it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortBinding {
    /// Address on the host; empty for all of them.
    pub host_ip: String,
    pub number: u16,
    /// `tcp` or `udp`
    pub protocol: String,
    /// The container's name.
    pub container: String,
    /// The Compose project of the container.
    pub project: Option<String>,
    /// Whether the container runs, so that it has the port now.
    pub running: bool,
}

/// A published TCP or UDP port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Address on the host; Compose's default is all of them, Caravan's is loopback.
    pub host_ip: String,
    /// None: Docker picks one.
    pub host_port: Option<u16>,
    pub container_port: u16,
    /// `tcp` or `udp`.
    pub protocol: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    pub source: MountSource,
    /// Path in the container.
    pub target: String,
    pub read_only: bool,
    /// As Docker's `-v` takes them, `ro` and `rw` apart: of a path `z`, `Z` and how mounts below it
    /// are propagated; of a volume `nocopy`.
    pub options: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountSource {
    /// Key of `volumes`.
    Volume(String),
    /// Absolute path on the host.
    Bind(PathBuf),
    /// A volume of the container's own.
    Anonymous,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkUse {
    pub network: String,
    pub aliases: Vec<String>,
    pub ipv4_address: Option<String>,
    pub ipv6_address: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    pub service: String,
    pub condition: Condition,
    /// Otherwise it is waited for, but may fail.
    pub required: bool,
    /// Whether its restart is one of the dependant, too.
    pub restart: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    Started,
    Healthy,
    Completed,
}

/// Docker's health check; None fields are Docker's defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Healthcheck {
    /// As Docker takes it: `["CMD", …]`, `["CMD-SHELL", …]` or `["NONE"]`.
    pub test: Vec<String>,
    pub interval: Option<Duration>,
    pub timeout: Option<Duration>,
    pub start_period: Option<Duration>,
    /// Engines below API 1.44 do not know it.
    pub start_interval: Option<Duration>,
    pub retries: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Restart {
    No,
    Always,
    UnlessStopped,
    /// With the most retries, if bounded.
    OnFailure(Option<u32>),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logging {
    pub driver: String,
    pub options: BTreeMap<String, String>,
}

/// A network of the project, or an external one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    pub key: String,
    /// Docker's name.
    pub name: String,
    pub external: bool,
    pub driver: Option<String>,
    pub driver_opts: BTreeMap<String, String>,
    pub internal: bool,
    pub attachable: bool,
    pub enable_ipv6: bool,
    pub subnets: Vec<Subnet>,
    pub labels: BTreeMap<String, String>,
}

/// An entry of a network's `ipam.config`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    pub subnet: Option<String>,
    pub ip_range: Option<String>,
    pub gateway: Option<String>,
}

/// A named volume of the project, or an external one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    pub key: String,
    /// Docker's name.
    pub name: String,
    pub external: bool,
    pub driver: Option<String>,
    pub driver_opts: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
}

impl Pipeline {
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|s| s.name == name)
    }

    pub fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.iter().find(|t| t.name == name)
    }

    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|t| t.name == name)
    }
}
