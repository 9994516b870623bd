//! Postgres: reachable, migrated, its tables there; the invariants have a file of their own.

use super::{check::Check, facts::Facts, finding::Outcome, ids};
use crate::stores;
use declaration::{Effect, Migrations, Pipeline, Table};

pub(super) fn checks(pipeline: &Pipeline) -> Vec<Check<'_>> {
    if pipeline.postgres.is_none() && !asks(pipeline) {
        return Vec::new();
    }
    let endpoint = pipeline.postgres.as_ref();
    let reachable = async move |facts: &Facts<'_>| match (facts.postgres().await, endpoint) {
        (Ok(_), _) => Outcome::pass("connected"),
        (Err(why), Some(postgres)) => {
            Outcome::fail(why).hint(facts.remedy_of("postgres", postgres).await)
        }
        (Err(why), None) => Outcome::fail(why),
    };
    let service = endpoint.and_then(|postgres| postgres.service.as_deref());
    let reachable = Check::new(ids::DATABASE, "accepts a connection", reachable)
        .follows(ids::deployed_of(pipeline, service))
        .suspects(service.map(ids::as_declared));
    let migrations = pipeline.migrations.iter().map(|declared| {
        let applied = async move |facts: &Facts<'_>| migrated(facts, declared).await;
        let expected = format!("version {}", declared.latest);
        Check::new(ids::MIGRATIONS, expected, applied)
            .needs([ids::DATABASE])
            .follows(ids::makers(pipeline, Effect::Migrations))
    });
    let tables = pipeline.tables.iter().map(|table| {
        let there = async move |facts: &Facts<'_>| exists(facts, table).await;
        Check::new(ids::table(&table.name), "exists", there)
            .needs([ids::DATABASE])
            .follows([ids::MIGRATIONS])
    });
    [reachable]
        .into_iter()
        .chain(migrations)
        .chain(tables)
        .collect()
}

/// Whether anything is declared that only the database can tell.
fn asks(pipeline: &Pipeline) -> bool {
    let Pipeline {
        migrations,
        tables,
        invariants,
        ..
    } = pipeline;
    migrations.is_some() || !tables.is_empty() || !invariants.is_empty()
}

async fn migrated(facts: &Facts<'_>, migrations: &Migrations) -> Outcome {
    let applied = async {
        let postgres = facts.database(0).await?;
        Ok::<_, String>(postgres.applied_migration(&migrations.table).await?)
    };
    match applied.await {
        Err(why) => Outcome::fail(why),
        Ok(applied) => match stores::missing_migration(migrations, applied) {
            None => Outcome::pass(applied.unwrap_or_default().to_string()),
            Some(missing) => Outcome::fail(missing).hint(migrate(facts)),
        },
    }
}

async fn exists(facts: &Facts<'_>, table: &Table) -> Outcome {
    match facts.missing_tables().await {
        Err(why) => Outcome::fail(why.clone()),
        Ok(missing) if missing.contains(&table.name) => {
            Outcome::fail("missing").hint(migrate(facts))
        }
        Ok(_) => Outcome::pass("there"),
    }
}

/// What applies the migrations.
pub(super) fn migrate(facts: &Facts<'_>) -> String {
    let migrates = |effect: Option<Effect>| effect == Some(Effect::Migrations);
    let services = &facts.pipeline.services;
    facts.command(&match services.iter().find(|s| migrates(s.effect)) {
        Some(service) => format!("up {}", service.name),
        None => "up".to_owned(),
    })
}
