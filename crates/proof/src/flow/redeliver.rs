//! Sends the messages' events again, and the first ones once more with new ids, and checks that no
//! row changes. At-least-once delivery may do both.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use kafka::record::{Message, OwnedMessage};
use serde_json::Value;
use uuid::Uuid;

use super::{
    cleanup::BATCH,
    drain::{self, Until},
    run::{Run, TestMessage},
    sources::{Tables, Topics, of_topic},
};
use declaration::FirstEvent;
use diagnostics::{Error, Kind, Result};
use kafka::{
    identity::find_correlation,
    offsets::Offsets,
    read::Span,
    send::{Producer, ProducerRecord},
};

/// Events in memory at one time.
const CHUNK: (usize, usize) = (1_000, 8 << 20);

/// Time limit for reading one topic.
const PATIENCE: Duration = Duration::from_secs(120);

/// Time limit until rows stop changing before they are compared.
const QUIET: Duration = Duration::from_secs(5);

/// Up to this number of messages, rows are kept in memory so that a difference can be shown.
const KEPT: usize = 1_000;

/// Maximum number of named messages.
const NAMED: usize = 20;

/// The result of a redelivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redelivery {
    /// Number of events sent again, by topic.
    pub sent: Vec<(String, usize)>,
    /// The first events, sent once more with new ids.
    pub renamed: Renamed,
    /// Number of rows compared, by table.
    pub compared: Vec<(String, usize)>,
    /// Number of pairs of message and table whose rows changed.
    pub changes: usize,
    /// The first of them.
    pub named: Vec<Change>,
    /// What was not consumed in time.
    pub pending: Option<String>,
}

/// The first events under new ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Renamed {
    /// How many were sent.
    Sent(usize),
    /// Why they were not sent.
    Skipped(String),
}

/// One message's rows of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The message's correlation id.
    pub correlation_id: String,
    /// Table name as declared.
    pub table: String,
    /// Number of rows before the redelivery.
    pub before: usize,
    /// Number of rows after the redelivery.
    pub after: usize,
    /// JSON of the rows that are gone, and of those that are new. None: there were too many
    /// messages to keep rows.
    pub rows: Option<(Vec<String>, Vec<String>)>,
}

impl Redelivery {
    /// Whether no row changed and everything was consumed.
    pub fn is_right(&self) -> bool {
        self.changes == 0 && self.pending.is_none()
    }
}

/// One message's rows of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
struct RowsDigest {
    count: usize,
    /// SHA-256 of all of them.
    sum: [u8; 32],
    kept: Option<Vec<String>>,
}

/// By table, then by message.
type RowsDigests = Vec<Vec<RowsDigest>>;

impl Run<'_> {
    /// Sends the messages' events between `from` and now again.
    ///
    /// # Errors
    /// Kafka or Postgres do not answer.
    pub(super) async fn redeliver(
        &self,
        topics: &Topics,
        messages: &[TestMessage],
        from: &Offsets,
    ) -> Result<Redelivery> {
        let event = self.flow.event.as_ref();
        let before = self.settled_digests(messages).await?;
        let to = topics.ends().await?;
        let sender = topics.kafka.producer()?;
        let mut sent = Vec::new();
        let mut renamed = (0, 0);
        for topic in &topics.topics {
            let span = Span {
                from: of_topic(from, &topic.name),
                to: of_topic(&to, &topic.name),
            };
            let own = event.filter(|event| event.topic == topic.name);
            let id = own.and_then(|event| event.id.as_deref());
            let resent = topics.send_again(&sender, span, messages, id).await?;
            sent.push((topic.name.clone(), resent.sent));
            renamed = (renamed.0 + resent.renamed, renamed.1 + resent.without_id);
        }
        let until = Until::Deadline(Instant::now() + self.options.timeout, &self.cancel);
        let drained = topics.drain(self, &to, messages.len(), until);
        let pending = drained.await?.pending;
        let after = self.digests(messages).await?;
        let names: Vec<&str> = self.tables.iter().flat_map(Tables::names).collect();
        let (changes, named) = compare(messages, &names, &before, &after);
        Ok(Redelivery {
            sent,
            renamed: outcome(event, renamed),
            compared: names
                .iter()
                .zip(&before)
                .map(|(t, digests)| total(t, digests))
                .collect(),
            changes,
            named,
            pending,
        })
    }

    /// The rows, once they have stopped changing by themselves.
    async fn settled_digests(&self, messages: &[TestMessage]) -> Result<RowsDigests> {
        let deadline = Instant::now() + QUIET;
        let mut digests = self.digests(messages).await?;
        loop {
            tokio::time::sleep(drain::PAUSE).await;
            let next = self.digests(messages).await?;
            if next == digests || Instant::now() > deadline {
                return Ok(next);
            }
            digests = next;
        }
    }

    async fn digests(&self, messages: &[TestMessage]) -> Result<RowsDigests> {
        let keep = messages.len() <= KEPT;
        let mut digests = RowsDigests::new();
        let Some(tables) = &self.tables else {
            return Ok(digests);
        };
        for (_, table) in &tables.tables {
            let mut of_table = Vec::with_capacity(messages.len());
            for chunk in messages.chunks(BATCH) {
                let ids: Vec<&str> = chunk.iter().map(|message| &*message.id).collect();
                let (postgres, find) = (&tables.postgres, &table.find);
                let rows = postgres.rows_each(&table.name, find, &ids).await?;
                of_table.extend(rows.into_iter().map(|rows| RowsDigest::of(rows, keep)));
            }
            digests.push(of_table);
        }
        Ok(digests)
    }
}

