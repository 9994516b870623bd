//! Shows errors.

use std::io::{self, Write};

use super::{
    Console, Paint,
    control::{self, without_colours},
    json, listing, report,
};
use crate::flags::ReportFormat;
use diagnostics::Error;

/// Writes the error of a command line that is wrong, before there is a console: as text to stderr, or in a
/// machine-readable format to stdout. `command`: the one that the line names.
///
/// # Errors
/// Stdout cannot be written.
pub(crate) fn usage_failure(
    error: &Error,
    command: Option<String>,
    format: ReportFormat,
) -> io::Result<()> {
    let failed = || json::usage_failed(error, command);
    let text = match format {
        ReportFormat::Json => json::document(&failed()),
        ReportFormat::Ndjson => json::line(&json::EndLine::<()>::Error(failed())),
        ReportFormat::Junit => report::junit_failure(error),
        ReportFormat::Table | ReportFormat::Plain => {
            let text = text(error, "error:", "next:", str::to_owned);
            // A failure to write to stderr cannot be reported anywhere.
            drop(writeln!(io::stderr().lock(), "{}", control::shown(&text)));
            return Ok(());
        }
    };
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{}", control::json(&text)).and_then(|()| stdout.flush())
}

/// An error for people. `label` and `next` are before what failed and before the hint; `fitted`: a line as it fits
/// the terminal.
fn text(error: &Error, label: &str, next: &str, fitted: impl Fn(&str) -> String) -> String {
    let mut text = fitted(&format!("{label} {}", error.what));
    let lines = error.evidence.iter().flat_map(|e| e.lines());
    for line in lines.filter(|line| !line.trim().is_empty()) {
        text.push_str(&format!("\n{}", fitted(&format!("  {line}"))));
    }
    if let Some(hint) = &error.hint {
        text.push_str(&format!("\n{next} {hint}"));
    }
    text
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
        let label = self.err(Paint::Bad, "error:");
        // The columns of an excerpt from a file stay as they are.
        let fitted = |line: &str| match line.trim_start().contains("  ") {
            true => line.to_owned(),
            false => listing::prose(self, line),
        };
        text(error, &label, &self.err(Paint::Strong, "next:"), fitted)
    }
}

#[cfg(test)]
mod tests {
    use diagnostics::Kind;
    use serde_json::json;

    use super::*;

    #[test]
    fn an_error_wraps_by_words_and_its_command_stays_whole() {
        let error = Error::new(Kind::NotRight, "billing is not ready")
            .because("its last log lines say why it is not")
            .because("3 |     image: a-name-that-is-long   ^^^^")
            .hint("caravan -p shop logs billing");
        assert_eq!(
            Console::narrow(24).text(&error),
            "error: billing is not\n  ready\n  its last log lines say\n    why it is not\n  \
             3 |     image: a-name-that-is-long   ^^^^\nnext: caravan -p shop logs billing"
        );
    }

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
                "hint": "****", "commands": [],
            })
        );
    }
}
