//! The journal of replays: a compacted topic of one partition, `<dead letters>.replays`.
//!
//! Each replay has two journal records: before it is sent, with the end offset of its target
//! partition (`intent`), and after the broker acknowledged it, with its new offset (`sent`). If a
//! run ends between the two, the next run reads the target partition from that end offset and sees
//! whether the record was sent. Kafka transactions are not used: their markers in the source topics
//! would look like lag that never becomes 0.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use kafka::record::{Message, OwnedHeaders};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{CommittedOffsets, DeadLetter, InvalidRecordId, RecordId, holder::Leases, unreachable};
use diagnostics::{Error, Kind, Result};
use kafka::{
    Kafka,
    offsets::End,
    read::Span,
    send::{Producer, ProducerRecord},
};

/// The journal is small. A run that cannot read it must not send.
const PATIENCE: Duration = Duration::from_secs(60);
/// Maximum number of unacknowledged records.
const CHUNK: usize = 10_000;

/// The replay of one source record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    /// End offset of each partition of the dead-letter topic when the replay was planned, by
    /// partition number. The replay covers dead letters of its source record before these offsets,
    /// copies included, and no later ones.
    pub seen: Vec<i64>,
    /// Consumer groups that dead-lettered it.
    pub groups: BTreeSet<String>,
    /// How far the replay has come.
    #[serde(flatten)]
    pub state: State,
}

/// How far a replay has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum State {
    /// About to be sent to its source partition.
    Intent {
        /// End offset of the source partition before sending.
        from: i64,
    },
    /// The broker acknowledged it.
    Sent {
        /// The new offset in the source partition.
        offset: i64,
    },
    /// Not sent and not to be sent, because a test caused it.
    Dismissed,
}

impl Replay {
    fn covers(&self, dead_letter: &DeadLetter) -> bool {
        let seen = usize::try_from(dead_letter.own.partition).ok();
        let seen = seen.and_then(|p| self.seen.get(p));
        seen.is_some_and(|end| dead_letter.own.offset < *end)
    }
}

/// Whether a dead letter was replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Status {
    /// Neither replayed nor dismissed.
    Waiting,
    /// A replay was started and ended before it recorded whether the record was sent.
    Interrupted,
    /// Replayed; the group has not committed an offset after it yet.
    InFlight,
    /// Replayed, and the group has committed an offset after it. If the group failed on it again,
    /// that is a new dead letter.
    Replayed,
    /// Not replayed and not waiting, because a test caused it.
    Dismissed,
}

/// The journal's content.
#[derive(Debug, Default)]
pub struct History {
    replays: HashMap<RecordId, Replay>,
    pub(super) leases: Leases,
    /// Offset of the first record that was not read.
    next: i64,
}

impl History {
    /// All replays with their source records.
    pub fn replays(&self) -> impl Iterator<Item = (&RecordId, &Replay)> {
        self.replays.iter()
    }

    /// The replay that covers this dead letter.
    pub fn of(&self, dead_letter: &DeadLetter) -> Option<&Replay> {
        let replay = self.replays.get(dead_letter.source.as_ref()?)?;
        replay.covers(dead_letter).then_some(replay)
    }

    pub(super) fn at(&self, source: &RecordId) -> Option<&Replay> {
        self.replays.get(source)
    }

    /// The status of a dead letter, given the groups' committed offsets.
    pub fn status(&self, dead_letter: &DeadLetter, committed: &CommittedOffsets) -> Status {
        let (Some(source), Some(replay)) = (&dead_letter.source, self.of(dead_letter)) else {
            return Status::Waiting;
        };
        let offset = match replay.state {
            State::Intent { .. } => return Status::Interrupted,
            State::Dismissed => return Status::Dismissed,
            State::Sent { offset } => offset,
        };
        let partition = source.partition();
        let passed = |group: &String| {
            let committed = committed.get(group).and_then(|c| c.get(&partition));
            committed.is_some_and(|committed| *committed > offset)
        };
        let own = dead_letter
            .group
            .as_ref()
            .filter(|g| committed.contains_key(*g));
        let passed = match own {
            Some(group) => passed(group),
            None => replay.groups.iter().all(passed),
        };
        if passed {
            Status::Replayed
        } else {
            Status::InFlight
        }
    }

