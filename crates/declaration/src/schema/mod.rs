//! The JSON Schema of a declaration (draft 2020-12), for completion in editors.
//!
//! Its source is a short notation in `compose.yaml` and `extension.yaml` beside this file. The tables of
//! docs/declaration.md are generated from it, too (`docs`). `tests` compares keys and words of the schema
//! and the reader in both directions.

#[cfg(test)]
mod docs;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value, json};

use super::yaml::{self, Kind, Node, Value as Yaml};
use diagnostics::{Error, Kind as ErrorKind, Result};

const COMPOSE: &str = include_str!("compose.yaml");
const EXTENSION: &str = include_str!("extension.yaml");
const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The schema as one document.
///
/// # Errors
/// A defect: the source is part of this executable.
pub fn schema() -> Result<Value> {
    let (compose, extension) = (source(COMPOSE)?, source(EXTENSION)?);
    let mut definitions = Map::new();
    for source in [&compose, &extension] {
        for (key, node) in entries(source.get("definitions").ok_or_else(defect)?)? {
            definitions.insert(key.to_owned(), of(node)?);
        }
    }
    let mut schema = of(compose.get("root").ok_or_else(defect)?)?;
    if let Value::Object(root) = &mut schema {
        root.insert("$schema".to_owned(), DRAFT.into());
        root.insert("title".to_owned(), "Caravan declaration".into());
        root.insert("$defs".to_owned(), definitions.into());
    }
    Ok(schema)
}

fn source(text: &str) -> Result<Node> {
    yaml::parse(text, 0).map_err(|problem| Error::new(ErrorKind::Defect, problem.message))
}

fn defect() -> Error {
    Error::new(ErrorKind::Defect, "the schema's source is invalid")
}

fn entries(node: &Node) -> Result<impl Iterator<Item = (&str, &Node)>> {
    let Yaml::Mapping(entries) = &node.value else {
        return Err(defect());
    };
    Ok(entries.iter().map(|(key, node)| (key.name.as_str(), node)))
}

/// The JSON Schema of one node in the short notation.
fn of(node: &Node) -> Result<Value> {
    match &node.value {
        Yaml::Scalar(name) => Ok(reference(&name.text)),
        Yaml::Sequence(both) => match both.as_slice() {
            [schema, what] => {
                let mut schema = of(schema)?;
                schema["description"] = what.text().ok_or_else(defect)?.into();
                Ok(schema)
            }
            _ => Err(defect()),
        },
        Yaml::Mapping(_) => {
            let mut schema = Map::new();
            for (key, node) in entries(node)? {
                keyword(&mut schema, key, node)?;
            }
            Ok(Value::Object(schema))
        }
        Yaml::Null => Err(defect()),
    }
}

fn keyword(schema: &mut Map<String, Value>, key: &str, node: &Node) -> Result<()> {
    let mut add = |key: &str, value: Value| drop(schema.insert(key.to_owned(), value));
    match key {
        "what" => add("description", literal(node)),
        "keys" => {
            let keys = entries(node)?.map(|(key, node)| Ok((key.to_owned(), of(node)?)));
            add("type", "object".into());
            add("properties", Value::Object(keys.collect::<Result<_>>()?));
            add("additionalProperties", false.into());
        }
        "open" => add("patternProperties", json!({ "^x-": {} })),
        "needs" => add("required", literal(node)),
        "named" => add("propertyNames", json!({ "pattern": literal(node) })),
        "either" => {
            let keys = node
                .items()
                .iter()
                .map(|key| json!({ "required": [literal(key)] }));
            add("anyOf", keys.collect());
        }
        "together" => {
            let keys = node.items().iter().filter_map(Node::text);
            let keys = keys.map(|key| (key.to_owned(), literal(node)));
            add("dependentRequired", Value::Object(keys.collect()));
        }
        "map" => {
            add("type", "object".into());
            add("additionalProperties", of(node)?);
        }
        "list" | "names" => {
            add("type", "array".into());
            add("items", of(node)?);
            if key == "names" {
                add("uniqueItems", true.into());
            }
        }
        "words" => {
            // A variable may be replaced by one of the words.
            let variable = json!({ "type": "string", "pattern": "\\$" });
            add("anyOf", json!([{ "enum": literal(node) }, variable]));
        }
        "any" => {
            let Yaml::Sequence(items) = &node.value else {
                return Err(defect());
            };
            add("anyOf", items.iter().map(of).collect::<Result<_>>()?);
        }
        "type" | "title" | "pattern" | "minimum" | "maximum" | "const" | "maxProperties" => {
            add(key, literal(node));
        }
        _ => return Err(defect()),
    }
    Ok(())
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{name}") })
}

/// A tree as JSON, with YAML's types of scalars.
pub(super) fn literal(node: &Node) -> Value {
    match &node.value {
        Yaml::Null => Value::Null,
        Yaml::Scalar(scalar) => match scalar.kind {
            Kind::String => scalar.text.clone().into(),
            Kind::Bool => scalar.text.eq_ignore_ascii_case("true").into(),
            Kind::Number => {
                serde_json::from_str(&scalar.text).unwrap_or_else(|_| scalar.text.clone().into())
            }
        },
        Yaml::Sequence(items) => items.iter().map(literal).collect(),
        Yaml::Mapping(entries) => {
            let entries = entries.iter();
            let entries = entries.map(|(key, node)| (key.name.clone(), literal(node)));
            Value::Object(entries.collect())
        }
    }
}
