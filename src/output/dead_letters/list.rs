use std::time::Duration;

use declaration::units;

use super::text::{masked_word, state, word};
use crate::output::{
    Console,
    control::line,
    listing::{self, Column},
};
use proof::dead_letters::{
    DeadLetter, Selection,
    journal::Status,
    summary::{Age, Kind, MAX_LISTED, Summary, Tally},
};

/// In bytes: a longer error is cut in the table.
const MAX_ERROR: usize = 80;

/// `dlq list` as text.
pub(crate) fn summary(
    console: &Console,
    topic: &str,
    summary: &Summary,
    selection: &Selection,
) -> String {
    if summary.total == 0 {
        return listing::prose(console, &format!("no dead letters on {topic}"));
    }
    if summary.all.dead_letters == 0 && !summary.incomplete {
        return listing::prose(console, &none_selected(topic, summary, selection));
    }
    let mut text = String::new();
    if !summary.kinds.is_empty() {
        let columns = [
            Column::name("TOPIC"),
            Column::name("GROUP").optional(2),
            Column::text("REASON"),
            Column::name("AGE").optional(1),
            Column::number("WAITING"),
            Column::number("IN FLIGHT").optional(4),
            Column::number("REPLAYED").optional(3),
            Column::number("TESTS").optional(5),
            Column::names("EXAMPLE"),
        ];
        let rows = summary
            .kinds
            .iter()
            .map(|(kind, tally)| kind_row(console, kind, tally));
        text = listing::table(console, &columns, rows.collect());
        text.push_str("\n\n");
    }
    if !summary.listed.is_empty() {
        let failed = console.clock.header("FAILED");
        let columns = [
            Column::name("RECORD"),
            Column::name("GROUP").optional(2),
            Column::text("REASON"),
            Column::name("STATE"),
            Column::name(&failed).optional(1),
            Column::line("ERROR"),
        ];
        let rows = summary
            .listed
            .iter()
            .map(|(dead_letter, status)| dead_letter_row(console, dead_letter, *status));
        text.push_str(&listing::table(console, &columns, rows.collect()));
        text.push_str("\n\n");
    }
    text.push_str(&listing::prose(console, &totals(topic, summary)));
    text
}

/// `none of 2 dead letters on dead is older than 1h`.
fn none_selected(topic: &str, summary: &Summary, selection: &Selection) -> String {
    let total = usize::try_from(summary.total).unwrap_or_default();
    let total = listing::count(total, "dead letter");
    let age = |word: &str, age: Duration| format!("{word} than {}", units::exact(age));
    let ages = [
        ("older", selection.older_than),
        ("newer", selection.newer_than),
    ];
    let ages = ages
        .into_iter()
        .filter_map(|(word, limit)| Some(age(word, limit?)));
    let ages: Vec<_> = ages.collect();
    match ages.is_empty() {
        true => format!("none of {total} on {topic} is selected"),
        false => format!("none of {total} on {topic} is {}", ages.join(" and ")),
    }
}

fn totals(topic: &str, summary: &Summary) -> String {
    let all = &summary.all;
    let count = |n: u64, noun| listing::count(usize::try_from(n).unwrap_or(usize::MAX), noun);
    let mut text = format!(
        "{} on {topic}: {} waiting, {} in flight, {} replayed",
        count(all.dead_letters, "dead letter"),
        all.count(Status::Waiting),
        in_flight(all),
        all.count(Status::Replayed),
    );
    let dismissed = all.count(Status::Dismissed);
    if dismissed > 0 {
        text.push_str(&format!(", {dismissed} from tests"));
    }
    if summary.unsorted > 0 {
        let unsorted = summary.unsorted;
        text.push_str(&format!(
            "\n{unsorted} of further kinds are counted but not listed"
        ));
    }
    if summary.listed.len() == MAX_LISTED {
        text.push_str(&format!("\nat most the newest {MAX_LISTED} are named"));
    }
    if summary.incomplete {
        text.push_str(&format!(
            "\nthis is a part of them: the topic has about {}",
            summary.total
        ));
    }
    text
}

fn kind_row(console: &Console, kind: &Kind, tally: &Tally) -> Vec<String> {
    vec![
        word(kind.topic.as_deref()),
        word(kind.group.as_deref()),
        masked_word(console, kind.reason.as_deref()),
        age(kind.age).to_owned(),
        tally.count(Status::Waiting).to_string(),
        in_flight(tally).to_string(),
        tally.count(Status::Replayed).to_string(),
        tally.count(Status::Dismissed).to_string(),
        tally
            .example
            .as_ref()
            .map_or_else(|| "-".to_owned(), ToString::to_string),
    ]
}

fn dead_letter_row(console: &Console, dead_letter: &DeadLetter, status: Status) -> Vec<String> {
    // Masked before it is cut: a part of a secret no longer looks like one.
    let error = console.masked(dead_letter.error.as_deref().unwrap_or("-"));
    vec![
        dead_letter.id().to_string(),
        word(dead_letter.group.as_deref()),
        masked_word(console, dead_letter.reason.as_deref()),
        match status {
            Status::Dismissed => "of a test".to_owned(),
            status => state(status).to_owned(),
        },
        dead_letter
            .at
            .map_or_else(|| "-".to_owned(), |at| console.clock.seconds(at)),
        line(&error[..error.floor_char_boundary(MAX_ERROR)]),
    ]
}

fn in_flight(tally: &Tally) -> u64 {
    tally.count(Status::InFlight) + tally.count(Status::Interrupted)
}

pub(super) fn age(age: Age) -> &'static str {
    match age {
        Age::Hour => "under 1h",
        Age::Day => "1h to 1d",
        Age::Week => "1d to 7d",
        Age::Older => "over 7d",
        Age::Unknown => "unknown",
    }
}
