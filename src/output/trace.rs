//! The trace of an earlier payment, as `trace` shows it.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::{Console, Paint, json::milliseconds, listing, timeline};
use proof::trace::{FlowTrace, Found, Hop, Progress, Sighting};

/// What is going on, in a line.
pub(crate) fn line(progress: &Progress) -> String {
    match progress {
        Progress::Reading { topic, read, of } => format!("{topic}: {read} of {of} messages read"),
        Progress::Lines(lines) => format!("{} found", listing::count(*lines, "log line")),
    }
}

/// For a person: a line a hop, then what broke the chain, then what was not looked at; masked.
pub(crate) fn text(console: &Console, trace: &FlowTrace) -> String {
    let rows = trace.hops.iter().map(|hop| row(console, trace, hop));
    let header = ["", "AT", "AFTER", "WHERE", "WHAT", "DETAIL"];
    let mut text = listing::table(console, &header, rows.collect());
    let bad = console.out(Paint::Bad, "✗");
    if let Some(broken) = &trace.broken {
        let (place, what) = timeline::describe(&trace.hops[broken.hop].place);
        text.push_str(&format!("\n\n{bad} first missing: {place}: {what}"));
        for why in &broken.why {
            text.push_str(&format!("\n    {}", console.masked(why)));
        }
    }
    let doubt = console.out(Paint::Doubtful, "!");
    let groups = [
        ("no answer", &trace.unreachable),
        ("not read", &trace.unread),
    ];
    for (what, lines) in groups {
        for line in lines {
            let line = console.masked(line);
            text.push_str(&format!("\n\n{doubt} {what}: {line}"));
        }
    }
    text.push_str(&format!("\n\n{}", summary(trace)));
    text
}

/// `payment 7d…, a test: 20 of 25 hops seen, 1 missing, 4 cannot be told; began 2026-…`
fn summary(trace: &FlowTrace) -> String {
    let (seen, missing, unknown) = trace.counts();
    let test = if trace.synthetic { ", a test" } else { "" };
    let hops = listing::count(trace.hops.len(), "hop");
    let mut text = format!("payment {}{test}: {seen} of {hops} seen", trace.id);
    if missing > 0 {
        text.push_str(&format!(", {missing} missing"));
    }
    if unknown > 0 {
        text.push_str(&format!(", {unknown} cannot be told"));
    }
    if let Some(began) = trace.began {
        text.push_str(&format!("; it began at {}", time(began)));
    }
    text
}

fn row(console: &Console, trace: &FlowTrace, hop: &Hop) -> Vec<String> {
    let (place, what) = timeline::describe(&hop.place);
    let dash = || "-".to_owned();
    let (mark, at, after, detail) = match &hop.found {
        Found::Seen(sightings) => {
            let first = &sightings[0];
            let clock = first.at.map(|at| at.format("%H:%M:%S%.3f").to_string());
            let after = after(trace, first).map(listing::duration);
            (
                console.out(Paint::Good, "✓"),
                clock.unwrap_or_else(dash),
                after.unwrap_or_else(dash),
                detail(sightings),
            )
        }
        Found::Missing(instead) => {
            let instead = instead.as_deref().unwrap_or("missing").to_owned();
            (console.out(Paint::Bad, "✗"), dash(), dash(), instead)
        }
        Found::Unknown(why) => (console.out(Paint::Faint, "?"), dash(), dash(), why.clone()),
    };
    vec![mark, at, after, place, what, detail]
}

/// `partition 2 offset 17 (+1 more)`
fn detail(sightings: &[Sighting]) -> String {
    let first = &sightings[0].detail;
    match sightings.len() - 1 {
        0 => first.clone(),
        more => format!("{first} (+{more} more)"),
    }
}

