//! Invariants of the database: no counterexample is older than the grace of its rule. A finding names the
//! records whose replay would repair them.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    checks::{
        check::Check,
        context::CheckContext,
        finding::Outcome,
        ids::{self, CheckId},
        observe::{
            ObservationError,
            invariants::{self as observe, Trace},
        },
    },
    stores::postgres::Counterexample,
};
use declaration::{Invariant, NO_LIMIT, Pipeline};

/// How many counterexamples are shown.
const SHOWN: usize = 10;

/// The time limit for connecting and for finding records of counterexamples.
const BESIDES: Duration = Duration::from_secs(10);

/// Of how many counterexamples the record is looked for.
const TRACED: usize = 3;

pub(super) fn checks(pipeline: &Pipeline) -> Vec<Check<'_>> {
    let rules = pipeline.invariants.iter().enumerate();
    let checks = rules.map(|(turn, rule)| {
        let holds = async move |context: &CheckContext<'_>| {
            let outcome = holds(context, rule, turn).await;
            outcome.unwrap_or_else(|why| Outcome::fail(format!("unknown: {why}")))
        };
        Check::new(ids::INVARIANT.of(&rule.name), rule.says.clone(), holds)
            .within(rule.timeout + BESIDES)
            .needs(ids::database(pipeline))
            .explained_by(explained_by(pipeline, rule))
    });
    checks.collect()
}

/// The tables that the query reads, and the consumers of the topic that a replay would use.
fn explained_by(pipeline: &Pipeline, rule: &Invariant) -> Vec<CheckId> {
    let reads = |name: &str| {
        let mut words = rule.sql.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        words.any(|word| word == name)
    };
    let tables = pipeline.tables.iter().map(|t| t.name.as_str());
    let blocked = ids::unblocked(pipeline);
    let mut explained: Vec<_> = tables
        .filter(|name| reads(name))
        .filter_map(|name| ids::table(pipeline, name))
        .chain(blocked)
        .collect();
    let Some(replay) = &rule.replay else {
        return explained;
    };
    let consumers = pipeline.services.iter();
    for service in consumers.filter(|s| s.consumes.contains(&replay.topic)) {
        explained.push(ids::deployed(pipeline, service));
        explained.extend(ids::group(service, ids::ASSIGNED));
        explained.extend(ids::group(service, ids::LAG));
        explained.extend(ids::effects(pipeline, service));
    }
    explained
}

async fn holds(
    context: &CheckContext<'_>,
    rule: &Invariant,
    turn: usize,
) -> Result<Outcome, ObservationError> {
    let observed = observe::counterexamples(&context.observed, rule, turn).await?;
    let (broken, in_flight) = sift(&observed.found, rule, observed.at);
    if broken.is_empty() {
        let of = looked_at(rule, observed.within);
        return Ok(Outcome::pass(match in_flight {
            0 => format!("holds{of}"),
            n => format!("holds{of}; {n} in flight"),
        }));
    }
    let first = &broken[..broken.len().min(TRACED)];
    let traces = observe::traces(&context.observed, rule, turn, first).await?;
    let outcome = judge(rule, &broken, &traces, observed.at);
    let records = traces.iter().filter_map(|trace| trace.record.as_ref().ok());
    let records: Vec<&str> = records.map(String::as_str).collect();
    Ok(outcome.hint(match records.as_slice() {
        [] => context.command("test-flow"),
        records => format!(
            "produce again, with the same key and value: {}",
            records.join(", ")
        ),
    }))
}

/// The span that was queried, unless it is all of time.
fn looked_at(rule: &Invariant, within: Option<Duration>) -> String {
    match (within, rule.within) {
        (None | Some(NO_LIMIT), _) | (_, None) => String::new(),
        (Some(within), Some(declared)) if within < declared => format!(
            " for the last {} ({} take too long)",
            span(within),
            span(declared)
        ),
        (Some(within), Some(_)) => format!(" for the last {}", span(within)),
    }
}

/// More than ten minutes are rounded down to minutes.
fn span(span: Duration) -> String {
    match span.as_secs() {
        s if s.is_multiple_of(3600) => format!("{} h", s / 3600),
        s if s.is_multiple_of(60) || s > 600 => format!("{} m", s / 60),
        s => format!("{s} s"),
    }
}

/// The counterexamples that are older than the rule's grace, and how many are younger.
fn sift<'a>(
    found: &'a [Counterexample],
    rule: &Invariant,
    now: DateTime<Utc>,
) -> (Vec<&'a Counterexample>, usize) {
    let grace = TimeDelta::from_std(rule.grace).unwrap_or(TimeDelta::MAX);
    let broken: Vec<_> = found.iter().filter(|c| now - c.since > grace).collect();
    let in_flight = found.len() - broken.len();
    (broken, in_flight)
}

fn judge(
    rule: &Invariant,
    broken: &[&Counterexample],
    traces: &[Trace],
    now: DateTime<Utc>,
) -> Outcome {
    let seen = match broken.len() {
        1 => "1 row violates the rule".to_owned(),
        n => format!("{n} rows violate the rule"),
    };
    let shown = broken.iter().take(SHOWN).map(|c| {
        if c.since == DateTime::UNIX_EPOCH {
            return c.id.clone();
        }
        let age = (now - c.since).num_seconds();
        format!("{} for {age} s (grace {} s)", c.id, rule.grace.as_secs())
    });
    let more = broken.len().saturating_sub(SHOWN);
    Outcome::fail(seen)
        .evidence(shown)
        .evidence((more > 0).then(|| format!("and {more} more")))
        .evidence(traces.iter().map(describe))
}

fn describe(trace: &Trace) -> String {
    match &trace.record {
        Ok(record) => format!("{}: its event is {record}", trace.id),
        Err(why) => format!("{}: its event is unknown: {why}", trace.id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule() -> Invariant {
        Invariant {
            name: "r".to_owned(),
            says: "says".to_owned(),
            grace: Duration::from_secs(60),
            sql: String::new(),
            within: None,
            timeout: Duration::ZERO,
            replay: None,
        }
    }

    #[test]
    fn counterexamples_older_than_the_grace_violate_a_rule() {
        let now = Utc::now();
        let rule = rule();
        let found = [59, 61, 3600].map(|age| Counterexample {
            id: age.to_string(),
            since: now - TimeDelta::seconds(age),
        });
        let (broken, in_flight) = sift(&found, &rule, now);
        let ids: Vec<_> = broken.iter().map(|c| c.id.as_str()).collect();
        assert_eq!((ids, in_flight), (vec!["61", "3600"], 1));
    }

    #[test]
    fn the_queried_span_is_shown() {
        let rule = |within| Invariant { within, ..rule() };
        let day = Some(Duration::from_secs(86_400));
        let hours = Some(Duration::from_secs(10_800));
        assert_eq!(looked_at(&rule(day), day), " for the last 24 h");
        assert_eq!(
            looked_at(&rule(day), hours),
            " for the last 3 h (24 h take too long)"
        );
        assert_eq!(looked_at(&rule(None), None), "");
        assert_eq!(looked_at(&rule(Some(NO_LIMIT)), Some(NO_LIMIT)), "");
        let spans = [5_400, 1_350, 90].map(|s| span(Duration::from_secs(s)));
        assert_eq!(spans, ["90 m", "22 m", "90 s"]);
    }
}
