//! The part of a startup line that is the same at every start.

use std::sync::LazyLock;

use regex::Regex;

/// Words that programs log once they have started.
static STARTED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i)\b(started|listening|ready|running on|up and running)\b").ok()
});

/// In characters: a longer text is more likely to differ at the next start.
const LONGEST: usize = 80;

/// The part of `line` that reports the start, without the numbers and quotes around it; None: the line does
/// not report a start.
pub(super) fn constant(line: &str) -> Option<String> {
    let started = STARTED.as_ref()?;
    let changes = |c: char| c.is_ascii_digit() || c.is_control() || "\"'{}\\".contains(c);
    let part = line.split(changes).find(|part| started.is_match(part))?;
    // Cut off the end of a timestamp, such as `Z`.
    let part = part.trim_start_matches(|c: char| !c.is_alphabetic() && c != '[');
    let part = match part.split_once(' ') {
        Some((zone, rest)) if zone.len() == 1 => rest,
        Some(_) | None => part,
    };
    let text: String = part.trim().chars().take(LONGEST).collect();
    started.is_match(&text).then(|| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::constant;

    #[test]
    fn numbers_and_timestamps_are_left_out() {
        for (line, text) in [
            (
                "2026-11-27T01:00:00.123Z [OrderWorker] Started in 12 ms",
                "[OrderWorker] Started in",
            ),
            (
                r#"{"level":30,"time":1764205200000,"msg":"orders-worker listening on 8080"}"#,
                "orders-worker listening on",
            ),
            ("Server is ready", "Server is ready"),
            (
                "12:00:01 INFO main : Started App in 2.3 seconds",
                "INFO main : Started App in",
            ),
        ] {
            assert_eq!(constant(line).as_deref(), Some(text), "{line}");
        }
        assert_eq!(constant("reading the configuration"), None);
        assert_eq!(constant("already there"), None);
    }
}
