//! Postgres: read-only queries of the checks, and the probe's few writes.

use std::{collections::BTreeSet, str::FromStr, time::Duration};

use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection, postgres::PgConnectOptions};
use tokio::sync::Mutex;

use super::{StoreError, StoreResult, TIMEOUT};
use diagnostics::{Cause, instrument_call};
pub use rules::{Counterexample, Plans, RuleQuery, Session, Snapshot, Window};

pub mod batches;
mod ids;
pub mod lookup;
pub mod ownership;
mod rules;
pub mod session;
pub mod table_schema;

/// Time limit of a statement.
const STATEMENT_TIMEOUT: &str = "5s";

/// Time limit on the client side, for a paused server or a lost network, where `statement_timeout`
/// has no effect.
const ANSWER: Duration = Duration::from_secs(6);

/// One connection to the database of a `postgres://` URL; statements run one at a time.
///
/// This is not a pool. An sqlx pool takes a connection back in the background, so consecutive
/// statements would each open a connection.
///
/// Statements of the declaration (invariants, `find`) are trusted as the declaration is; values
/// are always bound.
pub struct Postgres {
    connection: Mutex<PgConnection>,
    url: String,
}

impl Postgres {
    /// Connects; the session can only read.
    ///
    /// # Errors
    /// The connection failed; the text does not contain the password.
    pub async fn connect(url: &str) -> StoreResult<Self> {
        let read_only = [
            ("default_transaction_read_only", "on"),
            // The cores are the pipeline's.
            ("max_parallel_workers_per_gather", "0"),
        ];
        Self::with_options(url, &options(url)?.options(read_only)).await
    }

    /// As [`Self::connect`], but may write.
    ///
    /// # Errors
    /// The connection failed; the text does not contain the password.
    pub async fn connect_writable(url: &str) -> StoreResult<Self> {
        Self::with_options(url, &options(url)?).await
    }

    async fn with_options(url: &str, options: &PgConnectOptions) -> StoreResult<Self> {
        let connecting = instrument_call("postgres", "connect", Box::pin(options.connect()));
        let connecting = bounded(url, TIMEOUT, connecting);
        Ok(Self {
            connection: Mutex::new(connecting.await?),
            url: url.to_owned(),
        })
    }

    /// The latest migration of sqlx' bookkeeping that was applied with success, if any.
    ///
    /// # Errors
    /// The query failed. A missing bookkeeping table is not an error.
    pub async fn applied_migration(&self, table: &str) -> StoreResult<Option<i64>> {
        if !self.missing_tables(&[table.to_owned()]).await?.is_empty() {
            return Ok(None);
        }
        let sql = format!("SELECT max(version) FROM {} WHERE success", quote(table));
        let query = sqlx::query_scalar(AssertSqlSafe(sql));
        let mut connection = self.connection.lock().await;
        bounded(&self.url, ANSWER, query.fetch_one(&mut *connection)).await
    }

    /// Those of `tables` that are neither a table nor a view on the search path.
    ///
    /// # Errors
    /// The query failed.
    pub async fn missing_tables(&self, tables: &[String]) -> StoreResult<BTreeSet<String>> {
        let quoted: Vec<String> = tables.iter().map(|t| quote(t)).collect();
        let sql = "SELECT name FROM unnest($1::text[], $2::text[]) AS t (name, quoted) \
                   WHERE to_regclass(quoted) IS NULL";
        let query = sqlx::query_scalar(sql).bind(tables).bind(quoted);
        let mut connection = self.connection.lock().await;
        let missing = bounded(&self.url, ANSWER, query.fetch_all(&mut *connection)).await?;
        Ok(missing.into_iter().collect())
    }

    /// Runs a query with one text parameter that answers one text, or nothing.
    ///
    /// # Errors
    /// The query failed.
    pub async fn text(&self, sql: &str, parameter: &str) -> StoreResult<Option<String>> {
        let query = sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).bind(parameter);
        let mut connection = self.connection.lock().await;
        let text: Option<Option<String>> =
            bounded(&self.url, ANSWER, query.fetch_optional(&mut *connection)).await?;
        Ok(text.flatten())
    }
}

/// See [`super::ready`].
pub(super) async fn ready(url: &str, timeout: Duration) -> StoreResult<()> {
    let options = options(url)?;
    let ask = async {
        sqlx::query("SELECT 1")
            .execute(&mut options.connect().await?)
            .await
    };
    bounded(url, timeout, ask).await.map(drop)
}

fn options(url: &str) -> StoreResult<PgConnectOptions> {
    let options = PgConnectOptions::from_str(url).map_err(|e| failed(e, url))?;
    Ok(options
        .application_name("caravan")
        // JIT compilation takes longer than these queries.
        .options([("statement_timeout", STATEMENT_TIMEOUT), ("jit", "off")]))
}

/// QUERY_CANCELED: the statement's timeout.
fn is_canceled(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|e| e.code());
    code.is_some_and(|code| code == "57014")
}

/// A possibly schema-qualified name as SQL identifiers.
fn quote(name: &str) -> String {
    let part = |part: &str| format!("\"{}\"", part.replace('"', "\"\""));
    name.split('.').map(part).collect::<Vec<_>>().join(".")
}

