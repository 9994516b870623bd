//! Queries of the rules over the database: in one snapshot each, within a time limit.

use std::{ops::DerefMut, time::Duration};

use chrono::{DateTime, Utc};
use declaration::{RULE_SINCE, RULE_UNTIL};
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, PgConnection, Row};
use tokio::sync::MutexGuard;

use super::{ANSWER, Postgres, bounded, failed, is_canceled};
use crate::stores::StoreResult;

/// A row that breaks an invariant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counterexample {
    /// The row's id, as the invariant's query returns it.
    pub id: String,
    /// When the row was written, as the invariant's query returns it.
    pub since: DateTime<Utc>,
}

/// The rows that a query reads: those written from `from` on and before `until`. Without `until`: all
/// rows since `from`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// The query's `$1`.
    pub from: DateTime<Utc>,
    /// The query's `$2`.
    pub until: Option<DateTime<Utc>>,
}

/// A time after that of every row, for a window without an end.
const NEVER: i64 = 253_370_764_800;

/// A read-only transaction in which all queries see the same rows. It ends when a query is cancelled.
pub struct Snapshot<'a> {
    connection: MutexGuard<'a, PgConnection>,
    url: &'a str,
    /// The server's time.
    pub at: DateTime<Utc>,
}

/// How the queries of a snapshot are planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plans {
    /// As Postgres finds best.
    Any,
    /// Without sequential scans of tables that have an index for it: the time that a window takes then
    /// depends on its own rows. A join that scans the whole other table would use up the budget.
    ByIndex,
}

impl Postgres {
    /// Begins a snapshot.
    ///
    /// # Errors
    /// Postgres refuses it, or does not answer.
    pub async fn snapshot(&self, plans: Plans) -> StoreResult<Snapshot<'_>> {
        let mut connection = self.connection.lock().await;
        let begin = match plans {
            Plans::Any => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT now()",
            Plans::ByIndex => {
                "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
                 SET LOCAL enable_seqscan = off; SELECT now()"
            }
        };
        let begin = async {
            let connection = connection.deref_mut();
            let row = match sqlx::raw_sql(begin).fetch_one(&mut *connection).await {
                // The snapshot before this one was left without its end, because a query failed.
                Err(e) if is_in_transaction(&e) => {
                    sqlx::raw_sql("ROLLBACK").execute(&mut *connection).await?;
                    sqlx::raw_sql(begin).fetch_one(&mut *connection).await?
                }
                row => row?,
            };
            row.try_get(0)
        };
        let at = bounded(&self.url, ANSWER, begin).await?;
        Ok(Snapshot {
            connection,
            url: &self.url,
            at,
        })
    }

    /// What rows of this database can be told by: the cluster, the database, who reads it, and the storage
    /// of its tables, which a restore, `TRUNCATE` and `VACUUM FULL` replace.
    ///
    /// # Errors
    /// The query failed; a role may be denied it.
    pub async fn identity(&self) -> StoreResult<String> {
        let sql = "SELECT concat_ws('/',
                (SELECT system_identifier FROM pg_control_system()),
                (SELECT timeline_id FROM pg_control_checkpoint()),
                (SELECT oid FROM pg_database WHERE datname = current_database()),
                current_user, current_schemas(false)::text,
                (SELECT md5(string_agg(oid || ':' || relfilenode, ',' ORDER BY oid)) FROM pg_class
                 WHERE relkind IN ('r', 'p', 'm', 'v') AND relpersistence <> 't' AND oid >= 16384))";
        let query = sqlx::query_scalar(sql);
        let mut connection = self.connection.lock().await;
        bounded(&self.url, ANSWER, query.fetch_one(&mut *connection)).await
    }
}

impl Snapshot<'_> {
    /// Runs an invariant's query over the rows of `window`, as far as it has parameters for that. None: it
    /// ran longer than `limit` and was cancelled.
    ///
    /// # Errors
    /// The query failed, or its columns are not `(id text, since timestamptz)`.
    pub async fn counterexamples(
        &mut self,
        sql: &str,
        window: Option<Window>,
        limit: Duration,
    ) -> StoreResult<Option<Vec<Counterexample>>> {
        // 0 would be no limit.
        let limit_ms = limit.as_millis().max(1);
        let bound = format!("SET LOCAL statement_timeout = {limit_ms}");
        let bound = sqlx::raw_sql(AssertSqlSafe(bound));
        let query = over(sql, sql.to_owned(), window);
        let connection = self.connection.deref_mut();
        let rows = async {
            bound.execute(&mut *connection).await?;
            match query.fetch_all(&mut *connection).await {
                Err(e) if is_canceled(&e) => Ok(None),
                rows => rows.map(Some),
            }
        };
        let answer = limit + Duration::from_secs(1);
        let Some(rows) = bounded(self.url, answer, rows).await? else {
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
            .map_err(|e| failed(e, self.url))
    }

    /// What Postgres expects an invariant's query over the rows of `window` to cost, in its own unit: about one
    /// for each page that is read. It knows the sizes of tables, also right after a bulk insert. Infinite if even
    /// planning takes too long.
    ///
    /// # Errors
    /// The query is wrong, or Postgres does not answer.
    pub async fn cost(&mut self, sql: &str, window: Window) -> StoreResult<f64> {
        let query = over(sql, format!("EXPLAIN {sql}"), Some(window));
        let connection = self.connection.deref_mut();
        let plan = async {
            match query.fetch_all(connection).await {
                Err(e) if is_canceled(&e) => Ok(Vec::new()),
                plan => plan,
            }
        };
        let plan = bounded(self.url, ANSWER, plan).await?;
        let line = plan.first().map(|row| row.try_get::<String, _>(0));
        let line = line.transpose().map_err(|e| failed(e, self.url))?;
        Ok(line
            .as_deref()
            .and_then(total_cost)
            .unwrap_or(f64::INFINITY))
    }

    /// Ends the transaction.
    ///
    /// # Errors
    /// Postgres does not answer.
    pub async fn end(mut self) -> StoreResult<()> {
        let end = sqlx::raw_sql("ROLLBACK").execute(self.connection.deref_mut());
        bounded(self.url, ANSWER, end).await.map(drop)
    }
}

/// `statement`, which contains `sql`, with the window that `sql` has parameters for. It is planned for this
/// window: what is right for a minute is wrong for a day.
fn over(
    sql: &str,
    statement: String,
    window: Option<Window>,
) -> sqlx::query::Query<'static, sqlx::Postgres, sqlx::postgres::PgArguments> {
    let mut query = sqlx::query(AssertSqlSafe(statement)).persistent(false);
    if let Some(Window { from, until }) = window.filter(|_| sql.contains(RULE_SINCE)) {
        query = query.bind(from);
        if sql.contains(RULE_UNTIL) {
            let never = DateTime::from_timestamp(NEVER, 0).unwrap_or(DateTime::<Utc>::MAX_UTC);
            query = query.bind(until.unwrap_or(never));
        }
    }
    query
}

/// in_failed_sql_transaction, or active_sql_transaction.
fn is_in_transaction(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|e| e.code());
    code.is_some_and(|code| code == "25P02" || code == "25001")
}

/// 35.5 of `Limit  (cost=0.00..35.50 rows=10 width=40)`, the first line of a plan.
fn total_cost(line: &str) -> Option<f64> {
    let (_, rest) = line.split_once("..")?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_of_a_plan_is_read() {
        let line = "Limit  (cost=0.00..35.50 rows=10 width=40)";
        assert_eq!(total_cost(line), Some(35.5));
        assert_eq!(total_cost("Result"), None);
    }
}
