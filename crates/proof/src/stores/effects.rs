//! Checks the declared effects of one-shot containers.

use std::{collections::BTreeMap, fmt};

use declaration::DEAD_LETTER_HEADER_BYTES;

use super::{StoreError, StoreResult, postgres::Postgres};
use declaration::{Endpoint, Migrations, Pipeline};
use kafka::Kafka;

/// Declared topics that do not exist, have too few partitions, or no room for dead letters.
pub(super) async fn missing_topics(pipeline: &Pipeline) -> StoreResult<Option<String>> {
    let bootstrap = &endpoint(pipeline.kafka.as_ref(), "kafka")?.address;
    let kafka = Kafka::connect(bootstrap).await?;
    let partitions: BTreeMap<String, i32> = kafka
        .topics()
        .await?
        .into_iter()
        .map(|t| (t.name, t.partitions))
        .collect();
    let mut missing: Vec<String> = pipeline
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
    if missing.is_empty() && pipeline.dead_letters.is_some() {
        let topics: Vec<_> = pipeline.topics.iter().map(|t| t.name.clone()).collect();
        let limits = kafka.message_limits(&topics).await?;
        missing.extend(lacking_room(pipeline, &limits).map(|lack| lack.to_string()));
    }
    Ok((!missing.is_empty()).then(|| missing.join(", ")))
}

/// A dead-letter topic whose size limit is too small for the dead letters of another topic. If such
/// a dead letter is refused, the message's partition stalls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LackingRoom {
    topic: String,
    /// Its `max.message.bytes`.
    pub limit: i64,
    /// The required `max.message.bytes`.
    pub needed: i64,
    /// The topic with the largest message limit.
    source: String,
}

impl fmt::Display for LackingRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            topic,
            limit,
            needed,
            source,
        } = self;
        write!(
            f,
            "topic {topic} takes {limit} bytes, and a dead letter of {source} may have {needed}"
        )
    }
}

/// Compares `max.message.bytes` of the declared topics that exist. None: the limit is large enough,
/// or there is nothing to compare.
pub fn lacking_room(pipeline: &Pipeline, limits: &BTreeMap<String, i64>) -> Option<LackingRoom> {
    let topic = pipeline.dead_letters.as_ref()?;
    let limit = *limits.get(topic)?;
    let (source, largest) = limits
        .iter()
        .filter(|(name, _)| *name != topic)
        .max_by_key(|(_, limit)| **limit)?;
    let headers = i64::try_from(DEAD_LETTER_HEADER_BYTES).unwrap_or(i64::MAX);
    let needed = largest.saturating_add(headers);
    (limit < needed).then(|| LackingRoom {
        topic: topic.clone(),
        limit,
        needed,
        source: source.clone(),
    })
}

/// The declared migration, if it is not applied.
pub(super) async fn missing_migrations(pipeline: &Pipeline) -> StoreResult<Option<String>> {
    let Some(migrations) = &pipeline.migrations else {
        return Err(StoreError::undeclared("the declaration has no migrations"));
    };
    let url = &endpoint(pipeline.postgres.as_ref(), "postgres")?.address;
    let postgres = Postgres::connect(url).await?;
    let applied = postgres.applied_migration(&migrations.table).await?;
    Ok(missing_migration(migrations, applied))
}

/// Message about the difference between the last applied migration and the declared one.
pub fn missing_migration(migrations: &Migrations, applied: Option<i64>) -> Option<String> {
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

fn endpoint<'a>(endpoint: Option<&'a Endpoint>, what: &str) -> StoreResult<&'a Endpoint> {
    endpoint
        .ok_or_else(|| StoreError::undeclared(format!("the declaration has no address of {what}")))
}
