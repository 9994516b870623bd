//! A container's settings by key, named as in Compose: as declared, and as `inspect` returns them. This compares
//! all containers in the same way, whichever tool created them.

mod config;
mod host;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, EndpointSettings, ImageConfig,
};

use declaration::UNSET_SECRET;
use platform::Settings;

/// One key whose value differs from the declared one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The key: `environment.LOG_FORMAT`.
    pub key: String,
    /// The container's value; None: not set.
    pub seen: Option<String>,
    /// The declared value; None: not declared.
    pub wanted: Option<String>,
}

/// The key of the digest of secrets and configs; Docker does not see their content.
const GRANTS: &str = "secrets and configs";

/// Prefix of a network's key; its value are the container's aliases there.
const NETWORKS: &str = "networks.";

/// Keys for which the engine has defaults: they differ only if they are declared.
const ENGINE_DEFAULTS: &[&str] = &[
    "cgroup",
    "hostname",
    "ipc",
    "isolation",
    "logging",
    "mem_swappiness",
    "memswap_limit",
    "oom_kill_disable",
    "oom_score_adj",
    "runtime",
    "shm_size",
];

/// The settings of a container that is created from `body`; the image fills in what `body` leaves out.
pub(super) fn wanted(body: &ContainerCreateBody, image: &ImageConfig) -> Settings {
    let mut settings = Settings::new();
    config::put(&mut settings, config::effective(body, image));
    if let Some(host) = &body.host_config {
        host::put(&mut settings, host);
        host::put_mounts_wanted(&mut settings, host);
    }
    let endpoints = body.networking_config.as_ref();
    let endpoints = endpoints.and_then(|c| c.endpoints_config.as_ref());
    for (name, endpoint) in endpoints.into_iter().flatten() {
        put_network(&mut settings, name, endpoint, |_| true);
    }
    settings
}

/// The settings of an existing container.
pub(super) fn seen(raw: &ContainerInspectResponse) -> Settings {
    let mut settings = Settings::new();
    let id = raw.id.as_deref().unwrap_or_default();
    let name = raw.name.as_deref().unwrap_or_default();
    let name = name.trim_start_matches('/');
    if let Some(config) = &raw.config {
        let mut config = config.clone();
        // Docker's default hostname is the beginning of the id.
        config.hostname = config.hostname.filter(|h| !id.starts_with(h.as_str()));
        config::put(&mut settings, config);
    }
    if let Some(host) = &raw.host_config {
        host::put(&mut settings, host);
    }
    host::put_mounts_seen(&mut settings, raw.mounts.iter().flatten());
    let networks = raw.network_settings.as_ref();
    let networks = networks.and_then(|s| s.networks.as_ref());
    for (network, endpoint) in networks.into_iter().flatten() {
        // The engine adds the id as an alias, Compose the container's name.
        let declared = |alias: &str| !id.starts_with(alias) && alias != name;
        put_network(&mut settings, network, endpoint, declared);
    }
    settings
}

fn put_network(
    settings: &mut Settings,
    name: &str,
    endpoint: &EndpointSettings,
    declared: impl Fn(&str) -> bool,
) {
    let aliases: BTreeSet<&str> = endpoint
        .aliases
        .iter()
        .flatten()
        .map(String::as_str)
        .filter(|alias| declared(alias))
        .collect();
    let aliases: Vec<_> = aliases.into_iter().collect();
    settings.insert(format!("{NETWORKS}{name}"), aliases.join(", "));
}

/// The declared networks, and aliases in them, that the container `name` no longer has, each as a cause. The
/// container's own name is always an alias. An additional network is no drift.
pub(super) fn lost_networks(wanted: &Settings, seen: &Settings, name: &str) -> Vec<String> {
    let mut causes = Vec::new();
    for (key, aliases) in wanted {
        let Some(network) = key.strip_prefix(NETWORKS) else {
            continue;
        };
        let Some(seen) = seen.get(key) else {
            causes.push(format!("it left the network {network}"));
            continue;
        };
        let seen: BTreeSet<&str> = seen.split(", ").collect();
        let kept = |alias: &&str| alias.is_empty() || *alias == name || seen.contains(alias);
        let lost = aliases.split(", ").filter(|alias| !kept(alias));
        causes.extend(lost.map(|alias| format!("it lost its name {alias} in {network}")));
    }
    causes
}

