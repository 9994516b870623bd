//! Replays dead letters to their source topics and partitions, in rounds of growing size.
//!
//! Each round is recorded as `intent`, sent, recorded as `sent`, and complete when the groups that
//! dead-lettered its records have committed offsets after them. A worker commits an offset only
//! after it has written the dead letter. So once a group has passed a record, a new dead letter of
//! that record is visible, and the replay stops.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use kafka::record::{Header, Headers, Message, OwnedHeaders, OwnedMessage};
use tokio_util::sync::CancellationToken;

use super::{
    DeadLetter, DeadLetters, Progress, RecordId, ReportProgress,
    journal::{Journal, Key, Replay, State},
    lease::Lease,
    plan::{Item, Plan},
    unreachable,
};
use declaration::DeadLetterHeaders;
use diagnostics::{Error, Kind, Result};
use kafka::{
    Partition,
    offsets::End,
    read::{Reader, Span},
    send::{Producer, ProducerRecord},
};

/// Maximum size of a round. The first round is one record, each next one ten times as large.
const MAX_ROUND: usize = 1_000;
/// Maximum bytes of a round in memory, not counting its last record.
const MAX_ROUND_BYTES: usize = 8 * 1024 * 1024;
/// Pause between two reads of the committed offsets.
const PAUSE: Duration = Duration::from_millis(50);

/// A record that was replayed and dead-lettered again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedAgain {
    /// The original source record.
    pub was: RecordId,
    /// The new dead letter.
    pub dead_letter: DeadLetter,
}

/// How a replay ended.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Dead letters that were planned to be sent.
    pub planned: usize,
    /// Records that the broker acknowledged.
    pub sent: usize,
    /// Records that the groups have passed and did not dead-letter again.
    pub passed: usize,
    /// Records that failed again; the replay stops at the first round that has any.
    pub failed_again: Vec<FailedAgain>,
    /// Planned dead letters that were not sent, because they were deleted or another run changed
    /// their state since the plan was made.
    pub gone: usize,
}

impl DeadLetters {
    /// Executes a plan. `patience`: time limit for the groups to pass a round.
    ///
    /// # Errors
    /// Another run holds the lease, a group has no members or does not pass a round in time, or
    /// Kafka does not answer. The error says what was sent, and the journal has it.
    pub async fn replay(
        &self,
        plan: Plan,
        patience: Duration,
        cancel: &CancellationToken,
        report: ReportProgress,
    ) -> Result<Outcome> {
        self.expect_readers(&plan).await?;
        let journal = self.journal();
        let replicas = self.topics.get(&self.topic).map_or(1, |t| t.replicas);
        journal.create(replicas).await?;
        let sender = Arc::new(self.kafka.producer().map_err(unreachable)?);
        let Plan {
            send,
            settled,
            seen,
            history: before,
            ..
        } = plan;
        let start = super::journal::History::default();
        let (lease, history) =
            Lease::take(journal.clone(), Arc::clone(&sender), start, &report).await?;
        // The user confirmed the plan. Replays that another run changed since then are not sent.
        let untouched = |source: &RecordId| before.at(source) == history.at(source);
        let planned = send.len();
        let items: HashMap<(i32, i64), Item> = send
            .into_iter()
            .filter(|item| untouched(&item.source))
            .map(|item| (item.own, item))
            .collect();
        let first = self.kafka.ends(&self.partitions(), End::Earliest).await;
        let first = first.map_err(unreachable)?;
        let first = first.into_iter().map(|((_, p), offset)| (p, offset));
        let obsolete = history.obsolete(&first.collect());
        let cursor = self.span().await?.to;
        let mut run = Run {
            dead_letters: self,
            journal,
            sender,
            lease,
            seen,
            items: Arc::new(items),
            cursor,
            patience,
            cancel,
            report,
            outcome: Outcome {
                planned,
                ..Outcome::default()
            },
        };
        let settled = settled.into_iter().filter(|(source, _)| untouched(source));
        let settled = settled.filter_map(|(source, offset)| {
            let replay = history.at(&source)?.clone();
            let state = State::Sent { offset };
            Some((source, Replay { state, ..replay }))
        });
        let result = run.all(settled.collect(), obsolete).await;
        let Run { lease, outcome, .. } = run;
        lease.release().await;
        match result {
            Ok(()) => Ok(outcome),
            Err(error) => Err(error.because(so_far(&outcome))),
        }
    }

