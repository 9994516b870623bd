//! Why the first hop that is missing is missing, and what to do about it.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use kafka::record::BorrowedMessage;

use super::{
    Past, Tell,
    judge::Evidence,
    search::{Pick, Search},
    topics,
};
use crate::{
    dead_letters::{Letter, Place as Offset},
    probe::{describe, hop::Place},
};
use declaration::{Pipeline, Service};
use diagnostics::Result;
use kafka::offsets::Offsets;
use platform::Platform;
use platform::{Container, State};

/// How long dead letters are read at least.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where the chain broke first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Index into [`Past::hops`].
    pub hop: usize,
    /// Whose work it is.
    pub service: String,
    /// What is known about that, a line each.
    pub why: Vec<String>,
    pub next: Next,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Look at the dead letter.
    Letter(Offset),
    /// Bring the service up.
    Up(String),
    /// Let the containers go on.
    Unpause(Vec<String>),
    /// See how the groups get on.
    Groups,
    /// Read what the service has logged of it.
    Logs(String),
}

/// How far a group is from an event.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Behind {
    group: String,
    event: Offset,
    /// None: it has never committed.
    committed: Option<i64>,
}

/// Finds the dead letters of the payment, and why its chain broke.
pub(super) async fn explain(
    pipeline: &Pipeline,
    engine: &Result<&dyn Platform>,
    evidence: &Evidence<'_>,
    deadline: Instant,
    tell: &Tell,
    past: &mut Past,
) {
    if let Err(why) = letters(pipeline, evidence, deadline, tell, past).await {
        past.unreachable.push(why.to_string());
    }
    let missing = |hop: &super::Hop| matches!(hop.found, super::Found::Missing(_));
    let Some(hop) = past.hops.iter().position(missing) else {
        return;
    };
    let workers = workers(pipeline, evidence, hop);
    let containers = match (engine, &evidence.lines) {
        (Ok(_), Ok(lines)) => Some(lines.containers.as_slice()),
        _ => None,
    };
    let behind = behind(evidence, hop, &workers).await.unwrap_or_else(|why| {
        past.unreachable.push(why.to_string());
        None
    });
    let has_input = input_event(pipeline, evidence, hop).is_some();
    past.broken = Some(judge(past, hop, &workers, containers, behind, has_input));
}

/// Who has to do a hop's work: the services that call the one whose hop it is go first, as they
/// consume.
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
fn input_event(pipeline: &Pipeline, evidence: &Evidence<'_>, hop: usize) -> Option<Offset> {
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
        let Some(group) = &worker.group else {
            continue;
        };
        let consumed = evidence.steps[..hop].iter().enumerate().filter(|(_, step)| {
            matches!(&step.place, Place::Topic { topic } if worker.consumes.contains(topic))
        });
        let events: Vec<_> = consumed
            .flat_map(|(step, _)| evidence.events(step).first())
            .map(|event| &event.place)
            .collect();
        let partitions: Vec<_> = events.iter().map(|place| place.partition()).collect();
        let committed = topics
            .kafka
            .declared_group(group)
            .await?
            .lowest_committed(&partitions)
            .await?;
        if let Some(event) = events.into_iter().find(|e| is_behind(&committed, e)) {
            return Ok(Some(Behind {
                group: group.to_string(),
                event: event.clone(),
                committed: committed.get(&event.partition()).copied(),
            }));
        }
    }
    Ok(None)
}

fn is_behind(committed: &Offsets, event: &Offset) -> bool {
    let at = committed.get(&event.partition());
    at.is_none_or(|at| *at <= event.offset)
}

fn judge(
    past: &Past,
    hop: usize,
    workers: &[&Service],
    containers: Option<&[Container]>,
    behind: Option<Behind>,
    has_input: bool,
) -> Broken {
    let service = past.hops[hop].service.clone();
    let mut why = Vec::new();
    let mut next = None;
    let groups: Vec<_> = workers.iter().filter_map(|w| w.group.as_ref()).collect();
    let own = |letter: &&Letter| {
        letter
            .group
            .as_ref()
            .is_none_or(|name| groups.iter().any(|group| group.is(name)))
    };
    let letter = past
        .letters
        .iter()
        .find(own)
        .or_else(|| past.letters.first());
    if let Some(letter) = letter {
        let word = |word: Option<&String>| word.map_or_else(String::new, |w| format!(": {w}"));
        why.push(format!(
            "{} gave its event {} up{}{}",
            letter.group.as_deref().unwrap_or("somebody"),
            letter.id(),
            word(letter.reason.as_ref()),
            word(letter.error.as_ref()),
        ));
        next = Some(Next::Letter(letter.id().clone()));
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
    } else if has_input && letter.is_none() && !groups.is_empty() {
        let passed = "has passed the event that it follows from";
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
                "the group {group} has yet to take {event}: it stands at {at}, {} behind",
                event.offset + 1 - at
            ),
            None => write!(
                f,
                "the group {group} has yet to take {event}: it never took any"
            ),
        }
    }
}

