//! The progress of one partition: queued messages and bytes, the done offset, and lag.

use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicUsize, Ordering},
};

use tokio::sync::Notify;

/// No offset yet.
const NONE: i64 = -1;

/// Shared by the consumer's thread and a partition's task.
#[derive(Debug)]
pub(crate) struct PartitionProgress {
    messages: AtomicUsize,
    bytes: AtomicUsize,
    /// Notified when the task dequeues messages.
    room: Arc<Notify>,
    /// All messages before this offset are done.
    done: AtomicI64,
    /// The group's committed offset, as the broker acknowledged it last.
    committed: AtomicI64,
    /// The partition's low and high watermark, as last fetched from the broker.
    low: AtomicI64,
    high: AtomicI64,
}

impl PartitionProgress {
    /// `room` is notified whenever the task dequeues messages.
    pub(crate) fn new(room: Arc<Notify>) -> Self {
        Self {
            messages: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            room,
            done: AtomicI64::new(NONE),
            committed: AtomicI64::new(NONE),
            low: AtomicI64::new(NONE),
            high: AtomicI64::new(NONE),
        }
    }

    /// A message of this size, in bytes, was put into the queue.
    pub(crate) fn enqueued(&self, bytes: usize) {
        self.messages.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The task has moved this many messages and bytes into its next batch.
    pub(crate) fn dequeued(&self, messages: usize, bytes: usize) {
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

    /// Sets the group's committed offset; 0 if it has none.
    pub(crate) fn set_committed(&self, offset: i64) {
        self.committed.store(offset, Ordering::Relaxed);
    }

    /// Sets the partition's watermarks: its first offset, and the offset after its last.
    pub(crate) fn set_watermarks(&self, low: i64, high: i64) {
        self.low.store(low, Ordering::Relaxed);
        self.high.store(high, Ordering::Relaxed);
    }

    /// Messages that are not done; None until the committed offset and the watermarks are known.
    pub(crate) fn lag(&self) -> Option<i64> {
        let committed = self.committed.load(Ordering::Relaxed);
        let high = self.high.load(Ordering::Relaxed);
        if committed == NONE || high == NONE {
            return None;
        }
        let done = self.done.load(Ordering::Acquire);
        let low = self.low.load(Ordering::Relaxed);
        // Negative if the topic was deleted and created again.
        Some((high - done.max(committed).max(low)).max(0))
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
    fn lag_is_known_after_the_committed_offset_and_the_watermarks() {
        let progress = PartitionProgress::new(Arc::default());
        assert_eq!(progress.lag(), None);
        progress.set_watermarks(10, 100);
        assert_eq!(progress.lag(), None);
        progress.set_committed(0);
        assert_eq!(
            progress.lag(),
            Some(90),
            "what retention took is nobody's work"
        );
        progress.set_committed(40);
        assert_eq!(progress.lag(), Some(60));
        progress.done_before(99);
        assert_eq!(progress.lag(), Some(1));
        progress.done_before(100);
        assert_eq!(progress.lag(), Some(0));
        progress.set_watermarks(0, 3);
        assert_eq!(progress.lag(), Some(0), "the topic was made again");
    }
}
