//! The hops of an earlier message, as `trace` shows them.

use chrono::{DateTime, SecondsFormat, Utc};
use declaration::Noun;
use serde_json::{Value, json};

use super::{
    super::{Console, Paint, listing},
    HopRow, describe, hop_value,
};
use proof::flow::trace::{Progress, Report};

/// What is in progress, in a line.
pub(crate) fn line(progress: &Progress) -> String {
    match progress {
        Progress::Reading { topic, read, of } => format!("{topic}: {read} of {of} records read"),
        Progress::Lines(lines) => format!("{} found", listing::count(*lines, "log line")),
    }
}

/// For a person: a line for each hop, why the first is missing, what was not read; masked.
pub(crate) fn text(console: &Console, noun: &Noun, trace: &Report) -> String {
    let rows = trace.hops.iter().map(|hop| {
        let row = HopRow::of(console, noun, hop);
        let at = row.first.and_then(|first| first.at);
        let at = at.map_or_else(
            || "-".to_owned(),
            |at| at.format("%H:%M:%S%.3f").to_string(),
        );
        let after = row.after();
        vec![row.mark, at, after, row.place, row.what, row.detail]
    });
    let header = ["", "AT", "AFTER", "WHERE", "WHAT", "DETAIL"];
    let mut text = listing::table(console, &header, rows.collect());
    let bad = console.out(Paint::Bad, "✗");
    if let Some(missing) = &trace.missing {
        let (place, what) = describe(&trace.hops[missing.hop].step.place, noun);
        text.push_str(&format!("\n\n{bad} first missing: {place}: {what}"));
        for why in &missing.why {
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
    text.push_str(&format!("\n\n{}", summary(noun, trace)));
    text
}

/// `payment 7d…, a test: 20 of 25 hops seen, 1 missing, 4 unknown; began 2026-…`
fn summary(noun: &Noun, trace: &Report) -> String {
    let (seen, missing, unknown) = trace.counts();
    let test = if trace.synthetic { ", a test" } else { "" };
    let hops = listing::count(trace.hops.len(), "hop");
    let mut text = format!("{} {}{test}: {seen} of {hops} seen", noun.one(), trace.id);
    if missing > 0 {
        text.push_str(&format!(", {missing} missing"));
    }
    if unknown > 0 {
        text.push_str(&format!(", {unknown} unknown"));
    }
    if let Some(began) = trace.began {
        text.push_str(&format!("; it began at {}", time(began)));
    }
    text
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// For a machine. `next`: the command that comes next, if something is missing.
pub(crate) fn value(project: &str, trace: &Report, next: Option<&str>) -> Value {
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
        "hops": trace.hops.iter().map(hop_value).collect::<Vec<_>>(),
        "missing": trace.missing.as_ref().map(|missing| json!({
            "hop": missing.hop, "service": missing.service, "why": missing.why, "next": next,
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use proof::flow::{Found, Hop, HopPlace, Missing, Next, Sighting, Step};

    fn trace() -> Report {
        let at = |millis: i64| DateTime::from_timestamp_millis(1_770_000_000_000 + millis);
        let seen = |millis, detail: &str| Sighting {
            at: at(millis),
            after: Some(Duration::from_millis(millis.unsigned_abs())),
            detail: detail.to_owned(),
        };
        let hop = |place, service: &str, found| Hop {
            step: Step {
                place,
                service: service.to_owned(),
            },
            found,
        };
        let service = || "lesson-worker".to_owned();
        Report {
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
            missing: Some(Missing {
                hop: 2,
                service: service(),
                why: vec!["lesson-worker: exited (137)".to_owned()],
                next: Next::Up(service()),
            }),
            unread: vec!["topic paid: about 120000 records".to_owned()],
            ..Report::default()
        }
    }

    #[test]
    fn a_trace_reads_well() {
        let noun = "payment".parse().expect("a noun");
        insta::assert_snapshot!(text(&Console::plain(), &noun, &trace()));
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
