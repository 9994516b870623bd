//! Tables are made of what is declared: columns and indexes.

use std::time::Instant;

use super::{
    Scene,
    finding::{Check, Finding},
};
use crate::{clients::postgres::Postgres, pipeline::Table};

/// `columns` and `indexes` of a table, as far as they are declared; `hint` is what makes them.
pub(super) async fn check(scene: Scene<'_>, postgres: &Postgres, table: &Table, hint: &str) {
    let began = Instant::now();
    if !table.columns.is_empty() {
        let unlike = postgres.unlike_columns(&table.name, &table.columns).await;
        let finding = judge(columns(began, table), table.columns.len(), unlike, hint);
        scene.report.send(finding);
    }
    if !table.indexes.is_empty() {
        let missing = postgres.missing_indexes(&table.name, &table.indexes).await;
        let missing = missing.map(|names| {
            let missing = names.iter().map(|name| format!("{name} is missing"));
            missing.collect()
        });
        let finding = judge(indexes(began, table), table.indexes.len(), missing, hint);
        scene.report.send(finding);
    }
}

/// Both, when the table or all of Postgres is not there.
pub(super) fn skip(scene: Scene<'_>, table: &Table, why: &str, cause: &str) {
    let began = Instant::now();
    if !table.columns.is_empty() {
        scene.report.send(columns(began, table).skip(why, cause));
    }
    if !table.indexes.is_empty() {
        scene.report.send(indexes(began, table).skip(why, cause));
    }
}

fn columns(began: Instant, table: &Table) -> Check {
    let id = format!("database.{}.columns", table.name);
    Check::new(began, id, "the declared columns")
}

fn indexes(began: Instant, table: &Table) -> Check {
    let id = format!("database.{}.indexes", table.name);
    Check::new(began, id, "the declared indexes")
}

fn judge(check: Check, declared: usize, wrong: Result<Vec<String>, String>, hint: &str) -> Finding {
    match wrong {
        Err(why) => check.fail(why),
        Ok(wrong) if wrong.is_empty() => check.pass(format!("{declared} of {declared}")),
        Ok(wrong) => check
            .fail(format!("{} of {declared}", declared - wrong.len()))
            .evidence(wrong)
            .hint(hint),
    }
}
