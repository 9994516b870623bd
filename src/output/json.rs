//! JSON results. Every command writes one document, an [`Envelope`]: what all commands have in common, then the
//! command's own data, all of it from typed values. docs/schemas has the JSON Schema of each.
//!
//! Keys are camelCase and in the order of the types, absent values are null, times are RFC 3339 in UTC,
//! durations are numbers of milliseconds in keys that end with `Ms`.

use std::{borrow::Cow, fmt, time::Duration};

use chrono::{DateTime, SecondsFormat, Utc};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;

use super::Console;
use diagnostics::Error;

/// The version of the shape of all documents. A key that is removed or changes its meaning increments it.
pub(crate) const SCHEMA_VERSION: u32 = 1;

/// What every document has, and the data of the command.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Envelope<S, D> {
    /// The version of the shape of all documents.
    schema_version: u32,
    /// The command that wrote it, such as `verify` or `dlq list`.
    command: String,
    /// The project. Null: the command is about none.
    project: Option<String>,
    /// When it was written.
    at: Time,
    status: Outcome,
    /// The counts that a person reads first.
    summary: S,
    /// Null: the command ended without an error.
    error: (),
    #[serde(flatten)]
    data: D,
}

/// What a document says in a word; the same words for all commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    /// All is right.
    Pass,
    /// Nothing failed, but something is worth attention.
    Warn,
    /// Not everything that decides could be observed.
    Unknown,
    /// The pipeline is not as it should be.
    Fail,
    /// The command ended with an error: `error` has it, and the document has no data.
    Error,
}

impl Outcome {
    /// `Pass` or `Fail`.
    pub(crate) fn of(is_right: bool) -> Self {
        if is_right { Self::Pass } else { Self::Fail }
    }

    /// `Pass` or `Warn`.
    pub(crate) fn doubtful(is_doubtful: bool) -> Self {
        if is_doubtful { Self::Warn } else { Self::Pass }
    }
}

/// The document of a command that ended with an error.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Failed {
    /// The version of the shape of all documents.
    schema_version: u32,
    /// The command. Null: the command line names none.
    command: Option<String>,
    /// The project. Null: it is not known yet.
    project: Option<String>,
    /// When it was written.
    at: Time,
    #[schemars(with = "ErrorStatus")]
    status: Outcome,
    summary: (),
    error: ErrorEntry,
}

/// The status of a command that ended with an error.
#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(dead_code, reason = "only its schema is used")]
enum ErrorStatus {
    Error,
}

/// An error.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ErrorEntry {
    /// A stable word: `not-right`, `usage`, `unreachable`, `deadline`, `defect` or `interrupted`.
    kind: &'static str,
    /// The exit code of the command.
    exit_code: u8,
    /// One sentence: what failed.
    what: String,
    /// Why: states, exit codes, log lines.
    evidence: Vec<String>,
    /// The next command, or what to change.
    hint: Option<String>,
    /// The commands of `hint`, exactly as they can be run. Empty: it has none.
    commands: Vec<String>,
}

impl ErrorEntry {
    fn of(error: &Error) -> Self {
        Self {
            kind: error.kind.name(),
            exit_code: error.kind.exit_code(),
            what: error.what.clone(),
            evidence: error.evidence.clone(),
            hint: error.hint.clone(),
            commands: commands(error.hint.as_deref()).map(str::to_owned).collect(),
        }
    }
}

/// The commands of a hint.
pub(super) fn commands(hint: Option<&str>) -> impl Iterator<Item = &str> {
    hint.map(diagnostics::commands).into_iter().flatten()
}

/// A line of NDJSON: those of a command's own, the last one, or the error that ended the command.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase", tag = "type")]
pub(crate) enum EndLine<S> {
    /// The last line.
    Summary(Envelope<S, NoData>),
    /// The last line of a command that ended with an error.
    Error(Failed),
}

/// The data of a document whose summary says everything.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct NoData {}

/// A time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Time(pub(crate) DateTime<Utc>);

impl Time {
    pub(crate) fn of(at: Option<DateTime<Utc>>) -> Option<Self> {
        at.map(Self)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl JsonSchema for Time {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time", "description": "RFC 3339, in UTC." })
    }
}

/// A duration in milliseconds: a whole number, or with up to three decimals.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Millis(pub(crate) Duration);

impl Millis {
    pub(crate) fn of(duration: Option<Duration>) -> Option<Self> {
        duration.map(Self)
    }
}

impl Serialize for Millis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let micros = (self.0.as_secs_f64() * 1_000_000.0).round();
        match micros % 1_000.0 == 0.0 {
            true => serializer.serialize_u64((micros / 1_000.0) as u64),
            false => serializer.serialize_f64(micros / 1_000.0),
        }
    }
}

