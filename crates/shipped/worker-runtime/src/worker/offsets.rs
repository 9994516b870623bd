//! The offset of a partition that may be committed: all messages before it are done.

use std::collections::BTreeSet;

/// The offsets of one partition that are being worked on.
#[derive(Debug, Default)]
pub(crate) struct Offsets {
    open: BTreeSet<i64>,
    /// One after the highest offset begun.
    end: Option<i64>,
}

impl Offsets {
    /// Processing of the message at `offset` begins. Lower offsets begin later only within the same
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
    use proptest::prelude::*;

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

    proptest! {
        /// Batches come in order, with gaps; what is in them is done in any order, or not at all.
        #[test]
        fn the_committable_offset_never_exceeds_the_done_prefix(
            gaps in prop::collection::vec(1_i64..4, 1..200),
            batch in 1_usize..50,
            done in prop::collection::vec(any::<prop::sample::Index>(), 0..400),
        ) {
            let all: Vec<i64> = gaps.iter().scan(0, |at, gap| { *at += gap; Some(*at) }).collect();
            let mut offsets = Offsets::default();
            let mut finished = BTreeSet::new();
            let mut done = done.iter();
            let mut before = None;
            for (number, begun) in all.chunks(batch).enumerate() {
                // Within a batch the order is not known.
                begun.iter().rev().for_each(|offset| offsets.begin(*offset));
                let so_far = &all[..(number * batch + begun.len())];
                for index in done.by_ref().take(batch) {
                    let offset = *index.get(so_far);
                    offsets.done(offset);
                    finished.insert(offset);
                }
                let committable = offsets.committable().expect("something has begun");
                let first_open = so_far.iter().find(|offset| !finished.contains(*offset));
                let end = so_far[so_far.len() - 1] + 1;
                prop_assert_eq!(committable, *first_open.unwrap_or(&end));
                prop_assert!(before <= Some(committable), "it went back");
                before = Some(committable);
            }
        }
    }
}
