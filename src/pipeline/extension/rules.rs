//! What must hold of the database: migrations, tables, invariants.

use crate::pipeline::{Invariant, Migrations, Replay, Table, problem::Problem, yaml::View};

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

/// In the file's order, which is the order in which a payment reaches them.
pub(super) fn tables(view: &View<'_>) -> Result<Vec<Table>, Problem> {
    let table = |(key, view): (&crate::pipeline::yaml::Key, View<'_>)| {
        identifier(&key.name).map_err(|why| Problem::new(key.at, view.path.clone(), why))?;
        let mut fields = view.fields()?;
        let table = Table {
            name: key.name.clone(),
            find: fields.require("find")?.filled()?,
            rows: fields
                .require("rows")?
                .number::<u32>("a number of rows")?
                .into(),
        };
        fields.finish()?;
        Ok(table)
    };
    view.entries()?.into_iter().map(table).collect()
}

/// Names of tables are written into SQL: nothing but `name` or `schema.name` is let through.
fn identifier(name: &str) -> Result<(), &'static str> {
    let plain = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    if name.split('.').count() <= 2 && name.split('.').all(plain) {
        Ok(())
    } else {
        Err("a table's name has letters, digits and `_`, and perhaps a schema before a dot")
    }
}

pub(super) fn invariants(view: &View<'_>) -> Result<Vec<Invariant>, Problem> {
    let invariant = |(key, view): (&crate::pipeline::yaml::Key, View<'_>)| {
        let mut fields = view.fields()?;
        let invariant = Invariant {
            name: key.name.clone(),
            says: fields.require("says")?.filled()?,
            grace: fields.require("grace")?.duration()?,
            sql: fields.require("sql")?.filled()?,
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
