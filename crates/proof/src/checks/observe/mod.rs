//! Observations of a pipeline as it is now: containers, logs, Kafka, the database, the cache.
//!
//! Nothing here knows a rule or a check. What several checks look at is observed once and shared, by
//! [`ObservationCache`]; each file below makes one kind of observation.

pub(crate) mod broker;
mod dead_letters;
pub(crate) mod effects;
mod error;
pub(crate) mod groups;
pub(crate) mod invariants;
mod log_level;
pub(crate) mod logs;
pub(crate) mod progress;
pub(crate) mod services;
mod windows;

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::OnceCell;

use crate::{
    checks::{
        ids::{self, CheckId},
        results::{LogResult, StoredResults},
    },
    dead_letters::summary::Summary,
    stores::{
        TIMEOUT,
        postgres::{
            Postgres,
            session::SessionState,
            table_schema::{Differences, Expected},
        },
        redis::{Memory, Redis},
    },
};
use broker::Broker;
use declaration::{Budget, Invariant, Migrations, Pipeline, Service, Table};
use diagnostics::Result;
pub(crate) use error::ObservationError;
use groups::Groups;
use invariants::{Known, Look, Looks};
use kafka::admin::TopicSettings;
use logs::ContainerLog;
use platform::{Container, Drifted, Platform};

/// How many rules `--since` reads concurrently.
const AUDIT_CONNECTIONS: usize = 3;

/// Each shared observation, made when the first check asks for it.
pub(crate) struct ObservationCache<'a> {
    pub(crate) pipeline: &'a Pipeline,
    platform: &'a dyn Platform,
    containers: OnceCell<Result<Vec<Container>>>,
    drift: OnceCell<BTreeMap<String, Result<Vec<Drifted>>>>,
    broker: OnceCell<Result<Broker, ObservationError>>,
    groups: OnceCell<Result<Groups, ObservationError>>,
    topic_settings: OnceCell<Result<BTreeMap<String, TopicSettings>, ObservationError>>,
    logs: BTreeMap<&'a str, OnceCell<Vec<Result<ContainerLog>>>>,
    earlier_logs: BTreeMap<String, LogResult>,
    database: OnceCell<Result<Postgres, ObservationError>>,
    audit_connections: [OnceCell<Result<Postgres, ObservationError>>; AUDIT_CONNECTIONS],
    sharing_rules: Vec<Known<'a>>,
    shared_looks: OnceCell<Result<Looks, ObservationError>>,
    database_identity: OnceCell<Option<String>>,
    session: OnceCell<Result<Postgres, ObservationError>>,
    session_state: OnceCell<Result<SessionState, ObservationError>>,
    missing_tables: OnceCell<Result<BTreeSet<String>, ObservationError>>,
    schema_differences: OnceCell<Result<Differences, ObservationError>>,
    redis: OnceCell<Result<Redis, ObservationError>>,
    dead_letters: OnceCell<Result<Summary, ObservationError>>,
}

impl<'a> ObservationCache<'a> {
    /// `earlier_logs`: what earlier runs found in the logs, by container id.
    pub(crate) fn new(
        pipeline: &'a Pipeline,
        platform: &'a dyn Platform,
        earlier_logs: BTreeMap<String, LogResult>,
    ) -> Self {
        let services = pipeline.services.iter();
        Self {
            pipeline,
            platform,
            containers: OnceCell::new(),
            drift: OnceCell::new(),
            broker: OnceCell::new(),
            groups: OnceCell::new(),
            topic_settings: OnceCell::new(),
            logs: services
                .map(|s| (s.name.as_str(), OnceCell::new()))
                .collect(),
            earlier_logs,
            database: OnceCell::new(),
            audit_connections: Default::default(),
            sharing_rules: Vec::new(),
            shared_looks: OnceCell::new(),
            database_identity: OnceCell::new(),
            session: OnceCell::new(),
            session_state: OnceCell::new(),
            missing_tables: OnceCell::new(),
            schema_differences: OnceCell::new(),
            redis: OnceCell::new(),
            dead_letters: OnceCell::new(),
        }
    }
}

