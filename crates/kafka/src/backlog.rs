//! Whether the offsets before the end of a partition hold any messages.
//!
//! A transaction marker takes an offset, and so does each aborted message; compaction leaves gaps.
//! librdkafka's consumers commit the offset after the last message that they received. In such a partition
//! their committed offset never reaches the end, although they consumed everything (docs/decisions/0035).

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures_util::future::try_join_all;
use rdkafka::{Message, TopicPartitionList, consumer::Consumer, error::KafkaError};

use super::{
    Kafka, Partition, Result, ask,
    client::{Client, PartitionEof},
    offsets::Offsets,
};

/// The longest search; offsets not yet read by then count as messages.
const SEARCH_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest wait for one message.
const STEP: Duration = Duration::from_millis(100);

/// What waits in partitions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backlog {
    /// The ends, lowered to the beginning of each partition that holds no message.
    pub ends: Offsets,
    /// The timestamp of the first message of each partition that holds one, in milliseconds since the epoch.
    pub first: BTreeMap<Partition, i64>,
}

impl Kafka {
    /// `to`, lowered to `from` in each partition that holds no message from `from` to before `to`.
    ///
    /// # Errors
    /// Why there was no answer.
    pub async fn ends_of_messages(&self, from: &Offsets, to: &Offsets) -> Result<Offsets> {
        Ok(self.backlog(from, to).await?.ends)
    }

    /// The timestamp of the first record from each offset of `from` on, of whatever transaction, in milliseconds
    /// since the epoch; a partition whose record has none, or is not read in time, is left out.
    ///
    /// # Errors
    /// Why there was no answer.
    pub async fn first_written(&self, from: &Offsets) -> Result<BTreeMap<Partition, i64>> {
        let (bootstrap, from) = (self.bootstrap.clone(), from.clone());
        ask(&self.bootstrap, "first records", move || {
            let client = Client::assigned_uncommitted(&bootstrap, &from)?;
            let deadline = Instant::now() + SEARCH_TIMEOUT;
            let mut first: BTreeMap<Partition, Option<i64>> = BTreeMap::new();
            while first.len() < from.len() && Instant::now() < deadline {
                if let Some(message) = client.consumer().poll(STEP) {
                    let message = message?;
                    let at = (message.topic().to_owned(), message.partition());
                    first
                        .entry(at)
                        .or_insert_with(|| message.timestamp().to_millis());
                }
            }
            let known = first.into_iter();
            Ok(known
                .filter_map(|(at, millis)| Some((at, millis?)))
                .collect())
        })
        .await
    }

    /// What each partition holds from `from` to before `to`.
    ///
    /// # Errors
    /// Why there was no answer.
    pub async fn backlog(&self, from: &Offsets, to: &Offsets) -> Result<Backlog> {
        let mut backlog = Backlog {
            ends: to.clone(),
            first: BTreeMap::new(),
        };
        // `PartitionEOF` carries a partition number and no topic: one consumer for each topic.
        let mut topics: BTreeMap<&str, Offsets> = BTreeMap::new();
        for (partition, end) in to {
            if let Some(at) = from.get(partition).filter(|at| *at < end) {
                let topic = topics.entry(&partition.0).or_default();
                topic.insert(partition.clone(), *at);
            }
        }
        let searches = topics
            .into_values()
            .map(|from| self.backlog_of_topic(from, to));
        for Backlog { ends, first } in try_join_all(searches).await? {
            backlog.ends.extend(ends);
            backlog.first.extend(first);
        }
        Ok(backlog)
    }

    /// The partitions of one topic that hold no message from `from` to before `to`, and the first
    /// messages of the others.
    async fn backlog_of_topic(&self, mut from: Offsets, to: &Offsets) -> Result<Backlog> {
        let to: Offsets = to.clone();
        let bootstrap = self.bootstrap.clone();
        ask(&self.bootstrap, "messages up to the end", move || {
            let client = Client::assigned(&bootstrap, &from, PartitionEof::Reported)?;
            let consumer = client.consumer();
            let deadline = Instant::now() + SEARCH_TIMEOUT;
            let (mut empty, mut first) = (Offsets::new(), BTreeMap::new());
            while !from.is_empty() && Instant::now() < deadline {
                match consumer.poll(STEP) {
                    None => {}
                    Some(Ok(message)) => {
                        let at = (message.topic().to_owned(), message.partition());
                        let mut settled = TopicPartitionList::new();
                        settled.add_partition(&at.0, at.1);
                        // One message decides; the rest of the partition need not be fetched.
                        consumer.pause(&settled)?;
                        let Some(start) = from.remove(&at) else {
                            continue;
                        };
                        if to.get(&at).is_none_or(|end| message.offset() >= *end) {
                            empty.insert(at, start);
                        } else if let Some(millis) = message.timestamp().to_millis() {
                            first.insert(at, millis);
                        }
                    }
                    Some(Err(KafkaError::PartitionEOF(number))) => {
                        let (ended, open) = from.into_iter().partition(|((_, p), _)| *p == number);
                        let ended: Offsets = ended;
                        empty.extend(ended);
                        from = open;
                    }
                    Some(Err(e)) => return Err(e.into()),
                }
            }
            Ok(Backlog { ends: empty, first })
        })
        .await
    }
}
