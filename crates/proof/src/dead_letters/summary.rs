//! Counts dead letters by topic, group, reason and age, in bounded memory.

use std::{
    collections::{BTreeMap, HashMap},
    ops::ControlFlow,
    time::Duration,
};

use chrono::{DateTime, Utc};

use super::{
    CommittedOffsets, DeadLetter, DeadLetters, RecordId, ReportProgress, Selection,
    journal::{History, Status},
    selection::Choices,
};
use diagnostics::Result;

/// Maximum number of kinds. Another program may give each dead letter a different reason; further
/// kinds are counted together.
const MAX_GROUPS: usize = 500;
/// Maximum number of listed dead letters; the newest are kept.
pub const MAX_LISTED: usize = 1_000;

/// Age of dead letters, in steps that `--older-than` and `--newer-than` can select.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Age {
    /// Less than an hour.
    Hour,
    /// Less than a day.
    Day,
    /// Less than seven days.
    Week,
    /// Seven days or more.
    Older,
    /// Neither a header nor the record has a timestamp.
    Unknown,
}

impl Age {
    fn of(age: Option<Duration>) -> Self {
        const HOUR: u64 = 60 * 60;
        match age.map(|age| age.as_secs()) {
            None => Self::Unknown,
            Some(..HOUR) => Self::Hour,
            Some(..86_400) => Self::Day,
            Some(..604_800) => Self::Week,
            Some(_) => Self::Older,
        }
    }
}

/// What dead letters are grouped by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind {
    /// Source topic; None: the headers do not name one.
    pub topic: Option<String>,
    /// Consumer group; None: the headers do not name one.
    pub group: Option<String>,
    /// Reason; None: the headers do not name one.
    pub reason: Option<String>,
    /// Time since the group failed on the record.
    pub age: Age,
}

/// Counts of one group of dead letters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many there are.
    pub dead_letters: u64,
    /// How many there are of each status.
    pub by_status: BTreeMap<Status, u64>,
    /// Time of the oldest; None: no dead letter has a timestamp.
    pub oldest: Option<DateTime<Utc>>,
    /// Time of the newest; None: no dead letter has a timestamp.
    pub newest: Option<DateTime<Utc>>,
    /// The oldest waiting dead letter; without one, the oldest.
    pub example: Option<RecordId>,
    /// Rank of the example: waiting first, then oldest.
    example_rank: Option<(bool, Option<DateTime<Utc>>)>,
}

impl Tally {
    /// How many have this status.
    pub fn count(&self, status: Status) -> u64 {
        self.by_status.get(&status).copied().unwrap_or(0)
    }

    fn note(&mut self, dead_letter: &DeadLetter, status: Status) {
        self.dead_letters += 1;
        *self.by_status.entry(status).or_default() += 1;
        self.newest = self.newest.max(dead_letter.at);
        if self.oldest.is_none() || dead_letter.at.is_some_and(|at| Some(at) < self.oldest) {
            self.oldest = dead_letter.at;
        }
        let rank = (status != Status::Waiting, dead_letter.at);
        if self.example_rank.is_none_or(|best| rank < best) {
            self.example_rank = Some(rank);
            self.example = Some(dead_letter.id().clone());
        }
    }
}

/// Counts of the selected dead letters.
#[derive(Debug, Default)]
pub struct Summary {
    /// All selected dead letters.
    pub all: Tally,
    /// The selected dead letters by topic, group, reason and age.
    pub kinds: BTreeMap<Kind, Tally>,
    /// How many are counted only in `all`, because there are too many kinds.
    pub unsorted: u64,
    /// The newest dead letters, oldest first, if [`Request::each`] is set.
    pub listed: Vec<(DeadLetter, Status)>,
    /// The reasons, topics and groups that exist.
    pub choices: Choices,
    /// Approximate number of dead letters on the topic, selected or not: offsets may have gaps.
    pub total: i64,
    /// Whether the time limit ended the reading.
    pub incomplete: bool,
}

/// What to count.
pub struct Request {
    /// Only these dead letters are counted.
    pub selection: Selection,
    /// Whether to list dead letters, too.
    pub each: bool,
    /// Time limit for reading the topic.
    pub patience: Duration,
}

