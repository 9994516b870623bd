//! A project's containers, volumes and networks in Docker. A missing or malformed field is left empty, because
//! engines differ.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use bollard::{
    models::{
        ContainerInspectResponse, ContainerState, EndpointSettings, HealthcheckResult, PortMap,
    },
    query_parameters::{
        InspectContainerOptions, ListContainersOptionsBuilder, ListNetworksOptionsBuilder,
        ListVolumesOptionsBuilder,
    },
};
use chrono::{DateTime, Utc};
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::{
    connect::{Engine, status},
    labels, settings,
};
use diagnostics::Result;
use platform::{Container, Health, State};

/// How many inspections run concurrently.
const CONCURRENCY: usize = 16;

impl Engine {
    /// The project's containers, stopped ones included, by service and replica. Those of
    /// `docker compose run` are not among them.
    ///
    /// # Errors
    /// Docker does not answer.
    pub(crate) async fn containers(&self, project: &str) -> Result<Vec<Container>> {
        self.made(&format!("{}={project}", labels::PROJECT)).await
    }

    /// The containers of all projects, by project, as [`Self::containers`] returns them.
    ///
    /// # Errors
    /// Docker does not answer.
    pub(crate) async fn projects(&self) -> Result<BTreeMap<String, Vec<Container>>> {
        let mut projects: BTreeMap<String, Vec<Container>> = BTreeMap::new();
        for container in self.made(labels::PROJECT).await? {
            if let Some(project) = container.labels.get(labels::PROJECT) {
                projects.entry(project.clone()).or_default().push(container);
            }
        }
        Ok(projects)
    }

    /// The containers that Compose or Caravan made (see [`labels::project`]) with a label, given as
    /// Docker filters them.
    async fn made(&self, label: &str) -> Result<Vec<Container>> {
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&HashMap::from([("label", of_a_project(label))]))
            .build();
        let list = self.docker.list_containers(Some(options));
        let list = self.call("list containers", list).await?;
        let ids = list.into_iter().filter_map(|c| c.id);
        let mut containers: Vec<Container> = stream::iter(ids)
            .map(|id| async move { self.inspect(&id).await })
            .buffer_unordered(CONCURRENCY)
            .try_filter_map(|found| async { Ok(found) })
            .try_collect()
            .await?;
        containers.retain(|c| c.labels.get(labels::ONEOFF).is_none_or(|v| v != "True"));
        let mut inherited = Vec::new();
        for container in &containers {
            if self.inherits(container).await? {
                inherited.push(container.id.clone());
            }
        }
        containers.retain(|c| !inherited.contains(&c.id));
        containers.sort_by(|a, b| (&a.service, a.replica).cmp(&(&b.service, b.replica)));
        Ok(containers)
    }

    /// Whether a container inherited its number and hash labels from its image: the image was committed from
    /// a project's container.
    pub(super) async fn inherits(&self, container: &Container) -> Result<bool> {
        let label = |name: &str| container.labels.get(name);
        // Compose and Caravan label a container with its image's id; an inherited label has another id.
        if label(labels::IMAGE) == Some(&container.image_id) {
            return Ok(false);
        }
        let image = self.image(&container.image_id).await?;
        let inherited = image.and_then(|image| image.config?.labels);
        let same = |name: &str| {
            let inherited = inherited.as_ref().and_then(|labels| labels.get(name));
            inherited.is_some() && inherited == label(name)
        };
        Ok(same(labels::NUMBER) && same(labels::COMPOSE_HASH))
    }

    /// A container by id or name; None: it does not exist (any more).
    ///
    /// # Errors
    /// Docker does not answer.
    pub(crate) async fn inspect(&self, id: &str) -> Result<Option<Container>> {
        Ok(self.inspect_raw(id).await?.map(container))
    }

    /// As [`Self::inspect`], with Docker's complete response.
    pub(super) async fn inspect_raw(&self, id: &str) -> Result<Option<ContainerInspectResponse>> {
        let inspect = async {
            let options = None::<InspectContainerOptions>;
            match self.docker.inspect_container(id, options).await {
                Err(e) if status(&e) == Some(404) => Ok(None),
                answer => answer.map(Some),
            }
        };
        let what = format!("inspect container {id:.12}");
        self.call(&what, inspect).await
    }

    /// Names of the project's volumes.
    ///
    /// # Errors
    /// Docker does not answer.
    pub(crate) async fn volumes(&self, project: &str) -> Result<Vec<String>> {
        let options = ListVolumesOptionsBuilder::new()
            .filters(&by_label(labels::PROJECT, project))
            .build();
        let list = self.docker.list_volumes(Some(options));
        let volumes = self.call("list volumes", list).await?.volumes;
        let mut names: Vec<_> = volumes.into_iter().flatten().map(|v| v.name).collect();
        names.sort();
        Ok(names)
    }

    /// Those of the named volumes that exist, of any owner.
    ///
    /// # Errors
    /// Docker does not answer.
    pub(crate) async fn existing_volumes(&self, names: &[String]) -> Result<Vec<String>> {
        let options = ListVolumesOptionsBuilder::new().build();
        let list = self.docker.list_volumes(Some(options));
        let volumes = self.call("list volumes", list).await?.volumes;
        let existing = volumes.into_iter().flatten().map(|v| v.name);
        Ok(existing.filter(|name| names.contains(name)).collect())
    }

    /// Names of the project's networks.
    ///
    /// # Errors
    /// Docker does not answer.
    pub(crate) async fn networks(&self, project: &str) -> Result<Vec<String>> {
        let networks = self.networks_by_id(project).await?;
        Ok(networks.into_iter().map(|(name, _)| name).collect())
    }

    /// Names and ids of the project's networks: several may have one name.
    pub(super) async fn networks_by_id(&self, project: &str) -> Result<Vec<(String, String)>> {
        let options = ListNetworksOptionsBuilder::new()
            .filters(&by_label(labels::PROJECT, project))
            .build();
        let list = self.docker.list_networks(Some(options));
        let networks = self.call("list networks", list).await?;
        let networks = networks.into_iter().filter_map(|n| Some((n.name?, n.id?)));
        let mut networks: Vec<_> = networks.collect();
        networks.sort();
        Ok(networks)
    }
}

