//! What `test-flow` and `trace` write as JSON. Both have the same hops, and `test-flow` writes the same document
//! for one message, for many, and for `--collect`.

use std::{collections::BTreeMap, time::Duration};

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    super::{
        Console,
        json::{Envelope, Millis, Outcome, Time},
    },
    many::not_watched,
};
use diagnostics::Result;
use proof::{
    dead_letters::DeadLetter,
    flow::{
        Change, Cleanup, Collected, Completion, Found, Hop, HopPlace, Missing, Redelivery, Renamed,
        Unfollowed, many, one, trace,
    },
    stores::postgres::ownership::Deleted,
};

/// What `test-flow` writes.
pub(crate) type TestFlowDocument<'a> = Envelope<Steps, TestFlow<'a>>;
/// What `trace` writes.
pub(crate) type TraceDocument<'a> = Envelope<Steps, Trace<'a>>;

/// How many of the expected hops were seen.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Steps {
    hops: usize,
    /// Hops that were seen; of several messages, of each of them.
    seen: usize,
    missing: usize,
    unknown: usize,
    /// From the first request to the last step that was seen, or to the deadline; of many messages, until all
    /// were sent. Null: unknown.
    took_ms: Option<Millis>,
}

/// The result of a test.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TestFlow<'a> {
    /// Messages; 0: `--collect`.
    count: usize,
    /// Whether the first events were produced instead of requests to the entry service.
    direct: bool,
    /// Null: several messages.
    correlation_id: Option<&'a str>,
    /// Null: several messages.
    began_at: Option<Time>,
    /// Null: one message.
    sent: Option<Sent<'a>>,
    /// Null: one message, or the times of the effects are unknown.
    throughput: Option<Throughput>,
    /// In the expected order.
    hops: Vec<HopEntry<'a>>,
    /// Why the first missing hop is missing. Null: none is, or of several messages.
    first_missing: Option<FirstMissing<'a>>,
    /// Messages that were not seen at a hop, or have too few rows there.
    missing: Deviations<'a>,
    /// Messages that have too many rows.
    surplus: Deviations<'a>,
    /// The bad event of `--poison`.
    poison: Option<Poison<'a>>,
    /// Kinds of hops that are watched of one message only.
    not_watched: Vec<&'static str>,
    /// What the groups had not consumed at the deadline.
    pending: Option<&'a str>,
    /// What changed when every event was sent again.
    redelivery: Option<RedeliveryEntry<'a>>,
    /// Null: rows were not looked at.
    cleanup: Option<CleanupEntry<'a>>,
    /// Of `--collect`: rows written before were deleted. Null: rows of any age.
    older_than: Option<Time>,
    /// Tables whose rows are kept, as declared.
    kept: Vec<&'a str>,
    /// What is declared and not among the hops.
    not_followed: Option<NotFollowed<'a>>,
    /// What the declaration excludes.
    excluded: Vec<&'a str>,
    /// Topics whose records have a wrong time, of one message.
    misdated: Vec<String>,
}

/// What is known of an earlier message.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Trace<'a> {
    correlation_id: &'a str,
    /// Whether all its events are marked as a test's.
    synthetic: bool,
    /// Null: nothing that was seen has a time.
    began_at: Option<Time>,
    /// In the expected order.
    hops: Vec<HopEntry<'a>>,
    /// Why the first missing hop is missing. Null: none is.
    first_missing: Option<FirstMissing<'a>>,
    dead_letters: Vec<DeadLetterEntry<'a>>,
    /// What was read, a line each.
    looked: &'a [String],
    /// What could not be read in time.
    unread: &'a [String],
    /// Sources that do not answer.
    unreachable: &'a [String],
    /// Tables whose query failed.
    failed: &'a [String],
}

/// A hop.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct HopEntry<'a> {
    place: Place<'a>,
    service: &'a str,
    /// `seen`, `missing` or `unknown`; of several messages `seen` if each was seen.
    status: &'static str,
    /// Messages that were seen there.
    seen: usize,
    /// Events beyond one for each message.
    copies: usize,
    /// Of one message.
    sightings: Vec<Sighting<'a>>,
    /// Why it is missing or unknown.
    why: Option<&'a str>,
    /// Of several messages, since each was due.
    since_due_ms: Option<Spread>,
    /// Of several messages, since the event that the service consumes was written.
    since_input_ms: Option<Spread>,
}

