//! What a replay would send, and what it skips and why.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use kafka::record::{BorrowedMessage, Headers, Message};

use super::{
    CommittedOffsets, DeadLetter, DeadLetters, RecordId, ReportProgress, Selection,
    journal::{History, Replay, State, Status},
    selection::Choices,
    too_slow, unreachable,
};
use diagnostics::Result;
use kafka::{offsets::End, read::Span};

/// Maximum number of examples for each reason to skip.
const NAMED: usize = 5;

/// A dead letter to replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The source record; the replay goes to the same partition.
    pub source: RecordId,
    /// Its record on the dead-letter topic: partition and offset.
    pub(super) own: (i32, i64),
    /// The groups that have to commit an offset after it.
    pub groups: Arc<BTreeSet<String>>,
    /// The reason in its headers, if they have one.
    pub reason: Option<Arc<str>>,
}

/// Why a selected dead letter is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SkipReason {
    /// An earlier replay was sent, and the group has passed it.
    Replayed,
    /// An earlier replay was sent, and the group has not passed it yet.
    InFlight,
    /// It was dismissed, because a test caused it.
    Dismissed,
    /// Its headers do not name the source record.
    NoSource,
    /// Its source topic is not declared, or is the dead-letter topic.
    Undeclared,
    /// Its source topic has no such partition.
    NoPartition,
    /// It is not JSON, and events are: it fails whenever it is replayed.
    Unreadable,
    /// It is a replay that failed again, and the group's containers are the same since then.
    FailedAgain,
}

impl SkipReason {
    /// Whether a replay can be sent, but cannot succeed.
    pub fn is_hopeless(self) -> bool {
        matches!(self, Self::Unreadable | Self::FailedAgain)
    }
}

/// When the newest container of each group's service was created: what failed before and has failed again since
/// then was processed by the same version.
pub type Versions = BTreeMap<String, DateTime<Utc>>;

/// Dead letters that are skipped for one reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Skipped {
    /// How many were skipped.
    pub dead_letters: usize,
    /// Examples, five at most.
    pub named: Vec<RecordId>,
}

/// The plan of a replay.
#[derive(Debug, Default)]
pub struct Plan {
    /// Dead letters to replay, by partition and offset on the dead-letter topic.
    pub send: Vec<Item>,
    /// Interrupted replays that turned out to be sent, with their new offsets; the journal does not
    /// say so yet.
    pub settled: Vec<(RecordId, i64)>,
    /// Dead letters that are selected and not sent, by the reason.
    pub skipped: BTreeMap<SkipReason, Skipped>,
    /// The reasons, topics and groups that exist.
    pub choices: Choices,
    /// End offset of each partition of the dead-letter topic, by partition number.
    pub(super) seen: Vec<i64>,
    /// The journal when the plan was made.
    pub(super) history: History,
}

impl Plan {
    fn skip(&mut self, why: SkipReason, dead_letter: &DeadLetter) {
        let skipped_group = self.skipped.entry(why).or_default();
        skipped_group.dead_letters += 1;
        if skipped_group.named.len() < NAMED {
            skipped_group.named.push(dead_letter.id().clone());
        }
    }

    /// Whether there is nothing to send and nothing to write to the journal.
    pub fn is_empty(&self) -> bool {
        self.send.is_empty() && self.settled.is_empty()
    }

    /// How many are not sent because they cannot succeed.
    pub fn hopeless(&self) -> usize {
        let skipped = self.skipped.iter().filter(|(why, _)| why.is_hopeless());
        skipped.map(|(_, skipped)| skipped.dead_letters).sum()
    }

    /// Whether the topic has no dead letters.
    pub fn seen_nothing(&self) -> bool {
        self.choices == Choices::default() && self.skipped.is_empty() && self.is_empty()
    }

    /// How many are sent, by topic, groups and reason.
    pub fn kinds(&self) -> BTreeMap<(&str, String, &str), usize> {
        let mut kinds = BTreeMap::new();
        for item in &self.send {
            let groups: Vec<_> = item.groups.iter().map(String::as_str).collect();
            let reason = item.reason.as_deref().unwrap_or("-");
            let kind = (&*item.source.topic, groups.join(", "), reason);
            *kinds.entry(kind).or_default() += 1;
        }
        kinds
    }
}