    /// Fails if a group that has to process the records has no members.
    async fn expect_readers(&self, plan: &Plan) -> Result<()> {
        let groups = self.kafka.groups().await.map_err(unreachable)?;
        let needed: HashSet<&String> = plan
            .send
            .iter()
            .flat_map(|item| item.groups.iter())
            .collect();
        let idle = needed.into_iter().filter(|name| {
            let group = groups.iter().find(|g| g.name == **name);
            group.is_none_or(|g| g.members.is_empty())
        });
        let mut idle: Vec<_> = idle.map(String::as_str).collect();
        idle.sort_unstable();
        if idle.is_empty() {
            return Ok(());
        }
        let what = format!("group {} has no members: nothing was sent", idle.join(", "));
        Err(Error::new(Kind::NotRight, what)
            .because("a replayed message is processed by the group that failed to process it"))
    }
}

fn so_far(outcome: &Outcome) -> String {
    format!(
        "sent so far: {} of {}, of which {} succeeded; the others may be replayed again",
        outcome.sent, outcome.planned, outcome.passed
    )
}

struct Run<'a> {
    dead_letters: &'a DeadLetters,
    journal: Journal,
    sender: Arc<Producer>,
    lease: Lease,
    seen: Vec<i64>,
    /// By partition and offset on the dead-letter topic.
    items: Arc<HashMap<(i32, i64), Item>>,
    /// End offsets up to which the dead-letter topic was read for records that failed again.
    cursor: kafka::offsets::Offsets,
    patience: Duration,
    cancel: &'a CancellationToken,
    report: ReportProgress,
    outcome: Outcome,
}

/// A record that was sent.
struct Sent {
    source: RecordId,
    target: RecordId,
    own: (i32, i64),
}

