//! Redis: whether it answers, and single keys.

use std::time::Duration;

use redis::{
    AsyncCommands, AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, InfoDict, RedisError,
    aio::MultiplexedConnection,
};

use super::{
    Unready,
    redact::{place, redact},
};
use diagnostics::instrument_call;

/// What a Redis holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Bytes.
    pub used: u64,
    /// Bytes; None: as much as there is.
    pub limit: Option<u64>,
    /// At its limit it gives keys up, instead of refusing writes.
    pub evicts: bool,
    /// Keys that it has given up since it was started.
    pub evicted: u64,
}

/// One connection to the Redis of a `redis://` URL.
#[derive(Clone)]
pub struct Redis {
    connection: MultiplexedConnection,
    url: String,
}

/// Why there is no connection: this client cannot, or Redis said so.
enum Refused {
    Here(String),
    There(RedisError),
}

impl Redis {
    /// Connects and authenticates.
    ///
    /// # Errors
    /// Why not, without the password.
    pub async fn connect(url: &str, timeout: Duration) -> Result<Self, String> {
        let opened = Self::open(url, timeout).await;
        opened.map_err(|e| match e {
            Refused::Here(why) => why,
            Refused::There(e) => describe(&e, url),
        })
    }

    async fn open(url: &str, timeout: Duration) -> Result<Self, Refused> {
        let client = Client::open(url).map_err(Refused::There)?;
        if !matches!(
            client.get_connection_info().addr(),
            ConnectionAddr::Tcp(..) | ConnectionAddr::Unix(_)
        ) {
            let why = format!("{} needs TLS, which is not supported", place(url));
            return Err(Refused::Here(why));
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(timeout))
            .set_response_timeout(Some(timeout));
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        let connection = instrument_call("redis", "connect", connecting)
            .await
            .map_err(Refused::There)?;
        Ok(Self {
            connection,
            url: url.to_owned(),
        })
    }

    /// `PING`.
    ///
    /// # Errors
    /// Why there was no answer.
    pub async fn ping(&self) -> Result<(), String> {
        let mut connection = self.connection.clone();
        let answer: Result<String, RedisError> =
            instrument_call("redis", "PING", connection.ping()).await;
        answer.map(drop).map_err(|e| describe(&e, &self.url))
    }

    /// Its memory and what it evicted (`INFO`).
    ///
    /// # Errors
    /// Redis' own, or an answer without these figures.
    pub async fn memory(&self) -> Result<Memory, String> {
        let mut connection = self.connection.clone();
        let command = redis::cmd("INFO");
        let info = command.query_async(&mut connection);
        let info: Result<InfoDict, RedisError> = instrument_call("redis", "INFO", info).await;
        let info = info.map_err(|e| describe(&e, &self.url))?;
        let lacks = |name: &str| format!("redis at {}: INFO has no {name}", place(&self.url));
        let number = |name: &str| info.get::<u64>(name).ok_or_else(|| lacks(name));
        Ok(Memory {
            used: number("used_memory")?,
            limit: Some(number("maxmemory")?).filter(|limit| *limit > 0),
            evicts: info.get::<String>("maxmemory_policy").as_deref() != Some("noeviction"),
            evicted: number("evicted_keys")?,
        })
    }

    /// Sets `key` unless it exists, to expire by itself after `expiry`; says whether it was set.
    ///
    /// # Errors
    /// Redis' own.
    pub async fn set_new(&self, key: &str, value: &str, expiry: Duration) -> Result<bool, String> {
        let mut connection = self.connection.clone();
        let mut command = redis::cmd("SET");
        command.arg(key).arg(value).arg("NX");
        command.arg("EX").arg(expiry.as_secs().max(1));
        let setting = command.query_async(&mut connection);
        let answer: Result<Option<String>, RedisError> =
            instrument_call("redis", format!("SET {key} NX"), setting).await;
        let answer = answer.map_err(|e| describe(&e, &self.url))?;
        Ok(answer.is_some())
    }

    /// How many of `keys` exist.
    ///
    /// # Errors
    /// Redis' own.
    pub async fn existing(&self, keys: &[String]) -> Result<usize, String> {
        let mut connection = self.connection.clone();
        let answer: Result<usize, RedisError> =
            instrument_call("redis", "EXISTS", connection.exists(keys)).await;
        answer.map_err(|e| describe(&e, &self.url))
    }

    /// Deletes those of `keys` that have this `value`; says how many.
    ///
    /// # Errors
    /// Redis' own.
    pub async fn delete_having(&self, keys: &[String], value: &str) -> Result<usize, String> {
        // In a script, so that nobody writes the key between the look and the deletion.
        let script = "if redis.pcall('GET', KEYS[1]) == ARGV[1] \
                      then return redis.call('DEL', KEYS[1]) else return 0 end";
        let mut deleted = 0;
        for key in keys {
            let mut connection = self.connection.clone();
            let mut command = redis::cmd("EVAL");
            command.arg(script).arg(1).arg(key).arg(value);
            let deleting = command.query_async(&mut connection);
            let answer: Result<usize, RedisError> =
                instrument_call("redis", format!("EVAL DEL {key}"), deleting).await;
            deleted += answer.map_err(|e| describe(&e, &self.url))?;
        }
        Ok(deleted)
    }
}

/// See [`super::ready`].
pub(super) async fn ready(url: &str, timeout: Duration) -> Result<(), Unready> {
    let unready = |e: &RedisError| Unready {
        why: describe(e, url),
        is_refusal: is_unauthorized(e),
    };
    let redis = Redis::open(url, timeout).await;
    let redis = redis.map_err(|e| match e {
        Refused::Here(why) => why.into(),
        Refused::There(e) => unready(&e),
    })?;
    // Without a password it is the first question that is refused.
    let mut connection = redis.connection;
    let answer: Result<String, RedisError> =
        instrument_call("redis", "PING", connection.ping()).await;
    answer.map(drop).map_err(|e| unready(&e))
}

/// A password that is wrong, one that is needed and missing, or no such user.
fn is_unauthorized(error: &RedisError) -> bool {
    error.kind() == ErrorKind::AuthenticationFailed
        || matches!(error.code(), Some("WRONGPASS" | "NOAUTH"))
}

fn describe(error: &RedisError, url: &str) -> String {
    if error.is_timeout() {
        return format!("redis at {}: no answer in time", place(url));
    }
    redact(&format!("redis at {}: {error}", place(url)), url)
}
