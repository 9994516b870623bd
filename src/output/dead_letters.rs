//! Dead letters, shown. Whatever stands in one may have been put there by anybody: control
//! characters are escaped, bytes that are no text too, and all of it is bounded.

use chrono::{DateTime, SecondsFormat, Utc};
use rdkafka::{Message, message::Headers};
use serde_json::{Value, json};

use super::{Console, Paint, listing};
use crate::dead_letters::{
    Event, Letter,
    find::Found,
    journal::Status,
    plan::{Left, LeftOut, Plan},
    purge::Cuts,
    replay::Outcome,
    survey::{Age, Kind, MAX_LISTED, Survey, Tally},
};

/// Of a payload, and of each header, no more is shown.
const MAX_VALUE: usize = 64 * 1024;
const MAX_HEADER: usize = 4 * 1024;
/// As many headers are shown.
const MAX_HEADERS: usize = 100;
/// Of an error, in a table.
const MAX_ERROR: usize = 80;
/// Letters that came back are named, so many at most.
const MAX_RETURNED: usize = 20;

/// What a long command is at.
pub(crate) fn event(event: &Event) -> String {
    match event {
        Event::Reading { read, of } => format!("{read} of about {of} dead letters read"),
        Event::AwaitingLease { by } => {
            format!("{by} may be changing these dead letters: waiting till it is known")
        }
        Event::Sent { sent, of } => format!("{sent} of {of} sent"),
        Event::Passed { passed, of } => format!("{passed} of {of} went through"),
    }
}

/// Whether it is worth a line where no line can be rewritten.
pub(crate) fn is_milestone(event: &Event) -> bool {
    match event {
        Event::Reading { read, .. } => read % 50_000 == 0,
        Event::AwaitingLease { .. } | Event::Passed { .. } => true,
        Event::Sent { .. } => false,
    }
}

/// `list`, for a person.
pub(crate) fn survey(console: &Console, topic: &str, survey: &Survey) -> String {
    if survey.total == 0 {
        return format!("no dead letters on {topic}");
    }
    let mut text = String::new();
    if !survey.kinds.is_empty() {
        let header = [
            "TOPIC",
            "GROUP",
            "REASON",
            "AGE",
            "WAITING",
            "IN FLIGHT",
            "REPLAYED",
            "EXAMPLE",
        ];
        let rows = survey
            .kinds
            .iter()
            .map(|(kind, tally)| kind_row(kind, tally));
        text = listing::table(console, &header, rows.collect());
        text.push_str("\n\n");
    }
    if !survey.listed.is_empty() {
        let header = ["PLACE", "GROUP", "REASON", "STATE", "GIVEN UP", "ERROR"];
        let rows = survey
            .listed
            .iter()
            .map(|(letter, status)| letter_row(letter, *status));
        text.push_str(&listing::table(console, &header, rows.collect()));
        text.push_str("\n\n");
    }
    text.push_str(&summary(topic, survey));
    text
}

fn summary(topic: &str, survey: &Survey) -> String {
    let all = &survey.all;
    let count = |n: u64, noun| listing::count(usize::try_from(n).unwrap_or(usize::MAX), noun);
    let mut text = format!(
        "{} on {topic}: {} waiting, {} in flight, {} replayed",
        count(all.letters, "dead letter"),
        all.count(Status::Waiting),
        in_flight(all),
        all.count(Status::Replayed),
    );
    if survey.unsorted > 0 {
        let unsorted = survey.unsorted;
        text.push_str(&format!(
            "\n{unsorted} of further kinds are counted, not listed"
        ));
    }
    if survey.listed.len() == MAX_LISTED {
        text.push_str(&format!("\nnamed are the newest {MAX_LISTED} at most"));
    }
    if survey.incomplete {
        text.push_str(&format!(
            "\nthis is a part: about {} stand there",
            survey.total
        ));
    }
    text
}

