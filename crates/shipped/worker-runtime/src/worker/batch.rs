//! Messages that are processed together.

use caravan_events::Payload;
use chrono::Utc;

use super::{Message, dead_letter, parked::Item};
use crate::{Reason, kafka::Record};

/// A batch contains the messages that are queued, up to these limits. It never waits for more.
pub(crate) const MAX_EVENTS: usize = 500;
/// A larger message forms a batch of its own.
pub(crate) const MAX_BYTES: usize = 1024 * 1024;

/// Decoded messages of one partition.
pub(crate) struct Batch<I> {
    pub(crate) items: Vec<Item<I>>,
    /// Messages that could not be decoded.
    pub(crate) invalid: Vec<RejectedMessage>,
    bytes: usize,
}

impl<I> Default for Batch<I> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            invalid: Vec::new(),
            bytes: 0,
        }
    }
}

impl<I> Batch<I> {
    /// A batch of parked events that are due.
    pub(crate) fn retry(items: Vec<Item<I>>) -> Self {
        Self {
            items,
            ..Self::default()
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len() + self.invalid.len()
    }

    /// Whether a message of this size, in bytes, fits into the batch.
    pub(crate) fn admits(&self, bytes: usize) -> bool {
        self.len() == 0 || (self.len() < MAX_EVENTS && self.bytes + bytes <= MAX_BYTES)
    }

    /// Whether none of the events was tried before.
    pub(crate) fn is_new(&self) -> bool {
        self.items.iter().all(|item| item.attempts == 0)
    }

    /// The offsets of the batch's messages, in no particular order.
    pub(crate) fn offsets(&self) -> impl Iterator<Item = i64> {
        let items = self.items.iter().map(|item| item.message.offset);
        items.chain(self.invalid.iter().map(|dead| dead.message.offset))
    }
}

impl<I: Payload> Batch<I> {
    pub(crate) fn extend(&mut self, messages: impl IntoIterator<Item = Message>) {
        for message in messages {
            self.add(message);
        }
    }

    fn add(&mut self, message: Message) {
        self.bytes += message.size();
        match message.decode() {
            Ok(received) => self.items.push(Item::new(message, received)),
            Err(error) => self.invalid.push(RejectedMessage {
                reason: Reason::new(error.kind(), error.to_string()),
                message,
                attempts: 1,
            }),
        }
    }
}

/// A message that becomes a dead letter, and why.
pub(crate) struct RejectedMessage {
    pub(crate) message: Message,
    pub(crate) reason: Reason,
    pub(crate) attempts: u32,
}

impl RejectedMessage {
    pub(crate) fn record(&self, group: &str) -> Record {
        dead_letter::record(
            &self.message,
            group,
            &self.reason,
            self.attempts,
            Utc::now(),
        )
    }

    pub(crate) fn log(&self) {
        tracing::warn!(
            partition = self.message.partition,
            offset = self.message.offset,
            kind = %self.reason.kind,
            error = self.reason.text,
            attempts = self.attempts,
            "dead letter written"
        );
    }
}
