//! Sends a bad event between good ones. It has to be dead-lettered with the declared reason, and
//! the good ones have to pass.

use std::{
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use kafka::record::{BorrowedMessage, Message};
use tokio_util::sync::CancellationToken;

use super::{Run, TestMessage, drain, send::Epoch};
use crate::{
    dead_letters::{DeadLetter, DeadLetters, RecordId},
    flow::{
        entry::{Sender, fill},
        sources::unreachable,
        template::Values,
    },
};
use declaration::{DeadLetterHeaders, FirstEvent, Flow, Poison};
use diagnostics::{Error, Kind, Result};
use kafka::{
    Kafka, Partition,
    offsets::{End, Offsets},
    partitioner,
    read::Span,
    send::{Producer, ProducerRecord},
};

/// Good events on either side.
const NEIGHBOURS: usize = 2;
/// All of them.
pub(super) const GOOD: usize = 2 * NEIGHBOURS;

/// Maximum number of attempts to draw a key of the same partition.
const DRAWS: usize = 2_000;

/// Time limit for reading the new dead letters.
const PATIENCE: Duration = Duration::from_secs(10);

/// A payload that is not an event of any pipeline.
const NOT_JSON: &str = "caravan test-flow --poison: this is not JSON";

/// A bad event, ready to be sent.
pub(super) struct BadEvent<'a> {
    flow: &'a Flow,
    event: &'a FirstEvent,
    poison: Option<&'a Poison>,
    producer: &'a Producer,
    dead_letters: DeadLetters,
    /// Names of the dead letters' headers.
    header_names: DeadLetterHeaders,
    kafka: Kafka,
    /// End offsets of the dead-letter topic before the bad event was sent.
    before: Offsets,
    /// Partitions of the topics of the good and of the bad event.
    partitions: (i32, i32),
}

/// The bad event and its dead letters.
#[derive(Debug, Clone)]
pub struct Poisoned {
    /// The bad event's record.
    pub place: RecordId,
    /// The reason that was declared.
    pub expected: Option<String>,
    /// Its dead letters, one for each group that dead-lettered it.
    pub dead_letters: Vec<DeadLetter>,
    /// From sending it to its first dead letter.
    pub took: Duration,
    /// Why its dead letters could not be dismissed.
    pub left: Option<String>,
}

impl Poisoned {
    /// Whether it was dead-lettered with the declared reason, or with any reason if none is
    /// declared, and dismissed.
    pub fn is_right(&self) -> bool {
        let right = |dead_letter: &DeadLetter| match (&dead_letter.reason, &self.expected) {
            (Some(reason), Some(expected)) => reason == expected,
            (Some(reason), None) => !reason.is_empty(),
            (None, _) => false,
        };
        !self.dead_letters.is_empty() && self.dead_letters.iter().all(right) && self.left.is_none()
    }
}

/// The bad event as it was sent.
pub(super) struct SentBadEvent {
    place: RecordId,
    key: Vec<u8>,
    value: Vec<u8>,
    at: Instant,
}

impl<'a> BadEvent<'a> {
    /// # Errors
    /// `Usage`: the declaration lacks the dead-letter topic. `Unreachable`: Kafka.
    pub(super) async fn open(run: &'a Run<'_>, kafka: &Kafka) -> Result<Self> {
        let (pipeline, flow) = (run.pipeline, run.flow);
        let Sender::Events { event, producer } = &run.sender else {
            return Err(Error::new(Kind::Defect, "a bad event is sent directly"));
        };
        let poison = flow.poison.as_ref();
        let dead_letters = DeadLetters::open(pipeline, kafka.clone()).await?;
        let there = kafka.topics().await;
        let there = there.map_err(|why| unreachable(pipeline, why))?;
        let count = |topic: &str| {
            let topic = there.iter().find(|t| t.name == topic);
            topic.map_or(0, |topic| topic.partitions)
        };
        let bad = poison.map_or(&event.topic, |poison| &poison.topic);
        let dead: Vec<Partition> = (0..count(dead_letters.topic()))
            .map(|partition| (dead_letters.topic().to_owned(), partition))
            .collect();
        let before = kafka.ends(&dead, End::Latest).await;
        Ok(Self {
            flow,
            event,
            poison,
            producer,
            kafka: kafka.clone(),
            header_names: pipeline.dead_letter_headers.clone(),
            before: before.map_err(|why| unreachable(pipeline, why))?,
            partitions: (count(&event.topic), count(bad)),
            dead_letters,
        })
    }

    /// Sends the neighbours and, between them, the bad event, all to one partition.
    ///
    /// # Errors
    /// The declaration is incomplete, or Kafka does not accept an event.
    pub(super) async fn send(&self, run: &Run<'_>) -> Result<(Vec<TestMessage>, SentBadEvent)> {
        let epoch = Epoch::now();
        let mut records = Vec::new();
        let mut ids = Vec::new();
        let mut home = None;
        for _ in 0..GOOD {
            let (id, record) = self.neighbour(&mut home)?;
            ids.push(id);
            records.push(record);
        }
        let partition = home.unwrap_or_default() % self.partitions.1.max(1);
        let bad = self.bad(partition)?;
        let (key, value) = (bad.key.clone(), bad.value.clone());
        let topic = bad.topic.clone();
        records.insert(NEIGHBOURS, bad);
        let sent = Instant::now();
        let delivered = self.producer.send(&records).await.into_iter();
        let offsets = delivered.collect::<Result<Vec<i64>, _>>();
        let offsets = offsets.map_err(|why| unreachable(run.pipeline, why))?;
        let (due, accepted) = (epoch.micros(sent), epoch.micros(Instant::now()));
        let message = |id: String| TestMessage {
            id: id.into_boxed_str(),
            due,
            accepted,
        };
        let bad = SentBadEvent {
            place: RecordId::new(topic, partition, offsets[NEIGHBOURS]),
            key: key.unwrap_or_default(),
            value: value.unwrap_or_default(),
            at: sent,
        };
        Ok((ids.into_iter().map(message).collect(), bad))
    }