/// An answer within `limit`; errors say where, and never the password.
async fn bounded<T>(
    url: &str,
    limit: Duration,
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> StoreResult<T> {
    match tokio::time::timeout(limit, answer).await {
        Ok(answer) => answer.map_err(|e| failed(e, url)),
        Err(_) => Err(StoreError::no_answer().at("postgres", url)),
    }
}

fn failed(error: sqlx::Error, url: &str) -> StoreError {
    let what = match &error {
        sqlx::Error::Database(e) => e.message().to_owned(),
        sqlx::Error::Io(e) => e.to_string(),
        other => other.to_string(),
    };
    let code = error.as_database_error().and_then(|e| e.code());
    let code = code.map(std::borrow::Cow::into_owned);
    let failed = StoreError::new(cause(&error, code.as_deref()), what).code_of(code);
    failed.source_of(error).at("postgres", url)
}

fn cause(error: &sqlx::Error, sql_state: Option<&str>) -> Cause {
    match (error, sql_state) {
        (_, Some(code)) => of_sql_state(code),
        (sqlx::Error::Database(_), None) => Cause::Rejected,
        (sqlx::Error::Io(e), _) => Cause::of_io(e),
        (
            sqlx::Error::Configuration(_)
            | sqlx::Error::InvalidArgument(_)
            | sqlx::Error::Encode(_)
            | sqlx::Error::WorkerCrashed,
            _,
        ) => Cause::Client,
        (sqlx::Error::PoolTimedOut, _) => Cause::Timeout,
        (_, _) => Cause::Protocol,
    }
}

/// See "PostgreSQL Error Codes" in its documentation.
fn of_sql_state(code: &str) -> Cause {
    match code {
        // query_canceled, as by statement_timeout; lock_not_available, as by lock_timeout.
        "57014" | "55P03" => Cause::Timeout,
        "42501" => Cause::Authorization,
        // admin_shutdown, crash_shutdown.
        "57P01" | "57P02" => Cause::Connection,
        _ if code.starts_with("28") => Cause::Authentication,
        _ if code.starts_with("08P") => Cause::Protocol,
        _ if code.starts_with("08") => Cause::Connection,
        _ => Cause::Rejected,
    }
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncWriteExt, net::TcpListener};

    use super::*;

    #[test]
    fn names_are_quoted_part_by_part() {
        assert_eq!(quote("payments"), "\"payments\"");
        assert_eq!(quote("app.we\"ird"), "\"app\".\"we\"\"ird\"");
    }

    #[tokio::test]
    async fn an_error_says_where_and_never_the_password() {
        let url = "postgres://u:s3cret@127.0.0.1:1/db";
        let error = ready(url, Duration::from_secs(2))
            .await
            .expect_err("nothing listens");
        let text = error.to_string();
        assert!(text.contains("127.0.0.1:1/db"), "{text}");
        let all = format!("{error} {error:?} {:?}", std::error::Error::source(&error));
        assert!(!all.contains("s3cret"), "{all}");
    }

    const SOON: Duration = Duration::from_millis(300);

    async fn error_of(host: &str, timeout: Duration) -> StoreError {
        let url = format!("postgres://u:s3cret@{host}/db");
        let ready = ready(&url, timeout).await;
        ready.expect_err("no answer")
    }

    #[tokio::test]
    async fn a_closed_port_refuses_the_connection() {
        let error = error_of("127.0.0.1:1", SOON).await;
        assert_eq!(error.cause(), Cause::Connection, "{error:?}");
        let source = std::error::Error::source(&error).expect("sqlx'");
        assert!(source.downcast_ref::<sqlx::Error>().is_some());
    }

    #[tokio::test]
    async fn an_unresolved_name_differs_from_a_refused_connection() {
        let error = error_of("no-such-host.invalid:5432", SOON * 20).await;
        assert_eq!(error.cause(), Cause::NameResolution, "{error:?}");
    }

    #[tokio::test]
    async fn a_listener_that_never_answers_is_a_timeout() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let error = error_of(&address.to_string(), SOON).await;
        assert_eq!(error.cause(), Cause::Timeout, "{error:?}");
        assert!(error.to_string().ends_with(": no answer in time"));
    }

    /// The error of a server that answers the first message with one of `kind`.
    async fn error_of_answer(kind: u8, fields: &[u8]) -> StoreError {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let length = u32::try_from(fields.len() + 4).expect("short");
        let answer = [&[kind][..], &length.to_be_bytes(), fields].concat();
        let serve = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            stream.write_all(&answer).await.expect("it listens");
            stream
        });
        let url = format!("postgres://u:s3cret@{address}/db?sslmode=disable");
        let error = ready(&url, SOON).await.expect_err("no connection");
        serve.await.expect("served");
        error
    }

    #[tokio::test]
    async fn an_answer_that_is_no_authentication_is_the_protocols_fault() {
        let error = error_of_answer(b'R', &99_u32.to_be_bytes()).await;
        assert_eq!(error.cause(), Cause::Protocol, "{error:?}");
    }

    #[tokio::test]
    async fn a_wrong_password_keeps_its_sqlstate() {
        let fields = b"SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed\0\0";
        let error = error_of_answer(b'E', fields).await;
        assert_eq!(error.cause(), Cause::Authentication, "{error:?}");
        assert_eq!(error.code(), Some("28P01"));
        assert!((error.to_string()).ends_with(": password authentication failed"));
    }

    #[test]
    fn an_invalid_address_is_rejected_before_connecting() {
        let error = options("postgres://u:s3cret@h:port/db").expect_err("no port");
        assert_eq!(error.cause(), Cause::Client, "{error:?}");
    }

    #[test]
    fn each_class_of_sqlstate_has_its_cause() {
        let causes = [
            ("28P01", Cause::Authentication),
            ("28000", Cause::Authentication),
            ("57014", Cause::Timeout),
            ("42501", Cause::Authorization),
            ("57P01", Cause::Connection),
            ("08006", Cause::Connection),
            ("08P01", Cause::Protocol),
            ("57P03", Cause::Rejected),
            ("42P01", Cause::Rejected),
        ];
        for (code, cause) in causes {
            assert_eq!(of_sql_state(code), cause, "{code}");
        }
    }
}
