//! The findings of `verify` and `doctor`, in each format:
//!
//! - `table`: for people, with a line for each layer (`layers`) and the root causes (`problems`); `plain`: one line per finding, for `grep` and logs;
//! - `document`: `json`, one document, and `ndjson`, one line per finding; docs/schemas has their JSON
//!   Schema;
//! - `junit`: for CI servers.

pub(crate) mod document;
mod junit;
mod layers;
mod plain;
mod problems;
mod table;

use std::time::Duration;

use super::{Console, Paint, Spinner, control::without_colours, json, listing};
use crate::flags::ReportFormat;
use diagnostics::Error;
use proof::checks::{
    AuditProgress,
    finding::{Finding, Status},
};

/// The number of findings by status.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) pass: usize,
    pub(crate) warn: usize,
    pub(crate) fail: usize,
    pub(crate) skip: usize,
}

impl Tally {
    pub(crate) fn of<'a>(findings: impl IntoIterator<Item = &'a Finding>) -> Self {
        let mut tally = Self::default();
        for finding in findings {
            match finding.status {
                Status::Pass => tally.pass += 1,
                Status::Warn => tally.warn += 1,
                Status::Fail => tally.fail += 1,
                Status::Skip => tally.skip += 1,
            }
        }
        tally
    }

    /// Whether no check failed, with `strict` none warned, and at least one was made. Skips do not count: a
    /// check is skipped only if another one did not pass.
    pub(crate) fn is_right(self, strict: bool) -> bool {
        let doubtful = if strict { self.warn } else { 0 };
        self.fail + doubtful == 0 && self.pass + self.warn > 0
    }
}

/// All findings of one run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Report<'a> {
    pub(crate) project: &'a str,
    /// The origin of the declaration, in words.
    pub(crate) origin: &'a str,
    /// In the order in which they are shown.
    pub(crate) findings: &'a [Finding],
    pub(crate) took: Duration,
    /// Warnings count as failures.
    pub(crate) strict: bool,
    /// Show each check to people, not only the layers.
    pub(crate) all: bool,
}

impl Report<'_> {
    fn tally(&self) -> Tally {
        Tally::of(self.findings)
    }

    pub(crate) fn is_right(&self) -> bool {
        self.tally().is_right(self.strict)
    }
}

/// Writes one finding, in the formats that have a line per finding.
pub(crate) fn show_finding(console: &Console, finding: &Finding, format: ReportFormat) {
    match format {
        ReportFormat::Ndjson => console.json(&ndjson_line(console, finding)),
        ReportFormat::Table | ReportFormat::Plain | ReportFormat::Json | ReportFormat::Junit => {}
    }
}

/// A line of NDJSON, masked.
fn ndjson_line(console: &Console, finding: &Finding) -> String {
    json::line(&document::line(&masked(console, finding)))
}

/// Shows on a terminal how far back `verify --since` has read for a rule.
pub(crate) fn progress(console: &Console, spinner: &Spinner, progress: &AuditProgress) {
    let back_to = progress.back_to.format("%Y-%m-%d %H:%M:%SZ");
    let text = format!("{}: rows are read back to {back_to}", progress.rule);
    spinner.set_message(console.masked(&text));
}

/// Writes the report of all findings.
pub(crate) fn show(console: &Console, report: Report<'_>, format: ReportFormat) {
    let text = text(console, report, format);
    match format {
        ReportFormat::Json | ReportFormat::Ndjson => console.json(&text),
        ReportFormat::Table | ReportFormat::Plain | ReportFormat::Junit => console.composed(&text),
    }
}

/// The report in a format, masked.
fn text(console: &Console, report: Report<'_>, format: ReportFormat) -> String {
    masked_report(console, report, |report| match format {
        ReportFormat::Table => {
            table::text(console, &header(console, report), report, table::SCREEN)
        }
        ReportFormat::Plain => plain::text(report),
        ReportFormat::Json => json::document(&document::document(console, report)),
        ReportFormat::Ndjson => json::line(&document::last_line(console, report)),
        ReportFormat::Junit => junit::text(report),
    })
}

