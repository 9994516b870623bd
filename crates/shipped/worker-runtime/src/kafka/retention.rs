//! How long topics retain a message.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, ResourceSpecifier};

use super::{ClientLog, client};

const TIMEOUT: Duration = Duration::from_secs(10);

/// For each topic the longest time for which it can retain a message; None means forever. A segment
/// accepts messages for `segment.ms`, and is deleted `retention.ms` after its newest message.
///
/// # Errors
/// The brokers do not answer, or a topic does not exist.
pub(crate) async fn retentions(
    brokers: &str,
    topics: &[&str],
) -> Result<Vec<Option<Duration>>, String> {
    let admin: AdminClient<ClientLog> = client(brokers)
        .create_with_context(ClientLog)
        .map_err(|error| error.to_string())?;
    let wanted: Vec<_> = topics.iter().map(|t| ResourceSpecifier::Topic(t)).collect();
    let options = AdminOptions::new().request_timeout(Some(TIMEOUT));
    let described = admin.describe_configs(&wanted, &options).await;
    // Dropping the client waits for its polling thread.
    tokio::task::spawn_blocking(move || drop(admin));
    described
        .map_err(|error| format!("the topics' settings: {error}"))?
        .into_iter()
        .zip(topics)
        .map(|(config, topic)| {
            let config = config.map_err(|error| format!("{topic}: {error}"))?;
            retention(|name| value(&config, name)).map_err(|why| format!("{topic}: {why}"))
        })
        .collect()
}

fn value<'c>(config: &'c ConfigResource, name: &str) -> Option<&'c str> {
    config.get(name)?.value.as_deref()
}

/// The retention, from a topic's settings by name.
fn retention<'c>(value: impl Fn(&str) -> Option<&'c str>) -> Result<Option<Duration>, String> {
    let policy = value("cleanup.policy").ok_or("no cleanup.policy")?;
    let deletes = policy.split(',').any(|word| word.trim() == "delete");
    let millis = |name: &str| {
        let value: Option<i64> = value(name).and_then(|text| text.parse().ok());
        value.ok_or_else(|| format!("{name} is no number"))
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

    fn of(policy: &str, retention_ms: &str, segment_ms: &str) -> Result<Option<Duration>, String> {
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
