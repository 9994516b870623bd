//! Invariants of the database: no counterexample is older than the grace of its rule. A finding names the
//! records whose replay would repair them. A rule is never violated because its tables are large: what its
//! budget of time does not suffice for is not judged, and the finding says so.

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
            invariants::{self as observe, Look, Reach, Trace},
        },
    },
    dead_letters::{DeadLetter, journal::Status},
    stores::postgres::Counterexample,
};
use declaration::{Budget, Invariant, NO_LIMIT, Pipeline, RULES_BUDGET, units};
use diagnostics::quote;

/// How many counterexamples are shown.
const SHOWN: usize = 10;

/// The time limit for connecting and for finding records of counterexamples.
const BESIDES: Duration = Duration::from_secs(10);

/// The time limit where the rules have no budget: they are read to the end.
const AUDIT: Duration = Duration::from_secs(24 * 3600);

/// Of how many counterexamples the record is looked for.
const TRACED: usize = 3;

pub(super) fn checks(pipeline: &Pipeline) -> Vec<Check<'_>> {
    let deadline = deadline(&pipeline.invariants);
    let rules = pipeline.invariants.iter().enumerate();
    let checks = rules.map(|(turn, rule)| {
        let holds = async move |context: &CheckContext<'_>| {
            let outcome = holds(context, rule, turn).await;
            outcome.unwrap_or_else(|why| Outcome::fail(format!("unknown: {why}")))
        };
        Check::new(ids::INVARIANT.of(&rule.name), rule.says.clone(), holds)
            .within(deadline)
            .needs(ids::database(pipeline))
            .explained_by(explained_by(pipeline, rule))
    });
    checks.collect()
}

/// Rules take turns on one connection: each may have to wait for all others.
fn deadline(rules: &[Invariant]) -> Duration {
    let own = rules.iter().map(|rule| match rule.budget {
        // Counterexamples of earlier runs are looked at again after the others.
        Budget::Own(budget) => 2 * budget,
        Budget::Shared => RULES_BUDGET,
        Budget::Unlimited => AUDIT,
    });
    RULES_BUDGET * observe::PATIENCE + BESIDES + own.sum::<Duration>()
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
    let look = match rule.budget {
        Budget::Shared => context.observed.shared_look(rule).await?,
        Budget::Own(_) | Budget::Unlimited => {
            let stored = context.result_of(&rule.name);
            let progress = |progress| context.progress(progress);
            observe::look(&context.observed, rule, turn, stored, &progress).await?
        }
    };
    context.store(&rule.name, look.result.clone());
    let (broken, in_flight) = sift(&look.found, rule, look.at);
    if broken.is_empty() {
        let outcome = judge_reach(rule, look.reach, in_flight);
        let id = ids::INVARIANT.of(&rule.name);
        return Ok(outcome.hint(context.command(&format!("verify --only {id} --since all"))));
    }
    let first = &broken[..broken.len().min(TRACED)];
    let traces = observe::traces(&context.observed, rule, first).await?;
    let outcome = judge(rule, &broken, &traces, &look);
    let forgotten = |c: &&Counterexample| {
        let within = rule
            .within
            .and_then(|within| TimeDelta::from_std(within).ok());
        within.is_some_and(|within| look.at - c.since > within)
    };
    // Nothing else would take a counterexample away that cannot be repaired any more.
    let dismiss = broken.iter().copied().find(forgotten).map(|c| {
        let id = quote(&c.id);
        let command = context.command(&format!("verify --dismiss {} {id}", rule.name));
        format!("one that will not be repaired is dismissed by its id: {command}")
    });
    let outcome = outcome.evidence(dismiss);
    let records = traces.iter().filter_map(|trace| trace.record.as_ref().ok());
    let records: Vec<&str> = records.map(String::as_str).collect();
    let waiting = match records.is_empty() {
        true => Vec::new(),
        false => dead_lettered(context, &records).await,
    };
    let outcome = outcome.evidence(waiting.iter().map(|dead_letter| {
        let reason = dead_letter.reason.as_deref().unwrap_or("unknown");
        format!("{} is a dead letter: {reason}", dead_letter.id())
    }));
    Ok(
        outcome.hint(match (waiting.as_slice(), records.as_slice()) {
            ([one], _) => context.command(&format!("dlq show {}", one.id())),
            ([_, ..], _) => context.command("dlq list"),
            (_, []) => context.command("test-flow"),
            (_, records) => format!(
                "produce again, with the same key and value: {}",
                records.join(", ")
            ),
        }),
    )
}

/// The dead letters that wait for one of `records`, each as `TOPIC/PARTITION/OFFSET (key KEY)`: not the rule's
/// fault, and `dlq` repairs it.
async fn dead_lettered<'a>(context: &'a CheckContext<'_>, records: &[&str]) -> Vec<&'a DeadLetter> {
    if context.pipeline.dead_letters.is_none() {
        return Vec::new();
    }
    let Ok(summary) = context.observed.dead_letters().await else {
        return Vec::new();
    };
    let listed = summary.listed.iter();
    let waiting = listed.filter(|(_, status)| *status == Status::Waiting);
    let is_named = |dead_letter: &&DeadLetter| {
        let source = dead_letter
            .source
            .as_ref()
            .map(|source| format!("{source} "));
        source.is_some_and(|source| records.iter().any(|record| record.starts_with(&source)))
    };
    waiting
        .map(|(dead_letter, _)| dead_letter)
        .filter(is_named)
        .collect()
}

