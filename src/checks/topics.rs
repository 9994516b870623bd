//! Topics: they exist, with their partitions.

use super::{broker::Broker, check::Check, facts::Facts, finding::Outcome, ids};
use crate::{
    clients::kafka::topics::TopicState,
    pipeline::{Effect, Pipeline, Topic},
};

pub(super) fn checks(pipeline: &Pipeline) -> Vec<Check<'_>> {
    let topics = pipeline.topics.iter();
    topics.flat_map(|topic| of_topic(pipeline, topic)).collect()
}

fn of_topic<'a>(pipeline: &'a Pipeline, topic: &'a Topic) -> [Check<'a>; 2] {
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
    let id = format!("topics.{}.partitions", topic.name);
    [
        Check::new(&exists, "exists", there)
            .needs([ids::KAFKA])
            .follows(ids::makers(pipeline, Effect::Topics)),
        Check::new(id, expected, partitions).needs([exists]),
    ]
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
