//! Rules over the database: migrations, tables, invariants.

use crate::{
    Budget, Column, Invalid, Invariant, Migrations, RULE_BUDGET_ALL_ROWS, RULE_SINCE, RULE_UNTIL,
    Removal, Replay, Table, problem::Problem, yaml::View,
};

pub(super) fn migrations(view: &View<'_>) -> Result<Migrations, Problem> {
    let mut fields = view.fields()?;
    let migrations = Migrations {
        table: fields.require("table")?.parse("a table's name", |text| {
            identifier(text).map(|()| text.to_owned())
        })?,
        latest: fields.require("latest")?.number("a version")?,
    };
    fields.finish()?;
    Ok(migrations)
}

/// In the file's order, which is the order in which a message of the flow reaches them.
pub(super) fn tables(view: &View<'_>) -> Result<Vec<Table>, Problem> {
    let table = |(key, view): (&crate::yaml::Key, View<'_>)| {
        identifier(&key.name)
            .map_err(|why| Problem::new(key.at, view.path.clone(), why.to_string()))?;
        let mut fields = view.fields()?;
        let find = fields.read("find", View::filled)?;
        let rows = fields.read("rows", |v| v.number::<u32>("a number of rows"))?;
        let (find, rows) = match (find, rows) {
            (Some(find), Some(rows)) => (find, rows.into()),
            (None, None) => (Table::NONE.to_owned(), 0),
            (Some(_), None) => return Err(fields.problem("`find` needs `rows`")),
            (None, Some(_)) => return Err(fields.problem("`rows` needs `find`")),
        };
        let table = Table {
            name: key.name.clone(),
            find,
            rows,
            cleanup: fields.read_or_default("cleanup", |v| v.word(&REMOVALS))?,
            columns: fields.read_or_default("columns", columns)?,
            indexes: fields.read_or_default("indexes", View::names)?,
            constraints: fields.read_or_default("constraints", View::names)?,
            triggers: fields.read("triggers", View::names)?,
        };
        fields.finish()?;
        Ok(table)
    };
    view.entries()?.into_iter().map(table).collect()
}

const REMOVALS: [(&str, Removal); 3] = [
    ("synthetic", Removal::Synthetic),
    ("find", Removal::Find),
    ("keep", Removal::Keep),
];

/// `name`, or `name: type`.
fn columns(view: &View<'_>) -> Result<Vec<Column>, Problem> {
    let mut columns: Vec<Column> = Vec::new();
    for item in view.items()? {
        let column = column(&item)?;
        if columns.iter().any(|c| c.name == column.name) {
            return Err(item.problem(format!("`{}` is named twice", column.name)));
        }
        columns.push(column);
    }
    Ok(columns)
}

fn column(view: &View<'_>) -> Result<Column, Problem> {
    if !view.is_mapping() {
        let name = view.filled()?;
        return Ok(Column { name, kind: None });
    }
    match view.entries()?.as_slice() {
        [(key, view)] => Ok(Column {
            name: key.name.clone(),
            kind: Some(view.filled()?),
        }),
        _ => Err(view.problem("a column is `name` or `name: type`")),
    }
}

/// Checks that a table's name is `name` or `schema.name`: it is inserted into SQL.
fn identifier(name: &str) -> Result<(), Invalid> {
    let plain = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    if name.split('.').count() <= 2 && name.split('.').all(plain) {
        Ok(())
    } else {
        Err("a table's name has letters, digits and `_`, and perhaps a schema before a dot".into())
    }
}

pub(super) fn invariants(view: &View<'_>) -> Result<Vec<Invariant>, Problem> {
    let invariant = |(key, view): (&crate::yaml::Key, View<'_>)| {
        let mut fields = view.fields()?;
        let sql = fields.require("sql")?.filled()?;
        let within = fields.read("within", View::duration)?;
        match (within, sql.contains(RULE_SINCE)) {
            (Some(_), true) | (None, false) => {}
            (Some(_), false) => {
                return Err(fields.problem(
                    "`within` needs a query that looks from `$$1` (timestamptz) on, as in \
                     `WHERE created_at >= $$1`",
                ));
            }
            (None, true) => {
                return Err(
                    fields.problem("a query with `$$1` needs `within`: how far it looks back")
                );
            }
        }
        if sql.contains(RULE_UNTIL) && within.is_none() {
            return Err(fields.problem("a query with `$$2` (until) needs `$$1` (since), too"));
        }
        let budget = fields.read("budget", View::duration)?;
        let budget = match (budget, within) {
            (Some(budget), _) => Budget::Own(budget),
            (None, Some(_)) => Budget::Shared,
            // It cannot read a part of them.
            (None, None) => Budget::Own(RULE_BUDGET_ALL_ROWS),
        };
        let invariant = Invariant {
            name: key.name.clone(),
            says: fields.require("says")?.filled()?,
            grace: fields.require("grace")?.duration()?,
            sql,
            within,
            budget,
            replay: match (
                fields.read("topic", View::filled)?,
                fields.read("key", View::filled)?,
            ) {
                (Some(topic), Some(key_sql)) => Some(Replay { topic, key_sql }),
                (None, None) => None,
                (Some(_), None) => return Err(fields.problem("`topic` needs `key`")),
                (None, Some(_)) => return Err(fields.problem("`key` needs `topic`")),
            },
        };
        fields.finish()?;
        Ok(invariant)
    };
    view.entries()?.into_iter().map(invariant).collect()
}

#[cfg(test)]
mod tests {
    use super::identifier;

    #[test]
    fn only_plain_names_reach_sql() {
        for name in ["payments", "_sqlx_migrations", "shop.orders2"] {
            assert!(identifier(name).is_ok(), "{name}");
        }
        for name in [
            "",
            "a b",
            "a;drop",
            "a.b.c",
            "1a",
            "\"a\"",
            "a.",
            "tabelle_ä",
        ] {
            assert!(identifier(name).is_err(), "{name}");
        }
    }
}
