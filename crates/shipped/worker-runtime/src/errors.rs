//! Why a process ends ([`RunError`]), and why an event could not be processed ([`Failure`]): because
//! of the infrastructure ([`InfrastructureError`]) or of the event ([`Reason`]).

use std::{borrow::Cow, error::Error, sync::Arc, time::Duration};

use rdkafka::error::KafkaError;

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
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// The event is not at fault. The partition's task waits, and the batch is retried forever.
    #[error(transparent)]
    Infrastructure(#[from] InfrastructureError),
    /// The event cannot be processed now but may be later: a bounded number of retries, then a dead
    /// letter.
    #[error("{0}")]
    Transient(Reason),
    /// The event can never be processed: a dead letter without a retry.
    #[error("{0}")]
    Permanent(Reason),
}

/// Why the database, the broker or another service is not available. No event is at fault.
#[derive(Debug, Clone, thiserror::Error)]
pub enum InfrastructureError {
    /// The database does not answer, or refuses a statement for a reason that is not in the data.
    #[error("database: {}", database_text(.0))]
    Database(#[source] Arc<sqlx::Error>),
    /// The database did not answer within the limit: it is frozen, so its own timeouts do not apply.
    #[error("database: no answer within {0:?}")]
    DatabaseTimeout(Duration),
    /// The database refuses writes.
    #[error("database: {0}, and refuses writes")]
    ReadOnly(&'static str),
    /// A message was not written to its topic.
    #[error(transparent)]
    Produce(#[from] ProduceError),
    /// Another service does not answer, or its answer is unusable.
    #[error("{service}: {source}")]
    Service {
        /// The service's name.
        service: &'static str,
        /// The client's error.
        source: Arc<dyn Error + Send + Sync>,
    },
}

/// Why a message was not written to its topic. All of its kinds may pass.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ProduceError {
    /// No broker is available, the topic does not exist, or the broker refuses the message.
    #[error("cannot write to topic {topic}: {source}")]
    Refused {
        /// The message's topic.
        topic: String,
        /// The client's error.
        source: KafkaError,
    },
    /// The topic, or the producer, does not accept a message of this size.
    #[error("cannot write to topic {topic}: {source}: {}", too_large(*needed, *sent_at_most))]
    TooLarge {
        /// The message's topic.
        topic: String,
        /// The message's size in bytes, with the overhead of Kafka's format.
        needed: usize,
        /// The largest message that the producer sends, in bytes.
        sent_at_most: usize,
        /// The client's error.
        source: KafkaError,
    },
    /// The producer was closed before the broker acknowledged the message.
    #[error("the producer was closed")]
    Closed,
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
        let is_of_the_event = match &error {
            sqlx::Error::Database(error) => is_data_error(&error.code().unwrap_or_default()),
            sqlx::Error::Encode(_) => true,
            _ => false,
        };
        if is_of_the_event {
            Self::Permanent(Reason::new("database-refused", database_text(&error)))
        } else {
            Self::Infrastructure(error.into())
        }
    }
}

impl From<sqlx::Error> for InfrastructureError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(Arc::new(error))
    }
}

impl From<ProduceError> for Failure {
    fn from(error: ProduceError) -> Self {
        Self::Infrastructure(error.into())
    }
}

/// The error with its SQLSTATE, if the database sent one.
fn database_text(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            format!("{} (SQLSTATE {code})", error.message())
        }
        _ => error.to_string(),
    }
}

fn too_large(needed: usize, sent_at_most: usize) -> String {
    if needed > sent_at_most {
        format!("{needed} bytes are more than the {sent_at_most} that are sent")
    } else {
        format!("set its max.message.bytes to {needed} or more")
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
    use rdkafka::types::RDKafkaErrorCode;

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
    fn a_message_that_is_too_large_says_what_to_change() {
        let error = |needed| {
            let error = ProduceError::TooLarge {
                topic: "orders".to_owned(),
                needed,
                sent_at_most: 1_000,
                source: KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge),
            };
            let error = InfrastructureError::from(error);
            assert!(
                error
                    .source()
                    .is_some_and(|source| source.is::<KafkaError>())
            );
            error.to_string()
        };
        let text = error(1_000);
        assert!(text.starts_with("cannot write to topic orders: "), "{text}");
        assert!(
            text.ends_with("set its max.message.bytes to 1000 or more"),
            "{text}"
        );
        let text = error(1_001);
        assert!(
            text.ends_with("1001 bytes are more than the 1000 that are sent"),
            "{text}"
        );
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
