//! An earlier message, as `trace` shows it.

use declaration::Noun;

use super::{
    super::{
        Console, Paint,
        listing::{self, Column},
    },
    HopRow, View, next,
    services::{self, Service, stopped},
};
use proof::flow::{
    Found,
    trace::{Progress, Report},
};

/// What is in progress, in a line.
pub(crate) fn line(progress: &Progress) -> String {
    match progress {
        Progress::Reading { topic, read, of } => format!("{topic}: {read} of {of} records read"),
        Progress::Lines(lines) => format!("{} found", listing::count(*lines, "log line")),
    }
}

/// For a person: a row a service, or each step; why the first is missing, what was not read; masked.
pub(crate) fn text(console: &Console, trace: &Report, view: View<'_>) -> String {
    let noun = view.pipeline.noun();
    let services = Service::of(view.pipeline, &trace.hops);
    let missing = trace.missing.as_ref();
    let table = match view.all {
        true => steps(console, &noun, trace),
        false => services::table(console, &services, missing, true),
    };
    let title = listing::prose(console, &title(console, &noun, trace));
    let mut text = String::new();
    let doubt = console.out(Paint::Doubtful, "!");
    let groups = [
        ("no answer", &trace.unreachable),
        ("not read", &trace.unread),
        ("not searched", &trace.failed),
    ];
    for (what, lines) in groups {
        for line in lines {
            let lead = format!("\n{doubt} {what}: ");
            text.push_str(&listing::paragraph(
                console,
                &lead,
                4,
                &console.masked(line),
            ));
        }
    }
    if trace.unreachable.len() + trace.unread.len() + trace.failed.len() > 0 {
        text.push('\n');
    }
    let counts = summary(trace);
    let more = match view.more() {
        "" => String::new(),
        more => format!("        {more}"),
    };
    match missing {
        Some(missing) => {
            let hop = &trace.hops[missing.hop];
            text.push_str(&format!(
                "\n{}",
                stopped(console, &services, missing, hop, (&counts, &[]))
            ));
            if !more.is_empty() {
                text.push_str(&format!("\n  {}", view.more()));
            }
        }
        None => {
            let complete = trace.counts().2 == 0;
            let mark = match complete {
                true => console.out(Paint::Good, "✓"),
                false => console.out(Paint::Faint, "?"),
            };
            text.push_str(&format!("\n{mark} {counts}{more}"));
        }
    }
    let text = listing::prose(console, &text);
    format!("{title}\n\n{table}\n{text}{}", next(console, view))
}

fn steps(console: &Console, noun: &Noun, trace: &Report) -> String {
    let rows = trace.hops.iter().map(|hop| {
        let row = HopRow::of(console, noun, hop);
        let at = row.first.and_then(|first| first.at);
        let at = at.map_or_else(|| "-".to_owned(), |at| console.clock.milliseconds(at));
        let after = row.after();
        vec![row.mark, at, after, row.place, row.what, row.detail]
    });
    let at = console.clock.header("AT");
    let columns = [
        Column::name(""),
        Column::name(&at).optional(1),
        Column::number("AFTER"),
        Column::name("WHERE"),
        Column::name("WHAT"),
        Column::text("DETAIL"),
    ];
    listing::table(console, &columns, rows.collect())
}

/// `payment 7d…, a test, began 2026-…`
fn title(console: &Console, noun: &Noun, trace: &Report) -> String {
    let id = console.out(Paint::Strong, &trace.id);
    let test = if trace.synthetic { ", a test" } else { "" };
    let began = trace.began.map(|began| console.clock.zoned(began));
    let began = began.map_or_else(String::new, |began| format!(", began {began}"));
    format!("{} {id}{test}{began}", noun.one())
}

/// `20 of 25 steps seen, 4 unknown, 98ms`
fn summary(trace: &Report) -> String {
    let (seen, _, unknown) = trace.counts();
    let mut text = format!(
        "{seen} of {} seen",
        listing::count(trace.hops.len(), "step")
    );
    if unknown > 0 {
        text.push_str(&format!(", {unknown} unknown"));
    }
    let after = trace.hops.iter().filter_map(|hop| match &hop.found {
        Found::Seen(sightings) => sightings.first()?.after,
        Found::Missing(_) | Found::Unknown(_) => None,
    });
    if let Some(last) = after.max() {
        text.push_str(&format!(", {}", listing::duration(last)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use chrono::DateTime;
    use declaration::testing::shipped;

    use super::super::document;
    use crate::output::schemas::published;
    use proof::flow::{Hop, HopPlace, Missing, Next, Sighting, Step};

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
                    Found::Seen(vec![seen(0, "paid/2/17"), seen(90_000, "paid/2/40")]),
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
        let pipeline = shipped();
        let view = |all| View {
            pipeline: &pipeline,
            all,
            next: Some("caravan -p shop up lesson-worker"),
            collect: "caravan -p shop test-flow --collect=0s",
        };
        let shown = |all| text(&Console::plain(), &trace(), view(all));
        insta::assert_snapshot!([false, true].map(shown).join("\n\n----\n\n"));
    }

    #[test]
    fn a_trace_reads_at_every_width() {
        let pipeline = shipped();
        for all in [false, true] {
            let view = View {
                pipeline: &pipeline,
                all,
                next: Some("caravan -p shop up lesson-worker"),
                collect: "caravan -p shop test-flow --collect=0s",
            };
            crate::output::widths::expect_readable(|console| text(console, &trace(), view));
        }
    }

    #[test]
    fn a_machine_gets_all_of_it() {
        let trace = trace();
        let next = Some("caravan up lesson-worker");
        let value = published("trace", &document::trace(&Console::plain(), &trace, next));
        assert_eq!(value["status"], "fail");
        assert_eq!(value["hops"][0]["sightings"][1]["afterMs"], 90_000);
        assert_eq!(value["hops"][1]["status"], "unknown");
        assert_eq!(value["hops"][2]["why"], "3 of 7 rows");
        assert_eq!(value["firstMissing"]["next"], "caravan up lesson-worker");
        assert_eq!(value["summary"]["unknown"], 1);
    }
}
