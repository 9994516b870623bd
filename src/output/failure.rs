//! Shows errors.

use std::io::{self, Write};

use super::{
    Console, Paint,
    control::{self, without_colours},
    json, report,
};
use crate::flags::ReportFormat;
use diagnostics::{Error, Kind};

/// Writes the error of a command line that clap refuses, before there is a console.
///
/// # Errors
/// Stdout cannot be written.
pub(crate) fn usage_failure(message: &str, format: ReportFormat) -> io::Result<()> {
    let mut lines = message.lines().filter(|line| !line.trim().is_empty());
    let what = lines.next().unwrap_or_default();
    let what = what.strip_prefix("error: ").unwrap_or(what);
    let error = Error::new(Kind::Usage, what);
    let error = lines.fold(error, |error, line| error.because(line.trim()));
    let failed = json::failed(&error);
    let text = match format {
        ReportFormat::Json => json::document(&failed),
        ReportFormat::Ndjson => json::line(&json::EndLine::<()>::Error(failed)),
        ReportFormat::Junit => report::junit_failure(&error),
        ReportFormat::Table | ReportFormat::Plain => message.to_owned(),
    };
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{}", control::json(&text)).and_then(|()| stdout.flush())
}

impl Console {
    /// Shows an error with its evidence and hint: as text on stderr, or in a machine-readable format on stdout.
    pub(crate) fn failure(&self, error: &Error, format: ReportFormat) {
        let error = &self.masked_error(error);
        match format {
            ReportFormat::Table | ReportFormat::Plain => self.composed_alarm(&self.text(error)),
            ReportFormat::Json => self.json(&json::document(&self.failed(error))),
            ReportFormat::Ndjson => {
                let line: json::EndLine<()> = json::EndLine::Error(self.failed(error));
                self.json(&json::line(&line));
            }
            ReportFormat::Junit => self.composed(&report::junit_failure(error)),
        }
    }

    /// The error with its texts masked, and its evidence without the colours of the logs that it quotes.
    fn masked_error(&self, error: &Error) -> Error {
        let evidence = error.evidence.iter();
        Error {
            kind: error.kind,
            what: self.masked(&error.what),
            evidence: evidence.map(|e| self.masked(&without_colours(e))).collect(),
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_errors_texts_are_masked_before_they_are_escaped() {
        let console = Console::plain();
        console.mask(&[r#"a"b\c"#.to_owned(), "what".to_owned(), "usage".to_owned()]);
        let error = Error::new(Kind::Usage, r#"not a"b\c"#)
            .because(r#"what: a"b\c"#)
            .hint("usage");
        let document = console.failed(&console.masked_error(&error));
        let document = serde_json::to_value(document).expect("JSON");
        assert_eq!(
            document["error"],
            json!({
                "kind": "usage", "exitCode": 2, "what": "not ****", "evidence": ["****: ****"],
                "hint": "****",
            })
        );
    }
}