fn after(trace: &FlowTrace, sighting: &Sighting) -> Option<std::time::Duration> {
    // Clocks of several machines may differ.
    Some((sighting.at? - trace.began?).to_std().unwrap_or_default())
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// For a machine. `next`: the command that comes next, if something is missing.
pub(crate) fn value(project: &str, trace: &FlowTrace, next: Option<&str>) -> Value {
    let (_, missing, unknown) = trace.counts();
    let status = match (
        missing,
        trace.unreachable.is_empty() && trace.unread.is_empty(),
    ) {
        (0, true) => "pass",
        (0, false) => "unknown",
        (_, _) => "fail",
    };
    json!({
        "project": project,
        "status": status,
        "correlationId": trace.id,
        "synthetic": trace.synthetic,
        "beganAt": trace.began,
        "hops": trace.hops.iter().map(|hop| hop_value(trace, hop)).collect::<Vec<_>>(),
        "missing": trace.broken.as_ref().map(|broken| json!({
            "hop": broken.hop, "service": broken.service, "why": broken.why, "next": next,
        })),
        "unknown": unknown,
        "deadLetters": trace.dead_letters.iter().map(|dead_letter| json!({
            "place": dead_letter.id().to_string(), "group": dead_letter.group, "reason": dead_letter.reason,
            "error": dead_letter.error, "at": dead_letter.at,
        })).collect::<Vec<_>>(),
        "looked": trace.looked,
        "unread": trace.unread,
        "unreachable": trace.unreachable,
    })
}

fn hop_value(trace: &FlowTrace, hop: &Hop) -> Value {
    let (status, sightings, why) = match &hop.found {
        Found::Seen(sightings) => ("seen", sightings.as_slice(), None),
        Found::Missing(instead) => ("missing", &[][..], instead.as_ref()),
        Found::Unknown(why) => ("unknown", &[][..], Some(why)),
    };
    let sightings = sightings.iter().map(|sighting| {
        json!({
            "at": sighting.at,
            "afterMs": after(trace, sighting).map(milliseconds),
            "detail": sighting.detail,
        })
    });
    json!({
        "place": timeline::place_value(&hop.place),
        "service": hop.service,
        "status": status,
        "seen": sightings.collect::<Vec<_>>(),
        "why": why,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proof::{
        probe::hop::HopPlace,
        trace::{Broken, Next},
    };

    fn trace() -> FlowTrace {
        let at = |millis: i64| DateTime::from_timestamp_millis(1_770_000_000_000 + millis);
        let seen = |millis, detail: &str| Sighting {
            at: at(millis),
            detail: detail.to_owned(),
        };
        let hop = |place, service: &str, found| Hop {
            place,
            service: service.to_owned(),
            found,
        };
        let service = || "lesson-worker".to_owned();
        FlowTrace {
            id: "p-1".to_owned(),
            began: at(0),
            hops: vec![
                hop(
                    HopPlace::Topic {
                        topic: "paid".to_owned(),
                    },
                    "shop",
                    Found::Seen(vec![
                        seen(0, "partition 2 offset 17"),
                        seen(90_000, "partition 2 offset 40"),
                    ]),
                ),
                hop(
                    HopPlace::Log {
                        service: service(),
                        stage: declaration::Pattern::Literal("received".to_owned()),
                    },
                    "lesson-worker",
                    Found::Unknown("its log begins at 2026-02-02T03:00:00Z".to_owned()),
                ),
                hop(
                    HopPlace::Table {
                        table: "lessons".to_owned(),
                        rows: 7,
                    },
                    "lesson-worker",
                    Found::Missing(Some("3 of 7 rows".to_owned())),
                ),
            ],
            broken: Some(Broken {
                hop: 2,
                service: service(),
                why: vec!["lesson-worker: exited (137)".to_owned()],
                next: Next::Up(service()),
            }),
            unread: vec!["topic paid: about 120000 messages".to_owned()],
            ..FlowTrace::default()
        }
    }

    #[test]
    fn a_past_payment_reads_well() {
        insta::assert_snapshot!(text(&Console::plain(), &trace()));
    }

    #[test]
    fn a_machine_gets_all_of_it() {
        let value = value("shop", &trace(), Some("caravan up lesson-worker"));
        assert_eq!(value["status"], "fail");
        assert_eq!(value["hops"][0]["seen"][1]["afterMs"], 90_000.0);
        assert_eq!(value["hops"][1]["status"], "unknown");
        assert_eq!(value["hops"][2]["why"], "3 of 7 rows");
        assert_eq!(value["missing"]["next"], "caravan up lesson-worker");
        assert_eq!(value["unknown"], 1);
    }
}
