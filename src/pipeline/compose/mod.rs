//! The Compose half of a declaration: `service` (and its parts: `words`, `pairs`, `ports`,
//! `mounts`, `depends`, `lifecycle`) and `resources` (networks and volumes). Whatever Compose knows
//! beyond it is refused by name; docs/declaration.md lists what is read.

mod depends;
mod lifecycle;
mod mounts;
mod pairs;
mod ports;
mod resources;
mod service;
mod words;

use super::{
    Network, Service, Volume,
    problem::Problem,
    read::{Context, Problems},
    yaml::{Fields, Key, View},
};

/// Everything in the file but `x-caravan`.
pub(super) struct Compose {
    pub(super) services: Vec<Service>,
    pub(super) networks: Vec<Network>,
    pub(super) volumes: Vec<Volume>,
    pub(super) warnings: Vec<String>,
}

const UNSUPPORTED: &[&str] = &["configs", "include", "models", "secrets"];

impl Compose {
    /// Reads what is left of the file's top level.
    pub(super) fn read(
        mut root: Fields<'_>,
        context: &Context<'_>,
        problems: &mut Problems,
    ) -> Result<Self, Problem> {
        // The project's name was read when the file was found.
        root.read("name", View::filled)?;
        let mut warnings = Vec::new();
        if root.read("version", View::text)?.is_some() {
            warnings.push("the key `version` is obsolete and has no effect".to_owned());
        }
        let services = root.require("services")?;
        let volumes = root.take("volumes");
        let networks = root.take("networks");
        problems.keep(root.finish_compose(UNSUPPORTED));
        let services: Vec<Service> = services
            .entries()?
            .into_iter()
            .filter_map(|(key, view)| problems.keep(service::read(key, &view, context)))
            .collect();
        let volumes = resources::volumes(volumes, context, problems)?;
        let networks = resources::networks(networks, &services, context, problems)?;
        Ok(Self {
            services,
            networks,
            volumes,
            warnings,
        })
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
