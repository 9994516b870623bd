//! Events that wait for a retry, each with its own delay, while the partition continues.

use std::time::Duration;

use tokio::time::Instant;

use super::{Message, Received};
use crate::backoff::Backoff;

/// At this many events or bytes the partition accepts no new messages until some parked events
/// are done. This bounds memory.
const MAX_EVENTS: usize = 200;
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// One event's attempts are cheap, and its cause may be repaired soon: delays stay short.
const FIRST_DELAY: Duration = Duration::from_millis(200);
const MAX_DELAY: Duration = Duration::from_secs(10);

/// An event on its way through a partition's task.
#[derive(Debug)]
pub(crate) struct Item<P> {
    pub(crate) message: Message,
    pub(crate) received: Received<P>,
    /// Attempts so far.
    pub(crate) attempts: u32,
    backoff: Backoff,
}

impl<P> Item<P> {
    pub(crate) fn new(message: Message, received: Received<P>) -> Self {
        Self {
            message,
            received,
            attempts: 0,
            backoff: Backoff::new(FIRST_DELAY, MAX_DELAY),
        }
    }
}

/// A bounded set of waiting events.
#[derive(Debug)]
pub(crate) struct Parked<P> {
    waiting: Vec<(Instant, Item<P>)>,
    bytes: usize,
}

impl<P> Parked<P> {
    pub(crate) fn new() -> Self {
        Self {
            waiting: Vec::new(),
            bytes: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether the partition must accept no new messages.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= MAX_EVENTS || self.bytes >= MAX_BYTES
    }

    /// Parks the item; it is due after its next backoff delay, counted from `now`.
    pub(crate) fn park(&mut self, mut item: Item<P>, now: Instant) {
        self.bytes += item.message.size();
        let due = now + item.backoff.next_delay();
        self.waiting.push((due, item));
    }

    /// Removes and returns up to `limit` items that are due at `now`, in offset order.
    pub(crate) fn take_due(&mut self, now: Instant, limit: usize) -> Vec<Item<P>> {
        let mut due: Vec<_> = self
            .waiting
            .extract_if(.., |(at, _)| *at <= now)
            .take(limit)
            .map(|(_, item)| item)
            .collect();
        due.sort_by_key(|item| item.message.offset);
        self.bytes -= due.iter().map(|item| item.message.size()).sum::<usize>();
        due
    }

    /// Waits until an item is due; forever if nothing is parked.
    pub(crate) async fn until_due(&self) {
        match self.waiting.iter().map(|(at, _)| *at).min() {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(offset: i64) -> Item<()> {
        let message = Message {
            topic: "t",
            partition: 0,
            offset,
            key: None,
            value: Some(vec![0; 1024 * 1024]),
            headers: None,
        };
        let received = Received {
            event: caravan_events::Event {
                event_id: uuid::Uuid::nil(),
                event_type: String::new(),
                version: 1,
                correlation_id: uuid::Uuid::nil(),
                occurred_at: chrono::DateTime::UNIX_EPOCH,
                payload: (),
            },
            synthetic: false,
            trace: None,
            partition: 0,
            offset,
        };
        Item::new(message, received)
    }

    #[test]
    fn due_items_are_returned_in_offset_order() {
        let now = Instant::now();
        let mut parked = Parked::new();
        parked.park(item(2), now);
        parked.park(item(1), now);
        assert!(parked.take_due(now, 10).is_empty());
        let due = parked.take_due(now + Duration::from_secs(1), 10);
        let offsets: Vec<_> = due.iter().map(|item| item.message.offset).collect();
        assert_eq!(offsets, [1, 2]);
        assert_eq!((parked.len(), parked.bytes), (0, 0));
    }

    #[test]
    fn parked_events_are_bounded_in_bytes() {
        let now = Instant::now();
        let mut parked = Parked::new();
        for offset in 0..4 {
            assert!(!parked.is_full());
            parked.park(item(offset), now);
        }
        assert!(parked.is_full());
        let due = parked.take_due(now + Duration::from_secs(1), 1);
        assert_eq!(due.len(), 1);
        assert!(!parked.is_full());
    }
}
