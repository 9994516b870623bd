//! Connections to everything that is watched, opened before the payment is posted so that nothing
//! is missed.

use std::{collections::BTreeSet, time::Duration};

use uuid::Uuid;

use super::{Options, cleanup, expected::Step, hop::HopPlace, template::Values};
use crate::stores::{
    StoreError, TIMEOUT,
    postgres::{
        Postgres,
        ownership::{Before, Stamp},
    },
    redis::Redis,
};
use declaration::{Flow, Pipeline};
use diagnostics::{Error, Kind, Result};
use kafka::{Kafka, Partition, offsets::GroupOffsets, tail::Tail};
use platform::Container;
use platform::Platform;

/// Expiry of the test's keys, in case the process dies before it deletes them.
const KEYS_OUTLIVE: Duration = Duration::from_secs(60);

pub(super) struct Sources {
    /// Reads the topics of the flow from their ends before the payment was posted.
    pub(super) tail: Option<Tail>,
    pub(super) groups: Vec<Group>,
    pub(super) tables: Option<Tables>,
    /// Keys that the pipeline has to delete; the ones that did not exist were set.
    pub(super) keys: Option<Keys>,
    /// Of the services whose log stages are expected.
    pub(super) containers: Vec<Container>,
    /// The service that makes payments: see `Flow::maker`.
    pub(super) entry: String,
}

/// A consumer group of the flow.
pub struct Group {
    /// The service whose consumer group it is.
    pub service: String,
    /// The topics of the flow that it consumes.
    pub topics: Vec<String>,
    /// Reads its committed offsets.
    pub offsets: GroupOffsets,
}

/// The database, and what identifies rows that the payment wrote.
pub(super) struct Tables {
    pub(super) postgres: Postgres,
    /// From before the payment was posted.
    pub(super) stamp: Stamp,
    /// Present if rows without a `synthetic` column may have to be deleted.
    pub(super) before: Option<Before>,
}

pub(super) struct Keys {
    pub(super) redis: Redis,
    /// All keys that have to be deleted.
    pub(super) names: Vec<String>,
    /// The value of those that did not exist and were set.
    value: String,
}

impl Sources {
    /// # Errors
    /// `Unreachable`: which of them does not answer, and why.
    pub(super) async fn open(
        pipeline: &Pipeline,
        engine: &dyn Platform,
        flow: &Flow,
        values: &Values,
        steps: &[Step],
        options: Options,
    ) -> Result<Self> {
        let timeout = options.timeout;
        let (kafka, tables, keys, containers) = tokio::try_join!(
            open_kafka(pipeline, steps),
            open_tables(pipeline, steps, options),
            set_keys(pipeline, flow, values, timeout + KEYS_OUTLIVE),
            engine.containers(&pipeline.project),
        )?;
        let logs = |service: &str| {
            steps
                .iter()
                .any(|s| matches!(&s.place, HopPlace::Log { service: s, .. } if s == service))
        };
        let (tail, groups) = kafka.unzip();
        Ok(Self {
            tail: tail.flatten(),
            groups: groups.unwrap_or_default(),
            tables,
            keys,
            containers: containers
                .into_iter()
                .filter(|c| logs(&c.service))
                .collect(),
            entry: flow.maker().to_owned(),
        })
    }

    /// Deletes the remaining keys that were set.
    pub(super) async fn delete_keys(&self) -> Result<(), StoreError> {
        match &self.keys {
            Some(keys) => {
                let deleting = keys.redis.delete_having(&keys.names, &keys.value);
                deleting.await.map(drop)
            }
            None => Ok(()),
        }
    }
}

async fn open_kafka(
    pipeline: &Pipeline,
    steps: &[Step],
) -> Result<Option<(Option<Tail>, Vec<Group>)>> {
    let topics: BTreeSet<&str> = steps.iter().filter_map(Step::topic).collect();
    if topics.is_empty() {
        return Ok(None);
    }
    let Some(endpoint) = &pipeline.kafka else {
        return Err(nowhere("Kafka"));
    };
    let kafka = Kafka::connect(&endpoint.address)
        .await
        .map_err(unreachable)?;
    let there = kafka.topics().await.map_err(unreachable)?;
    let there = there.iter().filter(|t| topics.contains(t.name.as_str()));
    let partitions: Vec<Partition> = there
        .flat_map(|t| (0..t.partitions).map(|p| (t.name.clone(), p)))
        .collect();
    let tail = match partitions.is_empty() {
        true => None,
        false => Some(kafka.tail(partitions).await.map_err(unreachable)?),
    };
    let groups = groups(pipeline, &kafka, &topics).await;
    let groups = groups.map_err(unreachable)?;
    Ok(Some((tail, groups)))
}

/// The consumer groups of `topics`, each with those that it consumes.
pub async fn groups(
    pipeline: &Pipeline,
    kafka: &Kafka,
    topics: &BTreeSet<&str>,
) -> Result<Vec<Group>, kafka::Error> {
    let mut groups = Vec::new();
    for service in &pipeline.services {
        let consumes = |topic: &&String| topics.contains(topic.as_str());
        let topics: Vec<String> = service.consumes.iter().filter(consumes).cloned().collect();
        if let Some(group) = &service.group
            && !topics.is_empty()
        {
            groups.push(Group {
                service: service.name.clone(),
                topics,
                offsets: kafka.declared_group(group).await?,
            });
        }
    }
    Ok(groups)
}

async fn open_tables(
    pipeline: &Pipeline,
    steps: &[Step],
    options: Options,
) -> Result<Option<Tables>> {
    if !steps
        .iter()
        .any(|s| matches!(s.place, HopPlace::Table { .. }))
    {
        return Ok(None);
    }
    let Some(endpoint) = &pipeline.postgres else {
        return Err(nowhere("Postgres"));
    };
    let postgres = Postgres::connect(&endpoint.address)
        .await
        .map_err(unreachable)?;
    let deletes = !options.keep && cleanup::needs_before(&cleanup::deletions(pipeline));
    let before = match deletes {
        true => Some(Before::open(&endpoint.address).await.map_err(unreachable)?),
        false => None,
    };
    Ok(Some(Tables {
        stamp: postgres.stamp().await.map_err(unreachable)?,
        postgres,
        before,
    }))
}

async fn set_keys(
    pipeline: &Pipeline,
    flow: &Flow,
    values: &Values,
    expiry: Duration,
) -> Result<Option<Keys>> {
    let Some(gone) = &flow.invalidated_keys else {
        return Ok(None);
    };
    let names = gone
        .keys
        .iter()
        .map(|key| values.fill(key))
        .collect::<Result<Vec<_>>>()?;
    let Some(endpoint) = &pipeline.redis else {
        return Err(nowhere("Redis"));
    };
    let redis = Redis::connect(&endpoint.address, TIMEOUT)
        .await
        .map_err(unreachable)?;
    // A value that no other run has, so each run deletes only its own keys.
    let value = format!("caravan test-flow {}", Uuid::new_v4());
    for name in &names {
        // A key that already exists is not the test's: it is neither overwritten nor deleted.
        let setting = redis.set_new(name, &value, expiry);
        setting.await.map_err(unreachable)?;
    }
    Ok(Some(Keys {
        redis,
        names,
        value,
    }))
}

fn unreachable(why: impl std::fmt::Display) -> Error {
    Error::new(Kind::Unreachable, "the payment could not be followed").because(why)
}

fn nowhere(what: &str) -> Error {
    Error::new(
        Kind::Usage,
        format!("the declaration does not say where {what} is"),
    )
}
