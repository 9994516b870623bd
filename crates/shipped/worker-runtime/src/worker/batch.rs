//! Messages that are worked on together.

use caravan_events::Payload;
use chrono::Utc;

use super::{Message, dead_letter, parked::Item};
use crate::{Reason, kafka::Record};

/// A batch is what is there already, up to these bounds: a lone event never waits for company.
pub(crate) const MAX_EVENTS: usize = 500;
/// One message may be larger; it is alone then.
pub(crate) const MAX_BYTES: usize = 1024 * 1024;

/// Decoded messages of one partition.
pub(crate) struct Batch<I> {
    pub(crate) items: Vec<Item<I>>,
    /// Those that are no events.
    pub(crate) invalid: Vec<Hopeless>,
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
    /// Of events that were tried before.
    pub(crate) fn retry(items: Vec<Item<I>>) -> Self {
        Self {
            items,
            ..Self::default()
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len() + self.invalid.len()
    }

    /// Whether a message of this size still belongs to it.
    pub(crate) fn admits(&self, bytes: usize) -> bool {
        self.len() == 0 || (self.len() < MAX_EVENTS && self.bytes + bytes <= MAX_BYTES)
    }

    /// Whether none of it was tried before.
    pub(crate) fn is_new(&self) -> bool {
        self.items.iter().all(|item| item.attempts == 0)
    }

    /// Its messages' offsets, in no particular order.
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
            Err(error) => self.invalid.push(Hopeless {
                reason: Reason::new(error.kind(), error.to_string()),
                message,
                attempts: 1,
            }),
        }
    }
}

/// A message on its way to the dead letters.
pub(crate) struct Hopeless {
    pub(crate) message: Message,
    pub(crate) reason: Reason,
    pub(crate) attempts: u32,
}

impl Hopeless {
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
