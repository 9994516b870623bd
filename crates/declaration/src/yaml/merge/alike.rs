//! Keys that Compose accepts in two forms: converts both files to one form if they differ.

use super::super::{Key, Kind, Node, Scalar, Value};

/// Lists of `NAME=VALUE`, or mappings.
const PAIRS: [&str; 6] = [
    "annotations",
    "args",
    "environment",
    "extra_hosts",
    "labels",
    "sysctls",
];
/// One text, or a list.
const LISTS: [&str; 4] = ["dns", "dns_search", "env_file", "tmpfs"];

/// The values of `key` in both files, converted to a common form if there is one.
pub(super) fn alike(key: &str, below: Node, above: Node) -> (Node, Node) {
    use Value::{Mapping, Scalar, Sequence};
    match (&below.value, &above.value) {
        (Sequence(_), Mapping(_)) => (mapping(key, below), above),
        (Mapping(_), Sequence(_)) => (below, mapping(key, above)),
        (Scalar(_), Sequence(_)) if LISTS.contains(&key) => (list(below), above),
        (Sequence(_), Scalar(_)) if LISTS.contains(&key) => (below, list(above)),
        (Scalar(_), Mapping(_)) if key == "build" => (build(below), above),
        (Mapping(_), Scalar(_)) if key == "build" => (below, build(above)),
        _ => (below, above),
    }
}

fn list(node: Node) -> Node {
    let at = node.at;
    let value = Value::Sequence(vec![node]);
    Node { value, at }
}

fn build(node: Node) -> Node {
    let at = node.at;
    let value = Value::Mapping(vec![(name("context", &node), node)]);
    Node { value, at }
}

/// The mapping that is equivalent to a list, or the list if there is none.
fn mapping(key: &str, node: Node) -> Node {
    let Value::Sequence(items) = &node.value else {
        return node;
    };
    let entry: fn(&Node) -> Option<(Key, Node)> = match key {
        "depends_on" => started,
        "networks" => alone,
        key if PAIRS.contains(&key) => pair,
        _ => return node,
    };
    match items.iter().map(entry).collect::<Option<Vec<_>>>() {
        Some(entries) => Node {
            value: Value::Mapping(entries),
            at: node.at,
        },
        None => node,
    }
}

/// `NAME=VALUE`, or a name alone. Variables are not replaced in keys, so an entry with a variable in
/// its name is not converted.
fn pair(item: &Node) -> Option<(Key, Node)> {
    let text = item.text()?;
    let Some((key, value)) = text.split_once('=') else {
        return alone(item);
    };
    let key = (!key.contains('$')).then(|| name(key, item))?;
    Some((key, scalar(value, item)))
}

fn alone(item: &Node) -> Option<(Key, Node)> {
    let text = item.text().filter(|text| !text.contains('$'))?;
    let value = Value::Null;
    Some((name(text, item), Node { value, at: item.at }))
}

fn started(item: &Node) -> Option<(Key, Node)> {
    let (key, mut node) = alone(item)?;
    let condition = scalar("service_started", item);
    node.value = Value::Mapping(vec![(name("condition", item), condition)]);
    Some((key, node))
}

fn name(text: &str, node: &Node) -> Key {
    Key {
        name: text.to_owned(),
        at: node.at,
    }
}

fn scalar(text: &str, node: &Node) -> Node {
    let value = Value::Scalar(Scalar {
        text: text.to_owned(),
        kind: Kind::String,
        secret: false,
    });
    Node { value, at: node.at }
}
