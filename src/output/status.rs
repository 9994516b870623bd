//! What `status` writes as JSON, for one project and with `--all`.

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Console,
    json::{Outcome, Time},
};
use platform::Container;

/// The number of services.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Summary {
    /// Declared services and those of orphans; with `--all`, of all projects.
    pub(crate) services: usize,
    /// Services that run.
    pub(crate) running: usize,
    /// One-shot services that completed.
    pub(crate) completed: usize,
    /// Services that need attention: starting, orphans, unknown.
    pub(crate) doubtful: usize,
    /// Services that are not as they should be.
    pub(crate) wrong: usize,
}

/// What runs.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Status<'a> {
    /// The declaration: its files, or `shipped pipeline`. Null: `--all`.
    pub(crate) origin: Option<String>,
    /// What is wrong comes first.
    pub(crate) services: Vec<Service<'a>>,
    pub(crate) containers: Vec<ContainerEntry<'a>>,
    /// Declared services without a container.
    pub(crate) not_deployed: Vec<&'a str>,
    /// With `--all`: every project of the engine. Null: without it.
    pub(crate) projects: Option<Vec<Project<'a>>>,
}

/// A service.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Service<'a> {
    pub(crate) name: &'a str,
    /// `pass`, `warn` or `fail`.
    pub(crate) status: Outcome,
    /// Its state and health in words.
    pub(crate) state: &'a str,
    /// The number of its containers.
    pub(crate) containers: usize,
    /// Events that its consumer group has not read. Null: it consumes none, or Kafka did not answer in time.
    pub(crate) lag: Option<i64>,
}

/// A container.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ContainerEntry<'a> {
    name: &'a str,
    service: &'a str,
    id: &'a str,
    replica: u32,
    /// As Docker calls it, such as `running`.
    state: &'static str,
    /// Null: it has no health check.
    health: Option<&'a str>,
    exit_code: Option<i64>,
    oom_killed: bool,
    restarts: i64,
    started_at: Option<Time>,
    finished_at: Option<Time>,
    image_id: &'a str,
    ports: Vec<Port<'a>>,
}

/// A port of a container.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Port<'a> {
    /// The address of the host. Null: not published.
    host: Option<&'a str>,
    /// Null: not published.
    host_port: Option<u16>,
    container_port: Option<u16>,
    /// `tcp`, `udp` or `sctp`.
    protocol: &'a str,
}

/// A project of the engine.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Project<'a> {
    pub(crate) name: &'a str,
    /// The files that it was created from, or `embedded`.
    pub(crate) origin: &'a str,
    /// Who created it: `caravan` or `compose`.
    pub(crate) by: &'static str,
    /// The number of its services.
    pub(crate) services: usize,
    pub(crate) running: usize,
    pub(crate) completed: usize,
    /// The worst health of its containers. Null: none has a health check.
    pub(crate) health: Option<&'a str>,
    pub(crate) ports: Vec<Port<'a>>,
}

impl<'a> ContainerEntry<'a> {
    pub(crate) fn of(container: &'a Container) -> Self {
        Self {
            name: &container.name,
            service: &container.service,
            id: &container.id,
            replica: container.replica,
            state: container.state.name(),
            health: container.health.as_ref().map(|h| h.status.as_str()),
            exit_code: container.exit_code,
            oom_killed: container.oom_killed,
            restarts: container.restart_count,
            started_at: Time::of(container.started_at),
            finished_at: Time::of(container.finished_at),
            image_id: &container.image_id,
            ports: ports(&container.ports),
        }
    }
}

/// Ports in Docker's notation: `127.0.0.1:8080->80/tcp`, `[::]:8080->80/tcp`, `80/tcp`.
pub(crate) fn ports(ports: &[String]) -> Vec<Port<'_>> {
    ports.iter().map(|text| Port::of(text)).collect()
}

impl<'a> Port<'a> {
    fn of(text: &'a str) -> Self {
        let (published, own) = match text.split_once("->") {
            Some((published, own)) => (published.rsplit_once(':'), own),
            None => (None, text),
        };
        let (number, protocol) = own.split_once('/').unwrap_or((own, "tcp"));
        Self {
            host: published.map(|(host, _)| host.trim_start_matches('[').trim_end_matches(']')),
            host_port: published.and_then(|(_, port)| port.parse().ok()),
            container_port: number.parse().ok(),
            protocol,
        }
    }
}

/// Writes it.
pub(crate) fn report(console: &Console, summary: Summary, status: Status<'_>) {
    let outcome = match (summary.wrong, summary.doubtful) {
        (0, 0) => Outcome::Pass,
        (0, _) => Outcome::Warn,
        (_, _) => Outcome::Fail,
    };
    console.report(outcome, summary, status);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_numbers() {
        let port = |host, host_port, container_port, protocol| Port {
            host,
            host_port,
            container_port: Some(container_port),
            protocol,
        };
        for (text, expected) in [
            (
                "127.0.0.1:8080->80/tcp",
                port(Some("127.0.0.1"), Some(8080), 80, "tcp"),
            ),
            ("[::]:53->5353/udp", port(Some("::"), Some(53), 5353, "udp")),
            ("80/tcp", port(None, None, 80, "tcp")),
        ] {
            assert_eq!(Port::of(text), expected, "{text}");
        }
    }
}
