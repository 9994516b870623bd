//! What a replay would send, and what it leaves out and why.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use kafka::record::{Headers, Message};

use super::{
    CommittedOffsets, DeadLetter, DeadLetters, RecordId, ReportProgress, Selection,
    journal::{History, Replay, State, Status},
    selection::Choices,
    too_slow, unreachable,
};
use diagnostics::Result;
use kafka::{offsets::End, read::Span};

/// So many places are named of those that are left out for one reason.
const NAMED: usize = 5;

/// A letter that is to be sent back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Where it is sent back to, and stood before.
    pub source: RecordId,
    /// Where it stands on the dead-letter topic: partition, offset.
    pub(super) own: (i32, i64),
    /// The groups that are to pass it.
    pub groups: Arc<BTreeSet<String>>,
    pub reason: Option<Arc<str>>,
}

/// Why a letter that was asked for is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SkipReason {
    /// It was sent back before, and went through.
    Replayed,
    /// It was sent back before, and its group has not passed it yet.
    InFlight,
    /// A test has provoked it.
    Dismissed,
    /// Its headers do not say where its message stood.
    NoSource,
    /// Its topic is none of the declared ones, or is the dead-letter topic.
    Undeclared,
    /// Its topic has no such partition.
    NoPartition,
}

/// Letters left out for one reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Skipped {
    pub dead_letters: usize,
    /// Some of them.
    pub named: Vec<RecordId>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Plan {
    /// In the order of the dead-letter topic.
    pub send: Vec<Item>,
    /// Replays that were interrupted, and were found to have been sent: to be written down.
    pub settled: Vec<(RecordId, i64)>,
    pub skipped: BTreeMap<SkipReason, Skipped>,
    pub choices: Choices,
    /// Where each partition of the dead-letter topic ended.
    pub(super) seen: Vec<i64>,
    /// What the journal said.
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

    /// Nothing is to be sent, and nothing to be written down.
    pub fn is_empty(&self) -> bool {
        self.send.is_empty() && self.settled.is_empty()
    }

    /// There are no dead letters at all.
    pub fn seen_nothing(&self) -> bool {
        self.choices == Choices::default() && self.skipped.is_empty() && self.is_empty()
    }

    /// By topic, groups and reason: how many are sent.
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
    /// Looks at everything and changes nothing.
    ///
    /// # Errors
    /// Kafka does not answer, or not all letters could be read within `patience`.
    pub async fn plan(
        &self,
        selection: Selection,
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
        let (planner, whole) = self
            .each(
                span.clone(),
                patience,
                report,
                planner,
                |planner, dead_letter, _| {
                    planner.note(dead_letter);
                    ControlFlow::Continue(())
                },
            )
            .await?;
        if !whole {
            return Err(too_slow(&span, patience));
        }
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

    /// Of interrupted replays those that were carried out, with their offsets: looks for them from
    /// where their partitions ended when they were begun.
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

/// The place that a message on a source topic says to be a replay of.
fn replay_of(message: &impl Message) -> Option<RecordId> {
    let headers = message.headers()?;
    let header = headers.iter().find(|h| h.key == declaration::REPLAY_OF)?;
    str::from_utf8(header.value?).ok()?.parse().ok()
}

/// Ends by partition, from the first on.
pub(super) fn ends(span: &Span) -> Vec<i64> {
    span.to.values().copied().collect()
}

struct Planner {
    dead_letters: DeadLetters,
    now: DateTime<Utc>,
    selection: Selection,
    committed: CommittedOffsets,
    /// By where they are sent: of several letters of one message one is.
    items: HashMap<RecordId, Item>,
    interrupted: HashSet<RecordId>,
    /// Topics and reasons: few, of many letters.
    words: HashSet<Arc<str>>,
    groups: HashMap<GroupsOf, Arc<BTreeSet<String>>>,
    plan: Plan,
}

/// A topic, and the group that gave a letter of it up.
type GroupsOf = (Arc<str>, Option<String>);

/// The one copy of a word.
fn intern(words: &mut HashSet<Arc<str>>, word: &str) -> Arc<str> {
    if let Some(known) = words.get(word) {
        return Arc::clone(known);
    }
    let word: Arc<str> = word.into();
    words.insert(Arc::clone(&word));
    word
}

impl Planner {
    fn note(&mut self, dead_letter: DeadLetter) {
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

    /// The group that gave a letter up; where it is not said, all that read the topic.
    fn groups_of(&mut self, group: Option<String>, source: &RecordId) -> Arc<BTreeSet<String>> {
        let key = (Arc::clone(&source.topic), group);
        let groups = self.groups.entry(key).or_insert_with_key(|(topic, group)| {
            let readers = || self.dead_letters.sources.get(&**topic).cloned();
            let group = group.as_ref().map(|group| [group.clone()].into());
            Arc::new(group.or_else(readers).unwrap_or_default())
        });
        Arc::clone(groups)
    }

    /// Where a letter can be sent back to.
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
