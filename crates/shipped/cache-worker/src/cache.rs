//! Deletes the Redis keys that a purchase invalidates.

use std::time::Duration;

use redis::{
    Client, ConnectionInfo, IntoConnectionInfo, RedisError,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use tokio::time::timeout;
use uuid::Uuid;
use worker_runtime::settings::{self, SettingsError};

/// The URL; the password is used if the URL contains none.
const URL: &str = "REDIS_URL";
const PASSWORD: &str = "REDIS_PASSWORD";

/// A Redis connection that is opened on first use, and reopened after a loss.
#[derive(Clone)]
pub(crate) struct Cache {
    connection: ConnectionManager,
    timeout: Duration,
}

/// Why keys were not deleted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeleteError {
    #[error(transparent)]
    Redis(#[from] RedisError),
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

/// `REDIS_URL`, with `REDIS_PASSWORD` if the URL has no password; either may be in a file.
pub(crate) fn address() -> Result<ConnectionInfo, SettingsError> {
    let url = settings::required_secret(URL)?;
    parse(&url, settings::secret(PASSWORD)?)
}

fn parse(url: &str, password: Option<String>) -> Result<ConnectionInfo, SettingsError> {
    let info = url.into_connection_info().map_err(invalid)?;
    let redis = info.redis_settings().clone();
    match password {
        None => Ok(info),
        Some(_) if redis.password().is_some() => Err(SettingsError::Both {
            first: format!("a password in {}", settings::name_in_use(URL)),
            second: settings::name_in_use(PASSWORD),
        }),
        Some(password) => Ok(info.set_redis_settings(redis.set_password(password))),
    }
}

/// The parse error is not shown, because it can quote the URL, which can contain a password.
fn invalid(_: RedisError) -> SettingsError {
    SettingsError::Invalid {
        name: URL.to_owned(),
        expected: "a Redis URL (redis://:PASSWORD@HOST:6379/0)",
        reason: "it cannot be read".to_owned(),
    }
}

impl Cache {
    /// Call it within a Tokio runtime.
    pub(crate) fn new(address: ConnectionInfo, timeout: Duration) -> Result<Self, SettingsError> {
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(timeout))
            .set_response_timeout(Some(timeout));
        let client = Client::open(address).map_err(invalid)?;
        let connection =
            ConnectionManager::new_lazy_with_config(client, config).map_err(invalid)?;
        Ok(Self {
            connection,
            timeout,
        })
    }

    /// Whether deletions are accepted: deletes a key that does not exist.
    ///
    /// # Errors
    /// As [`Self::delete`].
    pub(crate) async fn probe(self) -> Result<(), DeleteError> {
        self.delete(vec![format!("caravan:no-such-key:{}", Uuid::new_v4())])
            .await
    }

    /// Deletes keys, present or not, in one command.
    ///
    /// # Errors
    /// Redis does not answer, or refuses the command.
    pub(crate) async fn delete(mut self, keys: Vec<String>) -> Result<(), DeleteError> {
        let mut command = redis::cmd("DEL");
        command.arg(keys);
        let twice = async {
            // After an outage, the first command fails on the lost connection; the second one uses
            // a new connection.
            match command.query_async::<()>(&mut self.connection).await {
                Ok(()) => Ok(()),
                Err(_) => command.query_async(&mut self.connection).await,
            }
        };
        timeout(self.timeout, twice)
            .await
            .map_err(|_| DeleteError::Timeout(self.timeout))??;
        Ok(())
    }
}

/// The cache keys of the student's pages.
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

    #[test]
    fn a_bad_url_is_not_shown() {
        let error = parse("redis//:secret@x", None).expect_err("not a URL");
        assert!(!error.to_string().contains("secret"));
    }

    #[test]
    fn the_password_comes_from_the_url_or_the_variable_but_not_from_both() {
        let password = || Some("s3cr3t".to_owned());
        let info = parse("redis://redis:6379/0", password()).expect("an address");
        assert_eq!(info.redis_settings().password(), Some("s3cr3t"));
        let url = "redis://:hunter2@redis:6379/0";
        let info = parse(url, None).expect("an address");
        assert_eq!(info.redis_settings().password(), Some("hunter2"));
        let text = parse(url, password()).expect_err("two").to_string();
        assert!(text.contains("REDIS_URL and REDIS_PASSWORD"), "{text}");
        assert!(
            !text.contains("hunter2") && !text.contains("s3cr3t"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn a_dead_redis_costs_at_most_the_timeout() {
        let limit = Duration::from_millis(200);
        let address = parse("redis://127.0.0.1:1/0", None).expect("a URL");
        let cache = Cache::new(address, limit).expect("lazy");
        let began = std::time::Instant::now();
        assert!(cache.delete(vec!["key".to_owned()]).await.is_err());
        assert!(began.elapsed() < limit * 3);
    }
}
