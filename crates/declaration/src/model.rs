//! The pipeline as declared, with all names resolved and all references checked.

mod build;
mod dead_letters;
mod group;
mod http;
mod noun;
mod runtime;
mod secret_or_config;
mod shared;
mod table;

pub use build::{Build, Dockerfile};
pub use dead_letters::{DEAD_LETTER_HEADER_BYTES, DeadLetterHeaders, REPLAY_OF};
pub use group::Group;
pub use http::{Http, HttpRequest};
pub use noun::Noun;
pub use runtime::{Device, DeviceRequest, Runtime, Ulimit};
pub use secret_or_config::{GeneratedFile, SecretOrConfigMount};
pub use shared::{Link, Namespace, Other, VolumesFrom};
pub use table::{Column, Removal, Table};

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::{correlation::Correlation, pattern::Pattern, yaml::Position};

/// The largest number of replicas of a service: a bound on what a mistyped number starts.
pub const MAX_REPLICAS: u32 = 1000;

/// A Compose file with its `x-caravan`, parsed, interpolated and validated.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Pipeline {
    /// Compose project name: prefix and label of all Docker objects of the project.
    pub project: String,
    /// Where the declaration was read from.
    pub origin: Origin,
    /// Where Caravan keeps the files of the project.
    pub state: StateFiles,
    /// Active services, in the file's order.
    pub services: Vec<Service>,
    /// Services whose profiles are not active.
    pub inactive: Vec<Service>,
    /// Positions in the file where drivers of networks and volumes are named, by driver.
    #[serde(skip)]
    pub drivers: BTreeMap<String, Position>,
    /// Declared networks, including external ones.
    pub networks: Vec<Network>,
    /// Declared named volumes, including external ones.
    pub volumes: Vec<Volume>,
    /// `x-caravan.kafka`.
    pub kafka: Option<Endpoint>,
    /// `x-caravan.postgres`.
    pub postgres: Option<Endpoint>,
    /// `x-caravan.redis`.
    pub redis: Option<Endpoint>,
    /// All declared topics.
    pub topics: Vec<Topic>,
    /// The topic of dead letters, one of `topics`.
    pub dead_letters: Option<String>,
    /// Names of the headers of dead letters.
    pub dead_letter_headers: DeadLetterHeaders,
    /// How applied migrations are verified.
    pub migrations: Option<Migrations>,
    /// In the order in which a message of the flow reaches them.
    pub tables: Vec<Table>,
    /// Pattern of a log line of each stage, by the stage's name.
    pub stages: BTreeMap<String, Pattern>,
    /// A log line that matches one of these is a failure.
    pub forbidden_logs: Vec<Pattern>,
    /// Exceptions from [`Self::forbidden_logs`].
    pub allowed_logs: Vec<Pattern>,
    /// Percentage of log lines at level error from which the check warns. None: not declared.
    pub error_logs: Option<f64>,
    /// The path of a message through the pipeline.
    pub flow: Option<Flow>,
    /// Rules over the database, in the file's order.
    pub invariants: Vec<Invariant>,
    /// Values of secrets; output masks them.
    pub secrets: Vec<String>,
    /// Warnings about the declaration, a line each.
    pub warnings: Vec<String>,
    /// Ports of active services that are set by a variable with a default.
    pub variable_ports: Vec<VariablePort>,
}

/// Where the declaration came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// The pipeline that Caravan ships.
    Embedded,
    /// Compose files with absolute paths; later files override earlier ones.
    Files(Vec<PathBuf>),
}

/// Paths of the files that Caravan keeps for a project.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateFiles {
    /// Directory with `.env`, chosen ports and generated secret files.
    pub directory: PathBuf,
    /// The file of `--env-file`.
    pub env_file: Option<PathBuf>,
}

impl StateFiles {
    /// The file of variables: that of `--env-file`, or else `.env` in the state directory.
    pub fn env_path(&self) -> PathBuf {
        let default = || self.directory.join(".env");
        self.env_file.clone().unwrap_or_else(default)
    }
}

/// Kafka, Postgres or Redis, with its address.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Endpoint {
    /// The service that provides it. None: it is not part of the pipeline.
    pub service: Option<String>,
    /// `host:port` for Kafka, a URL (with credentials) for the others.
    pub address: String,
}

