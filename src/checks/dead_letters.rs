//! Dead letters: none should be waiting, and there should be room for the largest.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Scene,
    broker::Broker,
    finding::{Check, Finding},
    topics,
};
use crate::{
    clients::lacking_room,
    dead_letters::{
        DeadLetters, Letter, Selection,
        journal::Status,
        survey::{Request, Survey},
    },
    error::Result,
};

/// How long letters are looked at; a very full topic is reported by its size and a part of it.
const PATIENCE: Duration = Duration::from_secs(2);
/// As many letters are named.
const SHOWN: usize = 3;

pub(super) async fn check(scene: Scene<'_>, broker: &Broker) -> Result<()> {
    let Some(topic) = &scene.pipeline.dead_letters else {
        return Ok(());
    };
    let (empty, room) = begin(Instant::now());
    if broker.partitions(topic).is_empty() {
        let cause = topics::exists_id(topic);
        let skipped = [empty, room].map(|c| c.skip("the topic does not exist", &cause));
        scene.report.send_all(skipped);
        return Ok(());
    }
    let (survey, limits) = tokio::join!(survey(scene, broker), limits(scene, broker));
    scene.report.send(match survey {
        Ok(survey) => judge(scene, empty, &survey),
        Err(why) => empty.fail(why),
    });
    scene.report.send(match limits {
        Ok(limits) => judge_room(scene, room, topic, &limits),
        Err(why) => room.fail(why),
    });
    Ok(())
}

/// When Kafka did not answer.
pub(super) fn skip(scene: Scene<'_>, began: Instant, why: &str, cause: &str) {
    if scene.pipeline.dead_letters.is_some() {
        let (empty, room) = begin(began);
        scene
            .report
            .send_all([empty, room].map(|c| c.skip(why, cause)));
    }
}

fn begin(began: Instant) -> (Check, Check) {
    (
        Check::new(began, "dead-letters.empty", "no dead letters"),
        Check::new(began, "dead-letters.room", "room for the largest message"),
    )
}

async fn survey(scene: Scene<'_>, broker: &Broker) -> Result<Survey, String> {
    let letters = DeadLetters::with(scene.pipeline, broker.kafka.clone(), broker.topics.clone());
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
async fn limits(scene: Scene<'_>, broker: &Broker) -> Result<BTreeMap<String, i64>, String> {
    let topics = scene.pipeline.topics.iter().map(|t| t.name.clone());
    let there: Vec<_> = topics.filter(|t| broker.topics.contains_key(t)).collect();
    broker.kafka.message_limits(&there).await
}

fn judge(scene: Scene<'_>, check: Check, survey: &Survey) -> Finding {
    let all = &survey.all;
    let waiting = all.count(Status::Waiting);
    let in_flight = all.count(Status::InFlight);
    let interrupted = all.count(Status::Interrupted);
    let command = |rest: &str| scene.invocation.command(rest);
    if survey.incomplete {
        let seen = format!("about {}, not all read in time", survey.total);
        return check
            .warn(format!("{seen}; of {}: {waiting} waiting", all.letters))
            .evidence(reasons(survey))
            .hint(command("dlq list"));
    }
    if waiting > 0 {
        let seen = format!("{waiting}: {}", reasons(survey).join(", "));
        let next = match named(survey, Status::Waiting).next() {
            Some(letter) if waiting == 1 => format!("dlq show {}", letter.id()),
            _ => "dlq list".to_owned(),
        };
        return check
            .warn(seen)
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
        return check
            .warn(format!("{interrupted} replays were interrupted"))
            .evidence(letters)
            .hint(command("dlq replay --all"));
    }
    if in_flight > 0 {
        return check
            .warn(format!(
                "{in_flight} replayed, not yet passed by their groups"
            ))
            .evidence(named(survey, Status::InFlight).take(SHOWN).map(text))
            .hint(command("groups"));
    }
    match (all.count(Status::Replayed), all.count(Status::Dismissed)) {
        (0, 0) => check.pass("none"),
        (replayed, 0) => check.pass(format!("none waiting ({replayed} replayed)")),
        (0, tests) => check.pass(format!("none waiting ({tests} of tests)")),
        (replayed, tests) => check.pass(format!(
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
fn judge_room(
    scene: Scene<'_>,
    check: Check,
    topic: &str,
    limits: &BTreeMap<String, i64>,
) -> Finding {
    let Some(limit) = limits.get(topic) else {
        return check.fail(format!("the broker tells no max.message.bytes of {topic}"));
    };
    let Some(lack) = lacking_room(scene.pipeline, limits) else {
        return check.pass(format!("{limit} bytes"));
    };
    check
        .warn(format!("{} of {} bytes", lack.limit, lack.needed))
        .evidence([lack.to_string()])
        .hint(scene.invocation.command(&topics::make(scene.pipeline)))
}
