//! Postgres: read-only questions of the checks, and the probe's few writes.

use std::{collections::BTreeSet, str::FromStr, time::Duration};

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection, Row, postgres::PgConnectOptions};
use tokio::sync::Mutex;

use super::{
    TIMEOUT, Unready,
    redact::{place, redact},
};
use diagnostics::instrument_call;

pub mod batches;
pub mod lookup;
pub mod ownership;
pub mod shape;

/// What a single statement may take; a check that needs longer is no check.
const STATEMENT_TIMEOUT: &str = "5s";

/// When a statement's own timeout did not help: the server is paused, or the network gone.
const ANSWER: Duration = Duration::from_secs(6);

/// One connection to the database of a `postgres://` URL; questions wait for each other.
///
/// Not a pool: an sqlx pool takes a connection back in the background, so that one question after
/// another would open one connection after another.
///
/// Statements of the declaration (invariants, `find`) are trusted as the declaration is; values
/// are always bound.
pub struct Postgres {
    connection: Mutex<PgConnection>,
    url: String,
}

/// A row that breaks an invariant.
#[derive(Debug, Clone)]
pub struct Counterexample {
    pub id: String,
    pub since: DateTime<Utc>,
}

impl Postgres {
    /// Connects; the session can only read.
    ///
    /// # Errors
    /// Why not, without the password.
    pub async fn connect(url: &str) -> Result<Self, String> {
        let read_only = [("default_transaction_read_only", "on")];
        Self::with_options(url, &options(url)?.options(read_only)).await
    }

    /// As [`Self::connect`], but may write.
    ///
    /// # Errors
    /// Why not, without the password.
    pub async fn connect_writable(url: &str) -> Result<Self, String> {
        Self::with_options(url, &options(url)?).await
    }

    async fn with_options(url: &str, options: &PgConnectOptions) -> Result<Self, String> {
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
    /// The database's own; a bookkeeping table that does not exist is no error.
    pub async fn applied_migration(&self, table: &str) -> Result<Option<i64>, String> {
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
    /// The database's own.
    pub async fn missing_tables(&self, tables: &[String]) -> Result<BTreeSet<String>, String> {
        let quoted: Vec<String> = tables.iter().map(|t| quote(t)).collect();
        let sql = "SELECT name FROM unnest($1::text[], $2::text[]) AS t (name, quoted) \
                   WHERE to_regclass(quoted) IS NULL";
        let query = sqlx::query_scalar(sql).bind(tables).bind(quoted);
        let mut connection = self.connection.lock().await;
        let missing = bounded(&self.url, ANSWER, query.fetch_all(&mut *connection)).await?;
        Ok(missing.into_iter().collect())
    }

    /// Runs an invariant's query, with `since` for its `$1` where it has one. None where the
    /// database gave up after `patience`.
    ///
    /// # Errors
    /// The database's own, or columns that are not `(id text, since timestamptz)`.
    pub async fn counterexamples(
        &self,
        sql: &str,
        since: Option<DateTime<Utc>>,
        patience: Duration,
    ) -> Result<Option<Vec<Counterexample>>, String> {
        let bound = format!("SET statement_timeout = {}", patience.as_millis());
        let bound = sqlx::query(AssertSqlSafe(bound));
        let mut query = sqlx::query(AssertSqlSafe(sql.to_owned()));
        if let Some(since) = since {
            query = query.bind(since);
        }
        let mut connection = self.connection.lock().await;
        let answer = patience + Duration::from_secs(1);
        let rows = async {
            bound.execute(&mut *connection).await?;
            let rows = match query.fetch_all(&mut *connection).await {
                Err(e) if is_canceled(&e) => Ok(None),
                rows => rows.map(Some),
            };
            // Others ask on this connection, too.
            let unbound = sqlx::query("RESET statement_timeout");
            let unbound = unbound.execute(&mut *connection).await;
            rows.and_then(|rows| unbound.map(|_| rows))
        };
        let Some(rows) = bounded(&self.url, answer, rows).await? else {
            return Ok(None);
        };
        rows.iter()
            .map(|row| {
                Ok(Counterexample {
                    id: row.try_get(0)?,
                    since: row.try_get(1)?,
                })
            })
            .collect::<Result<_, sqlx::Error>>()
            .map(Some)
            .map_err(|e| describe(&e, &self.url))
    }

    /// Runs a query with one text parameter that answers one text, or nothing.
    ///
    /// # Errors
    /// The database's own.
    pub async fn text(&self, sql: &str, parameter: &str) -> Result<Option<String>, String> {
        let query = sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).bind(parameter);
        let mut connection = self.connection.lock().await;
        let text: Option<Option<String>> =
            bounded(&self.url, ANSWER, query.fetch_optional(&mut *connection)).await?;
        Ok(text.flatten())
    }
}

/// See [`super::ready`].
pub(super) async fn ready(url: &str, timeout: Duration) -> Result<(), Unready> {
    let options = options(url)?;
    let mut is_refusal = false;
    let ask = async {
        let connected = options.connect().await;
        is_refusal = connected.as_ref().is_err_and(is_unauthorized);
        sqlx::query("SELECT 1").execute(&mut connected?).await
    };
    let answer = bounded(url, timeout, ask).await;
    answer.map(drop).map_err(|why| Unready { why, is_refusal })
}

/// INVALID_PASSWORD, or INVALID_AUTHORIZATION_SPECIFICATION: no such user.
fn is_unauthorized(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|e| e.code());
    code.is_some_and(|code| code == "28P01" || code == "28000")
}

fn options(url: &str) -> Result<PgConnectOptions, String> {
    let options = PgConnectOptions::from_str(url).map_err(|e| describe(&e, url))?;
    Ok(options
        .application_name("caravan")
        // Compiling takes longer than any question that can be answered in time.
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
) -> Result<T, String> {
    match tokio::time::timeout(limit, answer).await {
        Ok(answer) => answer.map_err(|e| describe(&e, url)),
        Err(_) => Err(format!("postgres at {}: no answer in time", place(url))),
    }
}

fn describe(error: &sqlx::Error, url: &str) -> String {
    let what = match error {
        sqlx::Error::Database(e) => e.message().to_owned(),
        sqlx::Error::Io(e) => e.to_string(),
        other => other.to_string(),
    };
    redact(&format!("postgres at {}: {what}", place(url)), url)
}

#[cfg(test)]
mod tests {
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
        assert!(error.why.contains("127.0.0.1:1/db"), "{error:?}");
        assert!(!error.why.contains("s3cret"), "{error:?}");
        assert!(!error.is_refusal);
    }
}