/// Containers.
impl ObservationCache<'_> {
    /// The project's containers.
    ///
    /// # Errors
    /// The platform does not answer. Then nothing else can be observed, and `verify` ends with that error.
    pub(crate) async fn containers(&self) -> &Result<Vec<Container>> {
        let observe = || self.platform.containers(&self.pipeline.project);
        self.containers.get_or_init(observe).await
    }

    /// As [`Self::containers`]; none if the platform does not answer, which `verify` reports.
    pub(crate) async fn all_containers(&self) -> &[Container] {
        self.containers().await.as_deref().unwrap_or_default()
    }

    /// The containers of one service.
    pub(crate) async fn containers_of(&self, service: &Service) -> Vec<&Container> {
        let all = self.all_containers().await.iter();
        all.filter(|c| c.service == service.name).collect()
    }

    /// The containers of a service that have drifted; None: it has no containers.
    pub(crate) async fn drift(&self, service: &str) -> Option<&Result<Vec<Drifted>>> {
        let observe = || async {
            let containers = self.all_containers().await;
            self.platform.drifted(self.pipeline, containers).await
        };
        self.drift.get_or_init(observe).await.get(service)
    }

    /// The logs of a service's containers, each since its last start.
    pub(crate) async fn logs(&self, service: &Service) -> &[Result<ContainerLog>] {
        let Some(cell) = self.logs.get(service.name.as_str()) else {
            return &[];
        };
        let observe = || async {
            let containers = self.containers_of(service).await;
            let earlier = &self.earlier_logs;
            logs::read_all(self.platform, self.pipeline, service, &containers, earlier).await
        };
        cell.get_or_init(observe).await
    }

    /// The last lines that a container wrote before its last run ended.
    pub(crate) async fn last_words(&self, container: &Container) -> Result<Vec<String>> {
        logs::last_words(self.platform, container).await
    }

    /// What is known of the logs of the containers that exist, for the next run.
    pub(crate) async fn log_results(&self) -> BTreeMap<String, LogResult> {
        let containers = self.all_containers().await;
        let exists = |id: &str| containers.iter().any(|c| c.id == id);
        let mut results = self.earlier_logs.clone();
        results.retain(|id, _| exists(id));
        let read = self.logs.values().filter_map(OnceCell::get).flatten();
        results.extend(
            read.flatten()
                .map(|log| (log.id.clone(), log.result.clone())),
        );
        results
    }
}

/// Kafka.
impl ObservationCache<'_> {
    /// Kafka's topics and a client of it.
    pub(crate) async fn broker(&self) -> Result<&Broker, ObservationError> {
        let connect = || Broker::connect(self.pipeline);
        shared(self.broker.get_or_init(connect).await)
    }

    /// Settings of the declared topics that exist.
    pub(crate) async fn topic_settings(
        &self,
    ) -> Result<&BTreeMap<String, TopicSettings>, ObservationError> {
        let observe = || async {
            let broker = self.broker().await?;
            let topics = self.pipeline.topics.iter().map(|t| t.name.clone());
            let existing: Vec<_> = topics.filter(|t| broker.topics.contains_key(t)).collect();
            Ok(broker.kafka.topic_settings(&existing).await?)
        };
        shared(self.topic_settings.get_or_init(observe).await)
    }

    /// The declared consumer groups, once they have settled.
    pub(crate) async fn groups(&self) -> Result<&Groups, ObservationError> {
        let observe = || async {
            let broker = self.broker().await?;
            Ok(Groups::observe(self.pipeline, broker, self.all_containers()).await)
        };
        shared(self.groups.get_or_init(observe).await)
    }

    /// The dead letters, if a topic for them is declared.
    pub(crate) async fn dead_letters(&self) -> Result<&Summary, ObservationError> {
        let observe = || async { dead_letters::summary(self.pipeline, self.broker().await?).await };
        shared(self.dead_letters.get_or_init(observe).await)
    }
}