    /// A good event whose key belongs to the partition of the others; if no such key is found, the
    /// event is sent to that partition explicitly.
    fn neighbour(&self, home: &mut Option<i32>) -> Result<(String, ProducerRecord)> {
        let mut draws = DRAWS;
        loop {
            let values = Values::draw(&self.flow.values);
            let (id, mut record) = fill(self.event, &values)?;
            let key = record.key.as_deref().unwrap_or_default();
            let lands = partitioner::partition(key, self.partitions.0).unwrap_or_default();
            let home = *home.get_or_insert(lands);
            draws -= 1;
            if lands == home || draws == 0 {
                record.partition = Some(home);
                return Ok((id, record));
            }
        }
    }

    fn bad(&self, partition: i32) -> Result<ProducerRecord> {
        let values = Values::draw(&self.flow.values);
        let (_, good) = fill(self.event, &values)?;
        let (topic, key, value) = match self.poison {
            None => (good.topic, good.key, NOT_JSON.as_bytes().to_vec()),
            Some(poison) => {
                let key = match &poison.key {
                    Some(key) => Some(values.fill(key)?.into_bytes()),
                    None => good.key,
                };
                let value = match &poison.body {
                    serde_json::Value::String(text) => values.fill(text)?,
                    body => values.fill_json(body)?.to_string(),
                };
                (poison.topic.clone(), key, value.into_bytes())
            }
        };
        Ok(ProducerRecord {
            topic,
            partition: Some(partition),
            key,
            value: Some(value),
            headers: good.headers,
        })
    }

    /// Waits for the bad event's dead letters until `deadline`, then dismisses them.
    ///
    /// # Errors
    /// Kafka does not answer.
    pub(super) async fn dead_letters(
        &self,
        sent: SentBadEvent,
        deadline: Instant,
        cancel: &CancellationToken,
    ) -> Result<Poisoned, kafka::Error> {
        let place = sent.place.clone();
        let mut poisoned = Poisoned {
            place: sent.place.clone(),
            expected: self.poison.and_then(|poison| poison.reason.clone()),
            dead_letters: Vec::new(),
            took: Duration::ZERO,
            left: None,
        };
        let at = sent.at;
        let sent = Arc::new(sent);
        loop {
            poisoned.dead_letters = self.read(Arc::clone(&sent)).await?;
            poisoned.took = at.elapsed();
            let found = !poisoned.dead_letters.is_empty();
            if found || Instant::now() > deadline || cancel.is_cancelled() {
                break;
            }
            tokio::time::sleep(drain::PAUSE).await;
        }
        let written = poisoned
            .dead_letters
            .iter()
            .filter_map(|dead_letter| dead_letter.at)
            .min();
        if let Some(took) = written.and_then(|at| (chrono::Utc::now() - at).to_std().ok()) {
            poisoned.took = poisoned.took.saturating_sub(took);
        }
        if !poisoned.dead_letters.is_empty() {
            let dismissed = self.dead_letters.dismiss(&poisoned.dead_letters).await;
            poisoned.left = dismissed.err().map(|why| format!("{place}: {why}"));
        }
        Ok(poisoned)
    }

    async fn read(&self, sent: Arc<SentBadEvent>) -> Result<Vec<DeadLetter>, kafka::Error> {
        let partitions: Vec<Partition> = self.before.keys().cloned().collect();
        let span = Span {
            from: self.before.clone(),
            to: self.kafka.ends(&partitions, End::Latest).await?,
        };
        let header_names = self.header_names.clone();
        let see = move |dead_letters: &mut Vec<DeadLetter>, record: &BorrowedMessage<'_>| {
            let dead_letter = DeadLetter::of(record, &header_names);
            let own = match &dead_letter.source {
                Some(source) => *source == sent.place,
                // Written by another program, without its source record.
                None => record.key() == Some(&sent.key) && record.payload() == Some(&sent.value),
            };
            dead_letters.extend(own.then_some(dead_letter));
            ControlFlow::Continue(())
        };
        let deadline = Instant::now() + PATIENCE;
        let (dead_letters, _) = self.kafka.read(span, deadline, Vec::new(), see).await?;
        Ok(dead_letters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poisoned(reasons: &[Option<&str>], expected: Option<&str>) -> Poisoned {
        let dead_letter = |reason: &Option<&str>| DeadLetter {
            own: RecordId::new("dead", 0, 3),
            source: Some(RecordId::new("paid", 0, 7)),
            group: None,
            reason: reason.map(str::to_owned),
            error: None,
            attempts: None,
            at: None,
        };
        Poisoned {
            place: RecordId::new("paid", 0, 7),
            expected: expected.map(str::to_owned),
            dead_letters: reasons.iter().map(dead_letter).collect(),
            took: Duration::ZERO,
            left: None,
        }
    }

    #[test]
    fn a_bad_event_has_to_be_dead_lettered_with_its_reason() {
        assert!(poisoned(&[Some("not-json")], None).is_right());
        assert!(poisoned(&[Some("not-json")], Some("not-json")).is_right());
        assert!(!poisoned(&[], None).is_right());
        assert!(!poisoned(&[None], None).is_right());
        assert!(!poisoned(&[Some("not-json"), Some("late")], Some("not-json")).is_right());
        let mut left = poisoned(&[Some("not-json")], None);
        left.left = Some("another run is at work".to_owned());
        assert!(!left.is_right());
    }
}
