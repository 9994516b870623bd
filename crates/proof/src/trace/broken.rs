//! Finds why the first missing hop is missing, and what to do about it.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use kafka::record::BorrowedMessage;

use super::{
    FlowTrace, ReportProgress,
    judge::Evidence,
    search::{Pick, Search},
    topics,
};
use crate::{
    dead_letters::{DeadLetter, RecordId},
    probe::{describe, hop::HopPlace},
};
use declaration::{Pipeline, Service};
use diagnostics::Result;
use kafka::offsets::Offsets;
use platform::Platform;
use platform::{Container, State};

/// Minimum time limit for reading dead letters.
const PATIENCE: Duration = Duration::from_secs(5);

/// The first missing hop and its cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Index into [`FlowTrace::hops`].
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
    /// Show the service's log lines of the payment.
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

/// Finds the dead letters of the payment, and why its chain broke.
pub(super) async fn explain(
    pipeline: &Pipeline,
    engine: &Result<&dyn Platform>,
    evidence: &Evidence<'_>,
    deadline: Instant,
    report: &ReportProgress,
    trace: &mut FlowTrace,
) {
    if let Err(why) = dead_letters(pipeline, evidence, deadline, report, trace).await {
        trace.unreachable.push(why.to_string());
    }
    let missing = |hop: &super::Hop| matches!(hop.found, super::Found::Missing(_));
    let Some(hop) = trace.hops.iter().position(missing) else {
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
        let Some(group) = &worker.group else {
            continue;
        };
        let consumed = evidence.steps[..hop].iter().enumerate().filter(|(_, step)| {
            matches!(&step.place, HopPlace::Topic { topic } if worker.consumes.contains(topic))
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

fn is_behind(committed: &Offsets, event: &RecordId) -> bool {
    let at = committed.get(&event.partition());
    at.is_none_or(|at| *at <= event.offset)
}

fn judge(
    trace: &FlowTrace,
    hop: usize,
    workers: &[&Service],
    containers: Option<&[Container]>,
    behind: Option<Behind>,
    has_input: bool,
) -> Broken {
    let service = trace.hops[hop].service.clone();
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
            "{} gave its event {} up{}{}",
            dead_letter.group.as_deref().unwrap_or("somebody"),
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

/// Reads the dead letters whose source record is one of the payment's events, or that have its
/// correlation id.
async fn dead_letters(
    pipeline: &Pipeline,
    evidence: &Evidence<'_>,
    deadline: Instant,
    report: &ReportProgress,
    trace: &mut FlowTrace,
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
        // Reading logs may have used up the timeout. The reason of a dead letter is worth a few
        // more seconds.
        deadline: deadline.max(Instant::now() + PATIENCE),
        report,
    };
    let steps = 0..evidence.steps.len();
    let places: BTreeMap<RecordId, ()> = steps
        .flat_map(|step| evidence.events(step))
        .map(|event| (event.place.clone(), ()))
        .collect();
    let Some(flow) = &pipeline.flow else {
        return Ok(());
    };
    let header_names = pipeline.dead_letter_headers.clone();
    let names = header_names.clone();
    let of_id = topics::pick(&flow.correlation, &trace.id, move |message| {
        DeadLetter::of(message, &names)
    });
    let pick: Pick<DeadLetter> = Arc::new(move |message: &BorrowedMessage<'_>| {
        of_id(message).or_else(|| {
            let dead_letter = DeadLetter::of(message, &header_names);
            let source = dead_letter.source.as_ref();
            source
                .is_some_and(|source| places.contains_key(source))
                .then_some(dead_letter)
        })
    });
    let near = trace.began.map(|began| (began, began));
    let looked = search.look(topic, near, &trace.id, pick).await?;
    trace.note_read(name, looked.read, looked.unread, looked.kept_since);
    trace.dead_letters = looked.found;
    trace.dead_letters.sort_by_key(|dead_letter| dead_letter.at);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{Found, Hop};
    use declaration::testing::shipped;
    use platform::testing::container;

    fn trace() -> FlowTrace {
        let topic = "purchase-created".to_owned();
        let hop = Hop {
            place: HopPlace::Topic { topic },
            service: "purchase-worker".to_owned(),
            found: Found::Missing(None),
        };
        FlowTrace {
            hops: vec![hop],
            ..FlowTrace::default()
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

    fn judged(trace: &FlowTrace, state: State, behind: Option<Behind>) -> Broken {
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
            "purchase-worker gave its event purchase-confirmed/1/7 up: not-json"
        );
    }

    #[test]
    fn a_worker_that_does_not_run_is_brought_up_and_a_paused_one_unpaused() {
        let broken = judged(&trace(), State::Exited, Some(behind()));
        assert_eq!(broken.next, Next::Up("purchase-worker".to_owned()));
        let lag = "the group purchase-worker has yet to take purchase-confirmed/1/7: it stands at \
                   5, 3 behind";
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
            broken.why[1].contains("has passed the event"),
            "{:?}",
            broken.why
        );
    }
}