impl Topics {
    /// Sends the messages' events of a span, which is one topic's, as they are; and once more with
    /// a new id at the pointer `id`.
    async fn send_again(
        &self,
        sender: &Producer,
        span: Span,
        messages: &[TestMessage],
        id: Option<&str>,
    ) -> Result<Resent> {
        let deadline = Instant::now() + PATIENCE;
        let mut reader = self.kafka.reader(span).await?;
        let mut resent = Resent::default();
        loop {
            let events = reader.next(|_, _| true, CHUNK, deadline).await?;
            if events.is_empty() {
                break;
            }
            let find = |id: &str| TestMessage::find(messages, id);
            let is_own =
                |event: &&OwnedMessage| find_correlation(&self.correlation, *event, find).is_some();
            let mut records = Vec::new();
            for event in events.iter().filter(is_own) {
                records.push(record(event, event.payload().map(<[u8]>::to_vec)));
                resent.sent += 1;
                let Some(id) = id else {
                    continue;
                };
                match rename(event.payload().unwrap_or_default(), id) {
                    Some(value) => {
                        records.push(record(event, Some(value)));
                        resent.renamed += 1;
                    }
                    None => resent.without_id += 1,
                }
            }
            for delivered in sender.send(&records).await {
                delivered.map_err(|why| {
                    let what = "an event could not be sent again";
                    Error::new(Kind::Unreachable, what).because(why)
                })?;
            }
        }
        Ok(resent)
    }
}

/// What was sent again of one topic.
#[derive(Debug, Default)]
struct Resent {
    sent: usize,
    renamed: usize,
    without_id: usize,
}

impl RowsDigest {
    fn of(rows: Vec<String>, keep: bool) -> Self {
        use sha2::{Digest, Sha256};
        let mut sum = Sha256::new();
        for row in &rows {
            // JSON contains no zero byte, so it separates rows unambiguously.
            sum.update(row);
            sum.update([0]);
        }
        Self {
            count: rows.len(),
            sum: sum.finalize().into(),
            kept: keep.then_some(rows),
        }
    }
}

/// The same key, headers and partition as the original event.
fn record(message: &OwnedMessage, value: Option<Vec<u8>>) -> ProducerRecord {
    ProducerRecord {
        topic: message.topic().to_owned(),
        partition: Some(message.partition()),
        key: message.key().map(<[u8]>::to_vec),
        value,
        headers: message.headers().cloned().unwrap_or_default(),
    }
}

/// The event with a new id at `pointer`; None if it has no id there.
fn rename(event: &[u8], pointer: &str) -> Option<Vec<u8>> {
    let mut event: Value = serde_json::from_slice(event).ok()?;
    let id = event.pointer_mut(pointer).filter(|id| id.is_string())?;
    *id = Uuid::new_v4().to_string().into();
    Some(event.to_string().into_bytes())
}

fn outcome(event: Option<&FirstEvent>, (renamed, without_id): (usize, usize)) -> Renamed {
    let skipped = |why: &str| Renamed::Skipped(why.to_owned());
    match event.map(|event| event.id.as_deref()) {
        None => skipped("x-caravan.flow.event does not say what the first event is"),
        Some(None) => skipped("x-caravan.flow.event.id does not say where an event's id stands"),
        Some(Some(pointer)) if without_id > 0 => {
            Renamed::Skipped(format!("{without_id} first events have no id at {pointer}"))
        }
        Some(Some(_)) => Renamed::Sent(renamed),
    }
}

