//! Which rows a test wrote, and which of them it may delete.
//!
//! Two proofs (docs/decisions/0041-only-its-own-rows.md):
//! - A row was inserted or updated since a [`Stamp`]: its `xmin` is not visible in the snapshot that
//!   was taken then. This needs no transaction that stays open.
//! - A row did not exist [`Before`]: a snapshot held open from before the test has no row with any of
//!   its unique keys. An update alone does not pass for an insert.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use diagnostics::Cause;

use super::{
    ANSWER, Postgres, StoreError, StoreResult, bounded,
    ids::{IDS, of_list},
    options, quote,
};

/// Whether the row at hand was inserted or updated since the snapshot `$2`. `xmin` has the lower 32
/// bits of a transaction id; the id is the newest one with these that is not in the future.
pub(super) const WRITTEN_SINCE: &str = "NOT txid_visible_in_snapshot(greatest(txid_snapshot_xmax(txid_current_snapshot()) - \
     ((txid_snapshot_xmax(txid_current_snapshot()) - xmin::text::bigint) & 4294967295), 0), \
     $2::txid_snapshot)";

/// How often a deletion is tried while others update the same rows.
const TRIES: usize = 4;

/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// A snapshot: which transactions had ended at one moment.
#[derive(Debug, Clone)]
pub struct Stamp(pub(super) String);

/// The rows that a table has of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// How many rows match.
    pub count: i64,
    /// Those inserted or updated since the stamp; None of a view, whose rows have no `xmin`.
    pub since: Option<i64>,
}

/// A table from which the rows of messages are deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deletion {
    /// Table name as declared.
    pub table: String,
    /// SQL predicate; `$1` is the id, text.
    pub find: String,
    /// How a row is proven to be the test's own.
    pub proof: Proof,
}

/// How a row is proven to be the test's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// Its column `synthetic` is true.
    Marked,
    /// It did not exist before the test, and each message has at most `rows` of them.
    New {
        /// Maximum number of rows of one message.
        rows: i64,
    },
}

/// The result of a deletion.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Number of rows deleted by table, in the order of deletion.
    pub rows: Vec<(String, u64)>,
    /// Rows that were found and not deleted.
    pub left: Vec<UndeletedRows>,
}

/// Rows that were found and not deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndeletedRows {
    /// Table name as declared.
    pub table: String,
    /// `ctid`s of the rows; empty if they were not looked up.
    rows: BTreeSet<(i64, String)>,
    /// Why they were not deleted.
    pub why: &'static str,
}

const THERE_BEFORE: &str = "it existed before the test began";
const NO_KEY: &str = "it has no unique key by which new rows differ from old ones";

impl UndeletedRows {
    /// Rows without a mark, not looked up.
    pub fn unmarked(table: &str) -> Self {
        Self {
            table: table.to_owned(),
            rows: BTreeSet::new(),
            why: "nothing marks the rows of a test (`cleanup: find`): delete them by hand",
        }
    }

    /// How many; None: they were not looked up.
    pub fn count(&self) -> Option<usize> {
        (!self.rows.is_empty()).then_some(self.rows.len())
    }
}

impl Deleted {
    /// Adds the result of another deletion from the same tables.
    pub fn add(&mut self, other: Self) {
        for (table, rows) in other.rows {
            match self.rows.iter_mut().find(|(name, _)| *name == table) {
                Some((_, sum)) => *sum += rows,
                None => self.rows.push((table, rows)),
            }
        }
        for left in other.left {
            let mut same = self.left.iter_mut();
            match same.find(|l| l.table == left.table && l.why == left.why) {
                Some(known) => known.rows.extend(left.rows),
                None => self.left.push(left),
            }
        }
    }
}

/// The database as it was before the test: a read-only transaction that is held open.
pub struct Before(Postgres);

/// A row that was found.
struct Found {
    /// Index of the message.
    message: i64,
    place: (i64, String),
    /// JSON of its unique keys' columns.
    key: String,
}

/// The unique keys of a table.
struct Keys {
    /// Columns of each.
    columns: Vec<Vec<String>>,
    /// One of them has a value in every row.
    complete: bool,
}