/// Where a hop can be seen.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase", tag = "kind")]
enum Place<'a> {
    Entry { service: &'a str },
    Topic { topic: &'a str },
    Log { service: &'a str, stage: String },
    Table { table: &'a str, rows: i64 },
    Cache { service: &'a str, keys: usize },
}

/// One sighting of a hop.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Sighting<'a> {
    at: Option<Time>,
    /// Since the message began.
    after_ms: Option<Millis>,
    detail: &'a str,
}

/// The distribution of a duration, in milliseconds.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Spread {
    p50: Millis,
    p95: Millis,
    p99: Millis,
    max: Millis,
    buckets: Vec<Bucket>,
}

/// A bucket of a histogram.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Bucket {
    /// Null: no bound.
    up_to_ms: Option<Millis>,
    count: u32,
}

/// The first hop that is missing.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct FirstMissing<'a> {
    /// Its place in `hops`, from 0.
    hop: usize,
    service: &'a str,
    /// The states that explain it.
    why: &'a [String],
    /// The next command.
    next: Option<&'a str>,
    /// Of the service since its start; `trace` reads none.
    last_log_lines: &'a [String],
}

/// How messages were sent.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Sent<'a> {
    accepted: usize,
    failed: usize,
    reasons: Vec<Reason<'a>>,
    took_ms: Millis,
    /// Messages per second. Null: as fast as they are accepted.
    rate: Option<f64>,
    /// Messages that were sent later than scheduled.
    late: Option<usize>,
    latest_ms: Option<Millis>,
}

/// Why messages failed.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Reason<'a> {
    why: &'a str,
    count: usize,
}

/// From the first effect to the last.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Throughput {
    /// Messages per second.
    per_second: f64,
    took_ms: Millis,
    /// `commits` or `offsets`.
    by: &'static str,
    first_effect_at: Option<Time>,
    last_effect_at: Option<Time>,
}

/// Messages that are not as declared.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Deviations<'a> {
    /// Messages and hops.
    count: usize,
    /// The first of them.
    first: Vec<Deviation<'a>>,
}

/// One of them.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Deviation<'a> {
    correlation_id: &'a str,
    place: Place<'a>,
    /// Null: an event.
    rows: Option<i64>,
    /// Rows that existed before and have not changed.
    unchanged: i64,
}

/// A bad event.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Poison<'a> {
    status: Outcome,
    /// TOPIC/PARTITION/OFFSET.
    record: String,
    expected_reason: Option<&'a str>,
    dead_letters: Vec<DeadLetterEntry<'a>>,
    took_ms: Millis,
    /// Whether its dead letters are marked as a test's.
    dismissed: bool,
    /// Why they are not.
    left: Option<&'a str>,
}

/// A dead letter.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct DeadLetterEntry<'a> {
    /// TOPIC/PARTITION/OFFSET of the message, or of the dead letter if that is unknown.
    record: String,
    group: Option<&'a str>,
    reason: Option<&'a str>,
    error: Option<&'a str>,
    failed_at: Option<Time>,
}

/// What became of the rows.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct CleanupEntry<'a> {
    /// `nothing`, `kept`, `deleted` or `failed`.
    outcome: &'static str,
    /// Rows that were deleted, by table.
    rows: BTreeMap<&'a str, u64>,
    /// Rows that were not.
    left: Vec<LeftRows<'a>>,
    /// Why nothing was deleted.
    why: Option<String>,
}

/// Rows of a table that were not deleted.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct LeftRows<'a> {
    table: &'a str,
    /// Null: unknown.
    rows: Option<usize>,
    why: &'a str,
}

/// What is declared and not followed.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct NotFollowed<'a> {
    topics: &'a [String],
    services: &'a [String],
    tables: &'a [String],
    hints: &'a [String],
}

/// What changed when every event was sent again.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct RedeliveryEntry<'a> {
    status: Outcome,
    /// Why nothing was sent again.
    why: Option<String>,
    /// Events, by topic.
    sent: BTreeMap<&'a str, usize>,
    /// First events that were also sent with new ids. Null: none.
    under_new_ids: Option<usize>,
    new_ids_skipped: Option<&'a str>,
    /// Rows, by table.
    compared: BTreeMap<&'a str, usize>,
    changed: usize,
    first: Vec<ChangedRows<'a>>,
    pending: Option<&'a str>,
}

/// Rows that changed.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ChangedRows<'a> {
    correlation_id: &'a str,
    table: &'a str,
    /// The number of rows.
    before: usize,
    after: usize,
    /// Null: the rows themselves are unknown.
    gone: Option<&'a [String]>,
    new: Option<&'a [String]>,
}

