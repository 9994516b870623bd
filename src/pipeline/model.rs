//! The pipeline as declared: every name resolved, every reference checked. Everything else that
//! Caravan does is derived from this.

mod build;
mod grant;
mod group;
mod http;
mod letters;
mod runtime;
mod table;

pub(crate) use build::{Build, Dockerfile};
pub(crate) use grant::{Grant, Written};
pub(crate) use group::Group;
pub(crate) use http::{Http, HttpRequest};
pub(crate) use letters::LetterHeaders;
pub(crate) use runtime::{Device, Runtime, Ulimit};
pub(crate) use table::{Column, Removal, Table};

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::{correlation::Correlation, pattern::Pattern, yaml::Position};

/// A Compose file with its `x-caravan`, parsed, interpolated and validated.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Pipeline {
    /// Compose project name: the prefix and label of all that belongs to it.
    pub(crate) project: String,
    pub(crate) origin: Origin,
    /// In the file's order.
    pub(crate) services: Vec<Service>,
    /// Services that belong to it only under a profile that is not active.
    pub(crate) inactive: Vec<Service>,
    /// Where drivers of networks and volumes are named, by their names.
    #[serde(skip)]
    pub(crate) drivers: BTreeMap<String, Position>,
    pub(crate) networks: Vec<Network>,
    pub(crate) volumes: Vec<Volume>,
    pub(crate) kafka: Option<Endpoint>,
    pub(crate) postgres: Option<Endpoint>,
    pub(crate) redis: Option<Endpoint>,
    pub(crate) topics: Vec<Topic>,
    /// The topic of dead letters, one of `topics`.
    pub(crate) dead_letters: Option<String>,
    /// What their headers are called.
    pub(crate) letter_headers: LetterHeaders,
    pub(crate) migrations: Option<Migrations>,
    /// In the order in which one payment reaches them.
    pub(crate) tables: Vec<Table>,
    /// Stage name to what a log line of that stage has.
    pub(crate) stages: BTreeMap<String, Pattern>,
    /// A line that has one of these is a failure.
    pub(crate) forbidden_logs: Vec<Pattern>,
    /// Unless it has one of these, too.
    pub(crate) allowed_logs: Vec<Pattern>,
    /// The share of lines at level error (percent) from which on it is told of, if one is declared.
    pub(crate) error_logs: Option<f64>,
    pub(crate) flow: Option<Flow>,
    pub(crate) invariants: Vec<Invariant>,
    /// Values that must never be shown.
    pub(crate) secrets: Vec<String>,
    /// What a person should know about the declaration, a line each.
    pub(crate) warnings: Vec<String>,
}

/// Where the declaration came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Origin {
    /// The pipeline that Caravan ships.
    Embedded,
    /// Compose files, absolute, later ones over earlier ones.
    Files(Vec<PathBuf>),
}

/// A part of the infrastructure and where the host reaches it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Endpoint {
    /// The service that provides it; none where somebody else does.
    pub(crate) service: Option<String>,
    /// `host:port` for Kafka, a URL (with credentials) for the others.
    pub(crate) address: String,
}

/// A topic as declared. What is None is not declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) partitions: i32,
    pub(crate) retention: Option<Duration>,
    /// Copies of each partition.
    pub(crate) replication: Option<i32>,
    /// `min.insync.replicas`
    pub(crate) min_insync: Option<i32>,
}

/// How applied migrations are known.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Migrations {
    /// sqlx's bookkeeping table: `version bigint, success boolean`.
    pub(crate) table: String,
    /// The version that must be applied.
    pub(crate) latest: i64,
}

/// A rule over the database.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Invariant {
    /// Key in the declaration, stable.
    pub(crate) name: String,
    /// The rule in words.
    pub(crate) says: String,
    /// A younger counterexample is in flight.
    pub(crate) grace: Duration,
    /// Returns counterexamples as (`id text`, `since timestamptz`).
    pub(crate) sql: String,
    /// How far back it looks, where the query has [`RULE_SINCE`]. None: at everything.
    pub(crate) within: Option<Duration>,
    /// What the query may take.
    pub(crate) patience: Duration,
    /// The event that, replayed, heals a counterexample: its topic and the query that turns the
    /// counterexample's id (`$1`, text) into the event's key.
    pub(crate) replay: Option<Replay>,
}

/// Stands in a rule's query for the time (timestamptz) from which on it looks.
pub(crate) const RULE_SINCE: &str = "$1";
/// A span that goes back to the beginning.
pub(crate) const EVER: Duration = Duration::MAX;
/// What a rule's query may take every day, while people wait: where it looks back as far as is
/// declared, and where it always looks at everything.
pub(crate) const RULE_PATIENCE: Duration = Duration::from_secs(1);
pub(crate) const RULE_PATIENCE_WITH_ALL: Duration = Duration::from_secs(5);

