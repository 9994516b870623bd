//! The rolling window of upcoming sessions: which are missing, and when they take place.

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, Utc};

/// How many upcoming sessions an allocation has.
pub(crate) const UPCOMING: i32 = 7;
/// Sessions begin at this hour, UTC.
const HOUR: i64 = 9;

/// The schedule of an allocation's sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Allocation {
    /// The first session is one interval after it.
    pub(crate) day: NaiveDate,
    pub(crate) interval_days: i32,
}

/// The sessions that an allocation has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Existing {
    /// The highest `seq`, 0 if there is no session.
    pub(crate) last_seq: i32,
    pub(crate) last_start: Option<DateTime<Utc>>,
    /// The number of sessions that start later than now.
    pub(crate) upcoming: i32,
}

impl Existing {
    /// Of a new allocation.
    pub(crate) const NONE: Self = Self {
        last_seq: 0,
        last_start: None,
        upcoming: 0,
    };
}

/// One session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) seq: i32,
    pub(crate) starts_at: DateTime<Utc>,
}

/// The sessions that an allocation lacks for a full window. They continue after the last one, in
/// steps of the interval. Steps in the past are skipped, but no `seq` is. None if a date would
/// overflow the calendar.
pub(crate) fn missing(
    allocation: &Allocation,
    existing: Existing,
    now: DateTime<Utc>,
) -> Option<Vec<Session>> {
    let interval = allocation.interval_days.max(1);
    let step = TimeDelta::days(i64::from(interval));
    let mut next = match existing.last_start {
        Some(last) => last.checked_add_signed(step)?,
        None => first(allocation.day, interval)?,
    };
    if next <= now {
        let passed = (now - next).num_days() / i64::from(interval) + 1;
        next = next.checked_add_signed(TimeDelta::try_days(passed * i64::from(interval))?)?;
    }
    let mut sessions = Vec::new();
    for seq in (existing.last_seq + 1..).take((UPCOMING - existing.upcoming).max(0) as usize) {
        sessions.push(Session {
            seq,
            starts_at: next,
        });
        next = next.checked_add_signed(step)?;
    }
    Some(sessions)
}

fn first(day: NaiveDate, interval: i32) -> Option<DateTime<Utc>> {
    let day = day.checked_add_days(Days::new(u64::try_from(interval).ok()?))?;
    let hour = NaiveTime::MIN + TimeDelta::hours(HOUR);
    Some(day.and_time(hour).and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("a time")
    }

    fn allocation(day: &str, interval_days: i32) -> Allocation {
        Allocation {
            day: day.parse().expect("a day"),
            interval_days,
        }
    }

    fn starts(sessions: &[Session]) -> Vec<(i32, String)> {
        sessions
            .iter()
            .map(|s| (s.seq, s.starts_at.format("%m-%dT%H").to_string()))
            .collect()
    }

    #[test]
    fn a_new_allocation_gets_seven_from_the_day_after() {
        let now = at("2026-03-30T23:30:00Z");
        let sessions = missing(&allocation("2026-03-30", 1), Existing::NONE, now).expect("dates");
        assert_eq!(sessions.len(), 7);
        let starts = starts(&sessions);
        assert_eq!(starts[0], (1, "03-31T09".to_owned()));
        assert_eq!(starts[6], (7, "04-06T09".to_owned()));
    }

    #[test]
    fn the_course_may_say_otherwise() {
        let now = at("2026-03-30T12:00:00Z");
        let sessions = missing(&allocation("2026-03-30", 7), Existing::NONE, now).expect("dates");
        assert_eq!(starts(&sessions)[1], (2, "04-13T09".to_owned()));
    }

    #[test]
    fn an_old_event_gets_seven_upcoming_on_the_same_grid() {
        let now = at("2026-03-30T12:00:00Z");
        let sessions = missing(&allocation("2026-03-01", 7), Existing::NONE, now).expect("dates");
        let starts = starts(&sessions);
        assert_eq!(starts.len(), 7);
        assert_eq!(starts[0], (1, "04-05T09".to_owned()));
    }

    #[test]
    fn a_window_is_topped_up_without_gaps_in_seq() {
        let existing = Existing {
            last_seq: 7,
            last_start: Some(at("2026-04-06T09:00:00Z")),
            upcoming: 4,
        };
        let now = at("2026-04-02T12:00:00Z");
        let sessions = missing(&allocation("2026-03-30", 1), existing, now).expect("dates");
        let expected = [(8, "04-07T09"), (9, "04-08T09"), (10, "04-09T09")];
        assert_eq!(
            starts(&sessions),
            expected.map(|(seq, start)| (seq, start.to_owned()))
        );
    }

    #[test]
    fn after_an_outage_past_dates_are_skipped_and_seq_has_no_gap() {
        let existing = Existing {
            last_seq: 7,
            last_start: Some(at("2026-04-06T09:00:00Z")),
            upcoming: 0,
        };
        // A session that starts now is no longer upcoming.
        let now = at("2026-05-06T09:00:00Z");
        let sessions = missing(&allocation("2026-03-30", 1), existing, now).expect("dates");
        assert_eq!(sessions.len(), 7);
        assert_eq!(starts(&sessions)[0], (8, "05-07T09".to_owned()));
    }

    #[test]
    fn a_full_window_lacks_nothing() {
        let existing = Existing {
            last_seq: 9,
            last_start: Some(at("2026-04-06T09:00:00Z")),
            upcoming: 8,
        };
        let now = at("2026-03-30T12:00:00Z");
        assert_eq!(
            missing(&allocation("2026-03-30", 1), existing, now),
            Some(vec![])
        );
    }

    #[test]
    fn a_date_beyond_the_calendar_is_refused() {
        let mut allocation = allocation("2026-03-30", 1);
        allocation.day = NaiveDate::MAX;
        assert_eq!(
            missing(&allocation, Existing::NONE, at("2026-03-30T12:00:00Z")),
            None
        );
    }
}
