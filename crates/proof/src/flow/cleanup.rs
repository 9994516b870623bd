//! Deletes the rows of test messages: of this run, and of earlier ones.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use super::{
    Progress, drain,
    run::{Run, TestMessage},
    sources::{self, Tables, partitions, postgres_address, undeclared},
    steps::{self, Start, Step},
    unfollowed::unfollowed,
};
use crate::stores::{
    StoreError,
    postgres::{
        Postgres,
        ownership::{Deleted, Deletion, Proof, UndeletedRows},
    },
};
use declaration::{Pipeline, Removal, Table};
use diagnostics::{Error, Kind, Result};
use kafka::{
    Kafka,
    offsets::{End, lag, next},
};

/// Messages in a transaction, and in a query.
pub(super) const BATCH: usize = 1_000;

/// Time limit of the deletion of one message's rows, and of a batch.
const LIMITS: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(120));

/// Whether the rows and keys of a test were deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cleanup {
    /// There was nothing to delete.
    Nothing,
    /// Kept, because [`super::Options::keep`] is set.
    Kept,
    /// What was deleted, and which rows were not proven to be the test's own.
    Deleted(Deleted),
    /// What was not deleted, and why.
    Failed(String),
}

/// The tables whose rows are deleted, as declared: the last one first, because its `find` may look at
/// rows of the tables before it.
pub(super) fn deletions(pipeline: &Pipeline) -> Vec<Deletion> {
    let tables = pipeline.tables.iter().rev().filter(|t| t.is_followed());
    let deletion = |table: &Table| {
        let proof = match table.cleanup {
            Removal::Synthetic => Proof::Marked,
            Removal::Find => Proof::New { rows: table.rows },
            Removal::Keep => return None,
        };
        Some(Deletion {
            table: table.name.clone(),
            find: table.find.clone(),
            proof,
        })
    };
    tables.filter_map(deletion).collect()
}

/// Whether a deletion needs to know what existed before the test.
pub(super) fn needs_before(deletions: &[Deletion]) -> bool {
    let new = |deletion: &Deletion| matches!(deletion.proof, Proof::New { .. });
    deletions.iter().any(new)
}

/// The tables in which a later run cannot distinguish a test's rows from others.
pub(super) fn unmarked(pipeline: &Pipeline) -> Vec<UndeletedRows> {
    let deletions = deletions(pipeline).into_iter();
    let unmarked = deletions.filter(|deletion| deletion.proof != Proof::Marked);
    unmarked
        .map(|d| UndeletedRows::unmarked(&d.table))
        .collect()
}

/// How remaining rows can be deleted later.
pub(super) fn later(pipeline: &Pipeline) -> String {
    let deletions = deletions(pipeline);
    let unmarked: Vec<_> = unmarked(pipeline).into_iter().map(|l| l.table).collect();
    match unmarked[..] {
        [] => "later: test-flow --collect".to_owned(),
        _ if unmarked.len() == deletions.len() => {
            "later, by hand: nothing marks them as a test's".to_owned()
        }
        _ => format!(
            "later: test-flow --collect, and by hand in {}, where nothing marks them",
            unmarked.join(", ")
        ),
    }
}

