//! For people: a line for each layer of checks, or with `--all` for each check, then the root causes of what
//! did not pass, the gravest last, and the verdict.

use super::{
    Report, Tally,
    layers::{self, Layer},
    mark, problems,
};
use crate::output::{
    Console, Paint,
    listing::{self, Cell, Column},
};
use proof::checks::finding::{Finding, Status};
use std::time::Duration;

/// Two problems, the layers and the prompt fit on a terminal with this many rows.
pub(super) const SCREEN: usize = 24;
/// At most this many problems are shown with their details, and at most this many warnings below problems.
const MAX_DETAILED: usize = 3;
/// A check that took longer shows its time.
const SLOW: Duration = Duration::from_secs(1);

/// `header`: the first line. `screen`: the rows of the terminal, within which up to two problems are shown.
pub(super) fn text(console: &Console, header: &str, report: Report<'_>, screen: usize) -> String {
    let layers = layers::of(report.findings);
    let mut blocks = vec![header.to_owned()];
    if report.all {
        blocks.push(checks(console, &layers));
    } else if !console.is_quiet() {
        blocks.push(layers::lines(console, &layers).join("\n"));
    }
    let rows = |blocks: &[String]| {
        let rows = blocks.iter().map(|block| block.lines().count() + 1);
        rows.sum::<usize>()
    };
    // The verdict, the line before it and the prompt.
    let room = match report.all {
        true => usize::MAX,
        false => screen.saturating_sub(rows(&blocks) + 2),
    };
    blocks.extend(wrong(console, report, room));
    blocks.push(verdict(console, report));
    blocks.join("\n\n")
}

/// Problems and warnings in about `room` rows, if there are at most two.
fn wrong(console: &Console, report: Report<'_>, room: usize) -> Vec<String> {
    let (grave, doubtful) = problems::of(report.findings);
    let (brief, detailed) = match grave.is_empty() {
        true => (Vec::new(), doubtful),
        false => (doubtful, grave),
    };
    let mut blocks = Vec::new();
    let shown = if report.all { usize::MAX } else { MAX_DETAILED };
    let mut titles: Vec<_> = brief.iter().take(shown).map(|p| p.title(console)).collect();
    if let more @ 1.. = brief.len().saturating_sub(shown) {
        let more = listing::count(more, "more warning");
        titles.push(format!("{} {more}: --all", mark(console, Status::Warn)));
    }
    let untold = detailed.len().saturating_sub(shown);
    let (titled, detailed) = detailed.split_at(untold);
    titles.extend(titled.iter().map(|p| p.title(console)));
    if !titles.is_empty() {
        blocks.push(titles.join("\n"));
    }
    let room = room.saturating_sub(titles.len() + usize::from(!titles.is_empty()));
    // An empty line follows each.
    let each = (room / detailed.len().max(1)).saturating_sub(1);
    blocks.extend(detailed.iter().map(|p| p.text(console, each)));
    blocks
}

/// All checks, under a heading for each layer.
fn checks(console: &Console, layers: &[Layer<'_>]) -> String {
    let columns = [
        Column::name(""),
        Column::name("CHECK"),
        Column::text("EXPECTED").optional(2),
        Column::text("SEEN"),
        Column::number("TOOK").optional(1),
    ];
    let is_slow = |finding: &&Finding| finding.took >= SLOW;
    let mut findings = layers.iter().flat_map(|layer| &layer.findings);
    let columns = match findings.any(is_slow) {
        true => &columns[..],
        false => &columns[..4],
    };
    let mut rows = Vec::new();
    for layer in layers {
        let heading = layer.name.replace('-', " ");
        rows.push(vec!["".into(), Cell::painted(Paint::Strong, heading)]);
        rows.extend(layer.findings.iter().map(|finding| row(finding)));
    }
    listing::table(console, columns, rows)
}

fn row(finding: &Finding) -> Vec<Cell> {
    let took = match finding.took {
        took if took >= SLOW => listing::duration(took),
        _ => String::new(),
    };
    let (paint, mark) = super::painted(finding.status);
    vec![
        Cell::painted(paint, mark),
        finding.id.to_string().into(),
        finding.expected.clone().into(),
        finding.seen.clone().into(),
        took.into(),
    ]
}

/// `✓ 120 checks passed in 0.1s`, `✗ 2 problems: 5 failed, 94 passed in 0.1s`
pub(super) fn verdict(console: &Console, report: Report<'_>) -> String {
    let Tally {
        pass,
        warn,
        fail,
        skip,
    } = report.tally();
    let took = listing::duration(report.took);
    let (grave, doubtful) = problems::of(report.findings);
    let counts = [(fail, "failed"), (warn, "warned"), (skip, "skipped")];
    let counts = counts.iter().filter(|(n, _)| *n > 0);
    let counts: Vec<_> = counts.map(|(n, what)| format!("{n} {what}")).collect();
    let (status, text) = match (report.is_right(), grave.len()) {
        (true, 0) if counts.is_empty() => {
            let checks = listing::count(pass, "check");
            (Status::Pass, format!("{checks} passed in {took}"))
        }
        (right, 0) => {
            let warnings = listing::count(doubtful.len(), "warning");
            let strict = if right {
                ""
            } else {
                ", none allowed (--strict)"
            };
            let counts = counts.join(", ");
            let text = format!("{warnings}{strict}: {counts}, {pass} passed in {took}");
            let status = if right { Status::Warn } else { Status::Fail };
            (status, text)
        }
        (_, n) => {
            let (problems, counts) = (listing::count(n, "problem"), counts.join(", "));
            (
                Status::Fail,
                format!("{problems}: {counts}, {pass} passed in {took}"),
            )
        }
    };
    let all = "   each: --all";
    let width = listing::width_of(&text) + all.len() + 2;
    let fits = |columns: u16| width <= columns.into();
    let all = match console.width().is_none_or(fits) && !report.all {
        true => console.out(Paint::Faint, all),
        false => String::new(),
    };
    let (paint, _) = super::painted(status);
    let text = console.out(paint, &text);
    listing::prose(console, &format!("{} {text}{all}", mark(console, status)))
}

/// `✗ groups.a.lag: 12, stuck`.
pub(super) fn change(console: &Console, finding: &Finding) -> String {
    let mark = mark(console, finding.status);
    let cause = finding.cause.as_ref();
    let cause = cause.map_or_else(String::new, |c| format!(" (because of {c})"));
    format!("{mark} {}: {}{cause}", finding.id, finding.seen)
}
