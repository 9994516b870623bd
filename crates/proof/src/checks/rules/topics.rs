//! Topics: they exist with their partitions, replicas and settings, and no others do.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    checks::{
        check::Check,
        context::CheckContext,
        finding::Outcome,
        ids,
        observe::{ObservationCache, ObservationError},
    },
    dead_letters::journal_of,
};
use declaration::{Effect, Pipeline, Topic};
use kafka::{
    admin::{CLEANUP_POLICY, MESSAGE_BYTES, RETENTION_BYTES, TopicSettings},
    topics::TopicState,
};

pub(super) fn checks(pipeline: &Pipeline) -> Vec<Check<'_>> {
    if pipeline.topics.is_empty() {
        return Vec::new();
    }
    let topics = pipeline.topics.iter();
    let declared = topics.flat_map(|topic| of_topic(pipeline, topic));
    let undeclared = async |context: &CheckContext<'_>| match context.observed.broker().await {
        Err(why) => Outcome::fail(why),
        Ok(broker) => judge_undeclared(context.pipeline, &broker.topics),
    };
    let id = ids::UNDECLARED_TOPICS.id();
    let undeclared = Check::new(id, "no undeclared topics", undeclared);
    declared
        .chain([undeclared.warning().needs(ids::kafka(pipeline))])
        .collect()
}

fn of_topic<'a>(pipeline: &'a Pipeline, topic: &'a Topic) -> Vec<Check<'a>> {
    let id = ids::topic(pipeline, &topic.name);
    let exists = id.clone().map(|id| {
        let exists = async move |context: &CheckContext<'_>| match context.observed.broker().await {
            Err(why) => Outcome::fail(why),
            Ok(broker) if broker.topics.contains_key(&topic.name) => Outcome::pass("there"),
            Ok(_) => Outcome::fail("missing").hint(context.command(&create(pipeline))),
        };
        Check::new(id, "exists", exists)
            .needs(ids::kafka(pipeline))
            .explained_by(ids::makers(pipeline, Effect::Topics))
    });
    let others = [partitions(topic), replicated(topic)]
        .into_iter()
        .chain(retention(topic))
        .chain(min_insync(topic))
        .chain([other_settings(pipeline, topic)]);
    let others = others.map(|check| check.needs(id.clone()));
    exists.into_iter().chain(others).collect()
}

fn partitions(topic: &Topic) -> Check<'_> {
    let partitions =
        async move |context: &CheckContext<'_>| match state(&context.observed, topic).await {
            Err(why) => Outcome::fail(why),
            Ok(None) => Outcome::fail("missing"),
            Ok(Some(state)) => {
                let create = context.command(&create(context.pipeline));
                judge_partitions(topic, state, &create)
            }
        };
    let expected = match topic.partitions {
        1 => "1 partition".to_owned(),
        n => format!("{n} partitions"),
    };
    Check::new(ids::PARTITIONS.of(&topic.name), expected, partitions)
}

fn replicated(topic: &Topic) -> Check<'_> {
    let replicated =
        async move |context: &CheckContext<'_>| match state(&context.observed, topic).await {
            Err(why) => Outcome::fail(why),
            Ok(None) => Outcome::fail("missing"),
            Ok(Some(state)) => judge_replicas(topic, state).hint(match state.behind.is_empty() {
                false => context.command("status"),
                true => format!("declare replication: {}, or reassign it", state.replicas),
            }),
        };
    let expected = match topic.replication {
        None => "every replica in sync".to_owned(),
        Some(n) => format!("{}, in sync", replicas(n)),
    };
    Check::new(ids::REPLICATED.of(&topic.name), expected, replicated)
}

fn retention(topic: &Topic) -> Option<Check<'_>> {
    let declared = topic.retention?;
    let retention =
        async move |context: &CheckContext<'_>| match settings(&context.observed, topic).await {
            Err(why) => Outcome::fail(why),
            Ok(is) => judge_retention(declared, is.retention)
                .hint(context.command(&create(context.pipeline))),
        };
    let id = ids::RETENTION.of(&topic.name);
    Some(Check::new(id, kept(Some(declared)), retention))
}