fn kind_row(kind: &Kind, tally: &Tally) -> Vec<String> {
    vec![
        word(kind.topic.as_deref()),
        word(kind.group.as_deref()),
        word(kind.reason.as_deref()),
        age(kind.age).to_owned(),
        tally.count(Status::Waiting).to_string(),
        in_flight(tally).to_string(),
        tally.count(Status::Replayed).to_string(),
        tally
            .example
            .as_ref()
            .map_or_else(|| "-".to_owned(), ToString::to_string),
    ]
}

fn letter_row(letter: &Letter, status: Status) -> Vec<String> {
    let error = letter.error.as_deref().unwrap_or("-");
    vec![
        letter.id().to_string(),
        word(letter.group.as_deref()),
        word(letter.reason.as_deref()),
        state(status).to_owned(),
        letter.at.map_or_else(|| "-".to_owned(), time),
        line(&error[..error.floor_char_boundary(MAX_ERROR)]),
    ]
}

fn in_flight(tally: &Tally) -> u64 {
    tally.count(Status::InFlight) + tally.count(Status::Interrupted)
}

fn age(age: Age) -> &'static str {
    match age {
        Age::Hour => "under 1h",
        Age::Day => "1h to 1d",
        Age::Week => "1d to 7d",
        Age::Older => "over 7d",
        Age::Unknown => "unknown",
    }
}

fn state(status: Status) -> &'static str {
    match status {
        Status::Waiting => "waiting",
        Status::Interrupted => "interrupted",
        Status::InFlight => "in-flight",
        Status::Replayed => "replayed",
    }
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn word(text: Option<&str>) -> String {
    text.map_or_else(|| "-".to_owned(), line)
}

/// `list`, for a machine.
pub(crate) fn survey_value(project: &str, topic: &str, survey: &Survey) -> Value {
    let kinds = survey.kinds.iter().map(|(kind, tally)| {
        let mut value = tally_value(tally);
        value["topic"] = json!(kind.topic);
        value["group"] = json!(kind.group);
        value["reason"] = json!(kind.reason);
        value["age"] = json!(age(kind.age));
        value
    });
    let listed = survey
        .listed
        .iter()
        .map(|(letter, status)| summary_value(letter, *status));
    json!({
        "project": project,
        "topic": topic,
        "complete": !survey.incomplete,
        "stored": survey.total,
        "all": tally_value(&survey.all),
        "groups": kinds.collect::<Vec<_>>(),
        "ungrouped": survey.unsorted,
        "deadLetters": listed.collect::<Vec<_>>(),
    })
}

fn tally_value(tally: &Tally) -> Value {
    json!({
        "letters": tally.letters,
        "waiting": tally.count(Status::Waiting),
        "inFlight": tally.count(Status::InFlight),
        "interrupted": tally.count(Status::Interrupted),
        "replayed": tally.count(Status::Replayed),
        "oldest": tally.oldest.map(time),
        "newest": tally.newest.map(time),
        "example": tally.example.as_ref().map(ToString::to_string),
    })
}

fn summary_value(letter: &Letter, status: Status) -> Value {
    json!({
        "place": letter.id().to_string(),
        "deadLetter": letter.own.to_string(),
        "source": letter.source.as_ref().map(ToString::to_string),
        "group": letter.group,
        "reason": letter.reason,
        "error": letter.error,
        "attempts": letter.attempts,
        "at": letter.at.map(time),
        "state": state(status),
    })
}

