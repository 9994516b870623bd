//! Topics: they exist, with their partitions, copies and settings, and no others do.

use std::time::Duration;

use super::{broker::Broker, check::Check, facts::Facts, finding::Outcome, ids};
use crate::dead_letters::journal_of;
use declaration::{Effect, Pipeline, Topic};
use kafka::{admin::TopicSettings, topics::TopicState};

pub(super) fn checks(pipeline: &Pipeline) -> Vec<Check<'_>> {
    if pipeline.topics.is_empty() {
        return Vec::new();
    }
    let topics = pipeline.topics.iter();
    let declared = topics.flat_map(|topic| of_topic(pipeline, topic));
    let undeclared = async |facts: &Facts<'_>| undeclared(facts).await;
    let undeclared = Check::new("topics.undeclared", "none but those declared", undeclared);
    declared
        .chain([undeclared.warning().needs([ids::KAFKA])])
        .collect()
}

fn of_topic<'a>(pipeline: &'a Pipeline, topic: &'a Topic) -> Vec<Check<'a>> {
    let there = async move |facts: &Facts<'_>| match broker(facts).await {
        Err(why) => Outcome::fail(why),
        Ok(broker) if broker.topics.contains_key(&topic.name) => Outcome::pass("there"),
        Ok(_) => Outcome::fail("missing").hint(facts.command(&make(pipeline))),
    };
    let partitions = async move |facts: &Facts<'_>| {
        let state = broker(facts).await.map(|b| b.topics.get(&topic.name));
        match state {
            Err(why) => Outcome::fail(why),
            Ok(None) => Outcome::fail("missing"),
            Ok(Some(state)) => judge(topic, state, &facts.command(&make(pipeline))),
        }
    };
    let exists = ids::topic(&topic.name);
    let expected = match topic.partitions {
        1 => "1 partition".to_owned(),
        n => format!("{n} partitions"),
    };
    let named = |aspect: &str| format!("topics.{}.{aspect}", topic.name);
    let mut checks = vec![
        Check::new(&exists, "exists", there)
            .needs([ids::KAFKA])
            .follows(ids::makers(pipeline, Effect::Topics)),
        Check::new(named("partitions"), expected, partitions).needs([&exists]),
    ];
    let replicated = async move |facts: &Facts<'_>| match broker(facts).await {
        Err(why) => Outcome::fail(why),
        Ok(broker) => match broker.topics.get(&topic.name) {
            None => Outcome::fail("missing"),
            Some(state) => judge_copies(topic, state).hint(match state.behind.is_empty() {
                false => facts.command("status"),
                true => format!("declare replication: {}, or reassign it", state.replicas),
            }),
        },
    };
    let expected = match topic.replication {
        None => "every copy in sync".to_owned(),
        Some(n) => format!("{}, in sync", copies(n)),
    };
    checks.push(Check::new(named("replicated"), expected, replicated).needs([&exists]));
    if let Some(declared) = topic.retention {
        let retention = async move |facts: &Facts<'_>| match settings(facts, topic).await {
            Err(why) => Outcome::fail(why),
            Ok(is) => judge_retention(declared, is.retention).hint(facts.command(&make(pipeline))),
        };
        let expected = kept(Some(declared));
        checks.push(Check::new(named("retention"), expected, retention).needs([&exists]));
    }
    if let Some(declared) = topic.min_insync {
        let min_insync = async move |facts: &Facts<'_>| match settings(facts, topic).await {
            Err(why) => Outcome::fail(why),
            Ok(is) => match is.min_insync {
                Some(n) if n == i64::from(declared) => Outcome::pass(n.to_string()),
                Some(n) => Outcome::fail(n.to_string())
                    .hint(format!("declare min-insync: {n}, or alter it")),
                None => Outcome::fail("the broker does not tell"),
            },
        };
        let expected = format!("min.insync.replicas {declared}");
        checks.push(Check::new(named("min-insync"), expected, min_insync).needs([exists]));
    }
    checks
}

async fn settings(facts: &Facts<'_>, topic: &Topic) -> Result<TopicSettings, String> {
    let settings = facts
        .topic_settings()
        .await
        .as_ref()
        .map_err(Clone::clone)?;
    let of_topic = settings.get(&topic.name).copied();
    of_topic.ok_or_else(|| "the broker tells nothing of its settings".to_owned())
}

