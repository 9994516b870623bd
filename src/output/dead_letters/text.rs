//! Escapes and cuts the content of dead letters, which is untrusted: control characters could change the
//! terminal.

use chrono::{DateTime, SecondsFormat, Utc};

use crate::output::Console;
use proof::dead_letters::journal::Status;

pub(super) fn state(status: Status) -> &'static str {
    match status {
        Status::Waiting => "waiting",
        Status::Interrupted => "interrupted",
        Status::InFlight => "in-flight",
        Status::Replayed => "replayed",
        Status::Dismissed => "dismissed",
    }
}

pub(super) fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

pub(super) fn word(text: Option<&str>) -> String {
    text.map_or_else(|| "-".to_owned(), line)
}

/// As [`word`], for text from outside: secrets are masked before it is escaped.
pub(super) fn masked_word(console: &Console, text: Option<&str>) -> String {
    word(text.map(|text| console.masked(text)).as_deref())
}

/// Bytes as text, cut at `max` bytes. Secrets are masked before anything is cut or escaped.
pub(super) fn bytes(console: &Console, all: &[u8], max: usize, lines: bool) -> String {
    let masked = console.masked_bytes(all);
    let mut text = escaped(&masked[..masked.len().min(max)], lines);
    if masked.len() > max {
        text.push_str(&format!("\n… {} more bytes", masked.len() - max));
    }
    text
}

/// Text on one line, with control characters escaped.
pub(super) fn line(text: &str) -> String {
    escaped(text.as_bytes(), false)
}

/// Escapes bytes that are not UTF-8 (`\xff`) and control characters (`\u{1b}`). With `lines`, line ends and
/// tabs are kept.
fn escaped(bytes: &[u8], lines: bool) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            let kept = lines && matches!(c, '\n' | '\t');
            // Control characters, and those that change the text direction.
            let is_control = c.is_control()
                || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            if is_control && !kept {
                text.extend(c.escape_default());
            } else {
                text.push(c);
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        let bytes = b"a\x1b[2J\n\xff\xfe\tb\x00\xc2\x9b\xe2\x80\xae";
        assert_eq!(
            escaped(bytes, false),
            r"a\u{1b}[2J\n\xff\xfe\tb\u{0}\u{9b}\u{202e}"
        );
        assert_eq!(escaped(b"a\n\tb\r", true), "a\n\tb\\r");
        assert_eq!(escaped("é ✓".as_bytes(), false), "é ✓");
    }
}