/// `show`, for a person.
pub(crate) fn letter(console: &Console, found: &Found) -> String {
    let (letter, message) = (&found.letter, &found.message);
    let mut text = String::new();
    let mut row = |name: &str, value: &str| text.push_str(&format!("{name:<13}{value}\n"));
    row("dead letter", &letter.own.to_string());
    row(
        "source",
        &letter
            .source
            .as_ref()
            .map_or_else(|| "not said".to_owned(), ToString::to_string),
    );
    row("group", &word(letter.group.as_deref()));
    row("reason", &word(letter.reason.as_deref()));
    row("error", &word(letter.error.as_deref()));
    row("attempts", &word(letter.attempts.as_deref()));
    row("given up", &letter.at.map_or_else(|| "-".to_owned(), time));
    row("state", state(found.status));
    for other in &found.others {
        row(
            "also",
            &format!("{} (group {})", other.own, word(other.group.as_deref())),
        );
    }
    row(
        "key",
        &message.key().map_or_else(
            || "none".to_owned(),
            |k| bytes(console, k, MAX_HEADER, false),
        ),
    );
    text.push_str(&format!("\n{}\n", console.out(Paint::Strong, "headers")));
    let headers: Vec<_> = message
        .headers()
        .into_iter()
        .flat_map(|h| h.iter())
        .collect();
    for header in headers.iter().take(MAX_HEADERS) {
        let value = header.value.map_or_else(
            || "none".to_owned(),
            |value| bytes(console, value, MAX_HEADER, false),
        );
        text.push_str(&format!("  {}: {value}\n", line(header.key)));
    }
    if headers.len() > MAX_HEADERS {
        text.push_str(&format!("  and {} more\n", headers.len() - MAX_HEADERS));
    }
    let payload = message.payload();
    let size = payload.map_or_else(
        || "none (a tombstone)".to_owned(),
        |p| listing::count(p.len(), "byte"),
    );
    text.push_str(&format!(
        "\n{}\n",
        console.out(Paint::Strong, &format!("payload: {size}"))
    ));
    if let Some(payload) = payload {
        text.push_str(&bytes(console, payload, MAX_VALUE, true));
    }
    text.trim_end().to_owned()
}

/// `show`, for a machine.
pub(crate) fn letter_value(console: &Console, project: &str, found: &Found) -> Value {
    let message = &found.message;
    let headers = message.headers().into_iter().flat_map(|h| h.iter());
    let headers = headers.take(MAX_HEADERS).map(|header| {
        json!({
            "name": header.key,
            "value": header.value.map(|value| bytes_value(console, value, MAX_HEADER)),
        })
    });
    let mut value = summary_value(&found.letter, found.status);
    value["project"] = json!(project);
    value["others"] = found
        .others
        .iter()
        .map(|o| json!(o.own.to_string()))
        .collect();
    value["key"] = json!(
        message
            .key()
            .map(|key| bytes_value(console, key, MAX_HEADER))
    );
    value["headers"] = headers.collect();
    value["payload"] = json!(
        message
            .payload()
            .map(|p| bytes_value(console, p, MAX_VALUE))
    );
    value
}

/// Text where it is text, else hexadecimal digits.
fn bytes_value(console: &Console, all: &[u8], max: usize) -> Value {
    let masked = console.masked_bytes(all);
    let truncated = masked.len() > max;
    let size = all.len();
    match str::from_utf8(&masked) {
        Ok(text) => {
            let text = &text[..text.floor_char_boundary(max)];
            json!({ "bytes": size, "text": text, "truncated": truncated })
        }
        Err(_) => {
            let shown = masked.iter().take(max);
            let hex: String = shown.map(|byte| format!("{byte:02x}")).collect();
            json!({ "bytes": size, "hex": hex, "truncated": truncated })
        }
    }
}

/// Bytes for a person; secrets are masked before anything is cut or escaped.
fn bytes(console: &Console, all: &[u8], max: usize, lines: bool) -> String {
    let masked = console.masked_bytes(all);
    let mut text = escaped(&masked[..masked.len().min(max)], lines);
    if masked.len() > max {
        text.push_str(&format!("\n… {} more bytes", masked.len() - max));
    }
    text
}

/// One line of text without anything that a terminal would act on.
fn line(text: &str) -> String {
    escaped(text.as_bytes(), false)
}

