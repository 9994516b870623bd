//! Merges a later Compose file into an earlier one: mappings are merged by key, lists are appended,
//! commands and scalars are replaced. If a key has two forms (`alike`), the files may use different ones.

mod alike;

use super::{Key, Node, Value};
use crate::problem::Problem;

/// Keys whose lists are replaced as a whole.
const REPLACED: [&str; 3] = ["command", "entrypoint", "test"];

/// Merges `over` into `base`.
///
/// # Errors
/// A key is a list in one file and a mapping in the other, so it is ambiguous which one applies.
pub(crate) fn overlay(base: Node, over: Node) -> Result<Node, Problem> {
    merge(base, over, "")
}

/// Merges a service over the one that it extends.
///
/// # Errors
/// As [`overlay`].
pub(crate) fn overlay_service(base: Node, over: Node, name: &str) -> Result<Node, Problem> {
    merge(base, over, &format!("services.{name}"))
}

/// Removes the key at `path`.
pub(crate) fn clear(node: &mut Node, path: &[String]) {
    let Value::Mapping(entries) = &mut node.value else {
        return;
    };
    match path {
        [] => {}
        [last] => entries.retain(|(key, _)| key.name != *last),
        [first, rest @ ..] => {
            for (_, value) in entries.iter_mut().filter(|(key, _)| key.name == *first) {
                clear(value, rest);
            }
        }
    }
}

fn merge(base: Node, over: Node, path: &str) -> Result<Node, Problem> {
    let at = over.at;
    let value = match (base.value, over.value) {
        // A key without a value (`data:` under `volumes`) keeps the earlier file's value.
        (below, Value::Null) => {
            return Ok(Node {
                value: below,
                at: base.at,
            });
        }
        (Value::Mapping(below), Value::Mapping(above)) => {
            Value::Mapping(merged(below, above, path)?)
        }
        (Value::Sequence(below), Value::Sequence(above)) => Value::Sequence(appended(below, above)),
        (below @ (Value::Sequence(_) | Value::Mapping(_)), above) => {
            let message = format!(
                "this is {} here and {} in the file below: write both in the same way",
                above.describe(),
                below.describe()
            );
            return Err(Problem::new(at, path, message));
        }
        (Value::Null | Value::Scalar(_), above) => above,
    };
    Ok(Node { value, at })
}

type Entries = Vec<(Key, Node)>;

fn merged(mut entries: Entries, above: Entries, path: &str) -> Result<Entries, Problem> {
    for (key, value) in above {
        let dot = if path.is_empty() { "" } else { "." };
        let path = format!("{path}{dot}{}", key.name);
        match entries.iter().position(|(k, _)| k.name == key.name) {
            Some(index) if is_replaced(&key.name, &entries[index].1, &value) => {
                entries[index] = (key, value);
            }
            Some(index) => {
                let (first, below) = entries.remove(index);
                let (below, value) = alike::alike(&key.name, below, value);
                entries.insert(index, (first, merge(below, value, &path)?));
            }
            None => entries.push((key, value)),
        }
    }
    Ok(entries)
}

/// Whether the later value replaces the earlier one as a whole.
fn is_replaced(key: &str, below: &Node, above: &Node) -> bool {
    let driver = |node: &Node| node.get("driver").and_then(Node::text).map(str::to_owned);
    let is_mapping = |node: &Node| matches!(node.value, Value::Mapping(_));
    match key {
        // The options are those of the driver.
        "logging" => match (driver(below), driver(above)) {
            (Some(below), Some(above)) => below != above,
            _ => false,
        },
        // A number, or `soft` and `hard`.
        "nofile" | "nproc" | "memlock" | "core" => is_mapping(below) != is_mapping(above),
        key => REPLACED.contains(&key),
    }
}

/// Appends `above` to `items`, without duplicates.
fn appended(mut items: Vec<Node>, above: Vec<Node>) -> Vec<Node> {
    for item in above {
        let same = |earlier: &Node| earlier.text().is_some_and(|t| Some(t) == item.text());
        if !items.iter().any(same) {
            items.push(item);
        }
    }
    items
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn overlaid(base: &str, over: &str) -> Result<Node, Problem> {
        overlay(
            parse(base, 0).expect("the base"),
            parse(over, 1).expect("the overlay"),
        )
    }

    #[test]
    fn mappings_merge_lists_append_commands_are_replaced() {
        let merged = overlaid(
            "s: {image: a, ports: ['1:1'], command: [a, b], environment: {A: 1, B: 2}}",
            "s: {image: b, ports: ['1:1', '2:2'], command: c, environment: {B: 3}}",
        )
        .expect("no conflict");
        let service = merged.get("s").expect("s");
        assert_eq!(service.get("image").and_then(Node::text), Some("b"));
        assert_eq!(service.get("command").and_then(Node::text), Some("c"));
        let Some(Value::Sequence(ports)) = service.get("ports").map(|p| &p.value) else {
            panic!("a list of ports")
        };
        assert_eq!(ports.len(), 2);
        assert_eq!(ports[1].at.file, 1);
        let environment = service.get("environment").expect("environment");
        assert_eq!(environment.get("A").and_then(Node::text), Some("1"));
        assert_eq!(environment.get("B").and_then(Node::text), Some("3"));
    }

    #[test]
    fn keys_with_two_forms_merge_in_both() {
        let text = |node: &Node, path: &[&str]| {
            let found = path.iter().try_fold(node, |node, key| node.get(key));
            found.and_then(Node::text).map(str::to_owned)
        };
        let merged = overlaid(
            "s: {environment: [A=1, B=x=y], depends_on: [db], build: ./app, env_file: a.env}",
            "s: {environment: {A: 2}, depends_on: {db: {restart: true}}, build: {target: dev}, env_file: [b.env]}",
        )
        .expect("no conflict");
        assert_eq!(
            text(&merged, &["s", "environment", "A"]).as_deref(),
            Some("2")
        );
        assert_eq!(
            text(&merged, &["s", "environment", "B"]).as_deref(),
            Some("x=y")
        );
        let condition = text(&merged, &["s", "depends_on", "db", "condition"]);
        assert_eq!(condition.as_deref(), Some("service_started"));
        assert_eq!(
            text(&merged, &["s", "build", "context"]).as_deref(),
            Some("./app")
        );
        assert_eq!(
            text(&merged, &["s", "build", "target"]).as_deref(),
            Some("dev")
        );
        let Some(Value::Sequence(files)) = merged
            .get("s")
            .and_then(|s| s.get("env_file"))
            .map(|f| &f.value)
        else {
            panic!("a list of files")
        };
        assert_eq!(files.len(), 2);
    }

    #[test]
    fn a_list_over_a_mapping_is_refused() {
        let problem = overlaid("a: {b: {c: 1}}", "a: {b: [c=1]}").expect_err("a conflict");
        assert_eq!((problem.path.as_str(), problem.at.file), ("a.b", 1));
    }
}
