//! A load's figures, as `test-flow --count` shows them, and how far it has come meanwhile.

use serde_json::{Value, json};

use super::{Console, Paint, adverse, json::milliseconds, listing, timeline};
use proof::{
    load::{
        Progress,
        collect::Collected,
        report::{Deviation, Deviations, Histogram, Passed, Report, Source, Spread},
    },
    probe::Cleanup,
};

/// What is going on, in a line.
pub(crate) fn line(progress: &Progress) -> String {
    match progress {
        Progress::Sending { sent, of } => format!("{sent} of {of} payments sent"),
        Progress::Sent { sent, took } => {
            let payments = listing::count(*sent, "payment");
            format!("{payments} sent in {}", listing::duration(*took))
        }
        Progress::Passing { topics } => {
            let each = topics
                .iter()
                .map(|(topic, events)| format!("{topic} {events}"));
            each.collect::<Vec<_>>().join(", ")
        }
        Progress::Passed { payments, took } => format!(
            "{} taken by every consumer group {} later",
            listing::count(*payments, "payment"),
            listing::duration(*took)
        ),
        Progress::Checking { table, done, of } => format!("{table}: {done} of {of} checked"),
        Progress::Cleaning { done, of } => format!("{done} of {of} cleaned up"),
    }
}

/// For a person: a line a hop, what is missing, how long each took, throughput, cleanup.
pub(crate) fn text(console: &Console, report: &Report) -> String {
    let header = ["", "WHERE", "WHAT", "SEEN", "AFTER p50", "p95", "p99"];
    let rows = report.hops.iter().map(|hop| row(console, report, hop));
    let mut text = listing::table(console, &header, rows.collect());
    for (what, amiss) in [("missing", &report.missing), ("too many", &report.surplus)] {
        text.push_str(&of_amiss(console, what, amiss));
    }
    if let Some(pending) = &report.pending {
        let mark = console.out(Paint::Bad, "✗");
        text.push_str(&format!(
            "\n\n{mark} not through in time: {}",
            console.masked(pending)
        ));
    }
    text.push_str(&timeline::unfollowed(console, &report.unfollowed));
    if let Some(poisoned) = &report.poisoned {
        text.push_str(&format!("\n\n{}", adverse::poisoned(console, poisoned)));
    }
    if let Some(redelivery) = &report.redelivery {
        text.push_str(&format!("\n\n{}", adverse::redelivery(console, redelivery)));
    }
    if let Some(latencies) = latencies(console, report) {
        text.push_str(&format!("\n\n{latencies}"));
    }
    text.push_str(&format!("\n\n{}", sending(console, report)));
    if let Some(throughput) = throughput(report) {
        text.push_str(&format!("\n{throughput}"));
    }
    text.push_str(&format!(
        "\n{}",
        timeline::cleanup(console, &report.cleanup)
    ));
    text.push_str(&timeline::kept(&report.kept));
    text.push_str(&timeline::excluded(&report.excluded));
    text
}

fn row(console: &Console, report: &Report, hop: &Passed) -> Vec<String> {
    let (place, what) = timeline::describe(&hop.place);
    let mark = match hop.seen == report.count {
        true => console.out(Paint::Good, "✓"),
        false => console.out(Paint::Bad, "✗"),
    };
    let seen = match hop.copies {
        0 => hop.seen.to_string(),
        1 => format!("{} (+1 copy)", hop.seen),
        copies => format!("{} (+{copies} copies)", hop.seen),
    };
    let mut row = vec![mark, place, what, seen];
    row.extend(percentiles(hop.since_due));
    row
}

fn percentiles(spread: Option<Spread>) -> [String; 3] {
    match spread {
        Some(Spread { p50, p95, p99, .. }) => [p50, p95, p99].map(listing::duration),
        None => ["-"; 3].map(str::to_owned),
    }
}

