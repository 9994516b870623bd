//! Dead letters: none should be waiting, and there should be room for the largest.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{check::Check, facts::Facts, finding::Outcome, ids, topics};
use crate::{
    clients::{kafka::admin::TopicSettings, lacking_room},
    dead_letters::{
        DeadLetters, Letter, Selection,
        journal::Status,
        survey::{Request, Survey},
    },
    pipeline::Pipeline,
};

/// How long letters are looked at; a very full topic is reported by its size and a part of it.
const PATIENCE: Duration = Duration::from_secs(2);
/// As many letters are named.
const SHOWN: usize = 3;

pub(super) fn checks(pipeline: &Pipeline) -> Vec<Check<'_>> {
    let Some(topic) = &pipeline.dead_letters else {
        return Vec::new();
    };
    let empty = async move |facts: &Facts<'_>| match survey(facts).await {
        Ok(survey) => judge(facts, &survey),
        Err(why) => Outcome::fail(why),
    };
    let room = async move |facts: &Facts<'_>| match limits(facts).await {
        Ok(limits) => judge_room(facts, topic, &limits),
        Err(why) => Outcome::fail(why),
    };
    let needs = [ids::KAFKA.to_owned(), ids::topic(topic)];
    vec![
        Check::new("dead-letters.empty", "no dead letters", empty).needs(needs.clone()),
        Check::new("dead-letters.room", "room for the largest message", room).needs(needs),
    ]
}

async fn survey(facts: &Facts<'_>) -> Result<Survey, String> {
    let broker = facts.broker().await.as_ref().map_err(Clone::clone)?;
    let (kafka, topics) = (broker.kafka.clone(), broker.topics.clone());
    let letters = DeadLetters::with(facts.pipeline, kafka, topics).await;
    let request = Request {
        selection: Selection::default(),
        each: true,
        patience: PATIENCE,
    };
    let survey = letters
        .map_err(|e| e.to_string())?
        .survey(request, Arc::new(|_| {}))
        .await;
    survey.map_err(|e| e.to_string())
}

/// `max.message.bytes` of all declared topics that exist.
async fn limits(facts: &Facts<'_>) -> Result<BTreeMap<String, i64>, String> {
    let settings = facts
        .topic_settings()
        .await
        .as_ref()
        .map_err(Clone::clone)?;
    let limit = |(topic, is): (&String, &TopicSettings)| Some((topic.clone(), is.message_bytes?));
    Ok(settings.iter().filter_map(limit).collect())
}

fn judge(facts: &Facts<'_>, survey: &Survey) -> Outcome {
    let all = &survey.all;
    let waiting = all.count(Status::Waiting);
    let in_flight = all.count(Status::InFlight);
    let interrupted = all.count(Status::Interrupted);
    let command = |rest: &str| facts.command(rest);
    if survey.incomplete {
        let seen = format!("about {}, not all read in time", survey.total);
        return Outcome::warn(format!("{seen}; of {}: {waiting} waiting", all.letters))
            .evidence(reasons(survey))
            .hint(command("dlq list"));
    }
    if waiting > 0 {
        let seen = format!("{waiting}: {}", reasons(survey).join(", "));
        let next = match named(survey, Status::Waiting).next() {
            Some(letter) if waiting == 1 => format!("dlq show {}", letter.id()),
            _ => "dlq list".to_owned(),
        };
        return Outcome::warn(seen)
            .evidence(named(survey, Status::Waiting).take(SHOWN).map(text))
            .evidence((in_flight > 0).then(|| format!("{in_flight} replayed, and in flight")))
            .hint(format!(
                "{}, then {}",
                command(&next),
                command("dlq replay --all --dry-run")
            ));
    }
    if interrupted > 0 {
        let letters = named(survey, Status::Interrupted).take(SHOWN).map(text);
        return Outcome::warn(format!("{interrupted} replays were interrupted"))
            .evidence(letters)
            .hint(command("dlq replay --all"));
    }
    if in_flight > 0 {
        return Outcome::warn(format!(
            "{in_flight} replayed, not yet passed by their groups"
        ))
        .evidence(named(survey, Status::InFlight).take(SHOWN).map(text))
        .hint(command("groups"));
    }
    match (all.count(Status::Replayed), all.count(Status::Dismissed)) {
        (0, 0) => Outcome::pass("none"),
        (replayed, 0) => Outcome::pass(format!("none waiting ({replayed} replayed)")),
        (0, tests) => Outcome::pass(format!("none waiting ({tests} of tests)")),
        (replayed, tests) => Outcome::pass(format!(
            "none waiting ({replayed} replayed, {tests} of tests)"
        )),
    }
}

/// How many wait for each reason.
fn reasons(survey: &Survey) -> Vec<String> {
    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    for (kind, tally) in &survey.kinds {
        let reason = kind.reason.as_deref().unwrap_or("without a reason");
        *reasons.entry(reason).or_default() += tally.count(Status::Waiting);
    }
    let reasons = reasons.into_iter().filter(|(_, n)| *n > 0);
    reasons
        .map(|(reason, n)| format!("{n} {}", reason.escape_debug()))
        .collect()
}

/// Oldest first.
fn named(survey: &Survey, status: Status) -> impl Iterator<Item = &Letter> {
    let letters = survey.listed.iter().filter(move |(_, s)| *s == status);
    letters.map(|(letter, _)| letter)
}

fn text(letter: &Letter) -> String {
    let error = letter.error.as_deref().or(letter.reason.as_deref());
    let error = error.unwrap_or("no reason is given");
    let error = &error[..error.floor_char_boundary(200)];
    format!("{}: {}", letter.id(), error.escape_debug())
}

/// One that does not fit is refused, and its partition stalls.
fn judge_room(facts: &Facts<'_>, topic: &str, limits: &BTreeMap<String, i64>) -> Outcome {
    let Some(limit) = limits.get(topic) else {
        return Outcome::fail(format!("the broker tells no max.message.bytes of {topic}"));
    };
    let Some(lack) = lacking_room(facts.pipeline, limits) else {
        return Outcome::pass(format!("{limit} bytes"));
    };
    Outcome::warn(format!("{} of {} bytes", lack.limit, lack.needed))
        .evidence([lack.to_string()])
        .hint(facts.command(&topics::make(facts.pipeline)))
}
