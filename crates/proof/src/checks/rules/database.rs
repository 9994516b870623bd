//! Postgres answers, is migrated and has the declared tables, columns and indexes.

use crate::{
    checks::{
        check::Check, context::CheckContext, finding::Outcome, ids, observe::ObservationError,
    },
    stores,
};
use declaration::{Effect, Migrations, Pipeline, Table};

pub(super) fn checks(pipeline: &Pipeline) -> Vec<Check<'_>> {
    let Some(id) = ids::database(pipeline) else {
        return Vec::new();
    };
    let endpoint = pipeline.postgres.as_ref();
    let reachable =
        async move |context: &CheckContext<'_>| match (context.observed.database().await, endpoint)
        {
            (Ok(_), _) => Outcome::pass("connected"),
            (Err(why), Some(postgres)) => {
                Outcome::fail(why).hint(context.remedy_of("postgres", postgres).await)
            }
            (Err(why), None) => Outcome::fail(why),
        };
    let service = endpoint.and_then(|postgres| postgres.service.as_deref());
    let reachable = Check::new(id, "accepts a connection", reachable)
        .explained_by(ids::deployed_of(pipeline, service))
        .possible_causes(ids::as_declared_of(pipeline, service));
    let tables = || pipeline.tables.iter();
    [reachable]
        .into_iter()
        .chain(migrations(pipeline))
        .chain(tables().filter_map(|table| exists(pipeline, table)))
        .chain(tables().flat_map(|table| schema(pipeline, table)))
        .collect()
}

fn migrations(pipeline: &Pipeline) -> Option<Check<'_>> {
    let id = ids::migrations(pipeline)?;
    let declared = pipeline.migrations.as_ref()?;
    let applied = async move |context: &CheckContext<'_>| match context
        .observed
        .applied_migration(declared)
        .await
    {
        Err(why) => Outcome::fail(why),
        Ok(applied) => judge_migration(declared, applied).hint(migrate(context)),
    };
    let check = Check::new(id, format!("version {}", declared.latest), applied)
        .needs(ids::database(pipeline))
        .explained_by(ids::makers(pipeline, Effect::Migrations));
    Some(check)
}

fn judge_migration(declared: &Migrations, applied: Option<i64>) -> Outcome {
    match stores::missing_migration(declared, applied) {
        None => Outcome::pass(applied.unwrap_or_default().to_string()),
        Some(missing) => Outcome::fail(missing),
    }
}

fn exists<'a>(pipeline: &'a Pipeline, table: &'a Table) -> Option<Check<'a>> {
    let id = ids::table(pipeline, &table.name)?;
    let exists =
        async move |context: &CheckContext<'_>| match context.observed.missing_tables().await {
            Err(why) => Outcome::fail(why),
            Ok(missing) if missing.contains(&table.name) => {
                Outcome::fail("missing").hint(migrate(context))
            }
            Ok(_) => Outcome::pass("there"),
        };
    let check = Check::new(id, "exists", exists)
        .needs(ids::database(pipeline))
        .explained_by(ids::migrations(pipeline));
    Some(check)
}

/// `columns` and `indexes` of a table, as far as they are declared.
fn schema<'a>(pipeline: &'a Pipeline, table: &'a Table) -> Vec<Check<'a>> {
    let mut checks = Vec::new();
    if !table.columns.is_empty() {
        let columns = async move |context: &CheckContext<'_>| {
            let wrong = context.observed.wrong_columns(table).await;
            judge_schema(context, table.columns.len(), wrong)
        };
        let id = ids::COLUMNS.of(&table.name);
        checks.push(Check::new(id, "the declared columns", columns));
    }
    if !table.indexes.is_empty() {
        let indexes = async move |context: &CheckContext<'_>| {
            let missing = context.observed.missing_indexes(table).await;
            let missing = missing.map(|names| {
                let names = names.iter();
                names.map(|name| format!("{name} is missing")).collect()
            });
            judge_schema(context, table.indexes.len(), missing)
        };
        let id = ids::INDEXES.of(&table.name);
        checks.push(Check::new(id, "the declared indexes", indexes));
    }
    let checks = checks.into_iter();
    checks
        .map(|check| check.needs(ids::table(pipeline, &table.name)))
        .collect()
}

fn judge_schema(
    context: &CheckContext<'_>,
    declared: usize,
    wrong: Result<Vec<String>, ObservationError>,
) -> Outcome {
    match wrong {
        Err(why) => Outcome::fail(why),
        Ok(wrong) if wrong.is_empty() => Outcome::pass(format!("{declared} of {declared}")),
        Ok(wrong) => Outcome::fail(format!("{} of {declared}", declared - wrong.len()))
            .evidence(wrong)
            .hint(migrate(context)),
    }
}

/// The command that applies the migrations.
fn migrate(context: &CheckContext<'_>) -> String {
    let migrates = |effect: Option<Effect>| effect == Some(Effect::Migrations);
    let services = &context.pipeline.services;
    context.command(&match services.iter().find(|s| migrates(s.effect)) {
        Some(service) => format!("up {}", service.name),
        None => "up".to_owned(),
    })
}