impl DeadLetters {
    /// Reads the dead-letter topic and counts the selected dead letters.
    ///
    /// # Errors
    /// Kafka does not answer.
    pub async fn summarize(&self, request: Request, report: ReportProgress) -> Result<Summary> {
        let span = self.span().await?;
        let total = span.messages();
        if total == 0 {
            return Ok(Summary::default());
        }
        let history = self.history().await?;
        let committed = self.committed_offsets(&history).await?;
        let mut summarizer = Summarizer {
            history,
            committed,
            now: Utc::now(),
            kinds: HashMap::new(),
            listed: BTreeMap::new(),
            summary: Summary {
                total,
                ..Summary::default()
            },
            request,
        };
        let patience = summarizer.request.patience;
        summarizer.summary.total = total;
        let (summarizer, whole) = self
            .each(
                span,
                patience,
                report,
                summarizer,
                |summarizer, dead_letter, _| {
                    summarizer.note(dead_letter);
                    ControlFlow::Continue(())
                },
            )
            .await?;
        let mut summary = summarizer.summary;
        summary.incomplete = !whole;
        summary.kinds = summarizer.kinds.into_iter().collect();
        summary.listed = summarizer.listed.into_values().collect();
        Ok(summary)
    }
}

/// A dead letter's time and its record on the dead-letter topic.
type ByTime = (Option<DateTime<Utc>>, RecordId);

struct Summarizer {
    history: History,
    committed: CommittedOffsets,
    now: DateTime<Utc>,
    request: Request,
    kinds: HashMap<Kind, Tally>,
    listed: BTreeMap<ByTime, (DeadLetter, Status)>,
    summary: Summary,
}

impl Summarizer {
    fn note(&mut self, dead_letter: DeadLetter) {
        self.summary
            .choices
            .note(&dead_letter, &self.request.selection);
        if !self.request.selection.chooses(&dead_letter, self.now) {
            return;
        }
        let status = self.history.status(&dead_letter, &self.committed);
        self.summary.all.note(&dead_letter, status);
        let kind = Kind {
            topic: dead_letter.source.as_ref().map(|s| s.topic.to_string()),
            group: dead_letter.group.clone(),
            reason: dead_letter.reason.clone(),
            age: Age::of(dead_letter.age(self.now)),
        };
        if self.kinds.len() < MAX_GROUPS || self.kinds.contains_key(&kind) {
            self.kinds
                .entry(kind)
                .or_default()
                .note(&dead_letter, status);
        } else {
            self.summary.unsorted += 1;
        }
        if self.request.each {
            let key = (dead_letter.at, dead_letter.own.clone());
            self.listed.insert(key, (dead_letter, status));
            if self.listed.len() > MAX_LISTED {
                self.listed.pop_first();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_steps_that_the_flags_can_select() {
        let age = |secs| Age::of(Some(Duration::from_secs(secs)));
        assert_eq!(age(3_599), Age::Hour);
        assert_eq!(age(3_600), Age::Day);
        assert_eq!(age(86_400), Age::Week);
        assert_eq!(age(604_800), Age::Older);
        assert_eq!(Age::of(None), Age::Unknown);
    }

    #[test]
    fn the_example_is_the_oldest_that_waits() {
        let mut tally = Tally::default();
        for (n, status) in [
            (3, Status::Waiting),
            (1, Status::Replayed),
            (2, Status::Waiting),
            (4, Status::Waiting),
        ] {
            let dead_letter = DeadLetter {
                own: RecordId::new("dead", 0, n),
                source: None,
                group: None,
                reason: None,
                error: None,
                attempts: None,
                at: DateTime::from_timestamp(n, 0),
            };
            tally.note(&dead_letter, status);
        }
        assert_eq!(tally.example, Some(RecordId::new("dead", 0, 2)));
        assert_eq!(tally.oldest, DateTime::from_timestamp(1, 0));
        assert_eq!(tally.newest, DateTime::from_timestamp(4, 0));
        assert_eq!((tally.dead_letters, tally.count(Status::Waiting)), (4, 3));
    }

    #[test]
    fn memory_does_not_grow_with_the_dead_letters() {
        let mut summarizer = Summarizer {
            history: History::default(),
            committed: CommittedOffsets::new(),
            now: Utc::now(),
            request: Request {
                selection: Selection::default(),
                each: true,
                patience: Duration::ZERO,
            },
            kinds: HashMap::new(),
            listed: BTreeMap::new(),
            summary: Summary::default(),
        };
        for n in 0..2_000 {
            summarizer.note(DeadLetter {
                own: RecordId::new("dead", 0, n),
                source: None,
                group: None,
                reason: Some(format!("reason {n}")),
                error: None,
                attempts: None,
                at: DateTime::from_timestamp(n, 0),
            });
        }
        assert_eq!(summarizer.summary.all.dead_letters, 2_000);
        assert_eq!(summarizer.kinds.len(), MAX_GROUPS);
        assert_eq!(summarizer.summary.unsorted, 1_500);
        assert_eq!(summarizer.listed.len(), MAX_LISTED);
        let (first, _) = summarizer.listed.first_key_value().expect("listed");
        assert_eq!(
            first.0,
            DateTime::from_timestamp(1_000, 0),
            "the newest are kept"
        );
    }
}
