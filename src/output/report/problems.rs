//! The root causes of what did not pass: each with what was expected, its evidence, its consequences and the
//! next command.

use proof::checks::finding::{Finding, Status};

use crate::output::{Console, Paint, listing};

use super::mark;

/// At most this many lines of evidence, and of consequences, are shown of one problem.
const MAX_LINES: usize = 3;
/// The width of `expected`, `so` and the space behind them.
const LABEL: usize = 11;
const INDENT: usize = 4;
/// The id of a check is at the end of a line of this width.
const LINE: usize = 80;

/// A root cause: a finding that did not pass and that no other explains.
pub(super) struct Problem<'a> {
    root: &'a Finding,
    follow: Vec<&'a Finding>,
}

/// The root causes: those that failed or caused failures, then those that only warn. In each, those with the
/// most consequences are last.
pub(super) fn of(findings: &[Finding]) -> (Vec<Problem<'_>>, Vec<Problem<'_>>) {
    let is_wrong = |f: &&Finding| matches!(f.status, Status::Fail | Status::Warn);
    // A cause that is not among them explains nothing to the reader.
    let is_explained = |f: &&Finding| {
        let cause = f.cause.as_ref();
        cause.is_some_and(|cause| findings.iter().any(|f| is_wrong(&f) && f.id == *cause))
    };
    let roots = findings.iter().filter(|f| is_wrong(f) && !is_explained(f));
    let problems = roots.map(|root| {
        let follow = findings.iter();
        let follow = follow.filter(|f| f.cause.as_ref() == Some(&root.id));
        Problem {
            root,
            follow: follow.collect(),
        }
    });
    let mut problems: Vec<_> = problems.collect();
    problems.sort_by_key(|problem| problem.follow.len());
    problems.into_iter().partition(Problem::is_grave)
}

impl Problem<'_> {
    /// A warning that caused failures is a problem too.
    fn is_grave(&self) -> bool {
        let mut all = [self.root].into_iter().chain(self.follow.iter().copied());
        all.any(|finding| finding.status == Status::Fail)
    }

    /// `✗ worker: not deployed`
    pub(super) fn title(&self, console: &Console) -> String {
        let id = &self.root.id;
        let name = id
            .subject()
            .map_or_else(|| id.layer().replace('-', " "), str::to_owned);
        let name = console.out(Paint::Strong, &name);
        let lead = format!("{} {name}: ", mark(console, self.root.status));
        listing::paragraph(console, &lead, INDENT, &self.root.seen)
    }

    /// The problem in at most `rows` lines, if its title and its command leave that many.
    pub(super) fn text(&self, console: &Console, rows: usize) -> String {
        let mut lines = vec![self.title(console)];
        lines.extend(self.expected(console));
        let next = self.next(console);
        let used: usize = lines.iter().map(|text| text.lines().count()).sum();
        let left = rows.saturating_sub(used + usize::from(next.is_some()));
        lines.extend(self.details(console, left));
        lines.extend(next);
        lines.join("\n")
    }

    /// What was expected, and the id of the check.
    fn expected(&self, console: &Console) -> Vec<String> {
        let id = self.root.id.to_string();
        let expected = labelled("expected", &self.root.expected);
        let width = console.width().map_or(LINE, usize::from).min(LINE);
        let space = width.saturating_sub(listing::width_of(&expected) + id.len());
        let faint = console.out(Paint::Faint, &id);
        match space {
            0..3 => vec![
                fitted(console, &expected),
                format!("{}{faint}", labelled("check", "")),
            ],
            space => vec![format!("{expected}{}{faint}", " ".repeat(space))],
        }
    }

    /// Evidence and consequences, in at most `rows` lines.
    fn details(&self, console: &Console, rows: usize) -> Vec<String> {
        let summary = self.consequences(0);
        let reserved = usize::from(!summary.is_empty() && rows > 0);
        let evidence: Vec<_> = self.root.evidence.iter().flat_map(|e| e.lines()).collect();
        let evidence = some(&evidence, (rows - reserved).min(MAX_LINES));
        let left = rows - reserved - evidence.len();
        // A consequence that saw the same says nothing new.
        let telling = self.follow.iter().filter(|f| f.status != Status::Skip);
        let telling = telling.filter(|f| f.seen != self.root.seen);
        let telling: Vec<_> = telling.map(|f| format!("{}: {}", f.id, f.seen)).collect();
        let shown = telling.iter().take(left.min(MAX_LINES - 1));
        let mut so: Vec<String> = shown.cloned().collect();
        let summary = self.consequences(so.len());
        if reserved > 0 && !summary.is_empty() {
            so.push(summary);
        }
        let evidence = evidence.iter().zip(labels("seen")).map(row);
        let so = so.iter().zip(labels("so")).map(row);
        evidence
            .chain(so)
            .map(|line| fitted(console, &line))
            .collect()
    }

    /// `4 more did not pass; 45 checks not made: topics, groups`, without those that were `told`.
    fn consequences(&self, told: usize) -> String {
        let (skipped, wrong): (Vec<&Finding>, Vec<_>) =
            self.follow.iter().partition(|f| f.status == Status::Skip);
        let mut parts = Vec::new();
        match (wrong.len().saturating_sub(told), told) {
            (0, _) => {}
            (1, 0) => parts.push("1 other check did not pass".to_owned()),
            (n, 0) => parts.push(format!("{n} other checks did not pass")),
            (n, _) => parts.push(format!("{n} more did not pass")),
        }
        if !skipped.is_empty() {
            let mut layers: Vec<String> = Vec::new();
            for finding in &skipped {
                let name = finding.layer().replace('-', " ");
                if !layers.contains(&name) {
                    layers.push(name);
                }
            }
            let checks = listing::count(skipped.len(), "check");
            parts.push(format!("{checks} not made: {}", layers.join(", ")));
        }
        parts.join("; ")
    }

    /// The command alone on its line, whole.
    fn next(&self, console: &Console) -> Option<String> {
        let hint = self.root.hint.as_ref()?;
        let hint = console.out(Paint::Strong, hint);
        Some(format!("  {} {hint}", console.marks("→")))
    }
}

/// The first `rows` lines; if there are more, the last says how many.
fn some(lines: &[&str], rows: usize) -> Vec<String> {
    if lines.len() <= rows {
        return lines.iter().map(|line| (*line).to_owned()).collect();
    }
    let shown = rows.saturating_sub(1);
    let more = (rows > 0).then(|| format!("{} lines of evidence: --all", lines.len() - shown));
    let first = lines.iter().take(shown).map(|line| (*line).to_owned());
    first.chain(more).collect()
}

/// The label of the first line, and of those below it.
fn labels(first: &'static str) -> impl Iterator<Item = &'static str> {
    [first].into_iter().chain(std::iter::repeat(""))
}

fn row((text, label): (&String, &'static str)) -> String {
    labelled(label, text)
}

fn labelled(label: &str, text: &str) -> String {
    format!("{:INDENT$}{label:LABEL$}{text}", "")
}

fn fitted(console: &Console, line: &str) -> String {
    listing::fitted(console, line, 0)
}