/// `\xff` for a byte that is no text, `\u{1b}` for a character that a terminal acts on; with
/// `lines`, line ends and tabs stay.
fn escaped(bytes: &[u8], lines: bool) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            let kept = lines && matches!(c, '\n' | '\t');
            // Controls, and what turns the direction of writing around.
            let acts = c.is_control()
                || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            if acts && !kept {
                text.extend(c.escape_default());
            } else {
                text.push(c);
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// What a replay is about to do, as a question without its mark.
pub(crate) fn what(plan: &Plan) -> String {
    let letters = listing::count(plan.send.len(), "dead letter");
    format!("Send {letters} back to where they came from")
}

/// A replay's plan, for a person.
pub(crate) fn plan(console: &Console, plan: &Plan) -> String {
    let mut text = String::new();
    let kinds = plan.kinds();
    if !kinds.is_empty() {
        let rows = kinds.into_iter().map(|((topic, groups, reason), letters)| {
            vec![
                topic.to_owned(),
                line(&groups),
                line(reason),
                letters.to_string(),
            ]
        });
        let header = ["TO TOPIC", "FOR GROUP", "REASON", "LETTERS"];
        text = listing::table(console, &header, rows.collect());
        text.push_str("\n\n");
    }
    let sends = match plan.send.len() {
        0 => "nothing to send".to_owned(),
        n => format!("to send: {}", listing::count(n, "dead letter")),
    };
    text.push_str(&sends);
    if !plan.settled.is_empty() {
        let found = listing::count(plan.settled.len(), "interrupted replay");
        text.push_str(&format!("\n{found} turned out to have been sent"));
    }
    for (why, left) in &plan.left_out {
        text.push_str(&format!("\n{}", left_out(*why, left)));
    }
    text
}

fn left_out(why: LeftOut, left: &Left) -> String {
    let mut names: Vec<_> = left.named.iter().map(ToString::to_string).collect();
    if left.letters > names.len() {
        names.push("…".to_owned());
    }
    format!(
        "left out: {} {} ({})",
        left.letters,
        reason(why),
        names.join(", ")
    )
}

fn reason(why: LeftOut) -> &'static str {
    match why {
        LeftOut::Replayed => "replayed before, passed by the group",
        LeftOut::InFlight => "replayed before, not yet passed by the group",
        LeftOut::NoSource => "without headers that say where the message stood",
        LeftOut::Undeclared => "of a topic that the declaration does not name",
        LeftOut::NoPartition => "of a partition that does not exist",
    }
}

fn left_out_name(why: LeftOut) -> &'static str {
    match why {
        LeftOut::Replayed => "replayed",
        LeftOut::InFlight => "inFlight",
        LeftOut::NoSource => "noSource",
        LeftOut::Undeclared => "undeclaredTopic",
        LeftOut::NoPartition => "noPartition",
    }
}

/// Why letters are left out, for a machine.
pub(crate) fn left_out_value(plan: &Plan) -> Value {
    let left = plan.left_out.iter().map(|(why, left)| {
        let named: Vec<_> = left.named.iter().map(ToString::to_string).collect();
        json!({ "why": left_out_name(*why), "letters": left.letters, "examples": named })
    });
    left.collect()
}

/// A replay's plan, for a machine.
pub(crate) fn plan_value(project: &str, plan: &Plan, dry_run: bool) -> Value {
    let kinds = plan.kinds().into_iter().map(|((topic, groups, reason), letters)| {
        json!({ "topic": topic, "groups": groups, "reason": reason, "letters": letters })
    });
    json!({
        "project": project,
        "dryRun": dry_run,
        "planned": plan.send.len(),
        "plan": kinds.collect::<Vec<_>>(),
        "settled": plan.settled.len(),
        "leftOut": left_out_value(plan),
        "sent": 0,
        "wentThrough": 0,
        "cameBack": [],
    })
}

