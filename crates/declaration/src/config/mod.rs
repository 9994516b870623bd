//! The resolved project in the canonical form of `docker compose config`: each key in its long form
//! (`shape` says which), paths absolute, defaults written out. It is made of the same tree that the
//! pipeline is read from, after the pipeline was accepted.

mod service;
mod shape;

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::{
    compose,
    context::Context,
    interpolate,
    yaml::{self, Node},
};
use diagnostics::{Error, Kind, Result};
use shape::{Shape, shaped, text};

/// The project as one JSON object: `name`, `services`, `networks`, `volumes`, `secrets`, `configs`, `x-…`.
///
/// `written` has the `x-…` keys of other tools, which `tree` does not have; their variables are replaced if they
/// can be.
pub(super) fn project(written: &Node, tree: &Node, context: &Context<'_>) -> Value {
    let mut project = Map::from_iter([("name".to_owned(), json!(context.project))]);
    let services: Map<_, _> = entries(tree, "services")
        .filter(|(_, service)| context.activates(&profiles(service)))
        .map(|(name, node)| (name.to_owned(), service::service(node, context)))
        .collect();
    let used = Used::by(&services);
    project.insert("services".to_owned(), Value::Object(services));
    let resources = [
        ("networks", NETWORK, used.networks),
        ("volumes", VOLUME, used.volumes),
        ("secrets", FILE, used.secrets),
        ("configs", FILE, used.configs),
    ];
    for (section, shape, used) in resources {
        let declared = |name: &str| tree.get(section).and_then(|all| all.get(name));
        let section_of = |name: &String| {
            let resource = resource(name, declared(name), &shape, section, context);
            (name.clone(), resource)
        };
        if !used.is_empty() {
            let all = used.iter().map(section_of).collect();
            project.insert(section.to_owned(), Value::Object(all));
        }
    }
    if let yaml::Value::Mapping(entries) = &written.value {
        let extensions = entries.iter().filter(|(key, _)| key.name.starts_with("x-"));
        project.extend(extensions.map(|(key, node)| {
            let replaced = interpolate::extension(&key.name, node, context.variables);
            let value = shape::plain(replaced.as_ref().unwrap_or(node));
            (key.name.clone(), value)
        }));
    }
    Value::Object(project)
}

/// The YAML text of a project.
///
/// # Errors
/// `Defect`: it cannot be written as YAML.
pub fn yaml_text(project: &Value) -> Result<String> {
    serde_yaml::to_string(project).map_err(|why| {
        Error::new(Kind::Defect, "cannot write the project as YAML").because(why.to_string())
    })
}

const TEXT: Shape = Shape::Text;
const NETWORK: Shape = Shape::Fields(&[
    ("name", TEXT),
    ("driver", TEXT),
    ("driver_opts", Shape::Map(&TEXT)),
    (
        "ipam",
        Shape::Fields(&[
            ("driver", TEXT),
            (
                "config",
                Shape::List(&Shape::Fields(&[
                    ("subnet", TEXT),
                    ("gateway", TEXT),
                    ("ip_range", TEXT),
                    ("aux_addresses", Shape::Map(&TEXT)),
                ])),
            ),
        ]),
    ),
    ("internal", Shape::Flag),
    ("attachable", Shape::Flag),
    ("enable_ipv4", Shape::Choice),
    ("enable_ipv6", Shape::Choice),
    ("labels", Shape::Pairs),
]);
const VOLUME: Shape = Shape::Fields(&[
    ("name", TEXT),
    ("driver", TEXT),
    ("driver_opts", Shape::Map(&TEXT)),
    ("labels", Shape::Pairs),
]);
const FILE: Shape = Shape::Fields(&[
    ("name", TEXT),
    ("file", Shape::Path),
    ("environment", TEXT),
    ("content", TEXT),
    ("labels", Shape::Pairs),
    ("driver", TEXT),
    ("driver_opts", Shape::Map(&TEXT)),
    ("template_driver", TEXT),
]);

/// An entry of `networks`, `volumes`, `secrets` or `configs`, with its name.
fn resource(
    key: &str,
    node: Option<&Node>,
    shape: &Shape,
    section: &str,
    context: &Context<'_>,
) -> Value {
    let shaped = node.and_then(|node| shaped(node, shape, context));
    let mut fields = match shaped {
        Some(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    let external = node.and_then(|node| node.get("external"));
    let deprecated_name = external.and_then(|e| e.get("name")).and_then(Node::text);
    let external = external.is_some_and(|e| e.text().is_none_or(shape::is_true));
    if external {
        fields.insert("external".to_owned(), json!(true));
    }
    fields
        .entry("name")
        .or_insert_with(|| match deprecated_name {
            Some(name) => json!(name),
            None if external => json!(key),
            None => json!(format!("{}_{key}", context.project)),
        });
    // A relative device of a bind mount is a path.
    if let (Some(device), "volumes") = (node.and_then(bind_device), section)
        && let Some(Value::Object(options)) = fields.get_mut("driver_opts")
        && let Ok(path) = compose::host_path(device, context)
    {
        options.insert("device".to_owned(), json!(path.display().to_string()));
    }
    if section == "networks" {
        fields.entry("ipam").or_insert_with(|| json!({}));
    }
    Value::Object(fields)
}

/// The device of a volume that is a bind mount.
fn bind_device(volume: &Node) -> Option<&str> {
    let options = volume.get("driver_opts")?;
    let is_local = volume.get("driver").and_then(Node::text) == Some("local");
    let is_bind = options.get("o").and_then(Node::text) == Some("bind");
    let device = options.get("device").and_then(Node::text);
    device.filter(|_| is_local && is_bind)
}

/// Names of the resources that active services use, as docker compose prints no others.
#[derive(Default)]
struct Used {
    networks: BTreeSet<String>,
    volumes: BTreeSet<String>,
    secrets: BTreeSet<String>,
    configs: BTreeSet<String>,
}

impl Used {
    fn by(services: &Map<String, Value>) -> Self {
        let mut used = Self::default();
        for service in services.values() {
            if let Some(Value::Object(networks)) = service.get("networks") {
                used.networks.extend(networks.keys().cloned());
            }
            let sources = |key: &str| {
                let items = service.pointer(key).and_then(Value::as_array);
                let items = items.into_iter().flatten();
                items.filter_map(|item| item["source"].as_str().map(str::to_owned))
            };
            used.secrets.extend(sources("/secrets"));
            used.secrets.extend(sources("/build/secrets"));
            used.configs.extend(sources("/configs"));
            let volumes = service.get("volumes").and_then(Value::as_array);
            let named = volumes.into_iter().flatten();
            let named = named.filter(|volume| volume["type"] == "volume");
            let named = named.filter_map(|volume| volume["source"].as_str());
            used.volumes.extend(named.map(str::to_owned));
        }
        used
    }
}

fn entries<'a>(tree: &'a Node, section: &str) -> impl Iterator<Item = (&'a str, &'a Node)> {
    let entries = match tree.get(section).map(|node| &node.value) {
        Some(yaml::Value::Mapping(entries)) => entries.as_slice(),
        _ => &[],
    };
    entries.iter().map(|(key, node)| (key.name.as_str(), node))
}

fn profiles(service: &Node) -> Vec<String> {
    let items = service.get("profiles").map_or(&[][..], Node::items).iter();
    items.filter_map(text).collect()
}
