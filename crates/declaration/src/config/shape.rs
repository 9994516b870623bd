//! Values in the form that docker compose prints for their key.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::{
    compose::{host_path, split_words},
    context::Context,
    units,
    yaml::{self, Kind, Node},
};

/// How the value of a key is printed. What is empty is left out, unless the shape says otherwise.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    /// A string, also if it was written as a number or a boolean.
    Text,
    /// An absolute path of the host.
    Path,
    /// A list of strings; one string is a list of one.
    Texts,
    /// A number; 0 is left out.
    Number,
    /// A number that is printed even if it is 0.
    Count,
    /// A boolean; false is left out.
    Flag,
    /// A boolean that is printed even if it is false.
    Choice,
    /// A size, as a string of bytes.
    Bytes,
    /// A duration as Go prints it.
    Duration,
    /// A command: a list of words; null if there is none.
    Words,
    /// Names with values, from a mapping or a list of `NAME=VALUE`; a name alone has an empty value.
    Pairs,
    Map(&'static Self),
    List(&'static Self),
    /// A mapping with these keys; others (`x-…`) are left out.
    Fields(&'static [(&'static str, Self)]),
    /// As [`Self::Fields`], printed even if it is empty.
    Block(&'static [(&'static str, Self)]),
    /// A key with a form of its own.
    Own(fn(&Node, &Context<'_>) -> Option<Value>),
    /// As the file has it.
    Plain,
}

/// The value of `node` in this shape. None: it is empty, and left out.
pub(super) fn shaped(node: &Node, shape: &Shape, context: &Context<'_>) -> Option<Value> {
    match shape {
        Shape::Text => text(node).filter(|t| !t.is_empty()).map(Value::String),
        Shape::Path => {
            let path = host_path(&text(node)?, context).ok()?;
            Some(json!(path.display().to_string()))
        }
        Shape::Texts => non_empty_list(texts(node).into_iter().map(Value::String).collect()),
        Shape::Number => number(node).filter(|n| n.as_f64() != Some(0.0)),
        Shape::Count => number(node),
        Shape::Flag => is_true(node.text()?).then_some(Value::Bool(true)),
        Shape::Choice => node.text().map(|text| json!(is_true(text))),
        Shape::Bytes => {
            let bytes = bytes(node.text()?)?;
            (bytes != 0).then(|| json!(bytes.to_string()))
        }
        Shape::Duration => Some(json!(go_duration(units::duration(node.text()?).ok()?))),
        Shape::Words => words(node),
        Shape::Pairs => {
            let value = |(name, value): (String, Option<String>)| {
                (name, Value::String(value.unwrap_or_default()))
            };
            non_empty_map(pairs(node).into_iter().map(value).collect())
        }
        Shape::Map(shape) => {
            let entry = |(key, value): &(yaml::Key, Node)| {
                let empty = || text(value).map_or(Value::Null, Value::String);
                let shaped = shaped(value, shape, context);
                (key.name.clone(), shaped.unwrap_or_else(empty))
            };
            non_empty_map(mapping(node).iter().map(entry).collect())
        }
        Shape::List(shape) => {
            let items = node.items().iter();
            non_empty_list(
                items
                    .filter_map(|item| shaped(item, shape, context))
                    .collect(),
            )
        }
        Shape::Fields(fields) => non_empty_map(self::fields(node, fields, context)),
        Shape::Block(fields) => Some(Value::Object(self::fields(node, fields, context))),
        Shape::Own(own) => own(node, context),
        Shape::Plain => Some(plain(node)),
    }
}

pub(super) fn fields(
    node: &Node,
    fields: &[(&str, Shape)],
    context: &Context<'_>,
) -> Map<String, Value> {
    let field = |(key, shape): &(&str, Shape)| {
        let value = shaped(node.get(key)?, shape, context)?;
        Some(((*key).to_owned(), value))
    };
    fields.iter().filter_map(field).collect()
}

/// A scalar's text. A secret is masked.
pub(super) fn text(node: &Node) -> Option<String> {
    match &node.value {
        yaml::Value::Scalar(scalar) if scalar.secret => Some("***".to_owned()),
        yaml::Value::Scalar(scalar) => Some(scalar.text.clone()),
        _ => None,
    }
}

/// A list of strings, or one string.
pub(super) fn texts(node: &Node) -> Vec<String> {
    match &node.value {
        yaml::Value::Sequence(items) => items.iter().filter_map(text).collect(),
        _ => text(node).into_iter().collect(),
    }
}

/// Names with values, from a mapping or a list of `NAME=VALUE`. None: a name alone.
pub(super) fn pairs(node: &Node) -> Vec<(String, Option<String>)> {
    let of_mapping = mapping(node)
        .iter()
        .map(|(key, value)| (key.name.clone(), text(value)));
    let of_list = node
        .items()
        .iter()
        .filter_map(text)
        .map(|item| match item.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (item, None),
        });
    of_mapping.chain(of_list).collect()
}

