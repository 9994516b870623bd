//! Times as people type them, in every form that `docker logs --since` takes.

use std::time::Duration;

use chrono::{DateTime, Local, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Utc};

/// Unix times below this, about 1973, are refused: `10` alone is meant as a duration.
const EARLIEST: f64 = 1e8;

/// A duration ago (`5m`, `1h30m`), a local time (`2026-11-28`, `2026-11-28T09:50:00`, `09:50`), a time with its
/// zone (`2026-11-28T09:50:00+01:00`) or Unix seconds.
pub(crate) fn parse(text: &str) -> Result<DateTime<Utc>, String> {
    parse_at(text, Utc::now(), &Local)
}

fn parse_at<Z: TimeZone>(
    text: &str,
    now: DateTime<Utc>,
    zone: &Z,
) -> Result<DateTime<Utc>, String> {
    if let Some(ago) = duration(text) {
        let ago = TimeDelta::from_std(ago).ok();
        let at = ago.and_then(|ago| now.checked_sub_signed(ago));
        return at.ok_or_else(|| "too long ago".to_owned());
    }
    let at = zoned(text).or_else(|| unix(text)).or_else(|| {
        let local = local(text, now.with_timezone(zone).naive_local())?;
        // In the hour that is repeated or left out when the clocks change, the earlier time.
        let at = zone.from_local_datetime(&local);
        Some(at.earliest()?.to_utc())
    });
    at.ok_or_else(|| {
        "neither a duration (5m) nor a time (2026-11-28, 2026-11-28T09:50:00, 09:50; with a zone: \
         2026-11-28T09:50:00Z)"
            .to_owned()
    })
}

/// `5m`, `1h30m`, `30d`; as in Go, also with fractions: `1.5h`.
fn duration(text: &str) -> Option<Duration> {
    if let Ok(duration) = humantime::parse_duration(text) {
        return Some(duration);
    }
    let is_unit = |c: char| !(c.is_ascii_digit() || c == '.');
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let (number, behind) = rest.split_at(rest.find(is_unit)?);
        let end = behind.find(|c| !is_unit(c)).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(end);
        let unit = humantime::parse_duration(&format!("1{unit}")).ok()?;
        seconds += number.parse::<f64>().ok()? * unit.as_secs_f64();
        rest = behind;
    }
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|_| !text.is_empty())
}

/// RFC 3339, also without seconds, minutes or a time.
fn zoned(text: &str) -> Option<DateTime<Utc>> {
    const FORMATS: [&str; 2] = ["%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z"];
    // The parser wants a date, hours and minutes.
    let day = text.get(..10)?;
    let hour = text.get(..13).unwrap_or_default();
    let completed = [
        text.to_owned(),
        text.replacen(hour, &format!("{hour}:00"), 1),
        text.replacen(day, &format!("{day}T00:00"), 1),
    ];
    let parsed = completed.iter().find_map(|text| {
        let parsed = FORMATS.iter();
        let mut parsed = parsed.filter_map(|f| DateTime::parse_from_str(text, f).ok());
        parsed
            .next()
            .or_else(|| DateTime::parse_from_rfc3339(text).ok())
    });
    Some(parsed?.to_utc())
}

/// Seconds since the epoch, with or without a fraction.
fn unix(text: &str) -> Option<DateTime<Utc>> {
    let digits = |c: char| c.is_ascii_digit() || c == '.';
    let seconds: f64 = text.chars().all(digits).then(|| text.parse().ok())??;
    if seconds < EARLIEST {
        return None;
    }
    // Exact to the microsecond for 200 years.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "saturates; then there is no such time"
    )]
    DateTime::from_timestamp_micros((seconds * 1e6) as i64)
}

/// A date, a date and a time, or a time of the last 24 hours.
fn local(text: &str, now: NaiveDateTime) -> Option<NaiveDateTime> {
    const FORMATS: [&str; 4] = [
        "%Y-%m-%dT%H:%M:%S%.f",
        "%Y-%m-%dT%H:%M",
        "%Y-%m-%d %H:%M:%S%.f",
        "%Y-%m-%d %H:%M",
    ];
    let time = text.trim_start_matches('T');
    let time = ["%H:%M:%S%.f", "%H:%M"]
        .iter()
        .find_map(|f| NaiveTime::parse_from_str(time, f).ok());
    if let Some(time) = time {
        let today = now.date().and_time(time);
        return match today > now {
            true => today.checked_sub_signed(TimeDelta::days(1)),
            false => Some(today),
        };
    }
    let of_hour = format!("{text}:00");
    let whole = [text, &of_hour].into_iter().find_map(|text| {
        let mut whole = FORMATS.iter();
        whole.find_map(|f| NaiveDateTime::parse_from_str(text, f).ok())
    });
    whole.or_else(|| {
        Some(
            NaiveDate::parse_from_str(text, "%Y-%m-%d")
                .ok()?
                .and_time(NaiveTime::MIN),
        )
    })
}

#[cfg(test)]
mod tests {
    use chrono::FixedOffset;

    use super::*;

    #[test]
    fn a_time_is_typed_in_every_form_that_docker_logs_takes() {
        let now: DateTime<Utc> = "2026-11-28T09:30:00Z".parse().expect("a time");
        let berlin = FixedOffset::east_opt(3600).expect("an offset");
        for (text, expected) in [
            ("90s", "2026-11-28T09:28:30Z"),
            ("1h30m", "2026-11-28T08:00:00Z"),
            ("1.5h", "2026-11-28T08:00:00Z"),
            ("1h0.5m", "2026-11-28T08:29:30Z"),
            ("1500ms", "2026-11-28T09:29:58.500Z"),
            ("2026-11-28", "2026-11-27T23:00:00Z"),
            ("2026-11-28Z", "2026-11-28T00:00:00Z"),
            ("2026-11-28-07:00", "2026-11-28T07:00:00Z"),
            ("2026-11-28T09", "2026-11-28T08:00:00Z"),
            ("2026-11-28T09Z", "2026-11-28T09:00:00Z"),
            ("2026-11-28T09+02:00", "2026-11-28T07:00:00Z"),
            (
                "2026-11-28T09:50:00.000000001Z",
                "2026-11-28T09:50:00.000000001Z",
            ),
            ("2026-11-28T09:50:00", "2026-11-28T08:50:00Z"),
            ("2026-11-28T09:50", "2026-11-28T08:50:00Z"),
            ("2026-11-28 09:50", "2026-11-28T08:50:00Z"),
            ("2026-11-28T09:50:00.25", "2026-11-28T08:50:00.250Z"),
            ("2026-11-28T09:50:00Z", "2026-11-28T09:50:00Z"),
            ("2026-11-28T09:50Z", "2026-11-28T09:50:00Z"),
            ("2026-11-28T09:50:00.5-07:00", "2026-11-28T16:50:00.500Z"),
            ("1795859400", "2026-11-28T09:50:00Z"),
            ("1795859400.5", "2026-11-28T09:50:00.500Z"),
            ("09:50", "2026-11-28T08:50:00Z"),
            ("T09:50:00", "2026-11-28T08:50:00Z"),
            ("10:50", "2026-11-27T09:50:00Z"),
        ] {
            let at = parse_at(text, now, &berlin);
            assert_eq!(at, Ok(expected.parse().expect("a time")), "{text}");
        }
        for text in [
            "10",
            "yesterday",
            "2026-13-01",
            "",
            "9:",
            "1.5",
            "h",
            "1.5x",
            "-1h",
            "99999999999999d",
        ] {
            assert!(parse_at(text, now, &berlin).is_err(), "{text}");
        }
    }
}