/// A declared topic. A field that is None is not declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topic {
    /// Name in Kafka.
    pub name: String,
    /// Number of partitions.
    pub partitions: i32,
    /// `retention.ms`.
    pub retention: Option<Duration>,
    /// Replication factor.
    pub replication: Option<i32>,
    /// `min.insync.replicas`
    pub min_insync: Option<i32>,
    /// Other settings, by Kafka's name.
    pub settings: BTreeMap<String, String>,
}

/// How applied migrations are verified.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Migrations {
    /// sqlx's migrations table: `version bigint, success boolean`.
    pub table: String,
    /// The version that must be applied.
    pub latest: i64,
}

/// A rule over the database.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Invariant {
    /// Key in the declaration.
    pub name: String,
    /// The rule in words.
    pub says: String,
    /// Age below which a counterexample is ignored, because its message may still be in process.
    pub grace: Duration,
    /// Returns counterexamples as (`id text`, `since timestamptz`).
    pub sql: String,
    /// How far back the query looks at most; requires [`RULE_SINCE`] in it. None: it reads all rows.
    pub within: Option<Duration>,
    /// How long its queries may take in one `verify`.
    pub budget: Budget,
    /// The event whose replay repairs a counterexample.
    pub replay: Option<Replay>,
}

/// How long the queries of a rule may take in one `verify`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Budget {
    /// A part of [`RULES_BUDGET`]: all rules without a budget of their own share it.
    Shared,
    /// Its own, apart from the others.
    Own(Duration),
    /// As long as they need, as for `--since`.
    Unlimited,
}

impl Invariant {
    /// Whether its query can read the rows of a time window, not only those since a time.
    pub fn reads_windows(&self) -> bool {
        self.sql.contains(RULE_UNTIL)
    }
}

/// Parameter of a rule's query: the time (timestamptz) from which it reads rows.
pub const RULE_SINCE: &str = "$1";
/// Parameter of a rule's query: the time (timestamptz) before which it reads rows.
pub const RULE_UNTIL: &str = "$2";
/// A time span without a limit: all rows.
pub const NO_LIMIT: Duration = Duration::MAX;
/// See [`Budget::Shared`].
pub const RULES_BUDGET: Duration = Duration::from_millis(75);
/// [`Budget::Own`] of a query that reads all rows, unless declared.
pub const RULE_BUDGET_ALL_ROWS: Duration = Duration::from_secs(5);

/// See [`Invariant::replay`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Replay {
    /// Topic of the event.
    pub topic: String,
    /// SQL query that returns the event's key; `$1` is the counterexample's id as text.
    pub key_sql: String,
}

/// How a message (an order, a signup) enters the pipeline, and what it leaves in topics, tables and
/// Redis.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Flow {
    /// What one message of the flow is called in output.
    pub noun: Noun,
    /// Values of `{{name}}` by name: `uuid` is a random UUID per message, `now` the time when the message
    /// is created, any other value is literal.
    pub values: BTreeMap<String, String>,
    /// The request that creates a message. None: `event` is set.
    pub entry: Option<Entry>,
    /// The first event of a message: the entry service produces it, or else Caravan (`--direct`).
    pub event: Option<FirstEvent>,
    /// How events and log lines are correlated with the message.
    pub correlation: Correlation,
    /// The message of `test-flow --poison`. None: invalid JSON to the topic of the first event.
    pub poison: Option<Poison>,
    /// Redis keys that a service deletes for each message.
    pub invalidated_keys: Option<InvalidatedKeys>,
    /// Topics that a message does not reach, for instance retry topics or those of another flow.
    pub excludes: Vec<String>,
}

impl Flow {
    /// Who creates a message: the entry service or, without an entry, Caravan. That name cannot be a
    /// service's, because it contains a space.
    pub fn maker(&self) -> &str {
        self.entry
            .as_ref()
            .map_or("caravan test-flow", |entry| &entry.service)
    }
}

/// Where the correlation id of a message comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum IdSource {
    /// JSON pointer (RFC 6901) into the response, or into the event's body.
    Pointer(String),
    /// A text that contains `{{name}}`.
    Template(String),
}

/// The HTTP request that creates a message of the flow.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    /// Name of the service that receives the request.
    pub service: String,
    /// HTTP method.
    pub method: String,
    /// Path with its leading slash, appended to the service's base URL.
    pub path: String,
    /// Headers by name; values may contain `{{name}}`.
    pub headers: BTreeMap<String, String>,
    /// JSON with `{{name}}` inside strings; a string alone is sent as it is.
    pub body: serde_json::Value,
    /// The status of an accepted request.
    pub status: u16,
    /// Where the correlation id comes from.
    pub correlation_id: IdSource,
}

