//! Shows errors.

use anstream::adapter::strip_str;
use serde_json::{Value, json};

use super::{Console, Paint, json, report};
use crate::flags::ReportFormat;
use diagnostics::Error;

impl Console {
    /// Shows an error with its evidence and hint: as text on stderr, or in a machine-readable format on stdout.
    pub(crate) fn failure(&self, error: &Error, format: ReportFormat) {
        let error = &self.masked_error(error);
        match format {
            ReportFormat::Table | ReportFormat::Plain => self.composed_alarm(&self.text(error)),
            ReportFormat::Json => {
                self.composed(&json::document(&json!({ "error": value(error) })));
            }
            ReportFormat::Ndjson => {
                let line = json!({ "type": "error", "error": value(error) });
                self.composed(&line.to_string());
            }
            ReportFormat::Junit => self.composed(&report::junit_failure(error)),
        }
    }

    /// The error with its texts masked, and its evidence without control characters.
    fn masked_error(&self, error: &Error) -> Error {
        let evidence = error.evidence.iter();
        Error {
            kind: error.kind,
            what: self.masked(&error.what),
            evidence: evidence.map(|e| self.masked(&plain(e))).collect(),
            hint: error.hint.as_deref().map(|hint| self.masked(hint)),
        }
    }

    fn text(&self, error: &Error) -> String {
        let mut text = format!("{} {}", self.err(Paint::Bad, "error:"), error.what);
        let lines = error.evidence.iter().flat_map(|e| e.lines());
        for line in lines.filter(|line| !line.trim().is_empty()) {
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

/// Removes escape sequences and control characters: evidence quotes logs, and those may have colours.
fn plain(text: &str) -> String {
    let text = strip_str(text).to_string();
    text.chars()
        .filter(|c| matches!(c, '\n' | '\t') || !c.is_control())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use diagnostics::Kind;

    #[test]
    fn an_errors_texts_are_masked_before_they_are_escaped() {
        let console = Console::plain();
        console.mask(&[r#"a"b\c"#.to_owned(), "what".to_owned(), "usage".to_owned()]);
        let error = Error::new(Kind::Usage, r#"not a"b\c"#)
            .because(r#"what: a"b\c"#)
            .hint("usage");
        assert_eq!(
            value(&console.masked_error(&error)),
            json!({ "kind": "usage", "what": "not ****", "evidence": ["****: ****"], "hint": "****" })
        );
    }

    #[test]
    fn evidence_has_no_escape_sequences() {
        assert_eq!(
            plain("\x1b[91mE: no\x1b[0;1m space\r\n\tx"),
            "E: no space\n\tx"
        );
        assert_eq!(plain("cut off \x1b[9"), "cut off ");
        assert_eq!(plain("\x1b7\x07bell"), "bell");
        assert_eq!(plain("\x1b]0;title\x07\x1b(Btext"), "text");
    }
}
