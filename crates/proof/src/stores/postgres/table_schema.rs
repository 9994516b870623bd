//! Reads the columns and indexes of tables and compares them with the declaration.

use super::{ANSWER, Postgres, StoreResult, bounded, quote};
use declaration::Column;

/// A table of the database.
#[derive(Debug, Clone)]
pub struct TableSchema {
    /// With its schema, unless that is `public`.
    pub name: String,
    /// Columns with their types, as Postgres spells them.
    pub columns: Vec<Column>,
    /// Index names.
    pub indexes: Vec<String>,
}

/// A table's name, its columns, their types, its indexes.
type TableRow = (String, Vec<String>, Vec<String>, Vec<String>);

impl Postgres {
    /// All tables except Postgres' own, by name. A partition counts as part of its table.
    ///
    /// # Errors
    /// The query failed.
    pub async fn tables(&self) -> StoreResult<Vec<TableSchema>> {
        let sql = "\
            SELECT CASE n.nspname WHEN 'public' THEN c.relname \
            ELSE n.nspname || '.' || c.relname END, \
            ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid \
            AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum), \
            ARRAY(SELECT format_type(a.atttypid, a.atttypmod) FROM pg_attribute a \
            WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum), \
            ARRAY(SELECT i.relname::text FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid \
            WHERE x.indrelid = c.oid AND x.indisvalid ORDER BY 1) \
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
            WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition \
            AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%' ORDER BY 1";
        let query = sqlx::query_as(sql);
        let mut connection = self.connection.lock().await;
        let rows: Vec<TableRow> =
            bounded(&self.url, ANSWER, query.fetch_all(&mut *connection)).await?;
        let table = |(name, columns, kinds, indexes): TableRow| TableSchema {
            name,
            columns: columns
                .into_iter()
                .zip(kinds)
                .map(|(name, kind)| Column {
                    name,
                    kind: Some(kind),
                })
                .collect(),
            indexes,
        };
        Ok(rows.into_iter().map(table).collect())
    }

    /// Messages about the `columns` that `table` does not have as declared.
    ///
    /// # Errors
    /// The query failed, or a declared type does not exist.
    pub async fn unlike_columns(
        &self,
        table: &str,
        columns: &[Column],
    ) -> StoreResult<Vec<String>> {
        let names: Vec<&str> = columns.iter().map(|c| c.name.as_str()).collect();
        let kinds: Vec<Option<&str>> = columns.iter().map(|c| c.kind.as_deref()).collect();
        // A type is compared as Postgres spells it; its modifier, `(10,2)`, only if one is declared.
        let sql = "\
            SELECT d.name, d.kind, format_type(a.atttypid, a.atttypmod) \
            FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS d (name, kind, n) \
            LEFT JOIN pg_attribute a ON a.attrelid = to_regclass($1) AND a.attname = d.name \
            AND a.attnum > 0 AND NOT a.attisdropped \
            WHERE a.attname IS NULL OR NOT coalesce(CASE \
            WHEN d.kind IS NULL THEN true \
            WHEN d.kind LIKE '%(%' THEN replace(format_type(a.atttypid, a.atttypmod), ' ', '') = \
            replace(to_regtype(regexp_replace(d.kind, '\\(.*\\)', ''))::text, ' ', '') \
            || replace(substring(d.kind FROM '\\(.*\\)'), ' ', '') \
            ELSE to_regtype(d.kind) = a.atttypid END, false) ORDER BY d.n";
        let query = sqlx::query_as(sql)
            .bind(quote(table))
            .bind(names)
            .bind(kinds);
        let mut connection = self.connection.lock().await;
        let rows: Vec<(String, Option<String>, Option<String>)> =
            bounded(&self.url, ANSWER, query.fetch_all(&mut *connection)).await?;
        Ok(rows.into_iter().map(unlike).collect())
    }

    /// Messages about those of `indexes` that `table` does not have, or that cannot be used.
    ///
    /// # Errors
    /// The query failed.
    pub async fn unlike_indexes(
        &self,
        table: &str,
        indexes: &[String],
    ) -> StoreResult<Vec<String>> {
        let sql = "\
            SELECT d.name || CASE WHEN c.oid IS NULL THEN ' is missing' ELSE ' is not valid' END \
            FROM unnest($2::text[]) WITH ORDINALITY AS d (name, n) \
            LEFT JOIN (pg_index i JOIN pg_class c ON c.oid = i.indexrelid) \
            ON i.indrelid = to_regclass($1) AND c.relname = d.name \
            WHERE c.oid IS NULL OR NOT (i.indisvalid AND i.indisready) ORDER BY d.n";
        let query = sqlx::query_scalar(sql).bind(quote(table)).bind(indexes);
        let mut connection = self.connection.lock().await;
        bounded(&self.url, ANSWER, query.fetch_all(&mut *connection)).await
    }