/// The first event of a message of the flow.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FirstEvent {
    /// Topic of the event.
    pub topic: String,
    /// Message key; may contain `{{name}}`. None: no key.
    pub key: Option<String>,
    /// Headers by name; values may contain `{{name}}`.
    pub headers: BTreeMap<String, String>,
    /// JSON with `{{name}}` inside strings; a string alone is sent as it is.
    pub body: serde_json::Value,
    /// Where the correlation id comes from.
    pub correlation_id: IdSource,
    /// JSON pointer to the event's own id in the body, which differs between events of one message.
    pub id: Option<String>,
}

/// A message that must become a dead letter.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Poison {
    /// Topic of the message.
    pub topic: String,
    /// Message key; may contain `{{name}}`. None: the first event's.
    pub key: Option<String>,
    /// A string is sent as it is, anything else as JSON; both with `{{name}}` filled in.
    pub body: serde_json::Value,
    /// The expected reason of the dead letter. None: any.
    pub reason: Option<String>,
}

/// Redis keys that a service deletes for each message.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InvalidatedKeys {
    /// Name of the service that deletes them.
    pub service: String,
    /// Names of the keys, with `{{name}}`.
    pub keys: Vec<String>,
}

/// A service: the Compose half, resolved to what Docker needs, and the `x-caravan` half.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Service {
    /// Name in the declaration.
    pub name: String,
    /// Profiles that activate it. Empty: it is always active.
    pub profiles: Vec<String>,
    /// Image reference; if the image is built, the name that it gets.
    pub image: String,
    /// How the image is built. None: it is pulled, or comes from [`Self::image_from`].
    pub build: Option<Build>,
    /// When the image is pulled.
    pub pull_policy: PullPolicy,
    /// `container_name`. None: derived from project, service and replica number.
    pub container_name: Option<String>,
    /// None: the image's.
    pub entrypoint: Option<Vec<String>>,
    /// None: the image's.
    pub command: Option<Vec<String>>,
    /// Environment variables of the containers, by name.
    pub environment: BTreeMap<String, String>,
    /// Published ports.
    pub ports: Vec<Port>,
    /// Volumes and bind mounts.
    pub mounts: Vec<Mount>,
    /// Secrets and configs.
    pub secrets_and_configs: Vec<SecretOrConfigMount>,
    /// Networks to connect to.
    pub networks: Vec<NetworkUse>,
    /// Additional DNS names of other containers on these networks.
    pub links: Vec<Link>,
    /// Containers whose mounts it gets.
    pub volumes_from: Vec<VolumesFrom>,
    /// Services that start before this one.
    pub depends_on: Vec<Dependency>,
    /// None: the image's.
    pub healthcheck: Option<Healthcheck>,
    /// Docker's restart policy.
    pub restart: Restart,
    /// Declared number of containers.
    pub replicas: u32,
    /// User, and group after a colon. None: the image's.
    pub user: Option<String>,
    /// Working directory in the container. None: the image's.
    pub working_dir: Option<String>,
    /// Host name of the containers. None: Docker's default, the short container id.
    pub hostname: Option<String>,
    /// Whether the root file system is read-only.
    pub read_only: bool,
    /// Whether Docker runs an init process as PID 1.
    pub init: bool,
    /// Paths of tmpfs mounts, with options after a colon.
    pub tmpfs: Vec<String>,
    /// Linux capabilities to add.
    pub cap_add: Vec<String>,
    /// Linux capabilities to drop.
    pub cap_drop: Vec<String>,
    /// Docker's `--security-opt` values.
    pub security_opt: Vec<String>,
    /// Declared labels of the containers.
    pub labels: BTreeMap<String, String>,
    /// Log driver. None: the engine's default.
    pub logging: Option<Logging>,
    /// Time between the stop signal and SIGKILL. None: Docker's default.
    pub stop_grace_period: Option<Duration>,
    /// None: the image's, or else SIGTERM.
    pub stop_signal: Option<String>,
    /// Memory limit in bytes.
    pub mem_limit: Option<i64>,
    /// Maximum number of processes.
    pub pids_limit: Option<i64>,
    /// Size of `/dev/shm` in bytes.
    pub shm_size: Option<i64>,
    /// Additional entries of `/etc/hosts`, each as `HOST:IP`.
    pub extra_hosts: Vec<String>,
    /// Options that are passed to Docker unchanged.
    pub runtime: Runtime,

    // x-caravan
    /// Where the image comes from.
    pub image_from: ImageFrom,
    /// Protocol probe that must succeed before it is ready. None: no probe.
    pub ready: Option<Ready>,
    /// Log line that it writes when it is ready.
    pub startup: Option<Pattern>,
    /// Effect of a one-shot service. `up` runs the service again if the effect is missing.
    pub effect: Option<Effect>,
    /// HTTP endpoint.
    pub http: Option<Http>,
    /// Consumer group.
    pub group: Option<Group>,
    /// The longest time between two commits of its group while records wait. None: not declared.
    pub commit_interval: Option<Duration>,
    /// Names of the topics that it consumes.
    pub consumes: Vec<String>,
    /// Names of the topics that it produces to.
    pub emits: Vec<String>,
    /// Names of the tables that it writes.
    pub writes: Vec<String>,
    /// Names of the tables that it reads.
    pub reads: Vec<String>,
    /// Names of the services that it calls.
    pub calls: Vec<String>,
    /// Names of [`Pipeline::stages`], in order.
    pub stages: Vec<String>,
}

