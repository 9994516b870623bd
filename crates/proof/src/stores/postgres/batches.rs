//! Queries about many messages of the flow at once: a declared `find` joined with a list of ids.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, Connection, Row};

use super::{
    Postgres, StoreResult, bounded,
    ids::{IDS, of_list},
    options,
    ownership::{Stamp, WRITTEN_SINCE},
    quote,
};

/// Time limit of a statement about one batch; deletions are the slowest.
pub(super) const ANSWER: Duration = Duration::from_secs(120);

/// The rows of one message in a table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rows {
    /// How many rows match.
    pub count: i64,
    /// When the first of them was committed; None: the server does not keep commit times.
    pub first: Option<DateTime<Utc>>,
    /// When the last of them was committed; None: the server does not keep commit times.
    pub last: Option<DateTime<Utc>>,
}

impl Postgres {
    /// A writable connection for large batches: each id is looked up by index. Statistics that
    /// lag behind a table which just grew from nothing would have every batch read all of it.
    ///
    /// # Errors
    /// The connection failed; the text does not contain the password.
    pub async fn connect_for_batches(url: &str) -> StoreResult<Self> {
        let lookups = [
            ("enable_seqscan", "off"),
            ("enable_hashjoin", "off"),
            ("enable_mergejoin", "off"),
            ("jit", "off"),
            ("statement_timeout", "120s"),
        ];
        Self::with_options(url, &options(url)?.options(lookups)).await
    }

    /// Whether the server keeps commit times (`track_commit_timestamp`).
    ///
    /// # Errors
    /// The query failed.
    pub async fn keeps_commit_times(&self) -> StoreResult<bool> {
        let query = sqlx::query_scalar("SELECT current_setting('track_commit_timestamp')::boolean");
        let mut connection = self.connection.lock().await;
        bounded(&self.url, ANSWER, query.fetch_one(&mut *connection)).await
    }

    /// The rows of `table` that `find` (`$1` is the id, text) has for each of `ids`, in their
    /// order, and how many of them were inserted or updated since `stamp`. `timed`: with the times of
    /// their commits.
    ///
    /// # Errors
    /// The query failed.
    pub async fn find_each(
        &self,
        table: &str,
        find: &str,
        ids: &[&str],
        timed: bool,
        stamp: &Stamp,
    ) -> StoreResult<Vec<(Rows, i64)>> {
        let times = match timed {
            true => {
                "min(pg_xact_commit_timestamp(xmin)) AS first, \
                 max(pg_xact_commit_timestamp(xmin)) AS last"
            }
            false => "NULL::timestamptz AS first, NULL::timestamptz AS last",
        };
        let sql = format!(
            "SELECT r.count, r.first, r.last, r.written \
             FROM unnest($1::text[]) WITH ORDINALITY AS {IDS} (id, n) \
             CROSS JOIN LATERAL (SELECT count(*) AS count, {times}, \
             count(*) FILTER (WHERE {WRITTEN_SINCE}) AS written FROM {} WHERE {}) r ORDER BY n",
            quote(table),
            of_list(find)
        );
        let query = sqlx::query(AssertSqlSafe(sql)).bind(ids).bind(&stamp.0);
        let mut connection = self.connection.lock().await;
        let rows = bounded(&self.url, ANSWER, query.fetch_all(&mut *connection)).await?;
        rows.iter()
            .map(|row| {
                let rows = Rows {
                    count: row.try_get(0)?,
                    first: row.try_get(1)?,
                    last: row.try_get(2)?,
                };
                Ok((rows, row.try_get(3)?))
            })
            .collect::<Result<_, sqlx::Error>>()
            .map_err(|e| super::failed(e, &self.url))
    }

    /// The rows themselves, as JSON and sorted, of each of `ids`, in their order.
    ///
    /// # Errors
    /// The query failed.
    pub async fn rows_each(
        &self,
        table: &str,
        find: &str,
        ids: &[&str],
    ) -> StoreResult<Vec<Vec<String>>> {
        let sql = format!(
            "SELECT ARRAY(SELECT row_to_json(r)::text FROM \
             (SELECT * FROM {} WHERE {}) r ORDER BY 1) \
             FROM unnest($1::text[]) WITH ORDINALITY AS {IDS} (id, n) ORDER BY n",
            quote(table),
            of_list(find)
        );
        let query = sqlx::query_scalar(AssertSqlSafe(sql)).bind(ids);
        let mut connection = self.connection.lock().await;
        bounded(&self.url, ANSWER, query.fetch_all(&mut *connection)).await
    }

    /// Deletes all rows that are marked synthetic, of `tables` in their order, in one transaction;
    /// `older_than`: only those that were committed, or last changed, before. Says how many of each.
    ///
    /// # Errors
    /// A statement failed. Nothing is deleted then.
    pub async fn delete_all_synthetic(
        &self,
        tables: &[String],
        older_than: Option<DateTime<Utc>>,
    ) -> StoreResult<Vec<u64>> {
        let mut connection = self.connection.lock().await;
        let work = async {
            let mut transaction = connection.begin().await?;
            let mut deleted = Vec::new();
            for table in tables {
                // Rows whose commit time is no longer kept are older.
                let age = match older_than {
                    Some(_) => "coalesce(pg_xact_commit_timestamp(xmin), '-infinity') < $1",
                    None => "$1::timestamptz IS NULL",
                };
                let sql = format!("DELETE FROM {} WHERE synthetic AND {age}", quote(table));
                let query = sqlx::query(AssertSqlSafe(sql)).bind(older_than);
                deleted.push(query.execute(&mut *transaction).await?.rows_affected());
            }
            transaction.commit().await?;
            Ok(deleted)
        };
        bounded(&self.url, ANSWER, work).await
    }
}
