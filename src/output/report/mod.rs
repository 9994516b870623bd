//! The findings of `verify` and `doctor`, in each format:
//!
//! - `table`: for a terminal; `plain`: one line per finding, for `grep` and logs;
//! - `document`: `json`, one document, and `ndjson`, one line per finding; docs/schemas has their JSON
//!   Schema;
//! - `junit`: for CI servers.

mod document;
mod junit;
mod plain;
mod table;

use std::time::Duration;

use super::{Console, json};
use crate::flags::ReportFormat;
use diagnostics::Error;
use indicatif::ProgressBar;
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
    pub(crate) fn of(findings: &[Finding]) -> Self {
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
    /// In the order in which they are shown.
    pub(crate) findings: &'a [Finding],
    pub(crate) took: Duration,
    /// Warnings count as failures.
    pub(crate) strict: bool,
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
        ReportFormat::Ndjson => console.composed(&ndjson_line(console, finding)),
        ReportFormat::Table | ReportFormat::Plain | ReportFormat::Json | ReportFormat::Junit => {}
    }
}

/// A line of NDJSON, masked.
fn ndjson_line(console: &Console, finding: &Finding) -> String {
    document::line(&masked(console, finding))
}

/// Shows on a terminal how far back `verify --since` has read for a rule.
pub(crate) fn progress(console: &Console, spinner: &ProgressBar, progress: &AuditProgress) {
    let back_to = progress.back_to.format("%Y-%m-%d %H:%M:%SZ");
    let text = format!("{}: rows are read back to {back_to}", progress.rule);
    spinner.set_message(console.masked(&text));
}

/// Writes the report of all findings.
pub(crate) fn show(console: &Console, report: Report<'_>, format: ReportFormat) {
    console.composed(&text(console, report, format));
}

/// The report in a format, masked.
fn text(console: &Console, report: Report<'_>, format: ReportFormat) -> String {
    let findings = report.findings.iter();
    let findings: Vec<_> = findings.map(|finding| masked(console, finding)).collect();
    let report = Report {
        findings: &findings,
        ..report
    };
    match format {
        ReportFormat::Table => table::text(console, report),
        ReportFormat::Plain => plain::text(report),
        ReportFormat::Json => json::document(&document::value(report)),
        ReportFormat::Ndjson => document::last_line(report),
        ReportFormat::Junit => junit::text(report),
    }
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
        evidence: evidence.map(|line| console.masked(line)).collect(),
        hint: finding.hint.as_deref().map(|hint| console.masked(hint)),
        cause: finding.cause.clone(),
        took: finding.took,
    }
}

/// A line for a finding that changed under `--watch`, masked.
pub(crate) fn change(console: &Console, finding: &Finding) -> String {
    table::change(console, &masked(console, finding))
}

/// A JUnit report that consists of an error.
pub(super) fn junit_failure(error: &Error) -> String {
    junit::failure(error)
}

/// `52 checks: 51 pass, 1 warn, 0 fail, 0 skip in 180 ms`.
fn summary(report: Report<'_>) -> String {
    let Tally {
        pass,
        warn,
        fail,
        skip,
    } = report.tally();
    let total = super::listing::count(pass + warn + fail + skip, "check");
    let took = super::listing::duration(report.took);
    format!("{total}: {pass} pass, {warn} warn, {fail} fail, {skip} skip in {took}")
}

#[cfg(test)]
mod tests;
