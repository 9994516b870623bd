//! Rules over the database: counterexamples, and the event whose replay would heal each.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;

use super::{
    Scene,
    finding::{Check, Finding},
};
use crate::{
    clients::{
        kafka::{Kafka, Partition, scan::Found},
        postgres::{Counterexample, Postgres},
    },
    pipeline::{Invariant, Replay},
};

/// How many counterexamples are shown.
const SHOWN: usize = 10;

/// For how many of them the event is looked for.
const TRACED: usize = 3;

pub(super) fn begin(began: Instant, rule: &Invariant) -> Check {
    Check::new(
        began,
        format!("database.{}.holds", rule.name),
        rule.says.clone(),
    )
}

pub(super) async fn check(scene: Scene<'_>, postgres: &Postgres, rule: &Invariant) {
    let check = begin(Instant::now(), rule);
    scene
        .report
        .send(match postgres.counterexamples(&rule.sql).await {
            Err(why) => check.fail(format!("cannot be told: {why}")),
            Ok(found) => {
                let now = Utc::now();
                let (broken, in_flight) = sift(&found, rule, now);
                if broken.is_empty() {
                    check.pass(match in_flight {
                        0 => "holds".to_owned(),
                        n => format!("holds; {n} in flight"),
                    })
                } else {
                    let traces = traces(scene, postgres, rule, &broken).await;
                    judge(scene, check, rule, &broken, &traces, now)
                }
            }
        });
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
    scene: Scene<'_>,
    check: Check,
    rule: &Invariant,
    broken: &[&Counterexample],
    traces: &[Trace],
    now: DateTime<Utc>,
) -> Finding {
    let seen = match broken.len() {
        1 => "1 counterexample".to_owned(),
        n => format!("{n} counterexamples"),
    };
    let shown = broken.iter().take(SHOWN).map(|c| {
        let age = (now - c.since).num_seconds();
        format!("{} for {age} s (grace {} s)", c.id, rule.grace.as_secs())
    });
    let more = broken.len().saturating_sub(SHOWN);
    let finding = check
        .fail(seen)
        .evidence(shown)
        .evidence((more > 0).then(|| format!("and {more} more")))
        .evidence(traces.iter().map(ToString::to_string));
    let events: Vec<String> = traces.iter().filter_map(Trace::event).collect();
    finding.hint(match events.as_slice() {
        [] => scene.invocation.command("test-flow"),
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
    scene: Scene<'_>,
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
    let events = find(scene, &replay.topic, wanted).await;
    let event = |key: Result<Option<String>, String>| match (key?, &events) {
        (None, _) => Err("the declared query finds no key for it".to_owned()),
        (Some(_), Err(why)) => Err(why.clone()),
        (Some(key), Ok(found)) => located(replay, &key, found.get(&key)),
    };
    let traces = first.iter().zip(keys);
    traces
        .map(|(counterexample, key)| Trace {
            id: counterexample.id.clone(),
            event: event(key),
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
    scene: Scene<'_>,
    topic: &str,
    keys: BTreeSet<String>,
) -> Result<BTreeMap<String, Found>, String> {
    let Some(endpoint) = &scene.pipeline.kafka else {
        return Err("the declaration does not say where Kafka is".to_owned());
    };
    let kafka = Kafka::connect(&endpoint.address).await?;
    let topics = kafka.topics().await?;
    let count = topics
        .iter()
        .find(|t| t.name == topic)
        .map_or(0, |t| t.partitions);
    let partitions: Vec<Partition> = (0..count).map(|p| (topic.to_owned(), p)).collect();
    kafka.find_keys(&partitions, keys).await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_what_is_older_than_its_grace_breaks_a_rule() {
        let now = Utc::now();
        let rule = Invariant {
            name: "r".to_owned(),
            says: "says".to_owned(),
            grace: Duration::from_secs(60),
            sql: String::new(),
            replay: None,
        };
        let found = [59, 61, 3600].map(|age| Counterexample {
            id: age.to_string(),
            since: now - TimeDelta::seconds(age),
        });
        let (broken, in_flight) = sift(&found, &rule, now);
        let ids: Vec<_> = broken.iter().map(|c| c.id.as_str()).collect();
        assert_eq!((ids, in_flight), (vec!["61", "3600"], 1));
    }
}
