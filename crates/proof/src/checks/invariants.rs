//! Rules over the database: counterexamples, and the event whose replay would heal each.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;

use super::{check::Check, facts::Facts, finding::Outcome, ids};
use crate::stores::postgres::{Counterexample, Postgres};
use declaration::{EVER, Invariant, Pipeline, RULE_PATIENCE, Replay};
use kafka::scan::Found;

/// How many counterexamples are shown.
const SHOWN: usize = 10;

/// What connecting, and looking for events of counterexamples, may take.
const BESIDES: Duration = Duration::from_secs(10);

/// For how many of them the event is looked for.
const TRACED: usize = 3;

pub(super) fn checks(pipeline: &Pipeline) -> Vec<Check<'_>> {
    let rules = pipeline.invariants.iter().enumerate();
    let checks = rules.map(|(turn, rule)| {
        let holds = async move |facts: &Facts<'_>| match check(facts, rule, turn).await {
            Ok(outcome) => outcome,
            Err(why) => Outcome::fail(format!("cannot be told: {why}")),
        };
        let id = format!("database.{}.holds", rule.name);
        Check::new(id, rule.says.clone(), holds)
            .within(rule.patience + BESIDES)
            .needs([ids::DATABASE])
            .follows(explained_by(pipeline, rule))
    });
    checks.collect()
}

/// A table that the query reads, and whoever works on the event that would heal a counterexample.
fn explained_by(pipeline: &Pipeline, rule: &Invariant) -> Vec<String> {
    let reads = |name: &str| {
        let mut words = rule.sql.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        words.any(|word| word == name)
    };
    let tables = pipeline.tables.iter().map(|t| t.name.as_str());
    let mut explained: Vec<_> = tables.filter(|t| reads(t)).map(ids::table).collect();
    let Some(replay) = &rule.replay else {
        return explained;
    };
    let consumers = pipeline.services.iter();
    for service in consumers.filter(|s| s.consumes.contains(&replay.topic)) {
        explained.push(ids::deployed(pipeline, service));
        explained.push(format!("groups.{}.assigned", service.name));
        explained.push(format!("groups.{}.lag", service.name));
        explained.push(format!("groups.{}.effects", service.name));
    }
    explained
}

async fn check(facts: &Facts<'_>, rule: &Invariant, turn: usize) -> Result<Outcome, String> {
    let postgres = facts.database(turn).await?;
    let now = Utc::now();
    let (found, within) = look(postgres, rule, now).await?;
    let (broken, in_flight) = sift(&found, rule, now);
    if broken.is_empty() {
        let of = looked_at(rule, within);
        return Ok(Outcome::pass(match in_flight {
            0 => format!("holds{of}"),
            n => format!("holds{of}; {n} in flight"),
        }));
    }
    let traces = traces(facts, postgres, rule, &broken).await;
    Ok(judge(facts, rule, &broken, &traces, now))
}

/// The counterexamples, and how far back they were looked for: less far than is declared where that
/// takes too long, as after a day that was busier than whoever declared it thought of. A span in
/// which everything is in flight is no answer.
async fn look(
    postgres: &Postgres,
    rule: &Invariant,
    now: DateTime<Utc>,
) -> Result<(Vec<Counterexample>, Option<Duration>), String> {
    let mut within = rule.within;
    loop {
        let since = within.map(|within| from(now, within));
        let found = postgres.counterexamples(&rule.sql, since, rule.patience);
        if let Some(found) = found.await? {
            return Ok((found, within));
        }
        let less = within.map(|within| within / 8);
        let is_an_answer = |less: &Duration| *less > 2 * rule.grace;
        match less.filter(is_an_answer) {
            Some(less) if rule.patience <= RULE_PATIENCE => within = Some(less),
            _ => {
                let patience = humantime::format_duration(rule.patience);
                return Err(format!("its query takes more than {patience}"));
            }
        }
    }
}

/// The beginning of a span that ends now; of one that is longer than time is, all of it.
fn from(now: DateTime<Utc>, within: Duration) -> DateTime<Utc> {
    let span = TimeDelta::from_std(within).ok();
    let from = span.and_then(|span| now.checked_sub_signed(span));
    from.unwrap_or(DateTime::UNIX_EPOCH)
        .max(DateTime::UNIX_EPOCH)
}

/// What was looked at, where it is not all.
fn looked_at(rule: &Invariant, within: Option<Duration>) -> String {
    match (within, rule.within) {
        (None | Some(EVER), _) | (_, None) => String::new(),
        (Some(within), Some(declared)) if within < declared => format!(
            " for the last {} ({} take too long)",
            span(within),
            span(declared)
        ),
        (Some(within), Some(_)) => format!(" for the last {}", span(within)),
    }
}