impl Service {
    /// Whether it is a one-shot service, which exits by itself: another service waits for its completion,
    /// or it declares an effect.
    pub fn is_one_shot(&self, pipeline: &Pipeline) -> bool {
        self.effect.is_some()
            || pipeline.services.iter().any(|s| {
                s.depends_on
                    .iter()
                    .any(|d| d.service == self.name && d.condition == Condition::Completed)
            })
    }
}

/// Names of the image templates (`templates/images/NAME`): the values of `image-from` besides `self`.
pub const TEMPLATES: &[&str] = &["kafka", "postgres", "redis"];

/// Where a service's image comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ImageFrom {
    /// The local image, or else pulled.
    #[default]
    Registry,
    /// Built from the running executable.
    Caravan,
    /// Built from `templates/images/NAME`.
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

/// When an image is pulled from its registry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PullPolicy {
    /// If it does not exist locally.
    #[default]
    Missing,
    /// On each `up`.
    Always,
    /// Never: a missing image is an error.
    Never,
}

/// Protocol probe of a service: the condition for being ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ready {
    /// A Kafka broker answers.
    Kafka,
    /// Postgres accepts the credentials.
    Postgres,
    /// Redis accepts the credentials.
    Redis,
}

/// The effect of a one-shot service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// All declared topics exist with at least their declared partitions.
    Topics,
    /// The declared migrations are applied.
    Migrations,
}

/// A host port of a container of any project. A stopped container binds it again when it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortBinding {
    /// Address on the host. Empty: all addresses.
    pub host_ip: String,
    /// Number of the port on the host.
    pub number: u16,
    /// `tcp` or `udp`
    pub protocol: String,
    /// The container's name.
    pub container: String,
    /// The Compose project of the container.
    pub project: Option<String>,
    /// Whether the container runs and so has the port now.
    pub running: bool,
}

/// A published TCP or UDP port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Address on the host. Empty: all addresses, also those of IPv6.
    pub host_ip: String,
    /// Port on the host. None: Docker chooses one.
    pub host_port: Option<u16>,
    /// `FIRST-LAST`: the ports of the host of which Docker chooses one. None: of all.
    pub host_range: Option<String>,
    /// Port in the container.
    pub container_port: u16,
    /// `tcp` or `udp`.
    pub protocol: String,
}

/// A host port that is set by a variable with a default.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VariablePort {
    /// Name of the variable.
    pub variable: String,
    /// Name of the service that publishes the port.
    pub service: String,
    /// The port.
    pub port: Port,
    /// Its number on the host: the variable's value, or else its default.
    pub number: u16,
    /// Where the variable is set.
    pub set: VariableSource,
}

/// Where a variable is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum VariableSource {
    /// Not set: the default applies, and Caravan may choose another port.
    Unset,
    /// In [`crate::Source::ports_path`].
    PortsFile,
    /// By the user: in the environment or the file of variables.
    User,
}

/// A volume or bind mount of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// What is mounted.
    pub source: MountSource,
    /// Path in the container.
    pub target: String,
    /// Whether the container cannot write to it.
    pub read_only: bool,
    /// Options of Docker's `-v` without `ro` and `rw`. Bind mounts: `z`, `Z` and the propagation mode;
    /// volumes: `nocopy`.
    pub options: Vec<String>,
}