fn min_insync(topic: &Topic) -> Option<Check<'_>> {
    let declared = topic.min_insync?;
    let min_insync =
        async move |context: &CheckContext<'_>| match settings(&context.observed, topic).await {
            Err(why) => Outcome::fail(why),
            Ok(is) => judge_min_insync(declared, is.min_insync),
        };
    let id = ids::MIN_INSYNC.of(&topic.name);
    let expected = format!("min.insync.replicas {declared}");
    Some(Check::new(id, expected, min_insync))
}

/// The other declared settings, and what the topic's own settings do to its events.
fn other_settings<'a>(pipeline: &'a Pipeline, topic: &'a Topic) -> Check<'a> {
    let other_settings = async move |context: &CheckContext<'_>| {
        let observed = async {
            let settings = settings(&context.observed, topic).await?;
            let replicas = state(&context.observed, topic).await?.map(|s| s.replicas);
            Ok::<_, ObservationError>((settings, replicas))
        };
        match observed.await {
            Err(why) => Outcome::fail(why),
            Ok((settings, replicas)) => {
                let is_dead_letters = pipeline.dead_letters.as_ref() == Some(&topic.name);
                judge_settings(topic, &settings, replicas, is_dead_letters)
            }
        }
    };
    let expected = "no setting loses or refuses events";
    Check::new(ids::SETTINGS.of(&topic.name), expected, other_settings)
}

/// Kafka's default of `max.message.bytes`.
const DEFAULT_MESSAGE_BYTES: i64 = 1_048_588;

/// A declared setting is as declared. An undeclared one may lose events, or have the broker refuse them.
fn judge_settings(
    topic: &Topic,
    is: &TopicSettings,
    replicas: Option<i32>,
    is_dead_letters: bool,
) -> Outcome {
    let text = |name: &str| is.all.get(name).map_or("", String::as_str);
    let mut wrong = Vec::new();
    for (name, declared) in &topic.settings {
        match text(name) {
            "" => wrong.push(format!("{name} is not known to the broker")),
            is if is == declared => {}
            is => wrong.push(format!("{name} is {is}, declared is {declared}")),
        }
    }
    let is_own = |name: &str| is.own.contains(name) && !topic.settings.contains_key(name);
    let number = |name: &str| text(name).parse::<i64>().ok();
    if is_own(RETENTION_BYTES) && number(RETENTION_BYTES).is_some_and(|bytes| bytes >= 0) {
        let bytes = text(RETENTION_BYTES);
        wrong.push(format!(
            "retention.bytes is {bytes}: events are deleted, consumed or not, once a partition is larger"
        ));
    }
    let compacts = text(CLEANUP_POLICY).contains("compact");
    if compacts && is_dead_letters {
        wrong.push(
            "cleanup.policy is compact: a dead letter without a key is refused, and its partition stops"
                .to_owned(),
        );
    } else if compacts && is_own(CLEANUP_POLICY) {
        wrong.push(
            "cleanup.policy is compact: an event without a key is refused, one with a key is deleted \
             after the next one"
                .to_owned(),
        );
    }
    let small = |bytes: i64| bytes < DEFAULT_MESSAGE_BYTES;
    if is_own(MESSAGE_BYTES) && is.message_bytes.is_some_and(small) {
        let bytes = text(MESSAGE_BYTES);
        wrong.push(format!(
            "max.message.bytes is {bytes}: larger events are refused"
        ));
    }
    let least = is.min_insync.unwrap_or(1);
    if let Some(replicas) = replicas.filter(|n| least > i64::from(*n)) {
        wrong.push(format!(
            "min.insync.replicas is {least}, of {}: every event is refused",
            self::replicas(replicas)
        ));
    }
    let hint = "declare it in the topic's settings if that is intended, or alter it";
    match wrong.as_slice() {
        [] => Outcome::pass(match topic.settings.len() {
            0 => "none".to_owned(),
            n => format!("none; {n} as declared"),
        }),
        [one] => Outcome::fail(one).hint(hint),
        more => Outcome::fail(format!("{} settings", more.len()))
            .evidence(wrong)
            .hint(hint),
    }
}

