//! What `verify` and `doctor` found: a table of all checks, then each that needs a person, with its evidence.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    Console, Paint,
    json::{self, milliseconds},
    listing,
};
use crate::{
    checks::finding::{Finding, Status},
    flags::Format,
};

/// How many findings ended in each way.
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

    /// Nothing failed, and something was looked at. A skip never stands alone: what it depends on
    /// has failed.
    pub(crate) fn is_right(self) -> bool {
        self.fail == 0 && self.pass + self.warn > 0
    }
}

/// Shows findings, for a person or a machine.
pub(crate) fn show(
    console: &Console,
    project: &str,
    findings: &[Finding],
    took: Duration,
    format: Format,
) {
    console.result(&match format {
        Format::Json => json::document(&value(project, findings, took)),
        Format::Table => text(console, findings, took),
    });
}

/// For a person.
fn text(console: &Console, findings: &[Finding], took: Duration) -> String {
    let rows = findings.iter().map(|f| row(console, f)).collect();
    let mut text = listing::table(console, &["", "CHECK", "EXPECTED", "SEEN", "TOOK"], rows);
    for finding in findings.iter().filter(|f| f.status != Status::Pass) {
        if finding.evidence.is_empty() && finding.hint.is_none() {
            continue;
        }
        text.push_str(&format!(
            "\n\n{} {}",
            mark(console, finding.status),
            finding.id
        ));
        for line in finding.evidence.iter().flat_map(|e| e.lines()) {
            text.push_str(&format!("\n    {line}"));
        }
        if let Some(hint) = &finding.hint {
            text.push_str(&format!(
                "\n  {} {hint}",
                console.out(Paint::Strong, "next:")
            ));
        }
    }
    text.push_str(&format!("\n\n{}", summary(Tally::of(findings), took)));
    text
}

/// `52 checks: 51 pass, 1 warn, 0 fail, 0 skip in 180 ms`.
fn summary(tally: Tally, took: Duration) -> String {
    let Tally {
        pass,
        warn,
        fail,
        skip,
    } = tally;
    let total = listing::count(pass + warn + fail + skip, "check");
    let took = listing::duration(took);
    format!("{total}: {pass} pass, {warn} warn, {fail} fail, {skip} skip in {took}")
}

fn row(console: &Console, finding: &Finding) -> Vec<String> {
    vec![
        mark(console, finding.status),
        finding.id.clone(),
        finding.expected.clone(),
        finding.seen.clone(),
        listing::duration(finding.took),
    ]
}

fn mark(console: &Console, status: Status) -> String {
    let (paint, mark) = match status {
        Status::Pass => (Paint::Good, "✓"),
        Status::Warn => (Paint::Doubtful, "!"),
        Status::Fail => (Paint::Bad, "✗"),
        Status::Skip => (Paint::Faint, "-"),
    };
    console.out(paint, mark)
}

/// For a machine.
fn value(project: &str, findings: &[Finding], took: Duration) -> Value {
    let tally = Tally::of(findings);
    json!({
        "project": project,
        "status": if tally.is_right() { "pass" } else { "fail" },
        "summary": {
            "pass": tally.pass, "warn": tally.warn, "fail": tally.fail, "skip": tally.skip,
            "tookMs": milliseconds(took),
        },
        "findings": findings.iter().map(finding_value).collect::<Vec<_>>(),
    })
}

fn finding_value(finding: &Finding) -> Value {
    json!({
        "id": finding.id,
        "layer": finding.layer(),
        "status": finding.status,
        "severity": finding.severity,
        "expected": finding.expected,
        "seen": finding.seen,
        "evidence": finding.evidence,
        "hint": finding.hint,
        "cause": finding.cause,
        "tookMs": milliseconds(finding.took),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::finding::Severity;

    fn finding(status: Status) -> Finding {
        Finding {
            id: "groups.a.lag".to_owned(),
            status,
            expected: String::new(),
            seen: String::new(),
            evidence: Vec::new(),
            hint: None,
            cause: None,
            severity: Severity::Error,
            took: Duration::ZERO,
        }
    }

    #[test]
    fn nothing_looked_at_is_not_right() {
        assert!(!Tally::of(&[]).is_right());
        assert!(!Tally::of(&[finding(Status::Skip)]).is_right());
        assert!(!Tally::of(&[finding(Status::Pass), finding(Status::Fail)]).is_right());
        assert!(Tally::of(&[finding(Status::Pass), finding(Status::Warn)]).is_right());
    }
}
