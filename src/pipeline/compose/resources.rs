//! Networks and volumes, and a service's use of networks.

use super::{checked_name, pairs::Pairs};
use crate::pipeline::{
    Network, NetworkUse, Service, Volume,
    problem::Problem,
    read::{Context, Problems},
    yaml::{Fields, Key, View},
};

/// The network of every service that names none.
const DEFAULT: &str = "default";

/// A service's `networks`: a list, or a mapping with aliases.
pub(super) fn uses(view: Option<View<'_>>) -> Result<Vec<NetworkUse>, Problem> {
    let alone = |network| NetworkUse {
        network,
        aliases: Vec::new(),
    };
    let Some(view) = view else {
        return Ok(vec![alone(DEFAULT.to_owned())]);
    };
    if view.is_sequence() {
        return Ok(view.names()?.into_iter().map(alone).collect());
    }
    let mut uses = Vec::new();
    for (key, view) in view.entries()? {
        let mut used = alone(key.name.clone());
        if !view.is_null() {
            let mut fields = view.fields()?;
            used.aliases = fields.read_or_default("aliases", View::names)?;
            fields.finish_compose(&[
                "driver_opts",
                "gw_priority",
                "interface_name",
                "ipv4_address",
                "ipv6_address",
                "link_local_ips",
                "mac_address",
                "priority",
            ])?;
        }
        uses.push(used);
    }
    Ok(uses)
}

/// The declared networks, and the default one where it is used.
pub(super) fn networks(
    view: Option<View<'_>>,
    services: &[Service],
    context: &Context<'_>,
    problems: &mut Problems,
) -> Result<Vec<Network>, Problem> {
    let entries = match &view {
        Some(view) => view.entries()?,
        None => Vec::new(),
    };
    let mut networks: Vec<Network> = entries
        .iter()
        .filter_map(|(key, view)| problems.keep(network(key, view, context)))
        .collect();
    let declared = networks.iter().any(|network| network.key == DEFAULT);
    let mut used = services.iter().flat_map(|service| &service.networks);
    if !declared && used.any(|used| used.network == DEFAULT) {
        networks.push(plain_network(DEFAULT, context));
    }
    Ok(networks)
}

fn plain_network(key: &str, context: &Context<'_>) -> Network {
    Network {
        key: key.to_owned(),
        name: format!("{}_{key}", context.project),
        external: false,
        driver: None,
        internal: false,
        labels: std::collections::BTreeMap::new(),
    }
}

fn network(key: &Key, view: &View<'_>, context: &Context<'_>) -> Result<Network, Problem> {
    let mut network = plain_network(&checked_name(key, view)?, context);
    if view.is_null() {
        return Ok(network);
    }
    let mut fields = view.fields()?;
    network.external = fields.read_or_default("external", View::bool)?;
    network.name = name(&mut fields, &key.name, network.external, network.name)?;
    network.driver = fields.read("driver", View::filled)?;
    network.internal = fields.read_or_default("internal", View::bool)?;
    network.labels = fields.read_or_default("labels", |v| Pairs::read(v).map(Pairs::or_empty))?;
    if network.external && (network.driver.is_some() || network.internal) {
        return Err(fields.problem("an external network is what it is: only `name` goes with it"));
    }
    fields.finish_compose(&[
        "attachable",
        "driver_opts",
        "enable_ipv4",
        "enable_ipv6",
        "ipam",
    ])?;
    Ok(network)
}

pub(super) fn volumes(
    view: Option<View<'_>>,
    context: &Context<'_>,
    problems: &mut Problems,
) -> Result<Vec<Volume>, Problem> {
    let entries = match &view {
        Some(view) => view.entries()?,
        None => Vec::new(),
    };
    Ok(entries
        .iter()
        .filter_map(|(key, view)| problems.keep(volume(key, view, context)))
        .collect())
}

fn volume(key: &Key, view: &View<'_>, context: &Context<'_>) -> Result<Volume, Problem> {
    let key_name = checked_name(key, view)?;
    let mut volume = Volume {
        name: format!("{}_{key_name}", context.project),
        key: key_name,
        external: false,
        driver: None,
        labels: std::collections::BTreeMap::new(),
    };
    if view.is_null() {
        return Ok(volume);
    }
    let mut fields = view.fields()?;
    volume.external = fields.read_or_default("external", View::bool)?;
    volume.name = name(&mut fields, &key.name, volume.external, volume.name)?;
    volume.driver = fields.read("driver", View::filled)?;
    volume.labels = fields.read_or_default("labels", |v| Pairs::read(v).map(Pairs::or_empty))?;
    if volume.external && volume.driver.is_some() {
        return Err(fields.problem("an external volume is what it is: only `name` goes with it"));
    }
    fields.finish_compose(&["driver_opts"])?;
    Ok(volume)
}

/// Docker's name: as given, else the key alone where it is somebody else's, else the project's.
fn name(
    fields: &mut Fields<'_>,
    key: &str,
    external: bool,
    own: String,
) -> Result<String, Problem> {
    let given = fields.read("name", View::filled)?;
    Ok(match given {
        Some(name) => name,
        None if external => key.to_owned(),
        None => own,
    })
}
