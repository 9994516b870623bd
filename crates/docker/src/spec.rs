//! The request that creates a service's container (`runtime`: keys that are passed on unchanged; `grants`:
//! secrets and configs), and the hash that detects drift.

mod grants;
mod runtime;

use std::collections::{BTreeMap, HashMap};

use bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HealthConfig, HostConfig,
    HostConfigLogConfig, Mount, MountType, MountVolumeOptions, NetworkingConfig, PortBinding,
    PortMap, RestartPolicy, RestartPolicyNameEnum,
};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{images::Image, labels};
use declaration::{
    Condition, Healthcheck, MountSource, Namespace, NetworkUse, Origin, Other, Pipeline, Port,
    Restart, Service, StateFiles,
};

/// One replica of a service, ready to be created.
#[derive(Clone)]
pub(super) struct Spec {
    pub(super) name: String,
    pub(super) body: ContainerCreateBody,
    /// Docker's names of all its networks. Engines below API 1.44 create a container on one of
    /// them only; see [`Spec::split_networks`].
    networks: Vec<(String, EndpointSettings)>,
    /// `linux/arm64`; None: the engine's own.
    pub(super) platform: Option<String>,
    /// SHA-256 of `body` without its image and without labels that only inform.
    pub(super) hash: String,
}

/// The name of a service's replica: `container_name`, else project and service; the first one has
/// no number.
pub(super) fn container_name(pipeline: &Pipeline, service: &Service, replica: u32) -> String {
    let derived = || format!("{}-{}", pipeline.project, service.name);
    let base = service.container_name.clone().unwrap_or_else(derived);
    match replica {
        0 | 1 => base,
        n => format!("{base}-{n}"),
    }
}

impl Spec {
    pub(super) fn new(pipeline: &Pipeline, service: &Service, replica: u32, image: &Image) -> Self {
        let networks = networks(pipeline, service);
        let mut body = ContainerCreateBody {
            hostname: service.hostname.clone(),
            user: service.user.clone(),
            exposed_ports: non_empty(exposed_ports(service)),
            env: Some(environment(service, replica)),
            cmd: service.command.clone(),
            entrypoint: service.entrypoint.clone(),
            healthcheck: service.healthcheck.as_ref().map(healthcheck),
            working_dir: service.working_dir.clone(),
            labels: Some(own_labels(service)),
            stop_signal: service.stop_signal.clone(),
            stop_timeout: service.stop_grace_period.map(whole_seconds),
            host_config: Some(host_config(pipeline, service, &networks)),
            networking_config: Some(NetworkingConfig {
                endpoints_config: Some(networks.iter().cloned().collect()),
            }),
            ..runtime::body(&service.runtime)
        };
        let hash = hash(&body);
        body.image = Some(image.reference.clone());
        let labels = body.labels.get_or_insert_default();
        labels.extend(compose_labels(pipeline, service, replica, image, &hash));
        Self {
            name: container_name(pipeline, service, replica),
            body,
            networks,
            platform: service.runtime.platform.clone(),
            hash,
        }
    }

    /// Keeps the first network in `body` and returns the others, for the caller to connect before the start.
    pub(super) fn split_networks(&mut self) -> Vec<(String, EndpointSettings)> {
        let mut networks = std::mem::take(&mut self.networks);
        let rest = networks.split_off(networks.len().min(1));
        self.body.networking_config = Some(NetworkingConfig {
            endpoints_config: Some(networks.into_iter().collect()),
        });
        rest
    }

    /// Mounts the undeclared volumes of the container that this one replaces, so that their data is kept.
    pub(super) fn carry_over(&mut self, volumes: Vec<(String, String)>) {
        let mounts = self
            .body
            .host_config
            .get_or_insert_default()
            .mounts
            .get_or_insert_default();
        for (target, name) in volumes {
            let declared = |m: &Mount| m.target.as_ref() == Some(&target) && m.source.is_some();
            if !mounts.iter().any(declared) {
                mounts.retain(|m| m.target.as_ref() != Some(&target));
                mounts.push(volume_mount(Some(name), &target, false));
            }
        }
    }
}