/// See [`Invariant::replay`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Replay {
    pub(crate) topic: String,
    pub(crate) key_sql: String,
}

/// How one payment enters the pipeline and what it leaves.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Flow {
    /// Names for `{{name}}`: `uuid` draws a random one per payment, `now` is the moment at which
    /// it is made, anything else stands for itself.
    pub(crate) values: BTreeMap<String, String>,
    /// The request that makes it; where there is none there is an `event`.
    pub(crate) entry: Option<Entry>,
    /// What the entry announces, for those who produce it themselves.
    pub(crate) event: Option<FirstEvent>,
    /// How it is known again on its way.
    pub(crate) correlation: Correlation,
    /// What `test-flow --poison` sends; None: something that is not JSON, to the first event's topic.
    pub(crate) poison: Option<Poison>,
    pub(crate) gone_keys: Option<GoneKeys>,
}

impl Flow {
    /// Who makes a payment: the entry service or, where it begins with its first event, nobody of
    /// the pipeline. (No service has a space in its name.)
    pub(crate) fn maker(&self) -> &str {
        self.entry
            .as_ref()
            .map_or("caravan test-flow", |entry| &entry.service)
    }
}

/// Where a payment's correlation id comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum IdSource {
    /// JSON pointer (RFC 6901) into the answer, or into the event's body.
    Pointer(String),
    /// A text with `{{name}}` in it.
    Template(String),
}

/// The HTTP request that makes a payment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) service: String,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    /// JSON with `{{name}}` inside strings; a string alone is sent as it is.
    pub(crate) body: serde_json::Value,
    /// The status that means accepted.
    pub(crate) status: u16,
    pub(crate) correlation_id: IdSource,
}

/// The event by which a payment enters the topics.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct FirstEvent {
    pub(crate) topic: String,
    pub(crate) key: Option<String>,
    pub(crate) headers: BTreeMap<String, String>,
    /// JSON with `{{name}}` inside strings; a string alone is sent as it is.
    pub(crate) body: serde_json::Value,
    pub(crate) correlation_id: IdSource,
    /// JSON pointer into the body: what tells one event from another of the same payment.
    pub(crate) id: Option<String>,
}

/// An event that is to be given up.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Poison {
    pub(crate) topic: String,
    /// None: as the first event's.
    pub(crate) key: Option<String>,
    /// A string is sent as it is, anything else as JSON; both with `{{name}}` filled in.
    pub(crate) body: serde_json::Value,
    /// What its dead letter has to give as the reason.
    pub(crate) reason: Option<String>,
}

/// Redis keys that a service deletes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct GoneKeys {
    pub(crate) service: String,
    pub(crate) keys: Vec<String>,
}

/// A service: the Compose half, resolved to what Docker needs, and the `x-caravan` half.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Service {
    pub(crate) name: String,
    /// Under which it belongs to the pipeline; under any where there is none.
    pub(crate) profiles: Vec<String>,
    /// Of what is built here: the name that it gets.
    pub(crate) image: String,
    pub(crate) build: Option<Build>,
    pub(crate) pull_policy: PullPolicy,
    /// `container_name`, else derived from project and service by the engine.
    pub(crate) container_name: Option<String>,
    pub(crate) entrypoint: Option<Vec<String>>,
    pub(crate) command: Option<Vec<String>>,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) ports: Vec<Port>,
    pub(crate) mounts: Vec<Mount>,
    /// Secrets and configs.
    pub(crate) grants: Vec<Grant>,
    /// Keys of `networks`, with extra aliases.
    pub(crate) networks: Vec<NetworkUse>,
    pub(crate) depends_on: Vec<Dependency>,
    pub(crate) healthcheck: Option<Healthcheck>,
    pub(crate) restart: Restart,
    pub(crate) replicas: u32,
    pub(crate) user: Option<String>,
    pub(crate) working_dir: Option<String>,
    pub(crate) hostname: Option<String>,
    pub(crate) read_only: bool,
    pub(crate) init: bool,
    pub(crate) tmpfs: Vec<String>,
    pub(crate) cap_add: Vec<String>,
    pub(crate) cap_drop: Vec<String>,
    pub(crate) security_opt: Vec<String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) logging: Option<Logging>,
    pub(crate) stop_grace_period: Option<Duration>,
    pub(crate) stop_signal: Option<String>,
    /// Bytes.
    pub(crate) mem_limit: Option<i64>,
    pub(crate) pids_limit: Option<i64>,
    /// Bytes.
    pub(crate) shm_size: Option<i64>,
    pub(crate) extra_hosts: Vec<String>,
    pub(crate) runtime: Runtime,

    // x-caravan
    pub(crate) image_from: ImageFrom,
    /// How `up` knows that it is ready, besides its startup line.
    pub(crate) ready: Option<Ready>,
    /// The line that says that it works.
    pub(crate) startup: Option<Pattern>,
    /// Set on a one-shot: what it leaves behind. It runs again when that is missing.
    pub(crate) effect: Option<Effect>,
    pub(crate) http: Option<Http>,
    pub(crate) group: Option<Group>,
    pub(crate) consumes: Vec<String>,
    pub(crate) emits: Vec<String>,
    pub(crate) writes: Vec<String>,
    pub(crate) calls: Vec<String>,
    /// Names out of [`Pipeline::stages`], in order.
    pub(crate) stages: Vec<String>,
}

