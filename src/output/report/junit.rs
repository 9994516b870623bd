//! JUnit XML for CI servers: one suite per layer, one case per check.

use chrono::Utc;
use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};

use super::Report;
use diagnostics::Error;
use proof::checks::finding::{Finding, Severity, Status};

pub(super) fn text(report: Report<'_>) -> String {
    let mut document = quick_junit::Report::new(format!("caravan verify {}", report.project));
    document.set_time(report.took);
    let mut layers: Vec<&str> = report.findings.iter().map(Finding::layer).collect();
    layers.dedup();
    let mut seen = Vec::new();
    for layer in layers {
        // The findings of a layer may not be adjacent: the database and its invariants.
        if seen.contains(&layer) {
            continue;
        }
        seen.push(layer);
        let mut suite = TestSuite::new(layer);
        suite.set_timestamp(Utc::now());
        let findings = report.findings.iter().filter(|f| f.layer() == layer);
        suite.add_test_cases(findings.map(|finding| case(finding, report.strict)));
        document.add_test_suite(suite);
    }
    serialised(&document)
}

fn case(finding: &Finding, strict: bool) -> TestCase {
    let described = |kind| {
        let mut status = TestCaseStatus::non_success(kind);
        let message = format!("{}: expected {}", finding.seen, finding.expected);
        status
            .set_message(message)
            .set_type(match finding.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            });
        status.set_description(description(finding));
        status
    };
    let status = match finding.status {
        Status::Fail => described(NonSuccessKind::Failure),
        Status::Warn if strict => described(NonSuccessKind::Failure),
        Status::Pass | Status::Warn => TestCaseStatus::success(),
        Status::Skip => {
            let mut skipped = TestCaseStatus::skipped();
            skipped.set_message(&finding.seen);
            skipped
        }
    };
    let mut case = TestCase::new(finding.id.to_string(), status);
    case.set_classname(format!("caravan.{}", finding.layer()));
    case.set_time(finding.took);
    match finding.status {
        Status::Warn if !strict => {
            let warning = format!("warning: {}\n{}", finding.seen, description(finding));
            case.set_system_out(warning);
        }
        Status::Pass => {
            case.set_system_out(&finding.seen);
        }
        Status::Warn | Status::Fail | Status::Skip => {}
    }
    case
}

fn description(finding: &Finding) -> String {
    let cause = finding.cause.iter().map(|c| format!("because of: {c}"));
    let next = finding.hint.iter().map(|h| format!("next: {h}"));
    let evidence = finding.evidence.iter().cloned();
    evidence
        .chain(cause)
        .chain(next)
        .collect::<Vec<_>>()
        .join("\n")
}

/// A report with one case, the error.
pub(super) fn failure(error: &Error) -> String {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
    status.set_message(&error.what).set_type(error.kind.name());
    let hint = error.hint.iter().map(|h| format!("next: {h}"));
    let lines: Vec<_> = error.evidence.iter().cloned().chain(hint).collect();
    status.set_description(lines.join("\n"));
    let mut suite = TestSuite::new("caravan");
    suite.add_test_case(TestCase::new("caravan", status));
    let mut document = quick_junit::Report::new("caravan");
    document.add_test_suite(suite);
    serialised(&document)
}

fn serialised(document: &quick_junit::Report) -> String {
    // Writing text to memory does not fail.
    document
        .to_string()
        .unwrap_or_default()
        .trim_end()
        .to_owned()
}