fn host_config(
    pipeline: &Pipeline,
    service: &Service,
    networks: &[(String, EndpointSettings)],
) -> HostConfig {
    HostConfig {
        memory: service.mem_limit,
        init: service.init.then_some(true),
        pids_limit: service.pids_limit,
        binds: non_empty(binds(service)),
        mounts: non_empty(volume_mounts(pipeline, service)),
        log_config: service.logging.as_ref().map(|logging| HostConfigLogConfig {
            typ: Some(logging.driver.clone()),
            config: Some(logging.options.clone().into_iter().collect()),
        }),
        network_mode: networks
            .first()
            .map(|(name, _)| name.clone())
            .or_else(|| namespace(pipeline, service.runtime.network_mode.as_ref())),
        ipc_mode: namespace(pipeline, service.runtime.ipc.as_ref()),
        pid_mode: namespace(pipeline, service.runtime.pid.as_ref()),
        volumes_from: non_empty(volumes_from(pipeline, service)),
        port_bindings: non_empty_map(port_bindings(&service.ports)),
        restart_policy: Some(restart_policy(service.restart)),
        cap_add: non_empty(service.cap_add.clone()),
        cap_drop: non_empty(service.cap_drop.clone()),
        extra_hosts: non_empty(service.extra_hosts.clone()),
        readonly_rootfs: service.read_only.then_some(true),
        security_opt: non_empty(service.security_opt.clone()),
        tmpfs: non_empty_map(tmpfs(&service.tmpfs)),
        shm_size: service.shm_size,
        ..runtime::host_config(&service.runtime)
    }
}

/// The declared labels, and the label with the digest of its secrets and configs.
fn own_labels(service: &Service) -> HashMap<String, String> {
    let declared = service.labels.clone().into_iter();
    declared.chain(grants::label(service)).collect()
}

fn exposed_ports(service: &Service) -> Vec<String> {
    let mut ports: Vec<String> = service.ports.iter().map(port_key).collect();
    ports.extend_from_slice(&service.runtime.expose);
    ports.sort();
    ports.dedup();
    ports
}

/// `KEY=value`, sorted. A member of a consumer group gets its replica number, which its
/// `group.instance.id` contains.
fn environment(service: &Service, replica: u32) -> Vec<String> {
    let mut environment = service.environment.clone();
    if service.group.is_some() {
        let number = replica.to_string();
        environment
            .entry("CARAVAN_REPLICA".to_owned())
            .or_insert(number);
    }
    environment
        .iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect()
}

/// Docker's names of the service's networks, in declared order, each with the service's aliases there.
fn networks(pipeline: &Pipeline, service: &Service) -> Vec<(String, EndpointSettings)> {
    let links = links(pipeline, service);
    let endpoint = |used: &NetworkUse| {
        let mut names = vec![service.name.clone()];
        let aliases = used.aliases.iter();
        names.extend(aliases.filter(|a| **a != service.name).cloned());
        EndpointSettings {
            aliases: Some(names),
            links: non_empty(links.clone()),
            ipam_config: fixed_address(used),
            ..EndpointSettings::default()
        }
    };
    let uses = service.networks.iter();
    uses.filter_map(|used| {
        let network = pipeline.networks.iter().find(|n| n.key == used.network)?;
        Some((network.name.clone(), endpoint(used)))
    })
    .collect()
}

/// `CONTAINER:ALIAS` for each container of the links.
fn links(pipeline: &Pipeline, service: &Service) -> Vec<String> {
    let links = service.links.iter();
    links
        .flat_map(|link| {
            let containers = containers_of(pipeline, &link.of).into_iter();
            containers.map(|container| format!("{container}:{}", link.alias))
        })
        .collect()
}

/// The names of a service's containers, or the name of another container.
fn containers_of(pipeline: &Pipeline, other: &Other) -> Vec<String> {
    match other {
        Other::Container(name) => vec![name.clone()],
        Other::Service(name) => match pipeline.service(name) {
            Some(service) => (1..=service.replicas)
                .map(|replica| container_name(pipeline, service, replica))
                .collect(),
            None => Vec::new(),
        },
    }
}

/// Docker's form of a namespace: one of its words, or `container:NAME`.
fn namespace(pipeline: &Pipeline, namespace: Option<&Namespace>) -> Option<String> {
    match namespace? {
        Namespace::Mode(mode) => Some(mode.clone()),
        Namespace::Of(other) => {
            let container = containers_of(pipeline, other).into_iter().next()?;
            Some(format!("container:{container}"))
        }
    }
}

