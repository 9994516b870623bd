//! Whether what stands before the end of a partition is anything at all.
//!
//! A transaction's commit takes an offset, and so does each message of one that was aborted; compaction
//! leaves gaps. librdkafka's consumers commit behind the last message that they were handed: of such a
//! partition they stay short of the end for ever, though they have taken all (docs/decisions/0035).

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures_util::future::try_join_all;
use rdkafka::{Message, TopicPartitionList, consumer::Consumer, error::KafkaError};

use super::{
    Kafka, Result, ask,
    client::{Client, Ends},
    offsets::Offsets,
};

/// How long is looked; what is not known by then counts as messages.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest wait for one message.
const STEP: Duration = Duration::from_millis(100);

impl Kafka {
    /// `to`, lowered to `from` in each partition in which no message stands from there to before `to`.
    ///
    /// # Errors
    /// Why there was no answer.
    pub async fn ends_of_messages(&self, from: &Offsets, to: &Offsets) -> Result<Offsets> {
        let mut ends = to.clone();
        // The end of a partition is told without its topic's name.
        let mut topics: BTreeMap<&str, Offsets> = BTreeMap::new();
        for (partition, end) in to {
            if let Some(at) = from.get(partition).filter(|at| *at < end) {
                let topic = topics.entry(&partition.0).or_default();
                topic.insert(partition.clone(), *at);
            }
        }
        let looked = topics
            .into_values()
            .map(|from| self.without_messages(from, to));
        for empty in try_join_all(looked).await? {
            ends.extend(empty);
        }
        Ok(ends)
    }

    /// Of partitions of one topic, those in which nothing comes from `from` on to before `to`.
    async fn without_messages(&self, mut from: Offsets, to: &Offsets) -> Result<Offsets> {
        let to: Offsets = to.clone();
        let bootstrap = self.bootstrap.clone();
        ask(&self.bootstrap, "messages up to the end", move || {
            let client = Client::assigned(&bootstrap, &from, Ends::Told)?;
            let consumer = client.consumer();
            let deadline = Instant::now() + PATIENCE;
            let mut empty = Offsets::new();
            while !from.is_empty() && Instant::now() < deadline {
                match consumer.poll(STEP) {
                    None => {}
                    Some(Ok(message)) => {
                        let at = (message.topic().to_owned(), message.partition());
                        let mut settled = TopicPartitionList::new();
                        settled.add_partition(&at.0, at.1);
                        // What else it holds is of no interest.
                        consumer.pause(&settled)?;
                        if let Some(start) = from.remove(&at)
                            && to.get(&at).is_none_or(|end| message.offset() >= *end)
                        {
                            empty.insert(at, start);
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
            Ok(empty)
        })
        .await
    }
}