/// The result of one message. `next`: the next command, if a hop is missing.
pub(crate) fn one<'a>(
    console: &Console,
    report: &'a one::Report,
    next: Option<&'a str>,
) -> TestFlowDocument<'a> {
    let mut flow = TestFlow::ended(&report.completion);
    flow.count = 1;
    flow.direct = report.direct;
    flow.correlation_id = Some(&report.correlation_id);
    flow.began_at = Some(Time(report.began));
    flow.hops = report.hops.iter().map(HopEntry::of).collect();
    let missing = report.missing.as_ref();
    flow.first_missing = missing.map(|m| FirstMissing::of(m, next, &report.last_log_lines));
    flow.misdated = report.misdated();
    flow.missing = Deviations::of_hops(&report.correlation_id, &report.hops);
    let summary = Steps::of(&flow.hops, Some(report.took));
    console.envelope(Outcome::of(report.is_right()), summary, flow)
}

/// The result of many messages.
pub(crate) fn many<'a>(console: &Console, report: &'a many::Report) -> TestFlowDocument<'a> {
    let sent = &report.sent;
    let reasons = sent.reasons.iter();
    let mut flow = TestFlow::ended(&report.completion);
    flow.count = report.count;
    flow.direct = report.direct;
    flow.sent = Some(Sent {
        accepted: sent.accepted,
        failed: sent.failed,
        reasons: reasons
            .map(|(why, count)| Reason { why, count: *count })
            .collect(),
        took_ms: Millis(sent.took),
        rate: report.rate,
        late: sent.lateness.map(|l| l.late),
        latest_ms: sent.lateness.map(|l| Millis(l.worst)),
    });
    flow.throughput = report.throughput.map(Throughput::of);
    let hops = report.hops.iter();
    flow.hops = hops
        .map(|hop| HopEntry::passed(hop, report.count))
        .collect();
    flow.missing = Deviations::of(&report.missing);
    flow.surplus = Deviations::of(&report.surplus);
    flow.poison = report.poisoned.as_ref().map(Poison::of);
    flow.not_watched = not_watched(report, |place| Place::of(place).kind());
    let summary = Steps::of(&flow.hops, Some(sent.took));
    console.envelope(Outcome::of(report.is_right()), summary, flow)
}

/// Which rows of earlier runs were deleted.
pub(crate) fn collected<'a>(console: &Console, collected: &'a Collected) -> TestFlowDocument<'a> {
    let flow = TestFlow {
        cleanup: Some(CleanupEntry::deleted(&collected.deleted)),
        older_than: Time::of(collected.older_than),
        ..TestFlow::default()
    };
    let left = !collected.deleted.left.is_empty();
    console.envelope(Outcome::doubtful(left), Steps::default(), flow)
}

/// What is known of an earlier message. `next`: the next command, if something is missing.
pub(crate) fn trace<'a>(
    console: &Console,
    trace: &'a trace::Report,
    next: Option<&'a str>,
) -> TraceDocument<'a> {
    let (_, missing, _) = trace.counts();
    let all_read =
        trace.unreachable.is_empty() && trace.unread.is_empty() && trace.failed.is_empty();
    let status = match (missing, all_read) {
        (0, true) => Outcome::Pass,
        (0, false) => Outcome::Unknown,
        (_, _) => Outcome::Fail,
    };
    let first_missing = trace.missing.as_ref();
    let data = Trace {
        correlation_id: &trace.id,
        synthetic: trace.synthetic,
        began_at: Time::of(trace.began),
        hops: trace.hops.iter().map(HopEntry::of).collect(),
        first_missing: first_missing.map(|missing| FirstMissing::of(missing, next, &[])),
        dead_letters: trace.dead_letters.iter().map(DeadLetterEntry::of).collect(),
        looked: &trace.looked,
        unread: &trace.unread,
        unreachable: &trace.unreachable,
        failed: &trace.failed,
    };
    let last = data.hops.iter().filter_map(|hop| {
        let first = hop.sightings.first()?;
        first.after_ms.map(|after| after.0)
    });
    let summary = Steps::of(&data.hops, last.max());
    console.envelope(status, summary, data)
}

