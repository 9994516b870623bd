//! Quotes text of messages for log lines and headers.

/// Maximum length of a quoted value, in bytes.
const QUOTE: usize = 48;
/// Maximum length of an excerpt, in bytes.
const EXCERPT: usize = 300;

/// The text in quotes, control characters escaped; a long one is cut and its length is given.
pub(crate) fn quoted(text: &str) -> String {
    let quote = format!("{:?}", &text[..text.floor_char_boundary(QUOTE)]);
    if text.len() > QUOTE {
        format!("{quote}… ({} bytes)", text.len())
    } else {
        quote
    }
}

/// The text on one line, control characters escaped; a long one is cut.
pub(crate) fn excerpt(text: &str) -> String {
    let mut line = String::new();
    for c in text.chars() {
        if line.len() >= EXCERPT {
            line.push('…');
            break;
        }
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}
