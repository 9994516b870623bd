//! What `test-flow` and `trace` found, for a person and for a machine. This file has what all of it
//! shares: steps, places, and how a run ended; `services` has a row a service; `one`, `many` and `trace` have
//! their reports for people, `document` for machines, `redelivery` what changed when events were sent again.

use std::time::Duration;

use declaration::{Noun, Pipeline};

use super::{Console, Paint, listing};
use proof::{
    flow::{Cleanup, Collected, Completion, Found, Hop, HopPlace, Progress, Sighting, Unfollowed},
    stores::postgres::ownership::{Deleted, UndeletedRows},
};

pub(crate) mod document;
pub(crate) mod many;
pub(crate) mod one;
mod redelivery;
mod services;
pub(crate) mod trace;

/// How a report is shown, and what comes next.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) pipeline: &'a Pipeline,
    /// Each step instead of a row a service.
    pub(crate) all: bool,
    /// The next command, if something is wrong.
    pub(crate) next: Option<&'a str>,
    /// The command that deletes rows which are left.
    pub(crate) collect: &'a str,
}

impl View<'_> {
    /// `each step: --all`, unless they are shown.
    fn more(self) -> &'static str {
        if self.all { "" } else { "each step: --all" }
    }
}

/// What is in progress, in a line.
pub(crate) fn line(progress: &Progress, noun: &Noun) -> String {
    match progress {
        Progress::Seen {
            steps,
            of,
            waiting_for,
        } => {
            let seen = format!("{steps} of {of} steps");
            match waiting_for {
                Some(service) => format!("waiting for {service} ({seen})"),
                None => seen,
            }
        }
        Progress::Settling => "waiting until every group has consumed its events".to_owned(),
        Progress::Sending {
            sent,
            of,
            in_flight,
            took,
        } => sending(*sent, *of, *in_flight, *took),
        Progress::Sent { sent, took } => {
            let took = listing::duration(*took);
            format!("{} sent in {took}", counted(*sent, noun))
        }
        Progress::Passing { topics } => {
            let each = topics
                .iter()
                .map(|(topic, events)| format!("{topic} {events}"));
            format!("events {}", each.collect::<Vec<_>>().join(", "))
        }
        Progress::Passed { messages, took } => format!(
            "{} consumed by every group {} later",
            counted(*messages, noun),
            listing::duration(*took)
        ),
        Progress::Checking { table, done, of } => format!("{table}: {done} of {of} checked"),
        Progress::Cleaning { done, of } => format!("{done} of {of} cleaned up"),
    }
}

/// `sent 249 of 600, 40 in flight, 50/s, 7s left`.
fn sending(sent: usize, of: usize, in_flight: usize, took: Duration) -> String {
    let mut text = format!("sent {sent} of {of}, {in_flight} in flight");
    let rate = sent as f64 / took.as_secs_f64().max(f64::MIN_POSITIVE);
    if sent > 0 && rate.is_finite() {
        let left = Duration::from_secs_f64((of.saturating_sub(sent) as f64 / rate).min(1e9));
        let left = listing::duration(Duration::from_secs(left.as_secs()));
        text.push_str(&format!(", {rate:.0}/s, {left} left"));
    }
    text
}

/// `1 payment`, `7 payments`
fn counted(count: usize, noun: &Noun) -> String {
    match count {
        1 => format!("1 {}", noun.one()),
        count => format!("{count} {}", noun.many()),
    }
}

/// A mark, the hop's first sighting and how many more there are, or what was found instead; masked.
struct HopRow<'a> {
    mark: String,
    first: Option<&'a Sighting>,
    place: String,
    what: String,
    detail: String,
}

impl<'a> HopRow<'a> {
    fn of(console: &Console, noun: &Noun, hop: &'a Hop) -> Self {
        let (mark, first, detail) = match &hop.found {
            Found::Seen(sightings) => {
                let first = &sightings[0];
                let detail = match sightings.len() - 1 {
                    0 => first.detail.clone(),
                    more => format!("{} (+{more} more)", first.detail),
                };
                (console.out(Paint::Good, "✓"), Some(first), detail)
            }
            Found::Missing(instead) => {
                let instead = instead.as_deref().unwrap_or("missing");
                let mark = console.out(Paint::Bad, "✗");
                (mark, None, console.masked(instead))
            }
            Found::Unknown(why) => {
                let mark = console.out(Paint::Faint, "?");
                (mark, None, console.masked(why))
            }
        };
        let (place, what) = describe(&hop.step.place, noun);
        Self {
            mark,
            first,
            place,
            what,
            detail,
        }
    }

    fn after(&self) -> String {
        let after = self.first.and_then(|first| first.after);
        after.map_or_else(|| "-".to_owned(), listing::duration)
    }
}

/// What is wrong with how a run ended, each in a paragraph of its own; masked.
fn wrong(console: &Console, noun: &Noun, completion: &Completion) -> String {
    let mark = console.out(Paint::Bad, "✗");
    let mut text = String::new();
    // If the rows are left because of it, the cleanup says it.
    let is_said = matches!(&completion.cleanup, Cleanup::Left(_));
    if let Some(pending) = completion.pending.as_ref().filter(|_| !is_said) {
        let pending = console.masked(pending);
        text.push_str(&format!("{mark} not consumed in time: {pending}\n\n"));
    }
    text.push_str(&unfollowed(console, &completion.unfollowed));
    if let Some(again) = &completion.redelivery {
        let again = redelivery::text(console, noun, again);
        text.push_str(&format!("{again}\n\n"));
    }
    text
}

