//! When each message was seen at each hop, looked up after the messages were consumed.

use std::{
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use kafka::record::{BorrowedMessage, Message, Timestamp};

use super::{Progress, Run, TestMessage, Topics};
use crate::{
    flow::{
        HopPlace, Step,
        cleanup::BATCH,
        sources::{Tables, of_topic},
        steps,
    },
    stores::{StoreError, postgres::batches::Rows},
};
use diagnostics::{Error, Kind, Result};
use kafka::{identity::find_correlation, offsets::Offsets, read::Span};

/// Time limit for reading one topic.
const PATIENCE: Duration = Duration::from_secs(120);

/// When each message was seen at one hop.
#[derive(Debug, Clone, Default)]
pub(super) struct Track {
    /// Microseconds since the epoch, in the order of the messages; [`NEVER`], [`UNTIMED`].
    pub(super) at: Vec<i64>,
    /// Sightings beyond each message's first.
    pub(super) copies: usize,
}

/// Not seen.
pub(super) const NEVER: i64 = i64::MIN;

/// Seen at an unknown time: by default Postgres does not keep commit times.
pub(super) const UNTIMED: i64 = NEVER + 1;

/// Whether it is known when something was seen.
pub(super) fn is_timed(at: i64) -> bool {
    at != NEVER && at != UNTIMED
}

impl Track {
    pub(super) fn saw(&mut self, message: usize, at: i64) {
        if self.at[message] == NEVER {
            self.at[message] = at;
        } else {
            self.copies += 1;
        }
    }

    /// How many messages were seen.
    pub(super) fn seen(&self) -> usize {
        self.at.iter().filter(|at| **at != NEVER).count()
    }
}

#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) steps: Vec<Step>,
    /// A track for each step.
    pub(super) tracks: Vec<Track>,
    /// By id.
    pub(super) messages: Arc<[TestMessage]>,
    /// Commit of the first row of the first table, and of the last row of the last one.
    pub(super) first_effect: Option<DateTime<Utc>>,
    pub(super) last_effect: Option<DateTime<Utc>>,
}

/// A message whose rows are not as many as declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WrongRowCount {
    pub(super) step: usize,
    /// Index among the messages.
    pub(super) message: usize,
    pub(super) rows: i64,
    /// Rows that existed before the first message and have not changed since.
    pub(super) unchanged: i64,
}

impl Ledger {
    /// Of all messages that were sent.
    pub(super) fn new(steps: &[Step], mut messages: Vec<TestMessage>) -> Self {
        messages.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        let track = |step: &Step| Track {
            at: match step.place {
                HopPlace::Entry { .. } => messages.iter().map(|m| m.accepted).collect(),
                HopPlace::Topic { .. }
                | HopPlace::Table { .. }
                | HopPlace::Log { .. }
                | HopPlace::Cache { .. } => vec![NEVER; messages.len()],
            },
            copies: 0,
        };
        Self {
            steps: steps.to_vec(),
            tracks: steps.iter().map(track).collect(),
            messages: messages.into(),
            first_effect: None,
            last_effect: None,
        }
    }

    /// Whether each message was seen on each topic.
    pub(super) fn is_complete(&self) -> bool {
        let mut topics = steps::topics(&self.steps);
        topics.all(|(step, _)| self.is_seen_by_all(step))
    }

    /// Whether each message was seen on the topics by which messages enter.
    pub(super) fn has_entered(&self, topics: &Topics) -> bool {
        let first = |name: &str| topics.topics.iter().any(|t| t.first && t.name == name);
        let mut first = steps::topics(&self.steps).filter(|(_, name)| first(name));
        first.all(|(step, _)| self.is_seen_by_all(step))
    }

    fn is_seen_by_all(&self, step: usize) -> bool {
        self.tracks[step].seen() == self.messages.len()
    }

