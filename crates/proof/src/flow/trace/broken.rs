//! Finds why the first missing hop is missing, and what to do about it.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use kafka::record::BorrowedMessage;

use super::{
    Report, Wanted,
    judge::Evidence,
    topics::{self, Pick, Search},
};
use crate::{
    dead_letters::{DeadLetter, RecordId},
    flow::{Hop, one::describe, sources::Group, steps},
};
use declaration::{Pipeline, Service};
use diagnostics::Result;
use platform::{Container, Platform, State};

/// Minimum time limit for reading dead letters.
const PATIENCE: Duration = Duration::from_secs(5);

/// The first missing hop and its cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Index into [`Report::hops`].
    pub hop: usize,
    /// The service that does it.
    pub service: String,
    /// The reasons, one line each.
    pub why: Vec<String>,
    /// What to do about it.
    pub next: Next,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Show the dead letter.
    DeadLetter(RecordId),
    /// Start the service.
    Up(String),
    /// Unpause the containers.
    Unpause(Vec<String>),
    /// Show the consumer groups.
    Groups,
    /// Show the service's log lines of the message.
    Logs(String),
}

/// A group that has not passed an event.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Behind {
    group: String,
    event: RecordId,
    /// None: the group has never committed.
    committed: Option<i64>,
}

/// Finds the dead letters of the message, and why its chain broke.
pub(super) async fn explain(
    wanted: Wanted<'_>,
    engine: &Result<&dyn Platform>,
    evidence: &Evidence<'_>,
    trace: &mut Report,
) {
    let pipeline = wanted.pipeline;
    if let Err(why) = dead_letters(wanted, evidence, trace).await {
        trace.unreachable.push(why.to_string());
    }
    let Some(hop) = trace.hops.iter().position(Hop::is_missing) else {
        return;
    };
    let workers = workers(pipeline, evidence, hop);
    let containers = match (engine, &evidence.lines) {
        (Ok(_), Ok(lines)) => Some(lines.containers.as_slice()),
        _ => None,
    };
    let behind = behind(evidence, hop, &workers).await.unwrap_or_else(|why| {
        trace.unreachable.push(why.to_string());
        None
    });
    let has_input = input_event(pipeline, evidence, hop).is_some();
    trace.broken = Some(judge(trace, hop, &workers, containers, behind, has_input));
}

/// The services that have to do a hop's work. Services that call the hop's service come first,
/// because they consume the event.
fn workers<'a>(pipeline: &'a Pipeline, evidence: &Evidence<'_>, hop: usize) -> Vec<&'a Service> {
    let service = &evidence.steps[hop].service;
    let callers = pipeline
        .services
        .iter()
        .filter(|s| s.calls.contains(service));
    let own = pipeline.service(service);
    match own {
        Some(own) if !own.consumes.is_empty() => vec![own],
        own => callers.chain(own).collect(),
    }
}

/// The event that the hop follows from.
fn input_event(pipeline: &Pipeline, evidence: &Evidence<'_>, hop: usize) -> Option<RecordId> {
    let input = evidence.input(pipeline, hop)?;
    let events = evidence.events(input);
    events.first().map(|event| event.place.clone())
}

async fn behind(
    evidence: &Evidence<'_>,
    hop: usize,
    workers: &[&Service],
) -> Result<Option<Behind>, kafka::Error> {
    let Ok(topics) = &evidence.topics else {
        return Ok(None);
    };
    for worker in workers {
        let Some(name) = &worker.group else {
            continue;
        };
        let group = Group {
            service: worker.name.clone(),
            topics: worker.consumes.clone(),
            offsets: topics.kafka.declared_group(name).await?,
        };
        let consumed = steps::topics(&evidence.steps[..hop]);
        let events = consumed.flat_map(|(step, _)| evidence.events(step).first());
        let behind = group.first_unconsumed(events.map(|event| &event.place));
        if let Some((event, committed)) = behind.await? {
            return Ok(Some(Behind {
                group: name.to_string(),
                event,
                committed,
            }));
        }
    }
    Ok(None)
}