/// Every key whose values differ, in order.
pub(super) fn differences(wanted: &Settings, seen: &Settings) -> Vec<Difference> {
    let keys: BTreeSet<&String> = wanted.keys().chain(seen.keys()).collect();
    let difference = |key: &String| Difference {
        key: key.clone(),
        seen: seen.get(key).cloned(),
        wanted: wanted.get(key).cloned(),
    };
    keys.into_iter()
        .map(difference)
        .filter(|d| d.seen != d.wanted && !d.is_ignored())
        .collect()
}

impl Difference {
    /// Whether the difference does not count as drift.
    fn is_ignored(&self) -> bool {
        // Volumes that only the image declares.
        let volume = self.seen.as_deref() == Some(host::ANONYMOUS);
        let engines = volume || ENGINE_DEFAULTS.contains(&self.key.as_str());
        // Keys that only Caravan sets. A worker without its replica number works, as a dynamic member; other
        // tools' secrets are compared as mounts.
        let ours = ["environment.CARAVAN_REPLICA", GRANTS].contains(&self.key.as_str());
        (engines && self.wanted.is_none()) || (ours && self.seen.is_none())
    }

    /// `environment.LOG_FORMAT: human -> json`. Values that are or may contain a secret are not shown: an
    /// earlier secret is not in `secrets` any more.
    pub fn describe(&self, secrets: &[String]) -> String {
        let hidden = self.is_secret(secrets);
        let change = match (&self.seen, &self.wanted) {
            (Some(_), None) => "not declared any more".to_owned(),
            (None, Some(_)) if hidden => "new".to_owned(),
            (None, Some(wanted)) => format!("new, {}", brief(wanted)),
            _ if hidden => "changed".to_owned(),
            (seen, wanted) => {
                let word = |value: &Option<String>| brief(value.as_deref().unwrap_or_default());
                format!("{} -> {}", word(seen), word(wanted))
            }
        };
        format!("{}: {change}", self.key)
    }

    fn is_secret(&self, secrets: &[String]) -> bool {
        const WORDS: [&str; 6] = ["PASS", "SECRET", "TOKEN", "KEY", "CREDENTIAL", "AUTH"];
        let key = self.key.to_ascii_uppercase();
        let values = || self.seen.iter().chain(&self.wanted);
        // An address may contain a password before its `@`.
        let address = |value: &String| value.contains("://") && value.contains('@');
        let known = |value: &String| {
            let holds = |secret: &String| !secret.is_empty() && value.contains(secret.as_str());
            secrets.iter().any(holds)
        };
        // The value of a secret that is not set here: the running container's may be the secret itself.
        let unset = |value: &String| value.contains(UNSET_SECRET);
        WORDS.iter().any(|word| key.contains(word))
            || self.wanted.as_ref().is_some_and(unset)
            || values().any(|value| address(value) || known(value))
    }
}

/// The first line, shortened so that two values fit on one line.
fn brief(value: &str) -> String {
    const MOST: usize = 60;
    let line = value.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None if line.is_empty() => "nothing".to_owned(),
        None => line,
    }
}

/// Sets a key, unless its value is None or empty.
fn put(settings: &mut Settings, key: impl Into<String>, value: Option<String>) {
    if let Some(value) = value.filter(|value| !value.is_empty()) {
        settings.insert(key.into(), value);
    }
}

/// Whether a label is the user's, and not one of Compose's, Caravan's or the engine's.
fn is_declared(label: &str) -> bool {
    let tools = ["com.docker.", "caravan.", "desktop.docker.io/"];
    !tools.iter().any(|prefix| label.starts_with(prefix))
}
