//! Which offset of a partition may be committed: everything before it is done.

use std::collections::BTreeSet;

/// The offsets of one partition that are being worked on.
#[derive(Debug, Default)]
pub(crate) struct Offsets {
    open: BTreeSet<i64>,
    /// One after the highest offset begun.
    end: Option<i64>,
}

impl Offsets {
    /// Work on the message at `offset` begins. Nothing before it begins later, unless in the same
    /// batch.
    pub(crate) fn begin(&mut self, offset: i64) {
        self.open.insert(offset);
        self.end = self.end.max(Some(offset + 1));
    }

    /// The message at `offset` is done: processed or dead-lettered.
    pub(crate) fn done(&mut self, offset: i64) {
        self.open.remove(&offset);
    }

    /// The offset to commit (of the next message to read, as Kafka counts), None before the
    /// first message.
    pub(crate) fn committable(&self) -> Option<i64> {
        self.open.first().copied().or(self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_committable_before_the_first_message() {
        assert_eq!(Offsets::default().committable(), None);
    }

    #[test]
    fn only_the_contiguous_prefix_is_committable() {
        let mut offsets = Offsets::default();
        for offset in [10, 11, 12, 15] {
            offsets.begin(offset);
        }
        assert_eq!(offsets.committable(), Some(10));
        offsets.done(11);
        offsets.done(15);
        assert_eq!(offsets.committable(), Some(10));
        offsets.done(10);
        assert_eq!(offsets.committable(), Some(12));
        offsets.done(12);
        // Offsets 13 and 14 never came (compaction, aborted transactions): nothing waits for them.
        assert_eq!(offsets.committable(), Some(16));
    }
}
