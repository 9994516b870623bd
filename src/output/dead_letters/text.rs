//! Cuts the content of dead letters, and escapes its control characters.

use crate::output::{
    Console,
    control::{escaped, line},
};
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
