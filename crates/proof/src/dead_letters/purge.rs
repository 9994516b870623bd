//! Cutting letters off for ever.
//!
//! Kafka deletes records only from the front of a partition (`DeleteRecords`): so letters can be
//! deleted only together with all that stand before them.

use std::{collections::BTreeMap, ops::ControlFlow, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};

use super::{
    CommittedOffsets, DeadLetter, DeadLetters, RecordId, ReportProgress, Selection,
    journal::{History, Key, Status},
    lease::Lease,
    selection::Choices,
    too_slow, unreachable,
};
use diagnostics::{Error, Kind, Result};
use kafka::offsets::Offsets;

/// What would be deleted.
#[derive(Debug, Default)]
pub struct PurgePlan {
    /// By partition of the dead-letter topic.
    pub partitions: BTreeMap<i32, PartitionPurge>,
    pub choices: Choices,
}

/// What would be deleted of one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartitionPurge {
    /// The first offset that stays. None: nothing is deleted.
    pub before: Option<i64>,
    /// Letters before that, by what became of them.
    pub dead_letters: BTreeMap<Status, u64>,
    /// The first letter that was not chosen, and so stays.
    pub stays: Option<RecordId>,
    /// Letters that were chosen, and stand behind one that was not.
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
    /// Letters that would be deleted.
    pub fn dead_letters(&self) -> u64 {
        self.partitions
            .values()
            .flat_map(|c| c.dead_letters.values())
            .sum()
    }

    /// Of those, the ones that became of `status`.
    pub fn count(&self, status: Status) -> u64 {
        let counts = self
            .partitions
            .values()
            .filter_map(|c| c.dead_letters.get(&status));
        counts.sum()
    }

    /// Letters that were chosen and cannot be deleted, and one that stands before them in each
    /// partition.
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

impl DeadLetters {
    /// Looks at what a purge would delete, and deletes nothing.
    ///
    /// # Errors
    /// Kafka does not answer, or not all letters could be read within `patience`.
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
        let (planner, whole) = self
            .each(
                span.clone(),
                patience,
                report,
                planner,
                |planner, dead_letter, _| {
                    let PurgePlanner {
                        history,
                        committed,
                        selection,
                        now,
                        plan,
                    } = planner;
                    plan.choices.note(&dead_letter, selection);
                    let cut = plan
                        .partitions
                        .entry(dead_letter.own.partition)
                        .or_default();
                    let chosen = selection.chooses(&dead_letter, *now);
                    cut.note(&dead_letter, chosen, || {
                        history.status(&dead_letter, committed)
                    });
                    ControlFlow::Continue(())
                },
            )
            .await?;
        if whole {
            Ok(planner.plan)
        } else {
            Err(too_slow(&span, patience))
        }
    }

    /// Deletes what `plan` says, and forgets the replays of what is gone. Gives how many were
    /// deleted.
    ///
    /// # Errors
    /// Another run is at work, or Kafka does not answer: some partitions may be cut.
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
                let what = format!("the topic {} could not be cut", self.topic);
                Error::new(Kind::Unreachable, what).because(why)
            })?;
            let span = self.span().await?;
            let first = span.from.into_iter().map(|((_, p), offset)| (p, offset));
            let outlived = history.outlived(&first.collect()).into_iter();
            let forgotten = outlived.map(|source| (Key::DeadLetter(source), None));
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

    /// Letters of one partition, chosen or not, from the front.
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
    fn a_front_can_be_cut_off() {
        let plan = plan_of(&[true, true, false]);
        assert_eq!(plan.partitions[&0].before, Some(12));
        assert_eq!((plan.dead_letters(), plan.stuck()), (2, None));
        assert_eq!(plan_of(&[false, false]).partitions[&0].before, None);
    }

    #[test]
    fn what_stands_behind_a_dead_letter_that_stays_cannot() {
        let plan = plan_of(&[true, false, true, false, true]);
        let stays = RecordId::new("dead", 0, 11);
        assert_eq!(plan.stuck(), Some((2, vec![&stays])));
        assert_eq!(plan.partitions[&0].before, Some(11));
    }
}
