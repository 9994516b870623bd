//! What `test-flow` and `trace` found, for a person and for a machine. This file has what all of it
//! shares: hops, places, and how a run ended; `one`, `many` and `trace` have their reports, `redelivery`
//! what changed when events were sent again.

use declaration::Noun;
use serde_json::{Value, json};

use super::{Console, Paint, json::milliseconds, listing};
use proof::{
    flow::{Cleanup, Collected, Completion, Found, Hop, HopPlace, Progress, Sighting, Unfollowed},
    stores::postgres::ownership::UndeletedRows,
};

pub(crate) mod many;
pub(crate) mod one;
mod redelivery;
pub(crate) mod trace;

/// What is in progress, in a line.
pub(crate) fn line(progress: &Progress, noun: &Noun) -> String {
    match progress {
        Progress::Seen(hops) => format!("{} seen", listing::count(*hops, "hop")),
        Progress::Sending { sent, of } => format!("{sent} of {} sent", counted(*of, noun)),
        Progress::Sent { sent, took } => {
            let took = listing::duration(*took);
            format!("{} sent in {took}", counted(*sent, noun))
        }
        Progress::Passing { topics } => {
            let each = topics
                .iter()
                .map(|(topic, events)| format!("{topic} {events}"));
            each.collect::<Vec<_>>().join(", ")
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

/// How a run ended, below its hops; `before_cleanup` stands between what is wrong and the cleanup.
/// Masked.
fn completion(
    console: &Console,
    noun: &Noun,
    completion: &Completion,
    before_cleanup: &str,
) -> String {
    let mark = console.out(Paint::Bad, "✗");
    let mut text = String::new();
    // If the cleanup failed because of it, the cleanup says it.
    let said = matches!(&completion.cleanup, Cleanup::Failed(why) if completion.pending.as_ref().is_some_and(|pending| why.contains(pending)));
    if let Some(pending) = completion.pending.as_ref().filter(|_| !said) {
        let pending = console.masked(pending);
        text.push_str(&format!("\n\n{mark} not consumed in time: {pending}"));
    }
    text.push_str(&unfollowed(console, &completion.unfollowed));
    if let Some(again) = &completion.redelivery {
        let again = redelivery::text(console, noun, again);
        text.push_str(&format!("\n\n{again}"));
    }
    text.push_str(&format!("\n\n{before_cleanup}"));
    text.push_str(&format!("\n{}", cleanup(console, &completion.cleanup)));
    let kept_or_excluded = [
        ("kept", &completion.kept),
        ("excluded", &completion.excluded),
    ];
    for (what, names) in kept_or_excluded {
        if !names.is_empty() {
            text.push_str(&format!("\n{what}, as declared: {}", names.join(", ")));
        }
    }
    text
}

/// What is declared and not among the hops.
fn unfollowed(console: &Console, unfollowed: &Unfollowed) -> String {
    if unfollowed.is_empty() {
        return String::new();
    }
    let mark = console.out(Paint::Bad, "✗");
    let mut text = format!("\n\n{mark} not followed: {}", unfollowed.names());
    for hint in &unfollowed.hints {
        text.push_str(&format!("\n    {hint}"));
    }
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

/// Whether the rows were deleted; masked.
fn cleanup(console: &Console, cleanup: &Cleanup) -> String {
    match cleanup {
        Cleanup::Nothing => "nothing to clean up".to_owned(),
        Cleanup::Kept => "rows are kept (--keep)".to_owned(),
        Cleanup::Deleted(deleted) => {
            let rows = deleted.rows.iter().map(|(t, n)| format!("{t} {n}"));
            let rows: Vec<_> = rows.collect();
            let mut text = match rows[..] {
                [] => "nothing deleted".to_owned(),
                _ => format!("cleaned up: {}", rows.join(", ")),
            };
            for left in &deleted.left {
                text.push_str(&format!("\nleft: {}", of_left(left)));
            }
            text
        }
        Cleanup::Failed(why) => format!("NOT cleaned up: {}", console.masked(why)),
    }
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
        Some(at) => format!("older than {}", at.format("%Y-%m-%dT%H:%M:%SZ")),
        None => "of any age: Postgres does not keep it".to_owned(),
    };
    let rows = cleanup(console, &Cleanup::Deleted(collected.deleted.clone()));
    match rows.split_once('\n') {
        Some((rows, left)) => format!("{rows} ({age})\n{left}"),
        None => format!("{rows} ({age})"),
    }
}

pub(crate) fn collected_value(project: &str, collected: &Collected) -> Value {
    let cleanup = Cleanup::Deleted(collected.deleted.clone());
    json!({
        "project": project,
        "olderThan": collected.older_than,
        "cleanup": cleanup_value(&cleanup),
    })
}

fn unfollowed_value(unfollowed: &Unfollowed) -> Option<Value> {
    let value = || {
        json!({
            "topics": unfollowed.topics,
            "services": unfollowed.services,
            "tables": unfollowed.tables,
            "hints": unfollowed.hints,
        })
    };
    (!unfollowed.is_empty()).then(value)
}

fn cleanup_value(cleanup: &Cleanup) -> Value {
    match cleanup {
        Cleanup::Nothing => json!({ "outcome": "nothing" }),
        Cleanup::Kept => json!({ "outcome": "kept" }),
        Cleanup::Deleted(deleted) => json!({
            "outcome": "deleted",
            "rows": deleted.rows.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
            "left": deleted.left.iter().map(|left| json!({
                "table": left.table, "rows": left.count(), "why": left.why,
            })).collect::<Vec<_>>(),
        }),
        Cleanup::Failed(why) => json!({ "outcome": "failed", "why": why }),
    }
}

fn place_value(place: &HopPlace) -> Value {
    match place {
        HopPlace::Entry { service } => json!({ "kind": "entry", "service": service }),
        HopPlace::Topic { topic } => json!({ "kind": "topic", "topic": topic }),
        HopPlace::Log { service, stage } => {
            json!({ "kind": "log", "service": service, "stage": stage.to_string() })
        }
        HopPlace::Table { table, rows } => json!({ "kind": "table", "table": table, "rows": rows }),
        HopPlace::Cache { service, keys } => {
            json!({ "kind": "cache", "service": service, "keys": keys })
        }
    }
}

/// A run's keys that do not depend on the number of messages, added to those of `report`.
fn with_completion(report: Value, completion: &Completion) -> Value {
    let mut document = report;
    document["pending"] = json!(completion.pending);
    document["redelivery"] = json!(completion.redelivery.as_ref().map(redelivery::value));
    document["cleanup"] = cleanup_value(&completion.cleanup);
    document["kept"] = json!(completion.kept);
    document["notFollowed"] = json!(unfollowed_value(&completion.unfollowed));
    document["excluded"] = json!(completion.excluded);
    document
}

/// A hop with all its sightings.
fn hop_value(hop: &Hop) -> Value {
    let (status, sightings, why) = match &hop.found {
        Found::Seen(sightings) => ("seen", sightings.as_slice(), None),
        Found::Missing(instead) => ("missing", &[][..], instead.as_ref()),
        Found::Unknown(why) => ("unknown", &[][..], Some(why)),
    };
    let sightings = sightings.iter().map(|sighting| {
        json!({
            "at": sighting.at,
            "afterMs": sighting.after.map(milliseconds),
            "detail": sighting.detail,
        })
    });
    json!({
        "place": place_value(&hop.step.place),
        "service": hop.step.service,
        "status": status,
        "seen": sightings.collect::<Vec<_>>(),
        "why": why,
    })
}