    /// Source records whose replay covers no remaining dead letter. `first`: the first offset of
    /// each partition of the dead-letter topic.
    pub(super) fn obsolete(&self, first: &BTreeMap<i32, i64>) -> Vec<RecordId> {
        let gone = |replay: &Replay| {
            replay
                .seen
                .iter()
                .zip(0..)
                .all(|(end, partition)| first.get(&partition).is_none_or(|first| first >= end))
        };
        let gone = self.replays.iter().filter(|(_, replay)| gone(replay));
        gone.map(|(source, _)| source.clone()).collect()
    }

    /// Applies a journal record. `at`: the broker's timestamp in milliseconds since the epoch.
    pub(super) fn apply(
        &mut self,
        key: &str,
        value: Option<&[u8]>,
        at: i64,
    ) -> std::result::Result<(), ForeignRecord> {
        match (key.parse()?, value) {
            (Key::DeadLetter(source), None) => drop(self.replays.remove(&source)),
            (Key::DeadLetter(source), Some(value)) => {
                let replay = serde_json::from_slice(value)?;
                self.replays.insert(source, replay);
            }
            (Key::Run(run), None) => self.leases.release(run),
            (Key::Run(run), Some(value)) => {
                let by = serde_json::from_slice::<Claim>(value)?;
                self.leases.claim(run, &by.by, at);
            }
        }
        Ok(())
    }
}

/// Why a record of the journal is not one that this Caravan writes.
#[derive(Debug, thiserror::Error)]
pub(super) enum ForeignRecord {
    #[error("it is about nothing that is known")]
    Key,
    #[error(transparent)]
    Source(#[from] InvalidRecordId),
    #[error(transparent)]
    Run(#[from] uuid::Error),
    #[error(transparent)]
    Value(#[from] serde_json::Error),
}

/// The key of a journal record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Key {
    DeadLetter(RecordId),
    Run(Uuid),
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::DeadLetter(source) => write!(f, "letter:{source}"),
            Self::Run(run) => write!(f, "run:{run}"),
        }
    }
}

impl std::str::FromStr for Key {
    type Err = ForeignRecord;

    fn from_str(text: &str) -> std::result::Result<Self, ForeignRecord> {
        match text.split_once(':') {
            Some(("letter", place)) => Ok(Self::DeadLetter(place.parse()?)),
            Some(("run", run)) => Ok(Self::Run(run.parse()?)),
            _ => Err(ForeignRecord::Key),
        }
    }
}

/// The value of a record that claims or renews the lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claim {
    /// The process, as shown to users.
    pub(super) by: String,
}

/// Access to the journal topic.
#[derive(Clone)]
pub(super) struct Journal {
    kafka: Kafka,
    topic: String,
    who: Arc<str>,
}

/// Name of the journal topic of a dead-letter topic.
pub fn journal_of(dead_letters: &str) -> String {
    format!("{dead_letters}.replays")
}

impl Journal {
    /// `who`: the process that writes, as shown to users.
    pub(super) fn new(kafka: Kafka, dead_letters: &str, who: Arc<str>) -> Self {
        Self {
            kafka,
            topic: journal_of(dead_letters),
            who,
        }
    }

    pub(super) fn topic(&self) -> &str {
        &self.topic
    }

    pub(super) fn who(&self) -> &str {
        &self.who
    }

    /// Creates the topic if it does not exist.
    pub(super) async fn create(&self, replicas: i32) -> Result<()> {
        let settings = [
            ("cleanup.policy", "compact"),
            // The lease uses the broker's clock, the only one that all runs share.
            ("message.timestamp.type", "LogAppendTime"),
        ];
        let created = self.kafka.create_topic(&self.topic, replicas, &settings);
        created.await.map_err(|why| {
            let what = format!("the topic {} cannot be created", self.topic);
            Error::new(Kind::Unreachable, what).because(why)
        })
    }

