//! Asks what runs, from the host: published ports, else the containers' own addresses.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc, time::Duration};

use super::{
    infra::kafka_port,
    seen::{GroupSeen, KafkaSeen, Seen, TopicSeen},
    service,
    stack::{Role, Stack},
    startup,
};
use declaration::Service;
use diagnostics::Result;
use kafka::{Kafka, groups::GroupState};
use platform::{Container, LogLine, Platform, State};
use proof::stores::{
    http,
    postgres::{Postgres, table_schema::TableSchema},
};

/// What a service may take to answer.
const ANSWER: Duration = Duration::from_secs(2);
/// Where frameworks say that they are ready.
const PATHS: [&str; 5] = ["/ready", "/health", "/healthz", "/actuator/health", "/"];

/// Looks at all that can be reached; never fails, but says what it could not see.
pub(crate) async fn look(stack: &Stack<'_>, platform: Result<Arc<dyn Platform>>) -> Seen {
    let mut seen = Seen::default();
    let project = &stack.pipeline.project;
    let asked = async {
        let platform = platform?;
        let containers = platform.containers(project).await?;
        Ok::<_, diagnostics::Error>((platform, containers))
    };
    let (platform, mut containers) = match asked.await {
        Ok(asked) => asked,
        Err(error) => {
            seen.unseen
                .push(format!("Docker does not answer: {}", error.what));
            return seen;
        }
    };
    containers.retain(|c| c.state == State::Running);
    if containers.is_empty() {
        seen.unseen
            .push(format!("no container of the project {project} runs"));
        return seen;
    }
    let scene = Scene {
        stack,
        platform: platform.as_ref(),
        containers: &containers,
    };
    let (kafka, postgres) = tokio::join!(scene.kafka(), scene.postgres());
    seen.kafka = seen.note(kafka);
    seen.postgres = seen.note(postgres);
    for service in stack.of(Role::Own) {
        let name = || service.name.clone();
        if let Some(text) = scene.startup(service).await {
            seen.startups.insert(name(), text);
        }
        if let Some(path) = scene.ready(service).await {
            seen.ready.insert(name(), path);
        }
    }
    seen
}

impl Seen {
    /// What was seen, or why not.
    fn note<T>(&mut self, found: Result<Option<T>, String>) -> Option<T> {
        found.unwrap_or_else(|why| {
            self.unseen.push(why);
            None
        })
    }
}

struct Scene<'a> {
    stack: &'a Stack<'a>,
    platform: &'a dyn Platform,
    /// Those that run.
    containers: &'a [Container],
}