impl Steps {
    fn of(hops: &[HopEntry<'_>], took: Option<Duration>) -> Self {
        let count = |status| hops.iter().filter(|hop| hop.status == status).count();
        Self {
            hops: hops.len(),
            seen: count("seen"),
            missing: count("missing"),
            unknown: count("unknown"),
            took_ms: Millis::of(took),
        }
    }
}

impl<'a> TestFlow<'a> {
    /// With what does not depend on the number of messages.
    fn ended(completion: &'a Completion) -> Self {
        Self {
            pending: completion.pending.as_deref(),
            redelivery: completion.redelivery.as_ref().map(RedeliveryEntry::of),
            cleanup: Some(CleanupEntry::of(&completion.cleanup)),
            kept: completion.kept.iter().map(String::as_str).collect(),
            not_followed: NotFollowed::of(&completion.unfollowed),
            excluded: completion.excluded.iter().map(String::as_str).collect(),
            ..Self::default()
        }
    }
}

impl<'a> HopEntry<'a> {
    fn of(hop: &'a Hop) -> Self {
        let (status, sightings, why) = match &hop.found {
            Found::Seen(sightings) => ("seen", sightings.as_slice(), None),
            Found::Missing(instead) => ("missing", &[][..], instead.as_deref()),
            Found::Unknown(why) => ("unknown", &[][..], Some(why.as_str())),
        };
        let sightings = sightings.iter().map(|sighting| Sighting {
            at: Time::of(sighting.at),
            after_ms: Millis::of(sighting.after),
            detail: &sighting.detail,
        });
        let sightings: Vec<_> = sightings.collect();
        Self {
            place: Place::of(&hop.step.place),
            service: &hop.step.service,
            status,
            seen: usize::from(status == "seen"),
            copies: 0,
            sightings,
            why,
            since_due_ms: None,
            since_input_ms: None,
        }
    }

    /// Of `count` messages.
    fn passed(hop: &'a many::Passed, count: usize) -> Self {
        Self {
            place: Place::of(&hop.place),
            service: &hop.service,
            status: if hop.seen == count { "seen" } else { "missing" },
            seen: hop.seen,
            copies: hop.copies,
            sightings: Vec::new(),
            why: None,
            since_due_ms: hop.since_due.map(Spread::of),
            since_input_ms: hop.since_input.map(Spread::of),
        }
    }
}

impl<'a> Place<'a> {
    fn of(place: &'a HopPlace) -> Self {
        match place {
            HopPlace::Entry { service } => Self::Entry { service },
            HopPlace::Topic { topic } => Self::Topic { topic },
            HopPlace::Log { service, stage } => Self::Log {
                service,
                stage: stage.to_string(),
            },
            HopPlace::Table { table, rows } => Self::Table { table, rows: *rows },
            HopPlace::Cache { service, keys } => Self::Cache {
                service,
                keys: *keys,
            },
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Entry { .. } => "entry",
            Self::Topic { .. } => "topic",
            Self::Log { .. } => "log",
            Self::Table { .. } => "table",
            Self::Cache { .. } => "cache",
        }
    }
}

impl Spread {
    fn of(spread: many::Spread) -> Self {
        let many::Spread {
            p50,
            p95,
            p99,
            max,
            histogram,
        } = spread;
        let buckets = histogram.filled().map(|(step, count)| Bucket {
            up_to_ms: Millis::of(many::Histogram::bound(step)),
            count,
        });
        Self {
            p50: Millis(p50),
            p95: Millis(p95),
            p99: Millis(p99),
            max: Millis(max),
            buckets: buckets.collect(),
        }
    }
}

impl<'a> FirstMissing<'a> {
    fn of(missing: &'a Missing, next: Option<&'a str>, last_log_lines: &'a [String]) -> Self {
        Self {
            hop: missing.hop,
            service: &missing.service,
            why: &missing.why,
            next,
            last_log_lines,
        }
    }
}

impl Throughput {
    fn of(throughput: many::Throughput) -> Self {
        let (by, first, last) = match throughput.source {
            many::Source::Commits { first, last } => ("commits", Some(first), Some(last)),
            many::Source::Offsets => ("offsets", None, None),
        };
        Self {
            per_second: (throughput.per_second * 10.0).round() / 10.0,
            took_ms: Millis(throughput.took),
            by,
            first_effect_at: Time::of(first),
            last_effect_at: Time::of(last),
        }
    }
}

impl<'a> Deviations<'a> {
    fn of(deviations: &'a many::Deviations) -> Self {
        let first = deviations.named.iter().map(|named| Deviation {
            correlation_id: &named.correlation_id,
            place: Place::of(&named.place),
            rows: named.rows,
            unchanged: named.unchanged,
        });
        Self {
            count: deviations.total,
            first: first.collect(),
        }
    }