/// `show` of the report with its texts masked.
fn masked_report(
    console: &Console,
    report: Report<'_>,
    show: impl FnOnce(Report<'_>) -> String,
) -> String {
    let findings = report.findings.iter();
    let findings: Vec<_> = findings.map(|finding| masked(console, finding)).collect();
    show(Report {
        findings: &findings,
        ..report
    })
}

/// The finding with its texts masked; ids are not masked.
fn masked(console: &Console, finding: &Finding) -> Finding {
    let evidence = finding.evidence.iter();
    Finding {
        id: finding.id.clone(),
        status: finding.status,
        severity: finding.severity,
        expected: console.masked(&finding.expected),
        seen: console.masked(&finding.seen),
        evidence: evidence
            .map(|line| console.masked(&without_colours(line)))
            .collect(),
        hint: finding.hint.as_deref().map(|hint| console.masked(hint)),
        cause: finding.cause.clone(),
        took: finding.took,
    }
}

/// A line for a finding that changed under `--watch`, with the time, masked.
pub(crate) fn change(console: &Console, finding: &Finding) -> String {
    let change = table::change(console, &masked(console, finding));
    format!("{} {change}", now(console))
}

/// The verdict of a look of `--watch`, with the time.
pub(crate) fn verdict(console: &Console, report: Report<'_>) -> String {
    let report = Report {
        all: true,
        ..report
    };
    format!("{} {}", now(console), table::verdict(console, report))
}

/// The screen of `--watch`: the report, and below it the latest `changes`, as far as there is room.
pub(crate) fn screen(console: &Console, report: Report<'_>, changes: &[String]) -> String {
    let wanted = table::SCREEN.saturating_sub(changes.len() + 1);
    let mut screen = masked_report(console, report, |report| {
        table::text(console, &header(console, report), report, wanted)
    });
    let room = table::SCREEN.saturating_sub(screen.lines().count() + 2);
    let hidden = changes.len().saturating_sub(room);
    for (n, change) in changes.iter().skip(hidden).enumerate() {
        screen.push_str(if n == 0 { "\n\n" } else { "\n" });
        screen.push_str(&listing::fitted(console, change, 0));
    }
    screen
}

/// A JUnit report that consists of an error.
pub(super) fn junit_failure(error: &Error) -> String {
    junit::failure(error)
}

/// `shop · shipped pipeline · 2026-11-28 10:16 UTC`
fn header(console: &Console, report: Report<'_>) -> String {
    let project = console.out(Paint::Strong, report.project);
    let parts = [project, console.masked(report.origin), now(console)];
    listing::prose(console, &parts.join(&console.marks(" · ")))
}

/// `2026-11-28 10:16:05 UTC`
fn now(console: &Console) -> String {
    console.clock.zoned(chrono::Utc::now())
}

/// The mark of a status, and its colour.
fn painted(status: Status) -> (Paint, &'static str) {
    match status {
        Status::Pass => (Paint::Good, "✓"),
        Status::Warn => (Paint::Doubtful, "!"),
        Status::Fail => (Paint::Bad, "✗"),
        Status::Skip => (Paint::Faint, "-"),
    }
}

fn mark(console: &Console, status: Status) -> String {
    let (paint, mark) = painted(status);
    console.out(paint, mark)
}

/// `52 checks: 51 pass, 1 warn, 0 fail, 0 skip in 180 ms`.
fn summary(report: Report<'_>) -> String {
    let Tally {
        pass,
        warn,
        fail,
        skip,
    } = report.tally();
    let total = listing::count(pass + warn + fail + skip, "check");
    let took = listing::duration(report.took);
    format!("{total}: {pass} pass, {warn} warn, {fail} fail, {skip} skip in {took}")
}

#[cfg(test)]
mod tests;