/// `CONTAINER[:ro]`: of a service, its first container.
fn volumes_from(pipeline: &Pipeline, service: &Service) -> Vec<String> {
    let from = service.volumes_from.iter();
    from.filter_map(|from| {
        let container = containers_of(pipeline, &from.of).into_iter().next()?;
        let mode = if from.read_only { ":ro" } else { "" };
        Some(format!("{container}{mode}"))
    })
    .collect()
}

fn fixed_address(used: &NetworkUse) -> Option<EndpointIpamConfig> {
    let fixed = used.ipv4_address.is_some() || used.ipv6_address.is_some();
    fixed.then(|| EndpointIpamConfig {
        ipv4_address: used.ipv4_address.clone(),
        ipv6_address: used.ipv6_address.clone(),
        ..EndpointIpamConfig::default()
    })
}

fn binds(service: &Service) -> Vec<String> {
    let binds = service
        .mounts
        .iter()
        .filter_map(|mount| match &mount.source {
            MountSource::Bind(path) => {
                let mode = if mount.read_only { "ro" } else { "rw" };
                let mut bind = format!("{}:{}:{mode}", path.display(), mount.target);
                for option in &mount.options {
                    bind.push(',');
                    bind.push_str(option);
                }
                Some(bind)
            }
            MountSource::Volume(_) | MountSource::Anonymous => None,
        });
    binds.collect()
}

fn volume_mounts(pipeline: &Pipeline, service: &Service) -> Vec<Mount> {
    let named = |key: &String| {
        let volume = pipeline.volumes.iter().find(|v| v.key == *key);
        volume.map_or_else(|| key.clone(), |v| v.name.clone())
    };
    let mounts = service.mounts.iter().filter_map(|mount| {
        let source = match &mount.source {
            MountSource::Volume(key) => Some(named(key)),
            MountSource::Anonymous => None,
            MountSource::Bind(_) => return None,
        };
        let mut mounted = volume_mount(source, &mount.target, mount.read_only);
        mounted.volume_options =
            (mount.options.iter().any(|o| o == "nocopy")).then(|| MountVolumeOptions {
                no_copy: Some(true),
                ..MountVolumeOptions::default()
            });
        Some(mounted)
    });
    mounts.chain(grants::mounts(service)).collect()
}

fn volume_mount(source: Option<String>, target: &str, read_only: bool) -> Mount {
    Mount {
        typ: Some(MountType::VOLUME),
        source,
        target: Some(target.to_owned()),
        read_only: read_only.then_some(true),
        ..Mount::default()
    }
}

/// `8080/tcp`
fn port_key(port: &Port) -> String {
    format!("{}/{}", port.container_port, port.protocol)
}

/// The port, or the range of ports of which Docker chooses one. Empty: Docker chooses one of all.
fn host_port(port: &Port) -> String {
    let number = || port.host_port.map(|number| number.to_string());
    port.host_range.clone().or_else(number).unwrap_or_default()
}

fn port_bindings(ports: &[Port]) -> PortMap {
    let mut map = PortMap::new();
    for port in ports {
        let binding = PortBinding {
            host_ip: Some(port.host_ip.clone()),
            host_port: Some(host_port(port)),
        };
        let bindings = map.entry(port_key(port)).or_default();
        bindings.get_or_insert_default().push(binding);
    }
    map
}

/// `/tmp:size=64m` is a path and its options.
fn tmpfs(entries: &[String]) -> HashMap<String, String> {
    let split = |entry: &String| {
        let (path, options) = entry.split_once(':').unwrap_or((entry, ""));
        (path.to_owned(), options.to_owned())
    };
    entries.iter().map(split).collect()
}

fn restart_policy(restart: Restart) -> RestartPolicy {
    let (name, retries) = match restart {
        Restart::No => (RestartPolicyNameEnum::NO, None),
        Restart::Always => (RestartPolicyNameEnum::ALWAYS, None),
        Restart::UnlessStopped => (RestartPolicyNameEnum::UNLESS_STOPPED, None),
        Restart::OnFailure(most) => (RestartPolicyNameEnum::ON_FAILURE, most.map(i64::from)),
    };
    RestartPolicy {
        name: Some(name),
        maximum_retry_count: retries,
    }
}

