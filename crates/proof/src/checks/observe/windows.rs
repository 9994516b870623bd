//! Which rows a rule reads, in which order: the newest first, then further back, then a sample of what
//! earlier runs have read. Nothing here waits or asks; `invariants` does.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::{checks::results::Span, stores::postgres::Window};

/// The first window of a run: few rows, whatever the traffic is. The next ones grow as far as the time that the
/// last one took allows.
const FIRST: TimeDelta = TimeDelta::milliseconds(100);
/// A window is at most so many times as long as the one before it, or so many times shorter.
const GROWTH: f64 = 4.0;
/// An answer takes so long however few rows there are.
const ROUND_TRIP: Duration = Duration::from_millis(1);

/// The windows of one run, each planned when the one before it has been read.
#[derive(Debug)]
pub(super) struct Windows {
    /// Whether the query reads windows with an end; else each contains all rows since its beginning.
    have_ends: bool,
    /// Rows since then may be in flight.
    newest: DateTime<Utc>,
    /// How far back at most.
    limit: DateTime<Utc>,
    /// What earlier runs have read, the newest first.
    earlier: Vec<Span>,
    /// All rows from here to `newest` have been read, by this run or an earlier one.
    reached: DateTime<Utc>,
    width: TimeDelta,
    /// Where the next sample ends.
    sample: DateTime<Utc>,
    /// What has been sampled in this run.
    sampled: TimeDelta,
}

impl Windows {
    /// `newest` is after `limit`. `sampled`: where the last sample of earlier runs began.
    pub(super) fn new(
        have_ends: bool,
        newest: DateTime<Utc>,
        limit: DateTime<Utc>,
        earlier: &[Span],
        sampled: Option<DateTime<Utc>>,
    ) -> Self {
        // Something is read by every run, even if the server's clock was set back.
        let latest = newest - FIRST;
        let clipped = earlier.iter().map(|span| Span {
            from: span.from.max(limit),
            until: span.until.min(latest),
        });
        let earlier: Vec<Span> = clipped.filter(|span| span.from < span.until).collect();
        let mut windows = Self {
            have_ends,
            newest,
            limit,
            earlier,
            reached: newest,
            width: FIRST,
            sample: newest,
            sampled: TimeDelta::zero(),
        };
        if let Some(Span { from, until }) = windows.sampled_span() {
            let goes_on = sampled.filter(|at| have_ends && from < *at && *at < until);
            windows.sample = goes_on.unwrap_or(until);
        }
        windows
    }

    /// All rows in one window.
    pub(super) fn whole(mut self) -> Self {
        self.width = self.newest - self.limit;
        self
    }

    /// The next window that no run has read; None: all are.
    pub(super) fn unread(&self) -> Option<Window> {
        let until = self.reached;
        let stop = self.earlier.iter().find(|span| span.until < until);
        let stop = stop.map_or(self.limit, |span| span.until);
        (until > self.limit).then(|| self.window(until, stop))
    }

    /// The next window of what earlier runs have read; None: all of that has been read again.
    pub(super) fn sample(&self) -> Option<Window> {
        let Span { from, until } = self.sampled_span()?;
        (self.sampled < until - from).then(|| self.window(self.sample, from))
    }

    /// A window that ends at `until` and begins at `stop` at the earliest.
    fn window(&self, until: DateTime<Utc>, stop: DateTime<Utc>) -> Window {
        let from = until.checked_sub_signed(self.width);
        Window {
            from: from.map_or(stop, |from| from.max(stop)),
            until: self.have_ends.then_some(until),
        }
    }

    fn sampled_span(&self) -> Option<Span> {
        let (newest, oldest) = (self.earlier.first()?, self.earlier.last()?);
        Some(Span {
            from: oldest.from,
            until: newest.until,
        })
    }

    /// The window of [`Self::unread`] was read. The next one may take as long as `target`.
    pub(super) fn has_read(&mut self, window: Window, took: Duration, target: Duration) {
        self.reached = window.from;
        for span in &self.earlier {
            if span.from < self.reached && self.reached <= span.until {
                self.reached = span.from;
            }
        }
        self.scale(took, target);
    }

    /// The window of [`Self::sample`] was read.
    pub(super) fn has_sampled(&mut self, window: Window, took: Duration, target: Duration) {
        self.sampled += self.sample - window.from;
        self.sample = match self.sampled_span() {
            Some(Span { from, until }) if window.from <= from => until,
            _ => window.from,
        };
        self.scale(took, target);
    }

    /// The last window took too long. False: it cannot be much shorter.
    pub(super) fn shrink(&mut self) -> bool {
        self.width = (self.width / 8).max(FIRST);
        self.have_ends && self.width > FIRST
    }

    fn scale(&mut self, took: Duration, target: Duration) {
        let factor = target.as_secs_f64() / took.max(ROUND_TRIP).as_secs_f64();
        let factor = factor.clamp(1.0 / GROWTH, GROWTH);
        let seconds = self.width.as_seconds_f64() * factor;
        let width = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        let width = TimeDelta::from_std(width).unwrap_or(TimeDelta::MAX);
        self.width = width.max(FIRST);
    }

    /// All rows from here to [`Self::new`]'s `newest` have been read, by this run or an earlier one.
    pub(super) fn reached(&self) -> DateTime<Utc> {
        self.reached
    }