async fn state<'a>(
    observed: &'a ObservationCache<'_>,
    topic: &Topic,
) -> Result<Option<&'a TopicState>, ObservationError> {
    Ok(observed.broker().await?.topics.get(&topic.name))
}

async fn settings(
    observed: &ObservationCache<'_>,
    topic: &Topic,
) -> Result<TopicSettings, ObservationError> {
    let settings = observed.topic_settings().await?;
    let of_topic = settings.get(&topic.name).cloned();
    of_topic.ok_or_else(|| {
        ObservationError::Incomplete("the broker does not report its settings".to_owned())
    })
}

fn judge_min_insync(declared: i32, is: Option<i64>) -> Outcome {
    match is {
        Some(n) if n == i64::from(declared) => Outcome::pass(n.to_string()),
        Some(n) => {
            Outcome::fail(n.to_string()).hint(format!("declare min-insync: {n}, or alter it"))
        }
        None => Outcome::fail("the broker does not report it"),
    }
}

fn judge_replicas(topic: &Topic, state: &TopicState) -> Outcome {
    if !state.behind.is_empty() {
        let behind: Vec<_> = state.behind.iter().map(i32::to_string).collect();
        let seen = format!("a replica is not in sync: partition {}", behind.join(", "));
        return Outcome::fail(seen);
    }
    let seen = replicas(state.replicas);
    match topic.replication {
        Some(n) if n != state.replicas => Outcome::fail(seen),
        Some(_) | None => Outcome::pass(seen),
    }
}

fn replicas(n: i32) -> String {
    match n {
        1 => "1 replica".to_owned(),
        n => format!("{n} replicas"),
    }
}

/// A record that is deleted too early cannot be replayed; one that is kept longer is worth a warning.
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
        Some(time) => format!("kept for {}", declaration::units::exact(time)),
    }
}

/// No topics exist but the declared ones. Others are mostly misspelt names that a client writes to.
fn judge_undeclared(pipeline: &Pipeline, topics: &BTreeMap<String, TopicState>) -> Outcome {
    let journal = pipeline.dead_letters.as_deref().map(journal_of);
    let known = |name: &str| {
        let internal = name.starts_with("__");
        internal || pipeline.topic(name).is_some() || journal.as_deref() == Some(name)
    };
    let names: Vec<_> = topics.keys().filter(|name| !known(name)).cloned().collect();
    match names.len() {
        0 => Outcome::pass("none"),
        n => Outcome::warn(n.to_string())
            .evidence(names)
            .hint("declare them in x-caravan.topics, or delete them"),
    }
}

fn judge_partitions(topic: &Topic, state: &TopicState, hint: &str) -> Outcome {
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
            .evidence(["Kafka cannot remove partitions".to_owned()])
            .hint(format!("declare {}:{}", topic.name, state.partitions)),
    }
}

/// Whether Caravan's own one-shot sets up the topics.
fn sets_up(pipeline: &Pipeline) -> bool {
    let mut services = pipeline.services.iter();
    services.any(|s| {
        s.effect == Some(Effect::Topics) && s.image_from == declaration::ImageFrom::Caravan
    })
}

/// How a setting of a topic becomes at least `value`: Caravan's own one-shot raises it, another team's may only
/// create topics.
pub(super) fn alter(
    context: &CheckContext<'_>,
    topic: &str,
    setting: &str,
    value: impl std::fmt::Display,
) -> String {
    match sets_up(context.pipeline) {
        true => context.command(&create(context.pipeline)),
        false => format!("set {setting} of {topic} to {value}, with kafka-configs.sh for instance"),
    }
}

