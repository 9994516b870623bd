//! What the checks go by: each fact is found out once, when the first check asks for it.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::OnceCell;

use super::{broker::Broker, dead_letters, groups::Groups, logs};
use crate::{
    dead_letters::survey::Survey,
    stores::{TIMEOUT, postgres::Postgres, redis::Redis},
};
use declaration::{Pipeline, Service};
use diagnostics::{Invocation, Result};
use kafka::admin::TopicSettings;
use platform::Platform;
use platform::{Container, Drifted};

/// A pipeline as it is now.
pub(super) struct Facts<'a> {
    pub(super) pipeline: &'a Pipeline,
    pub(super) engine: &'a dyn Platform,
    pub(super) invocation: &'a Invocation,
    containers: OnceCell<Result<Vec<Container>>>,
    drift: OnceCell<BTreeMap<String, Result<Vec<Drifted>>>>,
    broker: OnceCell<Result<Broker, String>>,
    groups: OnceCell<Groups>,
    settings: OnceCell<Result<BTreeMap<String, TopicSettings>, String>>,
    logs: BTreeMap<&'a str, OnceCell<Vec<Result<logs::Read>>>>,
    postgres: OnceCell<Result<Vec<Postgres>, String>>,
    missing_tables: OnceCell<Result<BTreeSet<String>, String>>,
    redis: OnceCell<Result<Redis, String>>,
    letters: OnceCell<Result<Survey, String>>,
}

impl<'a> Facts<'a> {
    pub(super) fn new(
        pipeline: &'a Pipeline,
        engine: &'a dyn Platform,
        invocation: &'a Invocation,
    ) -> Self {
        let services = pipeline.services.iter();
        Self {
            pipeline,
            engine,
            invocation,
            containers: OnceCell::new(),
            drift: OnceCell::new(),
            broker: OnceCell::new(),
            groups: OnceCell::new(),
            settings: OnceCell::new(),
            logs: services
                .map(|s| (s.name.as_str(), OnceCell::new()))
                .collect(),
            postgres: OnceCell::new(),
            missing_tables: OnceCell::new(),
            redis: OnceCell::new(),
            letters: OnceCell::new(),
        }
    }

    /// The project's containers.
    ///
    /// # Errors
    /// Docker cannot be reached: then nothing else can be told either, and `verify` ends with that.
    pub(super) async fn containers(&self) -> &Result<Vec<Container>> {
        let ask = || self.engine.containers(&self.pipeline.project);
        self.containers.get_or_init(ask).await
    }

    /// As [`Self::containers`]; none where Docker cannot be reached, which is told elsewhere.
    pub(super) async fn all_containers(&self) -> &[Container] {
        self.containers().await.as_deref().unwrap_or_default()
    }

    /// The containers of one service.
    pub(super) async fn of(&self, service: &Service) -> Vec<&Container> {
        let all = self.all_containers().await.iter();
        all.filter(|c| c.service == service.name).collect()
    }

    /// The containers of a service that are not as declared; None: it has no containers.
    pub(super) async fn drift(&self, service: &str) -> Option<&Result<Vec<Drifted>>> {
        let compare = || async {
            let observed = self.all_containers().await;
            self.engine.drifted(self.pipeline, observed).await
        };
        self.drift.get_or_init(compare).await.get(service)
    }

    /// Kafka, if it answered.
    pub(super) async fn broker(&self) -> &Result<Broker, String> {
        let reach = || Broker::reach(self.pipeline);
        self.broker.get_or_init(reach).await
    }

    /// Settings of the declared topics that exist.
    pub(super) async fn topic_settings(&self) -> &Result<BTreeMap<String, TopicSettings>, String> {
        let ask = || async {
            let broker = self.broker().await.as_ref().map_err(Clone::clone)?;
            let topics = self.pipeline.topics.iter().map(|t| t.name.clone());
            let there: Vec<_> = topics.filter(|t| broker.topics.contains_key(t)).collect();
            Ok(broker.kafka.topic_settings(&there).await?)
        };
        self.settings.get_or_init(ask).await
    }

    /// The declared consumer groups, once they have settled; only where Kafka answered.
    pub(super) async fn groups(&self) -> &Groups {
        self.groups.get_or_init(|| Groups::see(self)).await
    }

    /// What the logs of a service's containers told of their current run.
    pub(super) async fn logs(&self, service: &Service) -> &[Result<logs::Read>] {
        match self.logs.get(service.name.as_str()) {
            Some(cell) => cell.get_or_init(|| logs::read_all(self, service)).await,
            None => &[],
        }
    }

    /// Connections to the database: two, so that large tables are not looked at one after another,
    /// or one where there is no second to be had.
    pub(super) async fn postgres(&self) -> &Result<Vec<Postgres>, String> {
        let connect = || async {
            let Some(endpoint) = &self.pipeline.postgres else {
                return Err("the declaration does not say where Postgres is".to_owned());
            };
            let url = &endpoint.address;
            let (first, second) = tokio::join!(Postgres::connect(url), Postgres::connect(url));
            Ok([first?].into_iter().chain(second).collect())
        };
        self.postgres.get_or_init(connect).await
    }

    /// One of the connections, by turns.
    pub(super) async fn database(&self, turn: usize) -> Result<&Postgres, String> {
        let connections = self.postgres().await.as_ref().map_err(Clone::clone)?;
        let chosen = connections.get(turn % connections.len().max(1));
        chosen.ok_or_else(|| "no connection".to_owned())
    }

    /// The declared tables that do not exist.
    pub(super) async fn missing_tables(&self) -> &Result<BTreeSet<String>, String> {
        let ask = || async {
            let tables = self.pipeline.tables.iter();
            let names: Vec<String> = tables.map(|t| t.name.clone()).collect();
            Ok(self.database(0).await?.missing_tables(&names).await?)
        };
        self.missing_tables.get_or_init(ask).await
    }

    /// A connection to Redis.
    pub(super) async fn redis(&self) -> &Result<Redis, String> {
        let connect = || async {
            let Some(endpoint) = &self.pipeline.redis else {
                return Err("the declaration does not say where Redis is".to_owned());
            };
            Ok(Redis::connect(&endpoint.address, TIMEOUT).await?)
        };
        self.redis.get_or_init(connect).await
    }

    /// What stands in the dead-letter topic, if one is declared.
    pub(super) async fn letters(&self) -> &Result<Survey, String> {
        let survey = || dead_letters::survey(self);
        self.letters.get_or_init(survey).await
    }

    /// A `caravan` command line for this pipeline.
    pub(super) fn command(&self, rest: &str) -> String {
        self.invocation.command(rest)
    }
}
