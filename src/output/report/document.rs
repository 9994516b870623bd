//! `json`: one document; `ndjson`: one line per finding, then a summary. docs/schemas has the JSON Schema of
//! both.

use schemars::JsonSchema;
use serde::Serialize;

use super::Report;
use crate::output::{
    Console,
    json::{self, EndLine, Envelope, Millis, NoData, Outcome},
};
use proof::checks::finding::{Finding, Severity, Status};

/// What `verify -o json` and `doctor -o json` write.
pub(crate) type Document<'a> = Envelope<Counts, Findings<'a>>;

/// The findings of `verify` or `doctor`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Findings<'a> {
    /// In the order of the table: a check comes after those that it depends on.
    findings: Vec<Entry<'a>>,
    /// The checks that would run: of `verify --list`, which runs none.
    checks: Option<Vec<Planned>>,
}

/// A check that would run.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Planned {
    pub(crate) id: String,
    pub(crate) layer: String,
    pub(crate) severity: Severity,
    pub(crate) expected: String,
}

/// A line of `-o ndjson`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Line<'a> {
    Finding(FindingLine<'a>),
    End(EndLine<Counts>),
}

/// The result of a check. With `--watch` and `--wait`, another line follows when the result changes.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase", tag = "type")]
pub(crate) enum FindingLine<'a> {
    Finding(Entry<'a>),
}

/// The number of checks by status.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Counts {
    pass: usize,
    warn: usize,
    fail: usize,
    skip: usize,
    took_ms: Millis,
}

/// The result of one check.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry<'a> {
    /// `layer.subject.aspect`; stable from one version to the next.
    id: String,
    layer: &'a str,
    status: Status,
    /// How severe it is if the check does not pass.
    severity: Severity,
    expected: &'a str,
    /// What was observed; for a skipped check, the reason.
    seen: &'a str,
    /// Counterexamples and log lines, one string each.
    evidence: &'a [String],
    /// The next command to run, or what to change.
    hint: Option<&'a str>,
    /// The commands of `hint`, exactly as they can be run. Empty: it has none.
    commands: Vec<&'a str>,
    /// The id of the check that caused this result; null if there is none.
    cause: Option<String>,
    took_ms: Millis,
}

impl<'a> Entry<'a> {
    fn of(finding: &'a Finding) -> Self {
        Self {
            id: finding.id.to_string(),
            layer: finding.layer(),
            status: finding.status,
            severity: finding.severity,
            expected: &finding.expected,
            seen: &finding.seen,
            evidence: &finding.evidence,
            hint: finding.hint.as_deref(),
            commands: json::commands(finding.hint.as_deref()).collect(),
            cause: finding.cause.as_ref().map(ToString::to_string),
            took_ms: Millis(finding.took),
        }
    }
}

/// `Warn`: right, with warnings.
fn status(report: Report<'_>) -> Outcome {
    match (report.is_right(), report.tally().warn) {
        (true, 0) => Outcome::Pass,
        (true, _) => Outcome::Warn,
        (false, _) => Outcome::Fail,
    }
}

fn counts(report: Report<'_>) -> Counts {
    let tally = report.tally();
    Counts {
        pass: tally.pass,
        warn: tally.warn,
        fail: tally.fail,
        skip: tally.skip,
        took_ms: Millis(report.took),
    }
}

pub(super) fn document<'a>(console: &Console, report: Report<'a>) -> Document<'a> {
    let data = Findings {
        findings: report.findings.iter().map(Entry::of).collect(),
        checks: None,
    };
    console.envelope(status(report), counts(report), data)
}

pub(super) fn line(finding: &Finding) -> Line<'_> {
    Line::Finding(FindingLine::Finding(Entry::of(finding)))
}

pub(super) fn last_line<'a>(console: &Console, report: Report<'_>) -> Line<'a> {
    let summary = console.envelope(status(report), counts(report), NoData {});
    Line::End(EndLine::Summary(summary))
}

/// Writes the checks that would run.
pub(crate) fn list(console: &Console, checks: Vec<Planned>) {
    let data = Findings {
        findings: Vec::new(),
        checks: Some(checks),
    };
    console.report(Outcome::Pass, Counts::default(), data);
}