/// Minutes are exact enough for more than a few of them.
fn span(span: Duration) -> String {
    match span.as_secs() {
        s if s.is_multiple_of(3600) => format!("{} h", s / 3600),
        s if s.is_multiple_of(60) || s > 600 => format!("{} m", s / 60),
        s => format!("{s} s"),
    }
}

/// Counterexamples older than the rule's grace, and how many are younger.
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
    facts: &Facts<'_>,
    rule: &Invariant,
    broken: &[&Counterexample],
    traces: &[Trace],
    now: DateTime<Utc>,
) -> Outcome {
    let seen = match broken.len() {
        1 => "1 counterexample".to_owned(),
        n => format!("{n} counterexamples"),
    };
    let shown = broken.iter().take(SHOWN).map(|c| {
        let age = (now - c.since).num_seconds();
        format!("{} for {age} s (grace {} s)", c.id, rule.grace.as_secs())
    });
    let more = broken.len().saturating_sub(SHOWN);
    let outcome = Outcome::fail(seen)
        .evidence(shown)
        .evidence((more > 0).then(|| format!("and {more} more")))
        .evidence(traces.iter().map(ToString::to_string));
    let events: Vec<String> = traces.iter().filter_map(Trace::event).collect();
    outcome.hint(match events.as_slice() {
        [] => facts.command("test-flow"),
        events => format!(
            "produce again, with the same key and value: {}",
            events.join(", ")
        ),
    })
}

/// A counterexample and the event that it is for.
struct Trace {
    id: String,
    /// `topic/partition/offset key`, or why it is not known.
    event: Result<String, String>,
}

impl Trace {
    fn event(&self) -> Option<String> {
        self.event.as_ref().ok().cloned()
    }
}

impl std::fmt::Display for Trace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.event {
            Ok(event) => write!(f, "{}: its event is {event}", self.id),
            Err(why) => write!(f, "{}: its event is not known: {why}", self.id),
        }
    }
}

/// The events of the first few counterexamples, where the rule says how to find them.
async fn traces(
    facts: &Facts<'_>,
    postgres: &Postgres,
    rule: &Invariant,
    broken: &[&Counterexample],
) -> Vec<Trace> {
    let Some(replay) = &rule.replay else {
        return Vec::new();
    };
    let first: Vec<_> = broken.iter().take(TRACED).collect();
    let keys = first.iter().map(|c| postgres.text(&replay.key_sql, &c.id));
    let keys = join_all(keys).await;
    let wanted: BTreeSet<String> = keys
        .iter()
        .filter_map(|key| key.as_ref().ok()?.clone())
        .collect();
    let events = find(facts, &replay.topic, wanted).await;
    let event = |key: Result<Option<String>, String>| match (key?, &events) {
        (None, _) => Err("the declared query finds no key for it".to_owned()),
        (Some(_), Err(why)) => Err(why.clone()),
        (Some(key), Ok(found)) => located(replay, &key, found.get(&key)),
    };
    let traces = first.iter().zip(keys);
    traces
        .map(|(counterexample, key)| Trace {
            id: counterexample.id.clone(),
            event: event(key.map_err(String::from)),
        })
        .collect()
}

fn located(replay: &Replay, key: &str, found: Option<&Found>) -> Result<String, String> {
    match found {
        Some(Found { partition, offset }) => {
            Ok(format!("{}/{partition}/{offset} (key {key})", replay.topic))
        }
        None => Err(format!(
            "no message with key {key} was found on {}",
            replay.topic
        )),
    }
}

async fn find(
    facts: &Facts<'_>,
    topic: &str,
    keys: BTreeSet<String>,
) -> Result<BTreeMap<String, Found>, String> {
    let broker = facts.broker().await.as_ref().map_err(Clone::clone)?;
    let partitions = broker.partitions(topic);
    Ok(broker.kafka.find_keys(&partitions, keys).await?)
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
            patience: Duration::ZERO,
            replay: None,
        }
    }

    #[test]
    fn only_what_is_older_than_its_grace_breaks_a_rule() {
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
    fn what_was_looked_at_is_said() {
        let rule = |within| Invariant { within, ..rule() };
        let day = Some(Duration::from_secs(86_400));
        let hours = Some(Duration::from_secs(10_800));
        assert_eq!(looked_at(&rule(day), day), " for the last 24 h");
        assert_eq!(
            looked_at(&rule(day), hours),
            " for the last 3 h (24 h take too long)"
        );
        assert_eq!(looked_at(&rule(None), None), "");
        assert_eq!(looked_at(&rule(Some(EVER)), Some(EVER)), "");
        let spans = [5_400, 1_350, 90].map(|s| span(Duration::from_secs(s)));
        assert_eq!(spans, ["90 m", "22 m", "90 s"]);
        let now = Utc::now();
        assert_eq!(from(now, EVER), DateTime::UNIX_EPOCH);
        assert_eq!(
            from(now, Duration::from_secs(60)),
            now - TimeDelta::seconds(60)
        );
    }
}