    /// Where the next run's sample ends.
    pub(super) fn next_sample(&self) -> Option<DateTime<Utc>> {
        (self.have_ends && !self.earlier.is_empty()).then_some(self.sample)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).expect("a time")
    }

    fn seconds(window: Window) -> (i64, Option<i64>) {
        (
            window.from.timestamp(),
            window.until.map(|until| until.timestamp()),
        )
    }

    fn spans(spans: &[(i64, i64)]) -> Vec<Span> {
        let span = |(from, until): &(i64, i64)| Span {
            from: at(*from),
            until: at(*until),
        };
        spans.iter().map(span).collect()
    }

    /// Windows that begin with one of a second.
    fn second_wide(
        have_ends: bool,
        newest: DateTime<Utc>,
        limit: DateTime<Utc>,
        earlier: &[Span],
        sampled: Option<DateTime<Utc>>,
    ) -> Windows {
        Windows {
            width: TimeDelta::seconds(1),
            ..Windows::new(have_ends, newest, limit, earlier, sampled)
        }
    }

    const FAST: Duration = Duration::from_micros(1);
    const TARGET: Duration = Duration::from_millis(100);

    /// All windows of a run whose queries take `took`.
    fn all_unread(windows: &mut Windows, took: Duration) -> Vec<(i64, Option<i64>)> {
        let mut read = Vec::new();
        while let Some(window) = windows.unread() {
            read.push(seconds(window));
            windows.has_read(window, took, TARGET);
        }
        read
    }

    #[test]
    fn windows_go_back_from_the_newest_to_the_limit_and_grow() {
        let mut windows = second_wide(true, at(1000), at(0), &[], None);
        let read = all_unread(&mut windows, FAST);
        let expected = [
            (999, Some(1000)),
            (995, Some(999)),
            (979, Some(995)),
            (915, Some(979)),
            (659, Some(915)),
            (0, Some(659)),
        ];
        assert_eq!(read, expected);
        assert_eq!(windows.reached(), at(0));
    }

    #[test]
    fn a_window_is_as_long_as_its_time_allows() {
        let mut windows = second_wide(true, at(1000), at(0), &[], None);
        let first = windows.unread().expect("a window");
        windows.has_read(first, TARGET / 4, TARGET);
        let second = windows.unread().expect("a window");
        assert_eq!(seconds(second), (995, Some(999)));
        windows.has_read(second, TARGET * 2, TARGET);
        let third = windows.unread().expect("a window");
        assert_eq!(seconds(third), (993, Some(995)));
    }

    #[test]
    fn a_query_without_an_end_reads_growing_spans() {
        let mut windows = second_wide(false, at(1000), at(900), &[], None);
        let read = all_unread(&mut windows, FAST);
        assert_eq!(
            read,
            [
                (999, None),
                (995, None),
                (979, None),
                (915, None),
                (900, None)
            ]
        );
    }

    #[test]
    fn what_earlier_runs_have_read_is_left_out() {
        let earlier = spans(&[(500, 990), (100, 300)]);
        let mut windows = second_wide(true, at(1000), at(0), &earlier, None);
        let read = all_unread(&mut windows, FAST);
        let expected = [
            (999, Some(1000)),
            (995, Some(999)),
            (990, Some(995)),
            (436, Some(500)),
            (300, Some(436)),
            (0, Some(100)),
        ];
        assert_eq!(read, expected);
    }

    #[test]
    fn something_is_read_though_earlier_runs_have_read_all() {
        let earlier = spans(&[(0, 2000)]);
        let mut windows = second_wide(true, at(1000), at(0), &earlier, None);
        assert_eq!(all_unread(&mut windows, FAST), [(999, Some(1000))]);
        assert_eq!(windows.reached(), at(0));
    }

    #[test]
    fn samples_rotate_through_what_earlier_runs_have_read() {
        let earlier = spans(&[(900, 990)]);
        let mut windows = second_wide(true, at(1000), at(0), &earlier, Some(at(910)));
        let mut read = Vec::new();
        while let Some(window) = windows.sample() {
            read.push(seconds(window));
            windows.has_sampled(window, FAST, TARGET);
        }
        let expected = [
            (909, Some(910)),
            (905, Some(909)),
            (900, Some(905)),
            (926, Some(990)),
            (900, Some(926)),
        ];
        assert_eq!(read, expected, "to the end, then from the beginning on");
        let next = second_wide(true, at(1000), at(0), &earlier, Some(at(100)));
        assert_eq!(next.sample().map(seconds), Some((989, Some(990))));
    }

    #[test]
    fn a_window_that_took_too_long_is_read_in_parts() {
        let mut windows = second_wide(true, at(1000), at(0), &[], None).whole();
        assert_eq!(windows.unread().map(seconds), Some((0, Some(1000))));
        assert!(windows.shrink());
        assert_eq!(windows.unread().map(seconds), Some((875, Some(1000))));
        assert!(windows.shrink() && windows.shrink() && windows.shrink() && !windows.shrink());
    }

    #[test]
    fn a_window_before_all_times_begins_at_the_limit() {
        let mut windows = Windows::new(true, at(1000), DateTime::UNIX_EPOCH, &[], None);
        windows.width = TimeDelta::MAX;
        assert_eq!(windows.unread().map(seconds), Some((0, Some(1000))));
    }
}