/// How long each hop took by itself: percentiles, and bars over one scale for all.
fn latencies(console: &Console, report: &Report) -> Option<String> {
    let spreads = || report.hops.iter().filter_map(|hop| hop.since_input);
    let filled = || spreads().flat_map(|s| s.histogram.filled().collect::<Vec<_>>());
    let first = filled().map(|(step, _)| step).min()?;
    let last = filled().map(|(step, _)| step).max()?;
    let bound = |step| Histogram::bound(step).map_or_else(|| "…".to_owned(), listing::duration);
    let scale = match first == last {
        true => format!("to {}", bound(first)),
        false => format!("to {} … {}", bound(first), bound(last)),
    };
    let rows = report.hops.iter().filter_map(|hop| {
        let spread = hop.since_input?;
        let mut row = vec![timeline::describe(&hop.place).0];
        row.extend(percentiles(Some(spread)));
        row.push(bars(&spread.histogram.counts()[first..=last]));
        Some(row)
    });
    let header = ["HOP", "p50", "p95", "p99", &scale];
    Some(listing::table(console, &header, rows.collect()))
}

/// A bar for each count, the largest a whole one; what is there at all can be seen.
fn bars(counts: &[u32]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let bar = |count: &u32| match count {
        0 => '·',
        count => BARS[(*count as usize * BARS.len()).div_ceil(most as usize) - 1],
    };
    counts.iter().map(bar).collect()
}

fn of_amiss(console: &Console, what: &str, amiss: &Deviations) -> String {
    if amiss.total == 0 {
        return String::new();
    }
    let mut text = format!(
        "\n\n{} {what}: {}",
        console.out(Paint::Bad, "✗"),
        amiss.total
    );
    for named in &amiss.named {
        text.push_str(&format!("\n    {}", of_named(named)));
    }
    let more = amiss.total - amiss.named.len();
    if more > 0 {
        text.push_str(&format!("\n    and {more} more"));
    }
    text
}

/// `payment 7d…: tutoring_sessions: 6 of 7 rows`
fn of_named(named: &Deviation) -> String {
    let (place, what) = timeline::describe(&named.place);
    let id = &named.correlation_id;
    match named.rows {
        Some(rows) if named.unchanged > 0 => format!(
            "payment {id}: {place}: {rows} of {what}, {} of which there before and unchanged since",
            named.unchanged
        ),
        Some(rows) => format!("payment {id}: {place}: {rows} of {what}"),
        None => format!("payment {id}: {place}: no {what}"),
    }
}

fn sending(console: &Console, report: &Report) -> String {
    let sent = &report.sent;
    let way = if report.direct {
        "as events"
    } else {
        "by the API"
    };
    let mut text = format!(
        "{} of {} sent {way} in {}",
        sent.accepted,
        listing::count(report.count, "payment"),
        listing::duration(sent.took)
    );
    if let (Some(rate), Some(lateness)) = (report.rate, sent.lateness) {
        let worst = listing::duration(lateness.worst);
        let late = lateness.late;
        text.push_str(&format!(
            ", {rate} a second wanted, {late} late, at most by {worst}"
        ));
    }
    if sent.failed > 0 {
        let mark = console.out(Paint::Bad, "✗");
        text.push_str(&format!(
            "\n{mark} {} failed; what those that had no answer left is not known",
            sent.failed
        ));
        for (why, times) in &sent.reasons {
            let why = console.masked(why);
            text.push_str(&format!("\n    {times} times: {why}"));
        }
    }
    text
}

fn throughput(report: &Report) -> Option<String> {
    let throughput = report.throughput?;
    let by = match throughput.source {
        Source::Commits { .. } => "by the database's commit times",
        Source::Offsets => "by offsets, looked at every 250 ms",
    };
    Some(format!(
        "{:.0} payments/s from first to last effect, {}, {by}",
        throughput.per_second,
        listing::duration(throughput.took)
    ))
}