impl Before {
    /// Takes the snapshot.
    ///
    /// # Errors
    /// The connection failed; the text does not contain the password.
    pub async fn open(url: &str) -> StoreResult<Self> {
        let idle = [("idle_in_transaction_session_timeout", "0")];
        let postgres = Postgres::with_options(url, &options(url)?.options(idle)).await?;
        {
            let mut connection = postgres.connection.lock().await;
            let begin = async {
                let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";
                sqlx::query(begin).execute(&mut *connection).await?;
                // The snapshot is that of the first statement.
                sqlx::query("SELECT txid_current_snapshot()::text")
                    .execute(&mut *connection)
                    .await
            };
            bounded(url, ANSWER, begin).await?;
        }
        Ok(Self(postgres))
    }

    /// Indexes of the rows in `found` whose table already had a row with one of their unique keys.
    async fn had(
        &self,
        table: &str,
        keys: &Keys,
        found: &[Found],
    ) -> Result<BTreeSet<usize>, sqlx::Error> {
        let equal = |columns: &Vec<String>| {
            let each = columns.iter().map(|c| format!("o.{0} = k.{0}", quoted(c)));
            let all = each.collect::<Vec<_>>().join(" AND ");
            format!("EXISTS (SELECT 1 FROM {} o WHERE {all})", quote(table))
        };
        let any: Vec<_> = keys.columns.iter().map(equal).collect();
        let sql = format!(
            "SELECT j.n FROM unnest($1::text[]) WITH ORDINALITY AS j (key, n) \
             CROSS JOIN LATERAL json_populate_record(NULL::{}, j.key::json) AS k WHERE {}",
            quote(table),
            any.join(" OR ")
        );
        let json: Vec<&str> = found.iter().map(|f| f.key.as_str()).collect();
        let mut connection = self.0.connection.lock().await;
        let query = sqlx::query_scalar(AssertSqlSafe(sql)).bind(json);
        let had: Vec<i64> = query.fetch_all(&mut *connection).await?;
        let indexes = had.into_iter().filter_map(|n| usize::try_from(n - 1).ok());
        Ok(indexes.collect())
    }
}

impl Postgres {
    /// Now.
    ///
    /// # Errors
    /// The query failed.
    pub async fn stamp(&self) -> StoreResult<Stamp> {
        let query = sqlx::query_scalar("SELECT txid_current_snapshot()::text");
        let mut connection = self.connection.lock().await;
        let stamp = bounded(&self.url, ANSWER, query.fetch_one(&mut *connection));
        stamp.await.map(Stamp)
    }

    /// The rows of `table` that match `find` (`$1` is `id`, text).
    ///
    /// # Errors
    /// The query failed.
    pub async fn written(
        &self,
        table: &str,
        find: &str,
        id: &str,
        stamp: &Stamp,
    ) -> StoreResult<Written> {
        let mut connection = self.connection.lock().await;
        let ask = async {
            let sql = format!(
                "SELECT count(*), count(*) FILTER (WHERE {WRITTEN_SINCE}) FROM {} WHERE {find}",
                quote(table)
            );
            let query = sqlx::query(AssertSqlSafe(sql)).bind(id).bind(&stamp.0);
            match query.fetch_one(&mut *connection).await {
                Ok(row) => Ok(Written {
                    count: row.try_get(0)?,
                    since: Some(row.try_get(1)?),
                }),
                // UNDEFINED_COLUMN: of a view there is no xmin; otherwise it is one of `find`'s.
                Err(e) if is_code(&e, "42703") => {
                    let sql = format!("SELECT count(*) FROM {} WHERE {find}", quote(table));
                    let query = sqlx::query_scalar(AssertSqlSafe(sql)).bind(id);
                    let count = query.fetch_one(&mut *connection).await?;
                    Ok(Written { count, since: None })
                }
                Err(e) => Err(e),
            }
        };
        bounded(&self.url, ANSWER, ask).await
    }

    /// Deletes the rows of `ids` that are proven to be the test's own, in one transaction and in the
    /// given order of tables. `limit`: what it may take.
    ///
    /// # Errors
    /// A statement failed, or it would delete other rows than those that were looked up. Nothing is
    /// deleted then.
    pub async fn delete_own(
        &self,
        deletions: &[Deletion],
        ids: &[&str],
        before: Option<&Before>,
        limit: Duration,
    ) -> StoreResult<Deleted> {
        let mut connection = self.connection.lock().await;
        let work = async {
            for _ in 1..TRIES {
                match delete(&mut connection, deletions, ids, before).await {
                    // SERIALIZATION_FAILURE: another transaction has updated one of the rows.
                    Err(e) if is_code(&e, "40001") => tokio::time::sleep(PAUSE).await,
                    deleted => return deleted,
                }
            }
            delete(&mut connection, deletions, ids, before).await
        };
        bounded(&self.url, limit, work).await?
    }
}

