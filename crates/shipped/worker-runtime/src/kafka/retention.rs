//! How long topics retain a message.

use std::time::Duration;

use rdkafka::{
    admin::{AdminClient, AdminOptions, ConfigResource, ResourceSpecifier},
    error::{KafkaError, RDKafkaErrorCode},
};

use super::{ClientLog, client};

const TIMEOUT: Duration = Duration::from_secs(10);

/// Why the retention of topics is unknown.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    /// No client could be created.
    #[error(transparent)]
    Client(KafkaError),
    /// The brokers do not answer.
    #[error("the topics' settings: {0}")]
    Brokers(#[source] KafkaError),
    /// The brokers refuse the settings of one topic, for instance because it does not exist.
    #[error("{topic}: {source}")]
    Topic {
        /// The topic.
        topic: String,
        /// The broker's error.
        source: RDKafkaErrorCode,
    },
    /// A topic's settings do not say its retention.
    #[error("{topic}: {source}")]
    Setting {
        /// The topic.
        topic: String,
        /// What is wrong with its settings.
        source: SettingError,
    },
}

/// Why the settings of a topic do not say its retention.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// `cleanup.policy` is missing.
    #[error("no cleanup.policy")]
    NoPolicy,
    /// The setting of this name is missing or no number.
    #[error("{0} is no number")]
    NotANumber(&'static str),
}

/// For each topic the longest time for which it can retain a message; None means forever. A segment
/// accepts messages for `segment.ms`, and is deleted `retention.ms` after its newest message.
///
/// # Errors
/// The brokers do not answer, or a topic does not exist.
pub(crate) async fn retentions(
    brokers: &str,
    topics: &[&str],
) -> Result<Vec<Option<Duration>>, RetentionError> {
    let admin: AdminClient<ClientLog> = client(brokers)
        .create_with_context(ClientLog)
        .map_err(RetentionError::Client)?;
    let wanted: Vec<_> = topics.iter().map(|t| ResourceSpecifier::Topic(t)).collect();
    let options = AdminOptions::new().request_timeout(Some(TIMEOUT));
    let described = admin.describe_configs(&wanted, &options).await;
    // Dropping the client waits for its polling thread.
    tokio::task::spawn_blocking(move || drop(admin));
    described
        .map_err(RetentionError::Brokers)?
        .into_iter()
        .zip(topics)
        .map(|(config, topic)| {
            let topic = (*topic).to_owned();
            match config {
                Ok(config) => retention(|name| value(&config, name))
                    .map_err(|source| RetentionError::Setting { topic, source }),
                Err(source) => Err(RetentionError::Topic { topic, source }),
            }
        })
        .collect()
}

fn value<'c>(config: &'c ConfigResource, name: &str) -> Option<&'c str> {
    config.get(name)?.value.as_deref()
}

/// The retention, from a topic's settings by name.
fn retention<'c>(
    value: impl Fn(&str) -> Option<&'c str>,
) -> Result<Option<Duration>, SettingError> {
    let policy = value("cleanup.policy").ok_or(SettingError::NoPolicy)?;
    let deletes = policy.split(',').any(|word| word.trim() == "delete");
    let millis = |name| {
        let value: Option<i64> = value(name).and_then(|text| text.parse().ok());
        value.ok_or(SettingError::NotANumber(name))
    };
    // A negative value means forever.
    let retention = u64::try_from(millis("retention.ms")?);
    let segment = u64::try_from(millis("segment.ms")?);
    Ok(match (retention, segment) {
        (Ok(retention), Ok(segment)) if deletes => {
            Some(Duration::from_millis(retention.saturating_add(segment)))
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(
        policy: &str,
        retention_ms: &str,
        segment_ms: &str,
    ) -> Result<Option<Duration>, SettingError> {
        retention(|name| match name {
            "cleanup.policy" => Some(policy),
            "retention.ms" => Some(retention_ms),
            "segment.ms" => Some(segment_ms),
            _ => None,
        })
    }

    #[test]
    fn retention_and_one_segment() {
        let seconds = |s| Ok(Some(Duration::from_secs(s)));
        assert_eq!(of("delete", "60000", "1000"), seconds(61));
        assert_eq!(of("compact,delete", "60000", "1000"), seconds(61));
        assert_eq!(of("compact, delete", "0", "0"), seconds(0));
    }

    #[test]
    fn a_negative_retention_and_compaction_are_infinite() {
        assert_eq!(of("delete", "-1", "1000"), Ok(None));
        assert_eq!(of("compact", "60000", "1000"), Ok(None));
    }

    #[test]
    fn an_unreadable_setting_is_an_error() {
        assert!(of("delete", "", "1000").is_err());
        assert!(of("delete", "60000", "soon").is_err());
        assert!(retention(|_| None).is_err());
    }
}
