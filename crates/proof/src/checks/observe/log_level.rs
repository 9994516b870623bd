//! Whether a log line is at level error, in the forms that loggers write.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

/// The keys under which loggers write the level of a JSON line.
const KEYS: [&str; 4] = ["level", "severity", "lvl", "log.level"];
/// pino's and bunyan's numbers.
const ERROR: i64 = 50;
/// Up to which character the level is looked for: it follows a time, a thread, a name.
const WITHIN: usize = 120;

/// In a line of text: `ERROR` alone among what precedes the message, or `level=error`.
static TEXT: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let words = "ERROR|FATAL|CRITICAL|SEVERE|PANIC";
    let pairs = r#"\b(?:level|lvl|severity)="?(?i:error|err|fatal|critical|panic)\b"#;
    let alone = format!(r"(?:^|[\s\[|(:])(?:{words})(?:[\s\]|):]|$)");
    Regex::new(&format!("{alone}|{pairs}")).ok()
});

/// Whether a line is at level error, or worse.
pub(super) fn is_error(line: &str) -> bool {
    if line.starts_with('{')
        && let Ok(Value::Object(fields)) = serde_json::from_str(line)
    {
        let level = KEYS.iter().find_map(|key| fields.get(*key));
        return level.is_some_and(is_error_level);
    }
    let head = &line[..line.floor_char_boundary(WITHIN)];
    TEXT.as_ref().is_some_and(|text| text.is_match(head))
}

fn is_error_level(level: &Value) -> bool {
    match level {
        Value::Number(number) => number.as_i64().is_some_and(|n| n >= ERROR),
        Value::String(word) => {
            let words = [
                "error", "err", "fatal", "critical", "crit", "alert", "emerg", "panic",
            ];
            words.iter().any(|w| word.eq_ignore_ascii_case(w))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loggers_write_the_level_in_many_ways() {
        for line in [
            r#"{"level":"error","msg":"no"}"#,
            r#"{"ts":1,"severity":"ERROR"}"#,
            r#"{"level":50,"time":1,"msg":"no"}"#,
            r#"{"log.level":"fatal"}"#,
            "2026-11-27T04:55:42.1Z ERROR purchase: no",
            "[PurchaseWorker] ERROR cannot go on",
            "2026-11-27 04:55:42.100 [main] ERROR c.l.Shop - no",
            "ERROR: relation does not exist",
            "time=1 level=error msg=no",
            r#"ts=1 lvl="fatal" msg=no"#,
        ] {
            assert!(is_error(line), "{line}");
        }
    }

    #[test]
    fn a_word_in_a_message_is_no_level() {
        for line in [
            r#"{"level":"info","msg":"ERROR was fixed","error":"none"}"#,
            r#"{"level":40,"msg":"warned"}"#,
            r#"{"msg":"no level"}"#,
            "INFO 0 errors, 0 ERRORS",
            "retrying after an error",
            "PANICKED=0 TERROR",
            "level=info error=none",
        ] {
            assert!(!is_error(line), "{line}");
        }
    }
}