/// What earlier runs had left.
pub(crate) fn collected(console: &Console, collected: &Collected) -> String {
    let age = match collected.older_than {
        Some(at) => format!("older than {}", at.format("%Y-%m-%dT%H:%M:%SZ")),
        None => "of any age: Postgres does not keep it".to_owned(),
    };
    let rows = timeline::cleanup(console, &Cleanup::Deleted(collected.deleted.clone()));
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
        "cleanup": timeline::cleanup_value(&cleanup),
    })
}

/// For a machine.
pub(crate) fn value(project: &str, report: &Report) -> Value {
    let sent = &report.sent;
    let reasons = sent.reasons.iter();
    json!({
        "project": project,
        "status": if report.is_right() { "pass" } else { "fail" },
        "count": report.count,
        "direct": report.direct,
        "sent": {
            "accepted": sent.accepted,
            "failed": sent.failed,
            "reasons": reasons.map(|(why, n)| json!({ "why": why, "count": n })).collect::<Vec<_>>(),
            "tookMs": milliseconds(sent.took),
            "rate": report.rate,
            "late": sent.lateness.map(|l| l.late),
            "latestMs": sent.lateness.map(|l| milliseconds(l.worst)),
        },
        "throughput": report.throughput.map(|t| {
            let (by, first, last) = match t.source {
                Source::Commits { first, last } => ("commits", Some(first), Some(last)),
                Source::Offsets => ("offsets", None, None),
            };
            json!({
                "paymentsPerSecond": (t.per_second * 10.0).round() / 10.0,
                "tookMs": milliseconds(t.took),
                "by": by, "firstEffectAt": first, "lastEffectAt": last,
            })
        }),
        "hops": report.hops.iter().map(hop_value).collect::<Vec<_>>(),
        "missing": amiss_value(&report.missing),
        "surplus": amiss_value(&report.surplus),
        "pending": report.pending,
        "poison": report.poisoned.as_ref().map(adverse::poisoned_value),
        "redelivery": report.redelivery.as_ref().map(adverse::redelivery_value),
        "cleanup": timeline::cleanup_value(&report.cleanup),
        "kept": report.kept,
        "notFollowed": timeline::unfollowed_value(&report.unfollowed),
        "excluded": report.excluded,
    })
}

fn hop_value(hop: &Passed) -> Value {
    json!({
        "place": timeline::place_value(&hop.place),
        "seen": hop.seen,
        "copies": hop.copies,
        "sinceDueMs": hop.since_due.map(spread_value),
        "sinceInputMs": hop.since_input.map(spread_value),
    })
}

fn spread_value(spread: Spread) -> Value {
    let Spread {
        p50,
        p95,
        p99,
        max,
        histogram,
    } = spread;
    let buckets = histogram.filled().map(
        |(step, count)| json!({ "upTo": Histogram::bound(step).map(milliseconds), "count": count }),
    );
    json!({
        "p50": milliseconds(p50), "p95": milliseconds(p95), "p99": milliseconds(p99),
        "max": milliseconds(max), "buckets": buckets.collect::<Vec<_>>(),
    })
}