    /// Of one message: each hop that is missing.
    fn of_hops(correlation_id: &'a str, hops: &'a [Hop]) -> Self {
        let missing = hops
            .iter()
            .filter(|hop| matches!(hop.found, Found::Missing(_)));
        let first: Vec<_> = missing
            .map(|hop| Deviation {
                correlation_id,
                place: Place::of(&hop.step.place),
                rows: None,
                unchanged: 0,
            })
            .collect();
        Self {
            count: first.len(),
            first,
        }
    }
}

impl<'a> Poison<'a> {
    fn of(poisoned: &'a many::Poisoned) -> Self {
        let dead_letters = poisoned.dead_letters.iter();
        Self {
            status: Outcome::of(poisoned.is_right()),
            record: poisoned.place.to_string(),
            expected_reason: poisoned.expected.as_deref(),
            dead_letters: dead_letters
                .map(|dead_letter| DeadLetterEntry {
                    record: dead_letter.own.to_string(),
                    ..DeadLetterEntry::of(dead_letter)
                })
                .collect(),
            took_ms: Millis(poisoned.took),
            dismissed: !poisoned.dead_letters.is_empty() && poisoned.left.is_none(),
            left: poisoned.left.as_deref(),
        }
    }
}

impl<'a> DeadLetterEntry<'a> {
    fn of(dead_letter: &'a DeadLetter) -> Self {
        Self {
            record: dead_letter.id().to_string(),
            group: dead_letter.group.as_deref(),
            reason: dead_letter.reason.as_deref(),
            error: dead_letter.error.as_deref(),
            failed_at: Time::of(dead_letter.at),
        }
    }
}

impl<'a> CleanupEntry<'a> {
    fn of(cleanup: &'a Cleanup) -> Self {
        let (outcome, why) = match cleanup {
            Cleanup::Nothing => ("nothing", None),
            Cleanup::Kept => ("kept", None),
            Cleanup::Deleted(deleted) => return Self::deleted(deleted),
            Cleanup::Failed(why) => ("failed", Some(why.clone())),
            Cleanup::Left(left) => ("failed", Some(left.to_string())),
        };
        Self {
            outcome,
            rows: BTreeMap::new(),
            left: Vec::new(),
            why,
        }
    }

    fn deleted(deleted: &'a Deleted) -> Self {
        let rows = deleted.rows.iter();
        let left = deleted.left.iter().map(|left| LeftRows {
            table: &left.table,
            rows: left.count(),
            why: left.why,
        });
        Self {
            outcome: "deleted",
            rows: rows.map(|(table, rows)| (table.as_str(), *rows)).collect(),
            left: left.collect(),
            why: None,
        }
    }
}

impl<'a> NotFollowed<'a> {
    fn of(unfollowed: &'a Unfollowed) -> Option<Self> {
        (!unfollowed.is_empty()).then(|| Self {
            topics: &unfollowed.topics,
            services: &unfollowed.services,
            tables: &unfollowed.tables,
            hints: &unfollowed.hints,
        })
    }
}

impl<'a> RedeliveryEntry<'a> {
    fn of(outcome: &'a Result<Redelivery>) -> Self {
        fn counts(counts: &[(String, usize)]) -> BTreeMap<&str, usize> {
            counts.iter().map(|(name, n)| (name.as_str(), *n)).collect()
        }
        let redelivery = match outcome {
            Ok(redelivery) => redelivery,
            Err(why) => {
                return Self {
                    status: Outcome::Fail,
                    why: Some(why.to_string()),
                    sent: BTreeMap::new(),
                    under_new_ids: None,
                    new_ids_skipped: None,
                    compared: BTreeMap::new(),
                    changed: 0,
                    first: Vec::new(),
                    pending: None,
                };
            }
        };
        let (under_new_ids, new_ids_skipped) = match &redelivery.renamed {
            Renamed::Sent(events) => (Some(*events), None),
            Renamed::Skipped(why) => (None, Some(why.as_str())),
        };
        Self {
            status: Outcome::of(redelivery.is_right()),
            why: None,
            sent: counts(&redelivery.sent),
            under_new_ids,
            new_ids_skipped,
            compared: counts(&redelivery.compared),
            changed: redelivery.changes,
            first: redelivery.named.iter().map(ChangedRows::of).collect(),
            pending: redelivery.pending.as_deref(),
        }
    }
}

impl<'a> ChangedRows<'a> {
    fn of(change: &'a Change) -> Self {
        let rows = change.rows.as_ref();
        Self {
            correlation_id: &change.correlation_id,
            table: &change.table,
            before: change.before,
            after: change.after,
            gone: rows.map(|(gone, _)| gone.as_slice()),
            new: rows.map(|(_, new)| new.as_slice()),
        }
    }
}
