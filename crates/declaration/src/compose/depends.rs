//! `depends_on`: a list, or a mapping with conditions.

use crate::{
    Condition, Dependency,
    problem::Problem,
    yaml::{Fields, Node, View},
};

const CONDITIONS: [(&str, Condition); 3] = [
    ("service_started", Condition::Started),
    ("service_healthy", Condition::Healthy),
    ("service_completed_successfully", Condition::Completed),
];

/// `depends_on`, and what other keys imply.
pub(super) fn all(fields: &mut Fields<'_>, service: &View<'_>) -> Result<Vec<Dependency>, Problem> {
    let mut all = fields.read_or_default("depends_on", on)?;
    for (name, restart) in implied_dependencies(service.node) {
        if !all.iter().any(|dependency| dependency.service == name) {
            all.push(Dependency {
                service: name,
                condition: Condition::Started,
                required: true,
                restart,
            });
        }
    }
    Ok(all)
}

fn on(view: &View<'_>) -> Result<Vec<Dependency>, Problem> {
    if view.is_sequence() {
        let started = |service| Dependency {
            service,
            condition: Condition::Started,
            required: true,
            restart: false,
        };
        return Ok(view.names()?.into_iter().map(started).collect());
    }
    let mut dependencies = Vec::new();
    for (key, view) in view.entries()? {
        let mut fields = view.fields()?;
        dependencies.push(Dependency {
            service: key.name.clone(),
            condition: fields.require("condition")?.word(&CONDITIONS)?,
            required: fields.read("required", View::bool)?.unwrap_or(true),
            restart: fields.read_or_default("restart", View::bool)?,
        });
        fields.finish_compose(&[])?;
    }
    Ok(dependencies)
}

/// Services on which a service depends by other keys than `depends_on`, each with whether its restart also
/// restarts this one.
pub(crate) fn implied_dependencies(service: &Node) -> Vec<(String, bool)> {
    let items = |key: &str| service.get(key).map_or(&[][..], Node::items).iter();
    let first = |text: &str| text.split(':').next().unwrap_or_default().to_owned();
    let links = items("links").filter_map(Node::text);
    let mut implied: Vec<_> = links.map(|link| (first(link), true)).collect();
    for key in NAMESPACES {
        let mode = service.get(key).and_then(Node::text);
        let shared = mode.and_then(|mode| mode.strip_prefix("service:"));
        implied.extend(shared.map(|shared| (shared.to_owned(), true)));
    }
    let from = items("volumes_from").filter_map(Node::text);
    let from = from.filter(|from| !from.starts_with("container:"));
    implied.extend(from.map(|from| (first(from), false)));
    implied
}

/// Keys that may name a service whose namespace is shared.
const NAMESPACES: [&str; 5] = ["network_mode", "ipc", "pid", "uts", "cgroup"];

/// The key by which a service depends on another one.
pub(crate) fn dependency_key(service: Option<&Node>, on: &str) -> &'static str {
    let names = |key: &&&str| {
        let value = service.and_then(|service| service.get(key));
        value.is_some_and(|value| {
            let of_item = |text: &str| text.split(':').any(|part| part == on);
            let mut items = value.items().iter().filter_map(Node::text);
            value.get(on).is_some() || items.any(of_item) || value.text().is_some_and(of_item)
        })
    };
    let keys = ["depends_on", "links", "volumes_from"].iter();
    keys.chain(NAMESPACES.iter())
        .find(names)
        .unwrap_or(&"depends_on")
}
