//! What was shown of a log, so that a second reading goes on exactly where the first one ended.
//!
//! Docker can be asked for the lines since a whole second. Of those of that second one is known by
//! its time: lines may share one, and those of stdout and stderr may be stored out of order, so
//! that all times are kept, and how often each was seen. Those of one second, so they are bounded.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

#[derive(Debug, Clone, Default)]
pub(super) struct Shown {
    /// Where the reading began; what is older was not asked for.
    first: Option<DateTime<Utc>>,
    newest: Option<DateTime<Utc>>,
    /// The last second of which a line was shown, since the epoch.
    second: i64,
    /// How many lines were shown of each time in that second.
    times: HashMap<DateTime<Utc>, usize>,
}

impl Shown {
    pub(super) fn add(&mut self, at: DateTime<Utc>) {
        let second = at.timestamp();
        if self.first.is_none() || second > self.second {
            self.second = second;
            self.times.clear();
        }
        self.first = self.first.map_or(Some(at), |first| Some(first.min(at)));
        self.newest = self.newest.max(Some(at));
        if second == self.second {
            *self.times.entry(at).or_default() += 1;
        }
    }

    /// The time of the newest line that was shown.
    pub(super) fn newest(&self) -> Option<DateTime<Utc>> {
        self.newest
    }

    /// From when on the log is to be read again; None where nothing was shown.
    pub(super) fn since(&self) -> Option<DateTime<Utc>> {
        self.first?;
        DateTime::from_timestamp(self.second, 0)
    }

    /// Whether the line of that time that is read next was shown.
    pub(super) fn take(&mut self, at: DateTime<Utc>) -> bool {
        let Some(first) = self.first else {
            return false;
        };
        if at < first || at.timestamp() < self.second {
            return true;
        }
        match self.times.get_mut(&at) {
            Some(count) if *count > 0 => {
                *count -= 1;
                true
            }
            Some(_) | None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64, nanosecond: u32) -> DateTime<Utc> {
        DateTime::from_timestamp(second, nanosecond).expect("in range")
    }

    #[test]
    fn what_was_shown_is_known_line_by_line() {
        let mut shown = Shown::default();
        assert_eq!((shown.since(), shown.take(at(1, 0))), (None, false));
        // Two of one time, and one that is stored after a younger one.
        let read = [at(7, 0), at(8, 5), at(8, 5), at(8, 9), at(8, 7)];
        read.into_iter().for_each(|at| shown.add(at));
        assert_eq!(shown.since(), Some(at(8, 0)));
        let again = [at(8, 5), at(8, 5), at(8, 5), at(8, 9), at(8, 7), at(8, 8)];
        let news = again.into_iter().filter(|at| !shown.take(*at));
        assert_eq!(news.collect::<Vec<_>>(), [at(8, 5), at(8, 8)]);
    }

    #[test]
    fn what_was_not_asked_for_stays_unshown() {
        let mut shown = Shown::default();
        shown.add(at(8, 5));
        assert!(
            shown.take(at(8, 4)),
            "older than the first of the last lines"
        );
        assert!(shown.take(at(8, 5)) && !shown.take(at(8, 5)));
    }
}