    /// Reads the records after `history` and applies them.
    pub(super) async fn catch_up(&self, history: History) -> Result<History> {
        let at = (self.topic.clone(), 0);
        let ends = async |end| {
            let ends = self.kafka.ends(std::slice::from_ref(&at), end).await;
            Ok::<_, Error>(ends.map_err(unreachable)?.get(&at).copied().unwrap_or(0))
        };
        let (first, end) = tokio::try_join!(ends(End::Earliest), ends(End::Latest))?;
        let span = Span {
            from: [(at.clone(), history.next.max(first))].into(),
            to: [(at, end)].into(),
        };
        let (state, whole) = self
            .kafka
            .read(
                span,
                Instant::now() + PATIENCE,
                (history, None),
                |(history, wrong), message| {
                    let key = String::from_utf8_lossy(message.key().unwrap_or_default());
                    let at = message.timestamp().to_millis().unwrap_or_default();
                    match history.apply(&key, message.payload(), at) {
                        Ok(()) => ControlFlow::Continue(()),
                        Err(why) => {
                            *wrong = Some((message.offset(), why));
                            ControlFlow::Break(())
                        }
                    }
                },
            )
            .await
            .map_err(unreachable)?;
        match state {
            (_, Some((offset, why))) => Err(self.foreign_record(offset, &why)),
            (_, None) if !whole => Err(Error::new(
                Kind::Deadline,
                format!("the topic {} could not be read in time", self.topic),
            )),
            (mut history, None) => {
                history.next = end;
                Ok(history)
            }
        }
    }

    fn foreign_record(&self, offset: i64, why: &ForeignRecord) -> Error {
        let topic = &self.topic;
        Error::new(
            Kind::NotRight,
            format!("{topic}/0/{offset} is not a record of this Caravan's"),
        )
        .because(why)
        .because("without it Caravan does not know what was replayed already")
        .hint("use the Caravan that wrote it, or delete the topic if nothing was ever replayed")
    }

    /// Writes records and waits until the broker has acknowledged all of them.
    pub(super) async fn write(
        &self,
        sender: &Producer,
        records: impl IntoIterator<Item = (Key, Option<String>)>,
    ) -> Result<()> {
        let records: Vec<_> = records
            .into_iter()
            .map(|(key, value)| ProducerRecord {
                topic: self.topic.clone(),
                partition: Some(0),
                key: Some(key.to_string().into_bytes()),
                value: value.map(String::into_bytes),
                headers: OwnedHeaders::new(),
            })
            .collect();
        for chunk in records.chunks(CHUNK) {
            for outcome in sender.send(chunk).await {
                outcome.map_err(|why| {
                    let what = format!("cannot write to the topic {}", self.topic);
                    Error::new(Kind::Unreachable, what).because(why)
                })?;
            }
        }
        Ok(())
    }

    /// Writes the state of replays.
    pub(super) async fn note(
        &self,
        sender: &Producer,
        replays: impl IntoIterator<Item = (RecordId, Replay)>,
    ) -> Result<()> {
        let records = replays
            .into_iter()
            .map(|(source, replay)| (Key::DeadLetter(source), Some(json(&replay))));
        self.write(sender, records).await
    }
}

