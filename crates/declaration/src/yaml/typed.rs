//! Texts of unquoted numbers and booleans. docker compose reads them by their YAML type and prints that where a
//! text is needed, so `1.10` in an environment is `1.1`, `0644` is `420` and `True` is `true`.

use super::Kind;

/// The text that docker compose makes of an unquoted scalar.
pub(super) fn as_text(written: &str, kind: Kind) -> String {
    match kind {
        Kind::String => written.to_owned(),
        Kind::Bool => written.to_ascii_lowercase(),
        Kind::Number => {
            let plain = written.replace('_', "");
            let integer = integer(&plain).map(|number| number.to_string());
            let number = integer.or_else(|| float(&plain));
            number.unwrap_or_else(|| written.to_owned())
        }
    }
}

/// An integer in Go's notation: `0x1F`, `0o17`, `017`, `0b1`.
fn integer(text: &str) -> Option<i128> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (digits, radix) = match lower.get(..2) {
        Some("0x") => (&lower[2..], 16),
        Some("0o") => (&lower[2..], 8),
        Some("0b") => (&lower[2..], 2),
        Some(start) if start.starts_with('0') => (&lower[1..], 8),
        _ => (lower.as_str(), 10),
    };
    let number = i128::from_str_radix(digits, radix).ok()?;
    let fits = number <= i128::from(u64::MAX) && digits.starts_with(|c: char| c.is_alphanumeric());
    fits.then_some(sign * number)
}

/// A float as Go's `%v` prints it: shortest, with an exponent below 1e-4 and from 1e21 on.
fn float(text: &str) -> Option<String> {
    let special = match text.to_ascii_lowercase().trim_start_matches('+') {
        ".inf" => Some("+Inf"),
        "-.inf" => Some("-Inf"),
        ".nan" => Some("NaN"),
        _ => None,
    };
    if let Some(special) = special {
        return Some(special.to_owned());
    }
    let number: f64 = text.parse().ok()?;
    let size = number.abs();
    if size == 0.0 || (1e-4..1e21).contains(&size) {
        return Some(format!("{number}"));
    }
    let scientific = format!("{number:e}");
    let (mantissa, exponent) = scientific.split_once('e')?;
    let exponent: i32 = exponent.parse().ok()?;
    let sign = if exponent < 0 { '-' } else { '+' };
    Some(format!("{mantissa}e{sign}{:02}", exponent.abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `docker compose config` prints for an environment of such values.
    #[test]
    fn numbers_are_printed_as_compose_prints_them() {
        for (written, printed) in [
            ("1", "1"),
            ("-5", "-5"),
            ("+1", "1"),
            ("0644", "420"),
            ("0o17", "15"),
            ("0x1F", "31"),
            ("0b101", "5"),
            ("08", "8"),
            ("1_000", "1000"),
            ("12345678901234567890", "12345678901234567890"),
            ("1.10", "1.1"),
            ("1.0", "1"),
            (".5", "0.5"),
            ("1e3", "1000"),
            ("1e30", "1e+30"),
            ("0.00001", "1e-05"),
            (".inf", "+Inf"),
            ("0", "0"),
        ] {
            assert_eq!(as_text(written, Kind::Number), printed, "{written}");
        }
        assert_eq!(as_text("True", Kind::Bool), "true");
        assert_eq!(as_text("1.10", Kind::String), "1.10");
    }
}