impl JsonSchema for Millis {
    fn schema_name() -> Cow<'static, str> {
        "Millis".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "minimum": 0, "description": "Milliseconds." })
    }
}

impl Console {
    /// Writes the document of a command to stdout. Its texts are masked, its ids and names are not.
    pub(crate) fn report<S: Serialize, D: Serialize>(&self, status: Outcome, summary: S, data: D) {
        self.document(&self.envelope(status, summary, data));
    }

    pub(crate) fn envelope<S, D>(&self, status: Outcome, summary: S, data: D) -> Envelope<S, D> {
        Envelope {
            schema_version: SCHEMA_VERSION,
            command: self.command().to_owned(),
            project: self.project().map(str::to_owned),
            at: Time(Utc::now()),
            status,
            summary,
            error: (),
            data,
        }
    }

    /// The document of a masked error.
    pub(super) fn failed(&self, error: &Error) -> Failed {
        Failed {
            command: Some(self.command().to_owned()),
            project: self.project().map(str::to_owned),
            ..failed(error)
        }
    }

    /// Writes an indented JSON document to stdout. Its texts are masked, its ids and names are not.
    pub(crate) fn document(&self, document: &impl Serialize) {
        self.json(&self.masked_document(document).document());
    }

    /// As [`Self::document`], on one line.
    pub(crate) fn line(&self, document: &impl Serialize) {
        self.json(&self.masked_document(document).line());
    }
}

/// The document of an error of a command line that is wrong. `command`: None: it names none.
pub(super) fn usage_failed(error: &Error, command: Option<String>) -> Failed {
    Failed {
        command,
        ..failed(error)
    }
}

fn failed(error: &Error) -> Failed {
    Failed {
        schema_version: SCHEMA_VERSION,
        command: None,
        project: None,
        at: Time(Utc::now()),
        status: Outcome::Error,
        summary: (),
        error: ErrorEntry::of(error),
    }
}

/// The indented text of a document in which the caller has masked what may contain secrets.
pub(super) fn document(document: &impl Serialize) -> String {
    Ordered::of(document).document()
}

/// As [`document`], on one line.
pub(super) fn line(document: &impl Serialize) -> String {
    Ordered::of(document).line()
}

/// A JSON value whose objects keep the order of their keys.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Ordered {
    Object(Vec<(String, Self)>),
    Array(Vec<Self>),
    String(String),
    /// A number, a boolean or null.
    Scalar(Value),
}

impl Ordered {
    /// The types of documents cannot fail to serialize: their keys are strings.
    pub(super) fn of(document: &impl Serialize) -> Self {
        let text = serde_json::to_string(document).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or(Self::Scalar(Value::Null))
    }

    fn document(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    fn line(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Serialize for Ordered {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Object(entries) => serializer.collect_map(entries.iter().map(|(k, v)| (k, v))),
            Self::Array(items) => serializer.collect_seq(items),
            Self::String(text) => serializer.serialize_str(text),
            Self::Scalar(value) => value.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Ordered {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Ordered;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a JSON value")
            }
            fn visit_unit<E>(self) -> Result<Ordered, E> {
                Ok(Ordered::Scalar(Value::Null))
            }
            fn visit_bool<E>(self, value: bool) -> Result<Ordered, E> {
                Ok(Ordered::Scalar(value.into()))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Ordered, E> {
                Ok(Ordered::Scalar(value.into()))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Ordered, E> {
                Ok(Ordered::Scalar(value.into()))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Ordered, E> {
                Ok(Ordered::Scalar(value.into()))
            }
            fn visit_str<E>(self, value: &str) -> Result<Ordered, E> {
                Ok(Ordered::String(value.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Ordered, A::Error> {
                let mut array = Vec::new();
                while let Some(item) = items.next_element()? {
                    array.push(item);
                }
                Ok(Ordered::Array(array))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Ordered, A::Error> {
                let mut object = Vec::new();
                while let Some(entry) = entries.next_entry()? {
                    object.push(entry);
                }
                Ok(Ordered::Object(object))
            }
        }
        deserializer.deserialize_any(Any)
    }
}
