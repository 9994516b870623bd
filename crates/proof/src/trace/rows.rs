//! Looks a payment's rows up.

use chrono::{DateTime, Utc};

use super::search::Window;
use crate::{
    probe::{expected::Step, hop::HopPlace},
    stores::{
        StoreError,
        postgres::{Postgres, lookup::Lookup},
    },
};
use declaration::Pipeline;

/// Each table's answer, by the step.
pub(super) type Answers = Vec<(usize, Lookup)>;

/// Queries every table of the flow by its index.
///
/// # Errors
/// The database does not answer, or the declaration does not say where it is.
pub(super) async fn look(
    pipeline: &Pipeline,
    steps: &[Step],
    id: &str,
) -> Result<Answers, StoreError> {
    let tables: Vec<_> = steps
        .iter()
        .enumerate()
        .filter_map(|(index, step)| match &step.place {
            HopPlace::Table { table, .. } => Some((index, pipeline.table(table)?)),
            HopPlace::Entry { .. }
            | HopPlace::Topic { .. }
            | HopPlace::Log { .. }
            | HopPlace::Cache { .. } => None,
        })
        .collect();
    if tables.is_empty() {
        return Ok(Answers::new());
    }
    let Some(endpoint) = &pipeline.postgres else {
        return Err(StoreError::undeclared(
            "the declaration does not say where Postgres is",
        ));
    };
    let postgres = Postgres::connect(&endpoint.address).await?;
    let timed = postgres.keeps_commit_times().await?;
    let mut answers = Answers::new();
    for (index, table) in tables {
        let answer = postgres.look_up(&table.name, &table.find, id, timed);
        answers.push((index, answer.await?));
    }
    Ok(answers)
}

/// From the first commit to the last.
pub(super) fn window(answers: &Answers) -> Option<Window> {
    let times = answers.iter().filter_map(|(_, answer)| match answer {
        Lookup::Rows(rows) => Some([rows.first, rows.last]),
        Lookup::NotAnId | Lookup::Refused(_) => None,
    });
    let times: Vec<DateTime<Utc>> = times.flatten().flatten().collect();
    Some((*times.iter().min()?, *times.iter().max()?))
}