impl DeadLetters {
    /// Reads all dead letters and plans a replay; changes nothing. `versions`: those that cannot succeed are
    /// skipped; None: they are sent, too.
    ///
    /// # Errors
    /// Kafka does not answer, or not all dead letters could be read within `patience`.
    pub async fn plan(
        &self,
        selection: Selection,
        versions: Option<Versions>,
        patience: Duration,
        report: ReportProgress,
    ) -> Result<Plan> {
        let span = self.span().await?;
        let history = self.history().await?;
        let committed = self.committed_offsets(&history).await?;
        let planner = Planner {
            dead_letters: self.clone(),
            now: Utc::now(),
            selection,
            versions,
            committed,
            items: HashMap::new(),
            interrupted: HashSet::new(),
            words: HashSet::new(),
            groups: HashMap::new(),
            plan: Plan {
                seen: ends(&span),
                history,
                ..Plan::default()
            },
        };
        let note = |planner: &mut Planner, dead_letter, message: &BorrowedMessage<'_>| {
            planner.note(dead_letter, message);
            ControlFlow::Continue(())
        };
        let read = self.each(span.clone(), patience, report, planner, note);
        let (planner, true) = read.await? else {
            return Err(too_slow(&span, patience));
        };
        let Planner {
            mut items,
            interrupted,
            mut plan,
            ..
        } = planner;
        plan.settled = self.settle(&plan.history, &interrupted, patience).await?;
        for (source, _) in &plan.settled {
            items.remove(source);
        }
        plan.send = items.into_values().collect();
        plan.send.sort_by_key(|item| item.own);
        Ok(plan)
    }

    /// Interrupted replays that were sent, with their new offsets. Reads the target partitions from
    /// the end offsets in the journal.
    async fn settle(
        &self,
        history: &History,
        interrupted: &HashSet<RecordId>,
        patience: Duration,
    ) -> Result<Vec<(RecordId, i64)>> {
        let mut from: BTreeMap<&str, BTreeMap<i32, i64>> = BTreeMap::new();
        for source in interrupted {
            if let Some(Replay {
                state: State::Intent { from: end },
                ..
            }) = history.at(source)
            {
                let topic = from.entry(&source.topic).or_default();
                let first = topic.entry(source.partition).or_insert(*end);
                *first = (*first).min(*end);
            }
        }
        let mut settled = Vec::new();
        for (topic, from) in from {
            let at = |partition: i32| (topic.to_owned(), partition);
            let partitions: Vec<_> = from.keys().map(|p| at(*p)).collect();
            let to = self.kafka.ends(&partitions, End::Latest).await;
            let span = Span {
                from: from
                    .into_iter()
                    .map(|(p, offset)| (at(p), offset))
                    .collect(),
                to: to.map_err(unreachable)?,
            };
            let wanted = interrupted.clone();
            let deadline = Instant::now() + patience;
            let read =
                self.kafka
                    .read(span.clone(), deadline, Vec::new(), move |found, message| {
                        if let Some(source) = replay_of(message).filter(|s| wanted.contains(s)) {
                            found.push((source, message.offset()));
                        }
                        ControlFlow::Continue(())
                    });
            let (found, whole) = read.await.map_err(unreachable)?;
            if !whole {
                return Err(too_slow(&span, patience));
            }
            settled.extend(found);
        }
        Ok(settled)
    }
}

impl DeadLetters {
    /// Why a replay of the dead letter cannot succeed, as far as that is known.
    fn hopeless(
        &self,
        versions: &Versions,
        dead_letter: &DeadLetter,
        message: &impl Message,
    ) -> Option<SkipReason> {
        if self.is_unreadable(message.payload()) {
            return Some(SkipReason::Unreadable);
        }
        let created = versions.get(dead_letter.group.as_ref()?)?;
        let same = dead_letter.at.is_some_and(|failed| failed > *created);
        (same && replay_of(message).is_some()).then_some(SkipReason::FailedAgain)
    }
}

