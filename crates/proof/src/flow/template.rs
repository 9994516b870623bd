//! `{{name}}` in the declared request and keys.

use std::collections::BTreeMap;

use chrono::{SecondsFormat, Utc};
use serde_json::Value;
use uuid::Uuid;

use declaration::{IdSource, correlation::scalar};
use diagnostics::{Error, Kind, Result};

/// One run's values by name.
#[derive(Debug)]
pub(super) struct Values(BTreeMap<String, String>);

impl Values {
    /// `uuid` is a new UUID ordered by time, `now` the current time in UTC (RFC 3339,
    /// microseconds). Any other value is used as it is.
    pub(super) fn draw(declared: &BTreeMap<String, String>) -> Self {
        let draw = |value: &String| match value.as_str() {
            "uuid" => Uuid::now_v7().to_string(),
            "now" => Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true),
            literal => literal.to_owned(),
        };
        Self(
            declared
                .iter()
                .map(|(name, value)| (name.clone(), draw(value)))
                .collect(),
        )
    }

    /// `text` with each `{{name}}` filled in.
    ///
    /// # Errors
    /// A name that is not declared, or braces that do not close.
    pub(super) fn fill(&self, text: &str) -> Result<String> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            filled.push_str(before);
            let Some((name, after)) = after.split_once("}}") else {
                return Err(Error::new(
                    Kind::Usage,
                    format!("{text:?}: {{{{ without }}}}"),
                ));
            };
            filled.push_str(self.value(name.trim(), text)?);
            rest = after;
        }
        filled.push_str(rest);
        Ok(filled)
    }

    /// JSON with its strings filled in, keys left as they are.
    ///
    /// # Errors
    /// As [`Self::fill`].
    pub(super) fn fill_json(&self, json: &Value) -> Result<Value> {
        Ok(match json {
            Value::String(text) => Value::String(self.fill(text)?),
            Value::Array(items) => Value::Array(
                items
                    .iter()
                    .map(|i| self.fill_json(i))
                    .collect::<Result<_>>()?,
            ),
            Value::Object(fields) => {
                let fill =
                    |(name, value): (&String, &Value)| Ok((name.clone(), self.fill_json(value)?));
                Value::Object(fields.iter().map(fill).collect::<Result<_>>()?)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => json.clone(),
        })
    }

    /// The correlation id, filled in, or found in `json`; None where it is not there.
    ///
    /// # Errors
    /// As [`Self::fill`].
    pub(super) fn id(&self, source: &IdSource, json: Option<&Value>) -> Result<Option<String>> {
        match source {
            IdSource::Template(text) => self.fill(text).map(Some),
            IdSource::Pointer(at) => Ok(json.and_then(|j| j.pointer(at)).and_then(scalar)),
        }
    }

    fn value(&self, name: &str, text: &str) -> Result<&str> {
        self.0.get(name).map(String::as_str).ok_or_else(|| {
            let names: Vec<_> = self.0.keys().map(String::as_str).collect();
            Error::new(
                Kind::Usage,
                format!("{text:?}: flow.values has no {name:?}"),
            )
            .because(format!("it has: {}", names.join(", ")))
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn values() -> Values {
        let declared = [("student", "uuid"), ("course", "c-1")];
        Values::draw(&declared.map(|(n, v)| (n.to_owned(), v.to_owned())).into())
    }

    #[test]
    fn names_are_filled_in_everywhere() {
        let values = values();
        let student = values.0["student"].clone();
        assert!(uuid::Uuid::parse_str(&student).is_ok());
        let filled = values
            .fill_json(&json!({"a": "{{student}}", "b": ["x-{{ course }}-{{course}}", 7, null]}))
            .expect("names are declared");
        assert_eq!(filled, json!({"a": student, "b": ["x-c-1-c-1", 7, null]}));
    }

    #[test]
    fn now_is_the_moment_of_drawing() {
        let before = Utc::now().timestamp_micros();
        let values = Values::draw(&[("at".to_owned(), "now".to_owned())].into());
        let at: chrono::DateTime<Utc> = values.0["at"].parse().expect("RFC 3339");
        assert!(at.timestamp_micros() >= before, "{at}");
    }

    #[test]
    fn an_unknown_name_is_an_error_that_names_it() {
        let error = values().fill("{{studnet}}").expect_err("not declared");
        assert_eq!(error.kind, Kind::Usage);
        assert!(error.to_string().contains("studnet"), "{error}");
        assert!(values().fill("{{course").is_err());
    }
}