/// The command, after `caravan`, that creates the topics.
pub(super) fn create(pipeline: &Pipeline) -> String {
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

    #[test]
    fn another_teams_one_shot_may_only_create_topics() {
        let mut pipeline = declaration::testing::shipped();
        assert!(sets_up(&pipeline));
        for service in &mut pipeline.services {
            service.image_from = declaration::ImageFrom::Registry;
        }
        assert!(!sets_up(&pipeline));
    }

    fn topic(replication: Option<i32>) -> Topic {
        Topic {
            name: "orders".to_owned(),
            partitions: 2,
            retention: None,
            replication,
            min_insync: None,
            settings: BTreeMap::new(),
        }
    }

    fn set(own: &[(&str, &str)]) -> TopicSettings {
        let all = own.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        let all: BTreeMap<String, String> = all.collect();
        let number = |name: &str| all.get(name)?.parse().ok();
        TopicSettings {
            min_insync: number("min.insync.replicas"),
            message_bytes: number(MESSAGE_BYTES),
            own: all.keys().cloned().collect(),
            all,
            ..TopicSettings::default()
        }
    }

    #[test]
    fn a_setting_that_loses_or_refuses_events_fails_unless_it_is_declared() {
        let judged = |own: &[(&str, &str)], declared: &[(&str, &str)], is_dead_letters| {
            let settings = declared.iter();
            let settings = settings.map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
            let topic = Topic {
                settings: settings.collect(),
                ..topic(None)
            };
            judge_settings(&topic, &set(own), Some(1), is_dead_letters).status
        };
        let (pass, fail) = (Status::Pass, Status::Fail);
        for (own, expected) in [
            (("retention.bytes", "1"), fail),
            (("retention.bytes", "-1"), pass),
            (("cleanup.policy", "compact"), fail),
            (("cleanup.policy", "compact,delete"), fail),
            (("cleanup.policy", "delete"), pass),
            (("max.message.bytes", "100"), fail),
            (("max.message.bytes", "2000000"), pass),
            (("segment.bytes", "1000000"), pass),
        ] {
            assert_eq!(judged(&[own], &[], false), expected, "{own:?}");
            assert_eq!(judged(&[own], &[own], false), pass, "{own:?} is declared");
        }
        let compact = ("cleanup.policy", "compact");
        assert_eq!(judged(&[compact], &[compact], true), fail, "dead letters");
        let too_many = ("min.insync.replicas", "2");
        assert_eq!(judged(&[too_many], &[too_many], false), fail);
        let other = ("cleanup.policy", "delete");
        assert_eq!(judged(&[other], &[compact], false), fail, "not as declared");
    }

    fn copied(replication: Option<i32>, replicas: i32, behind: &[i32]) -> Status {
        let state = TopicState {
            name: "orders".to_owned(),
            partitions: 2,
            leaderless: Vec::new(),
            replicas,
            behind: behind.to_vec(),
        };
        judge_replicas(&topic(replication), &state).status
    }

    #[test]
    fn replicas_are_as_many_as_declared_and_in_sync() {
        assert_eq!(copied(None, 1, &[]), Status::Pass);
        assert_eq!(copied(Some(3), 3, &[]), Status::Pass);
        assert_eq!(copied(Some(3), 1, &[]), Status::Fail);
        assert_eq!(copied(None, 3, &[1]), Status::Fail);
    }

    #[test]
    fn a_shorter_retention_fails_and_a_longer_one_warns() {
        let day = Duration::from_secs(86_400);
        let judged = |is| judge_retention(day, is).status;
        assert_eq!(judged(Some(day)), Status::Pass);
        assert_eq!(judged(Some(day / 2)), Status::Fail);
        assert_eq!(judged(Some(day * 2)), Status::Warn);
        assert_eq!(judged(None), Status::Warn);
    }
}