impl Run<'_> {
    async fn all(
        &mut self,
        settled: Vec<(RecordId, Replay)>,
        obsolete: Vec<RecordId>,
    ) -> Result<()> {
        self.journal.note(&self.sender, settled).await?;
        let forgotten = obsolete
            .into_iter()
            .map(|source| (Key::DeadLetter(source), None));
        self.journal.write(&self.sender, forgotten).await?;
        let mut reader = self
            .dead_letters
            .kafka
            .reader(self.span())
            .await
            .map_err(unreachable)?;
        let mut size = 1;
        loop {
            let messages = self.read(&mut reader, size).await?;
            if messages.is_empty() {
                self.outcome.gone = self.outcome.planned - self.outcome.sent;
                return Ok(());
            }
            if self.cancel.is_cancelled() {
                return Err(Error::new(Kind::Interrupted, "interrupted"));
            }
            let sent = self.send(&messages).await?;
            self.wait(&sent).await?;
            self.look_back(&sent).await?;
            let (passed, of) = (self.outcome.passed, self.outcome.planned);
            (self.report)(Progress::Passed { passed, of });
            if !self.outcome.failed_again.is_empty() || self.outcome.sent == self.items.len() {
                self.outcome.gone = self.outcome.planned - self.items.len();
                return Ok(());
            }
            size = (size * 10).min(MAX_ROUND);
        }
    }

    /// From the first to the last dead letter to send.
    fn span(&self) -> Span {
        let mut span = Span::default();
        for (partition, offset) in self.items.keys() {
            let at = (self.dead_letters.topic.clone(), *partition);
            let from = span.from.entry(at.clone()).or_insert(*offset);
            *from = (*from).min(*offset);
            let to = span.to.entry(at).or_insert(offset + 1);
            *to = (*to).max(offset + 1);
        }
        span
    }

    async fn read(&self, reader: &mut Reader, size: usize) -> Result<Vec<OwnedMessage>> {
        let items = Arc::clone(&self.items);
        let wanted = move |partition, offset| items.contains_key(&(partition, offset));
        let deadline = Instant::now() + self.patience;
        let round = reader.next(wanted, (size, MAX_ROUND_BYTES), deadline).await;
        round.map_err(unreachable)
    }

    /// Sends one round and records it in the journal.
    async fn send(&mut self, messages: &[OwnedMessage]) -> Result<Vec<Sent>> {
        let mut round: Vec<(&Item, &OwnedMessage)> = messages
            .iter()
            .filter_map(|m| Some((self.items.get(&(m.partition(), m.offset()))?, m)))
            .collect();
        // Keeps the original order within each partition.
        round.sort_by(|(a, _), (b, _)| a.source.cmp(&b.source));
        let targets: HashSet<Partition> = round
            .iter()
            .map(|(item, _)| item.source.partition())
            .collect();
        let targets: Vec<_> = targets.into_iter().collect();
        let ends = self.dead_letters.kafka.ends(&targets, End::Latest).await;
        let ends = ends.map_err(unreachable)?;
        let replay = |item: &Item, state| Replay {
            seen: self.seen.clone(),
            groups: (*item.groups).clone(),
            state,
        };
        let intents = round.iter().map(|(item, _)| {
            let at = item.source.partition();
            let from = ends.get(&at).copied().unwrap_or(0);
            (item.source.clone(), replay(item, State::Intent { from }))
        });
        self.lease.check().await?;
        self.journal.note(&self.sender, intents).await?;
        let header_names = &self.dead_letters.header_names;
        let records: Vec<_> = round
            .iter()
            .map(|(item, m)| outgoing(item, m, header_names))
            .collect();
        self.lease.check().await?;
        let outcomes = self.sender.send(&records).await;
        let mut sent = Vec::new();
        let mut failed = None;
        for ((item, _), outcome) in round.iter().zip(outcomes) {
            match outcome {
                Ok(offset) => sent.push((*item, offset)),
                Err(why) => failed = failed.or_else(|| Some((item.source.clone(), why))),
            }
        }
        let dones = sent.iter().map(|(item, offset)| {
            (
                item.source.clone(),
                replay(item, State::Sent { offset: *offset }),
            )
        });
        self.journal.note(&self.sender, dones).await?;
        let sent = sent.into_iter().map(|(item, offset)| Sent {
            source: item.source.clone(),
            target: RecordId::new(
                Arc::clone(&item.source.topic),
                item.source.partition,
                offset,
            ),
            own: item.own,
        });
        let sent: Vec<_> = sent.collect();
        self.outcome.sent += sent.len();
        let of = self.outcome.planned;
        (self.report)(Progress::Sent {
            sent: self.outcome.sent,
            of,
        });
        match failed {
            None => Ok(sent),
            Some((source, why)) => {
                let what = format!("the dead letter of {source} may or may not have been sent");
                Err(Error::new(Kind::Unreachable, what)
                    .because(why)
                    .because("the next replay checks that before it sends it"))
            }
        }
    }

    /// Waits until the groups have passed all records of a round.
    async fn wait(&mut self, sent: &[Sent]) -> Result<()> {
        let mut due: BTreeMap<String, BTreeMap<Partition, i64>> = BTreeMap::new();
        for sent in sent {
            let item = self.items.get(&sent.own).into_iter();
            for group in item.flat_map(|item| item.groups.iter()) {
                let partitions = due.entry(group.clone()).or_default();
                let last = partitions.entry(sent.target.partition()).or_default();
                *last = (*last).max(sent.target.offset);
            }
        }
        let deadline = Instant::now() + self.patience;
        for (group, partitions) in due {
            self.wait_for(&group, &partitions, deadline).await?;
        }
        Ok(())
    }

    async fn wait_for(
        &mut self,
        group: &str,
        due: &BTreeMap<Partition, i64>,
        deadline: Instant,
    ) -> Result<()> {
        let offsets = self.dead_letters.kafka.group(group);
        let partitions: Vec<_> = due.keys().cloned().collect();
        loop {
            let committed = offsets
                .lowest_committed(&partitions)
                .await
                .map_err(unreachable)?;
            let late = due
                .iter()
                .find(|(p, last)| committed.get(*p).is_none_or(|at| at <= *last));
            let Some(((topic, partition), last)) = late else {
                return Ok(());
            };
            if self.cancel.is_cancelled() {
                return Err(Error::new(Kind::Interrupted, "interrupted"));
            }
            if Instant::now() >= deadline {
                let within = humantime::format_duration(self.patience);
                let what = format!("group {group} has not consumed what was sent within {within}");
                let at = committed.get(&(topic.clone(), *partition));
                let at = at.map_or_else(|| "nothing yet".to_owned(), |at| format!("up to {at}"));
                return Err(Error::new(Kind::Deadline, what)
                    .because(format!("sent: {topic}/{partition}/{last}; committed: {at}")));
            }
            self.lease.check().await?;
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Reads the new dead letters and looks for records of this round.
    async fn look_back(&mut self, sent: &[Sent]) -> Result<()> {
        let to = self.dead_letters.span().await?.to;
        let from = std::mem::replace(&mut self.cursor, to.clone());
        let span = Span { from, to };
        let mut targets: HashMap<RecordId, RecordId> = sent
            .iter()
            .map(|s| (s.target.clone(), s.source.clone()))
            .collect();
        let mut failed_again: Vec<FailedAgain> = Vec::new();
        if span.messages() > 0 {
            let report: ReportProgress = Arc::new(|_| {});
            let note = move |failed_again: &mut Vec<FailedAgain>, dead_letter: DeadLetter| {
                if let Some(was) = dead_letter.source.as_ref().and_then(|s| targets.remove(s)) {
                    failed_again.push(FailedAgain { was, dead_letter });
                }
            };
            failed_again = self
                .dead_letters
                .all(span, self.patience, report, failed_again, note)
                .await?;
        }
        self.outcome.passed += sent.len() - failed_again.len();
        self.outcome.failed_again = failed_again;
        Ok(())
    }
}

/// The record without its dead-letter headers, with the replay header.
fn outgoing(
    item: &Item,
    dead_letter: &OwnedMessage,
    header_names: &DeadLetterHeaders,
) -> ProducerRecord {
    let mut headers = OwnedHeaders::new();
    if let Some(all) = dead_letter.headers() {
        for header in all.iter().filter(|h| !header_names.has(h.key)) {
            headers = headers.insert(header);
        }
    }
    let source = item.source.to_string();
    headers = headers.insert(Header {
        key: declaration::REPLAY_OF,
        value: Some(&source),
    });
    ProducerRecord {
        topic: item.source.topic.to_string(),
        partition: Some(item.source.partition),
        key: dead_letter.key().map(<[u8]>::to_vec),
        value: dead_letter.payload().map(<[u8]>::to_vec),
        headers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letters::dead_letter::tests::message;

    #[test]
    fn a_replayed_record_is_unchanged_except_for_the_replay_header() {
        let dead_letter = message(
            (1, 5),
            &[
                ("trace", "t1"),
                ("dlq-topic", "orders"),
                ("dlq-error", "no"),
                ("synthetic", "true"),
            ],
        );
        let item = Item {
            source: RecordId::new("orders", 2, 17),
            own: (1, 5),
            groups: Arc::new(["billing".to_owned()].into()),
            reason: None,
        };
        let record = outgoing(&item, &dead_letter, &DeadLetterHeaders::default());
        assert_eq!(
            (record.topic.as_str(), record.partition),
            ("orders", Some(2))
        );
        assert_eq!(record.key.as_deref(), Some(b"k".as_slice()));
        assert_eq!(record.value.as_deref(), Some(b"v".as_slice()));
        let headers: Vec<_> = record
            .headers
            .iter()
            .map(|h| (h.key, h.value.unwrap_or_default()))
            .collect();
        let expected: [(&str, &[u8]); 3] = [
            ("trace", b"t1"),
            ("synthetic", b"true"),
            ("dlq-replay-of", b"orders/2/17"),
        ];
        assert_eq!(headers, expected);
    }
}
