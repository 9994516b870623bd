//! Dead letters: none wait, and their topic accepts the largest message.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, Utc};

use super::topics;
use crate::{
    checks::{check::Check, context::CheckContext, finding::Outcome, ids},
    dead_letters::{
        DeadLetter,
        journal::Status,
        summary::{MAX_LISTED, Summary},
    },
    stores::lacking_room,
};
use declaration::{Pipeline, units};
use kafka::admin::TopicSettings;

/// How many dead letters are shown, the newest.
const SHOWN: usize = 3;
/// Younger dead letters are new.
const NEW: Duration = Duration::from_secs(600);

pub(super) fn checks(pipeline: &Pipeline) -> Vec<Check<'_>> {
    let Some(topic) = &pipeline.dead_letters else {
        return Vec::new();
    };
    let empty = async move |context: &CheckContext<'_>| match context.observed.dead_letters().await
    {
        Ok(summary) => judge(context, summary),
        Err(why) => Outcome::fail(why),
    };
    let room = async move |context: &CheckContext<'_>| match context.observed.topic_settings().await
    {
        Ok(settings) => judge_room(context, topic, &limits(settings)),
        Err(why) => Outcome::fail(why),
    };
    let checks = [
        Check::new(ids::NO_DEAD_LETTERS.id(), "no dead letters", empty),
        Check::new(ids::ROOM.id(), "room for the largest message", room),
    ];
    let checks = checks.into_iter().map(|check| {
        check
            .needs(ids::kafka(pipeline))
            .needs(ids::topic(pipeline, topic))
    });
    checks.collect()
}

/// `max.message.bytes` of all declared topics that exist.
fn limits(settings: &BTreeMap<String, TopicSettings>) -> BTreeMap<String, i64> {
    let limit = |(topic, is): (&String, &TopicSettings)| Some((topic.clone(), is.message_bytes?));
    settings.iter().filter_map(limit).collect()
}

fn judge(context: &CheckContext<'_>, summary: &Summary) -> Outcome {
    let all = &summary.all;
    let waiting = all.count(Status::Waiting);
    let in_flight = all.count(Status::InFlight);
    let interrupted = all.count(Status::Interrupted);
    let command = |rest: &str| context.command(rest);
    if summary.incomplete {
        let seen = format!("about {}, not all read in time", summary.total);
        return Outcome::warn(format!(
            "{seen}; of {}: {waiting} waiting",
            all.dead_letters
        ))
        .evidence(reasons(summary))
        .hint(command("dlq list"));
    }
    if waiting > 0 {
        let now = Utc::now();
        let seen = format!(
            "{}: {}",
            with_new(summary, waiting, now),
            reasons(summary).join(", ")
        );
        let next = match named(summary, Status::Waiting).next() {
            Some(dead_letter) if waiting == 1 => format!("dlq show {}", dead_letter.id()),
            _ => "dlq list".to_owned(),
        };
        return Outcome::warn(seen)
            .evidence(
                named(summary, Status::Waiting)
                    .take(SHOWN)
                    .map(|l| text(l, now)),
            )
            .evidence((in_flight > 0).then(|| format!("{in_flight} replayed, and in flight")))
            .hint(command(&next));
    }
    if interrupted > 0 {
        let dead_letters = named(summary, Status::Interrupted).take(SHOWN);
        return Outcome::warn(format!("{interrupted} replays were interrupted"))
            .evidence(dead_letters.map(|l| text(l, Utc::now())))
            .hint(command("dlq replay --all"));
    }
    if in_flight > 0 {
        return Outcome::warn(format!(
            "{in_flight} replayed, not yet consumed by their groups"
        ))
        .evidence(
            named(summary, Status::InFlight)
                .take(SHOWN)
                .map(|l| text(l, Utc::now())),
        )
        .hint(command("groups"));
    }
    match (all.count(Status::Replayed), all.count(Status::Dismissed)) {
        (0, 0) => Outcome::pass("none"),
        (replayed, 0) => Outcome::pass(format!("none waiting ({replayed} replayed)")),
        (0, tests) => Outcome::pass(format!("none waiting ({tests} from tests)")),
        (replayed, tests) => Outcome::pass(format!(
            "none waiting ({replayed} replayed, {tests} from tests)"
        )),
    }
}

