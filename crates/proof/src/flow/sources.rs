//! Connections to everything that is read, opened before the first message is sent so that nothing is
//! missed.

use std::{collections::BTreeSet, time::Duration};

use uuid::Uuid;

use super::{
    cleanup,
    steps::{self, Step, with_called},
    template::Values,
};
use crate::{
    dead_letters::RecordId,
    stores::{
        StoreError, TIMEOUT,
        postgres::{
            Postgres,
            ownership::{Before, Deletion, Stamp},
        },
        redis::Redis,
    },
};
use declaration::{Flow, Pipeline, Table, correlation::Correlation};
use diagnostics::{Error, Kind, Result};
use kafka::{
    Kafka, Partition,
    offsets::{End, GroupOffsets, Offsets},
    topics::TopicState,
};

/// The topics of the flow and the groups that consume them.
pub(super) struct Topics {
    pub(super) kafka: Kafka,
    pub(super) partitions: Vec<Partition>,
    /// In the order of the flow.
    pub(super) topics: Vec<Topic>,
    pub(super) groups: Vec<Group>,
    pub(super) correlation: Correlation,
    /// The first topic of the flow that does not exist.
    pub(super) absent: Option<String>,
}

/// A topic of the flow.
pub(super) struct Topic {
    pub(super) name: String,
    /// Whether messages enter by this topic: the number of its events is known.
    pub(super) first: bool,
    /// Indexes of the groups whose services emit to it, or call one that does.
    pub(super) fed_by: Vec<usize>,
}

/// A consumer group of the flow.
pub(super) struct Group {
    /// The service whose consumer group it is.
    pub(super) service: String,
    /// The topics of the flow that it consumes.
    pub(super) topics: Vec<String>,
    /// Reads its committed offsets.
    pub(super) offsets: GroupOffsets,
}

impl Topics {
    /// None: the flow has no topic.
    ///
    /// # Errors
    /// `Usage`: no Kafka is declared. `Unreachable`: it does not answer.
    pub(super) async fn open(
        pipeline: &Pipeline,
        flow: &Flow,
        steps: &[Step],
    ) -> Result<Option<Self>> {
        let names: BTreeSet<&str> = steps.iter().filter_map(Step::topic).collect();
        if names.is_empty() {
            return Ok(None);
        }
        let endpoint = pipeline.kafka.as_ref().ok_or_else(|| undeclared("Kafka"))?;
        let unreachable = |why| unreachable(pipeline, why);
        let kafka = Kafka::connect(&endpoint.address).await;
        let kafka = kafka.map_err(unreachable)?;
        let existing = kafka.topics().await.map_err(unreachable)?;
        let groups = groups(pipeline, &kafka, &names).await;
        let groups = groups.map_err(unreachable)?;
        let exists = |name: &&str| existing.iter().any(|topic| topic.name == **name);
        let absent = names.iter().find(|name| !exists(name));
        let topics = steps::topics(steps).map(|(step, name)| Topic {
            name: name.to_owned(),
            first: steps[step].service == flow.maker(),
            fed_by: feeders(pipeline, &groups, name),
        });
        Ok(Some(Self {
            partitions: partitions(&existing, |name| names.contains(name)),
            topics: topics.collect(),
            absent: absent.map(|&name| name.to_owned()),
            groups,
            correlation: flow.correlation.clone(),
            kafka,
        }))
    }

    /// Where the topics end now.
    pub(super) async fn ends(&self) -> Result<Offsets, kafka::Error> {
        self.kafka.ends(&self.partitions, End::Latest).await
    }
}

/// All partitions of the topics with these names.
pub(super) fn partitions(existing: &[TopicState], wanted: impl Fn(&str) -> bool) -> Vec<Partition> {
    let wanted = existing.iter().filter(|topic| wanted(&topic.name));
    wanted
        .flat_map(|t| (0..t.partitions).map(|p| (t.name.clone(), p)))
        .collect()
}

/// The part of `offsets` that belongs to one topic.
pub(super) fn of_topic(offsets: &Offsets, topic: &str) -> Offsets {
    let own = offsets.iter().filter(|((name, _), _)| name == topic);
    own.map(|(partition, at)| (partition.clone(), *at))
        .collect()
}

