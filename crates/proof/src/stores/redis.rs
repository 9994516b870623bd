//! Redis: whether it answers, and single keys.

use std::time::Duration;

use redis::{
    AsyncCommands, AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, InfoDict, RedisError,
    aio::MultiplexedConnection,
};

use super::{StoreError, StoreResult, error::io_error, redact::place};
use diagnostics::{Cause, instrument_call};

/// How long a second connection may take to answer `PING`.
const PING: Duration = Duration::from_millis(500);

/// Memory use of a Redis server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Bytes.
    pub used: u64,
    /// `maxmemory` in bytes; None: no limit.
    pub limit: Option<u64>,
    /// Whether it evicts keys at the limit instead of refusing writes.
    pub evicts: bool,
    /// Keys evicted since the server started.
    pub evicted: u64,
}

/// One connection to the Redis of a `redis://` URL.
#[derive(Clone)]
pub struct Redis {
    connection: MultiplexedConnection,
    url: String,
}

impl Redis {
    /// Connects and authenticates.
    ///
    /// # Errors
    /// The connection failed; the text does not contain the password.
    pub async fn connect(url: &str, timeout: Duration) -> StoreResult<Self> {
        let client = Client::open(url).map_err(|e| failed(e, url))?;
        if !matches!(
            client.get_connection_info().addr(),
            ConnectionAddr::Tcp(..) | ConnectionAddr::Unix(_)
        ) {
            let what = format!("{} needs TLS, which is not supported", place(url));
            return Err(StoreError::new(Cause::Client, what));
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(timeout))
            .set_response_timeout(Some(timeout));
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        let connection = instrument_call("redis", "connect", connecting)
            .await
            .map_err(|e| failed(e, url))?;
        Ok(Self {
            connection,
            url: url.to_owned(),
        })
    }

    /// `PING`.
    ///
    /// # Errors
    /// There was no answer.
    pub async fn ping(&self) -> StoreResult<()> {
        let mut connection = self.connection.clone();
        let answer: Result<String, RedisError> =
            instrument_call("redis", "PING", connection.ping()).await;
        answer.map(drop).map_err(|e| failed(e, &self.url))
    }

    /// Why a command that writes is refused; None: it is accepted. The command deletes a key that does
    /// not exist, so nothing is changed or replicated.
    ///
    /// # Errors
    /// There was no answer, or it says nothing about other writes: this login may not, or this is not the
    /// key's node of a cluster.
    pub async fn refuses_writes(&self) -> StoreResult<Option<String>> {
        let mut connection = self.connection.clone();
        let key = format!("caravan:no-such-key:{}", uuid::Uuid::new_v4());
        let deletion: Result<u64, RedisError> =
            instrument_call("redis", "DEL (no such key)", connection.del(key)).await;
        match deletion {
            Ok(_) => Ok(None),
            Err(e) if refuses_any_write(&e) => Ok(Some(e.to_string())),
            // `CLIENT PAUSE … WRITE`, for instance before a failover: reads are answered meanwhile.
            Err(e) if e.is_timeout() && ready(&self.url, PING).await.is_ok() => Ok(Some(
                "no answer in time, though PING is answered".to_owned(),
            )),
            Err(e) => Err(failed(e, &self.url)),
        }
    }

    /// Its memory and what it evicted (`INFO`).
    ///
    /// # Errors
    /// Redis' own, or an answer without these figures.
    pub async fn memory(&self) -> StoreResult<Memory> {
        let mut connection = self.connection.clone();
        let command = redis::cmd("INFO");
        let info = command.query_async(&mut connection);
        let info: Result<InfoDict, RedisError> = instrument_call("redis", "INFO", info).await;
        let info = info.map_err(|e| failed(e, &self.url))?;
        let lacks = |name: &str| {
            let lacks = StoreError::new(Cause::Protocol, format!("INFO has no {name}"));
            lacks.at("redis", &self.url)
        };
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
    /// The command failed.
    pub async fn set_new(&self, key: &str, value: &str, expiry: Duration) -> StoreResult<bool> {
        let mut connection = self.connection.clone();
        let mut command = redis::cmd("SET");
        command.arg(key).arg(value).arg("NX");
        command.arg("EX").arg(expiry.as_secs().max(1));
        let setting = command.query_async(&mut connection);
        let answer: Result<Option<String>, RedisError> =
            instrument_call("redis", format!("SET {key} NX"), setting).await;
        let answer = answer.map_err(|e| failed(e, &self.url))?;
        Ok(answer.is_some())
    }

    /// How many of `keys` exist.
    ///
    /// # Errors
    /// The command failed.
    pub async fn existing(&self, keys: &[String]) -> StoreResult<usize> {
        let mut connection = self.connection.clone();
        let answer: Result<usize, RedisError> =
            instrument_call("redis", "EXISTS", connection.exists(keys)).await;
        answer.map_err(|e| failed(e, &self.url))
    }

    /// Deletes those of `keys` that have this `value`; says how many.
    ///
    /// # Errors
    /// The command failed.
    pub async fn delete_having(&self, keys: &[String], value: &str) -> StoreResult<usize> {
        // A script, so that no other client writes the key between the read and the deletion.
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
            deleted += answer.map_err(|e| failed(e, &self.url))?;
        }
        Ok(deleted)
    }
}