/// One transaction. The inner error is why this code rolled it back; the outer one is the database's.
async fn delete(
    connection: &mut PgConnection,
    deletions: &[Deletion],
    ids: &[&str],
    before: Option<&Before>,
) -> Result<StoreResult<Deleted>, sqlx::Error> {
    // Rolled back where it is dropped.
    let mut transaction = connection.begin().await?;
    // The snapshot keeps VACUUM from freeing rows that were read, so no other row reuses their
    // `ctid`.
    sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        .execute(&mut *transaction)
        .await?;
    // All reads come before the first deletion, because a `find` may read the tables before its
    // own.
    let mut own = BTreeMap::new();
    let mut deleted = Deleted::default();
    for wanted in deletions {
        let Proof::New { rows } = wanted.proof else {
            continue;
        };
        let keys = keys(&mut transaction, &wanted.table).await?;
        let found = find(&mut transaction, wanted, &keys, ids).await?;
        let (new, left) = match before.filter(|_| keys.complete) {
            None => (Vec::new(), found),
            Some(before) => {
                let had = before.had(&wanted.table, &keys, &found).await?;
                split(found, &had)
            }
        };
        if let Some(message) = surplus(&new, rows) {
            let id = usize::try_from(message - 1).ok().and_then(|n| ids.get(n));
            return Ok(Err(not_own(format!(
                "{}: more rows have appeared than the {rows} that {} is declared to leave; \
                 nothing is deleted",
                wanted.table,
                id.unwrap_or(&"one message")
            ))));
        }
        if !left.is_empty() {
            deleted.left.push(UndeletedRows {
                table: wanted.table.clone(),
                rows: left.into_iter().map(|found| found.place).collect(),
                why: if keys.complete { THERE_BEFORE } else { NO_KEY },
            });
        }
        let places: BTreeSet<_> = new.into_iter().map(|found| found.place).collect();
        own.insert(wanted.table.as_str(), places);
    }
    for wanted in deletions {
        let rows = match wanted.proof {
            Proof::Marked => {
                let find = format!("synthetic AND ({})", wanted.find);
                let query = sqlx::query(AssertSqlSafe(deletion(&wanted.table, &find))).bind(ids);
                query.execute(&mut *transaction).await?.rows_affected()
            }
            Proof::New { .. } => {
                let places = own.remove(wanted.table.as_str()).unwrap_or_default();
                let expected = places.len() as u64;
                let rows = delete_at(&mut transaction, &wanted.table, places).await?;
                if rows != expected {
                    return Ok(Err(not_own(format!(
                        "{}: {rows} of {expected} rows could be deleted; nothing is deleted",
                        wanted.table
                    ))));
                }
                rows
            }
        };
        deleted.rows.push((wanted.table.clone(), rows));
    }
    transaction.commit().await?;
    Ok(Ok(deleted))
}

/// Finds the rows first and deletes them by `tableoid` and `ctid`. As a condition of the `DELETE`
/// itself, a predicate that joins other tables would be evaluated for every pair of row and id. A
/// `ctid` is unique only within a table's partition.
fn deletion(table: &str, predicate: &str) -> String {
    let (table, predicate) = (quote(table), of_list(predicate));
    format!(
        "DELETE FROM {table} AS t USING unnest($1::text[]) AS {IDS} (id) \
         CROSS JOIN LATERAL (SELECT tableoid AS part, ctid AS place FROM {table} \
         WHERE {predicate}) AS found \
         WHERE t.ctid = found.place AND t.tableoid = found.part"
    )
}

/// The rows are not proven to be the test's own.
fn not_own(why: String) -> StoreError {
    StoreError::new(Cause::Client, why)
}

