//! JSON results: one document, camelCase keys, durations in milliseconds.

use std::time::Duration;

use serde_json::Value;

/// The indented text of a document.
pub(crate) fn document(value: &Value) -> String {
    format!("{value:#}")
}

/// Milliseconds with three decimals.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1_000.0
}
