//! What `logs -o ndjson` writes: a line for each line of a log, and a summary last.

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Console, control,
    json::{self, EndLine, NoData, Outcome, Time},
};
use platform::LogLine;

/// A line of `logs -o ndjson`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "its schema is that of both")]
pub(crate) enum Line<'a> {
    Log(LogEntry<'a>),
    End(EndLine<Summary>),
}

/// A line of a log.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase", tag = "type")]
pub(crate) enum LogEntry<'a> {
    Line {
        /// When Docker read it.
        at: Time,
        service: &'a str,
        container: &'a str,
        text: String,
    },
}

/// The number of lines.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Summary {
    lines: usize,
}

/// A line of a log, with its line end; its text is masked.
pub(crate) fn line(console: &Console, line: &LogLine) -> String {
    let own = control::without_colours(&line.text);
    let entry = LogEntry::Line {
        at: Time(line.at),
        service: &line.service,
        container: &line.container,
        text: console.masked(own.trim_end_matches('\r')),
    };
    let text = json::line(&entry);
    format!("{}\n", control::json(&text))
}

/// Writes the last line.
pub(crate) fn end(console: &Console, lines: usize) {
    let summary = console.envelope(Outcome::Pass, Summary { lines }, NoData {});
    console.line(&EndLine::Summary(summary));
}
