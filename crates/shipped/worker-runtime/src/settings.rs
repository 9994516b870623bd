//! Settings come from environment variables, secrets (`secret`) from files as well. An error names
//! the variable and the remedy, and never a value that can hold a secret.

mod secret;

use std::{env, io, time::Duration};

pub use secret::{name_in_use, required_secret, secret};

/// A variable that is missing or wrong.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Not set, or empty.
    #[error("{name} is not set: set it in the service's environment, then start it again")]
    Missing {
        /// The variable.
        name: String,
    },
    /// Neither the secret nor its file is set.
    #[error(
        "neither {name} nor {name}_FILE is set: name the secret's file in the service's \
         environment, then start it again"
    )]
    MissingSecret {
        /// The variable.
        name: String,
    },
    /// One setting is given by two variables.
    #[error("{first} and {second} are both set: unset one of them, then start the service again")]
    Both {
        /// The variable.
        first: String,
        /// The other one.
        second: String,
    },
    /// The secret's file cannot be used.
    #[error("{name} names {path}, {source}: put the secret into it, then start the service again")]
    File {
        /// The variable.
        name: String,
        /// The file.
        path: String,
        /// What is wrong with the file.
        source: SecretFileError,
    },
    /// The value cannot be parsed.
    #[error("{name} is not {expected}: {reason}")]
    Invalid {
        /// The variable.
        name: String,
        /// What it has to be, with an example.
        expected: &'static str,
        /// What is wrong; the value itself only where it cannot be a secret.
        reason: String,
    },
}

/// Why a secret's file cannot be used; never with its content.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// The file is missing, or may not be read.
    #[error("which cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// The file is larger than a secret may be; the value is the limit in bytes.
    #[error("which is larger than {0} bytes")]
    TooLarge(u64),
    /// The content is not UTF-8.
    #[error("which is not UTF-8 text")]
    NotText,
    /// The file has no content but a line end.
    #[error("which is empty")]
    Empty,
}

/// The variable's value; empty counts as unset.
///
/// # Errors
/// [`SettingsError::Missing`].
pub fn required(name: &str) -> Result<String, SettingsError> {
    optional(name).ok_or_else(|| SettingsError::Missing {
        name: name.to_owned(),
    })
}

/// The variable's value, or None where it is unset or empty.
#[must_use]
pub fn optional(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// A duration above zero: `500ms`, `60s`, `5m`.
///
/// # Errors
/// The variable is set to something else.
pub fn duration(name: &str, default: Duration) -> Result<Duration, SettingsError> {
    optional(name).map_or(Ok(default), |value| parse_duration(name, &value))
}

/// A TCP port from 1.
///
/// # Errors
/// The variable is set to something else.
pub fn port(name: &str, default: u16) -> Result<u16, SettingsError> {
    optional(name).map_or(Ok(default), |value| parse_port(name, &value))
}

fn parse_duration(name: &str, value: &str) -> Result<Duration, SettingsError> {
    let invalid = |reason: String| SettingsError::Invalid {
        name: name.to_owned(),
        expected: "a duration such as 500ms, 60s or 5m",
        reason,
    };
    match humantime::parse_duration(value) {
        Ok(Duration::ZERO) => Err(invalid("it must be above zero".to_owned())),
        Ok(duration) => Ok(duration),
        Err(e) => Err(invalid(format!("{value:?}: {e}"))),
    }
}

fn parse_port(name: &str, value: &str) -> Result<u16, SettingsError> {
    match value.parse::<u16>() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(SettingsError::Invalid {
            name: name.to_owned(),
            expected: "a TCP port from 1 to 65535",
            reason: format!("{value:?}"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_human() {
        let read = |text| parse_duration("TOP_UP_INTERVAL", text).expect("a duration");
        assert_eq!(read("500ms"), Duration::from_millis(500));
        assert_eq!(read("5m"), Duration::from_secs(300));
    }

    #[test]
    fn an_error_names_the_variable_and_the_remedy() {
        let error = parse_duration("TOP_UP_INTERVAL", "soon").expect_err("not a duration");
        let text = error.to_string();
        assert!(text.contains("TOP_UP_INTERVAL") && text.contains("60s") && text.contains("soon"));
        let error = parse_duration("TOP_UP_INTERVAL", "0s").expect_err("would spin");
        assert!(error.to_string().contains("above zero"));
        let error = parse_port("HTTP_PORT", "0").expect_err("no port");
        assert!(error.to_string().starts_with("HTTP_PORT is not a TCP port"));
    }

    #[test]
    fn a_missing_variable_says_what_to_do() {
        let error = required("CARAVAN_NO_SUCH_VARIABLE").expect_err("not set");
        assert!(
            error
                .to_string()
                .contains("set it in the service's environment")
        );
    }
}