/// Without a counterexample that is older than the grace.
fn judge_reach(rule: &Invariant, reach: Reach, in_flight: usize) -> Outcome {
    let mut seen = match (reach, rule.budget) {
        (Reach::Nothing, budget) => {
            let limit = match budget {
                Budget::Unlimited => "its query was cancelled".to_owned(),
                Budget::Own(budget) => {
                    format!("its budget of {} was used up", units::exact(budget))
                }
                Budget::Shared => {
                    let all = units::exact(RULES_BUDGET);
                    format!("its share of {all} for all rules was used up")
                }
            };
            return Outcome::warn(format!("unknown: {limit} before its newest rows were read"));
        }
        (Reach::Complete, _) => match rule.within {
            None | Some(NO_LIMIT) => "holds".to_owned(),
            Some(within) => format!("holds for the last {}", span(within)),
        },
        (Reach::Back(back), Budget::Own(budget)) => format!(
            "holds for the last {} (budget {}; --since all reads everything)",
            coarse(back),
            units::exact(budget)
        ),
        (Reach::Back(back), Budget::Shared) => format!(
            "holds for the last {} (all rules share {}; --since all reads everything)",
            coarse(back),
            units::exact(RULES_BUDGET)
        ),
        (Reach::Back(back), Budget::Unlimited) => {
            let seen = "unknown further back: the query was cancelled";
            return Outcome::warn(format!("holds for the last {}; {seen}", span(back)));
        }
    };
    if in_flight > 0 {
        seen.push_str(&format!("; {in_flight} in flight"));
    }
    Outcome::pass(seen)
}

/// Rounded down to what stays the same from one run to the next: it is no news.
fn coarse(back: Duration) -> String {
    let step = match back.as_secs() {
        ..60 => 10,
        60..600 => 60,
        600..7200 => 600,
        _ => 3600,
    };
    span(Duration::from_secs((back.as_secs() / step * step).max(1)))
}

/// More than ten minutes are rounded down to minutes.
fn span(span: Duration) -> String {
    match span.as_secs() {
        s if s > 86_400 && s.is_multiple_of(86_400) => format!("{}d", s / 86_400),
        s if s.is_multiple_of(3600) => format!("{}h", s / 3600),
        s if s.is_multiple_of(60) || s > 600 => format!("{}m", s / 60),
        s => format!("{s}s"),
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

fn judge(rule: &Invariant, broken: &[&Counterexample], traces: &[Trace], look: &Look) -> Outcome {
    let seen = match broken.len() {
        1 => "1 row violates the rule".to_owned(),
        n => format!("{n} rows violate the rule"),
    };
    let shown = broken.iter().take(SHOWN).map(|c| {
        if c.since == DateTime::UNIX_EPOCH {
            return c.id.clone();
        }
        let age = (look.at - c.since).num_seconds();
        format!("{} for {age}s (grace {}s)", c.id, rule.grace.as_secs())
    });
    let more = broken.len().saturating_sub(SHOWN);
    Outcome::fail(seen)
        .evidence(shown)
        .evidence((more > 0).then(|| format!("and {more} more")))
        .evidence((look.not_looked_at_again > 0).then(|| {
            let n = look.not_looked_at_again;
            format!("{n} of them as an earlier run found them: no time was left to look again")
        }))
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
            budget: Budget::Own(Duration::from_millis(200)),
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
    fn a_finding_says_how_far_back_its_rule_holds() {
        let day = Duration::from_secs(86_400);
        let rule = |within| Invariant { within, ..rule() };
        let seen = |within, reach| judge_reach(&rule(within), reach, 0);
        let pass = Outcome::pass;
        assert_eq!(
            seen(Some(day), Reach::Complete),
            pass("holds for the last 24h")
        );
        assert_eq!(seen(None, Reach::Complete), pass("holds"));
        assert_eq!(seen(Some(NO_LIMIT), Reach::Complete), pass("holds"));
        let back = Reach::Back(Duration::from_secs(5000));
        let expected = "holds for the last 80m (budget 200ms; --since all reads everything)";
        assert_eq!(seen(Some(day), back), pass(expected));
        let shared = Invariant {
            budget: Budget::Shared,
            ..rule(Some(day))
        };
        let expected =
            "holds for the last 80m (all rules share 75ms; --since all reads everything)";
        assert_eq!(judge_reach(&shared, back, 0), pass(expected));
        let in_flight = judge_reach(&rule(None), Reach::Complete, 3);
        assert_eq!(in_flight, pass("holds; 3 in flight"));
    }

    #[test]
    fn rows_that_could_not_be_read_are_neither_right_nor_wrong() {
        let nothing = judge_reach(&rule(), Reach::Nothing, 0);
        let expected = "unknown: its budget of 200ms was used up before its newest rows were read";
        assert_eq!(nothing, Outcome::warn(expected));
        let shared = Invariant {
            budget: Budget::Shared,
            ..rule()
        };
        let expected =
            "unknown: its share of 75ms for all rules was used up before its newest rows were read";
        assert_eq!(
            judge_reach(&shared, Reach::Nothing, 0),
            Outcome::warn(expected)
        );
        let audit = Invariant {
            budget: Budget::Unlimited,
            ..rule()
        };
        let back = Reach::Back(Duration::from_secs(90));
        let expected = "holds for the last 90s; unknown further back: the query was cancelled";
        assert_eq!(judge_reach(&audit, back, 0), Outcome::warn(expected));
    }

    #[test]
    fn spans_are_shown_in_their_unit() {
        let spans = [2_592_000, 86_400, 5_400, 1_350, 90].map(|s| span(Duration::from_secs(s)));
        assert_eq!(spans, ["30d", "24h", "90m", "22m", "90s"]);
        let coarse = [5, 75, 1_350, 90_000].map(|s| coarse(Duration::from_secs(s)));
        assert_eq!(coarse, ["1s", "1m", "20m", "25h"]);
    }
}