fn judge_copies(topic: &Topic, state: &TopicState) -> Outcome {
    if !state.behind.is_empty() {
        let behind: Vec<_> = state.behind.iter().map(i32::to_string).collect();
        let seen = format!("a copy is not in sync: partition {}", behind.join(", "));
        return Outcome::fail(seen);
    }
    let seen = copies(state.replicas);
    match topic.replication {
        Some(n) if n != state.replicas => Outcome::fail(seen),
        Some(_) | None => Outcome::pass(seen),
    }
}

fn copies(n: i32) -> String {
    match n {
        1 => "1 copy".to_owned(),
        n => format!("{n} copies"),
    }
}

/// Events that are gone too early cannot be replayed; ones that stay are worth a word.
fn judge_retention(declared: Duration, is: Option<Duration>) -> Outcome {
    match is {
        Some(is) if is == declared => Outcome::pass(kept(Some(is))),
        Some(is) if is < declared => Outcome::fail(kept(Some(is))),
        longer => Outcome::warn(kept(longer)),
    }
}

fn kept(retention: Option<Duration>) -> String {
    match retention {
        None => "kept for ever".to_owned(),
        Some(time) => format!("kept for {}", humantime::format_duration(time)),
    }
}

/// Topics that nothing declares: misspelt ones, mostly, which somebody writes to.
async fn undeclared(facts: &Facts<'_>) -> Outcome {
    let broker = match broker(facts).await {
        Ok(broker) => broker,
        Err(why) => return Outcome::fail(why),
    };
    let pipeline = facts.pipeline;
    let journal = pipeline.dead_letters.as_deref().map(journal_of);
    let known = |name: &str| {
        let internal = name.starts_with("__");
        internal || pipeline.topic(name).is_some() || journal.as_deref() == Some(name)
    };
    let names = broker.topics.keys().filter(|name| !known(name));
    let names: Vec<_> = names.cloned().collect();
    match names.len() {
        0 => Outcome::pass("none"),
        n => Outcome::warn(n.to_string())
            .evidence(names)
            .hint("declare them in x-caravan.topics, or delete them"),
    }
}

async fn broker<'a>(facts: &'a Facts<'_>) -> Result<&'a Broker, String> {
    facts.broker().await.as_ref().map_err(Clone::clone)
}

fn judge(topic: &Topic, state: &TopicState, hint: &str) -> Outcome {
    if !state.leaderless.is_empty() {
        let partitions: Vec<_> = state.leaderless.iter().map(i32::to_string).collect();
        let seen = format!("no leader for partition {}", partitions.join(", "));
        return Outcome::fail(seen).hint(hint);
    }
    let seen = state.partitions.to_string();
    match state.partitions.cmp(&topic.partitions) {
        std::cmp::Ordering::Equal => Outcome::pass(seen),
        std::cmp::Ordering::Less => Outcome::fail(seen).hint(hint),
        std::cmp::Ordering::Greater => Outcome::warn(seen)
            .evidence(["Kafka cannot take partitions away".to_owned()])
            .hint(format!("declare {}:{}", topic.name, state.partitions)),
    }
}

/// The command that makes the topics.
pub(super) fn make(pipeline: &Pipeline) -> String {
    let creates = |effect: Option<Effect>| effect == Some(Effect::Topics);
    match pipeline.services.iter().find(|s| creates(s.effect)) {
        Some(service) => format!("up {}", service.name),
        None => "up".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::finding::Status;

    fn topic(replication: Option<i32>) -> Topic {
        Topic {
            name: "orders".to_owned(),
            partitions: 2,
            retention: None,
            replication,
            min_insync: None,
        }
    }

    fn copied(replication: Option<i32>, replicas: i32, behind: &[i32]) -> Status {
        let state = TopicState {
            name: "orders".to_owned(),
            partitions: 2,
            leaderless: Vec::new(),
            replicas,
            behind: behind.to_vec(),
        };
        judge_copies(&topic(replication), &state).status
    }

    #[test]
    fn copies_are_as_many_as_declared_and_in_sync() {
        assert_eq!(copied(None, 1, &[]), Status::Pass);
        assert_eq!(copied(Some(3), 3, &[]), Status::Pass);
        assert_eq!(copied(Some(3), 1, &[]), Status::Fail);
        assert_eq!(copied(None, 3, &[1]), Status::Fail);
    }

    #[test]
    fn events_that_go_too_early_are_worse_than_ones_that_stay() {
        let day = Duration::from_secs(86_400);
        let judged = |is| judge_retention(day, is).status;
        assert_eq!(judged(Some(day)), Status::Pass);
        assert_eq!(judged(Some(day / 2)), Status::Fail);
        assert_eq!(judged(Some(day * 2)), Status::Warn);
        assert_eq!(judged(None), Status::Warn);
    }
}