/// What became of the rows, and how more is shown, in indented lines; masked.
fn ending(console: &Console, completion: &Completion, view: View<'_>) -> String {
    let mut text = cleanup(console, &completion.cleanup, view);
    let more = view.more();
    let is_short = matches!(completion.cleanup, Cleanup::Nothing | Cleanup::Deleted(_));
    let end = text.find('\n').filter(|_| is_short).unwrap_or(text.len());
    match more {
        "" => {}
        more if is_short => text.insert_str(end, &format!("        {more}")),
        more => text.push_str(&format!("\n  {more}")),
    }
    let kept_or_excluded = [
        ("kept", &completion.kept),
        ("excluded", &completion.excluded),
    ];
    for (what, names) in kept_or_excluded {
        if !names.is_empty() {
            let lead = format!("\n  {what}, as declared: ");
            text.push_str(&listing::paragraph(console, &lead, 4, &names.join(", ")));
        }
    }
    text
}

/// The next command, alone on its line.
fn next(console: &Console, view: View<'_>) -> String {
    let command = view.next.map(|next| {
        let arrow = console.out(Paint::Strong, "→");
        format!("\n{arrow} {next}")
    });
    command.unwrap_or_default()
}

/// What is declared and not among the hops.
fn unfollowed(console: &Console, unfollowed: &Unfollowed) -> String {
    if unfollowed.is_empty() {
        return String::new();
    }
    let mark = console.out(Paint::Bad, "✗");
    let mut text = format!("{mark} not followed: {}", unfollowed.names());
    for hint in &unfollowed.hints {
        text.push_str(&listing::paragraph(console, "\n    ", 6, hint));
    }
    text.push_str("\n\n");
    text
}

/// Where, and what is expected there.
fn describe(place: &HopPlace, noun: &Noun) -> (String, String) {
    match place {
        HopPlace::Entry { service } => (service.clone(), format!("{} accepted", noun.one())),
        HopPlace::Topic { topic } => (topic.clone(), "event".to_owned()),
        HopPlace::Log { service, stage } => (service.clone(), stage.to_string()),
        HopPlace::Table { table, rows } => {
            let rows = usize::try_from(*rows).unwrap_or_default();
            (table.clone(), listing::count(rows, "row"))
        }
        HopPlace::Cache { service, keys } => (
            service.clone(),
            format!("{} gone", listing::count(*keys, "key")),
        ),
    }
}

/// Whether the rows were deleted, indented; masked.
fn cleanup(console: &Console, cleanup: &Cleanup, view: View<'_>) -> String {
    match cleanup {
        Cleanup::Nothing => "  nothing to clean up".to_owned(),
        Cleanup::Kept => format!("  rows are kept (--keep); afterwards:\n  {}", view.collect),
        Cleanup::Deleted(deleted) => deleted_rows(deleted, view.all),
        Cleanup::Failed(why) => {
            let why = console.masked(why);
            listing::paragraph(console, "  NOT cleaned up: ", 4, &why)
        }
        Cleanup::Left(left) => {
            let why = console.masked(&left.to_string());
            let mut text = listing::paragraph(console, "  NOT cleaned up: ", 4, &why);
            if !left.by_hand.is_empty() {
                let tables = left.by_hand.join(", ");
                let why =
                    format!("nothing marks them as a test's in {tables}: delete them by hand");
                text.push_str(&listing::paragraph(console, "\n  ", 4, &why));
            }
            if left.is_collectable {
                text.push_str(&format!("\n  afterwards:\n  {}", view.collect));
            }
            text
        }
    }
}

/// `cleaned up 11 rows of 5 tables`; with `all`, each table.
fn deleted_rows(deleted: &Deleted, all: bool) -> String {
    let rows: Vec<_> = deleted.rows.iter().filter(|(_, rows)| *rows > 0).collect();
    let total: u64 = rows.iter().map(|(_, rows)| rows).sum();
    let count = |n: u64, noun| listing::count(usize::try_from(n).unwrap_or(usize::MAX), noun);
    let mut text = match rows[..] {
        [] => "  nothing to clean up".to_owned(),
        _ if all => {
            let each = rows.iter().map(|(table, rows)| format!("{table} {rows}"));
            format!("  cleaned up: {}", each.collect::<Vec<_>>().join(", "))
        }
        _ => format!(
            "  cleaned up {} of {}",
            count(total, "row"),
            listing::count(rows.len(), "table")
        ),
    };
    for left in &deleted.left {
        text.push_str(&format!("\n  left: {}", of_left(left)));
    }
    text
}

fn of_left(left: &UndeletedRows) -> String {
    match left.count() {
        Some(rows) => format!("{} {rows} ({})", left.table, left.why),
        None => format!("{}: {}", left.table, left.why),
    }
}

/// The rows of earlier runs that were deleted.
pub(crate) fn collected(console: &Console, collected: &Collected) -> String {
    let age = match collected.older_than {
        Some(at) => format!("written before {}", console.clock.zoned(at)),
        None if collected.is_age_unknown => "of any age: Postgres does not keep it".to_owned(),
        None => "of any age".to_owned(),
    };
    let rows = deleted_rows(&collected.deleted, true);
    let rows = rows.trim_start();
    match rows.split_once('\n') {
        Some((rows, left)) => listing::prose(console, &format!("{rows} ({age})\n{left}")),
        None => listing::prose(console, &format!("{rows} ({age})")),
    }
}
