//! What `dlq list`, `show`, `replay` and `purge` write as JSON.

use std::collections::BTreeMap;

use kafka::record::{Headers, Message};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    list::age,
    replay::skip_reason_name,
    show::{MAX_HEADER, MAX_HEADERS, MAX_VALUE},
    text::state,
};
use crate::output::{
    Console,
    json::{Outcome, Time},
};
use proof::dead_letters::{
    DeadLetter,
    find::Found,
    journal::Status,
    plan::Plan,
    purge::PurgePlan,
    replay,
    summary::{Summary, Tally},
};

/// Dead letters by state.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Counts {
    count: u64,
    waiting: u64,
    in_flight: u64,
    /// Of a replay that did not end; `inFlight` does not count them.
    interrupted: u64,
    replayed: u64,
    /// Of tests.
    dismissed: u64,
    oldest_at: Option<Time>,
    newest_at: Option<Time>,
    /// The record of one of them: TOPIC/PARTITION/OFFSET.
    example: Option<String>,
}

/// The dead letters of a topic.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct List<'a> {
    /// The dead-letter topic.
    topic: &'a str,
    /// Whether all were read.
    complete: bool,
    /// Records of the topic.
    stored: i64,
    /// By source, reason and age.
    groups: Vec<Group<'a>>,
    /// Of further groups: counted, not listed.
    ungrouped: u64,
    /// With `--each`: the newest.
    dead_letters: Vec<Entry<'a>>,
}

/// Dead letters of one source, reason and age.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Group<'a> {
    /// The topic that the messages came from.
    topic: Option<&'a str>,
    /// The consumer group that gave them up.
    group: Option<&'a str>,
    reason: Option<&'a str>,
    age: &'static str,
    #[serde(flatten)]
    counts: Counts,
}

/// A dead letter.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    /// The record of the message, or of the dead letter if that is unknown: TOPIC/PARTITION/OFFSET.
    record: String,
    /// The record of the dead letter.
    dead_letter: String,
    /// The record of the message.
    source: Option<String>,
    group: Option<&'a str>,
    reason: Option<&'a str>,
    error: Option<&'a str>,
    /// Null: not recorded, or no number.
    attempts: Option<u64>,
    failed_at: Option<Time>,
    /// `waiting`, `interrupted`, `in-flight`, `replayed` or `dismissed`.
    state: &'static str,
}

/// One dead letter with its content.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Shown<'a> {
    letter: Entry<'a>,
    /// Dead letters of the same message.
    others: Vec<String>,
    key: Option<Bytes>,
    headers: Vec<Header<'a>>,
    /// Null: a tombstone.
    payload: Option<Bytes>,
}

/// A header.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Header<'a> {
    name: &'a str,
    value: Option<Bytes>,
}

/// Bytes of a record.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Bytes {
    /// Their number.
    bytes: usize,
    /// Null: not UTF-8.
    text: Option<String>,
    /// In hexadecimal digits. Null: they are UTF-8.
    hex: Option<String>,
    /// Whether the end is left out.
    truncated: bool,
}

/// What a replay did.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReplayCounts {
    planned: usize,
    sent: usize,
    succeeded: usize,
    failed_again: usize,
    /// No longer there, or sent by another run.
    gone: usize,
    /// Of an interrupted replay that had been sent already.
    settled: usize,
}

/// A replay.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Replay {
    /// Whether nothing was sent because of `--dry-run` or of the answer to the question.
    dry_run: bool,
    /// What is sent, by topic, groups and reason.
    plan: Vec<Planned>,
    skipped: Vec<Skipped>,
    failed_again: Vec<FailedAgain>,
}

/// Dead letters that are sent to one topic.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Planned {
    topic: String,
    /// The consumer groups that gave them up.
    groups: Vec<String>,
    reason: Option<String>,
    count: usize,
}

