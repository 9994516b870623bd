//! Many messages' figures, as `test-flow --count` shows them, and the bad event of `--poison`.

use declaration::Noun;

use super::{
    super::{
        Console, Paint,
        listing::{self, Cell, Column},
    },
    View, counted, describe, ending, next, wrong,
};
use proof::{
    dead_letters::DeadLetter,
    flow::{
        HopPlace,
        many::{Deviation, Deviations, Histogram, Passed, Poisoned, Report, Source, Spread},
    },
};

/// For a person: a row a service, or each step; what is missing, latencies, throughput, how the run ended.
pub(crate) fn text(console: &Console, report: &Report, view: View<'_>) -> String {
    let noun = &view.pipeline.noun();
    let table = match view.all {
        true => steps(console, noun, report),
        false => services(console, report),
    };
    let mut text = String::new();
    for (what, amiss) in [("missing", &report.missing), ("too many", &report.surplus)] {
        text.push_str(&deviations(console, noun, what, amiss));
    }
    if let Some(bad) = &report.poisoned {
        text.push_str(&format!("\n{}\n", poisoned(console, bad)));
    }
    text.push_str(&format!("\n{}", wrong(console, noun, &report.completion)));
    text.push_str(&sending(console, noun, report));
    if let Some(throughput) = throughput(noun, report) {
        text.push_str(&format!("\n{throughput}"));
    }
    text.push_str(&format!("\n{}", ending(console, &report.completion, view)));
    let kinds = not_watched(report, HopPlace::kind);
    if !kinds.is_empty() {
        let lead = format!("\n  not watched with several {}: ", noun.many());
        text.push_str(&listing::paragraph(console, &lead, 4, &kinds.join(", ")));
    }
    let text = listing::prose(console, &text);
    format!("{table}\n{text}{}", next(console, view))
}

/// A row a service: what of its steps was seen of every message; how long after a message was due its last
/// step was seen; how long it took by itself, and the spread of that.
fn services(console: &Console, report: &Report) -> String {
    let mut names: Vec<&str> = Vec::new();
    for hop in &report.hops {
        if !names.contains(&hop.service.as_str()) {
            names.push(&hop.service);
        }
    }
    let (first, last) = report.histogram_bounds().unwrap_or_default();
    let scale = scale(first, last);
    let columns = [
        Column::name(""),
        Column::name("SERVICE"),
        Column::number("SEEN"),
        Column::number("AFTER p50"),
        Column::number("p95").optional(2),
        Column::number("p99"),
        Column::number("OWN p50").optional(1),
        Column::name(&scale).optional(3),
    ];
    let rows = names.into_iter().map(|name| {
        let own = || report.hops.iter().filter(|hop| hop.service == name);
        let seen = own().map(|hop| hop.seen).min().unwrap_or_default();
        let slowest = own().max_by_key(|hop| hop.since_due.map(|spread| spread.p50));
        let after = slowest.and_then(|hop| hop.since_due);
        let alone = slowest.and_then(|hop| hop.since_input);
        let mut row = vec![
            mark(seen == report.count),
            name.into(),
            format!("{seen}/{}", report.count).into(),
        ];
        row.extend(percentiles(after).map(Cell::from));
        row.push(
            alone
                .map_or_else(|| "-".to_owned(), |s| listing::duration(s.p50))
                .into(),
        );
        let bars = alone.map(|s| bars(&s.histogram.counts()[first..=last]));
        row.push(console.marks(&bars.unwrap_or_default()).into());
        row
    });
    listing::table(console, &columns, rows.collect())
}

fn mark(is_right: bool) -> Cell {
    match is_right {
        true => Cell::painted(Paint::Good, "✓"),
        false => Cell::painted(Paint::Bad, "✗"),
    }
}

fn steps(console: &Console, noun: &Noun, report: &Report) -> String {
    let columns = [
        Column::name(""),
        Column::name("WHERE"),
        Column::name("WHAT"),
        Column::name("SEEN"),
        Column::number("AFTER p50"),
        Column::number("p95").optional(1),
        Column::number("p99"),
    ];
    let rows = report.hops.iter().map(|hop| row(noun, report, hop));
    let mut text = listing::table(console, &columns, rows.collect());
    if let Some(latencies) = latencies(console, noun, report) {
        text.push_str(&format!("\n\n{latencies}"));
    }
    text
}

