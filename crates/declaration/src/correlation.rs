//! Correlation of events and log lines with messages of the flow: where they contain the correlation id.
//! `trace`, `test-flow` and every other search for messages use it.

use std::cell::OnceCell;

use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Where events and log lines contain the correlation id.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Correlation {
    /// Parts of an event, in order. The first part that contains a known id decides.
    pub event: Vec<EventPart>,
    /// How a log line contains it.
    pub log: LogCorrelation,
}

/// A part of an event that may contain the correlation id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventPart {
    /// The message key.
    Key,
    /// The header with this name.
    Header(String),
    /// The string or number at this JSON pointer (RFC 6901) in the message value.
    Body(String),
}

/// How a log line contains the correlation id.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum LogCorrelation {
    /// The line contains this text, with `{{id}}` replaced by the id.
    Text(String),
    /// The first capture group of the expression is the id.
    Captured(#[serde(with = "super::pattern::as_text")] Regex),
}

/// Placeholder of the id in [`LogCorrelation::Text`].
pub const ID: &str = "{{id}}";

/// The parts of an event that may contain the correlation id.
pub struct Event<'a> {
    /// The message key.
    pub key: Option<&'a [u8]>,
    /// The message value. None: a tombstone.
    pub value: Option<&'a [u8]>,
    /// Returns the value of the header with this name.
    pub header: &'a dyn Fn(&str) -> Option<&'a [u8]>,
}

/// In an event the message key, or else `correlationId` in the JSON value. A log line may contain the id
/// anywhere.
impl Default for Correlation {
    fn default() -> Self {
        Self {
            event: vec![EventPart::Key, EventPart::Body("/correlationId".to_owned())],
            log: LogCorrelation::Text(ID.to_owned()),
        }
    }
}

impl Correlation {
    /// The first result of `known` for an id in `event`.
    pub fn find<T>(
        &self,
        event: &Event<'_>,
        mut known: impl FnMut(&str) -> Option<T>,
    ) -> Option<T> {
        // Parsed once, and only if no part before it contains a known id.
        let json = OnceCell::new();
        self.event.iter().find_map(|place| match place {
            EventPart::Key => known(str::from_utf8(event.key?).ok()?),
            EventPart::Header(name) => known(str::from_utf8((event.header)(name)?).ok()?),
            EventPart::Body(pointer) => {
                let json: &Option<Value> =
                    json.get_or_init(|| serde_json::from_slice(event.value?).ok());
                known(&scalar(json.as_ref()?.pointer(pointer)?)?)
            }
        })
    }

    /// Whether an event belongs to the message `id`.
    pub fn is_of(&self, event: &Event<'_>, id: &str) -> bool {
        self.find(event, |found| (found == id).then_some(()))
            .is_some()
    }

    /// Whether a log line contains the correlation id `id`.
    pub fn is_about(&self, line: &str, id: &str) -> bool {
        match &self.log {
            LogCorrelation::Text(text) => line.contains(&text.replace(ID, id)),
            LogCorrelation::Captured(regex) => {
                let mut found = regex.captures_iter(line);
                found.any(|captures| captures.get(1).is_some_and(|m| m.as_str() == id))
            }
        }
    }
}

/// A string or number, as text.
pub fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_of(correlation: &Correlation, key: Option<&str>, value: Option<&str>, id: &str) -> bool {
        let event = Event {
            key: key.map(str::as_bytes),
            value: value.map(str::as_bytes),
            header: &|name| (name == "trace-id").then_some(b"h-1"),
        };
        correlation.is_of(&event, id)
    }

    #[test]
    fn the_default_searches_key_and_envelope() {
        let default = Correlation::default();
        let envelope = Some(r#"{"correlationId":"p-1"}"#);
        assert!(is_of(&default, Some("p-1"), None, "p-1"));
        assert!(is_of(&default, Some("other"), envelope, "p-1"));
        assert!(is_of(&default, None, envelope, "p-1"));
        assert!(!is_of(&default, None, envelope, "p-3"));
        assert!(!is_of(&default, Some("p-3"), Some("not json p-1"), "p-1"));
        assert!(!is_of(&default, None, None, "p-1"));
        assert!(!is_of(&default, None, None, "h-1"), "no header by default");
    }

    #[test]
    fn a_declared_correlation_replaces_the_default() {
        let declared = Correlation {
            event: vec![
                EventPart::Header("trace-id".to_owned()),
                EventPart::Body("/order/no".to_owned()),
            ],
            ..Correlation::default()
        };
        assert!(is_of(&declared, None, None, "h-1"));
        let body = Some(r#"{"order":{"no":17},"correlationId":"p-1"}"#);
        assert!(is_of(&declared, None, body, "17"));
        assert!(!is_of(&declared, Some("p-1"), body, "p-1"));
        let other = Correlation {
            event: vec![EventPart::Header("x".to_owned()), EventPart::Key],
            ..Correlation::default()
        };
        assert!(
            is_of(&other, Some("p-1"), None, "p-1"),
            "a missing header does not end the search"
        );
    }

    #[test]
    fn of_many_ids_the_first_known_one_is_found() {
        let event = Event {
            key: Some(b"k"),
            value: Some(br#"{"correlationId":"p-2"}"#),
            header: &|_| None,
        };
        let ids = ["p-1", "p-2"];
        let known = |id: &str| ids.iter().position(|known| *known == id);
        assert_eq!(Correlation::default().find(&event, known), Some(1));
    }

    #[test]
    fn a_line_has_the_id_as_declared() {
        let log = |log| Correlation {
            log,
            ..Correlation::default()
        };
        assert!(Correlation::default().is_about("paid p-1 twice", "p-1"));
        assert!(!Correlation::default().is_about("paid", "p-1"));
        let text = log(LogCorrelation::Text("order={{id}} ".to_owned()));
        assert!(text.is_about("order=17 done", "17"));
        assert!(!text.is_about("order=171 done, 17 ms", "17"));
        let captured = log(LogCorrelation::Captured(
            Regex::new(r"order=(\d+)").expect("an expression"),
        ));
        assert!(captured.is_about("order=17, then order=18", "18"));
        assert!(!captured.is_about("order=17 in 18 ms", "18"));
    }
}