/// Dead letters that are not sent.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Skipped {
    /// `replayed`, `inFlight`, `dismissed`, `noSource`, `undeclaredTopic`, `noPartition`, `unreadable` or `failedAgain`.
    why: &'static str,
    count: usize,
    examples: Vec<String>,
}

/// A message that failed again.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct FailedAgain {
    was: String,
    is: String,
    reason: Option<String>,
    error: Option<String>,
}

/// What a purge deletes.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PurgeCounts {
    count: u64,
    replayed: u64,
    in_flight: u64,
    dismissed: u64,
    never_processed: u64,
}

/// A purge.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Purge<'a> {
    /// The dead-letter topic.
    topic: &'a str,
    /// Whether they were deleted; with `--dry-run` they are not.
    deleted: bool,
    partitions: Vec<Cut>,
}

/// What is deleted of a partition.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Cut {
    partition: i32,
    /// The first offset that stays. Null: nothing is deleted.
    delete_before: Option<i64>,
    count: u64,
}

impl Counts {
    fn of(tally: &Tally) -> Self {
        Self {
            count: tally.dead_letters,
            waiting: tally.count(Status::Waiting),
            in_flight: tally.count(Status::InFlight),
            interrupted: tally.count(Status::Interrupted),
            replayed: tally.count(Status::Replayed),
            dismissed: tally.count(Status::Dismissed),
            oldest_at: Time::of(tally.oldest),
            newest_at: Time::of(tally.newest),
            example: tally.example.as_ref().map(ToString::to_string),
        }
    }
}

impl<'a> Entry<'a> {
    fn of(dead_letter: &'a DeadLetter, status: Status) -> Self {
        Self {
            record: dead_letter.id().to_string(),
            dead_letter: dead_letter.own.to_string(),
            source: dead_letter.source.as_ref().map(ToString::to_string),
            group: dead_letter.group.as_deref(),
            reason: dead_letter.reason.as_deref(),
            error: dead_letter.error.as_deref(),
            attempts: dead_letter.attempts.as_deref().and_then(|n| n.parse().ok()),
            failed_at: Time::of(dead_letter.at),
            state: state(status),
        }
    }
}

impl Bytes {
    /// Secrets are masked before anything is cut.
    fn of(console: &Console, all: &[u8], max: usize) -> Self {
        let masked = console.masked_bytes(all);
        let (text, hex) = match str::from_utf8(&masked) {
            Ok(text) => (Some(text[..text.floor_char_boundary(max)].to_owned()), None),
            Err(_) => {
                let shown = masked.iter().take(max);
                (
                    None,
                    Some(shown.map(|byte| format!("{byte:02x}")).collect()),
                )
            }
        };
        Self {
            bytes: all.len(),
            text,
            hex,
            truncated: masked.len() > max,
        }
    }
}

/// Writes `dlq list`.
pub(crate) fn list(console: &Console, topic: &str, summary: &Summary) {
    let groups = summary.kinds.iter().map(|(kind, tally)| Group {
        topic: kind.topic.as_deref(),
        group: kind.group.as_deref(),
        reason: kind.reason.as_deref(),
        age: age(kind.age),
        counts: Counts::of(tally),
    });
    let listed = summary.listed.iter();
    let counts = Counts::of(&summary.all);
    let status = match summary.incomplete {
        true => Outcome::Unknown,
        false => Outcome::doubtful(counts.waiting + counts.interrupted > 0),
    };
    let list = List {
        topic,
        complete: !summary.incomplete,
        stored: summary.total,
        groups: groups.collect(),
        ungrouped: summary.unsorted,
        dead_letters: listed
            .map(|(letter, status)| Entry::of(letter, *status))
            .collect(),
    };
    console.report(status, counts, list);
}

