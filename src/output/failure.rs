//! An error, shown.

use anstream::adapter::strip_str;
use serde_json::{Value, json};

use super::{Console, Paint, json, report};
use crate::flags::ReportFormat;
use diagnostics::Error;

impl Console {
    /// What failed, why, and the next command; on stdout where a machine asked.
    pub(crate) fn failure(&self, error: &Error, format: ReportFormat) {
        match format {
            ReportFormat::Table | ReportFormat::Plain => self.alarm(&self.text(error)),
            ReportFormat::Json => {
                self.result(&json::document(&json!({ "error": value(error) })));
            }
            ReportFormat::Ndjson => {
                let line = json!({ "type": "error", "error": value(error) });
                self.result(&line.to_string());
            }
            ReportFormat::Junit => self.result(&report::junit_failure(error)),
        }
    }

    fn text(&self, error: &Error) -> String {
        let mut text = format!("{} {}", self.err(Paint::Bad, "error:"), error.what);
        let lines = error.evidence.iter().flat_map(|e| e.lines()).map(plain);
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
    let evidence: Vec<_> = error.evidence.iter().map(|e| plain(e)).collect();
    json!({
        "kind": error.kind.name(),
        "what": error.what,
        "evidence": evidence,
        "hint": error.hint,
    })
}

/// Without what would steer a terminal: services and builds write colours into their logs.
fn plain(text: &str) -> String {
    let text = strip_str(text).to_string();
    text.chars()
        .filter(|c| matches!(c, '\n' | '\t') || !c.is_control())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn evidence_does_not_steer_the_terminal() {
        assert_eq!(
            plain("\x1b[91mE: no\x1b[0;1m space\r\n\tx"),
            "E: no space\n\tx"
        );
        assert_eq!(plain("cut off \x1b[9"), "cut off ");
        assert_eq!(plain("\x1b7\x07bell"), "bell");
        assert_eq!(plain("\x1b]0;title\x07\x1b(Btext"), "text");
    }
}