/// How many wait, and how many of them are new: `3, 2 of them in 10 m`.
fn with_new(summary: &Summary, waiting: u64, now: DateTime<Utc>) -> String {
    let mut ages = named(summary, Status::Waiting).filter_map(|dead_letter| dead_letter.age(now));
    let newest = ages.clone().next();
    let new = ages.by_ref().take_while(|age| *age <= NEW).count() as u64;
    let span = units::coarse(NEW);
    match (new, newest) {
        (0, Some(age)) => format!("{waiting}, the newest {} ago", units::coarse(age)),
        (0, None) => waiting.to_string(),
        (new, _) if new == waiting => format!("{waiting} in {span}"),
        // The survey lists only the newest ones.
        (new, _) if new >= MAX_LISTED as u64 => {
            format!("{waiting}, {new} of them or more in {span}")
        }
        (new, _) => format!("{waiting}, {new} of them in {span}"),
    }
}

/// How many wait for each reason, that of the newest letter first.
fn reasons(summary: &Summary) -> Vec<String> {
    let mut reasons: BTreeMap<&str, (u64, Option<DateTime<Utc>>)> = BTreeMap::new();
    for (kind, tally) in &summary.kinds {
        let waiting = tally.count(Status::Waiting);
        if waiting > 0 {
            let reason = kind.reason.as_deref().unwrap_or("without a reason");
            let (count, newest) = reasons.entry(reason).or_default();
            *count += waiting;
            *newest = (*newest).max(tally.newest);
        }
    }
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, (_, newest))| std::cmp::Reverse(*newest));
    let reasons = reasons.into_iter();
    reasons
        .map(|(reason, (n, _))| format!("{n} {}", reason.escape_debug()))
        .collect()
}

/// Newest first.
fn named(summary: &Summary, status: Status) -> impl Iterator<Item = &DeadLetter> + Clone {
    let dead_letters = summary
        .listed
        .iter()
        .rev()
        .filter(move |(_, s)| *s == status);
    dead_letters.map(|(dead_letter, _)| dead_letter)
}

fn text(dead_letter: &DeadLetter, now: DateTime<Utc>) -> String {
    let error = dead_letter
        .error
        .as_deref()
        .or(dead_letter.reason.as_deref());
    let error = error.unwrap_or("no reason is given");
    let error = &error[..error.floor_char_boundary(200)];
    let ago = dead_letter.age(now);
    let ago = ago.map_or_else(String::new, |age| format!(", {} ago", units::coarse(age)));
    format!("{}{ago}: {}", dead_letter.id(), error.escape_debug())
}

/// Kafka refuses a dead letter that is too large, and its partition stalls.
fn judge_room(context: &CheckContext<'_>, topic: &str, limits: &BTreeMap<String, i64>) -> Outcome {
    let Some(limit) = limits.get(topic) else {
        return Outcome::fail(format!(
            "the broker does not report max.message.bytes of {topic}"
        ));
    };
    let Some(lack) = lacking_room(context.pipeline, limits) else {
        return Outcome::pass(bytes(*limit));
    };
    Outcome::warn(format!("{} of {}", bytes(lack.limit), bytes(lack.needed)))
        .evidence([lack.to_string()])
        .hint(topics::alter(
            context,
            topic,
            "max.message.bytes",
            lack.needed,
        ))
}

fn bytes(count: i64) -> String {
    units::size(u64::try_from(count).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::dead_letters::RecordId;

    /// Letters of so many seconds ago, the oldest first.
    fn of_ages(now: DateTime<Utc>, ages: &[i64]) -> Summary {
        let dead_letter = |(n, age): (i64, &i64)| DeadLetter {
            own: RecordId::new("dead", 0, n),
            source: None,
            group: None,
            reason: None,
            error: None,
            attempts: None,
            at: Some(now - TimeDelta::seconds(*age)),
        };
        let dead_letters = (0..).zip(ages).map(dead_letter);
        Summary {
            listed: dead_letters
                .map(|dead_letter| (dead_letter, Status::Waiting))
                .collect(),
            ..Summary::default()
        }
    }

    #[test]
    fn new_dead_letters_are_counted() {
        let now = Utc::now();
        let shown = |ages: &[i64]| with_new(&of_ages(now, ages), ages.len() as u64, now);
        assert_eq!(shown(&[7_300, 20, 3]), "3, 2 of them in 10m");
        assert_eq!(shown(&[20, 3]), "2 in 10m");
        assert_eq!(shown(&[90_000, 7_300]), "2, the newest 2h ago");
        let summary = of_ages(now, &[90_000, 70]);
        let texts: Vec<_> = named(&summary, Status::Waiting)
            .map(|l| text(l, now))
            .collect();
        assert_eq!(
            texts,
            [
                "dead/0/1, 1m ago: no reason is given",
                "dead/0/0, 25h ago: no reason is given",
            ]
        );
    }
}
