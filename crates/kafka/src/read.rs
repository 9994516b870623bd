//! Reads the records that the partitions of a topic hold at one moment, once.

use std::{
    collections::BTreeSet,
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::{
    Message,
    error::KafkaError,
    message::{BorrowedMessage, OwnedMessage},
};

use super::{
    Kafka, Partition, Result, ask,
    client::{Client, PartitionEof},
    offsets::{End, Offsets, lag},
    wait_for,
};

/// The longest poll, so that a deadline is noticed while the broker is unreachable.
const STEP: Duration = Duration::from_millis(100);

/// A range of offsets for each of some partitions of one topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Span {
    /// The first offset of each partition.
    pub from: Offsets,
    /// The offset after the last one of each partition.
    pub to: Offsets,
}

impl Span {
    /// How many offsets it holds: its messages, and the gaps that compaction or transactions left.
    pub fn messages(&self) -> i64 {
        lag(&Offsets::new(), &self.from, &self.to)
    }

    /// The last `size` messages of each partition.
    pub fn last(&self, size: i64) -> Self {
        let mut piece = self.clone();
        for (partition, from) in &mut piece.from {
            let end = self.to.get(partition).copied().unwrap_or(*from);
            *from = (end - size).max(*from);
        }
        piece
    }

    /// Without the empty partitions.
    fn trimmed(mut self) -> Self {
        let from = &self.from;
        self.to
            .retain(|p, end| *end > from.get(p).copied().unwrap_or(0));
        self.from.retain(|p, _| self.to.contains_key(p));
        self
    }

    /// Marks a message as read. False: it was produced after the span was taken.
    fn reaches(&mut self, topic: &str, partition: i32, offset: i64) -> bool {
        let at = (topic.to_owned(), partition);
        match self.to.get(&at) {
            Some(end) if offset >= *end => {
                self.to.remove(&at);
                false
            }
            Some(end) => {
                if offset + 1 == *end {
                    self.to.remove(&at);
                }
                true
            }
            None => false,
        }
    }

    /// The next message of the span; None if none arrived within a step or `left`.
    fn poll<'c>(
        &mut self,
        client: &'c Client,
        left: Duration,
    ) -> Result<Option<BorrowedMessage<'c>>> {
        match client.consumer().poll(left.min(STEP)) {
            None => Ok(None),
            Some(Ok(message)) => {
                let inside = self.reaches(message.topic(), message.partition(), message.offset());
                Ok(inside.then_some(message))
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                self.ended(partition);
                Ok(None)
            }
            Some(Err(e)) => Err(e.into()),
        }
    }

    /// Marks a partition as read to its end: compaction and transactions leave gaps there, so the last
    /// offset may hold no message.
    fn ended(&mut self, partition: i32) {
        self.to.retain(|(_, p), _| *p != partition);
    }
}

impl Kafka {
    /// Everything that partitions of one topic hold now.
    ///
    /// # Errors
    /// Why there was no answer.
    pub async fn span(&self, partitions: &[Partition]) -> Result<Span> {
        let (from, to) = tokio::try_join!(
            self.ends(partitions, End::Earliest),
            self.ends(partitions, End::Latest)
        )?;
        Ok(Span { from, to })
    }

    /// Passes the messages of a span to `see`, in order within a partition, until all are read,
    /// `deadline` has passed or `see` breaks. Returns `state`, and whether all were read.
    ///
    /// # Errors
    /// Why there was no answer.
    pub async fn read<T: Send + 'static>(
        &self,
        span: Span,
        deadline: Instant,
        mut state: T,
        mut see: impl FnMut(&mut T, &BorrowedMessage<'_>) -> ControlFlow<()> + Send + 'static,
    ) -> Result<(T, bool)> {
        let mut span = span.trimmed();
        if span.to.is_empty() {
            return Ok((state, true));
        }
        let bootstrap = self.bootstrap.clone();
        ask(&self.bootstrap, "messages", move || {
            let client = Client::assigned(&bootstrap, &span.from, PartitionEof::Reported)?;
            while !span.to.is_empty() {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                if let Some(message) = span.poll(&client, left)?
                    && see(&mut state, &message).is_break()
                {
                    break;
                }
            }
            Ok((state, span.to.is_empty()))
        })
        .await
    }

