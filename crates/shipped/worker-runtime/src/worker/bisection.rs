//! Finds the items that make a batch fail, by halving the batch.

use std::ops::Range;

/// Which part of a batch to try next. One failing item among n costs about 2 log2(n) tries
/// besides the first.
///
/// A part that failed is halved. If its first half passes, the second half must contain the
/// failing item, and is halved without being tried.
#[derive(Debug)]
pub(crate) struct Bisection {
    /// Parts still to try; the last one is next.
    waiting: Vec<Part>,
    trying: Range<usize>,
}

#[derive(Debug)]
struct Part {
    range: Range<usize>,
    /// The second half of a part that failed, whose first half has not failed so far.
    suspect: bool,
}

impl Bisection {
    /// A bisection of a batch of `items` items, none of them tried yet.
    pub(crate) fn of(items: usize) -> Self {
        let all = Part {
            range: 0..items,
            suspect: false,
        };
        Self {
            waiting: vec![all],
            trying: 0..0,
        }
    }

    /// The items to try together next. Call `passed` or `failed` before the next call.
    pub(crate) fn next(&mut self) -> Option<Range<usize>> {
        self.trying = self.waiting.pop()?.range;
        Some(self.trying.clone())
    }

    /// The current part passed.
    pub(crate) fn passed(&mut self) {
        let end = self.trying.end;
        let at_fault =
            |part: &mut Part| part.suspect && part.range.start == end && part.range.len() > 1;
        if let Some(other) = self.waiting.pop_if(at_fault) {
            self.halve(other.range);
        }
    }

    /// The current part failed. Returns the item's index if the part is a single item.
    pub(crate) fn failed(&mut self) -> Option<usize> {
        if let Some(next) = self.waiting.last_mut() {
            // The fault may have been in this half alone.
            next.suspect = false;
        }
        let part = self.trying.clone();
        if part.len() <= 1 {
            return Some(part.start);
        }
        self.halve(part);
        None
    }

    fn halve(&mut self, part: Range<usize>) {
        let middle = part.start + part.len() / 2;
        self.waiting.push(Part {
            range: middle..part.end,
            suspect: true,
        });
        self.waiting.push(Part {
            range: part.start..middle,
            suspect: false,
        });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Tries parts until none is left. Returns the items that passed, in order, the failing items
    /// and the number of tries.
    fn run(items: usize, faulty: &BTreeSet<usize>) -> (Vec<usize>, BTreeSet<usize>, usize) {
        let mut bisection = Bisection::of(items);
        let (mut through, mut found, mut tries) = (Vec::new(), BTreeSet::new(), 0);
        while let Some(part) = bisection.next() {
            tries += 1;
            if faulty.range(part.clone()).next().is_some() {
                found.extend(bisection.failed());
            } else {
                through.extend(part);
                bisection.passed();
            }
        }
        (through, found, tries)
    }

    #[test]
    fn a_batch_that_passes_is_tried_once() {
        assert_eq!(run(500, &BTreeSet::new()).2, 1);
    }

    #[test]
    fn one_failing_item_costs_at_most_twice_the_logarithm() {
        for at in 0..512 {
            let (through, found, tries) = run(512, &BTreeSet::from([at]));
            assert_eq!(through.len(), 511);
            assert_eq!(found, BTreeSet::from([at]));
            assert!(tries <= 1 + 2 * 9, "{tries} tries for {at}");
        }
    }

    #[test]
    fn a_failure_that_does_not_recur_blames_no_item() {
        let mut bisection = Bisection::of(2);
        assert_eq!(bisection.next(), Some(0..2));
        assert_eq!(bisection.failed(), None);
        assert_eq!(bisection.next(), Some(0..1));
        bisection.passed();
        assert_eq!(bisection.next(), Some(1..2));
        bisection.passed();
        assert_eq!(bisection.next(), None);
    }

    proptest! {
        #[test]
        fn exactly_the_failing_items_are_found(
            items in 1_usize..300,
            faulty in prop::collection::btree_set(0_usize..300, 0..20),
        ) {
            let faulty: BTreeSet<usize> = faulty.into_iter().filter(|at| *at < items).collect();
            let (through, found, _) = run(items, &faulty);
            let expected: Vec<usize> = (0..items).filter(|at| !faulty.contains(at)).collect();
            prop_assert_eq!(through, expected);
            prop_assert_eq!(found, faulty);
        }
    }
}