/// How a replay ended, for a person.
pub(crate) fn outcome(console: &Console, outcome: &Outcome) -> String {
    let Outcome {
        planned,
        sent,
        passed,
        returned,
        gone,
    } = outcome;
    let letters = listing::count(*planned, "dead letter");
    if returned.is_empty() {
        let mark = console.out(Paint::Good, "✓");
        let gone = match gone {
            0 => String::new(),
            n => format!("; {n} were no longer there, or sent by another run"),
        };
        return format!("{mark} sent {sent} of {letters}: {passed} went through{gone}");
    }
    let mark = console.out(Paint::Bad, "✗");
    let mut text = format!(
        "{mark} sent {sent} of {letters}: {passed} went through, {} came straight back; \
         nothing more was sent",
        returned.len()
    );
    for back in returned.iter().take(MAX_RETURNED) {
        text.push_str(&format!(
            "\n    {} is {} now: {}: {}",
            back.was,
            back.letter.id(),
            word(back.letter.reason.as_deref()),
            word(back.letter.error.as_deref()),
        ));
    }
    if returned.len() > MAX_RETURNED {
        text.push_str(&format!("\n    and {} more", returned.len() - MAX_RETURNED));
    }
    text
}

/// How a replay ended, for a machine.
pub(crate) fn outcome_value(project: &str, outcome: &Outcome, left_out: Value) -> Value {
    let returned = outcome.returned.iter().map(|back| {
        json!({
            "was": back.was.to_string(),
            "is": back.letter.id().to_string(),
            "reason": back.letter.reason,
            "error": back.letter.error,
        })
    });
    json!({
        "project": project,
        "dryRun": false,
        "planned": outcome.planned,
        "leftOut": left_out,
        "sent": outcome.sent,
        "wentThrough": outcome.passed,
        "gone": outcome.gone,
        "cameBack": returned.collect::<Vec<_>>(),
    })
}

/// What a purge loses.
pub(crate) fn lost(cuts: &Cuts) -> String {
    let letters = usize::try_from(cuts.letters()).unwrap_or(usize::MAX);
    format!(
        "{} will be lost for ever: {}",
        listing::count(letters, "dead letter"),
        by_status(cuts)
    )
}

fn by_status(cuts: &Cuts) -> String {
    let replayed = cuts.count(Status::Replayed);
    let in_flight = cuts.count(Status::InFlight);
    let never = cuts.count(Status::Waiting) + cuts.count(Status::Interrupted);
    format!("{replayed} replayed, {in_flight} in flight, {never} never processed")
}

/// What a purge did, or would do, for a person.
pub(crate) fn cuts(cuts: &Cuts, deleted: bool) -> String {
    let letters = usize::try_from(cuts.letters()).unwrap_or(usize::MAX);
    let count = listing::count(letters, "dead letter");
    match (letters, deleted) {
        (0, _) => "nothing to delete".to_owned(),
        (_, true) => format!("deleted {count}: {}", by_status(cuts)),
        (_, false) => format!("would delete {count}: {}", by_status(cuts)),
    }
}

/// What a purge did, or would do, for a machine.
pub(crate) fn cuts_value(project: &str, topic: &str, cuts: &Cuts, deleted: bool) -> Value {
    let partitions = cuts.partitions.iter().map(|(partition, cut)| {
        json!({
            "partition": partition,
            "deleteBefore": cut.before,
            "letters": cut.letters.values().sum::<u64>(),
        })
    });
    json!({
        "project": project,
        "topic": topic,
        "deleted": deleted,
        "letters": cuts.letters(),
        "replayed": cuts.count(Status::Replayed),
        "inFlight": cuts.count(Status::InFlight),
        "neverProcessed": cuts.count(Status::Waiting) + cuts.count(Status::Interrupted),
        "partitions": partitions.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_acts_on_gets_through() {
        let bytes = b"a\x1b[2J\n\xff\xfe\tb\x00\xc2\x9b\xe2\x80\xae";
        assert_eq!(
            escaped(bytes, false),
            r"a\u{1b}[2J\n\xff\xfe\tb\u{0}\u{9b}\u{202e}"
        );
        assert_eq!(escaped(b"a\n\tb\r", true), "a\n\tb\\r");
        assert_eq!(escaped("é ✓".as_bytes(), false), "é ✓");
    }
}
