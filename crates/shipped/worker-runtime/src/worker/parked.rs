//! Events that are to be tried again later, each at its own time, while the partition goes on.

use std::time::Duration;

use tokio::time::Instant;

use super::{Message, Received};
use crate::backoff::Backoff;

/// More wait than this, in number or bytes: the partition takes no new messages until some are
/// through. Bounds memory.
const MAX_EVENTS: usize = 200;
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// One event's tries are cheap, and someone may have mended its cause.
const FIRST_DELAY: Duration = Duration::from_millis(200);
const MAX_DELAY: Duration = Duration::from_secs(10);

/// An event on its way through a partition's task.
#[derive(Debug)]
pub(crate) struct Item<P> {
    pub(crate) message: Message,
    pub(crate) received: Received<P>,
    /// Tries so far.
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

    /// No new messages, please.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= MAX_EVENTS || self.bytes >= MAX_BYTES
    }

    /// Comes back after the item's next delay from `now`.
    pub(crate) fn park(&mut self, mut item: Item<P>, now: Instant) {
        self.bytes += item.message.size();
        let due = now + item.backoff.next_delay();
        self.waiting.push((due, item));
    }

    /// Those whose time has come by `now`, at most `limit`, in the order of their offsets.
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

    /// Until one is due; for ever where none waits.
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
    fn items_come_back_when_due_and_in_order() {
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
    fn bytes_bound_it_too() {
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
