//! Tables are made of what is declared: columns and indexes.

use super::{check::Check, database::migrate, facts::Facts, finding::Outcome, ids};
use declaration::{Pipeline, Table};

/// `columns` and `indexes` of each table, as far as they are declared.
pub(super) fn checks(pipeline: &Pipeline) -> Vec<Check<'_>> {
    pipeline.tables.iter().flat_map(of_table).collect()
}

fn of_table(table: &Table) -> Vec<Check<'_>> {
    let named = |aspect: &str| format!("database.{}.{aspect}", table.name);
    let mut checks = Vec::new();
    if !table.columns.is_empty() {
        let columns = async move |facts: &Facts<'_>| columns(facts, table).await;
        let check = Check::new(named("columns"), "the declared columns", columns);
        checks.push(check.needs([ids::table(&table.name)]));
    }
    if !table.indexes.is_empty() {
        let indexes = async move |facts: &Facts<'_>| indexes(facts, table).await;
        let check = Check::new(named("indexes"), "the declared indexes", indexes);
        checks.push(check.needs([ids::table(&table.name)]));
    }
    checks
}

async fn columns(facts: &Facts<'_>, table: &Table) -> Outcome {
    let unlike = async {
        let postgres = facts.database(0).await?;
        Ok(postgres.unlike_columns(&table.name, &table.columns).await?)
    };
    judge(facts, table.columns.len(), unlike.await)
}

async fn indexes(facts: &Facts<'_>, table: &Table) -> Outcome {
    let missing = async {
        let postgres = facts.database(0).await?;
        let names = postgres
            .missing_indexes(&table.name, &table.indexes)
            .await?;
        let missing = names.iter().map(|name| format!("{name} is missing"));
        Ok(missing.collect())
    };
    judge(facts, table.indexes.len(), missing.await)
}

fn judge(facts: &Facts<'_>, declared: usize, wrong: Result<Vec<String>, String>) -> Outcome {
    match wrong {
        Err(why) => Outcome::fail(why),
        Ok(wrong) if wrong.is_empty() => Outcome::pass(format!("{declared} of {declared}")),
        Ok(wrong) => Outcome::fail(format!("{} of {declared}", declared - wrong.len()))
            .evidence(wrong)
            .hint(migrate(facts)),
    }
}
