//! A container's host configuration: ports, mounts, limits, privileges, logging.

use bollard::models::{HostConfig, Mount, MountPoint, PortMap};
use serde_json::Value;

use super::{Settings, clean_path, put as put_value};

/// The value for an anonymous volume.
pub(super) const ANONYMOUS: &str = "volume";

/// Fields that other functions of this file read, or that the engine fills in and that are ignored.
const APART: &[&str] = &[
    "Binds",
    "CgroupnsMode",
    "ConsoleSize",
    "ContainerIDFile",
    "LogConfig",
    "MaskedPaths",
    "Mounts",
    "NetworkMode",
    "PortBindings",
    "ReadonlyPaths",
    "RestartPolicy",
    "Tmpfs",
];

/// Docker's names that, in snake case, differ from Compose's.
const WORDS: &[(&str, &str)] = &[
    ("DnsOptions", "dns_opt"),
    ("IpcMode", "ipc"),
    ("Memory", "mem_limit"),
    ("MemoryReservation", "mem_reservation"),
    ("MemorySwap", "memswap_limit"),
    ("NanoCpus", "cpus"),
    ("PidMode", "pid"),
    ("ReadonlyRootfs", "read_only"),
    ("UTSMode", "uts"),
];

/// Puts all of the engine's host settings except mounts, including those that Caravan never sets.
pub(super) fn put(settings: &mut Settings, host: &HostConfig) {
    if let Ok(Value::Object(fields)) = serde_json::to_value(host) {
        let plain = fields
            .iter()
            .filter(|(name, _)| !APART.contains(&name.as_str()));
        for (name, value) in plain {
            // Billionths of a core.
            let cores = (name == "NanoCpus").then(|| value.as_f64().unwrap_or_default() / 1e9);
            let value = cores.map_or_else(|| value.clone(), Value::from);
            put_value(settings, word(name), plain_text(&value));
        }
    }
    put_ports(settings, host.port_bindings.as_ref());
    for (path, options) in host.tmpfs.iter().flatten() {
        settings.insert(format!("tmpfs.{path}"), options.clone());
    }
    if let Some(policy) = &host.restart_policy {
        let name = policy.name.map(|name| name.to_string());
        let name = name.filter(|name| !name.is_empty() && name != "no");
        let retries = policy.maximum_retry_count.filter(|n| *n > 0);
        let retries = retries.map(|n| format!(":{n}")).unwrap_or_default();
        put_value(settings, "restart", name.map(|name| name + &retries));
    }
    if let Some(log) = &host.log_config {
        let mut options: Vec<_> = log.config.iter().flatten().collect();
        options.sort();
        let options: Vec<_> = options.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let driver = log.typ.clone().unwrap_or_default();
        let text = format!("{driver} {}", options.join(" "));
        put_value(settings, "logging", Some(text.trim().to_owned()));
    }
}

/// Puts the published ports, as `127.0.0.1:8080->80/tcp`.
fn put_ports(settings: &mut Settings, ports: Option<&PortMap>) {
    let mut published = Vec::new();
    for (container, bindings) in ports.into_iter().flatten() {
        for binding in bindings.iter().flatten() {
            let ip = binding.host_ip.as_deref().filter(|ip| !ip.is_empty());
            let port = binding
                .host_port
                .as_deref()
                .filter(|p| !["", "0"].contains(p));
            let (ip, port) = (ip.unwrap_or("0.0.0.0"), port.unwrap_or("any"));
            published.push(format!("{ip}:{port}->{container}"));
        }
    }
    published.sort();
    put_value(settings, "ports", Some(published.join(", ")));
}

/// Puts the mounts of a request to create a container.
pub(super) fn put_mounts_wanted(settings: &mut Settings, host: &HostConfig) {
    for mount in host.mounts.iter().flatten() {
        put_mount(settings, mount);
    }
    for bind in host.binds.iter().flatten() {
        let mut parts = bind.splitn(3, ':');
        if let (Some(source), Some(target)) = (parts.next(), parts.next()) {
            let read_only = parts
                .next()
                .is_some_and(|m| m.split(',').any(|o| o == "ro"));
            let kind = if source.starts_with('/') {
                "bind"
            } else {
                "volume"
            };
            put_volume(settings, target, kind, Some(source), read_only);
        }
    }
}

fn put_mount(settings: &mut Settings, mount: &Mount) {
    let kind = mount.typ.map(|typ| typ.to_string()).unwrap_or_default();
    let target = mount.target.as_deref().unwrap_or_default();
    let read_only = mount.read_only == Some(true);
    if kind == "tmpfs" {
        settings.insert(format!("tmpfs.{target}"), String::new());
    } else {
        put_volume(settings, target, &kind, mount.source.as_deref(), read_only);
    }
}

/// Puts the mounts of an existing container.
pub(super) fn put_mounts_seen<'a>(
    settings: &mut Settings,
    mounts: impl Iterator<Item = &'a MountPoint>,
) {
    for mount in mounts {
        let (kind, source) = match mount.typ.as_deref() {
            Some("volume") => ("volume", &mount.name),
            Some("bind") => ("bind", &mount.source),
            // `put` reads it from the host configuration.
            _ => continue,
        };
        let target = mount.destination.as_deref().unwrap_or_default();
        let read_only = mount.rw == Some(false);
        put_volume(settings, target, kind, source.as_deref(), read_only);
    }
}

fn put_volume(
    settings: &mut Settings,
    target: &str,
    kind: &str,
    source: Option<&str>,
    read_only: bool,
) {
    // The engine names an anonymous volume by 64 hexadecimal digits.
    let is_digest = |s: &str| s.len() == 64 && s.chars().all(|c| c.is_ascii_hexdigit());
    let source = source.filter(|s| !(s.is_empty() || kind == "volume" && is_digest(s)));
    let source = source.map(|s| format!(" {s}")).unwrap_or_default();
    let mode = if read_only { ", read-only" } else { "" };
    let target = clean_path(target);
    settings.insert(format!("volumes.{target}"), format!("{kind}{source}{mode}"));
}

fn word(name: &str) -> String {
    if let Some((_, word)) = WORDS.iter().find(|(docker, _)| *docker == name) {
        return (*word).to_owned();
    }
    let mut word = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !word.is_empty() {
            word.push('_');
        }
        word.push(c.to_ascii_lowercase());
    }
    word
}

/// The value as text; None for null, zero and empty values, which count as not set. Lists are sorted.
fn plain_text(value: &Value) -> Option<String> {
    match value {
        Value::Null | Value::Bool(false) => None,
        Value::Number(number) => (number.as_f64() != Some(0.0)).then(|| number.to_string()),
        Value::Bool(true) => Some("true".to_owned()),
        Value::String(text) => Some(text.clone()),
        Value::Array(items) => {
            let mut texts: Vec<_> = items.iter().filter_map(plain_text).collect();
            texts.sort();
            Some(texts.join(", "))
        }
        Value::Object(fields) => {
            let field =
                |(name, value): (&String, &Value)| Some(format!("{name}={}", plain_text(value)?));
            let mut texts: Vec<_> = fields.iter().filter_map(field).collect();
            texts.sort();
            Some(texts.join(" "))
        }
    }
}
