//! `json`: one document; `ndjson`: one line per finding, then a summary. docs/schemas has the JSON Schema of
//! both.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::Report;
use crate::output::json::milliseconds;
use proof::checks::finding::{Finding, Severity, Status};

/// What `caravan verify -o json` and `caravan doctor -o json` write.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document<'a> {
    /// The Compose project.
    project: &'a str,
    status: Verdict,
    summary: Counts,
    /// In the order of the table: a check comes after those that it depends on.
    findings: Vec<Entry<'a>>,
}

/// A line of `-o ndjson`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", tag = "type")]
pub(super) enum Line<'a> {
    /// The result of a check. With `--watch` and `--wait`, another line follows when the result changes.
    Finding(Entry<'a>),
    /// The last line.
    #[serde(rename_all = "camelCase")]
    Summary {
        project: &'a str,
        status: Verdict,
        summary: Counts,
    },
}

/// `pass`: no check failed, and with `--strict` none warned.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    Pass,
    Fail,
}

/// The number of checks by status.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Counts {
    pass: usize,
    warn: usize,
    fail: usize,
    skip: usize,
    took_ms: f64,
}

/// The result of one check.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry<'a> {
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
    /// The next command to run.
    hint: Option<&'a str>,
    /// The id of the check that caused this result; null if there is none.
    cause: Option<String>,
    took_ms: f64,
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
            cause: finding.cause.as_ref().map(ToString::to_string),
            took_ms: milliseconds(finding.took),
        }
    }
}

fn verdict(report: Report<'_>) -> Verdict {
    match report.is_right() {
        true => Verdict::Pass,
        false => Verdict::Fail,
    }
}

fn counts(report: Report<'_>) -> Counts {
    let tally = report.tally();
    Counts {
        pass: tally.pass,
        warn: tally.warn,
        fail: tally.fail,
        skip: tally.skip,
        took_ms: milliseconds(report.took),
    }
}

pub(super) fn value(report: Report<'_>) -> Value {
    let document = Document {
        project: report.project,
        status: verdict(report),
        summary: counts(report),
        findings: report.findings.iter().map(Entry::of).collect(),
    };
    serde_json::to_value(document).unwrap_or_default()
}

pub(super) fn line(finding: &Finding) -> String {
    serde_json::to_string(&Line::Finding(Entry::of(finding))).unwrap_or_default()
}

pub(super) fn last_line(report: Report<'_>) -> String {
    let line = Line::Summary {
        project: report.project,
        status: verdict(report),
        summary: counts(report),
    };
    serde_json::to_string(&line).unwrap_or_default()
}
