//! Observes a running project from the host, through published ports or the containers' own addresses.

use std::{collections::BTreeSet, io, net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use super::{
    infra::kafka_port,
    observed::{Observed, ObservedGroup, ObservedKafka, ObservedTopic},
    service,
    stack::{Role, Stack},
    startup,
};
use crate::percent_encoding;
use declaration::Service;
use diagnostics::Result;
use kafka::{Kafka, groups::GroupState};
use platform::{Container, LogLine, Platform, State};
use proof::stores::{
    StoreError, http,
    postgres::{Postgres, table_schema::TableSchema},
};

/// Timeout of one HTTP request.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The paths under which frameworks usually serve readiness or health.
const READY_PATHS: [&str; 5] = ["/ready", "/health", "/healthz", "/actuator/health", "/"];

/// Why Kafka or Postgres was not observed.
#[derive(Debug, thiserror::Error)]
enum NotObserved {
    #[error("{0} publishes no port: its topics and consumer groups")]
    Unpublished(String),
    #[error("topics and consumer groups: {0}")]
    Kafka(#[source] kafka::Error),
    #[error("{0} does not run: its tables")]
    NotRunning(String),
    #[error("tables: {}: {source}", path.display())]
    Password { path: PathBuf, source: io::Error },
    #[error("tables: {0}")]
    Postgres(#[source] StoreError),
}

/// Observes everything that is reachable. Never fails: [`Observed::not_observed`] has what is missing.
pub(crate) async fn observe(stack: &Stack<'_>, platform: Result<Arc<dyn Platform>>) -> Observed {
    let mut observed = Observed::default();
    let project = &stack.pipeline.project;
    let running = async {
        let platform = platform?;
        let containers = platform.containers(project).await?;
        Ok::<_, diagnostics::Error>((platform, containers))
    };
    let (platform, mut containers) = match running.await {
        Ok(running) => running,
        Err(error) => {
            observed
                .not_observed
                .push(format!("Docker does not answer: {}", error.what));
            return observed;
        }
    };
    containers.retain(|c| c.state == State::Running);
    if containers.is_empty() {
        observed
            .not_observed
            .push(format!("no container of the project {project} runs"));
        return observed;
    }
    let observer = Observer {
        stack,
        platform: platform.as_ref(),
        containers: &containers,
    };
    let (kafka, postgres) = tokio::join!(observer.kafka(), observer.postgres());
    observed.kafka = observed.note(kafka);
    observed.postgres = observed.note(postgres);
    for service in stack.of(Role::Own) {
        let name = || service.name.clone();
        if let Some(text) = observer.startup(service).await {
            observed.startups.insert(name(), text);
        }
        if let Some(path) = observer.ready(service).await {
            observed.ready.insert(name(), path);
        }
    }
    observed
}

impl Observed {
    /// The value that was observed, if any; adds an error to `not_observed`.
    fn note<T>(&mut self, found: Result<Option<T>, NotObserved>) -> Option<T> {
        found.unwrap_or_else(|why| {
            self.not_observed.push(why.to_string());
            None
        })
    }
}

struct Observer<'a> {
    stack: &'a Stack<'a>,
    platform: &'a dyn Platform,
    /// The project's running containers.
    containers: &'a [Container],
}

impl Observer<'_> {
    fn containers_of(&self, service: &Service) -> impl Iterator<Item = &Container> {
        let name = service.name.clone();
        self.containers.iter().filter(move |c| c.service == name)
    }

    /// The host port on which a container port is currently published.
    fn published(&self, service: &Service, port: u16) -> Option<u16> {
        let container = self.containers_of(service).next()?;
        let suffix = format!("->{port}/tcp");
        let mut ports = container.ports.iter();
        ports.find_map(|p| p.strip_suffix(&suffix)?.rsplit(':').next()?.parse().ok())
    }

    /// `HOST:PORT` of a container port: as published on the host, else the container's own address.
    fn address(&self, service: &Service, port: u16) -> Option<String> {
        if let Some(port) = self.published(service, port) {
            return Some(format!("127.0.0.1:{port}"));
        }
        let container = self.containers_of(service).next()?;
        let v4 = container
            .addresses
            .iter()
            .find(|address| address.is_ipv4())?;
        Some(format!("{v4}:{port}"))
    }

    async fn kafka(&self) -> Result<Option<ObservedKafka>, NotObserved> {
        let Some(broker) = self.stack.of(Role::Kafka).next() else {
            return Ok(None);
        };
        let name = &broker.name;
        // Kafka redirects clients to the advertised listener: the container's own address does not help.
        let port = kafka_port(broker).and_then(|port| self.published(broker, port));
        let Some(port) = port else {
            return Err(NotObserved::Unpublished(name.clone()));
        };
        let query = async {
            let kafka = Kafka::connect(&format!("localhost:{port}")).await?;
            let (topics, groups) = tokio::try_join!(kafka.topics(), kafka.groups())?;
            let own = topics.into_iter().filter(|t| !t.name.starts_with('_'));
            let mut topics: Vec<_> = own.collect();
            topics.sort_by(|a, b| a.name.cmp(&b.name));
            let names: Vec<_> = topics.iter().map(|t| t.name.clone()).collect();
            let retentions = kafka.retentions(&names).await?;
            let topics = topics.into_iter().map(|topic| ObservedTopic {
                retention: retentions.get(&topic.name).copied().flatten(),
                name: topic.name,
                partitions: topic.partitions,
                replication: topic.replicas,
            });
            Ok::<_, kafka::Error>(ObservedKafka {
                topics: topics.collect(),
                groups: self.groups(&groups),
            })
        };
        query.await.map(Some).map_err(NotObserved::Kafka)
    }

    /// Groups with members that connect from the project's containers, each with the topics and services of its
    /// members.
    fn groups(&self, groups: &[GroupState]) -> Vec<ObservedGroup> {
        let service = |host: &str| {
            let host: IpAddr = host.parse().ok()?;
            let own = self.containers.iter().find(|c| c.addresses.contains(&host));
            Some(own?.service.clone())
        };
        let group = |group: &GroupState| {
            let partitions = group.members.iter().flat_map(|m| &m.partitions);
            let topics = partitions.map(|(topic, _)| topic.clone());
            let topics: BTreeSet<_> = topics.filter(|topic| !topic.starts_with('_')).collect();
            let services = group.members.iter().filter_map(|m| service(&m.host));
            let services: BTreeSet<_> = services.collect();
            ObservedGroup {
                name: group.name.clone(),
                topics: topics.into_iter().collect(),
                services: services.into_iter().collect(),
            }
        };
        let mut groups: Vec<_> = groups.iter().map(group).collect();
        groups.retain(|group| !group.topics.is_empty() && !group.services.is_empty());
        groups.sort_by(|a, b| a.name.cmp(&b.name));
        groups
    }

    async fn postgres(&self) -> Result<Option<Vec<TableSchema>>, NotObserved> {
        let Some(service) = self.stack.of(Role::Postgres).next() else {
            return Ok(None);
        };
        let Some(place) = self.address(service, 5432) else {
            return Err(NotObserved::NotRunning(service.name.clone()));
        };
        let variable = |name: &str| service.environment.get(name).map(String::as_str);
        let user = variable("POSTGRES_USER").unwrap_or("postgres");
        let database = variable("POSTGRES_DB").unwrap_or(user);
        let password = match variable("POSTGRES_PASSWORD") {
            Some(password) => password.to_owned(),
            None => password_file(service)?,
        };
        let [user, password, database] = [user, &password, database].map(percent_encoding::encode);
        let url = format!("postgres://{user}:{password}@{place}/{database}");
        let query = async { Postgres::connect(&url).await?.tables().await };
        query.await.map(Some).map_err(NotObserved::Postgres)
    }

    /// The constant part of the service's startup line.
    async fn startup(&self, service: &Service) -> Option<String> {
        let container = self.containers_of(service).next()?;
        let mut found = None;
        let mut each = |line: LogLine| {
            found = startup::constant(&line.text);
            found.is_some()
        };
        let scanned = self.platform.scan_beginning(container, 0, &mut each);
        scanned.await.ok()?;
        found
    }

    /// The first path that answers 200 on the service's published port: the path of its health check, else one
    /// of [`READY_PATHS`].
    async fn ready(&self, service: &Service) -> Option<String> {
        let probe = service::probe(service);
        let probed = probe.as_ref().and_then(|(port, _)| *port);
        let port = probed.or_else(|| service.ports.first().map(|port| port.container_port))?;
        let port = self.published(service, port)?;
        let paths = probe.into_iter().map(|(_, path)| path);
        for path in paths.chain(READY_PATHS.map(str::to_owned)) {
            let url = format!("http://127.0.0.1:{port}{path}");
            if http::get(&url, TIMEOUT)
                .await
                .is_ok_and(|answer| answer.status == 200)
            {
                return Some(path);
            }
        }
        None
    }
}

/// The content of the service's `POSTGRES_PASSWORD_FILE`; empty if it has none.
fn password_file(service: &Service) -> Result<String, NotObserved> {
    let Some(target) = service.environment.get("POSTGRES_PASSWORD_FILE") else {
        return Ok(String::new());
    };
    let Some(mount) = service
        .secrets_and_configs
        .iter()
        .find(|mount| mount.target == *target)
    else {
        return Ok(String::new());
    };
    let content = match &mount.generated {
        Some(written) => written.content.clone(),
        None => std::fs::read_to_string(&mount.path).map_err(|source| NotObserved::Password {
            path: mount.path.clone(),
            source,
        })?,
    };
    Ok(content.trim_end_matches(['\r', '\n']).to_owned())
}