/// The unique keys that are plain columns.
async fn keys(connection: &mut PgConnection, table: &str) -> Result<Keys, sqlx::Error> {
    let sql = "SELECT array_agg(a.attname::text ORDER BY k.n), bool_and(a.attnotnull) \
               FROM pg_index i \
               CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, n) \
               JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum \
               WHERE i.indrelid = to_regclass($1) AND i.indisunique AND i.indisvalid \
               AND i.indpred IS NULL AND i.indexprs IS NULL AND k.n <= i.indnkeyatts \
               GROUP BY i.indexrelid ORDER BY i.indexrelid";
    let rows = sqlx::query(sql).bind(quote(table)).fetch_all(connection);
    let mut keys = Keys {
        columns: Vec::new(),
        complete: false,
    };
    for row in rows.await? {
        keys.columns.push(row.try_get(0)?);
        keys.complete |= row.try_get::<bool, _>(1)?;
    }
    Ok(keys)
}

/// The rows of `ids`, each with its partition and `ctid`: a `ctid` is unique only within a
/// partition.
async fn find(
    connection: &mut PgConnection,
    wanted: &Deletion,
    keys: &Keys,
    ids: &[&str],
) -> Result<Vec<Found>, sqlx::Error> {
    let columns: BTreeSet<&String> = keys.columns.iter().flatten().collect();
    let pairs = columns.iter().map(|column| {
        let name = column.replace('\'', "''");
        format!("'{name}', {}", quoted(column))
    });
    // A view has no `ctid`. Its rows, like those of a table without a key, are only counted.
    let place = match keys.complete {
        true => "tableoid::bigint AS part, ctid::text AS place".to_owned(),
        false => {
            format!("0::bigint AS part, {IDS}.id || '/' || row_number() OVER () AS place")
        }
    };
    let sql = format!(
        "SELECT n, part, place, key FROM unnest($1::text[]) WITH ORDINALITY AS {IDS} (id, n) \
         CROSS JOIN LATERAL (SELECT {place}, \
         json_build_object({})::text AS key FROM {} WHERE {}) AS found",
        pairs.collect::<Vec<_>>().join(", "),
        quote(&wanted.table),
        of_list(&wanted.find)
    );
    let query = sqlx::query(AssertSqlSafe(sql)).bind(ids);
    let rows = query.fetch_all(connection).await?;
    let found = rows.iter().map(|row| {
        Ok(Found {
            message: row.try_get(0)?,
            place: (row.try_get(1)?, row.try_get(2)?),
            key: row.try_get(3)?,
        })
    });
    found.collect()
}

async fn delete_at(
    connection: &mut PgConnection,
    table: &str,
    places: BTreeSet<(i64, String)>,
) -> Result<u64, sqlx::Error> {
    let sql = format!(
        "DELETE FROM {} AS t USING (SELECT part::oid AS part, place::tid AS place \
         FROM unnest($1::bigint[], $2::text[]) AS p (part, place)) AS found \
         WHERE t.ctid = found.place AND t.tableoid = found.part",
        quote(table)
    );
    let (parts, places): (Vec<i64>, Vec<String>) = places.into_iter().unzip();
    let query = sqlx::query(AssertSqlSafe(sql)).bind(parts).bind(places);
    Ok(query.execute(connection).await?.rows_affected())
}

/// New rows, and rows that existed before.
fn split(found: Vec<Found>, had: &BTreeSet<usize>) -> (Vec<Found>, Vec<Found>) {
    let (mut new, mut left) = (Vec::new(), Vec::new());
    for (index, found) in found.into_iter().enumerate() {
        match had.contains(&index) {
            true => left.push(found),
            false => new.push(found),
        }
    }
    (new, left)
}

/// The first message of which more than `rows` are new.
fn surplus(new: &[Found], rows: i64) -> Option<i64> {
    let mut counts: BTreeMap<i64, i64> = BTreeMap::new();
    for found in new {
        *counts.entry(found.message).or_default() += 1;
    }
    let mut counts = counts.into_iter();
    counts.find_map(|(message, count)| (count > rows).then_some(message))
}

/// A column's name as an SQL identifier; a dot is part of it.
fn quoted(column: &str) -> String {
    format!("\"{}\"", column.replace('"', "\"\""))
}

fn is_code(error: &sqlx::Error, code: &str) -> bool {
    let of_database = error.as_database_error().and_then(|e| e.code());
    of_database.is_some_and(|of_database| of_database == code)
}
