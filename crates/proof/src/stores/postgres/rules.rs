//! Queries of the rules over the database: in one snapshot each, within a time limit.

use std::{
    ops::DerefMut,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use chrono::{DateTime, Utc};
use declaration::{RULE_SINCE, RULE_UNTIL};
use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, Connection, Either, PgConnection, Row, Transaction, postgres::PgRow};
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

impl Window {
    /// All rows.
    pub const ALL: Self = Self {
        from: DateTime::UNIX_EPOCH,
        until: None,
    };
}

/// A time after that of every row, for a window without an end.
const NEVER: i64 = 253_370_764_800;

/// Exclusive use of a connection.
pub struct Session<'a> {
    connection: MutexGuard<'a, PgConnection>,
    url: &'a str,
}

/// A read-only transaction in which all queries see the same rows. It is rolled back when it is dropped, also
/// in the middle of a query: the next user of the connection is not in it.
pub struct Snapshot<'a> {
    transaction: Transaction<'a, sqlx::Postgres>,
    url: &'a str,
    /// The server's time.
    pub at: DateTime<Utc>,
    is_over: bool,
}

/// How a query is planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plans {
    /// As Postgres finds best.
    Any,
    /// Without sequential scans of tables that have an index for it: the time that a window takes then
    /// depends on its own rows. A join that scans the whole other table would use up the budget.
    ByIndex,
}

/// A query of a rule, and how it is run.
#[derive(Debug, Clone, Copy)]
pub struct RuleQuery<'a> {
    /// As declared.
    pub sql: &'a str,
    /// How it is planned.
    pub plans: Plans,
    /// It is cancelled if it runs longer.
    pub limit: Duration,
}

/// Names of prepared statements differ: one whose execution failed stays prepared until its session ends.
static PREPARED: AtomicU64 = AtomicU64::new(0);

impl Postgres {
    /// Waits until nobody else uses the connection.
    pub async fn exclusive(&self) -> Session<'_> {
        Session {
            connection: self.connection.lock().await,
            url: &self.url,
        }
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

impl Session<'_> {
    /// Begins a snapshot.
    ///
    /// # Errors
    /// Postgres refuses it, or does not answer.
    pub async fn snapshot(&mut self) -> StoreResult<Snapshot<'_>> {
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        let connection = self.connection.deref_mut();
        let begin = async {
            let mut transaction = connection.begin_with(begin).await?;
            let now = sqlx::raw_sql("SELECT now()");
            let at = now.fetch_one(&mut *transaction).await?.try_get(0)?;
            Ok((transaction, at))
        };
        let (transaction, at) = bounded(self.url, ANSWER, begin).await?;
        Ok(Snapshot {
            transaction,
            url: self.url,
            at,
            is_over: false,
        })
    }
}

impl Snapshot<'_> {
    /// A query failed or was cancelled: the snapshot answers no other.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Runs an invariant's query over the rows of each window, as far as it has parameters for that. None: they
    /// ran longer than their limit and were cancelled.
    ///
    /// # Errors
    /// The query failed, or its columns are not `(id text, since timestamptz)`.
    pub async fn counterexamples<const N: usize>(
        &mut self,
        query: RuleQuery<'_>,
        windows: [Window; N],
    ) -> StoreResult<Option<[Vec<Counterexample>; N]>> {
        let Some(results) = self.run(query, "EXECUTE", &windows).await? else {
            return Ok(None);
        };
        let counterexample = |row: &PgRow| {
            Ok(Counterexample {
                id: row.try_get(0)?,
                since: row.try_get(1)?,
            })
        };
        let mut found = [const { Vec::new() }; N];
        for (found, rows) in found.iter_mut().zip(results) {
            let all: Result<_, sqlx::Error> = rows.iter().map(counterexample).collect();
            *found = all.map_err(|e| failed(e, self.url))?;
        }
        Ok(Some(found))
    }

    /// What Postgres expects an invariant's query over the rows of `window` to cost, in its own unit: about one
    /// for each page that is read. It knows the sizes of tables, also right after a bulk insert. Infinite if even
    /// planning takes too long.
    ///
    /// # Errors
    /// The query is wrong, or Postgres does not answer.
    pub async fn cost(&mut self, query: RuleQuery<'_>, window: Window) -> StoreResult<f64> {
        let plan = self.run(query, "EXPLAIN EXECUTE", &[window]).await?;
        let plan = plan.unwrap_or_default();
        let lines = plan.iter().flatten();
        let lines = lines.map(|row| row.try_get::<String, _>(0));
        let lines: Result<Vec<_>, _> = lines.collect();
        Ok(total_cost(&lines.map_err(|e| failed(e, self.url))?))
    }

    /// Prepares the query and runs it over each window, by `verb`: all in one message, so that there is one answer
    /// to wait for. Returns the rows of each. None: cancelled.
    async fn run(
        &mut self,
        query: RuleQuery<'_>,
        verb: &str,
        windows: &[Window],
    ) -> StoreResult<Option<Vec<Vec<PgRow>>>> {
        let RuleQuery { sql, plans, limit } = query;
        let name = format!("rule_{}", PREPARED.fetch_add(1, Ordering::Relaxed));
        let seqscan = match plans {
            Plans::Any => "on",
            Plans::ByIndex => "off",
        };
        let before = [
            format!("SET LOCAL statement_timeout = {}", limit.as_millis().max(1)),
            format!("SET LOCAL enable_seqscan = {seqscan}"),
            // A query may end with a comment.
            format!("PREPARE {name}{} AS\n{sql}\n", types(sql)),
        ];
        let runs = windows.iter();
        let runs = runs.map(|window| format!("{verb} {name}{}", arguments(sql, *window)));
        let after = format!("DEALLOCATE {name}");
        let all: Vec<_> = before.iter().cloned().chain(runs).chain([after]).collect();
        let message = sqlx::raw_sql(AssertSqlSafe(all.join(";")));
        let results = async {
            let mut answers = message.fetch_many(&mut *self.transaction);
            let (mut results, mut rows) = (Vec::new(), Vec::new());
            while let Some(answer) = answers.try_next().await? {
                match answer {
                    Either::Left(_) => results.push(std::mem::take(&mut rows)),
                    Either::Right(row) => rows.push(row),
                }
            }
            Ok(results.split_off(before.len().min(results.len())))
        };
        let results = async {
            match results.await {
                Err(e) if is_canceled(&e) => Ok(None),
                results => results.map(Some),
            }
        };
        let results = bounded(self.url, limit + Duration::from_secs(1), results).await;
        self.is_over = !matches!(results, Ok(Some(_)));
        results
    }
}

