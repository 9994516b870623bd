//! For a terminal: all checks, then each root cause with its evidence, its hint and the findings that it
//! caused.

use super::{Report, summary};
use crate::output::{Console, Paint, listing};
use proof::checks::finding::{Finding, Status};

pub(super) fn text(console: &Console, report: Report<'_>) -> String {
    let rows = report.findings.iter().map(|f| row(console, f)).collect();
    let mut text = listing::table(console, &["", "CHECK", "EXPECTED", "SEEN", "TOOK"], rows);
    let is_root = |f: &&Finding| f.cause.is_none();
    let is_wrong = |f: &&Finding| matches!(f.status, Status::Fail | Status::Warn);
    let roots = report.findings.iter().filter(is_root).filter(is_wrong);
    // A warning that caused failures is listed among the failures.
    let is_grave = |root: &&Finding| {
        let of_it = |f: &&Finding| f.id == root.id || f.cause.as_ref() == Some(&root.id);
        let mut about = report.findings.iter().filter(of_it);
        about.any(|f| f.status == Status::Fail)
    };
    let (grave, doubtful): (Vec<&Finding>, Vec<_>) = roots.partition(is_grave);
    for root in grave.into_iter().chain(doubtful) {
        let follow = report.findings.iter();
        let follow = follow.filter(|f| f.cause.as_ref() == Some(&root.id));
        text.push_str(&details(console, root, &follow.collect::<Vec<_>>()));
    }
    text.push_str(&format!("\n\n{}", summary(report)));
    text
}

fn row(console: &Console, finding: &Finding) -> Vec<String> {
    vec![
        mark(console, finding.status),
        finding.id.to_string(),
        finding.expected.clone(),
        finding.seen.clone(),
        listing::duration(finding.took),
    ]
}

/// Details of a root cause: a finding without a cause.
fn details(console: &Console, root: &Finding, follow: &[&Finding]) -> String {
    if root.evidence.is_empty() && root.hint.is_none() && follow.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "\n\n{} {}: {}",
        mark(console, root.status),
        root.id,
        root.seen
    );
    for line in root.evidence.iter().flat_map(|e| e.lines()) {
        text.push_str(&format!("\n    {line}"));
    }
    if !follow.is_empty() {
        text.push_str("\n  because of it:");
    }
    for finding in follow {
        let mark = mark(console, finding.status);
        text.push_str(&format!("\n    {mark} {}: {}", finding.id, finding.seen));
    }
    if let Some(hint) = &root.hint {
        let next = console.out(Paint::Strong, "next:");
        text.push_str(&format!("\n  {next} {hint}"));
    }
    text
}

/// `✗ groups.a.lag: 12, stuck`.
pub(super) fn change(console: &Console, finding: &Finding) -> String {
    let mark = mark(console, finding.status);
    let cause = finding.cause.as_ref();
    let cause = cause.map_or_else(String::new, |c| format!(" (because of {c})"));
    format!("{mark} {}: {}{cause}", finding.id, finding.seen)
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
