//! The Compose half of a declaration: `service` (and its parts: `build`, `words`, `pairs`, `ports`,
//! `mounts`, `shared`, `depends`, `deploy`, `lifecycle`, `runtime`), `secrets_and_configs` and `resources`
//! (networks and volumes). Unsupported keys of Compose are rejected by name; docs/declaration.md lists
//! the supported ones.

mod build;
mod depends;
mod deploy;
mod lifecycle;
mod mounts;
mod notes;
mod pairs;
pub(super) mod ports;
mod resources;
mod runtime;
mod secrets_and_configs;
mod service;
mod shared;
mod words;

pub(super) use depends::{dependency_key, implied_dependencies};
pub(super) use mounts::host_path;
pub(super) use pairs::env_files;
pub(super) use ports::{ShortPort, short_ports};
pub(super) use words::split as split_words;

use notes::Notes;
use resources::Drivers;
use secrets_and_configs::Definitions;

use super::{
    Network, Service, Volume,
    context::Context,
    problem::{Problem, Problems},
    yaml::{Fields, Key, View},
};

/// Everything in the file except `x-caravan`.
pub(super) struct Compose {
    pub(super) services: Vec<Service>,
    pub(super) inactive: Vec<Service>,
    pub(super) drivers: Drivers,
    pub(super) networks: Vec<Network>,
    pub(super) volumes: Vec<Volume>,
    pub(super) warnings: Vec<String>,
    /// Secret values from files and variables; output masks them.
    pub(super) secrets: Vec<String>,
}

const UNSUPPORTED: &[&str] = &["models"];

impl Compose {
    /// Reads the top-level keys of the file, after `x-caravan` was taken.
    pub(super) fn read(
        mut root: Fields<'_>,
        context: &Context<'_>,
        problems: &mut Problems,
    ) -> Result<Self, Problem> {
        // `source` reads the project's name; here the key only has to be valid.
        root.read("name", View::filled)?;
        let mut notes = Notes::default();
        if root.read("version", View::text)?.is_some() {
            notes
                .warnings
                .push("the key `version` is obsolete and has no effect".to_owned());
        }
        // `source::model` has resolved it.
        root.take("include");
        let services = root.require("services")?;
        let volumes = root.take("volumes");
        let networks = root.take("networks");
        let definitions = Definitions::read(&mut root, context, problems);
        problems.keep(root.finish_compose(UNSUPPORTED));
        let (mut active, mut inactive) = (Vec::new(), Vec::new());
        for (key, view) in services.entries()? {
            let read = service::read(key, &view, &definitions, context, &mut notes);
            match problems.keep(read) {
                Some((service, true)) => active.push(service),
                Some((service, false)) => inactive.push(service),
                None => {}
            }
        }
        forget_optional(&mut active, &inactive);
        let mut drivers = Drivers::new();
        let volumes = resources::volumes(volumes, context, problems, &mut drivers, &mut notes)?;
        let networks = resources::networks(
            networks,
            &active,
            context,
            problems,
            &mut drivers,
            &mut notes,
        )?;
        Ok(Self {
            services: active,
            inactive,
            drivers,
            networks,
            volumes,
            warnings: notes.warnings,
            secrets: notes.secrets,
        })
    }
}

/// Removes dependencies that are neither required nor active.
fn forget_optional(active: &mut [Service], inactive: &[Service]) {
    let absent = |name: &str| inactive.iter().any(|service| service.name == name);
    for service in active {
        service
            .depends_on
            .retain(|on| on.required || !absent(&on.service));
    }
}

/// The name of a service, a network or a volume.
fn checked_name(key: &Key, view: &View<'_>) -> Result<String, Problem> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !key.name.is_empty() && key.name.chars().all(plain) {
        return Ok(key.name.clone());
    }
    let message = "a name has letters, digits, `.`, `_` and `-`";
    Err(Problem::new(key.at, view.path.clone(), message))
}
