//! Records which lines of a log were shown, so that a second reading continues exactly where the first ended.
//!
//! Docker's `since` has a resolution of one second. Lines of that second are identified by their times. Several
//! lines may have the same time, and those of stdout and stderr may be stored out of order, so all times of
//! that second are kept with their number of lines.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use chrono::{DateTime, Utc};
use futures_util::StreamExt;

use super::lines::Lines;
use diagnostics::Result;
use platform::LogLine;

#[derive(Debug, Clone, Default)]
pub(super) struct Shown {
    /// Where the reading began; older lines were not requested.
    first: Option<DateTime<Utc>>,
    newest: Option<DateTime<Utc>>,
    /// The second (since the epoch) of the newest line that was shown.
    second: i64,
    /// How many lines were shown for each time in that second.
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

    /// From when the log has to be read again; None: no line was shown.
    pub(super) fn since(&self) -> Option<DateTime<Utc>> {
        self.first?;
        DateTime::from_timestamp(self.second, 0)
    }

    /// Whether the next line with that time was already shown.
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

/// The lines of a container's log that were shown; every reader records its lines here.
#[derive(Debug, Clone, Default)]
pub(super) struct Log(Arc<Mutex<Shown>>);

impl Log {
    pub(super) fn shown(&self) -> Shown {
        let shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shown.clone()
    }

    pub(super) fn noting(&self, lines: Lines) -> Lines {
        let shown = Arc::clone(&self.0);
        let note = move |line: &Result<LogLine>| {
            if let Ok(line) = line {
                let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
                shown.add(line.at);
            }
        };
        lines.inspect(note).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64, nanosecond: u32) -> DateTime<Utc> {
        DateTime::from_timestamp(second, nanosecond).expect("in range")
    }

    #[test]
    fn shown_lines_are_recognised_one_by_one() {
        let mut shown = Shown::default();
        assert_eq!((shown.since(), shown.take(at(1, 0))), (None, false));
        // Two lines with the same time, and one that is stored after a newer one.
        let read = [at(7, 0), at(8, 5), at(8, 5), at(8, 9), at(8, 7)];
        read.into_iter().for_each(|at| shown.add(at));
        assert_eq!(shown.since(), Some(at(8, 0)));
        let again = [at(8, 5), at(8, 5), at(8, 5), at(8, 9), at(8, 7), at(8, 8)];
        let news = again.into_iter().filter(|at| !shown.take(*at));
        assert_eq!(news.collect::<Vec<_>>(), [at(8, 5), at(8, 8)]);
    }

    #[test]
    fn lines_outside_the_request_stay_unshown() {
        let mut shown = Shown::default();
        shown.add(at(8, 5));
        assert!(
            shown.take(at(8, 4)),
            "older than the first of the last lines"
        );
        assert!(shown.take(at(8, 5)) && !shown.take(at(8, 5)));
    }
}
