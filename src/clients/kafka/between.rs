//! All that lies between two offsets of each partition.

use std::time::{Duration, Instant};

use rdkafka::{
    Message,
    message::{BorrowedMessage, Timestamp},
};

use super::{Kafka, ask, client::describe, offsets::Offsets, tail::assigned};

/// How long a broker may keep silent while there is more to read.
const PATIENCE: Duration = Duration::from_secs(10);

/// A message where librdkafka holds it.
pub(crate) struct Passing<'a>(&'a BorrowedMessage<'a>);

impl Passing<'_> {
    pub(crate) fn topic(&self) -> &str {
        self.0.topic()
    }

    pub(crate) fn key(&self) -> Option<&[u8]> {
        self.0.key()
    }

    pub(crate) fn value(&self) -> Option<&[u8]> {
        self.0.payload()
    }

    /// Milliseconds since the epoch, of the producer or the broker.
    pub(crate) fn timestamp(&self) -> Option<i64> {
        match self.0.timestamp() {
            Timestamp::CreateTime(at) | Timestamp::LogAppendTime(at) => Some(at),
            Timestamp::NotAvailable => None,
        }
    }
}

impl Kafka {
    /// Hands over every message from `from` up to, without, `to`, in order within a partition;
    /// `seen` is what it is folded into. Messages that retention took meanwhile are left out.
    ///
    /// # Errors
    /// librdkafka's own, or a broker that keeps silent for ten seconds.
    pub(crate) async fn between<T: Send + 'static>(
        &self,
        mut from: Offsets,
        mut to: Offsets,
        mut seen: T,
        see: fn(&mut T, &Passing<'_>),
    ) -> Result<T, String> {
        to.retain(|partition, end| from.get(partition).is_some_and(|begin| begin < end));
        from.retain(|partition, _| to.contains_key(partition));
        if to.is_empty() {
            return Ok(seen);
        }
        let bootstrap = self.bootstrap.clone();
        ask(&self.bootstrap, move || {
            let client = assigned(&bootstrap, &from)?;
            let mut silent_since = Instant::now();
            while !to.is_empty() {
                let left = PATIENCE.saturating_sub(silent_since.elapsed());
                let Some(polled) = client.consumer().poll(left) else {
                    return Err("it does not hand over what it has".to_owned());
                };
                silent_since = Instant::now();
                let message = polled.map_err(|e| describe(&e))?;
                let partition = (message.topic().to_owned(), message.partition());
                let Some(end) = to.get(&partition) else {
                    // Produced later.
                    continue;
                };
                if message.offset() < *end {
                    see(&mut seen, &Passing(&message));
                }
                if message.offset() + 1 >= *end {
                    to.remove(&partition);
                }
            }
            Ok(seen)
        })
        .await
    }
}
