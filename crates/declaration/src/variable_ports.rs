//! Host ports that are set by a variable with a default, as in `"127.0.0.1:${DB_PORT:-5432}:5432"`. If
//! the variable is not set, Caravan may choose the port.

use std::{
    collections::{BTreeMap, BTreeSet},
    iter::zip,
};

use super::{
    Port, Service, VariablePort, VariableSource,
    compose::ports::ports,
    interpolate::{self, Seen, Variables},
    yaml::{Node, Value, View},
};

/// The ports of `services` that variables set. A service's `ports` in `tree`, the declaration as written,
/// are read once more with each variable replaced by a unique number, so all forms of a port are supported.
pub(super) fn find(tree: &Node, variables: &Variables, services: &[Service]) -> Vec<VariablePort> {
    let texts = port_texts(tree);
    let mut marks = (1..=u16::MAX).rev().filter(|mark| {
        let mark = mark.to_string();
        !texts.iter().any(|text| text.contains(&mark))
    });
    let mut marked = variables.all().clone();
    let mut by_mark = BTreeMap::new();
    for (variable, mark) in zip(with_defaults(&texts), &mut marks) {
        marked.insert(variable.clone(), mark.to_string());
        by_mark.insert(mark, variable);
    }
    let marked = Variables::new(marked, []);
    let variable_port = |service: &Service, port: &Port, mark: Option<u16>| {
        let variable = by_mark.get(&mark?)?.clone();
        Some(VariablePort {
            set: match variables.get(&variable) {
                Some(_) => VariableSource::User,
                None => VariableSource::Unset,
            },
            variable,
            service: service.name.clone(),
            number: port.host_port?,
            port: port.clone(),
        })
    };
    let mut found = Vec::new();
    for service in services {
        let with_marks = marked_ports(tree, &service.name, &marked);
        let both = zip(&service.ports, with_marks.unwrap_or_default());
        found.extend(both.filter_map(|(port, mark)| variable_port(service, port, mark.host_port)));
    }
    found
}

/// The ports of a service with other values of variables. None: they cannot be read with these.
fn marked_ports(tree: &Node, service: &str, marked: &Variables) -> Option<Vec<Port>> {
    let declared = tree.get("services")?.get(service)?.get("ports")?;
    let declared = interpolate::tree(declared, marked, &mut BTreeSet::new()).ok()?;
    let path = format!("services.{service}.ports");
    ports(&View::below(&declared, path)).ok()
}

/// Texts of the services' published ports.
fn port_texts(tree: &Node) -> Vec<&str> {
    let Some(Value::Mapping(services)) = tree.get("services").map(|node| &node.value) else {
        return Vec::new();
    };
    let ports = services.iter().filter_map(|(_, s)| s.get("ports"));
    ports
        .flat_map(Node::items)
        .filter_map(|item| item.get("published").unwrap_or(item).text())
        .collect()
}

/// Variables whose default is a port number.
fn with_defaults(texts: &[&str]) -> Vec<String> {
    let mut seen = Seen::default();
    for text in texts {
        // Errors are ignored here; the declaration's reader reports them.
        drop(interpolate::text(text, &Variables::default(), &mut seen));
    }
    let is_port = |text: &String| text.parse::<u16>().is_ok_and(|port| port != 0);
    let ports = seen.defaults.into_iter();
    ports
        .filter(|(_, default)| is_port(default))
        .map(|(name, _)| name)
        .collect()
}