/// See [`super::ready`].
pub(super) async fn ready(url: &str, timeout: Duration) -> StoreResult<()> {
    Redis::connect(url, timeout).await?.ping().await
}

/// A replica, a primary without enough replicas, or one that cannot save what it has.
fn refuses_any_write(error: &RedisError) -> bool {
    matches!(
        error.code(),
        Some("READONLY" | "NOREPLICAS" | "MISCONF" | "OOM" | "MASTERDOWN")
    )
}

fn failed(error: RedisError, url: &str) -> StoreError {
    let failed = match error.is_timeout() {
        true => StoreError::no_answer(),
        false => StoreError::new(cause(&error), error.to_string()),
    };
    let failed = failed.code_of(error.code().map(str::to_owned));
    failed.source_of(error).at("redis", url)
}

fn cause(error: &RedisError) -> Cause {
    match (error.code(), error.kind()) {
        (Some("NOAUTH" | "WRONGPASS"), _) | (_, ErrorKind::AuthenticationFailed) => {
            Cause::Authentication
        }
        (Some("NOPERM"), _) => Cause::Authorization,
        (_, ErrorKind::Server(_) | ErrorKind::Extension) => Cause::Rejected,
        (_, ErrorKind::Io) => io_error(error).map_or(Cause::Connection, Cause::of_io),
        (_, ErrorKind::InvalidClientConfig | ErrorKind::Client) => Cause::Client,
        (_, _) => Cause::Protocol,
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    const SOON: Duration = Duration::from_millis(300);

    /// The place of a server that answers each command with `reply`; without one, never.
    async fn server(reply: Option<&'static [u8]>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut buffer = [0; 1024];
            while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                // Commands are arrays; several may come at once.
                let commands = buffer[..read].iter().filter(|byte| **byte == b'*');
                let replies = reply.unwrap_or_default().repeat(commands.count());
                stream.write_all(&replies).await.expect("it listens");
            }
        });
        format!("{address}/0")
    }

    async fn error_of(place: &str) -> StoreError {
        let url = format!("redis://:s3cret@{place}");
        let error = ready(&url, SOON).await.expect_err("no answer");
        assert!(
            !format!("{error} {error:?}").contains("s3cret"),
            "{error:?}"
        );
        error
    }

    #[tokio::test]
    async fn a_closed_port_refuses_the_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        drop(listener);
        let error = error_of(&address.to_string()).await;
        assert_eq!(error.cause(), Cause::Connection, "{error:?}");
        let source = std::error::Error::source(&error).expect("the library's");
        assert!(source.downcast_ref::<RedisError>().is_some());
    }

    #[tokio::test]
    async fn an_unresolved_name_differs_from_a_refused_connection() {
        let ready = ready("redis://:s3cret@no-such-host.invalid:6379/0", SOON * 20).await;
        let error = ready.expect_err("RFC 2606 reserves it");
        assert_eq!(error.cause(), Cause::NameResolution, "{error:?}");
    }

    #[tokio::test]
    async fn a_listener_that_never_answers_is_a_timeout() {
        let error = error_of(&server(None).await).await;
        assert_eq!(error.cause(), Cause::Timeout, "{error:?}");
        assert!(error.to_string().ends_with(": no answer in time"));
    }

    #[tokio::test]
    async fn a_wrong_password_differs_from_a_refused_command() {
        let wrong: &[u8] = b"-WRONGPASS invalid username-password pair or user is disabled.\r\n";
        let error = error_of(&server(Some(wrong)).await).await;
        assert_eq!(error.cause(), Cause::Authentication, "{error:?}");
        for (reply, cause) in [
            (
                &b"-NOAUTH Authentication required.\r\n"[..],
                Cause::Authentication,
            ),
            (
                b"-NOPERM no permission to run 'ping'\r\n",
                Cause::Authorization,
            ),
            (b"-OOM command not allowed\r\n", Cause::Rejected),
            (b"-LOADING the dataset\r\n", Cause::Rejected),
        ] {
            let url = format!("redis://{}", server(Some(reply)).await);
            let error = ready(&url, SOON).await.expect_err("refused");
            assert_eq!(error.cause(), cause, "{error:?}");
        }
    }

    #[tokio::test]
    async fn what_does_not_speak_redis_is_the_protocols_fault() {
        let error = error_of(&server(Some(b"HTTP/1.1 400 Bad Request\r\n\r\n")).await).await;
        assert_eq!(error.cause(), Cause::Protocol, "{error:?}");
    }

    #[tokio::test]
    async fn tls_is_refused_before_anything_is_sent() {
        let ready = ready("rediss://:s3cret@127.0.0.1:1/0", SOON).await;
        let error = ready.expect_err("no TLS");
        assert_eq!(error.cause(), Cause::Client, "{error:?}");
    }
}
