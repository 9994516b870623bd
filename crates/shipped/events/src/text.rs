//! Foreign text on its way to a log line or a header.

/// Of a value that is quoted, bytes.
const QUOTE: usize = 48;
/// Of a text that explains, bytes.
const EXCERPT: usize = 300;

/// The text in quotes, control characters escaped; of a long one the beginning, and how long it is.
pub(crate) fn quoted(text: &str) -> String {
    let quote = format!("{:?}", &text[..text.floor_char_boundary(QUOTE)]);
    if text.len() > QUOTE {
        format!("{quote}… ({} bytes)", text.len())
    } else {
        quote
    }
}

/// The text on one line, control characters escaped; of a long one the beginning.
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