    /// Messages about those of `constraints` that `table` does not have, or that do not hold for all rows: not
    /// validated, with an index that is not valid, or with disabled triggers.
    ///
    /// # Errors
    /// The query failed.
    pub async fn unlike_constraints(
        &self,
        table: &str,
        constraints: &[String],
    ) -> StoreResult<Vec<String>> {
        let sql = "\
            SELECT d.name || CASE WHEN c.oid IS NULL THEN ' is missing' \
            WHEN NOT c.convalidated THEN ' is not validated' \
            WHEN NOT (i.indisvalid AND i.indisready) THEN ' has an index that is not valid' \
            ELSE ' has disabled triggers' END \
            FROM unnest($2::text[]) WITH ORDINALITY AS d (name, n) \
            LEFT JOIN pg_constraint c ON c.conrelid = to_regclass($1) AND c.conname = d.name \
            LEFT JOIN pg_index i ON i.indexrelid = c.conindid \
            WHERE c.oid IS NULL OR NOT c.convalidated OR NOT (i.indisvalid AND i.indisready) \
            OR EXISTS (SELECT 1 FROM pg_trigger t WHERE t.tgconstraint = c.oid AND t.tgisinternal \
            AND t.tgenabled NOT IN ('O', 'A')) ORDER BY d.n";
        let query = sqlx::query_scalar(sql).bind(quote(table)).bind(constraints);
        let mut connection = self.connection.lock().await;
        bounded(&self.url, ANSWER, query.fetch_all(&mut *connection)).await
    }

    /// Messages about what makes `table` refuse rows besides its `constraints`: others, unique indexes, and columns
    /// that are none of `columns` and need a value.
    ///
    /// # Errors
    /// The query failed.
    pub async fn other_constraints(
        &self,
        table: &str,
        constraints: &[String],
        columns: &[Column],
    ) -> StoreResult<Vec<String>> {
        let columns: Vec<&str> = columns.iter().map(|c| c.name.as_str()).collect();
        // 'n' is NOT NULL, of which Postgres 18 has a row for each column.
        let sql = "\
            SELECT c.conname || ' is not declared: ' || pg_get_constraintdef(c.oid) FROM pg_constraint c \
            WHERE c.conrelid = to_regclass($1) AND c.contype IN ('c', 'f', 'p', 'u', 'x') \
            AND c.conname <> ALL($2::text[]) \
            UNION ALL SELECT i.relname || ' is a unique index that is not declared' FROM pg_index x \
            JOIN pg_class i ON i.oid = x.indexrelid WHERE x.indrelid = to_regclass($1) AND x.indisunique \
            AND i.relname <> ALL($2::text[]) \
            AND NOT EXISTS (SELECT 1 FROM pg_constraint c WHERE c.conindid = x.indexrelid) \
            UNION ALL SELECT a.attname || ' is not declared, NOT NULL and without a default' FROM pg_attribute a \
            WHERE cardinality($3::text[]) > 0 AND a.attrelid = to_regclass($1) AND a.attnum > 0 \
            AND NOT a.attisdropped AND a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' \
            AND a.attname <> ALL($3::text[]) ORDER BY 1";
        let query = sqlx::query_scalar(sql).bind(quote(table));
        let query = query.bind(constraints).bind(columns);
        let mut connection = self.connection.lock().await;
        bounded(&self.url, ANSWER, query.fetch_all(&mut *connection)).await
    }

    /// The triggers of `table`, but for those of its foreign keys, and its rewrite rules, by name.
    ///
    /// # Errors
    /// The query failed.
    pub async fn triggers(&self, table: &str) -> StoreResult<Vec<Trigger>> {
        let sql = "\
            SELECT tgname::text AS name, tgenabled IN ('O', 'A') AS enabled, false AS is_rule \
            FROM pg_trigger WHERE tgrelid = to_regclass($1) AND NOT tgisinternal \
            UNION ALL SELECT rulename::text, ev_enabled IN ('O', 'A'), true \
            FROM pg_rewrite WHERE ev_class = to_regclass($1) AND ev_type <> '1' ORDER BY 3, 1";
        let query = sqlx::query_as(sql).bind(quote(table));
        let mut connection = self.connection.lock().await;
        bounded(&self.url, ANSWER, query.fetch_all(&mut *connection)).await
    }
}

/// A trigger, or a rule that replaces or extends a statement (`CREATE RULE`).
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Trigger {
    /// Its name.
    pub name: String,
    /// It fires for ordinary sessions.
    pub enabled: bool,
    /// It is a rule.
    pub is_rule: bool,
}

fn unlike((name, declared, is): (String, Option<String>, Option<String>)) -> String {
    match (declared, is) {
        (_, None) => format!("{name} is missing"),
        (declared, Some(is)) => {
            format!("{name} is {is}, not {}", declared.unwrap_or_default())
        }
    }
}