/// Docker's filter for containers of a project that have `label`, which may be `name=value`.
pub(super) fn of_a_project(label: &str) -> Vec<String> {
    let own = [labels::NUMBER, labels::COMPOSE_HASH];
    std::iter::once(label)
        .chain(own)
        .map(str::to_owned)
        .collect()
}

/// Docker's filter for objects whose `label` is `value`.
pub(super) fn by_label(label: &str, value: &str) -> HashMap<&'static str, Vec<String>> {
    HashMap::from([("label", vec![format!("{label}={value}")])])
}

/// Converts Docker's inspection of a container.
pub(super) fn container(raw: ContainerInspectResponse) -> Container {
    let settings = settings::seen(&raw);
    let state = raw.state.unwrap_or_default();
    let labels: std::collections::BTreeMap<_, _> = raw
        .config
        .and_then(|config| config.labels)
        .into_iter()
        .flatten()
        .collect();
    let network = raw.network_settings.unwrap_or_default();
    Container {
        id: raw.id.unwrap_or_default(),
        name: raw
            .name
            .unwrap_or_default()
            .trim_start_matches('/')
            .to_owned(),
        service: labels.get(labels::SERVICE).cloned().unwrap_or_default(),
        replica: labels
            .get(labels::NUMBER)
            .and_then(|n| n.parse().ok())
            .unwrap_or(1),
        by_caravan: labels.contains_key(labels::HASH),
        scaled: labels.contains_key(labels::SCALED),
        declared_in: labels.get(labels::CONFIG_FILES).cloned(),
        state: state_of(&state),
        exit_code: exit_code(&state),
        oom_killed: state.oom_killed.unwrap_or(false),
        memory_limit: raw
            .host_config
            .and_then(|host| host.memory)
            .filter(|bytes| *bytes > 0),
        error: state.error.clone().filter(|e| !e.is_empty()),
        created_at: time(raw.created.as_deref()),
        started_at: time(state.started_at.as_deref()),
        finished_at: time(state.finished_at.as_deref()),
        restart_count: raw.restart_count.unwrap_or(0),
        health: health(&state),
        image_id: raw.image.unwrap_or_default(),
        addresses: addresses(network.networks.unwrap_or_default()),
        ports: ports(network.ports.unwrap_or_default()),
        labels,
        settings,
    }
}

