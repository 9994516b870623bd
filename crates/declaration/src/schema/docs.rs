//! The tables of docs/declaration.md, generated from the schema's source.

use std::{fmt::Write as _, fs};

use super::{EXTENSION, source};
use crate::yaml::{Node, Value as Yaml};

#[test]
fn the_tables_of_the_documentation_are_those_of_the_schema() {
    let path = crate::testing::repository().join("docs/declaration.md");
    let before = fs::read_to_string(&path).expect("the page");
    let source = source(EXTENSION).expect("the schema");
    let definitions = source.get("definitions").expect("definitions");
    let mut after = before;
    for name in ["promises", "flow", "service-promises"] {
        let table = table(definitions, name);
        after = replaced(&after, name, &table);
    }
    crate::testing::expect_generated("declaration.md", &after);
}

/// `page` with the text between the marks of this name replaced by `table`.
fn replaced(page: &str, name: &str, table: &str) -> String {
    let (begin, end) = (format!("<!-- {name} -->\n"), "<!-- end -->");
    let (before, rest) = page.split_once(&begin).expect("the page has the mark");
    let (_, after) = rest.split_once(end).expect("the mark has an end");
    format!("{before}{begin}{table}{end}{after}")
}

fn table(definitions: &Node, name: &str) -> String {
    let mut table = "| key | what |\n|---|---|\n".to_owned();
    rows(
        definitions,
        definitions.get(name).expect("a definition"),
        "",
        &mut table,
    );
    table
}

/// A row for each key below `node`, at `path`.
fn rows(definitions: &Node, node: &Node, path: &str, table: &mut String) {
    for alternative in alternatives(node) {
        if let Some(inner) = alternative.get("map") {
            rows(definitions, inner, &format!("{path}NAME."), table);
        }
        if let Some(inner) = alternative.get("list") {
            let path = path.trim_end_matches('.');
            rows(definitions, inner, &format!("{path}[]."), table);
        }
        let Some(Yaml::Mapping(keys)) = alternative.get("keys").map(|keys| &keys.value) else {
            continue;
        };
        for (key, node) in keys {
            // It has its own table.
            if let Some(own) = node.text().filter(|name| *name == "flow") {
                let what = definitions.get(own).and_then(|own| own.get("what"));
                row(
                    &format!("{path}{}", key.name),
                    "",
                    what,
                    "; see below",
                    table,
                );
                continue;
            }
            let what = match &node.value {
                Yaml::Sequence(both) => both.get(1),
                _ => node.get("what"),
            };
            let name = format!("{path}{}", key.name);
            row(&name, &form(definitions, node), what, &words(node), table);
            if !matches!(node.value, Yaml::Sequence(_)) {
                rows(definitions, node, &format!("{name}."), table);
            }
        }
    }
}

fn row(name: &str, form: &str, what: Option<&Node>, more: &str, table: &mut String) {
    let what = what
        .and_then(Node::text)
        .expect("every key says what it is");
    let what = format!("{what}{more}").replace('|', "\\|");
    writeln!(table, "| `{name}{form}` | {what} |").expect("memory");
}

/// The node, or its alternatives.
fn alternatives(node: &Node) -> Vec<&Node> {
    match node.get("any").map(|any| &any.value) {
        Some(Yaml::Sequence(items)) => items.iter().collect(),
        _ => vec![node],
    }
}

/// The form of the value, which the table shows after the key; empty for scalars.
fn form(definitions: &Node, node: &Node) -> String {
    let title = |node: &Node| {
        let named = node.text().and_then(|name| definitions.get(name));
        let title = named.unwrap_or(node).get("title");
        title.and_then(Node::text).unwrap_or("…").to_owned()
    };
    if let Some(inner) = node.get("map") {
        return format!(": {{NAME: {}}}", title(inner));
    }
    if let Some(inner) = node.get("list") {
        let title = title(inner);
        return format!(": [{}{}]", title, if title == "…" { "" } else { "…" });
    }
    match &node.value {
        Yaml::Sequence(both) => match both.first() {
            Some(name) if name.text() == Some("names") => ": […]".to_owned(),
            Some(name) if title(name) != "…" => format!(": {}", title(name)),
            Some(_) | None => String::new(),
        },
        _ => String::new(),
    }
}

/// The allowed words.
fn words(node: &Node) -> String {
    match node.get("words").map(|words| &words.value) {
        Some(Yaml::Sequence(words)) => {
            let words = words.iter().filter_map(Node::text);
            let words: Vec<_> = words.map(|word| format!("`{word}`")).collect();
            format!(" ({})", words.join(", "))
        }
        _ => String::new(),
    }
}
