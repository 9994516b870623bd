//! Finding the items of a batch that make it fail, by halves.

use std::ops::Range;

/// Which part of a batch to try next. One item at fault among n costs about 2 log2(n) tries
/// besides the first, and no neighbour is tried alone for it.
///
/// A part that failed is halved. Where its first half goes through, the second one is at fault
/// and is halved without being tried.
#[derive(Debug)]
pub(crate) struct Bisection {
    /// The last one is next.
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
    /// Of a batch of `items`, none tried yet.
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

    /// The items to try together now; what became of them has to be told before the next call.
    pub(crate) fn next(&mut self) -> Option<Range<usize>> {
        self.trying = self.waiting.pop()?.range;
        Some(self.trying.clone())
    }

    /// The part went through.
    pub(crate) fn passed(&mut self) {
        let end = self.trying.end;
        let at_fault =
            |part: &mut Part| part.suspect && part.range.start == end && part.range.len() > 1;
        if let Some(other) = self.waiting.pop_if(at_fault) {
            self.halve(other.range);
        }
    }

    /// The part failed, because of some item in it. Its index, where it was alone.
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

    /// Tries parts until nothing is left: who went through, in order; who was found at fault; how
    /// many tries it took.
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
    fn a_batch_without_fault_is_tried_once() {
        assert_eq!(run(500, &BTreeSet::new()).2, 1);
    }

    #[test]
    fn one_at_fault_costs_twice_the_logarithm_at_most() {
        for at in 0..512 {
            let (through, found, tries) = run(512, &BTreeSet::from([at]));
            assert_eq!(through.len(), 511);
            assert_eq!(found, BTreeSet::from([at]));
            assert!(tries <= 1 + 2 * 9, "{tries} tries for {at}");
        }
    }

    #[test]
    fn a_fault_that_went_away_is_none() {
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
        fn exactly_those_at_fault_are_found(
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
