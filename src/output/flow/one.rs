//! One message, as `test-flow` shows it.

use declaration::Noun;

use super::{
    super::{
        Console, Paint,
        listing::{self, Column},
    },
    HopRow, View, ending, next,
    services::{self, Service, stopped},
    wrong,
};
use proof::flow::one::Report;

/// Log lines of the service that is stuck: with `--all` all of them, else so many.
const LINES: usize = 5;

/// For a person: a row a service, or each step; what is missing; how the run ended; masked.
pub(crate) fn text(console: &Console, report: &Report, view: View<'_>) -> String {
    let noun = view.pipeline.noun();
    let services = Service::of(view.pipeline, &report.hops);
    let missing = report.missing.as_ref();
    let table = match view.all {
        true => steps(console, &noun, report),
        false => services::table(console, &services, missing, false),
    };
    let id = console.out(Paint::Strong, &report.correlation_id);
    let title = listing::prose(console, &format!("{} {id}", noun.one()));
    let mut text = wrong(console, &noun, &report.completion);
    for line in report.misdated() {
        let doubt = console.out(Paint::Doubtful, "!");
        let line = format!("{line}; retention, lag and --since count by that time");
        text.push_str(&listing::paragraph(
            console,
            &format!("{doubt} clock: "),
            4,
            &line,
        ));
        text.push('\n');
    }
    let seen = report.hops.iter().filter(|hop| hop.is_seen()).count();
    let of = listing::count(report.hops.len(), "step");
    let took = listing::duration(report.took);
    match missing {
        None => {
            let good = console.out(Paint::Good, "✓");
            text.push_str(&format!(
                "{good} {seen} of {of} in {took}{}",
                slowest(&services)
            ));
        }
        Some(missing) => {
            let seen = format!("{seen} of {of}, {took}");
            let lines = &report.last_log_lines;
            let lines = match view.all {
                true => lines,
                false => &lines[lines.len().saturating_sub(LINES)..],
            };
            let hop = &report.hops[missing.hop];
            text.push_str(&stopped(console, &services, missing, hop, (&seen, lines)));
        }
    }
    text.push_str(&format!("\n{}", ending(console, &report.completion, view)));
    let text = listing::prose(console, &text);
    format!("{title}\n\n{table}\n\n{text}{}", next(console, view))
}

fn steps(console: &Console, noun: &Noun, report: &Report) -> String {
    let rows = report.hops.iter().map(|hop| {
        let row = HopRow::of(console, noun, hop);
        let after = row.after();
        vec![row.mark, after, row.place, row.what, row.detail]
    });
    let columns = [
        Column::name(""),
        Column::number("AFTER"),
        Column::name("WHERE"),
        Column::name("WHAT"),
        Column::text("DETAIL"),
    ];
    listing::table(console, &columns, rows.collect())
}

/// `, slowest purchase-worker 45ms`.
fn slowest(services: &[Service<'_>]) -> String {
    let slowest = services.iter().max_by_key(|service| service.took());
    let slowest = slowest.and_then(|service| Some((service.name, service.took()?)));
    slowest.map_or_else(String::new, |(name, took)| {
        format!(", slowest {name} {}", listing::duration(took))
    })
}
