//! Whether what a one-shot leaves behind is there.

use std::collections::BTreeMap;

use super::{kafka::Kafka, postgres::Postgres};
use crate::pipeline::{Endpoint, Migrations, Pipeline};

/// Declared topics that do not exist, or with too few partitions.
pub(super) async fn missing_topics(pipeline: &Pipeline) -> Result<Option<String>, String> {
    let bootstrap = &endpoint(pipeline.kafka.as_ref(), "kafka")?.address;
    let kafka = Kafka::connect(bootstrap).await?;
    let partitions: BTreeMap<String, i32> = kafka
        .topics()
        .await?
        .into_iter()
        .map(|t| (t.name, t.partitions))
        .collect();
    let missing: Vec<String> = pipeline
        .topics
        .iter()
        .filter_map(|topic| match partitions.get(&topic.name) {
            None => Some(format!("topic {} does not exist", topic.name)),
            Some(&n) if n < topic.partitions => Some(format!(
                "topic {} has {n} of {} partitions",
                topic.name, topic.partitions
            )),
            Some(_) => None,
        })
        .collect();
    Ok((!missing.is_empty()).then(|| missing.join(", ")))
}

/// The declared migration, if it is not applied.
pub(super) async fn missing_migrations(pipeline: &Pipeline) -> Result<Option<String>, String> {
    let Some(migrations) = &pipeline.migrations else {
        return Err("the declaration has no migrations".to_owned());
    };
    let url = &endpoint(pipeline.postgres.as_ref(), "postgres")?.address;
    let postgres = Postgres::connect(url).await?;
    let applied = postgres.applied_migration(&migrations.table).await?;
    Ok(missing_migration(migrations, applied))
}

/// In words, what lacks between the last applied migration and the declared one.
pub(crate) fn missing_migration(migrations: &Migrations, applied: Option<i64>) -> Option<String> {
    match applied {
        Some(version) if version >= migrations.latest => None,
        Some(version) => Some(format!(
            "migration {} is not applied, the last one is {version}",
            migrations.latest
        )),
        None => Some(format!(
            "no migration is applied ({} is due)",
            migrations.latest
        )),
    }
}

fn endpoint<'a>(endpoint: Option<&'a Endpoint>, what: &str) -> Result<&'a Endpoint, String> {
    endpoint.ok_or_else(|| format!("the declaration does not say where {what} is"))
}
