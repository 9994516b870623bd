//! Compose's durations and sizes.

use std::time::Duration;

use super::Invalid;

/// Units of Go's `time.ParseDuration`, and days.
const DURATIONS: [(&str, f64); 8] = [
    ("ns", 1e-9),
    ("us", 1e-6),
    ("µs", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3600.0),
    ("d", 86_400.0),
];

/// `10s`, `1m30s`, `1.5h`, `0`.
pub fn duration(text: &str) -> Result<Duration, Invalid> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let (number, after) = split_number(rest)?;
        let end = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let Some((_, factor)) = DURATIONS.iter().find(|(name, _)| *name == unit) else {
            return Err(if unit.is_empty() {
                "a number needs its unit (ms, s, m, h, d)".into()
            } else {
                format!("{unit:?} is not a unit of time (ms, s, m, h, d)").into()
            });
        };
        seconds += number * factor;
        rest = after;
    }
    if text.is_empty() {
        return Err("it is empty".into());
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| "it is too long".into())
}

/// `1024`, `256m`, `1gb`, `1.5GiB`, in bytes.
pub fn bytes(text: &str) -> Result<i64, Invalid> {
    let (number, unit) = split_number(text)?;
    let power = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        other => return Err(format!("{other:?} is not a unit (b, k, m, g)").into()),
    };
    let bytes = number * 1024_f64.powi(power);
    // Below 2^53, so the double represents every integer exactly.
    if bytes < 9e15 {
        #[expect(clippy::cast_possible_truncation, reason = "just checked")]
        Ok(bytes as i64)
    } else {
        Err("it is too large".into())
    }
}

/// `5%`, `0.5%`: at most 100.
pub fn percent(text: &str) -> Result<f64, Invalid> {
    let number = text.strip_suffix('%').ok_or("it does not end with %")?;
    let plain = |c: char| c.is_ascii_digit() || c == '.';
    let number = number.trim_end();
    match number.parse::<f64>() {
        Ok(share) if number.chars().all(plain) && share <= 100.0 => Ok(share),
        Ok(_) => Err("it is not between 0 and 100".into()),
        Err(_) => Err(format!("{number:?} is not a number").into()),
    }
}

/// A measured duration, rounded to what matters of it and written as one types it: `9.8ms`, `98ms`, `3.2s`,
/// `1m44s`.
pub fn shown(time: Duration) -> String {
    // In the smallest unit that is shown, so that 59.97 s is 1m and not 60s.
    let rounded = |unit: Duration| {
        let half = u64::try_from(unit.as_nanos() / 2).unwrap_or_default();
        let count = (time + Duration::from_nanos(half)).as_nanos() / unit.as_nanos();
        u64::try_from(count).unwrap_or(u64::MAX)
    };
    let tenths = |tenths: u64, unit: &str| match tenths % 10 {
        0 => format!("{}{unit}", tenths / 10),
        rest => format!("{}.{rest}{unit}", tenths / 10),
    };
    let (micros, millis) = (Duration::from_micros(100), Duration::from_millis(1));
    match (rounded(micros), rounded(millis), rounded(millis * 100)) {
        (0, ..) => "0s".to_owned(),
        (count @ ..100, ..) => tenths(count, "ms"),
        (_, count @ ..1_000, _) => format!("{count}ms"),
        (_, _, count @ ..600) => tenths(count, "s"),
        _ => exact(Duration::from_secs(rounded(Duration::from_secs(1)))),
    }
}

/// A duration as it was declared, without rounding, as one types it: `30d`, `1m30s`, `1s500ms`.
pub fn exact(time: Duration) -> String {
    let seconds = time.as_secs();
    let nanoseconds = u64::from(time.subsec_nanos());
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3_600 % 24, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
        (nanoseconds / 1_000_000, "ms"),
        (nanoseconds / 1_000 % 1_000, "us"),
        (nanoseconds % 1_000, "ns"),
    ];
    let parts = parts.iter().filter(|(count, _)| *count > 0);
    let text: String = parts
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    match text.is_empty() {
        true => "0s".to_owned(),
        false => text,
    }
}