    /// The time of the first message of each partition at or after `from` and before `to`, in milliseconds
    /// since the epoch. Partitions without one, or whose message has no time, are left out; so are those that
    /// could not be read by `deadline`.
    ///
    /// # Errors
    /// Why there was no answer.
    pub async fn first_times(
        &self,
        from: &Offsets,
        to: &Offsets,
        deadline: Instant,
    ) -> Result<Offsets> {
        let mut times = Offsets::new();
        // A span is of one topic.
        let topics: BTreeSet<&String> = to.keys().map(|(topic, _)| topic).collect();
        for topic in topics {
            let of_topic = |offsets: &Offsets| {
                let own = offsets.iter().filter(|((of, _), _)| of == topic);
                own.map(|(p, offset)| (p.clone(), *offset)).collect()
            };
            let span = Span {
                from: of_topic(from),
                to: of_topic(to),
            }
            .trimmed();
            let wanted = span.to.len();
            let first = move |seen: &mut Offsets, message: &BorrowedMessage<'_>| {
                let at = (message.topic().to_owned(), message.partition());
                let time = message.timestamp().to_millis().unwrap_or(-1);
                seen.entry(at).or_insert(time);
                match seen.len() {
                    found if found < wanted => ControlFlow::Continue(()),
                    _ => ControlFlow::Break(()),
                }
            };
            let (seen, _) = self.read(span, deadline, Offsets::new(), first).await?;
            times.extend(seen.into_iter().filter(|(_, time)| *time >= 0));
        }
        Ok(times)
    }

    /// A reader that returns the messages of a span in batches, each when its caller requests it.
    ///
    /// # Errors
    /// librdkafka could not be configured.
    pub async fn reader(&self, span: Span) -> Result<Reader> {
        let span = span.trimmed();
        let (bootstrap, from) = (self.bootstrap.clone(), span.from.clone());
        let client = ask(&self.bootstrap, "a reader", move || {
            Client::assigned(&bootstrap, &from, PartitionEof::Reported)
        })
        .await?;
        Ok(Reader {
            client: Arc::new(client),
            bootstrap: self.bootstrap.clone(),
            left: span,
        })
    }
}

/// See [`Kafka::reader`].
pub struct Reader {
    client: Arc<Client>,
    bootstrap: String,
    left: Span,
}

impl Reader {
    /// The next messages for which `wanted` (partition, offset) is true, copied, up to `count` messages or
    /// `bytes` of keys and values. Empty: the span is at its end, or `deadline` has passed.
    ///
    /// # Errors
    /// Why there was no answer.
    pub async fn next(
        &mut self,
        wanted: impl Fn(i32, i64) -> bool + Send + 'static,
        (count, bytes): (usize, usize),
        deadline: Instant,
    ) -> Result<Vec<OwnedMessage>> {
        let client = Arc::clone(&self.client);
        let mut span = std::mem::take(&mut self.left);
        let (messages, span) = wait_for(&self.bootstrap, move || {
            let mut messages = Vec::new();
            let mut held = 0;
            while messages.len() < count && held < bytes && !span.to.is_empty() {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                if let Some(message) = span.poll(&client, left)?
                    && wanted(message.partition(), message.offset())
                {
                    held += message.payload_len() + message.key_len();
                    messages.push(message.detach());
                }
            }
            Ok((messages, span))
        })
        .await?;
        self.left = span;
        Ok(messages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span<const N: usize>(ends: [(i32, i64, i64); N]) -> Span {
        let at = |p: i32| ("t".to_owned(), p);
        Span {
            from: ends.map(|(p, from, _)| (at(p), from)).into(),
            to: ends.map(|(p, _, to)| (at(p), to)).into(),
        }
    }

    #[test]
    fn a_span_ends_with_its_last_message() {
        let mut span = span([(0, 0, 2), (1, 5, 5), (2, 3, 9)]).trimmed();
        assert_eq!(span.messages(), 8);
        assert_eq!(span.to.len(), 2, "nothing stands in partition 1");
        assert!(span.reaches("t", 0, 0));
        assert!(span.reaches("t", 0, 1));
        assert!(!span.reaches("t", 0, 2), "produced afterwards");
        // A gap at the end: the next offset is beyond it.
        assert!(!span.reaches("t", 2, 9));
        assert!(span.to.is_empty());
    }

    #[test]
    fn a_partition_eof_ends_its_partition() {
        let mut span = span([(0, 0, 2), (1, 0, 2)]);
        span.ended(1);
        assert_eq!(span.to.len(), 1);
    }
}