fn healthcheck(check: &Healthcheck) -> HealthConfig {
    let nanoseconds = |d: std::time::Duration| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX);
    HealthConfig {
        test: Some(check.test.clone()),
        interval: check.interval.map(nanoseconds),
        timeout: check.timeout.map(nanoseconds),
        retries: check.retries,
        start_period: check.start_period.map(nanoseconds),
        start_interval: check.start_interval.map(nanoseconds),
    }
}

/// Rounded up: a grace period must not shrink.
pub(super) fn whole_seconds(duration: std::time::Duration) -> i64 {
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

fn compose_labels(
    pipeline: &Pipeline,
    service: &Service,
    replica: u32,
    image: &Image,
    hash: &str,
) -> BTreeMap<String, String> {
    let mut labels = vec![
        (labels::PROJECT, pipeline.project.clone()),
        (labels::SERVICE, service.name.clone()),
        (labels::NUMBER, replica.to_string()),
        (labels::VERSION, labels::THIS_VERSION.to_owned()),
        (labels::ONEOFF, "False".to_owned()),
        (labels::DEPENDS_ON, depends_on(service)),
        (labels::IMAGE, image.id.clone()),
        (labels::COMPOSE_HASH, hash.to_owned()),
        (labels::HASH, hash.to_owned()),
    ];
    if replica > service.replicas {
        labels.push((labels::SCALED, "true".to_owned()));
    }
    if let Origin::Files(files) = &pipeline.origin {
        let directory = files.first().and_then(|f| f.parent());
        let directory = directory.map(|d| d.display().to_string());
        labels.push((labels::WORKING_DIR, directory.unwrap_or_default()));
    }
    labels.extend(origin_labels(pipeline));
    let owned = labels.into_iter().map(|(k, v)| (k.to_owned(), v));
    owned.collect()
}

/// Labels with the files and the state directory of a project, for [`platform::Deployment`].
pub(super) fn origin_labels(pipeline: &Pipeline) -> Vec<(&'static str, String)> {
    let files = match &pipeline.origin {
        Origin::Embedded => labels::EMBEDDED.to_owned(),
        Origin::Files(files) => {
            let names: Vec<_> = files.iter().map(|f| f.display().to_string()).collect();
            names.join(",")
        }
    };
    let StateFiles {
        directory,
        env_file,
    } = &pipeline.state;
    let mut labels = vec![
        (labels::CONFIG_FILES, files),
        (labels::STATE_DIR, directory.display().to_string()),
    ];
    let env_file = env_file.as_ref().map(|file| file.display().to_string());
    labels.extend(env_file.map(|file| (labels::ENV_FILE, file)));
    labels
}

/// `kafka:service_healthy:false`; the last part is the dependency's `restart`.
fn depends_on(service: &Service) -> String {
    let one = |d: &declaration::Dependency| {
        let condition = match d.condition {
            Condition::Started => "service_started",
            Condition::Healthy => "service_healthy",
            Condition::Completed => "service_completed_successfully",
        };
        format!("{}:{condition}:{}", d.service, d.restart)
    };
    service
        .depends_on
        .iter()
        .map(one)
        .collect::<Vec<_>>()
        .join(",")
}

/// SHA-256 over the body as JSON with sorted keys.
fn hash(body: &ContainerCreateBody) -> String {
    // A body of plain strings, numbers and maps always serialises.
    let value = serde_json::to_value(body).unwrap_or_default();
    let mut text = String::new();
    canonical(&value, &mut text);
    hex(&Sha256::digest(text))
}

/// JSON with object keys sorted.
fn canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<_, _> = map.iter().collect();
            text.push('{');
            for (key, value) in sorted {
                text.push_str(&Value::from(key.as_str()).to_string());
                text.push(':');
                canonical(value, text);
                text.push(',');
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for item in items {
                canonical(item, text);
                text.push(',');
            }
            text.push(']');
        }
        plain => text.push_str(&plain.to_string()),
    }
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn non_empty<T>(items: Vec<T>) -> Option<Vec<T>> {
    (!items.is_empty()).then_some(items)
}

fn non_empty_map<V>(map: HashMap<String, V>) -> Option<HashMap<String, V>> {
    (!map.is_empty()).then_some(map)
}

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod tests;