/// Writes `dlq show`.
pub(crate) fn show(console: &Console, found: &Found) {
    let message = &found.message;
    let headers = message.headers().into_iter().flat_map(|h| h.iter());
    let headers = headers.take(MAX_HEADERS).map(|header| Header {
        name: header.key,
        value: header
            .value
            .map(|value| Bytes::of(console, value, MAX_HEADER)),
    });
    let shown = Shown {
        letter: Entry::of(&found.dead_letter, found.status),
        others: found.others.iter().map(|o| o.own.to_string()).collect(),
        key: message.key().map(|key| Bytes::of(console, key, MAX_HEADER)),
        headers: headers.collect(),
        payload: message.payload().map(|p| Bytes::of(console, p, MAX_VALUE)),
    };
    console.report(Outcome::Pass, (), shown);
}

impl Replay {
    /// As it is planned; [`replayed`] writes it after it ended.
    pub(crate) fn of(plan: &Plan, dry_run: bool) -> (ReplayCounts, Self) {
        let mut kinds: BTreeMap<_, usize> = BTreeMap::new();
        for item in &plan.send {
            let groups: Vec<_> = item.groups.iter().map(ToString::to_string).collect();
            let reason = item.reason.as_ref().map(ToString::to_string);
            let kind = (item.source.topic.to_string(), groups, reason);
            *kinds.entry(kind).or_default() += 1;
        }
        let kinds = kinds.into_iter();
        let skipped = plan.skipped.iter().map(|(why, skipped)| Skipped {
            why: skip_reason_name(*why),
            count: skipped.dead_letters,
            examples: skipped.named.iter().map(ToString::to_string).collect(),
        });
        let counts = ReplayCounts {
            planned: plan.send.len(),
            sent: 0,
            succeeded: 0,
            failed_again: 0,
            gone: 0,
            settled: plan.settled.len(),
        };
        let replay = Self {
            dry_run,
            plan: kinds
                .map(|((topic, groups, reason), count)| Planned {
                    topic,
                    groups,
                    reason,
                    count,
                })
                .collect(),
            skipped: skipped.collect(),
            failed_again: Vec::new(),
        };
        (counts, replay)
    }
}

/// Writes the plan of `dlq replay`.
pub(crate) fn replay_planned(console: &Console, plan: &Plan, dry_run: bool) {
    let (counts, replay) = Replay::of(plan, dry_run);
    console.report(Outcome::Pass, counts, replay);
}

/// Writes the outcome of `dlq replay`.
pub(crate) fn replayed(
    console: &Console,
    (planned, replay): (ReplayCounts, Replay),
    outcome: &replay::Outcome,
) {
    let failed_again = outcome.failed_again.iter().map(|back| FailedAgain {
        was: back.was.to_string(),
        is: back.dead_letter.id().to_string(),
        reason: back.dead_letter.reason.clone(),
        error: back.dead_letter.error.clone(),
    });
    let counts = ReplayCounts {
        planned: outcome.planned,
        sent: outcome.sent,
        succeeded: outcome.passed,
        failed_again: outcome.failed_again.len(),
        gone: outcome.gone,
        ..planned
    };
    let replay = Replay {
        failed_again: failed_again.collect(),
        ..replay
    };
    console.report(Outcome::of(counts.failed_again == 0), counts, replay);
}

/// Writes what `dlq purge` deleted or would delete.
pub(crate) fn purge(console: &Console, topic: &str, plan: &PurgePlan, deleted: bool) {
    let partitions = plan.partitions.iter().map(|(partition, cut)| Cut {
        partition: *partition,
        delete_before: cut.before,
        count: cut.dead_letters.values().sum(),
    });
    let counts = PurgeCounts {
        count: plan.dead_letters(),
        replayed: plan.count(Status::Replayed),
        in_flight: plan.count(Status::InFlight),
        dismissed: plan.count(Status::Dismissed),
        never_processed: plan.count(Status::Waiting) + plan.count(Status::Interrupted),
    };
    let purge = Purge {
        topic,
        deleted,
        partitions: partitions.collect(),
    };
    console.report(Outcome::Pass, counts, purge);
}