fn total(table: &str, digests: &[RowsDigest]) -> (String, usize) {
    (
        table.to_owned(),
        digests.iter().map(|print| print.count).sum(),
    )
}

/// How many messages' tables differ, and the first of them.
fn compare(
    messages: &[TestMessage],
    tables: &[&str],
    before: &RowsDigests,
    after: &RowsDigests,
) -> (usize, Vec<Change>) {
    let mut changes = 0;
    let mut named = Vec::new();
    for ((table, before), after) in tables.iter().zip(before).zip(after) {
        for ((message, before), after) in messages.iter().zip(before).zip(after) {
            if before == after {
                continue;
            }
            changes += 1;
            if named.len() < NAMED {
                named.push(Change {
                    correlation_id: message.id.to_string(),
                    table: (*table).to_owned(),
                    before: before.count,
                    after: after.count,
                    rows: before
                        .kept
                        .as_deref()
                        .zip(after.kept.as_deref())
                        .map(differing),
                });
            }
        }
    }
    (changes, named)
}

/// Rows that are on one side only.
fn differing((before, after): (&[String], &[String])) -> (Vec<String>, Vec<String>) {
    let mut balance: BTreeMap<&String, i64> = BTreeMap::new();
    before
        .iter()
        .for_each(|row| *balance.entry(row).or_default() -= 1);
    after
        .iter()
        .for_each(|row| *balance.entry(row).or_default() += 1);
    let only = |sign: i64| {
        let rows = balance.iter().filter(|(_, n)| n.signum() == sign);
        rows.map(|(row, _)| (*row).clone()).collect()
    };
    (only(-1), only(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages() -> Vec<TestMessage> {
        let message = |id: &str| TestMessage {
            id: id.into(),
            due: 0,
            accepted: 0,
        };
        ["p-1", "p-2"].map(message).into()
    }

    fn print(rows: &[&str]) -> RowsDigest {
        RowsDigest::of(rows.iter().map(|row| (*row).to_owned()).collect(), true)
    }

    #[test]
    fn a_changed_an_added_and_a_lost_row_are_shown() {
        let before = vec![vec![print(&["a", "b"]), print(&["c"])]];
        assert_eq!(compare(&messages(), &["t"], &before, &before), (0, vec![]));
        let after = vec![vec![print(&["a", "B", "d"]), print(&["c"])]];
        let (changes, named) = compare(&messages(), &["t"], &before, &after);
        assert_eq!((changes, named[0].correlation_id.as_str()), (1, "p-1"));
        assert_eq!((named[0].before, named[0].after), (2, 3));
        let (gone, come) = named[0].rows.clone().expect("kept");
        assert_eq!(
            (gone, come),
            (vec!["b".to_owned()], vec!["B".to_owned(), "d".to_owned()])
        );
    }

    #[test]
    fn rows_do_not_run_together_and_copies_count() {
        assert_ne!(print(&["ab", "c"]).sum, print(&["a", "bc"]).sum);
        let rows = |rows: &[&str]| rows.iter().map(|r| (*r).to_owned()).collect::<Vec<_>>();
        let (gone, come) = differing((&rows(&["a"]), &rows(&["a", "a"])));
        assert_eq!((gone, come), (vec![], rows(&["a"])));
    }

    #[test]
    fn without_their_rows_changes_are_still_counted() {
        let sum =
            |rows: &[&str]| RowsDigest::of(rows.iter().map(|r| (*r).to_owned()).collect(), false);
        let (before, after) = (vec![vec![sum(&["a"])]], vec![vec![sum(&["b"])]]);
        let (changes, named) = compare(&messages(), &["t"], &before, &after);
        assert_eq!((changes, &named[0].rows), (1, &None));
    }

    #[test]
    fn an_event_gets_a_new_id_and_keeps_the_rest() {
        let event = br#"{"eventId":"e-1","payload":{"n":1}}"#;
        let renamed = rename(event, "/eventId").expect("has one");
        let renamed: Value = serde_json::from_slice(&renamed).expect("JSON");
        assert_ne!(renamed["eventId"], "e-1");
        assert!(
            renamed["eventId"]
                .as_str()
                .is_some_and(|id| id.parse::<Uuid>().is_ok())
        );
        assert_eq!(renamed["payload"]["n"], 1);
        assert_eq!(rename(event, "/id"), None);
        assert_eq!(rename(b"not json", "/eventId"), None);
    }
}