/// An age, rounded down to one unit, for output: `40s`, `12m`, `5h`, `3d`.
pub fn coarse(time: Duration) -> String {
    match time.as_secs() {
        seconds @ ..60 => format!("{seconds}s"),
        seconds @ ..3_600 => format!("{}m", seconds / 60),
        seconds @ ..172_800 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// A size in bytes for output: `812 B`, `12 KiB`, `1.1 MiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut unit = 0;
    // Tenths of the unit.
    let mut tenths = bytes.saturating_mul(10) / 1024;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    match tenths {
        1..100 if !tenths.is_multiple_of(10) || unit > 0 => {
            format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
        }
        _ => format!("{} {}", tenths / 10, UNITS[unit]),
    }
}

/// `0.5`, `2`: cores, in billionths of one.
pub fn nano_cpus(text: &str) -> Result<i64, Invalid> {
    let (cores, rest) = split_number(text)?;
    // The limit excludes overflow; no machine has as many cores.
    if !rest.is_empty() || cores > 1e6 {
        return Err("it is not a number of cores".into());
    }
    #[expect(clippy::cast_possible_truncation, reason = "just checked")]
    Ok((cores * 1e9).round() as i64)
}

/// The unsigned decimal number at the start, and the rest.
fn split_number(text: &str) -> Result<(f64, &str), Invalid> {
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    match number.parse() {
        Ok(value) => Ok((value, rest)),
        Err(_) => Err("a number is missing".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_for_people() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(1_023), "1023 B");
        assert_eq!(size(65_536), "64 KiB");
        assert_eq!(size(1_114_124), "1.0 MiB");
        assert_eq!(size(32_100_000), "30 MiB");
        assert_eq!(size(1 << 30), "1.0 GiB");
        assert_eq!(size(20 << 40), "20 TiB");
    }

    /// Each of them can be typed: [`duration`] reads it.
    #[test]
    fn durations_for_people() {
        for (millis, text) in [
            (0.0, "0s"),
            (0.85, "0.9ms"),
            (9.8, "9.8ms"),
            (9.97, "10ms"),
            (98.4, "98ms"),
            (999.7, "1s"),
            (3_210.0, "3.2s"),
            (5_000.0, "5s"),
            (59_970.0, "1m"),
            (104_400.0, "1m44s"),
            (7_260_000.0, "2h1m"),
            (2_592_000_000.0, "30d"),
        ] {
            assert_eq!(shown(Duration::from_secs_f64(millis / 1e3)), text);
            assert!(duration(text).is_ok(), "{text}");
        }
        for text in [
            "30d", "1d12h", "1m30s", "1s500ms", "250ms", "10us", "7ns", "0s",
        ] {
            assert_eq!(duration(text).map(exact).as_deref(), Ok(text));
        }
        assert_eq!(coarse(Duration::from_secs(130)), "2m");
    }

    #[test]
    fn durations() {
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("1.5h"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("7d"), Ok(Duration::from_secs(604_800)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        for bad in [
            "",
            "10",
            "s",
            "-1s",
            "1x",
            "1m 30s",
            "99999999999999999999d",
        ] {
            assert!(duration(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn cores() {
        assert_eq!(nano_cpus("0.1"), Ok(100_000_000));
        assert_eq!(nano_cpus("2"), Ok(2_000_000_000));
        for bad in ["", "-1", "half", "1x", "1e9999999"] {
            assert!(nano_cpus(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(bytes("1024"), Ok(1024));
        assert_eq!(bytes("256m"), Ok(256 << 20));
        assert_eq!(bytes("1gb"), Ok(1 << 30));
        assert_eq!(bytes("1.5 GiB"), Ok(3 << 29));
        for bad in ["", "m", "-1", "1x", "99999999t"] {
            assert!(bytes(bad).is_err(), "{bad:?}");
        }
    }
}