/// The source of a mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountSource {
    /// Key of `volumes`.
    Volume(String),
    /// Absolute path on the host.
    Bind(PathBuf),
    /// An anonymous volume.
    Anonymous,
}

/// The connection of a service to a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkUse {
    /// Key of the network.
    pub network: String,
    /// Additional DNS names of the service in the network.
    pub aliases: Vec<String>,
    /// Static IPv4 address.
    pub ipv4_address: Option<String>,
    /// Static IPv6 address.
    pub ipv6_address: Option<String>,
}

/// An entry of `depends_on`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// Name of the service to wait for.
    pub service: String,
    /// The state to wait for.
    pub condition: Condition,
    /// Whether its failure is an error. False: the service waits for it, but starts even if it failed.
    pub required: bool,
    /// Whether the dependent service restarts when the dependency was restarted or recreated.
    pub restart: bool,
}

/// The state of a dependency that a service waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    /// `service_started`: its containers were started.
    Started,
    /// `service_healthy`: it is ready.
    Healthy,
    /// `service_completed_successfully`: it exited with code 0.
    Completed,
}

/// Docker's health check; None fields are Docker's defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Healthcheck {
    /// The probe: `["CMD", …]`, `["CMD-SHELL", …]` or `["NONE"]`. Empty: the image's.
    pub test: Vec<String>,
    /// Time between probes.
    pub interval: Option<Duration>,
    /// Maximum duration of a probe.
    pub timeout: Option<Duration>,
    /// Time after the start in which failed probes do not count.
    pub start_period: Option<Duration>,
    /// Time between probes during the start period; ignored by engines with an API below 1.44.
    pub start_interval: Option<Duration>,
    /// Number of failed probes in a row that make the container unhealthy.
    pub retries: Option<i64>,
}

/// Docker's restart policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Restart {
    /// Docker does not restart the container.
    No,
    /// Docker restarts it whenever it exits.
    Always,
    /// Docker restarts it unless it was stopped by hand.
    UnlessStopped,
    /// Docker restarts it after a failure, at most this many times. None: without a limit.
    OnFailure(Option<u32>),
}

/// Where Docker stores a container's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logging {
    /// Name of the log driver.
    pub driver: String,
    /// Options of the log driver by name.
    pub options: BTreeMap<String, String>,
}

/// A network of the project, or an external one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Key of `networks`.
    pub key: String,
    /// Docker's name.
    pub name: String,
    /// Whether it must already exist: Caravan neither creates nor removes it.
    pub external: bool,
    /// Network driver. None: Docker's default, `bridge`.
    pub driver: Option<String>,
    /// Options of the driver by name.
    pub driver_opts: BTreeMap<String, String>,
    /// Whether it has no route to other networks.
    pub internal: bool,
    /// Whether containers outside of the project may connect to it.
    pub attachable: bool,
    /// Whether it has IPv6 addresses.
    pub enable_ipv6: bool,
    /// Its address ranges. Empty: Docker chooses.
    pub subnets: Vec<Subnet>,
    /// Declared labels.
    pub labels: BTreeMap<String, String>,
}

/// An entry of a network's `ipam.config`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// In CIDR notation.
    pub subnet: Option<String>,
    /// Range for containers, in CIDR notation.
    pub ip_range: Option<String>,
    /// Address of the gateway.
    pub gateway: Option<String>,
}

/// A named volume of the project, or an external one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Key of `volumes`.
    pub key: String,
    /// Docker's name.
    pub name: String,
    /// Whether it must already exist: Caravan neither creates nor removes it.
    pub external: bool,
    /// Volume driver. None: Docker's default, `local`.
    pub driver: Option<String>,
    /// Options of the driver by name.
    pub driver_opts: BTreeMap<String, String>,
    /// Declared labels.
    pub labels: BTreeMap<String, String>,
}

impl Pipeline {
    /// The active service with this name.
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|s| s.name == name)
    }

    /// The declared topic with this name.
    pub fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.iter().find(|t| t.name == name)
    }

    /// The noun of the flow, or the default noun without a flow.
    pub fn noun(&self) -> Noun {
        let noun = self.flow.as_ref().map(|flow| flow.noun.clone());
        noun.unwrap_or_default()
    }

    /// The declared table with this name.
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|t| t.name == name)
    }
}
