//! A payment's hops, as `test-flow` shows them.

use serde_json::{Value, json};

use super::{Console, Paint, json::milliseconds, listing};
use proof::{
    probe::{
        Cleanup, Trace,
        hop::{Hop, HopPlace},
        unfollowed::Unfollowed,
    },
    stores::postgres::ownership::UndeletedRows,
};

/// For a person: a line a hop, then what is missing, then what was cleaned up; masked.
pub(crate) fn text(console: &Console, trace: &Trace) -> String {
    let rows = trace.hops.iter().map(|hop| row(console, hop)).collect();
    let mut text = listing::table(console, &["", "AFTER", "WHERE", "WHAT", "DETAIL"], rows);
    if let Some(missing) = &trace.missing {
        let hop = &trace.hops[missing.hop];
        let (place, what) = describe(&hop.place);
        let mark = console.out(Paint::Bad, "✗");
        text.push_str(&format!("\n\n{mark} first missing: {place}: {what}"));
        text.push_str(&format!(
            "\n    {}: {}",
            missing.service,
            console.masked(&missing.state)
        ));
        for line in &missing.last_log_lines {
            text.push_str(&format!("\n    {}", console.masked(line)));
        }
    }
    text.push_str(&unfollowed(console, &trace.unfollowed));
    // Otherwise the cleanup says it.
    if let (Some(pending), Cleanup::Kept) = (&trace.pending, &trace.cleanup) {
        let mark = console.out(Paint::Bad, "✗");
        let pending = console.masked(pending);
        text.push_str(&format!("\n\n{mark} not through: {pending}"));
    }
    text.push_str(&format!("\n\n{}", summary(trace)));
    text.push_str(&format!("\n{}", cleanup(console, &trace.cleanup)));
    text.push_str(&kept(&trace.kept));
    text.push_str(&excluded(&trace.excluded));
    text
}

/// What is declared and not among the hops.
pub(super) fn unfollowed(console: &Console, unfollowed: &Unfollowed) -> String {
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

/// Topics that are not part of the flow.
pub(super) fn excluded(topics: &[String]) -> String {
    match topics {
        [] => String::new(),
        topics => format!("\nexcluded, as declared: {}", topics.join(", ")),
    }
}

fn summary(trace: &Trace) -> String {
    let seen = trace.hops.iter().filter(|h| h.seen.is_some()).count();
    let id = trace.correlation_id.as_deref().unwrap_or("-");
    format!(
        "payment {id}: {seen} of {} in {}",
        listing::count(trace.hops.len(), "hop"),
        listing::duration(trace.took)
    )
}

fn row(console: &Console, hop: &Hop) -> Vec<String> {
    let (place, what) = describe(&hop.place);
    match &hop.seen {
        Some(seen) => vec![
            console.out(Paint::Good, "✓"),
            listing::duration(seen.after),
            place,
            what,
            seen.detail.clone(),
        ],
        None => vec![
            console.out(Paint::Bad, "✗"),
            "-".to_owned(),
            place,
            what,
            "not seen".to_owned(),
        ],
    }
}

/// Where, and what is expected there.
pub(super) fn describe(place: &HopPlace) -> (String, String) {
    match place {
        HopPlace::Entry { service } => (service.clone(), "payment accepted".to_owned()),
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

/// What became of the rows; masked.
pub(super) fn cleanup(console: &Console, cleanup: &Cleanup) -> String {
    match cleanup {
        Cleanup::Nothing => "nothing to clean up".to_owned(),
        Cleanup::Kept => "its rows are kept (--keep)".to_owned(),
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

/// Where rows stay, as declared.
pub(super) fn kept(tables: &[String]) -> String {
    match tables {
        [] => String::new(),
        tables => format!("\nkept, as declared: {}", tables.join(", ")),
    }
}

/// For a machine.
pub(crate) fn value(project: &str, trace: &Trace) -> Value {
    json!({
        "project": project,
        "status": if trace.is_right() { "pass" } else { "fail" },
        "correlationId": trace.correlation_id,
        "postedAt": trace.posted_at,
        "tookMs": milliseconds(trace.took),
        "hops": trace.hops.iter().map(hop_value).collect::<Vec<_>>(),
        "missing": trace.missing.as_ref().map(|m| json!({
            "hop": m.hop, "service": m.service, "state": m.state, "lastLogLines": m.last_log_lines,
        })),
        "cleanup": cleanup_value(&trace.cleanup),
        "kept": trace.kept,
        "notFollowed": unfollowed_value(&trace.unfollowed),
        "excluded": trace.excluded,
        "pending": trace.pending,
    })
}

pub(super) fn unfollowed_value(unfollowed: &Unfollowed) -> Option<Value> {
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

pub(super) fn cleanup_value(cleanup: &Cleanup) -> Value {
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

pub(super) fn place_value(place: &HopPlace) -> Value {
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

fn hop_value(hop: &Hop) -> Value {
    json!({
        "place": place_value(&hop.place),
        "seen": hop.seen.as_ref().map(|s| json!({
            "at": s.at, "afterMs": milliseconds(s.after), "detail": s.detail,
        })),
    })
}
