//! Times for people: by the local clock, whose zone the header of a table names, or UTC (`--utc`). Machines get
//! RFC 3339 in UTC.

use chrono::{DateTime, FixedOffset, Local, Offset, Utc};

/// Whose time is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clock {
    Local,
    Utc,
}

impl Clock {
    fn of(self, at: DateTime<Utc>) -> DateTime<FixedOffset> {
        match self {
            Self::Local => at.with_timezone(&Local).fixed_offset(),
            Self::Utc => at.fixed_offset(),
        }
    }

    /// `UTC`, `+01:00`: the zone of today's times.
    pub(crate) fn zone(self) -> String {
        let offset = self.of(Utc::now()).offset().fix();
        match offset.local_minus_utc() {
            0 => "UTC".to_owned(),
            _ => offset.to_string(),
        }
    }

    /// `AT (UTC)`: the header of a column of times.
    pub(crate) fn header(self, name: &str) -> String {
        format!("{name} ({})", self.zone())
    }

    /// `09:52:57.776`.
    pub(crate) fn milliseconds(self, at: DateTime<Utc>) -> String {
        self.of(at).format("%H:%M:%S%.3f").to_string()
    }

    /// `09:52:57`.
    pub(crate) fn time(self, at: DateTime<Utc>) -> String {
        self.of(at).format("%H:%M:%S").to_string()
    }

    /// `2026-11-28 09:52`.
    pub(crate) fn minutes(self, at: DateTime<Utc>) -> String {
        self.of(at).format("%Y-%m-%d %H:%M").to_string()
    }

    /// `2026-11-28 09:52:57`.
    pub(crate) fn seconds(self, at: DateTime<Utc>) -> String {
        self.of(at).format("%Y-%m-%d %H:%M:%S").to_string()
    }

    /// `2026-11-28 09:52:57 UTC`, where no header names the zone.
    pub(crate) fn zoned(self, at: DateTime<Utc>) -> String {
        format!("{} {}", self.seconds(at), self.zone())
    }
}

/// The local zone as the value of `TZ`, for a process on a machine without this one's time zones.
pub(crate) fn posix_zone() -> String {
    let offset = Local::now().offset().local_minus_utc();
    let (hours, minutes) = (offset.abs() / 3600, offset.abs() / 60 % 60);
    // POSIX counts to the west.
    let (sign, west) = if offset < 0 { ('-', '+') } else { ('+', '-') };
    format!("<{sign}{hours:02}{minutes:02}>{west}{hours:02}:{minutes:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_shown_with_its_zone() {
        let at = "2026-11-28T09:52:57.776Z".parse().expect("a time");
        assert_eq!(Clock::Utc.header("AT"), "AT (UTC)");
        assert_eq!(Clock::Utc.milliseconds(at), "09:52:57.776");
        assert_eq!(Clock::Utc.zoned(at), "2026-11-28 09:52:57 UTC");
    }
}
