//! Deletes rows of earlier runs that are marked synthetic, once every group has consumed all
//! events. Unmarked rows are kept, because a later run cannot prove that a test wrote them.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use super::{drain, unreachable};
use crate::{
    probe::{
        cleanup,
        expected::{self, Step},
        sources,
        unfollowed::unfollowed,
    },
    stores::postgres::{
        Postgres,
        ownership::{Deleted, Proof},
    },
};
use declaration::Pipeline;
use diagnostics::{Error, Kind, Result};
use kafka::{
    Kafka,
    offsets::{End, lag, next},
};

/// The result of [`collect`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collected {
    /// The rows that were deleted, and those that were not.
    pub deleted: Deleted,
    /// Only older rows were deleted. None: the database does not keep commit times, and all marked
    /// rows were deleted.
    pub older_than: Option<DateTime<Utc>>,
}

/// Waits until every group of the flow has consumed all current events, then deletes the rows that
/// are marked synthetic and at least `age` old.
///
/// # Errors
/// `Usage`: no flow, Kafka or Postgres is declared. `Unreachable`: they do not answer. `Deadline`:
/// a group has not consumed everything. `Interrupted`. Nothing is deleted in the last two cases.
pub async fn collect(
    pipeline: &Pipeline,
    age: Duration,
    timeout: Duration,
    cancel: &CancellationToken,
) -> Result<Collected> {
    let nowhere = |what: &str| {
        let what = format!("the declaration does not say where {what} is");
        Error::new(Kind::Usage, what)
    };
    let kafka = pipeline.kafka.as_ref().ok_or_else(|| nowhere("Kafka"))?;
    let postgres = pipeline
        .postgres
        .as_ref()
        .ok_or_else(|| nowhere("Postgres"))?;
    let began = Utc::now();
    let kafka = Kafka::connect(&kafka.address).await.map_err(unreachable)?;
    taken(pipeline, &kafka, Instant::now() + timeout, cancel).await?;
    let connecting = Postgres::connect_for_batches(&postgres.address);
    let postgres = connecting.await.map_err(unreachable)?;
    let timed = postgres.keeps_commit_times().await.map_err(unreachable)?;
    let earliest = chrono::TimeDelta::from_std(age).ok();
    let earliest = earliest.and_then(|age| began.checked_sub_signed(age));
    let older_than = timed.then(|| earliest.unwrap_or(DateTime::UNIX_EPOCH));
    let deletions = cleanup::deletions(pipeline).into_iter();
    let marked = deletions.filter(|deletion| deletion.proof == Proof::Marked);
    let tables: Vec<_> = marked.map(|deletion| deletion.table).collect();
    let deleted = postgres.delete_all_synthetic(&tables, older_than).await;
    let rows = tables.into_iter().zip(deleted.map_err(unreachable)?);
    Ok(Collected {
        deleted: Deleted {
            rows: rows.collect(),
            left: cleanup::unmarked(pipeline),
        },
        older_than,
    })
}

/// Waits until the groups have consumed the topics up to their current ends.
async fn taken(
    pipeline: &Pipeline,
    kafka: &Kafka,
    deadline: Instant,
    cancel: &CancellationToken,
) -> Result<()> {
    let flow = crate::probe::flow(pipeline)?;
    let steps = expected::steps(pipeline, flow, expected::Start::Entry);
    let unfollowed = unfollowed(pipeline, flow);
    let mut topics: BTreeSet<&str> = steps.iter().filter_map(Step::topic).collect();
    // A payment may reach these topics although no `emits` declares it.
    topics.extend(unfollowed.topics.iter().map(String::as_str));
    let there = kafka.topics().await.map_err(unreachable)?;
    let partitions_of = |names: &[String]| -> Vec<_> {
        let own = there.iter().filter(|t| names.contains(&t.name));
        own.flat_map(|t| (0..t.partitions).map(|p| (t.name.clone(), p)))
            .collect()
    };
    for group in sources::groups(pipeline, kafka, &topics)
        .await
        .map_err(unreachable)?
    {
        let partitions = partitions_of(&group.topics);
        let (first, ends) = tokio::try_join!(
            kafka.ends(&partitions, End::Earliest),
            kafka.ends(&partitions, End::Latest)
        )
        .map_err(unreachable)?;
        let mut before = None;
        loop {
            let committed = group.offsets.lowest_committed(&partitions).await;
            let committed = committed.map_err(unreachable)?;
            let mut behind = lag(&committed, &first, &ends);
            if before == Some(behind) {
                // The group makes no progress: only transaction markers may be left.
                let from = next(&committed, &first, &ends);
                let last = kafka.ends_of_messages(&from, &ends).await;
                behind = lag(&committed, &first, &last.map_err(unreachable)?);
            }
            if behind == 0 {
                break;
            }
            before = Some(behind);
            if cancel.is_cancelled() {
                return Err(Error::new(
                    Kind::Interrupted,
                    "interrupted; nothing is deleted",
                ));
            }
            if Instant::now() > deadline {
                let what = format!(
                    "{} has yet to take {behind} events; nothing is deleted",
                    group.service
                );
                return Err(Error::new(Kind::Deadline, what));
            }
            tokio::time::sleep(drain::PAUSE).await;
        }
    }
    Ok(())
}