/// The types of a query's parameters.
fn types(sql: &str) -> &'static str {
    match (sql.contains(RULE_SINCE), sql.contains(RULE_UNTIL)) {
        (true, true) => "(timestamptz, timestamptz)",
        (true, false) => "(timestamptz)",
        (false, _) => "",
    }
}

/// The window that `sql` has parameters for, as arguments. The query is planned for this window: what is right for
/// a minute is wrong for a day.
fn arguments(sql: &str, window: Window) -> String {
    let time = |at: DateTime<Utc>| at.format("'%Y-%m-%d %H:%M:%S%.6f+00'").to_string();
    let never = DateTime::from_timestamp(NEVER, 0).unwrap_or(DateTime::<Utc>::MAX_UTC);
    let (from, until) = (time(window.from), time(window.until.unwrap_or(never)));
    match (sql.contains(RULE_SINCE), sql.contains(RULE_UNTIL)) {
        (true, true) => format!("({from}, {until})"),
        (true, false) => format!("({from})"),
        (false, _) => String::new(),
    }
}

/// The highest cost of a plan's nodes, as 35.5 of `Limit  (cost=0.00..35.50 rows=10 width=40)`. Below a LIMIT it is that
/// of all rows: they have to be read if the rule holds. Infinite if there is none.
fn total_cost(plan: &[String]) -> f64 {
    let cost = |line: &String| -> Option<f64> {
        let (_, cost) = line.split_once("(cost=")?.1.split_once("..")?;
        cost.split_whitespace().next()?.parse().ok()
    };
    let highest = plan.iter().filter_map(cost).reduce(f64::max);
    highest.unwrap_or(f64::INFINITY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_of_a_plan_is_that_of_all_rows() {
        let plan = [
            "Limit  (cost=0.00..35.50 rows=10 width=40)",
            "  ->  Nested Loop  (cost=0.84..4411.25 rows=900 width=40)",
            "        Index Cond: (created_at >= 'x..y'::text)",
        ];
        let cost = total_cost(&plan.map(str::to_owned));
        assert!((cost - 4411.25).abs() < f64::EPSILON, "{cost}");
        assert!(total_cost(&["Result".to_owned()]).is_infinite());
    }

    #[test]
    fn a_query_gets_the_arguments_that_it_has_parameters_for() {
        let at = |second| DateTime::from_timestamp(second, 0).expect("a time");
        let window = Window {
            from: at(0),
            until: Some(at(1)),
        };
        let both = "('1970-01-01 00:00:00.000000+00', '1970-01-01 00:00:01.000000+00')";
        assert_eq!(arguments("x >= $1 AND x < $2", window), both);
        assert_eq!(
            arguments("x >= $1", window),
            "('1970-01-01 00:00:00.000000+00')"
        );
        assert_eq!(arguments("x", window), "");
    }
}