/// JSON of one of this module's types, whose serialization cannot fail.
pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|e| unreachable!("{e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dead_letter(own: (i32, i64), group: Option<&str>) -> DeadLetter {
        DeadLetter {
            own: RecordId::new("dead", own.0, own.1),
            source: Some(RecordId::new("orders", 2, 17)),
            group: group.map(str::to_owned),
            reason: None,
            error: None,
            attempts: None,
            at: None,
        }
    }

    fn history(state: &str) -> History {
        let mut history = History::default();
        let value = format!(r#"{{"seen":[10,0],"groups":["billing"],{state}}}"#);
        history
            .apply("letter:orders/2/17", Some(value.as_bytes()), 0)
            .expect("a record");
        history
    }

    fn committed(group: &str, committed: i64) -> CommittedOffsets {
        let at = ("orders".to_owned(), 2);
        [(group.to_owned(), [(at, committed)].into())].into()
    }

    #[test]
    fn a_dead_letter_is_replayed_once_its_group_has_passed_it() {
        let sent = history(r#""state":"sent","offset":40"#);
        for (dead_letter, committed, status) in [
            (
                dead_letter((0, 9), Some("billing")),
                committed("billing", 41),
                Status::Replayed,
            ),
            (
                dead_letter((0, 9), Some("billing")),
                committed("billing", 40),
                Status::InFlight,
            ),
            (
                dead_letter((0, 9), Some("billing")),
                CommittedOffsets::new(),
                Status::InFlight,
            ),
            // Two groups dead-lettered it: each has its own offset.
            (
                dead_letter((0, 9), Some("stock")),
                committed("stock", 40),
                Status::InFlight,
            ),
            // A group without committed offsets: the replay's groups decide.
            (
                dead_letter((0, 9), Some("foreign")),
                committed("billing", 41),
                Status::Replayed,
            ),
            (
                dead_letter((0, 9), None),
                committed("billing", 41),
                Status::Replayed,
            ),
            // Written after the replay was planned: the group failed on the same record again.
            (
                dead_letter((0, 10), Some("billing")),
                committed("billing", 41),
                Status::Waiting,
            ),
            (
                dead_letter((1, 0), Some("billing")),
                committed("billing", 41),
                Status::Waiting,
            ),
        ] {
            assert_eq!(
                sent.status(&dead_letter, &committed),
                status,
                "{dead_letter:?}"
            );
        }
    }

    #[test]
    fn an_intent_alone_is_an_interrupted_replay() {
        let history = history(r#""state":"intent","from":39"#);
        let status = history.status(&dead_letter((0, 9), None), &committed("billing", 99));
        assert_eq!(status, Status::Interrupted);
    }

    #[test]
    fn dismissal_covers_a_dead_letter_and_no_later_one_of_its_record() {
        let history = history(r#""state":"dismissed""#);
        let status =
            |offset| history.status(&dead_letter((0, offset), None), &CommittedOffsets::new());
        assert_eq!(status(9), Status::Dismissed);
        assert_eq!(status(10), Status::Waiting);
    }

    #[test]
    fn a_replay_is_removed_when_its_dead_letters_are_deleted() {
        let history = history(r#""state":"sent","offset":40"#);
        assert!(history.obsolete(&[(0, 9), (1, 0)].into()).is_empty());
        assert_eq!(history.obsolete(&[(0, 10), (1, 0)].into()).len(), 1);
    }

    #[test]
    fn records_are_read_as_they_are_written() {
        let replay = Replay {
            seen: vec![10, 0],
            groups: ["billing".to_owned()].into(),
            state: State::Intent { from: 3 },
        };
        let text = json(&replay);
        assert_eq!(
            text,
            r#"{"seen":[10,0],"groups":["billing"],"state":"intent","from":3}"#
        );
        assert_eq!(serde_json::from_str::<Replay>(&text).expect("ours"), replay);
        let key = Key::DeadLetter(RecordId::new("orders", 2, 17));
        assert_eq!(key.to_string().parse::<Key>().expect("ours"), key);
    }

    #[test]
    fn foreign_journal_records_are_errors() {
        let mut history = History::default();
        for (key, value) in [
            ("", "{}"),
            ("letter:orders", "{}"),
            ("letter:orders/1/2", "{}"),
            (
                "letter:orders/1/2",
                r#"{"seen":[],"groups":[],"state":"lost"}"#,
            ),
            ("run:1", "{}"),
            ("vote:1", "{}"),
        ] {
            let applied = history.apply(key, Some(value.as_bytes()), 0);
            assert!(applied.is_err(), "{key} {value}");
        }
        let gone = history.apply("letter:orders/1/2", None, 0);
        assert!(gone.is_ok(), "{gone:?}");
    }
}
