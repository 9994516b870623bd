//! One line per finding, without colours and symbols, for `grep`, `awk` and logs.

use super::{Report, summary};
use proof::checks::finding::Finding;

/// `STATUS`, the id and what was seen, separated by tabs; evidence, cause and hint on indented lines below.
pub(super) fn text(report: Report<'_>) -> String {
    let findings = report.findings.iter().map(finding);
    let lines: Vec<_> = findings.chain([summary(report)]).collect();
    lines.join("\n")
}

fn finding(finding: &Finding) -> String {
    let status = finding.status.name().to_uppercase();
    let mut text = format!("{status}\t{}\t{}", finding.id, one_line(&finding.seen));
    let mut below = |word: &str, what: &str| {
        for line in what.lines() {
            text.push_str(&format!("\n  {word}\t{line}"));
        }
    };
    finding.evidence.iter().for_each(|line| below("seen", line));
    finding
        .cause
        .iter()
        .for_each(|cause| below("because of", &cause.to_string()));
    finding.hint.iter().for_each(|hint| below("next", hint));
    text
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