fn amiss_value(amiss: &Deviations) -> Value {
    let named = |named: &Deviation| {
        json!({
            "correlationId": named.correlation_id,
            "place": timeline::place_value(&named.place),
            "rows": named.rows,
            "unchanged": named.unchanged,
        })
    };
    json!({
        "total": amiss.total,
        "first": amiss.named.iter().map(named).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use proof::{
        load::report::{Lateness, Outcome, Throughput},
        probe::{hop::HopPlace, unfollowed::Unfollowed},
        stores::postgres::ownership::Deleted,
    };

    /// A hundred values around `ms`.
    fn spread(ms: i64) -> Option<Spread> {
        let values = (1..=100).map(|n| ms * 1000 * (10 + n % 10 * n) / 100);
        Spread::of(values.collect())
    }

    fn report() -> Report {
        let table = HopPlace::Table {
            table: "lessons".to_owned(),
            rows: 7,
        };
        let topic = "paid".to_owned();
        let passed = |place, seen, copies| Passed {
            place,
            seen,
            copies,
            since_due: spread(20),
            since_input: spread(5),
        };
        let amiss = |total, rows| Deviations {
            total,
            named: vec![Deviation {
                correlation_id: "p-1".to_owned(),
                place: table.clone(),
                rows: Some(rows),
                unchanged: 0,
            }],
        };
        Report {
            count: 1000,
            rate: Some(500.0),
            direct: true,
            sent: Outcome {
                accepted: 998,
                failed: 2,
                reasons: vec![("no broker answers".to_owned(), 2)],
                lateness: Some(Lateness {
                    late: 3,
                    worst: Duration::from_millis(25),
                }),
                took: Duration::from_secs(2),
            },
            throughput: Some(Throughput {
                per_second: 498.6,
                took: Duration::from_millis(2002),
                source: Source::Offsets,
            }),
            hops: vec![
                passed(HopPlace::Topic { topic }, 1000, 12),
                passed(table.clone(), 997, 0),
            ],
            missing: amiss(3, 6),
            surplus: amiss(1, 8),
            poisoned: None,
            redelivery: None,
            pending: Some("lesson-worker has yet to take 2 of its events on paid".to_owned()),
            cleanup: Cleanup::Deleted(Deleted {
                rows: vec![("lessons".to_owned(), 6979)],
                left: Vec::new(),
            }),
            kept: Vec::new(),
            unfollowed: Unfollowed::default(),
            excluded: Vec::new(),
        }
    }

    #[test]
    fn bars_show_whatever_is_there() {
        assert_eq!(bars(&[0, 1, 1000, 500, 999]), "·▁█▄█");
        assert_eq!(bars(&[0, 0]), "··");
        assert_eq!(bars(&[3]), "█");
    }

    #[test]
    fn a_load_reads_well() {
        use clap::Parser;
        let cli = crate::cli::Cli::parse_from(["caravan", "--color", "never", "test-flow"]);
        let console = Console::new(&cli.global, true, crate::output::Terminal::default());
        insta::assert_snapshot!(text(&console, &report()));
    }

    #[test]
    fn a_load_keeps_its_names_whatever_the_secrets() {
        let console = Console::plain();
        let secrets = [
            "lessons", "paid", "deleted", "too many", "p-1\"\\", "broker",
        ];
        console.mask(&secrets.map(str::to_owned));
        let mut report = report();
        report.sent.reasons = vec![("no broker answers \"p-1\"\\\"".to_owned(), 2)];
        report.cleanup = Cleanup::Failed("lessons: p-1\"\\".to_owned());
        let text = text(&console, &report);
        for expected in [
            "✓  paid     event   1000 (+12 copies)",
            "too many: 1",
            "payment p-1: lessons: 6 of 7 rows",
            "2 times: no **** answers",
            "NOT cleaned up: ****: ****",
        ] {
            assert!(text.contains(expected), "{expected:?} in:\n{text}");
        }
        assert!(!text.contains("p-1\"\\"), "{text}");
    }

    #[test]
    fn a_machine_gets_all_of_it() {
        let value = value("shop", &report());
        assert_eq!(value["status"], "fail");
        assert_eq!(value["sent"]["late"], 3);
        assert_eq!(value["throughput"]["by"], "offsets");
        let since_input = &value["hops"][1]["sinceInputMs"];
        assert_eq!(since_input["p99"], 40.55);
        let buckets = since_input["buckets"].as_array().expect("a list");
        let counts = buckets.iter().map(|bucket| bucket["count"].as_u64());
        assert_eq!(counts.sum::<Option<u64>>(), Some(100));
        assert_eq!(buckets[0]["upTo"], 0.5);
        assert_eq!(value["missing"]["total"], 3);
        assert_eq!(value["surplus"]["first"][0]["rows"], 8);
        assert_eq!(value["cleanup"]["rows"]["lessons"], 6979);
    }
}