/// The consumer groups of `topics`, each with those that it consumes.
pub(super) async fn groups(
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

impl Group {
    /// The first of `events` that the group has not committed yet, and its committed offset in that
    /// partition (None: it has never committed there). Events of other topics are ignored.
    pub(super) async fn first_unconsumed(
        &self,
        events: impl IntoIterator<Item = &RecordId>,
    ) -> Result<Option<(RecordId, Option<i64>)>, kafka::Error> {
        let own = events.into_iter();
        let own: Vec<&RecordId> = own
            .filter(|event| self.topics.iter().any(|topic| **topic == *event.topic))
            .collect();
        // librdkafka refuses a list that contains a partition twice.
        let partitions: BTreeSet<Partition> = own.iter().map(|event| event.partition()).collect();
        let partitions: Vec<Partition> = partitions.into_iter().collect();
        let committed = self.offsets.lowest_committed(&partitions).await?;
        let committed = |event: &RecordId| committed.get(&event.partition()).copied();
        let behind = |event: &&RecordId| committed(event).is_none_or(|at| at <= event.offset);
        let first = own.into_iter().find(behind);
        Ok(first.map(|event| (event.clone(), committed(event))))
    }
}

/// The groups whose services emit to `topic`, or call one that does.
fn feeders(pipeline: &Pipeline, groups: &[Group], topic: &str) -> Vec<usize> {
    let emits = |group: &Group| {
        let service = pipeline.service(&group.service).into_iter();
        let mut services = service.flat_map(|s| with_called(pipeline, s));
        services.any(|s| s.emits.iter().any(|t| t == topic))
    };
    let groups = groups.iter().enumerate();
    groups.filter(|(_, g)| emits(g)).map(|(i, _)| i).collect()
}

/// The tables of the flow, and what identifies rows that the messages wrote.
pub(super) struct Tables {
    /// A writable connection.
    pub(super) postgres: Postgres,
    /// From before the first message.
    pub(super) stamp: Stamp,
    /// Present if rows without a `synthetic` column may have to be deleted.
    pub(super) before: Option<Before>,
    /// Each with its step, in the order of the flow.
    pub(super) tables: Vec<(usize, Table)>,
    /// How rows are deleted, the last declared table first.
    pub(super) deletions: Vec<Deletion>,
    /// Whether Postgres keeps commit times.
    pub(super) timed: bool,
}

impl Tables {
    /// None: the flow has no table.
    ///
    /// # Errors
    /// `Usage`: no Postgres is declared. `Unreachable`: it does not answer.
    pub(super) async fn open(
        pipeline: &Pipeline,
        steps: &[Step],
        keep: bool,
    ) -> Result<Option<Self>> {
        let tables: Vec<_> = steps::tables(pipeline, steps)
            .map(|(step, table)| (step, table.clone()))
            .collect();
        if tables.is_empty() {
            return Ok(None);
        }
        let address = postgres_address(pipeline)?;
        let deletions = cleanup::deletions(pipeline);
        let opening = async {
            let postgres = Postgres::connect_for_batches(address).await?;
            let timed = postgres.keeps_commit_times().await?;
            let before = match !keep && cleanup::needs_before(&deletions) {
                true => Some(Before::open(address).await?),
                false => None,
            };
            let stamp = postgres.stamp().await?;
            Ok((postgres, timed, before, stamp))
        };
        let opened: Result<_, StoreError> = opening.await;
        let (postgres, timed, before, stamp) = opened.map_err(|why| unreachable(pipeline, why))?;
        Ok(Some(Self {
            postgres,
            stamp,
            before,
            tables,
            deletions,
            timed,
        }))
    }

    /// Their names, in the order of the flow.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.tables.iter().map(|(_, table)| table.name.as_str())
    }
}

/// The declared URL.
///
/// # Errors
/// `Usage`: no Postgres is declared.
pub(super) fn postgres_address(pipeline: &Pipeline) -> Result<&str> {
    let endpoint = pipeline.postgres.as_ref();
    let endpoint = endpoint.ok_or_else(|| undeclared("Postgres"))?;
    Ok(&endpoint.address)
}

/// The Redis keys that the pipeline has to delete; the ones that did not exist were set.
pub(super) struct Keys {
    pub(super) redis: Redis,
    /// All keys that have to be deleted.
    pub(super) names: Vec<String>,
    /// The value of those that did not exist and were set.
    value: String,
}

impl Keys {
    /// Sets the keys for one message. `expiry`: in case the process dies before it deletes them.
    /// None: no such keys are declared.
    ///
    /// # Errors
    /// `Usage`: no Redis is declared. `Unreachable`: it does not answer.
    pub(super) async fn set(
        pipeline: &Pipeline,
        flow: &Flow,
        values: &Values,
        expiry: Duration,
    ) -> Result<Option<Self>> {
        let Some(invalidated) = &flow.invalidated_keys else {
            return Ok(None);
        };
        let names = invalidated.keys.iter().map(|key| values.fill(key));
        let names = names.collect::<Result<Vec<_>>>()?;
        let endpoint = pipeline.redis.as_ref().ok_or_else(|| undeclared("Redis"))?;
        // A value that no other run has, so each run deletes only its own keys.
        let value = format!("caravan test-flow {}", Uuid::new_v4());
        let setting = async {
            let redis = Redis::connect(&endpoint.address, TIMEOUT).await?;
            for name in &names {
                // A key that already exists is not the test's: it is neither overwritten nor deleted.
                redis.set_new(name, &value, expiry).await?;
            }
            Ok(redis)
        };
        let redis: Result<_, StoreError> = setting.await;
        Ok(Some(Self {
            redis: redis.map_err(|why| unreachable(pipeline, why))?,
            names,
            value,
        }))
    }

    /// Deletes the remaining keys that were set.
    pub(super) async fn delete(&self) -> Result<(), StoreError> {
        let deleting = self.redis.delete_having(&self.names, &self.value);
        deleting.await.map(drop)
    }
}

/// A part of the pipeline that has to be read does not answer.
pub(super) fn unreachable(pipeline: &Pipeline, why: impl std::fmt::Display) -> Error {
    let what = format!("no {} can be followed", pipeline.noun().one());
    Error::new(Kind::Unreachable, what).because(why)
}

/// The declaration lacks an address.
pub(super) fn undeclared(what: &str) -> Error {
    let what = format!("the declaration does not say where {what} is");
    Error::new(Kind::Usage, what)
}