/// The source record in the replay header of a record.
fn replay_of(message: &impl Message) -> Option<RecordId> {
    let headers = message.headers()?;
    let header = headers.iter().find(|h| h.key == declaration::REPLAY_OF)?;
    str::from_utf8(header.value?).ok()?.parse().ok()
}

/// End offsets, by partition number.
pub(super) fn ends(span: &Span) -> Vec<i64> {
    span.to.values().copied().collect()
}

struct Planner {
    dead_letters: DeadLetters,
    now: DateTime<Utc>,
    selection: Selection,
    versions: Option<Versions>,
    committed: CommittedOffsets,
    /// By source record: of several dead letters of one source record, one is sent.
    items: HashMap<RecordId, Item>,
    interrupted: HashSet<RecordId>,
    /// Interned topics and reasons: many dead letters share few of them.
    words: HashSet<Arc<str>>,
    groups: HashMap<GroupsOf, Arc<BTreeSet<String>>>,
    plan: Plan,
}

/// A topic, and the group that dead-lettered a record of it.
type GroupsOf = (Arc<str>, Option<String>);

/// The interned copy of a word.
fn intern(words: &mut HashSet<Arc<str>>, word: &str) -> Arc<str> {
    if let Some(known) = words.get(word) {
        return Arc::clone(known);
    }
    let word: Arc<str> = word.into();
    words.insert(Arc::clone(&word));
    word
}

impl Planner {
    fn note(&mut self, dead_letter: DeadLetter, message: &impl Message) {
        self.plan.choices.note(&dead_letter, &self.selection);
        if !self.selection.chooses(&dead_letter, self.now) {
            return;
        }
        let source = match self.target(&dead_letter) {
            Ok(source) => RecordId {
                topic: intern(&mut self.words, &source.topic),
                ..source
            },
            Err(why) => return self.plan.skip(why, &dead_letter),
        };
        match self.plan.history.status(&dead_letter, &self.committed) {
            Status::Waiting => {}
            Status::Interrupted => drop(self.interrupted.insert(source.clone())),
            Status::InFlight => return self.plan.skip(SkipReason::InFlight, &dead_letter),
            Status::Replayed => return self.plan.skip(SkipReason::Replayed, &dead_letter),
            Status::Dismissed => return self.plan.skip(SkipReason::Dismissed, &dead_letter),
        }
        if let Some(versions) = &self.versions
            && let Some(why) = self.dead_letters.hopeless(versions, &dead_letter, message)
        {
            return self.plan.skip(why, &dead_letter);
        }
        let item = Item {
            own: (dead_letter.own.partition, dead_letter.own.offset),
            groups: self.groups_of(dead_letter.group, &source),
            reason: dead_letter
                .reason
                .map(|reason| intern(&mut self.words, &reason)),
            source: source.clone(),
        };
        let groups = Arc::clone(&item.groups);
        let planned = self.items.entry(source).or_insert(item);
        if !groups.is_subset(&planned.groups) {
            Arc::make_mut(&mut planned.groups).extend(groups.iter().cloned());
        }
    }

    /// The group in the headers; without one, all groups that read the topic.
    fn groups_of(&mut self, group: Option<String>, source: &RecordId) -> Arc<BTreeSet<String>> {
        let key = (Arc::clone(&source.topic), group);
        let groups = self.groups.entry(key).or_insert_with_key(|(topic, group)| {
            let readers = || self.dead_letters.sources.get(&**topic).cloned();
            let group = group.as_ref().map(|group| [group.clone()].into());
            Arc::new(group.or_else(readers).unwrap_or_default())
        });
        Arc::clone(groups)
    }

    /// The source record, if the dead letter can be sent back to it.
    fn target(&self, dead_letter: &DeadLetter) -> std::result::Result<RecordId, SkipReason> {
        let source = dead_letter.source.clone().ok_or(SkipReason::NoSource)?;
        if !self.dead_letters.sources.contains_key(&*source.topic) {
            return Err(SkipReason::Undeclared);
        }
        match self.dead_letters.topics.get(&*source.topic) {
            Some(topic) if source.partition < topic.partitions => Ok(source),
            _ => Err(SkipReason::NoPartition),
        }
    }
}
