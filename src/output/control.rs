//! Control characters: a terminal obeys them, so text from outside (names, log lines, payloads, errors) must
//! not reach it with them. [`Console`](super::Console) passes everything that it writes through [`shown`];
//! formats with their own escapes ([`json`], JUnit) and redrawn lines do it before.

use std::{
    borrow::Cow,
    hash::{BuildHasher, RandomState},
    sync::LazyLock,
};

/// Marks the colour codes of this process: without the number, a code is from outside. Terminals never see
/// it; widths are calculated as for any code.
static OWN: LazyLock<String> = LazyLock::new(|| {
    let random = RandomState::new().hash_one("own");
    format!("\x1b[{:05};", 10_000 + random % 90_000)
});

/// The code that switches to a colour, until [`shown`].
pub(super) fn colour(code: &str) -> String {
    format!("{}{code}m", *OWN)
}

/// `text` as it is written: with Caravan's own colours, line ends and tabs; other control characters are
/// escaped (`\u{1b}`).
pub(super) fn shown(text: &str) -> Cow<'_, str> {
    if !text.contains(|c| is_control(c) && !is_layout(c)) {
        return Cow::Borrowed(text);
    }
    let mut pieces = text.split(OWN.as_str());
    let mut shown = escaped(pieces.next().unwrap_or_default().as_bytes(), true);
    for piece in pieces {
        shown.push_str("\x1b[");
        shown.push_str(&escaped(piece.as_bytes(), true));
    }
    Cow::Owned(shown)
}

/// Text on one line, with control characters escaped.
pub(crate) fn line(text: &str) -> String {
    escaped(text.as_bytes(), false)
}

/// The text of a cell, on one line unless it has Caravan's own colours.
pub(super) fn cell(text: String) -> String {
    match text.contains(is_control) && !text.contains(OWN.as_str()) {
        true => escaped(text.as_bytes(), false),
        false => text,
    }
}

/// A line of a log without colours, which it may have been written with.
pub(crate) fn without_colours(text: &str) -> Cow<'_, str> {
    const START: &str = "\x1b[";
    if !text.contains(START) {
        return Cow::Borrowed(text);
    }
    let mut pieces = text.split(START);
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let code = piece.trim_start_matches(|c: char| matches!(c, '0'..='9' | ';' | ':'));
        match code.strip_prefix('m') {
            Some(rest) => plain.push_str(rest),
            None => {
                plain.push_str(START);
                plain.push_str(piece);
            }
        }
    }
    Cow::Owned(plain)
}

/// A JSON document without the control characters that JSON permits unescaped: those above U+007E.
pub(super) fn json(document: &str) -> Cow<'_, str> {
    let is_bare = |c| is_control(c) && !is_layout(c);
    if !document.contains(is_bare) {
        return Cow::Borrowed(document);
    }
    let mut text = String::with_capacity(document.len());
    for c in document.chars() {
        if is_bare(c) {
            // All of them have at most four hexadecimal digits.
            text.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            text.push(c);
        }
    }
    Cow::Owned(text)
}

/// Escapes bytes that are not UTF-8 (`\xff`) and control characters (`\u{1b}`). With `lines`, line ends and
/// tabs are kept.
pub(crate) fn escaped(bytes: &[u8], lines: bool) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if is_control(c) && !(lines && is_layout(c)) {
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

/// Control characters, and those that change the text direction.
fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn is_layout(c: char) -> bool {
    matches!(c, '\n' | '\t')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Paint;

    /// Clears the screen, and writes to the clipboard (OSC 52).
    const HOSTILE: &str = "a\x1b[2J\x1b]52;c;Y2FyYXZhbg==\x07\u{9b}31mz\r";

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

    #[test]
    fn only_our_own_colours_reach_the_terminal() {
        let text = format!("{}\n\t{HOSTILE}\x1b[31mred", Paint::Good.on(true, "✓"));
        assert_eq!(
            shown(&text),
            "\x1b[32m✓\x1b[0m\n\ta\\u{1b}[2J\\u{1b}]52;c;Y2FyYXZhbg==\\u{7}\\u{9b}31mz\\r\\u{1b}[31mred"
        );
    }

    #[test]
    fn a_document_stays_valid_and_means_the_same() {
        let document = serde_json::json!({ "name": HOSTILE, "other": "\u{202e}\u{7f}" });
        let text = format!("{document:#}");
        let text = json(&text);
        assert!(
            !text.contains(|c: char| is_control(c) && c != '\n'),
            "{text}"
        );
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&text).ok(),
            Some(document)
        );
    }

    #[test]
    fn a_log_line_loses_its_colours_and_nothing_else() {
        assert_eq!(
            without_colours("\x1b[1;32mINFO\x1b[0m \x1b[2Jx \x1b[38:5:1mred\x1b["),
            "INFO \x1b[2Jx red\x1b["
        );
    }
}