fn judge(
    trace: &Report,
    hop: usize,
    workers: &[&Service],
    containers: Option<&[Container]>,
    behind: Option<Behind>,
    has_input: bool,
) -> Broken {
    let service = trace.hops[hop].step.service.clone();
    let mut why = Vec::new();
    let mut next = None;
    let groups: Vec<_> = workers.iter().filter_map(|w| w.group.as_ref()).collect();
    let own = |dead_letter: &&DeadLetter| {
        dead_letter
            .group
            .as_ref()
            .is_none_or(|name| groups.iter().any(|group| group.is(name)))
    };
    let dead_letter = trace
        .dead_letters
        .iter()
        .find(own)
        .or_else(|| trace.dead_letters.first());
    if let Some(dead_letter) = dead_letter {
        let word = |word: Option<&String>| word.map_or_else(String::new, |w| format!(": {w}"));
        why.push(format!(
            "{} dead-lettered its event {}{}{}",
            dead_letter.group.as_deref().unwrap_or("an unknown group"),
            dead_letter.id(),
            word(dead_letter.reason.as_ref()),
            word(dead_letter.error.as_ref()),
        ));
        next = Some(Next::DeadLetter(dead_letter.id().clone()));
    }
    for worker in workers {
        let Some(containers) = containers else {
            break;
        };
        let own: Vec<_> = containers
            .iter()
            .filter(|c| c.service == worker.name)
            .cloned()
            .collect();
        why.push(format!("{}: {}", worker.name, describe(&own)));
        let runs = own.iter().any(|c| c.state == State::Running);
        let paused = own.iter().filter(|c| c.state == State::Paused);
        let paused: Vec<_> = paused.map(|c| c.name.clone()).collect();
        if !runs && next.is_none() {
            next = Some(match paused.is_empty() {
                true => Next::Up(worker.name.clone()),
                false => Next::Unpause(paused),
            });
        }
    }
    if let Some(behind) = &behind {
        why.push(behind.to_string());
        next = next.or(Some(Next::Groups));
    } else if has_input && dead_letter.is_none() && !groups.is_empty() {
        let passed = "has consumed the event that leads to it";
        why.push(format!("{service} {passed}"));
    }
    Broken {
        hop,
        next: next.unwrap_or_else(|| Next::Logs(service.clone())),
        service,
        why,
    }
}

impl std::fmt::Display for Behind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            group,
            event,
            committed,
        } = self;
        match committed {
            Some(at) => write!(
                f,
                "the group {group} has not consumed {event}: its committed offset is {at}, {} behind",
                event.offset + 1 - at
            ),
            None => write!(
                f,
                "the group {group} has not consumed {event}: it has no committed offset there"
            ),
        }
    }
}