/// `to 0.5ms … 64ms`: the upper bounds of the first and the last bar.
fn scale(first: usize, last: usize) -> String {
    let bound = |step| Histogram::bound(step).map_or_else(|| "…".to_owned(), listing::duration);
    match first == last {
        true => format!("to {}", bound(first)),
        false => format!("to {} … {}", bound(first), bound(last)),
    }
}

fn row(noun: &Noun, report: &Report, hop: &Passed) -> Vec<Cell> {
    let (place, what) = describe(&hop.place, noun);
    let mark = mark(hop.seen == report.count);
    let seen = match hop.copies {
        0 => hop.seen.to_string(),
        1 => format!("{} (+1 copy)", hop.seen),
        copies => format!("{} (+{copies} copies)", hop.seen),
    };
    let mut row = vec![mark, place.into(), what.into(), seen.into()];
    row.extend(percentiles(hop.since_due).map(Cell::from));
    row
}

fn percentiles(spread: Option<Spread>) -> [String; 3] {
    match spread {
        Some(Spread { p50, p95, p99, .. }) => [p50, p95, p99].map(listing::duration),
        None => ["-"; 3].map(str::to_owned),
    }
}

/// How long each hop took by itself: percentiles, and bars over one scale for all.
fn latencies(console: &Console, noun: &Noun, report: &Report) -> Option<String> {
    let (first, last) = report.histogram_bounds()?;
    let scale = scale(first, last);
    let rows = report.hops.iter().filter_map(|hop| {
        let spread = hop.since_input?;
        let mut row = vec![describe(&hop.place, noun).0];
        row.extend(percentiles(Some(spread)));
        row.push(console.marks(&bars(&spread.histogram.counts()[first..=last])));
        Some(row)
    });
    let columns = [
        Column::name("STEP"),
        Column::number("p50"),
        Column::number("p95").optional(1),
        Column::number("p99"),
        Column::name(&scale),
    ];
    Some(listing::table(console, &columns, rows.collect()))
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

fn deviations(console: &Console, noun: &Noun, what: &str, amiss: &Deviations) -> String {
    if amiss.total == 0 {
        return String::new();
    }
    let mut text = format!("\n{} {what}: {}", console.out(Paint::Bad, "✗"), amiss.total);
    for named in &amiss.named {
        text.push_str(&format!("\n    {}", of_named(noun, named)));
    }
    let more = amiss.total - amiss.named.len();
    if more > 0 {
        text.push_str(&format!("\n    and {more} more"));
    }
    text.push('\n');
    text
}

/// `payment 7d…: tutoring_sessions: 6 of 7 rows`
fn of_named(noun: &Noun, named: &Deviation) -> String {
    let (place, what) = describe(&named.place, noun);
    let (id, noun) = (&named.correlation_id, noun.one());
    match named.rows {
        Some(rows) if named.unchanged > 0 => format!(
            "{noun} {id}: {place}: {rows} of {what}, {} of which there before and unchanged since",
            named.unchanged
        ),
        Some(rows) => format!("{noun} {id}: {place}: {rows} of {what}"),
        None => format!("{noun} {id}: {place}: no {what}"),
    }
}

fn sending(console: &Console, noun: &Noun, report: &Report) -> String {
    let sent = &report.sent;
    let way = if report.direct {
        "as events"
    } else {
        "by requests"
    };
    let mut text = format!(
        "{} of {} sent {way} in {}",
        sent.accepted,
        counted(report.count, noun),
        listing::duration(sent.took)
    );
    if let (Some(rate), Some(lateness)) = (report.rate, sent.lateness) {
        let worst = listing::duration(lateness.worst);
        let late = lateness.late;
        text.push_str(&format!(
            ", schedule {rate}/s: {late} sent late, at most by {worst}"
        ));
    }
    if sent.failed > 0 {
        let mark = console.out(Paint::Bad, "✗");
        text.push_str(&format!(
            "\n{mark} {} failed; what the unanswered ones wrote is unknown",
            sent.failed
        ));
        for (why, times) in &sent.reasons {
            let why = console.masked(why);
            text.push_str(&format!("\n    {times} times: {why}"));
        }
    }
    text
}

fn throughput(noun: &Noun, report: &Report) -> Option<String> {
    let throughput = report.throughput?;
    let by = match throughput.source {
        Source::Commits { .. } => "by the database's commit times",
        Source::Offsets => "by offsets, read every 250ms",
    };
    Some(format!(
        "{:.0} {}/s from first to last effect, {}, {by}",
        throughput.per_second,
        noun.many(),
        listing::duration(throughput.took)
    ))
}

/// The dead letters of a bad event.
fn poisoned(console: &Console, poisoned: &Poisoned) -> String {
    let place = &poisoned.place;
    if poisoned.dead_letters.is_empty() {
        let mark = console.out(Paint::Bad, "✗");
        let took = listing::duration(poisoned.took);
        return format!("{mark} bad event {place}: no dead letter within {took}");
    }
    let lines = poisoned.dead_letters.iter().map(|dead_letter| {
        let wrong = poisoned
            .expected
            .as_ref()
            .filter(|expected| Some(*expected) != dead_letter.reason.as_ref())
            .map(|expected| console.masked(expected));
        let bad = wrong.is_some() || dead_letter.reason.is_none();
        let mark = match bad {
            true => console.out(Paint::Bad, "✗"),
            false => console.out(Paint::Good, "✓"),
        };
        let instead = wrong.map(|wrong| format!(", instead of {}", wrong.escape_debug()));
        format!(
            "{mark} bad event {place}: {}{} ({})",
            dead_lettered(console, dead_letter),
            instead.unwrap_or_default(),
            listing::duration(poisoned.took)
        )
    });
    let mut text = lines.collect::<Vec<_>>().join("\n");
    match &poisoned.left {
        None => text.push_str("\n  its dead letter is marked as a test's: `verify` does not warn"),
        Some(why) => {
            let mark = console.out(Paint::Bad, "✗");
            text.push_str(&format!(
                "\n{mark} its dead letter could not be dismissed: {}",
                console.masked(why)
            ));
        }
    }
    text
}

/// `dead-lettered by purchase-worker: not-json: not a JSON object`
fn dead_lettered(console: &Console, dead_letter: &DeadLetter) -> String {
    let mut text = format!(
        "dead-lettered by {}",
        dead_letter.group.as_deref().unwrap_or("an unknown group")
    );
    match &dead_letter.reason {
        Some(reason) => text.push_str(&format!(": {}", console.masked(reason).escape_debug())),
        None => text.push_str(", without a reason"),
    }
    if let Some(error) = &dead_letter.error {
        text.push_str(&format!(": {}", console.masked(error).escape_debug()));
    }
    text
}

/// The kinds of place that are not watched, each once.
pub(super) fn not_watched<T: PartialEq>(report: &Report, kind: impl Fn(&HopPlace) -> T) -> Vec<T> {
    let mut kinds = Vec::new();
    for kind in report.not_watched.iter().map(kind) {
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    kinds
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{super::document, *};
    use crate::output::schemas::published;
    use declaration::testing::shipped;
    use proof::{
        dead_letters::RecordId,
        flow::{
            Cleanup, Completion, Unfollowed,
            many::{Lateness, Outcome, Throughput},
        },
        stores::postgres::ownership::Deleted,
    };

    /// A hundred values around `ms`.
    fn spread(ms: i64) -> Option<Spread> {
        let values = (1..=100).map(|n| ms * 1000 * (10 + n % 10 * n) / 100);
        Spread::of(values.collect())
    }

    fn pipeline() -> declaration::Pipeline {
        let mut pipeline = shipped();
        let noun: Noun = "signup".parse().expect("a noun");
        pipeline.flow.as_mut().expect("a flow").noun = noun;
        pipeline
    }

    fn view(pipeline: &declaration::Pipeline, all: bool) -> View<'_> {
        View {
            pipeline,
            all,
            next: Some("caravan -p shop verify"),
            collect: "caravan -p shop test-flow --collect=0s",
        }
    }

    fn report() -> Report {
        let table = HopPlace::Table {
            table: "lessons".to_owned(),
            rows: 7,
        };
        let topic = "paid".to_owned();
        let passed = |service: &str, place, seen, copies| Passed {
            service: service.to_owned(),
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
                passed("shop", HopPlace::Topic { topic }, 1000, 12),
                passed("lesson-worker", table.clone(), 997, 0),
            ],
            missing: amiss(3, 6),
            surplus: amiss(1, 8),
            poisoned: None,
            not_watched: [("worker", "read"), ("worker", "written")]
                .map(|(service, stage)| HopPlace::Log {
                    service: service.to_owned(),
                    stage: declaration::Pattern::Literal(stage.to_owned()),
                })
                .into(),
            completion: Completion {
                pending: Some("lesson-worker has not consumed 2 of its events on paid".to_owned()),
                redelivery: None,
                cleanup: Cleanup::Deleted(Deleted {
                    rows: vec![("lessons".to_owned(), 6979)],
                    left: Vec::new(),
                }),
                kept: Vec::new(),
                unfollowed: Unfollowed::default(),
                excluded: Vec::new(),
            },
        }
    }

    #[test]
    fn many_read_well_at_every_width() {
        let pipeline = pipeline();
        for all in [false, true] {
            let view = view(&pipeline, all);
            crate::output::widths::expect_readable(|console| text(console, &report(), view));
        }
    }

    #[test]
    fn bars_show_whatever_is_there() {
        assert_eq!(bars(&[0, 1, 1000, 500, 999]), "·▁█▄█");
        assert_eq!(bars(&[0, 0]), "··");
        assert_eq!(bars(&[3]), "█");
    }

    #[test]
    fn a_report_of_many_reads_well() {
        use clap::Parser;
        let cli = crate::cli::Cli::parse_from(["caravan", "--color", "never", "test-flow"]);
        let console = Console::new(
            &cli.global,
            &std::collections::BTreeMap::new(),
            crate::output::Terminal::default(),
            "test-flow",
        );
        let pipeline = pipeline();
        let shown = |all| text(&console, &report(), view(&pipeline, all));
        insta::assert_snapshot!([false, true].map(shown).join("\n\n----\n\n"));
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
        report.completion.cleanup = Cleanup::Failed("lessons: p-1\"\\".to_owned());
        let pipeline = pipeline();
        let text = text(&console, &report, view(&pipeline, true));
        for expected in [
            "✓  paid     event   1000 (+12 copies)",
            "too many: 1",
            "signup p-1: lessons: 6 of 7 rows",
            "2 times: no **** answers",
            "NOT cleaned up: ****: ****",
        ] {
            assert!(text.contains(expected), "{expected:?} in:\n{text}");
        }
        assert!(!text.contains("p-1\"\\"), "{text}");
    }

    #[test]
    fn a_machine_gets_all_of_it() {
        let report = report();
        let document = document::many(&Console::plain(), &report);
        let value = published("test-flow", &document);
        assert_eq!(value["status"], "fail");
        assert_eq!(value["project"], "shop");
        assert_eq!(value["sent"]["late"], 3);
        assert_eq!(value["throughput"]["by"], "offsets");
        let since_input = &value["hops"][1]["sinceInputMs"];
        assert_eq!(since_input["p99"], 40.55);
        let buckets = since_input["buckets"].as_array().expect("a list");
        let counts = buckets.iter().map(|bucket| bucket["count"].as_u64());
        assert_eq!(counts.sum::<Option<u64>>(), Some(100));
        assert_eq!(buckets[0]["upToMs"], 0.5);
        assert_eq!(value["throughput"]["perSecond"], 498.6);
        assert_eq!(value["notWatched"][0], "log");
        assert_eq!(value["missing"]["count"], 3);
        assert_eq!(value["surplus"]["first"][0]["rows"], 8);
        assert_eq!(value["cleanup"]["rows"]["lessons"], 6979);
    }

    #[test]
    fn a_bad_event_reads_well() {
        let console = Console::plain();
        let dead_letter = DeadLetter {
            own: RecordId::new("dead", 0, 3),
            source: Some(RecordId::new("paid", 1, 7)),
            group: Some("lesson-worker".to_owned()),
            reason: Some("not-json".to_owned()),
            error: Some("not a JSON object".to_owned()),
            attempts: None,
            at: None,
        };
        let good = Poisoned {
            place: RecordId::new("paid", 1, 7),
            expected: None,
            dead_letters: vec![dead_letter],
            took: Duration::from_millis(35),
            left: None,
        };
        let other = Poisoned {
            expected: Some("too-old".to_owned()),
            left: Some("another run is at work".to_owned()),
            ..good.clone()
        };
        let none = Poisoned {
            dead_letters: Vec::new(),
            took: Duration::from_secs(30),
            ..good.clone()
        };
        let value = |poisoned: &Poisoned| {
            let report = Report {
                poisoned: Some(poisoned.clone()),
                ..report()
            };
            published("test-flow", &document::many(&console, &report))["poison"].clone()
        };
        assert_eq!(value(&good)["dismissed"], true);
        assert_eq!(value(&none)["status"], "fail");
        let texts = [good, other, none].map(|p| poisoned(&console, &p));
        insta::assert_snapshot!(texts.join("\n\n"));
    }
}
