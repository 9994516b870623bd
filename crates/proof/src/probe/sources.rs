//! Everything that is looked at, opened before the payment is posted so that nothing is missed.

use std::{collections::BTreeSet, time::Duration};

use super::{expected::Step, hop::Place, template::Values};
use crate::stores::{StoreError, TIMEOUT, postgres::Postgres, redis::Redis};
use declaration::{Flow, Pipeline};
use diagnostics::{Error, Kind, Result};
use kafka::{Kafka, Partition, offsets::GroupOffsets, tail::Tail};
use platform::Container;
use platform::Platform;

/// How long keys outlive the probe, should it die before it deletes them.
const KEYS_OUTLIVE: Duration = Duration::from_secs(60);

pub(super) struct Sources {
    /// Of the topics that the payment's events travel on, from before it was posted.
    pub(super) tail: Option<Tail>,
    pub(super) groups: Vec<Group>,
    pub(super) postgres: Option<Postgres>,
    /// Set, and to be gone.
    pub(super) keys: Option<Keys>,
    /// Of the services whose log stages are expected.
    pub(super) containers: Vec<Container>,
    /// Who makes payments: see `Flow::maker`.
    pub(super) entry: String,
}

/// A consumer group on the payment's way.
pub struct Group {
    pub service: String,
    pub topics: Vec<String>,
    pub offsets: GroupOffsets,
}

pub(super) struct Keys {
    pub(super) redis: Redis,
    pub(super) names: Vec<String>,
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
        timeout: Duration,
    ) -> Result<Self> {
        let (kafka, postgres, keys, containers) = tokio::try_join!(
            open_kafka(pipeline, steps),
            open_postgres(pipeline, steps),
            set_keys(pipeline, flow, values, timeout + KEYS_OUTLIVE),
            engine.containers(&pipeline.project),
        )?;
        let logs = |service: &str| {
            steps
                .iter()
                .any(|s| matches!(&s.place, Place::Log { service: s, .. } if s == service))
        };
        let (tail, groups) = kafka.unzip();
        Ok(Self {
            tail: tail.flatten(),
            groups: groups.unwrap_or_default(),
            postgres,
            keys,
            containers: containers
                .into_iter()
                .filter(|c| logs(&c.service))
                .collect(),
            entry: flow.maker().to_owned(),
        })
    }

    /// Deletes what is left of the keys.
    pub(super) async fn delete_keys(&self) -> Result<(), StoreError> {
        match &self.keys {
            Some(keys) => keys.redis.delete(&keys.names).await.map(drop),
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

async fn open_postgres(pipeline: &Pipeline, steps: &[Step]) -> Result<Option<Postgres>> {
    if !steps.iter().any(|s| matches!(s.place, Place::Table { .. })) {
        return Ok(None);
    }
    let Some(endpoint) = &pipeline.postgres else {
        return Err(nowhere("Postgres"));
    };
    let postgres = Postgres::connect(&endpoint.address)
        .await
        .map_err(unreachable)?;
    Ok(Some(postgres))
}

async fn set_keys(
    pipeline: &Pipeline,
    flow: &Flow,
    values: &Values,
    expiry: Duration,
) -> Result<Option<Keys>> {
    let Some(gone) = &flow.gone_keys else {
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
    for name in &names {
        redis
            .set(name, "caravan test-flow", expiry)
            .await
            .map_err(unreachable)?;
    }
    Ok(Some(Keys { redis, names }))
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
