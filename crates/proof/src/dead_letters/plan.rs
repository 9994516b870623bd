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
    DeadLetters, Letter, Place, Progress, Selection, Tell,
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
    pub source: Place,
    /// Where it stands on the dead-letter topic: partition, offset.
    pub(super) own: (i32, i64),
    /// The groups that are to pass it.
    pub groups: Arc<BTreeSet<String>>,
    pub reason: Option<Arc<str>>,
}

/// Why a letter that was asked for is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeftOut {
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
pub struct Left {
    pub letters: usize,
    /// Some of them.
    pub named: Vec<Place>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Plan {
    /// In the order of the dead-letter topic.
    pub send: Vec<Item>,
    /// Replays that were interrupted, and were found to have been sent: to be written down.
    pub settled: Vec<(Place, i64)>,
    pub left_out: BTreeMap<LeftOut, Left>,
    pub choices: Choices,
    /// Where each partition of the dead-letter topic ended.
    pub(super) seen: Vec<i64>,
    /// What the journal said.
    pub(super) history: History,
}

impl Plan {
    fn leave_out(&mut self, why: LeftOut, letter: &Letter) {
        let left = self.left_out.entry(why).or_default();
        left.letters += 1;
        if left.named.len() < NAMED {
            left.named.push(letter.id().clone());
        }
    }

    /// Nothing is to be sent, and nothing to be written down.
    pub fn is_empty(&self) -> bool {
        self.send.is_empty() && self.settled.is_empty()
    }

    /// There are no dead letters at all.
    pub fn seen_nothing(&self) -> bool {
        self.choices == Choices::default() && self.left_out.is_empty() && self.is_empty()
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
    pub async fn plan(&self, selection: Selection, patience: Duration, tell: Tell) -> Result<Plan> {
        let span = self.span().await?;
        let history = self.history().await?;
        let progress = self.progress(&history).await?;
        let planner = Planner {
            letters: self.clone(),
            now: Utc::now(),
            selection,
            progress,
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
                tell,
                planner,
                |planner, letter, _| {
                    planner.note(letter);
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
        interrupted: &HashSet<Place>,
        patience: Duration,
    ) -> Result<Vec<(Place, i64)>> {
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
fn replay_of(message: &impl Message) -> Option<Place> {
    let headers = message.headers()?;
    let header = headers.iter().find(|h| h.key == declaration::REPLAY_OF)?;
    str::from_utf8(header.value?).ok()?.parse().ok()
}

/// Ends by partition, from the first on.
pub(super) fn ends(span: &Span) -> Vec<i64> {
    span.to.values().copied().collect()
}

struct Planner {
    letters: DeadLetters,
    now: DateTime<Utc>,
    selection: Selection,
    progress: Progress,
    /// By where they are sent: of several letters of one message one is.
    items: HashMap<Place, Item>,
    interrupted: HashSet<Place>,
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
    fn note(&mut self, letter: Letter) {
        self.plan.choices.note(&letter, &self.selection);
        if !self.selection.chooses(&letter, self.now) {
            return;
        }
        let source = match self.target(&letter) {
            Ok(source) => Place {
                topic: intern(&mut self.words, &source.topic),
                ..source
            },
            Err(why) => return self.plan.leave_out(why, &letter),
        };
        match self.plan.history.status(&letter, &self.progress) {
            Status::Waiting => {}
            Status::Interrupted => drop(self.interrupted.insert(source.clone())),
            Status::InFlight => return self.plan.leave_out(LeftOut::InFlight, &letter),
            Status::Replayed => return self.plan.leave_out(LeftOut::Replayed, &letter),
            Status::Dismissed => return self.plan.leave_out(LeftOut::Dismissed, &letter),
        }
        let item = Item {
            own: (letter.own.partition, letter.own.offset),
            groups: self.groups_of(letter.group, &source),
            reason: letter.reason.map(|reason| intern(&mut self.words, &reason)),
            source: source.clone(),
        };
        let groups = Arc::clone(&item.groups);
        let planned = self.items.entry(source).or_insert(item);
        if !groups.is_subset(&planned.groups) {
            Arc::make_mut(&mut planned.groups).extend(groups.iter().cloned());
        }
    }

    /// The group that gave a letter up; where it is not said, all that read the topic.
    fn groups_of(&mut self, group: Option<String>, source: &Place) -> Arc<BTreeSet<String>> {
        let key = (Arc::clone(&source.topic), group);
        let groups = self.groups.entry(key).or_insert_with_key(|(topic, group)| {
            let readers = || self.letters.sources.get(&**topic).cloned();
            let group = group.as_ref().map(|group| [group.clone()].into());
            Arc::new(group.or_else(readers).unwrap_or_default())
        });
        Arc::clone(groups)
    }

    /// Where a letter can be sent back to.
    fn target(&self, letter: &Letter) -> std::result::Result<Place, LeftOut> {
        let source = letter.source.clone().ok_or(LeftOut::NoSource)?;
        if !self.letters.sources.contains_key(&*source.topic) {
            return Err(LeftOut::Undeclared);
        }
        match self.letters.topics.get(&*source.topic) {
            Some(topic) if source.partition < topic.partitions => Ok(source),
            _ => Err(LeftOut::NoPartition),
        }
    }
}
