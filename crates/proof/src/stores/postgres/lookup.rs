//! Looks up the rows of a message that may not exist.

use sqlx::{AssertSqlSafe, Row};
use uuid::Uuid;

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

/// Whether `id` can be cast as `find` casts `$1`, as far as the type is known here. Postgres would refuse
/// it, too, but leave an error in its log.
fn is_valid(find: &str, id: &str) -> bool {
    let mut casts = find.split("$1::").skip(1);
    casts.all(|cast| {
        let end = cast.find(|c: char| !c.is_ascii_alphanumeric());
        match cast[..end.unwrap_or(cast.len())]
            .to_ascii_lowercase()
            .as_str()
        {
            "uuid" => Uuid::parse_str(id).is_ok(),
            "smallint" | "int2" => id.trim().parse::<i16>().is_ok(),
            "int" | "integer" | "int4" => id.trim().parse::<i32>().is_ok(),
            "bigint" | "int8" => id.trim().parse::<i64>().is_ok(),
            _ => true,
        }
    })
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
        if !is_valid(find, id) {
            return Ok(Lookup::NotAnId);
        }
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

impl Postgres {
    /// What identifies the rows of `table` that `find` has for `id`: their contents. None: there are none.
    ///
    /// # Errors
    /// The query failed.
    pub async fn row_contents(
        &self,
        table: &str,
        find: &str,
        id: &str,
    ) -> StoreResult<Option<String>> {
        let name = quote(table);
        let row = name.rsplit_once('.').map_or(name.as_str(), |(_, own)| own);
        let sql = format!(
            "SELECT md5(string_agg(({row}.*)::text, ' ' ORDER BY ({row}.*)::text)) FROM {name} WHERE {find}"
        );
        self.text(&sql, id).await
    }
}

#[cfg(test)]
mod tests {
    use super::is_valid;

    #[test]
    fn an_id_that_a_table_cannot_have_is_not_queried() {
        let uuid = "01a22192-4e8a-725c-b8cd-f7d21039bf17";
        let find = "id = $1::uuid";
        assert!(is_valid(find, uuid) && !is_valid(find, "01a22192"));
        let find = "line IN (SELECT line FROM lines WHERE order_no = $1::bigint)";
        assert!(is_valid(find, "17") && !is_valid(find, uuid));
        assert!(!is_valid("no = $1::int4", "99999999999"));
        assert!(is_valid("no = $1", "any") && is_valid("no = $1::text", "any"));
    }
}
