//! Networks and volumes, and a service's use of networks.

use std::collections::BTreeMap;

use super::{checked_name, mounts::host_path, notes::Notes, pairs::Pairs};
use crate::{
    Network, NetworkUse, Service, Subnet, Volume,
    context::Context,
    problem::{Problem, Problems},
    yaml::{Fields, Key, Position, View},
};

/// Positions where drivers are named, by driver.
pub(super) type Drivers = BTreeMap<String, Position>;

/// Key of the network of services without `networks`.
const DEFAULT: &str = "default";

/// A service's `networks`: a list, or a mapping with aliases.
pub(super) fn uses(view: Option<View<'_>>) -> Result<Vec<NetworkUse>, Problem> {
    let alone = |network| NetworkUse {
        network,
        aliases: Vec::new(),
        ipv4_address: None,
        ipv6_address: None,
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
            used.ipv4_address = fields.read("ipv4_address", address)?;
            used.ipv6_address = fields.read("ipv6_address", address)?;
            fields.finish_compose(&[
                "driver_opts",
                "gw_priority",
                "interface_name",
                "link_local_ips",
                "mac_address",
                "priority",
            ])?;
        }
        uses.push(used);
    }
    Ok(uses)
}

fn address(view: &View<'_>) -> Result<String, Problem> {
    view.parse("an IP address", |text| {
        text.parse::<std::net::IpAddr>().map(|_| text.to_owned())
    })
}

/// The declared networks, and the default network if a service uses it.
pub(super) fn networks(
    view: Option<View<'_>>,
    services: &[Service],
    context: &Context<'_>,
    problems: &mut Problems,
    drivers: &mut Drivers,
    notes: &mut Notes,
) -> Result<Vec<Network>, Problem> {
    let entries = match &view {
        Some(view) => view.entries()?,
        None => Vec::new(),
    };
    let mut networks: Vec<Network> = entries
        .iter()
        .filter_map(|(key, view)| problems.keep(network(key, view, context, drivers, notes)))
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
        driver_opts: BTreeMap::new(),
        internal: false,
        attachable: false,
        enable_ipv6: false,
        subnets: Vec::new(),
        labels: BTreeMap::new(),
    }
}

fn network(
    key: &Key,
    view: &View<'_>,
    context: &Context<'_>,
    drivers: &mut Drivers,
    notes: &mut Notes,
) -> Result<Network, Problem> {
    let mut network = plain_network(&checked_name(key, view)?, context);
    if view.is_null() {
        return Ok(network);
    }
    let mut fields = view.fields()?;
    (network.external, network.name) = external(&mut fields, &key.name, network.name, notes)?;
    network.driver = driver(&mut fields, drivers)?;
    network.driver_opts = fields.read_or_default("driver_opts", options)?;
    network.internal = fields.read_or_default("internal", View::bool)?;
    network.attachable = fields.read_or_default("attachable", View::bool)?;
    network.enable_ipv6 = fields.read_or_default("enable_ipv6", View::bool)?;
    network.subnets = fields.read_or_default("ipam", subnets)?;
    network.labels = fields.read_or_default("labels", |v| Pairs::read(v).map(Pairs::or_empty))?;
    if network.external && (network.driver.is_some() || network.internal) {
        return Err(fields.problem("an external network has no key but `name`"));
    }
    fields.finish_compose(&["enable_ipv4"])?;
    Ok(network)
}

/// `ipam`, with Docker's own driver.
fn subnets(view: &View<'_>) -> Result<Vec<Subnet>, Problem> {
    let mut fields = view.fields()?;
    fields.read("driver", |v| v.word(&[("default", ())]))?;
    let subnet = |view: View<'_>| {
        let mut fields = view.fields()?;
        let subnet = Subnet {
            subnet: fields.read_set("subnet", View::filled)?,
            ip_range: fields.read_set("ip_range", View::filled)?,
            gateway: fields.read_set("gateway", View::filled)?,
        };
        fields.finish_compose(&["aux_addresses"])?;
        Ok(subnet)
    };
    let subnets =
        fields.read_or_default("config", |v| v.items()?.into_iter().map(subnet).collect())?;
    fields.finish_compose(&["options"])?;
    Ok(subnets)
}