impl Scene<'_> {
    fn containers_of(&self, service: &Service) -> impl Iterator<Item = &Container> {
        let name = service.name.clone();
        self.containers.iter().filter(move |c| c.service == name)
    }

    /// The host's port for a container's, as it is now.
    fn published(&self, service: &Service, port: u16) -> Option<u16> {
        let container = self.containers_of(service).next()?;
        let suffix = format!("->{port}/tcp");
        let mut ports = container.ports.iter();
        ports.find_map(|p| p.strip_suffix(&suffix)?.rsplit(':').next()?.parse().ok())
    }

    /// `HOST:PORT`, published or the container's own.
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

    async fn kafka(&self) -> Result<Option<KafkaSeen>, String> {
        let Some(broker) = self.stack.of(Role::Kafka).next() else {
            return Ok(None);
        };
        let name = &broker.name;
        // Whoever asks is sent on to the advertised address: the container's own is of no use.
        let port = kafka_port(broker).and_then(|port| self.published(broker, port));
        let Some(port) = port else {
            return Err(format!(
                "{name} publishes no port: its topics and consumer groups"
            ));
        };
        let ask = async {
            let kafka = Kafka::connect(&format!("localhost:{port}")).await?;
            let (topics, groups) = tokio::try_join!(kafka.topics(), kafka.groups())?;
            let own = topics.into_iter().filter(|t| !t.name.starts_with('_'));
            let mut topics: Vec<_> = own.collect();
            topics.sort_by(|a, b| a.name.cmp(&b.name));
            let names: Vec<_> = topics.iter().map(|t| t.name.clone()).collect();
            let retentions = kafka.retentions(&names).await?;
            let topics = topics.into_iter().map(|topic| TopicSeen {
                retention: retentions.get(&topic.name).copied().flatten(),
                name: topic.name,
                partitions: topic.partitions,
                replication: topic.replicas,
            });
            Ok::<_, kafka::Error>(KafkaSeen {
                topics: topics.collect(),
                groups: self.groups(&groups),
            })
        };
        ask.await
            .map(Some)
            .map_err(|why| format!("topics and consumer groups: {why}"))
    }

    /// Groups with members, known by the containers that those connect from.
    fn groups(&self, groups: &[GroupState]) -> Vec<GroupSeen> {
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
            GroupSeen {
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

    async fn postgres(&self) -> Result<Option<Vec<TableSchema>>, String> {
        let Some(service) = self.stack.of(Role::Postgres).next() else {
            return Ok(None);
        };
        let Some(place) = self.address(service, 5432) else {
            return Err(format!("{} does not run: its tables", service.name));
        };
        let variable = |name: &str| service.environment.get(name).map(String::as_str);
        let user = variable("POSTGRES_USER").unwrap_or("postgres");
        let database = variable("POSTGRES_DB").unwrap_or(user);
        let password = match variable("POSTGRES_PASSWORD") {
            Some(password) => password.to_owned(),
            None => password_file(service)?,
        };
        let [user, password, database] = [user, &password, database].map(encoded);
        let url = format!("postgres://{user}:{password}@{place}/{database}");
        let ask = async { Postgres::connect(&url).await?.tables().await };
        ask.await.map(Some).map_err(|why| format!("tables: {why}"))
    }

    /// What its startup line says each time.
    async fn startup(&self, service: &Service) -> Option<String> {
        let container = self.containers_of(service).next()?;
        let mut found = None;
        let mut look = |line: LogLine| {
            found = startup::constant(&line.text);
            found.is_some()
        };
        let scanned = self.platform.scan_beginning(container, 0, &mut look);
        scanned.await.ok()?;
        found
    }

    /// The first path of its published port that answers 200.
    async fn ready(&self, service: &Service) -> Option<String> {
        let probe = service::probe(service);
        let asked = probe.as_ref().and_then(|(port, _)| *port);
        let port = asked.or_else(|| service.ports.first().map(|port| port.container_port))?;
        let port = self.published(service, port)?;
        let paths = probe.into_iter().map(|(_, path)| path);
        for path in paths.chain(PATHS.map(str::to_owned)) {
            let url = format!("http://127.0.0.1:{port}{path}");
            if http::get(&url, ANSWER)
                .await
                .is_ok_and(|answer| answer.status == 200)
            {
                return Some(path);
            }
        }
        None
    }
}

/// For a URL's user, password or path.
pub(super) fn encoded(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    let bytes = text.bytes().map(|b| match plain(b) {
        true => char::from(b).to_string(),
        false => format!("%{b:02X}"),
    });
    bytes.collect()
}
/// What stands in the file that Postgres reads its password from; nothing where it has none.
fn password_file(service: &Service) -> Result<String, String> {
    let Some(target) = service.environment.get("POSTGRES_PASSWORD_FILE") else {
        return Ok(String::new());
    };
    let Some(grant) = service
        .secrets_and_configs
        .iter()
        .find(|grant| grant.target == *target)
    else {
        return Ok(String::new());
    };
    let content = match &grant.generated {
        Some(written) => written.content.clone(),
        None => std::fs::read_to_string(&grant.path)
            .map_err(|e| format!("tables: {}: {e}", grant.path.display()))?,
    };
    Ok(content.trim_end_matches(['\r', '\n']).to_owned())
}