impl Service {
    /// A one-shot ends by itself: another service waits for its completion, or it declares an effect.
    pub(crate) fn is_one_shot(&self, pipeline: &Pipeline) -> bool {
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
pub(crate) const TEMPLATES: &[&str] = &["kafka", "postgres", "redis"];

/// Where a service's image comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum ImageFrom {
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
pub(crate) enum PullPolicy {
    /// Where there is no local one.
    #[default]
    Missing,
    /// Each time.
    Always,
    Never,
}

/// Protocol probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ready {
    Kafka,
    Postgres,
    Redis,
}

/// What a one-shot leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Effect {
    /// All declared topics with at least their partitions.
    Topics,
    /// The declared migrations.
    Migrations,
}

/// A host port that a container of the engine has, or will have as soon as it runs, whichever
/// project it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PortBinding {
    pub(crate) number: u16,
    /// `tcp` or `udp`
    pub(crate) protocol: String,
    /// The container's name.
    pub(crate) container: String,
    /// The Compose project of the container.
    pub(crate) project: Option<String>,
}

/// A published TCP or UDP port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Port {
    /// Address on the host; Compose's default is all of them, Caravan's is loopback.
    pub(crate) host_ip: String,
    /// None: Docker picks one.
    pub(crate) host_port: Option<u16>,
    pub(crate) container_port: u16,
    /// `tcp` or `udp`.
    pub(crate) protocol: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mount {
    pub(crate) source: MountSource,
    /// Path in the container.
    pub(crate) target: String,
    pub(crate) read_only: bool,
    /// As Docker's `-v` takes them, `ro` and `rw` apart: of a path `z`, `Z` and how mounts below it
    /// are propagated; of a volume `nocopy`.
    pub(crate) options: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum MountSource {
    /// Key of `volumes`.
    Volume(String),
    /// Absolute path on the host.
    Bind(PathBuf),
    /// A volume of the container's own.
    Anonymous,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NetworkUse {
    pub(crate) network: String,
    pub(crate) aliases: Vec<String>,
    pub(crate) ipv4_address: Option<String>,
    pub(crate) ipv6_address: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) service: String,
    pub(crate) condition: Condition,
    /// Otherwise it is waited for, but may fail.
    pub(crate) required: bool,
    /// Whether its restart is one of the dependant, too.
    pub(crate) restart: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Condition {
    Started,
    Healthy,
    Completed,
}

/// Docker's health check; None fields are Docker's defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Healthcheck {
    /// As Docker takes it: `["CMD", …]`, `["CMD-SHELL", …]` or `["NONE"]`.
    pub(crate) test: Vec<String>,
    pub(crate) interval: Option<Duration>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) start_period: Option<Duration>,
    /// Engines below API 1.44 do not know it.
    pub(crate) start_interval: Option<Duration>,
    pub(crate) retries: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Restart {
    No,
    Always,
    UnlessStopped,
    /// With the most retries, if bounded.
    OnFailure(Option<u32>),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Logging {
    pub(crate) driver: String,
    pub(crate) options: BTreeMap<String, String>,
}

/// A network of the project, or an external one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Network {
    pub(crate) key: String,
    /// Docker's name.
    pub(crate) name: String,
    pub(crate) external: bool,
    pub(crate) driver: Option<String>,
    pub(crate) driver_opts: BTreeMap<String, String>,
    pub(crate) internal: bool,
    pub(crate) attachable: bool,
    pub(crate) enable_ipv6: bool,
    pub(crate) subnets: Vec<Subnet>,
    pub(crate) labels: BTreeMap<String, String>,
}

/// An entry of a network's `ipam.config`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Subnet {
    pub(crate) subnet: Option<String>,
    pub(crate) ip_range: Option<String>,
    pub(crate) gateway: Option<String>,
}

/// A named volume of the project, or an external one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Volume {
    pub(crate) key: String,
    /// Docker's name.
    pub(crate) name: String,
    pub(crate) external: bool,
    pub(crate) driver: Option<String>,
    pub(crate) driver_opts: BTreeMap<String, String>,
    pub(crate) labels: BTreeMap<String, String>,
}

impl Pipeline {
    pub(crate) fn service(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|s| s.name == name)
    }

    pub(crate) fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.iter().find(|t| t.name == name)
    }

    pub(crate) fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|t| t.name == name)
    }
}
