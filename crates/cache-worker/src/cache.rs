//! The Redis keys that a purchase makes stale.

use std::time::Duration;

use redis::{
    Client,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use tokio::time::timeout;
use uuid::Uuid;
use worker_runtime::settings::SettingsError;

/// A connection that is opened on first use, and again after it was lost.
#[derive(Clone)]
pub(crate) struct Cache {
    connection: ConnectionManager,
    timeout: Duration,
}

impl Cache {
    /// To be called within a Tokio runtime.
    pub(crate) fn new(url: &str, timeout: Duration) -> Result<Self, SettingsError> {
        // The URL holds a password: not even its error is shown.
        let invalid = |_| SettingsError::Invalid {
            name: "REDIS_URL".to_owned(),
            expected: "a Redis URL (redis://:PASSWORD@HOST:6379/0)",
            reason: "it cannot be read".to_owned(),
        };
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(timeout))
            .set_response_timeout(Some(timeout));
        let client = Client::open(url).map_err(invalid)?;
        let connection =
            ConnectionManager::new_lazy_with_config(client, config).map_err(invalid)?;
        Ok(Self {
            connection,
            timeout,
        })
    }

    /// Deletes keys, present or not, in one command.
    ///
    /// # Errors
    /// Why Redis did not, within the timeout.
    pub(crate) async fn delete(mut self, keys: Vec<String>) -> Result<(), String> {
        let mut command = redis::cmd("DEL");
        command.arg(keys);
        let twice = async {
            // The first answer after Redis was away is the lost connection's; the second command
            // goes over a new one.
            match command.query_async::<()>(&mut self.connection).await {
                Ok(()) => Ok(()),
                Err(_) => command.query_async(&mut self.connection).await,
            }
        };
        match timeout(self.timeout, twice).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {:?}", self.timeout)),
        }
    }
}

/// What the student's pages are cached under.
pub(crate) fn keys(student_id: Uuid) -> [String; 2] {
    [
        format!("student:{student_id}:purchases"),
        format!("student:{student_id}:dashboard"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_are_those_of_the_web_application() {
        let student = Uuid::nil();
        assert_eq!(
            keys(student),
            [
                "student:00000000-0000-0000-0000-000000000000:purchases",
                "student:00000000-0000-0000-0000-000000000000:dashboard"
            ]
        );
    }

    #[tokio::test]
    async fn a_bad_url_is_not_shown() {
        let error = Cache::new("redis//:secret@x", Duration::from_secs(1))
            .err()
            .expect("not a URL");
        assert!(!error.to_string().contains("secret"));
    }

    #[tokio::test]
    async fn a_dead_redis_costs_at_most_the_timeout() {
        let limit = Duration::from_millis(200);
        let cache = Cache::new("redis://127.0.0.1:1/0", limit).expect("a URL");
        let began = std::time::Instant::now();
        assert!(cache.delete(vec!["key".to_owned()]).await.is_err());
        assert!(began.elapsed() < limit * 3);
    }
}
