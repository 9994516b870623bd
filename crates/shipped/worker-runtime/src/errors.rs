//! Why a process ends ([`RunError`]), and why an event could not be processed ([`Failure`]).

use std::borrow::Cow;

use crate::settings::SettingsError;

/// Why a worker or service could not start, or had to end. The process exits with a non-zero code,
/// and Docker restarts it.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A setting is missing or wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A local resource is not available: a port, a thread, a signal handler.
    #[error("cannot start: {0}")]
    Start(String),
    /// A fatal error of the Kafka client, such as a fenced static member.
    #[error("the Kafka client failed: {0}")]
    Kafka(String),
    /// The database URL cannot be parsed. It is not shown, because it can contain a password.
    #[error("DATABASE_URL is not a PostgreSQL URL (postgres://USER:PASSWORD@HOST:5432/NAME)")]
    DatabaseUrl,
}

/// Why an event or a batch could not be processed. The variant decides whether it is retried or
/// becomes a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The database, the broker or another service is not available; the event is not at fault. The
    /// partition's task waits, and the batch is retried forever.
    #[error("{0}")]
    Infrastructure(String),
    /// The event cannot be processed now but may be later: a bounded number of retries, then a dead
    /// letter.
    #[error("{0}")]
    Transient(Reason),
    /// The event can never be processed: a dead letter without a retry.
    #[error("{0}")]
    Permanent(Reason),
}

/// What is wrong with an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {text}")]
pub struct Reason {
    /// A short, stable word for grouping: `not-json`, `no-trainer-available`.
    pub kind: Cow<'static, str>,
    /// The explanation for a person.
    pub text: String,
}

impl Reason {
    /// `kind` is a short stable word, `text` is for a person.
    pub fn new(kind: impl Into<Cow<'static, str>>, text: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            text: text.into(),
        }
    }
}

impl From<sqlx::Error> for Failure {
    /// Permanent only if the SQLSTATE blames the data, or a value cannot be encoded. All other errors
    /// (connections, missing tables, wrong passwords, full disks) are infrastructure failures: the
    /// event waits and is not lost.
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(database) => {
                let code = database.code().unwrap_or_default();
                if is_data_error(&code) {
                    let text = format!("{} (SQLSTATE {code})", database.message());
                    Self::Permanent(Reason::new("database-refused", text))
                } else {
                    Self::Infrastructure(format!(
                        "database: {} (SQLSTATE {code})",
                        database.message()
                    ))
                }
            }
            sqlx::Error::Encode(_) => {
                Self::Permanent(Reason::new("database-refused", error.to_string()))
            }
            _ => Self::Infrastructure(format!("database: {error}")),
        }
    }
}

/// SQLSTATE classes of errors caused by the data: 21 cardinality violation, 22 data exception,
/// 23 integrity constraint violation, 44 WITH CHECK OPTION violation, 54 program limit exceeded,
/// P0 raised by a function or trigger (PostgreSQL, appendix A).
fn is_data_error(sqlstate: &str) -> bool {
    const CLASSES: [&str; 6] = ["21", "22", "23", "44", "54", "P0"];
    sqlstate
        .get(..2)
        .is_some_and(|class| CLASSES.contains(&class))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_data_error_is_a_failure_of_the_event() {
        for code in [
            "23505", "23514", "22001", "22003", "22P02", "54000", "P0001",
        ] {
            assert!(is_data_error(code), "{code}");
        }
        // Serialisation, deadlock, disk full, shutdown, cannot connect, password, cancelled,
        // read-only standby, table missing, nothing at all.
        for code in [
            "40001", "40P01", "53100", "57P01", "57P03", "08006", "28P01", "57014", "25006",
            "42P01", "",
        ] {
            assert!(!is_data_error(code), "{code}");
        }
    }

    #[test]
    fn a_lost_connection_is_infrastructure() {
        for error in [
            sqlx::Error::PoolTimedOut,
            sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into()),
            sqlx::Error::WorkerCrashed,
        ] {
            assert!(matches!(Failure::from(error), Failure::Infrastructure(_)));
        }
    }
}
