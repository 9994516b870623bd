//! Deletes dead letters.
//!
//! Kafka's `DeleteRecords` deletes only the oldest records of a partition. So a dead letter can be
//! deleted only together with all records before it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};

use super::{
    CommittedOffsets, DeadLetter, DeadLetters, RecordId, ReportProgress, Selection,
    journal::{History, Key, Status},
    lease::Lease,
    selection::Choices,
    unreachable,
};
use diagnostics::{Error, Kind, Result};
use kafka::offsets::Offsets;

/// What a purge would delete.
#[derive(Debug, Default)]
pub struct PurgePlan {
    /// By partition number of the dead-letter topic.
    pub partitions: BTreeMap<i32, PartitionPurge>,
    /// The reasons, topics and groups that exist.
    pub choices: Choices,
}

/// What a purge would delete from one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartitionPurge {
    /// Records before this offset are deleted. None: nothing is deleted.
    pub before: Option<i64>,
    /// How many of them there are, by status.
    pub dead_letters: BTreeMap<Status, u64>,
    /// The first dead letter that is not selected, and so is kept.
    pub stays: Option<RecordId>,
    /// Selected dead letters after one that is not selected; they cannot be deleted.
    pub behind: u64,
}

impl PartitionPurge {
    fn note(&mut self, dead_letter: &DeadLetter, chosen: bool, status: impl FnOnce() -> Status) {
        match (chosen, &self.stays) {
            (true, None) => {
                self.before = Some(dead_letter.own.offset + 1);
                *self.dead_letters.entry(status()).or_default() += 1;
            }
            (true, Some(_)) => self.behind += 1,
            (false, _) => {
                self.stays.get_or_insert_with(|| dead_letter.own.clone());
            }
        }
    }
}

impl PurgePlan {
    /// How many dead letters would be deleted.
    pub fn dead_letters(&self) -> u64 {
        self.partitions
            .values()
            .flat_map(|c| c.dead_letters.values())
            .sum()
    }

    /// How many of them have this status.
    pub fn count(&self, status: Status) -> u64 {
        let counts = self
            .partitions
            .values()
            .filter_map(|c| c.dead_letters.get(&status));
        counts.sum()
    }

    /// How many selected dead letters cannot be deleted, and the first kept one of each partition
    /// concerned.
    pub fn stuck(&self) -> Option<(u64, Vec<&RecordId>)> {
        let stuck: Vec<_> = self.partitions.values().filter(|c| c.behind > 0).collect();
        let dead_letters = stuck.iter().map(|c| c.behind).sum();
        let before = stuck.iter().filter_map(|c| c.stays.as_ref()).collect();
        (dead_letters > 0).then_some((dead_letters, before))
    }
}

struct PurgePlanner {
    history: History,
    committed: CommittedOffsets,
    selection: Selection,
    now: DateTime<Utc>,
    plan: PurgePlan,
}

impl PurgePlanner {
    fn note(&mut self, dead_letter: DeadLetter) {
        self.plan.choices.note(&dead_letter, &self.selection);
        let cut = self
            .plan
            .partitions
            .entry(dead_letter.own.partition)
            .or_default();
        let chosen = self.selection.chooses(&dead_letter, self.now);
        cut.note(&dead_letter, chosen, || {
            self.history.status(&dead_letter, &self.committed)
        });
    }
}

impl DeadLetters {
    /// Finds what a purge would delete; deletes nothing.
    ///
    /// # Errors
    /// Kafka does not answer, or not all dead letters could be read within `patience`.
    pub async fn purge_plan(
        &self,
        selection: Selection,
        patience: Duration,
        report: ReportProgress,
    ) -> Result<PurgePlan> {
        let span = self.span().await?;
        let history = self.history().await?;
        let committed = self.committed_offsets(&history).await?;
        let planner = PurgePlanner {
            history,
            committed,
            selection,
            now: Utc::now(),
            plan: PurgePlan::default(),
        };
        let planner = self
            .all(span, patience, report, planner, PurgePlanner::note)
            .await?;
        Ok(planner.plan)
    }

    /// Deletes what `plan` says, and removes replays that cover no remaining dead letter from the
    /// journal. Returns how many were deleted.
    ///
    /// # Errors
    /// Another run holds the lease, or Kafka does not answer. Records of some partitions may be
    /// deleted then.
    pub async fn purge(&self, plan: &PurgePlan, report: &ReportProgress) -> Result<u64> {
        let journal = self.journal();
        let replicas = self.topics.get(&self.topic).map_or(1, |t| t.replicas);
        journal.create(replicas).await?;
        let sender = Arc::new(self.kafka.producer().map_err(unreachable)?);
        let start = History::default();
        let (lease, history) =
            Lease::take(journal.clone(), Arc::clone(&sender), start, report).await?;
        let before: Offsets = plan
            .partitions
            .iter()
            .filter_map(|(p, cut)| Some(((self.topic.clone(), *p), cut.before?)))
            .collect();
        let outcome = async {
            lease.check().await?;
            let deleted = self.kafka.delete_before(&before).await;
            deleted.map_err(|why| {
                let what = format!("records of the topic {} could not be deleted", self.topic);
                Error::new(Kind::Unreachable, what).because(why)
            })?;
            let span = self.span().await?;
            let first = span.from.into_iter().map(|((_, p), offset)| (p, offset));
            let obsolete = history.obsolete(&first.collect()).into_iter();
            let forgotten = obsolete.map(|source| (Key::DeadLetter(source), None));
            journal.write(&sender, forgotten).await
        }
        .await;
        lease.release().await;
        outcome.map(|()| plan.dead_letters())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Dead letters of one partition, selected or not, oldest first.
    fn plan_of(chosen: &[bool]) -> PurgePlan {
        let mut plan = PurgePlan::default();
        for (offset, chosen) in (10..).zip(chosen) {
            let dead_letter = DeadLetter {
                own: RecordId::new("dead", 0, offset),
                source: None,
                group: None,
                reason: None,
                error: None,
                attempts: None,
                at: None,
            };
            let cut = plan.partitions.entry(0).or_default();
            cut.note(&dead_letter, *chosen, || Status::Waiting);
        }
        plan
    }

    #[test]
    fn the_oldest_records_can_be_deleted() {
        let plan = plan_of(&[true, true, false]);
        assert_eq!(plan.partitions[&0].before, Some(12));
        assert_eq!((plan.dead_letters(), plan.stuck()), (2, None));
        assert_eq!(plan_of(&[false, false]).partitions[&0].before, None);
    }

    #[test]
    fn records_after_a_kept_one_cannot_be_deleted() {
        let plan = plan_of(&[true, false, true, false, true]);
        let stays = RecordId::new("dead", 0, 11);
        assert_eq!(plan.stuck(), Some((2, vec![&stays])));
        assert_eq!(plan.partitions[&0].before, Some(11));
    }
}