/// Dead letters of the payment's events, or that are like them.
async fn letters(
    pipeline: &Pipeline,
    evidence: &Evidence<'_>,
    deadline: Instant,
    tell: &Tell,
    past: &mut Past,
) -> Result<(), kafka::Error> {
    let (Ok(topics), Some(name)) = (&evidence.topics, &pipeline.dead_letters) else {
        return Ok(());
    };
    let Some(topic) = topics.there.get(name) else {
        return Ok(());
    };
    let search = Search {
        kafka: &topics.kafka,
        since: evidence.since,
        // Even where logs have used all of it up: a reason is worth a moment.
        deadline: deadline.max(Instant::now() + PATIENCE),
        tell,
    };
    let steps = 0..evidence.steps.len();
    let places: BTreeMap<Offset, ()> = steps
        .flat_map(|step| evidence.events(step))
        .map(|event| (event.place.clone(), ()))
        .collect();
    let Some(flow) = &pipeline.flow else {
        return Ok(());
    };
    let called = pipeline.dead_letter_headers.clone();
    let names = called.clone();
    let of_id = topics::pick(&flow.correlation, &past.id, move |message| {
        Letter::of(message, &names)
    });
    let pick: Pick<Letter> = Arc::new(move |message: &BorrowedMessage<'_>| {
        of_id(message).or_else(|| {
            let letter = Letter::of(message, &called);
            let source = letter.source.as_ref();
            source
                .is_some_and(|source| places.contains_key(source))
                .then_some(letter)
        })
    });
    let near = past.began.map(|began| (began, began));
    let looked = search.look(topic, near, &past.id, pick).await?;
    past.note_read(name, looked.read, looked.unread, looked.kept_since);
    past.letters = looked.found;
    past.letters.sort_by_key(|letter| letter.at);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::past::{Found, Hop};
    use declaration::testing::shipped;
    use platform::testing::container;

    fn past() -> Past {
        let topic = "purchase-created".to_owned();
        let hop = Hop {
            place: Place::Topic { topic },
            service: "purchase-worker".to_owned(),
            found: Found::Missing(None),
        };
        Past {
            hops: vec![hop],
            ..Past::default()
        }
    }

    fn letter(group: &str) -> Letter {
        Letter {
            own: Offset::new("dead", 0, 3),
            source: Some(Offset::new("purchase-confirmed", 1, 7)),
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
            event: Offset::new("purchase-confirmed", 1, 7),
            committed: Some(5),
        }
    }

    fn judged(past: &Past, state: State, behind: Option<Behind>) -> Broken {
        let pipeline = shipped();
        let worker = pipeline.service("purchase-worker").expect("declared");
        let mut container = container("purchase-worker", 1);
        container.state = state;
        judge(past, 0, &[worker], Some(&[container]), behind, true)
    }

    #[test]
    fn a_dead_letter_is_the_reason_whatever_else_is_wrong() {
        let mut past = past();
        past.letters = vec![letter("cache-worker"), letter("purchase-worker")];
        let broken = judged(&past, State::Exited, Some(behind()));
        assert_eq!(
            broken.next,
            Next::Letter(Offset::new("purchase-confirmed", 1, 7))
        );
        assert_eq!(
            broken.why[0],
            "purchase-worker gave its event purchase-confirmed/1/7 up: not-json"
        );
    }

    #[test]
    fn a_worker_that_does_not_run_is_brought_up_and_a_paused_one_unpaused() {
        let broken = judged(&past(), State::Exited, Some(behind()));
        assert_eq!(broken.next, Next::Up("purchase-worker".to_owned()));
        let lag = "the group purchase-worker has yet to take purchase-confirmed/1/7: it stands at \
                   5, 3 behind";
        assert_eq!(broken.why[1], lag);
        let broken = judged(&past(), State::Paused, None);
        assert_eq!(
            broken.next,
            Next::Unpause(vec!["shop-purchase-worker".to_owned()])
        );
    }

    #[test]
    fn a_group_that_is_behind_and_one_that_passed_without_a_trace_differ() {
        let broken = judged(&past(), State::Running, Some(behind()));
        assert_eq!(broken.next, Next::Groups);
        let broken = judged(&past(), State::Running, None);
        assert_eq!(broken.next, Next::Logs("purchase-worker".to_owned()));
        assert!(
            broken.why[1].contains("has passed the event"),
            "{:?}",
            broken.why
        );
    }
}