/// Reads the dead letters whose source record is one of the message's events, or that have its
/// correlation id.
async fn dead_letters(
    wanted: Wanted<'_>,
    evidence: &Evidence<'_>,
    trace: &mut Report,
) -> Result<(), kafka::Error> {
    let pipeline = wanted.pipeline;
    let (Ok(topics), Some(name)) = (&evidence.topics, &pipeline.dead_letters) else {
        return Ok(());
    };
    let Some(topic) = topics.there.get(name) else {
        return Ok(());
    };
    let search = Search {
        kafka: &topics.kafka,
        since: wanted.since,
        // Reading logs may have used up the timeout. The reason of a dead letter is worth a few
        // more seconds.
        deadline: wanted.deadline.max(Instant::now() + PATIENCE),
        report: wanted.report,
    };
    let steps = 0..evidence.steps.len();
    let places: BTreeMap<RecordId, ()> = steps
        .flat_map(|step| evidence.events(step))
        .map(|event| (event.place.clone(), ()))
        .collect();
    let header_names = pipeline.dead_letter_headers.clone();
    let names = header_names.clone();
    let of_id = topics::pick(wanted.correlation, wanted.id, move |record| {
        DeadLetter::of(record, &names)
    });
    let pick: Pick<DeadLetter> = Arc::new(move |record: &BorrowedMessage<'_>| {
        of_id(record).or_else(|| {
            let dead_letter = DeadLetter::of(record, &header_names);
            let source = dead_letter.source.as_ref();
            source
                .is_some_and(|source| places.contains_key(source))
                .then_some(dead_letter)
        })
    });
    let near = trace.began.map(|began| (began, began));
    let looked = search.look(topic, near, wanted.id, pick).await?;
    trace.note_read(name, looked.read, looked.unread, looked.kept_since);
    trace.dead_letters = looked.found;
    trace.dead_letters.sort_by_key(|dead_letter| dead_letter.at);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Found, HopPlace, Step};
    use declaration::testing::shipped;
    use platform::testing::container;

    fn trace() -> Report {
        let topic = "purchase-created".to_owned();
        let hop = Hop {
            step: Step {
                place: HopPlace::Topic { topic },
                service: "purchase-worker".to_owned(),
            },
            found: Found::Missing(None),
        };
        Report {
            hops: vec![hop],
            ..Report::default()
        }
    }

    fn dead_letter(group: &str) -> DeadLetter {
        DeadLetter {
            own: RecordId::new("dead", 0, 3),
            source: Some(RecordId::new("purchase-confirmed", 1, 7)),
            group: Some(group.to_owned()),
            reason: Some("not-json".to_owned()),
            error: None,
            attempts: None,
            at: None,
        }
    }

    fn behind() -> Behind {
        Behind {
            group: "purchase-worker".to_owned(),
            event: RecordId::new("purchase-confirmed", 1, 7),
            committed: Some(5),
        }
    }

    fn judged(trace: &Report, state: State, behind: Option<Behind>) -> Broken {
        let pipeline = shipped();
        let worker = pipeline.service("purchase-worker").expect("declared");
        let mut container = container("purchase-worker", 1);
        container.state = state;
        judge(trace, 0, &[worker], Some(&[container]), behind, true)
    }

    #[test]
    fn a_dead_letter_is_the_reason_whatever_else_is_wrong() {
        let mut trace = trace();
        trace.dead_letters = vec![dead_letter("cache-worker"), dead_letter("purchase-worker")];
        let broken = judged(&trace, State::Exited, Some(behind()));
        assert_eq!(
            broken.next,
            Next::DeadLetter(RecordId::new("purchase-confirmed", 1, 7))
        );
        assert_eq!(
            broken.why[0],
            "purchase-worker dead-lettered its event purchase-confirmed/1/7: not-json"
        );
    }

    #[test]
    fn a_worker_that_does_not_run_is_brought_up_and_a_paused_one_unpaused() {
        let broken = judged(&trace(), State::Exited, Some(behind()));
        assert_eq!(broken.next, Next::Up("purchase-worker".to_owned()));
        let lag = "the group purchase-worker has not consumed purchase-confirmed/1/7: its \
                   committed offset is 5, 3 behind";
        assert_eq!(broken.why[1], lag);
        let broken = judged(&trace(), State::Paused, None);
        assert_eq!(
            broken.next,
            Next::Unpause(vec!["shop-purchase-worker".to_owned()])
        );
    }

    #[test]
    fn a_group_that_is_behind_and_one_that_passed_without_a_trace_differ() {
        let broken = judged(&trace(), State::Running, Some(behind()));
        assert_eq!(broken.next, Next::Groups);
        let broken = judged(&trace(), State::Running, None);
        assert_eq!(broken.next, Next::Logs("purchase-worker".to_owned()));
        assert!(
            broken.why[1].contains("has consumed the event"),
            "{:?}",
            broken.why
        );
    }
}
