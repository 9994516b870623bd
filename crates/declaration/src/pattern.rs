//! Patterns of log lines: a text or a regular expression.

use std::fmt;

use regex::Regex;
use serde::{Deserialize, Serialize};

/// Matches lines that contain a text, or in which a regular expression matches.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Pattern {
    /// A text, compared literally.
    Literal(String),
    /// A regular expression, not anchored.
    Regex(#[serde(with = "as_text")] Regex),
}

impl Pattern {
    /// Whether a line matches.
    pub fn matches(&self, line: &str) -> bool {
        match self {
            Self::Literal(text) => line.contains(text),
            Self::Regex(regex) => regex.is_match(line),
        }
    }
}

/// The text as it is, an expression between slashes.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(text) => f.write_str(text),
            Self::Regex(regex) => write!(f, "/{regex}/"),
        }
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Literal(a), Self::Literal(b)) => a == b,
            (Self::Regex(a), Self::Regex(b)) => a.as_str() == b.as_str(),
            (Self::Literal(_), Self::Regex(_)) | (Self::Regex(_), Self::Literal(_)) => false,
        }
    }
}

impl Eq for Pattern {}

impl From<&str> for Pattern {
    fn from(text: &str) -> Self {
        Self::Literal(text.to_owned())
    }
}

/// Serializes a regular expression as its text.
pub(super) mod as_text {
    use regex::Regex;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(
        regex: &Regex,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(regex.as_str())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Regex, D::Error> {
        Regex::new(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_literal_and_an_expression_is_not() {
        let line = "INFO 12 [main] Started OrderApp in 2.31 seconds";
        assert!(Pattern::from("Started OrderApp").matches(line));
        assert!(!Pattern::from("Started .* in").matches(line));
        let regex = |text| Pattern::Regex(Regex::new(text).expect("an expression"));
        assert!(regex(r"Started \w+ in [\d.]+ seconds$").matches(line));
        assert!(!regex("^Started").matches(line));
        assert_eq!(regex("^a").to_string(), "/^a/");
        assert_eq!(Pattern::from("^a").to_string(), "^a");
        assert_ne!(regex("a"), Pattern::from("a"));
    }
}
