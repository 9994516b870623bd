//! What lies in front of a partition's task, and how far it has come.

use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicUsize, Ordering},
};

use tokio::sync::Notify;

/// No offset yet.
const NONE: i64 = -1;

/// Shared by the consumer's thread and a partition's task.
#[derive(Debug)]
pub(crate) struct Gauge {
    messages: AtomicUsize,
    bytes: AtomicUsize,
    /// Told when the task takes something.
    room: Arc<Notify>,
    /// All before it is done.
    done: AtomicI64,
    /// Where reading began: what the group had committed.
    begin: AtomicI64,
    /// The partition's first offset and the one after its last, as the broker told last.
    low: AtomicI64,
    high: AtomicI64,
}

impl Gauge {
    /// `room` is told whenever the task takes something.
    pub(crate) fn new(room: Arc<Notify>) -> Self {
        Self {
            messages: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            room,
            done: AtomicI64::new(NONE),
            begin: AtomicI64::new(NONE),
            low: AtomicI64::new(NONE),
            high: AtomicI64::new(NONE),
        }
    }

    /// A message of this size is on its way to the task.
    pub(crate) fn sent(&self, bytes: usize) {
        self.messages.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The task has taken so much for its next batch.
    pub(crate) fn taken(&self, messages: usize, bytes: usize) {
        self.messages.fetch_sub(messages, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.room.notify_one();
    }

    /// The offset before which everything is done; None before the first batch.
    pub(crate) fn done(&self) -> Option<i64> {
        let done = self.done.load(Ordering::Acquire);
        (done != NONE).then_some(done)
    }

    /// Everything before `offset` is done and may be committed.
    pub(crate) fn done_before(&self, offset: i64) {
        self.done.store(offset, Ordering::Release);
    }

    /// The group had committed this offset before; 0 where it had none.
    pub(crate) fn begins_at(&self, offset: i64) {
        self.begin.store(offset, Ordering::Relaxed);
    }

    /// The broker has what lies from `low` up to `high`.
    pub(crate) fn lies_between(&self, low: i64, high: i64) {
        self.low.store(low, Ordering::Relaxed);
        self.high.store(high, Ordering::Relaxed);
    }

    /// Messages that are not done with; None while that is not known yet.
    pub(crate) fn lag(&self) -> Option<i64> {
        let begin = self.begin.load(Ordering::Relaxed);
        let high = self.high.load(Ordering::Relaxed);
        if begin == NONE || high == NONE {
            return None;
        }
        let done = self.done.load(Ordering::Acquire);
        let low = self.low.load(Ordering::Relaxed);
        // Below zero where the topic was made again.
        Some((high - done.max(begin).max(low)).max(0))
    }

    pub(crate) fn is_above(&self, messages: usize, bytes: usize) -> bool {
        self.messages.load(Ordering::Relaxed) > messages
            || self.bytes.load(Ordering::Relaxed) > bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_known_once_begin_and_end_are() {
        let gauge = Gauge::new(Arc::default());
        assert_eq!(gauge.lag(), None);
        gauge.lies_between(10, 100);
        assert_eq!(gauge.lag(), None);
        gauge.begins_at(0);
        assert_eq!(
            gauge.lag(),
            Some(90),
            "what retention took is nobody's work"
        );
        gauge.begins_at(40);
        assert_eq!(gauge.lag(), Some(60));
        gauge.done_before(99);
        assert_eq!(gauge.lag(), Some(1));
        gauge.done_before(100);
        assert_eq!(gauge.lag(), Some(0));
        gauge.lies_between(0, 3);
        assert_eq!(gauge.lag(), Some(0), "the topic was made again");
    }
}
