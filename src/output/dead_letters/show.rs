use kafka::record::{Headers, Message};

use super::text::{bytes, masked_word, state, word};
use crate::output::{Console, Paint, control::line, listing};
use proof::dead_letters::find::Found;

/// In bytes: a longer payload is cut.
pub(super) const MAX_VALUE: usize = 64 * 1024;
/// In bytes: a longer key or header value is cut.
pub(super) const MAX_HEADER: usize = 4 * 1024;
/// At most this many headers are shown.
pub(super) const MAX_HEADERS: usize = 100;

/// `dlq show` as text.
pub(crate) fn dead_letter(console: &Console, found: &Found) -> String {
    let (dead_letter, message) = (&found.dead_letter, &found.message);
    let mut text = String::new();
    let mut row = |name: &str, value: &str| text.push_str(&format!("{name:<13}{value}\n"));
    row("dead letter", &dead_letter.own.to_string());
    row(
        "source",
        &dead_letter
            .source
            .as_ref()
            .map_or_else(|| "unknown".to_owned(), ToString::to_string),
    );
    row("group", &word(dead_letter.group.as_deref()));
    row(
        "reason",
        &masked_word(console, dead_letter.reason.as_deref()),
    );
    row("error", &masked_word(console, dead_letter.error.as_deref()));
    row(
        "attempts",
        &masked_word(console, dead_letter.attempts.as_deref()),
    );
    row(
        "failed at",
        &dead_letter
            .at
            .map_or_else(|| "-".to_owned(), |at| console.clock.zoned(at)),
    );
    row("state", state(found.status));
    for other in &found.others {
        row(
            "also",
            &format!("{} (group {})", other.own, word(other.group.as_deref())),
        );
    }
    row(
        "key",
        &message.key().map_or_else(
            || "none".to_owned(),
            |k| bytes(console, k, MAX_HEADER, false),
        ),
    );
    text.push_str(&format!("\n{}\n", console.out(Paint::Strong, "headers")));
    let headers: Vec<_> = message
        .headers()
        .into_iter()
        .flat_map(|h| h.iter())
        .collect();
    for header in headers.iter().take(MAX_HEADERS) {
        let value = header.value.map_or_else(
            || "none".to_owned(),
            |value| bytes(console, value, MAX_HEADER, false),
        );
        text.push_str(&format!("  {}: {value}\n", line(header.key)));
    }
    if headers.len() > MAX_HEADERS {
        text.push_str(&format!("  and {} more\n", headers.len() - MAX_HEADERS));
    }
    let payload = message.payload();
    let size = payload.map_or_else(
        || "none (a tombstone)".to_owned(),
        |p| listing::count(p.len(), "byte"),
    );
    text.push_str(&format!(
        "\n{}\n",
        console.out(Paint::Strong, &format!("payload: {size}"))
    ));
    if let Some(payload) = payload {
        text.push_str(&bytes(console, payload, MAX_VALUE, true));
    }
    text.trim_end().to_owned()
}
