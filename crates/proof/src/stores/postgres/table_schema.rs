//! Reads the columns, indexes, constraints and triggers of tables and compares them with the declaration.

use std::collections::BTreeMap;

use super::{ANSWER, Postgres, StoreResult, bounded, quote};
use declaration::{Column, Table};

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

    /// How the indexes, constraints and triggers of all `tables` differ from the declaration; one query for each kind,
    /// however many tables there are.
    ///
    /// # Errors
    /// A query failed.
    pub async fn differences(&self, tables: &[Expected<'_>]) -> StoreResult<Differences> {
        let indexes = Items::of(tables, |table| &table.declared.indexes);
        let constraints = Items::of(tables, |table| &table.declared.constraints);
        Ok(Differences {
            indexes: self.unlike(UNLIKE_INDEXES, indexes).await?,
            constraints: self.unlike(UNLIKE_CONSTRAINTS, constraints).await?,
            others: self.other_constraints(tables).await?,
            triggers: self.triggers(tables).await?,
        })
    }

    async fn unlike(&self, sql: &'static str, items: Items<'_>) -> StoreResult<ByTable<String>> {
        let query = sqlx::query_as(sql);
        let query = query
            .bind(items.tables)
            .bind(items.quoted)
            .bind(items.names);
        let mut connection = self.connection.lock().await;
        let rows = bounded(&self.url, ANSWER, query.fetch_all(&mut *connection)).await?;
        Ok(by_table(rows))
    }

    async fn other_constraints(&self, tables: &[Expected<'_>]) -> StoreResult<ByTable<String>> {
        let declared: Vec<_> = tables
            .iter()
            .filter(|table| !table.declared.constraints.is_empty())
            .copied()
            .collect();
        let all = Items::of(&declared, |table| {
            std::slice::from_ref(&table.declared.name)
        });
        let constraints = Items::of(&declared, |table| &table.declared.constraints);
        let indexes = Items::of(&declared, |table| &table.declared.indexes);
        let written: Vec<_> = declared
            .iter()
            .filter(|table| table.is_written)
            .flat_map(|table| {
                let columns = table.declared.columns.iter();
                columns.map(|column| (table.declared.name.as_str(), column.name.as_str()))
            })
            .collect();
        let query = sqlx::query_as(OTHER_CONSTRAINTS)
            .bind(all.tables)
            .bind(all.quoted)
            .bind([constraints.tables, indexes.tables].concat())
            .bind([constraints.names, indexes.names].concat())
            .bind(written.iter().map(|(table, _)| *table).collect::<Vec<_>>())
            .bind(
                written
                    .iter()
                    .map(|(_, column)| *column)
                    .collect::<Vec<_>>(),
            );
        let mut connection = self.connection.lock().await;
        let rows = bounded(&self.url, ANSWER, query.fetch_all(&mut *connection)).await?;
        Ok(by_table(rows))
    }

    async fn triggers(&self, tables: &[Expected<'_>]) -> StoreResult<ByTable<Trigger>> {
        let all = Items::of(tables, |table| std::slice::from_ref(&table.declared.name));
        let query = sqlx::query_as(TRIGGERS).bind(all.tables).bind(all.quoted);
        let mut connection = self.connection.lock().await;
        let rows: Vec<(String, String, bool, bool)> =
            bounded(&self.url, ANSWER, query.fetch_all(&mut *connection)).await?;
        let rows = rows.into_iter().map(|(table, name, enabled, is_rule)| {
            let trigger = Trigger {
                name,
                enabled,
                is_rule,
            };
            (table, trigger)
        });
        Ok(by_table(rows))
    }
}

/// A declared table.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// As it is declared.
    pub declared: &'a Table,
    /// Whether a service inserts into it: then all columns that need a value have to be declared.
    pub is_written: bool,
}

/// What there is of each table, by the name that is declared.
pub type ByTable<T> = BTreeMap<String, Vec<T>>;

/// How tables differ from the declaration: messages, by table.
#[derive(Debug, Default)]
pub struct Differences {
    /// Declared indexes that are missing or cannot be used.
    pub indexes: ByTable<String>,
    /// Declared constraints that are missing or do not hold for all rows: not validated, with an index that is not
    /// valid, or with disabled triggers.
    pub constraints: ByTable<String>,
    /// What makes a table refuse rows besides its declared constraints: others, unique indexes, and columns that are
    /// not declared and need a value. Of tables with declared constraints.
    pub others: ByTable<String>,
    /// All triggers, but for those of foreign keys, and all rewrite rules, by name.
    pub triggers: ByTable<Trigger>,
}

const UNLIKE_INDEXES: &str = "\
    SELECT d.tab, d.name || CASE WHEN c.oid IS NULL THEN ' is missing' ELSE ' is not valid' END \
    FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS d (tab, quoted, name, n) \
    LEFT JOIN (pg_index i JOIN pg_class c ON c.oid = i.indexrelid) \
    ON i.indrelid = to_regclass(d.quoted) AND c.relname = d.name \
    WHERE c.oid IS NULL OR NOT (i.indisvalid AND i.indisready) ORDER BY d.n";

const UNLIKE_CONSTRAINTS: &str = "\
    SELECT d.tab, d.name || CASE WHEN c.oid IS NULL THEN ' is missing' \
    WHEN NOT c.convalidated THEN ' is not validated' \
    WHEN NOT (i.indisvalid AND i.indisready) THEN ' has an index that is not valid' \
    ELSE ' has disabled triggers' END \
    FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS d (tab, quoted, name, n) \
    LEFT JOIN pg_constraint c ON c.conrelid = to_regclass(d.quoted) AND c.conname = d.name \
    LEFT JOIN pg_index i ON i.indexrelid = c.conindid \
    WHERE c.oid IS NULL OR NOT c.convalidated OR NOT (i.indisvalid AND i.indisready) \
    OR EXISTS (SELECT 1 FROM pg_trigger t WHERE t.tgconstraint = c.oid AND t.tgisinternal \
    AND t.tgenabled NOT IN ('O', 'A')) ORDER BY d.n";

/// 'n' is NOT NULL, of which Postgres 18 has a row for each column.
const OTHER_CONSTRAINTS: &str = "\
    WITH t AS (SELECT tab, to_regclass(quoted) AS oid FROM unnest($1::text[], $2::text[]) AS d (tab, quoted)), \
    declared AS (SELECT * FROM unnest($3::text[], $4::text[]) AS d (tab, name)), \
    written AS (SELECT * FROM unnest($5::text[], $6::text[]) AS d (tab, name)) \
    SELECT t.tab, c.conname || ' is not declared: ' || pg_get_constraintdef(c.oid) \
    FROM t JOIN pg_constraint c ON c.conrelid = t.oid WHERE c.contype IN ('c', 'f', 'p', 'u', 'x') \
    AND NOT EXISTS (SELECT 1 FROM declared d WHERE d.tab = t.tab AND d.name = c.conname) \
    UNION ALL SELECT t.tab, i.relname || ' is a unique index that is not declared' \
    FROM t JOIN pg_index x ON x.indrelid = t.oid JOIN pg_class i ON i.oid = x.indexrelid WHERE x.indisunique \
    AND NOT EXISTS (SELECT 1 FROM declared d WHERE d.tab = t.tab AND d.name = i.relname) \
    AND NOT EXISTS (SELECT 1 FROM pg_constraint c WHERE c.conindid = x.indexrelid) \
    UNION ALL SELECT t.tab, a.attname || ' is not declared, NOT NULL and without a default' \
    FROM t JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped \
    AND a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' \
    WHERE EXISTS (SELECT 1 FROM written w WHERE w.tab = t.tab) \
    AND NOT EXISTS (SELECT 1 FROM written w WHERE w.tab = t.tab AND w.name = a.attname) ORDER BY 1, 2";

const TRIGGERS: &str = "\
    WITH t AS (SELECT tab, to_regclass(quoted) AS oid FROM unnest($1::text[], $2::text[]) AS d (tab, quoted)) \
    SELECT t.tab, tgname::text, tgenabled IN ('O', 'A'), false \
    FROM t JOIN pg_trigger ON tgrelid = t.oid WHERE NOT tgisinternal \
    UNION ALL SELECT t.tab, rulename::text, ev_enabled IN ('O', 'A'), true \
    FROM t JOIN pg_rewrite ON ev_class = t.oid WHERE ev_type <> '1' ORDER BY 4, 2";

/// What is declared of tables: an entry for each item, with its table's name as it is and as it is quoted.
#[derive(Default)]
struct Items<'a> {
    tables: Vec<&'a str>,
    quoted: Vec<String>,
    names: Vec<&'a str>,
}

impl<'a> Items<'a> {
    fn of(tables: &[Expected<'a>], names: impl Fn(&Expected<'a>) -> &'a [String]) -> Self {
        let mut items = Self::default();
        for table in tables {
            for name in names(table) {
                items.tables.push(&table.declared.name);
                items.quoted.push(quote(&table.declared.name));
                items.names.push(name);
            }
        }
        items
    }
}

fn by_table<T>(rows: impl IntoIterator<Item = (String, T)>) -> ByTable<T> {
    let mut tables = ByTable::new();
    for (table, item) in rows {
        tables.entry(table).or_default().push(item);
    }
    tables
}

/// A trigger, or a rule that replaces or extends a statement (`CREATE RULE`).
#[derive(Debug, Clone, PartialEq, Eq)]
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
