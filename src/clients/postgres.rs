//! Postgres: read-only questions of the checks, and the probe's few writes.

use std::{str::FromStr, time::Duration};

use chrono::{DateTime, Utc};
use sqlx::{
    AssertSqlSafe, Connection, PgConnection, PgPool, Row,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::net::TcpStream;

use super::{
    TIMEOUT,
    redact::{place, redact},
};

/// What a single statement may take; a check that needs longer is no check.
const STATEMENT_TIMEOUT: &str = "5s";

/// Connections at most: enough for the slow invariants of a large table to run side by side.
const CONNECTIONS: u32 = 4;

/// A small pool on the database of a `postgres://` URL.
///
/// Statements of the declaration (invariants, `find`) are trusted as the declaration is; values
/// are always bound.
#[derive(Clone)]
pub(crate) struct Postgres {
    pool: PgPool,
    url: String,
}

/// A row that breaks an invariant.
#[derive(Debug, Clone)]
pub(crate) struct Counterexample {
    pub(crate) id: String,
    pub(crate) since: DateTime<Utc>,
}

impl Postgres {
    /// Connects; the sessions can only read.
    ///
    /// # Errors
    /// Why not, without the password.
    pub(crate) async fn connect(url: &str) -> Result<Self, String> {
        let read_only = [("default_transaction_read_only", "on")];
        Self::with_options(url, options(url)?.options(read_only)).await
    }

    /// As [`Self::connect`], but may write.
    ///
    /// # Errors
    /// Why not, without the password.
    pub(crate) async fn connect_writable(url: &str) -> Result<Self, String> {
        Self::with_options(url, options(url)?).await
    }

    async fn with_options(url: &str, options: PgConnectOptions) -> Result<Self, String> {
        listening(&options, url).await?;
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(TIMEOUT)
            .test_before_acquire(false)
            .connect_with(options.options([("statement_timeout", STATEMENT_TIMEOUT)]))
            .await
            .map_err(|e| describe(&e, url))?;
        Ok(Self {
            pool,
            url: url.to_owned(),
        })
    }

    /// The latest migration of sqlx' bookkeeping that was applied with success, if any.
    ///
    /// # Errors
    /// The database's own; a bookkeeping table that does not exist is no error.
    pub(crate) async fn applied_migration(&self, table: &str) -> Result<Option<i64>, String> {
        if !self.table_exists(table).await? {
            return Ok(None);
        }
        let sql = format!("SELECT max(version) FROM {} WHERE success", quote(table));
        sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_one(&self.pool)
            .await
            .map_err(|e| self.describe(&e))
    }

    /// Whether a table (or view) of that name is on the search path.
    ///
    /// # Errors
    /// The database's own.
    pub(crate) async fn table_exists(&self, table: &str) -> Result<bool, String> {
        sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
            .bind(quote(table))
            .fetch_one(&self.pool)
            .await
            .map_err(|e| self.describe(&e))
    }

    /// Runs an invariant's query.
    ///
    /// # Errors
    /// The database's own, or columns that are not `(id text, since timestamptz)`.
    pub(crate) async fn counterexamples(&self, sql: &str) -> Result<Vec<Counterexample>, String> {
        let rows = sqlx::query(AssertSqlSafe(sql.to_owned()))
            .fetch_all(&self.pool)
            .await
            .map_err(|e| self.describe(&e))?;
        rows.iter()
            .map(|row| {
                Ok(Counterexample {
                    id: row.try_get(0)?,
                    since: row.try_get(1)?,
                })
            })
            .collect::<Result<_, sqlx::Error>>()
            .map_err(|e| self.describe(&e))
    }

    /// Runs a query with one text parameter that answers one text, or nothing.
    ///
    /// # Errors
    /// The database's own.
    pub(crate) async fn text(&self, sql: &str, parameter: &str) -> Result<Option<String>, String> {
        sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
            .bind(parameter)
            .fetch_optional(&self.pool)
            .await
            .map_err(|e| self.describe(&e))
    }

    /// How many rows of `table` match `find` (`$1` is `parameter`, text).
    ///
    /// # Errors
    /// The database's own.
    pub(crate) async fn count(
        &self,
        table: &str,
        find: &str,
        parameter: &str,
    ) -> Result<i64, String> {
        let sql = format!("SELECT count(*) FROM {} WHERE {find}", quote(table));
        sqlx::query_scalar(AssertSqlSafe(sql))
            .bind(parameter)
            .fetch_one(&self.pool)
            .await
            .map_err(|e| self.describe(&e))
    }

    /// Deletes the synthetic rows that match, in one transaction and in the given order of
    /// (table, find); says how many of each.
    ///
    /// # Errors
    /// The database's own; then nothing is deleted.
    pub(crate) async fn delete_synthetic(
        &self,
        tables: &[(String, String)],
        parameter: &str,
    ) -> Result<Vec<(String, u64)>, String> {
        let work = async {
            let mut transaction = self.pool.begin().await?;
            let mut deleted = Vec::new();
            for (table, find) in tables {
                let sql = format!("DELETE FROM {} WHERE synthetic AND ({find})", quote(table));
                let done = sqlx::query(AssertSqlSafe(sql))
                    .bind(parameter)
                    .execute(&mut *transaction)
                    .await?;
                deleted.push((table.clone(), done.rows_affected()));
            }
            transaction.commit().await?;
            Ok(deleted)
        };
        work.await.map_err(|e: sqlx::Error| self.describe(&e))
    }

    fn describe(&self, error: &sqlx::Error) -> String {
        describe(error, &self.url)
    }
}

/// See [`super::ready`].
pub(super) async fn ready(url: &str, timeout: Duration) -> Result<(), String> {
    let ask = async {
        let mut connection = PgConnection::connect_with(&options(url)?)
            .await
            .map_err(|e| describe(&e, url))?;
        sqlx::query("SELECT 1")
            .execute(&mut connection)
            .await
            .map(drop)
            .map_err(|e| describe(&e, url))
    };
    match tokio::time::timeout(timeout, ask).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("postgres at {}: no answer in time", place(url))),
    }
}

/// Asked before a pool is, which takes a refused connection for a reason to wait.
async fn listening(options: &PgConnectOptions, url: &str) -> Result<(), String> {
    if options.get_socket().is_some() {
        return Ok(());
    }
    let address = (options.get_host(), options.get_port());
    match tokio::time::timeout(TIMEOUT, TcpStream::connect(address)).await {
        Ok(connected) => connected.map(drop).map_err(|e| describe(&e.into(), url)),
        Err(_) => Err(format!("postgres at {}: no answer in time", place(url))),
    }
}

fn options(url: &str) -> Result<PgConnectOptions, String> {
    PgConnectOptions::from_str(url)
        .map(|options| options.application_name("caravan"))
        .map_err(|e| describe(&e, url))
}

/// A possibly schema-qualified name as SQL identifiers.
fn quote(name: &str) -> String {
    let part = |part: &str| format!("\"{}\"", part.replace('"', "\"\""));
    name.split('.').map(part).collect::<Vec<_>>().join(".")
}

fn describe(error: &sqlx::Error, url: &str) -> String {
    let what = match error {
        sqlx::Error::PoolTimedOut => "no answer in time".to_owned(),
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
        assert!(error.contains("127.0.0.1:1/db"), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
}
