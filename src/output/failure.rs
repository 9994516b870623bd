//! An error, shown.

use serde_json::{Value, json};

use super::{Console, Paint, json};
use crate::{error::Error, flags::Format};

impl Console {
    /// What failed, why, and the next command; as JSON on stdout where that was asked for.
    pub(crate) fn failure(&self, error: &Error, format: Format) {
        match format {
            Format::Json => self.result(&json::document(&json!({ "error": value(error) }))),
            Format::Table => self.alarm(&self.text(error)),
        }
    }

    fn text(&self, error: &Error) -> String {
        let mut text = format!("{} {}", self.err(Paint::Bad, "error:"), error.what);
        for line in error.evidence.iter().flat_map(|e| e.lines()) {
            text.push_str(&format!("\n  {line}"));
        }
        if let Some(hint) = &error.hint {
            text.push_str(&format!("\n{} {hint}", self.err(Paint::Strong, "next:")));
        }
        text
    }
}

fn value(error: &Error) -> Value {
    json!({
        "kind": error.kind.name(),
        "what": error.what,
        "evidence": error.evidence,
        "hint": error.hint,
    })
}