/// A driver. Its position is kept for the error of `up` if the engine does not have the driver.
fn driver(fields: &mut Fields<'_>, drivers: &mut Drivers) -> Result<Option<String>, Problem> {
    let Some(view) = fields.take("driver") else {
        return Ok(None);
    };
    let driver = view.filled()?;
    drivers.entry(driver.clone()).or_insert_with(|| view.at());
    Ok(Some(driver))
}

/// A driver's options.
fn options(view: &View<'_>) -> Result<BTreeMap<String, String>, Problem> {
    let option = |(key, value): (&Key, View<'_>)| Ok((key.name.clone(), value.text()?));
    view.entries()?.into_iter().map(option).collect()
}

pub(super) fn volumes(
    view: Option<View<'_>>,
    context: &Context<'_>,
    problems: &mut Problems,
    drivers: &mut Drivers,
    notes: &mut Notes,
) -> Result<Vec<Volume>, Problem> {
    let entries = match &view {
        Some(view) => view.entries()?,
        None => Vec::new(),
    };
    Ok(entries
        .iter()
        .filter_map(|(key, view)| problems.keep(volume(key, view, context, drivers, notes)))
        .collect())
}

fn volume(
    key: &Key,
    view: &View<'_>,
    context: &Context<'_>,
    drivers: &mut Drivers,
    notes: &mut Notes,
) -> Result<Volume, Problem> {
    let key_name = checked_name(key, view)?;
    let mut volume = Volume {
        name: format!("{}_{key_name}", context.project),
        key: key_name,
        external: false,
        driver: None,
        driver_opts: BTreeMap::new(),
        labels: BTreeMap::new(),
    };
    if view.is_null() {
        return Ok(volume);
    }
    let mut fields = view.fields()?;
    (volume.external, volume.name) = external(&mut fields, &key.name, volume.name, notes)?;
    volume.driver = driver(&mut fields, drivers)?;
    volume.driver_opts = fields.read_or_default("driver_opts", options)?;
    // A relative device of a bind mount is a path, as docker compose reads it.
    let is_bind = volume.driver_opts.get("o").is_some_and(|o| o == "bind");
    if volume.driver.as_deref() == Some("local")
        && is_bind
        && let Some(device) = volume.driver_opts.get_mut("device")
    {
        let path = host_path(device, context).map_err(|why| fields.problem(why.to_string()))?;
        *device = path.display().to_string();
    }
    volume.labels = fields.read_or_default("labels", |v| Pairs::read(v).map(Pairs::or_empty))?;
    if volume.external && volume.driver.is_some() {
        return Err(fields.problem("an external volume has no key but `name`"));
    }
    fields.finish_compose(&[])?;
    Ok(volume)
}

/// Whether it is external, and Docker's name: `name`, or else the key of an external object, or else
/// `PROJECT_KEY`. `external: {name: …}` is the old form of both.
fn external(
    fields: &mut Fields<'_>,
    key: &str,
    own: String,
    notes: &mut Notes,
) -> Result<(bool, String), Problem> {
    let name = fields.read_set("name", View::filled)?;
    let Some(view) = fields.take_set("external") else {
        return Ok((false, name.unwrap_or(own)));
    };
    if !view.is_mapping() {
        let external = view.bool()?;
        let default = if external { key.to_owned() } else { own };
        return Ok((external, name.unwrap_or(default)));
    }
    let mut inner = view.fields()?;
    let old = inner.read_set("name", View::filled)?;
    inner.finish_compose(&[])?;
    if name.is_some() && old.is_some() && name != old {
        return Err(view.problem("`name` has a different value; only use `name`"));
    }
    if old.is_some() {
        let path = &view.path;
        let warning = format!("`{path}.name` is deprecated: set `external: true` and `name`");
        notes.warnings.push(warning);
    }
    Ok((true, name.or(old).unwrap_or_else(|| key.to_owned())))
}