/// Postgres and Redis.
impl ObservationCache<'_> {
    /// A connection to Postgres for the queries of the declaration; it can only read.
    pub(crate) async fn database(&self) -> Result<&Postgres, ObservationError> {
        let connect = || self.connect();
        shared(self.database.get_or_init(connect).await)
    }

    /// A connection to Postgres for `--since`, which may take minutes. Consecutive values of `turn` alternate
    /// between several. If Postgres refuses one more, it is the connection of all others.
    pub(crate) async fn audit_connection(
        &self,
        turn: usize,
    ) -> Result<&Postgres, ObservationError> {
        let connect = || self.connect();
        let connection = self.audit_connections[turn % AUDIT_CONNECTIONS].get_or_init(connect);
        match connection.await {
            Ok(connection) => Ok(connection),
            Err(_) => self.database().await,
        }
    }

    /// Has the rules without a budget of their own share one, as far as their checks are planned. `earlier`: what
    /// earlier runs found.
    pub(crate) fn share_time(
        &mut self,
        is_planned: &dyn Fn(&CheckId) -> bool,
        earlier: &StoredResults,
    ) {
        let rules = self.pipeline.invariants.iter();
        let rules = rules.filter(|rule| rule.budget == Budget::Shared);
        let rules = rules.filter(|rule| is_planned(&ids::INVARIANT.of(&rule.name)));
        let known = rules.map(|rule| Known {
            rule,
            stored: earlier.rule(&rule.name),
        });
        self.sharing_rules = known.collect();
    }

    /// What is known of a rule that shares its time with others.
    pub(crate) async fn shared_look(&self, rule: &Invariant) -> Result<Look, ObservationError> {
        let look = || invariants::look_at_all(self, &self.sharing_rules);
        invariants::look_of(shared(self.shared_looks.get_or_init(look).await)?, rule)
    }

    async fn connect(&self) -> Result<Postgres, ObservationError> {
        let Some(endpoint) = &self.pipeline.postgres else {
            return Err(ObservationError::NoAddress("Postgres"));
        };
        Ok(Postgres::connect(&endpoint.address).await?)
    }

    /// What rows of this database can be told by; None: that cannot be told.
    pub(crate) async fn database_identity(&self) -> Option<&str> {
        let observe = || async { self.session().await.ok()?.identity().await.ok() };
        let identity = self.database_identity.get_or_init(observe).await;
        identity.as_deref()
    }

    /// A session as a service gets one, which may write: for what it may do, and for the schema, which do not
    /// wait for the queries of the declaration. Nothing is written in it.
    pub(crate) async fn session(&self) -> Result<&Postgres, ObservationError> {
        let connect = || async {
            let Some(endpoint) = &self.pipeline.postgres else {
                return Err(ObservationError::NoAddress("Postgres"));
            };
            Ok(Postgres::connect_writable(&endpoint.address).await?)
        };
        shared(self.session.get_or_init(connect).await)
    }

    /// What [`Self::session`] may do.
    pub(crate) async fn session_state(&self) -> Result<&SessionState, ObservationError> {
        let observe = || async { Ok(self.session().await?.session_state().await?) };
        shared(self.session_state.get_or_init(observe).await)
    }

    /// The version of the last migration that was applied.
    pub(crate) async fn applied_migration(
        &self,
        declared: &Migrations,
    ) -> Result<Option<i64>, ObservationError> {
        let postgres = self.session().await?;
        Ok(postgres.applied_migration(&declared.table).await?)
    }

    /// The declared tables that do not exist.
    pub(crate) async fn missing_tables(&self) -> Result<&BTreeSet<String>, ObservationError> {
        let observe = || async {
            let tables = self.pipeline.tables.iter();
            let names: Vec<String> = tables.map(|t| t.name.clone()).collect();
            Ok(self.session().await?.missing_tables(&names).await?)
        };
        shared(self.missing_tables.get_or_init(observe).await)
    }

    /// The columns of a table that are missing or have another type than declared, a line each.
    pub(crate) async fn wrong_columns(
        &self,
        table: &Table,
    ) -> Result<Vec<String>, ObservationError> {
        let postgres = self.session().await?;
        Ok(postgres.unlike_columns(&table.name, &table.columns).await?)
    }

    /// How indexes, constraints and triggers of the declared tables differ from the declaration.
    pub(crate) async fn schema_differences(&self) -> Result<&Differences, ObservationError> {
        let observe = || async {
            let is_written = |table: &Table| {
                let mut services = self.pipeline.services.iter();
                services.any(|s| s.writes.contains(&table.name))
            };
            let tables = self.pipeline.tables.iter().map(|declared| Expected {
                declared,
                is_written: is_written(declared),
            });
            let tables: Vec<_> = tables.collect();
            Ok(self.session().await?.differences(&tables).await?)
        };
        shared(self.schema_differences.get_or_init(observe).await)
    }

    /// Whether Redis answers `PING`.
    pub(crate) async fn ping_redis(&self) -> Result<(), ObservationError> {
        Ok(self.redis().await?.ping().await?)
    }

    /// Why Redis refuses a command that writes; None: it accepts it.
    pub(crate) async fn redis_refuses(&self) -> Result<Option<String>, ObservationError> {
        Ok(self.redis().await?.refuses_writes().await?)
    }

    /// How much memory Redis uses, and its limit.
    pub(crate) async fn redis_memory(&self) -> Result<Memory, ObservationError> {
        Ok(self.redis().await?.memory().await?)
    }

    async fn redis(&self) -> Result<&Redis, ObservationError> {
        let connect = || async {
            let Some(endpoint) = &self.pipeline.redis else {
                return Err(ObservationError::NoAddress("Redis"));
            };
            Ok(Redis::connect(&endpoint.address, TIMEOUT).await?)
        };
        shared(self.redis.get_or_init(connect).await)
    }
}

/// An observation that several checks look at: each gets a copy of the error.
fn shared<T>(observed: &Result<T, ObservationError>) -> Result<&T, ObservationError> {
    observed.as_ref().map_err(Clone::clone)
}
