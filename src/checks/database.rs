//! Postgres: reachable, migrated, its tables there; the invariants have a file of their own.

use std::time::Instant;

use futures_util::future::join_all;

use super::{
    Containers, Scene,
    finding::{Check, Status},
    invariants, shape,
};
use crate::{
    clients::{self, postgres::Postgres},
    error::Result,
    pipeline::{Effect, Migrations, Pipeline},
};

/// The id that the rest of the layer names as its cause.
const REACHABLE: &str = "database.reachable";

pub(super) async fn check(scene: Scene<'_>, containers: impl Containers) -> Result<()> {
    let pipeline = scene.pipeline;
    if pipeline.postgres.is_none() && !asks(pipeline) {
        return Ok(());
    }
    let began = Instant::now();
    let check = Check::new(began, REACHABLE, "accepts a connection");
    let reached = match &pipeline.postgres {
        Some(endpoint) => connect(&endpoint.address).await,
        None => Err("the declaration does not say where Postgres is".to_owned()),
    };
    match reached {
        Ok(connections) => {
            scene.report.send(check.pass("connected"));
            ask(scene, &connections).await;
        }
        Err(why) => {
            let failed = check.fail(why);
            scene.report.send(match &pipeline.postgres {
                Some(postgres) => {
                    failed.hint(scene.remedy_of(&containers.await?, "postgres", postgres))
                }
                None => failed,
            });
            skip(scene, began);
        }
    }
    Ok(())
}

/// Two connections: so that large tables are not looked at one after another; one will do.
async fn connect(url: &str) -> Result<Vec<Postgres>, String> {
    let (first, second) = tokio::join!(Postgres::connect(url), Postgres::connect(url));
    Ok([first?].into_iter().chain(second).collect())
}

async fn ask(scene: Scene<'_>, connections: &[Postgres]) {
    let rules = &scene.pipeline.invariants;
    let shares = connections
        .iter()
        .enumerate()
        .map(async |(index, postgres)| {
            if index == 0 {
                migrations(scene, postgres).await;
                tables(scene, postgres).await;
            }
            for rule in rules.iter().skip(index).step_by(connections.len()) {
                invariants::check(scene, postgres, rule).await;
            }
        });
    join_all(shares).await;
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

async fn migrations(scene: Scene<'_>, postgres: &Postgres) {
    let Some(migrations) = &scene.pipeline.migrations else {
        return;
    };
    let check = migrations_check(Instant::now(), migrations);
    scene
        .report
        .send(match postgres.applied_migration(&migrations.table).await {
            Err(why) => check.fail(why),
            Ok(applied) => match clients::missing_migration(migrations, applied) {
                None => check.pass(format!("{}", applied.unwrap_or_default())),
                Some(missing) => check.fail(missing).hint(migrate(scene)),
            },
        });
}

async fn tables(scene: Scene<'_>, postgres: &Postgres) {
    let tables = &scene.pipeline.tables;
    let began = Instant::now();
    let names: Vec<String> = tables.iter().map(|t| t.name.clone()).collect();
    let missing = postgres.missing_tables(&names).await;
    for table in tables {
        let check = table_check(began, &table.name);
        let exists = match &missing {
            Err(why) => check.fail(why.clone()),
            Ok(missing) if missing.contains(&table.name) => {
                check.fail("missing").hint(migrate(scene))
            }
            Ok(_) => check.pass("there"),
        };
        let (id, there) = (exists.id.clone(), exists.status == Status::Pass);
        scene.report.send(exists);
        if there {
            shape::check(scene, postgres, table, &migrate(scene)).await;
        } else {
            shape::skip(scene, table, "the table is not there", &id);
        }
    }
}

fn skip(scene: Scene<'_>, began: Instant) {
    let pipeline = scene.pipeline;
    let migrations = pipeline
        .migrations
        .iter()
        .map(|m| migrations_check(began, m));
    let tables = pipeline.tables.iter().map(|t| table_check(began, &t.name));
    let rules = pipeline
        .invariants
        .iter()
        .map(|rule| invariants::begin(began, rule));
    for table in &pipeline.tables {
        shape::skip(scene, table, "the database is not reachable", REACHABLE);
    }
    for check in migrations.chain(tables).chain(rules) {
        scene
            .report
            .send(check.skip("the database is not reachable", REACHABLE));
    }
}

fn migrations_check(began: Instant, migrations: &Migrations) -> Check {
    Check::new(
        began,
        "database.migrations",
        format!("version {}", migrations.latest),
    )
}

fn table_check(began: Instant, table: &str) -> Check {
    Check::new(began, format!("database.{table}.exists"), "exists")
}

/// What applies the migrations.
fn migrate(scene: Scene<'_>) -> String {
    let migrates = |effect: Option<Effect>| effect == Some(Effect::Migrations);
    let service = scene.pipeline.services.iter().find(|s| migrates(s.effect));
    scene.invocation.command(&match service {
        Some(service) => format!("up {}", service.name),
        None => "up".to_owned(),
    })
}