pub(super) fn mapping(node: &Node) -> &[(yaml::Key, Node)] {
    match &node.value {
        yaml::Value::Mapping(entries) => entries,
        _ => &[],
    }
}

/// As docker compose reads booleans.
pub(super) fn is_true(text: &str) -> bool {
    matches!(
        text.to_ascii_lowercase().as_str(),
        "true" | "y" | "yes" | "on"
    )
}

/// A size in bytes; -1 is no limit.
fn bytes(text: &str) -> Option<i64> {
    match text.trim() {
        "-1" => Some(-1),
        text => units::bytes(text).ok(),
    }
}

pub(super) fn number(node: &Node) -> Option<Value> {
    let text = node.text()?.trim();
    let float = || text.parse::<f64>().ok().map(|n| json!(n));
    text.parse::<i64>().ok().map(|n| json!(n)).or_else(float)
}

/// The words of a command line, or those of a list.
pub(super) fn words(node: &Node) -> Option<Value> {
    match &node.value {
        yaml::Value::Sequence(_) => Some(json!(texts(node))),
        _ => split_words(node.text()?).ok().map(|words| json!(words)),
    }
}

/// The value as YAML types it.
pub(super) fn plain(node: &Node) -> Value {
    match &node.value {
        yaml::Value::Null => Value::Null,
        yaml::Value::Scalar(scalar) if scalar.secret => json!("***"),
        yaml::Value::Scalar(scalar) => match scalar.kind {
            Kind::Number => number(node).unwrap_or_else(|| json!(scalar.text)),
            Kind::Bool => json!(is_true(&scalar.text)),
            Kind::String => json!(scalar.text),
        },
        yaml::Value::Sequence(items) => items.iter().map(plain).collect(),
        yaml::Value::Mapping(entries) => Value::Object(
            entries
                .iter()
                .map(|(key, value)| (key.name.clone(), plain(value)))
                .collect(),
        ),
    }
}

pub(super) fn non_empty_list(items: Vec<Value>) -> Option<Value> {
    (!items.is_empty()).then_some(Value::Array(items))
}

pub(super) fn non_empty_map(entries: Map<String, Value>) -> Option<Value> {
    (!entries.is_empty()).then_some(Value::Object(entries))
}

/// As Go prints a duration: `1m30s`, `1h0m0s`, `1.5s`, `100ms`, `0s`.
fn go_duration(time: Duration) -> String {
    let nanos = time.as_nanos();
    let decimal = |unit: u128, name: &str| {
        let (whole, rest) = (nanos / unit, nanos % unit);
        let digits = unit.ilog10() as usize;
        let fraction = format!("{rest:0digits$}");
        match fraction.trim_end_matches('0') {
            "" => format!("{whole}{name}"),
            fraction => format!("{whole}.{fraction}{name}"),
        }
    };
    match nanos {
        0 => return "0s".to_owned(),
        1..1_000 => return format!("{nanos}ns"),
        1_000..1_000_000 => return decimal(1_000, "µs"),
        1_000_000..1_000_000_000 => return decimal(1_000_000, "ms"),
        _ => {}
    }
    let (minutes, seconds) = (nanos / 60_000_000_000, nanos % 60_000_000_000);
    let seconds = match (seconds / 1_000_000_000, seconds % 1_000_000_000) {
        (whole, 0) => format!("{whole}s"),
        (whole, rest) => {
            let fraction = format!("{rest:09}");
            format!("{whole}.{}s", fraction.trim_end_matches('0'))
        }
    };
    match (minutes / 60, minutes % 60) {
        (0, 0) => seconds,
        (0, minutes) => format!("{minutes}m{seconds}"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_printed_as_go_prints_them() {
        for (text, expected) in [
            ("0", "0s"),
            ("10s", "10s"),
            ("90s", "1m30s"),
            ("1h", "1h0m0s"),
            ("1500ms", "1.5s"),
            ("100ms", "100ms"),
            ("2m0.25s", "2m0.25s"),
            ("15us", "15µs"),
        ] {
            let duration = units::duration(text).expect(text);
            assert_eq!(go_duration(duration), expected, "{text}");
        }
    }
}