fn state_of(state: &ContainerState) -> State {
    let word = state.status.map(|s| s.to_string()).unwrap_or_default();
    match word.as_str() {
        "created" => State::Created,
        "running" | "stopping" => State::Running,
        "paused" => State::Paused,
        "restarting" => State::Restarting,
        "removing" => State::Removing,
        "exited" => State::Exited,
        "dead" => State::Dead,
        _ => State::Unknown,
    }
}

/// The exit code of a run that ended; None while the container runs.
fn exit_code(state: &ContainerState) -> Option<i64> {
    let ended = time(state.finished_at.as_deref()).is_some();
    let runs = matches!(state_of(state), State::Running | State::Paused);
    state.exit_code.filter(|_| ended && !runs)
}

/// Docker writes year 1 for "never".
pub(super) fn time(text: Option<&str>) -> Option<DateTime<Utc>> {
    let at = DateTime::parse_from_rfc3339(text?).ok()?.to_utc();
    (at.timestamp() > 0).then_some(at)
}

fn health(state: &ContainerState) -> Option<Health> {
    let health = state.health.as_ref()?;
    let status = health.status.map(|s| s.to_string()).unwrap_or_default();
    if status.is_empty() || status == "none" {
        return None;
    }
    let probes = health.log.iter().flatten();
    Some(Health {
        status,
        failing_streak: health.failing_streak.unwrap_or(0),
        outputs: probes.filter_map(said).collect(),
    })
}

fn said(probe: &HealthcheckResult) -> Option<String> {
    let output = probe.output.as_deref().unwrap_or_default().trim();
    match (output, probe.exit_code) {
        ("", None | Some(0)) => None,
        ("", Some(code)) => Some(format!("exit code {code}, without output")),
        (output, _) => Some(output.to_owned()),
    }
}

fn addresses(networks: HashMap<String, EndpointSettings>) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = networks
        .into_values()
        .flat_map(|n| [n.ip_address, n.global_ipv6_address])
        .flatten()
        .filter_map(|ip| ip.parse().ok())
        .collect();
    addresses.sort();
    addresses
}

/// `127.0.0.1:8080->8080/tcp`, as `docker ps` writes it.
fn ports(map: PortMap) -> Vec<String> {
    let mut ports: Vec<String> = map
        .into_iter()
        .flat_map(|(inside, bindings)| {
            bindings.into_iter().flatten().map(move |binding| {
                let ip = binding.host_ip.unwrap_or_default();
                let port = binding.host_port.unwrap_or_default();
                format!("{ip}:{port}->{inside}")
            })
        })
        .collect();
    ports.sort();
    ports
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inspected(json: serde_json::Value) -> Container {
        container(serde_json::from_value(json).expect("parses"))
    }

    #[test]
    fn an_inspection_becomes_a_container() {
        let seen = inspected(serde_json::json!({
            "Id": "abc", "Name": "/shop-db", "RestartCount": 2, "Image": "sha256:1",
            "Created": "2026-01-01T00:00:00.5Z",
            "State": {
                "Status": "running", "ExitCode": 0, "Pid": 42, "Error": "",
                "StartedAt": "2026-01-01T00:00:01Z", "FinishedAt": "0001-01-01T00:00:00Z",
                "Health": {"Status": "unhealthy", "FailingStreak": 3, "Log": [{"Output": " no\n"}]}
            },
            "Config": {"Labels": {
                "com.docker.compose.service": "db", "com.docker.compose.container-number": "2"
            }},
            "NetworkSettings": {
                "Ports": {"5432/tcp": [{"HostIp": "127.0.0.1", "HostPort": "15432"}], "1/tcp": null},
                "Networks": {"shop": {"IPAddress": "172.18.0.2"}}
            }
        }));
        assert_eq!(
            (seen.name.as_str(), seen.service.as_str(), seen.replica),
            ("shop-db", "db", 2)
        );
        assert_eq!(
            (seen.state, seen.exit_code, seen.by_caravan),
            (State::Running, None, false)
        );
        assert_eq!(seen.finished_at, None);
        assert_eq!(seen.ports, ["127.0.0.1:15432->5432/tcp"]);
        let health = seen.health.expect("has a health check");
        assert_eq!(
            (health.status.as_str(), health.outputs),
            ("unhealthy", vec!["no".to_owned()])
        );
    }

    #[test]
    fn missing_fields_stay_empty() {
        let seen = inspected(serde_json::json!({}));
        assert_eq!(
            (seen.state, seen.replica, seen.exit_code),
            (State::Unknown, 1, None)
        );
    }
}
