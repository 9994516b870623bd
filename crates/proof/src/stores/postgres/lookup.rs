//! Looks up the rows of a message that may not exist.

use sqlx::{AssertSqlSafe, Row};

use super::{ANSWER, Postgres, StoreResult, batches::Rows, bounded, quote};

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// The rows that match, perhaps none.
    Rows(Rows),
    /// The id is invalid for this table: `find` casts it, for instance to a UUID.
    NotAnId,
    /// The database's error for an invalid query: no such table or column.
    Refused(String),
}

impl Postgres {
    /// The rows of `table` that `find` (`$1` is `id`, text) has. `timed`: with the times of their
    /// commits.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn look_up(
        &self,
        table: &str,
        find: &str,
        id: &str,
        timed: bool,
    ) -> StoreResult<Lookup> {
        let at = match timed {
            true => "pg_xact_commit_timestamp(xmin)",
            false => "NULL::timestamptz",
        };
        let sql = format!(
            "SELECT count(*), min({at}), max({at}) FROM {} WHERE {find}",
            quote(table)
        );
        let query = sqlx::query(AssertSqlSafe(sql)).bind(id);
        let mut connection = self.connection.lock().await;
        let ask = async {
            match query.fetch_one(&mut *connection).await {
                Ok(row) => Ok(Lookup::Rows(Rows {
                    count: row.try_get(0)?,
                    first: row.try_get(1)?,
                    last: row.try_get(2)?,
                })),
                // Classes of SQLSTATE: data exception; syntax error or access rule violation.
                Err(sqlx::Error::Database(e)) => match e.code().as_deref() {
                    Some(code) if code.starts_with("22") => Ok(Lookup::NotAnId),
                    Some(code) if code.starts_with("42") => {
                        Ok(Lookup::Refused(e.message().to_owned()))
                    }
                    Some(_) | None => Err(sqlx::Error::Database(e)),
                },
                Err(e) => Err(e),
            }
        };
        bounded(&self.url, ANSWER, ask).await
    }
}
