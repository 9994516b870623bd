//! Cutting letters off for ever.
//!
//! Kafka deletes records only from the front of a partition (`DeleteRecords`): so letters can be
//! deleted only together with all that stand before them.

use std::{collections::BTreeMap, ops::ControlFlow, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};

use super::{
    DeadLetters, Letter, Place, Progress, Selection, Tell,
    journal::{History, Key, Status},
    lease::Lease,
    selection::Choices,
    too_slow, unreachable,
};
use diagnostics::{Error, Kind, Result};
use kafka::offsets::Offsets;

/// What would be deleted.
#[derive(Debug, Default)]
pub struct Cuts {
    /// By partition of the dead-letter topic.
    pub partitions: BTreeMap<i32, Cut>,
    pub choices: Choices,
}

/// What would be deleted of one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cut {
    /// The first offset that stays. None: nothing is deleted.
    pub before: Option<i64>,
    /// Letters before that, by what became of them.
    pub letters: BTreeMap<Status, u64>,
    /// The first letter that was not chosen, and so stays.
    pub stays: Option<Place>,
    /// Letters that were chosen, and stand behind one that was not.
    pub behind: u64,
}

impl Cut {
    fn note(&mut self, letter: &Letter, chosen: bool, status: impl FnOnce() -> Status) {
        match (chosen, &self.stays) {
            (true, None) => {
                self.before = Some(letter.own.offset + 1);
                *self.letters.entry(status()).or_default() += 1;
            }
            (true, Some(_)) => self.behind += 1,
            (false, _) => {
                self.stays.get_or_insert_with(|| letter.own.clone());
            }
        }
    }
}

impl Cuts {
    /// Letters that would be deleted.
    pub fn letters(&self) -> u64 {
        self.partitions
            .values()
            .flat_map(|c| c.letters.values())
            .sum()
    }

    /// Of those, the ones that became of `status`.
    pub fn count(&self, status: Status) -> u64 {
        let counts = self
            .partitions
            .values()
            .filter_map(|c| c.letters.get(&status));
        counts.sum()
    }

    /// Letters that were chosen and cannot be deleted, and one that stands before them in each
    /// partition.
    pub fn stuck(&self) -> Option<(u64, Vec<&Place>)> {
        let stuck: Vec<_> = self.partitions.values().filter(|c| c.behind > 0).collect();
        let letters = stuck.iter().map(|c| c.behind).sum();
        let before = stuck.iter().filter_map(|c| c.stays.as_ref()).collect();
        (letters > 0).then_some((letters, before))
    }
}

struct Cutter {
    history: History,
    progress: Progress,
    selection: Selection,
    now: DateTime<Utc>,
    cuts: Cuts,
}

impl DeadLetters {
    /// Looks at what a purge would delete, and deletes nothing.
    ///
    /// # Errors
    /// Kafka does not answer, or not all letters could be read within `patience`.
    pub async fn cuts(&self, selection: Selection, patience: Duration, tell: Tell) -> Result<Cuts> {
        let span = self.span().await?;
        let history = self.history().await?;
        let progress = self.progress(&history).await?;
        let cutter = Cutter {
            history,
            progress,
            selection,
            now: Utc::now(),
            cuts: Cuts::default(),
        };
        let (cutter, whole) = self
            .each(span.clone(), patience, tell, cutter, |cutter, letter, _| {
                let Cutter {
                    history,
                    progress,
                    selection,
                    now,
                    cuts,
                } = cutter;
                cuts.choices.note(&letter, selection);
                let cut = cuts.partitions.entry(letter.own.partition).or_default();
                let chosen = selection.chooses(&letter, *now);
                cut.note(&letter, chosen, || history.status(&letter, progress));
                ControlFlow::Continue(())
            })
            .await?;
        if whole {
            Ok(cutter.cuts)
        } else {
            Err(too_slow(&span, patience))
        }
    }

    /// Deletes what `cuts` says, and forgets the replays of what is gone. Gives how many were
    /// deleted.
    ///
    /// # Errors
    /// Another run is at work, or Kafka does not answer: some partitions may be cut.
    pub async fn purge(&self, cuts: &Cuts, tell: &Tell) -> Result<u64> {
        let journal = self.journal();
        let replicas = self.topics.get(&self.topic).map_or(1, |t| t.replicas);
        journal.create(replicas).await?;
        let sender = Arc::new(self.kafka.producer().map_err(unreachable)?);
        let start = History::default();
        let (lease, history) =
            Lease::take(journal.clone(), Arc::clone(&sender), start, tell).await?;
        let before: Offsets = cuts
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
            let forgotten = outlived.map(|source| (Key::Letter(source), None));
            journal.write(&sender, forgotten).await
        }
        .await;
        lease.release().await;
        outcome.map(|()| cuts.letters())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Letters of one partition, chosen or not, from the front.
    fn cut(chosen: &[bool]) -> Cuts {
        let mut cuts = Cuts::default();
        for (offset, chosen) in (10..).zip(chosen) {
            let letter = Letter {
                own: Place::new("dead", 0, offset),
                source: None,
                group: None,
                reason: None,
                error: None,
                attempts: None,
                at: None,
            };
            let cut = cuts.partitions.entry(0).or_default();
            cut.note(&letter, *chosen, || Status::Waiting);
        }
        cuts
    }

    #[test]
    fn a_front_can_be_cut_off() {
        let cuts = cut(&[true, true, false]);
        assert_eq!(cuts.partitions[&0].before, Some(12));
        assert_eq!((cuts.letters(), cuts.stuck()), (2, None));
        assert_eq!(cut(&[false, false]).partitions[&0].before, None);
    }

    #[test]
    fn what_stands_behind_a_letter_that_stays_cannot() {
        let cuts = cut(&[true, false, true, false, true]);
        let stays = Place::new("dead", 0, 11);
        assert_eq!(cuts.stuck(), Some((2, vec![&stays])));
        assert_eq!(cuts.partitions[&0].before, Some(11));
    }
}