    /// Records the events between the two end offsets; counts copies.
    ///
    /// # Errors
    /// Kafka does not answer. The ledger lacks tracks then.
    pub(super) async fn read_topics(
        &mut self,
        topics: &Topics,
        from: &Offsets,
        to: &Offsets,
    ) -> Result<()> {
        let names = steps::topics(&self.steps).map(|(step, topic)| (step, topic.to_owned()));
        for (step, topic) in names.collect::<Vec<_>>() {
            let span = Span {
                from: of_topic(from, &topic),
                to: of_topic(to, &topic),
            };
            let messages = Arc::clone(&self.messages);
            let track = std::mem::take(&mut self.tracks[step]);
            let correlation = topics.correlation.clone();
            let see = move |track: &mut Track, event: &BorrowedMessage<'_>| {
                let find = |id: &str| TestMessage::find(&messages, id);
                if let Some(message) = find_correlation(&correlation, event, find) {
                    track.saw(message, written_at(event).saturating_mul(1000));
                }
                ControlFlow::Continue(())
            };
            let deadline = Instant::now() + PATIENCE;
            let reading = topics.kafka.read(span, deadline, track, see);
            let (track, whole) = reading.await?;
            self.tracks[step] = track;
            if !whole {
                let what = format!("{topic} could not be read within {PATIENCE:?}");
                return Err(Error::new(Kind::Deadline, what));
            }
        }
        Ok(())
    }

    /// Counts the rows of every message, table by table, in batches, until the run is cancelled.
    /// Returns the messages with too few or too many.
    ///
    /// # Errors
    /// A query failed.
    pub(super) async fn read_rows(
        &mut self,
        run: &Run<'_>,
    ) -> Result<Vec<WrongRowCount>, StoreError> {
        let mut wrong = Vec::new();
        let Some(tables) = &run.tables else {
            return Ok(wrong);
        };
        let Tables {
            postgres,
            stamp,
            timed,
            ..
        } = tables;
        let messages = Arc::clone(&self.messages);
        for (n, (step, table)) in tables.tables.iter().enumerate() {
            let (is_first, is_last) = (n == 0, n + 1 == tables.tables.len());
            for (batch, chunk) in messages.chunks(BATCH).enumerate() {
                if run.cancel.is_cancelled() {
                    return Ok(wrong);
                }
                let ids: Vec<&str> = chunk.iter().map(|message| &*message.id).collect();
                let found = postgres.find_each(&table.name, &table.find, &ids, *timed, stamp);
                for (n, found) in found.await?.into_iter().enumerate() {
                    let message = batch * BATCH + n;
                    wrong.extend(self.saw_rows(*step, message, table.rows, found));
                    let rows = found.0;
                    if is_first {
                        let first = [self.first_effect, rows.first];
                        self.first_effect = first.into_iter().flatten().min();
                    }
                    if is_last {
                        self.last_effect = self.last_effect.max(rows.last);
                    }
                }
                run.report(Progress::Checking {
                    table: table.name.clone(),
                    done: (batch * BATCH + chunk.len()),
                    of: messages.len(),
                });
            }
        }
        Ok(wrong)
    }

    /// `written`: how many of `rows` were inserted or updated since the first message was sent.
    fn saw_rows(
        &mut self,
        step: usize,
        message: usize,
        expected: i64,
        (rows, written): (Rows, i64),
    ) -> Option<WrongRowCount> {
        // Rows that existed before and have not changed prove nothing.
        let unchanged = match rows.count == expected {
            true => rows.count - written,
            false => 0,
        };
        let proven = rows.count - unchanged;
        if proven >= expected {
            let at = rows.last.map_or(UNTIMED, |last| last.timestamp_micros());
            self.tracks[step].saw(message, at);
        }
        (proven != expected).then_some(WrongRowCount {
            step,
            message,
            rows: rows.count,
            unchanged,
        })
    }
}

/// Milliseconds since the epoch, of the producer or the broker.
fn written_at(event: &BorrowedMessage<'_>) -> i64 {
    match event.timestamp() {
        Timestamp::CreateTime(at) | Timestamp::LogAppendTime(at) => at,
        Timestamp::NotAvailable => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: &str, due: i64) -> TestMessage {
        TestMessage {
            id: id.into(),
            due,
            accepted: due + 1,
        }
    }

    fn step(place: HopPlace) -> Step {
        let service = "shop".to_owned();
        Step { place, service }
    }

    #[test]
    fn messages_are_found_by_id_and_counted_once() {
        let topic = "paid".to_owned();
        let service = "shop".to_owned();
        let steps = [
            step(HopPlace::Entry { service }),
            step(HopPlace::Topic { topic }),
        ];
        let messages = vec![message("c", 3), message("a", 1), message("b", 2)];
        let mut ledger = Ledger::new(&steps, messages);
        assert_eq!(ledger.tracks[0].at, [2, 3, 4]);
        assert_eq!(TestMessage::find(&ledger.messages, "b"), Some(1));
        assert_eq!(TestMessage::find(&ledger.messages, "d"), None);
        let track = &mut ledger.tracks[1];
        track.saw(1, 10);
        track.saw(1, 11);
        assert_eq!(
            (track.at.as_slice(), track.copies),
            (&[NEVER, 10, NEVER][..], 1)
        );
        track.saw(0, UNTIMED);
        assert_eq!(track.seen(), 2);
        assert_eq!(track.at.iter().filter(|at| is_timed(**at)).count(), 1);
    }
}