/// Deletes the messages' own rows from the tables that are declared to be cleaned up: one transaction
/// for each batch, the last table first.
pub(super) async fn clean(run: &Run<'_>, tables: &Tables, messages: &[TestMessage]) -> Cleanup {
    if tables.deletions.is_empty() {
        return Cleanup::Nothing;
    }
    let mut deleted = Deleted::default();
    for (batch, chunk) in messages.chunks(BATCH).enumerate() {
        let ids: Vec<&str> = chunk.iter().map(|message| &*message.id).collect();
        let limit = if ids.len() == 1 { LIMITS.0 } else { LIMITS.1 };
        let (deletions, before) = (&tables.deletions, tables.before.as_ref());
        let deleting = tables.postgres.delete_own(deletions, &ids, before, limit);
        match deleting.await {
            Ok(more) => deleted.add(more),
            Err(why) if messages.len() == 1 => return Cleanup::Failed(why.to_string()),
            Err(why) => {
                let (left, of) = (messages.len() - batch * BATCH, messages.len());
                let noun = run.flow.noun.many();
                return Cleanup::Failed(format!(
                    "{why}; the rows of {left} of {of} {noun} are left"
                ));
            }
        }
        run.report(Progress::Cleaning {
            done: batch * BATCH + chunk.len(),
            of: messages.len(),
        });
    }
    Cleanup::Deleted(deleted)
}

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
    let kafka = pipeline.kafka.as_ref().ok_or_else(|| undeclared("Kafka"))?;
    let address = postgres_address(pipeline)?;
    let began = Utc::now();
    let kafka = Kafka::connect(&kafka.address).await;
    let kafka = kafka.map_err(|why| sources::unreachable(pipeline, why))?;
    consumed(pipeline, &kafka, Instant::now() + timeout, cancel).await?;
    let earliest = chrono::TimeDelta::from_std(age).ok();
    let earliest = earliest.and_then(|age| began.checked_sub_signed(age));
    let deletions = deletions(pipeline).into_iter();
    let marked = deletions.filter(|deletion| deletion.proof == Proof::Marked);
    let tables: Vec<_> = marked.map(|deletion| deletion.table).collect();
    let deleting = async {
        let postgres = Postgres::connect_for_batches(address).await?;
        let timed = postgres.keeps_commit_times().await?;
        let older_than = timed.then(|| earliest.unwrap_or(DateTime::UNIX_EPOCH));
        let deleted = postgres.delete_all_synthetic(&tables, older_than).await?;
        Ok((deleted, older_than))
    };
    let deleted: Result<_, StoreError> = deleting.await;
    let (deleted, older_than) = deleted.map_err(|why| sources::unreachable(pipeline, why))?;
    Ok(Collected {
        deleted: Deleted {
            rows: tables.into_iter().zip(deleted).collect(),
            left: unmarked(pipeline),
        },
        older_than,
    })
}

/// Waits until the groups have consumed the topics up to their current ends.
async fn consumed(
    pipeline: &Pipeline,
    kafka: &Kafka,
    deadline: Instant,
    cancel: &CancellationToken,
) -> Result<()> {
    let flow = super::declared(pipeline)?;
    let unreachable = |why| sources::unreachable(pipeline, why);
    let steps = steps::steps(pipeline, flow, Start::Entry);
    let unfollowed = unfollowed(pipeline, flow);
    let mut topics: BTreeSet<&str> = steps.iter().filter_map(Step::topic).collect();
    // A message may reach these topics although no `emits` declares it.
    topics.extend(unfollowed.topics.iter().map(String::as_str));
    let existing = kafka.topics().await.map_err(unreachable)?;
    let groups = sources::groups(pipeline, kafka, &topics).await;
    for group in groups.map_err(unreachable)? {
        let consumes = |name: &str| group.topics.iter().any(|topic| topic == name);
        let partitions = partitions(&existing, consumes);
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
                let what = "interrupted; nothing is deleted";
                return Err(Error::new(Kind::Interrupted, what));
            }
            if Instant::now() > deadline {
                let events = match behind {
                    1 => "1 event".to_owned(),
                    count => format!("{count} events"),
                };
                let what = format!(
                    "{} has not consumed {events}; nothing is deleted",
                    group.service
                );
                return Err(Error::new(Kind::Deadline, what));
            }
            tokio::time::sleep(drain::PAUSE).await;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use declaration::testing::{TestDirectory, shipped};

    const TABLES: &str = "
x-caravan:
  postgres: {url: 'postgres://a:b@localhost:5432/shop'}
  tables:
    orders: {find: id = $$1, rows: 1}
    lines: {find: order_id = $$1, rows: 2, cleanup: find}
    audit: {find: ref = $$1, rows: 1, cleanup: keep}
    prices: {columns: [sku], indexes: [prices_pkey]}
services:
  app: {image: app}
";

    #[test]
    fn a_table_is_cleaned_up_by_the_proof_that_it_declares() {
        let place = TestDirectory::new();
        place.write("compose.yaml", TABLES);
        let pipeline = place.pipeline();
        let deletion = |table: &str, find: &str, proof| Deletion {
            table: table.to_owned(),
            find: find.to_owned(),
            proof,
        };
        assert_eq!(
            deletions(&pipeline),
            [
                deletion("lines", "order_id = $1", Proof::New { rows: 2 }),
                deletion("orders", "id = $1", Proof::Marked),
            ]
        );
        let hint = "later: test-flow --collect, and by hand in lines, where nothing marks them";
        assert_eq!(later(&pipeline), hint);
        assert_eq!(later(&shipped()), "later: test-flow --collect");
    }
}
