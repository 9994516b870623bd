//! Why the first missing hop of a message is missing, and what to do about it.

use super::{
    Step,
    sources::Group,
    steps::{self, input},
};
use crate::dead_letters::{DeadLetter, RecordId};
use declaration::{Pipeline, Service};
use kafka::Kafka;
use platform::{Container, State};

/// The first missing hop and its cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Index among the report's hops.
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

/// What is known of a message with a missing hop.
pub(super) struct Known<'a> {
    pub(super) pipeline: &'a Pipeline,
    pub(super) steps: &'a [Step],
    /// By step, the message's first event on its topic.
    pub(super) events: Vec<Option<RecordId>>,
    pub(super) dead_letters: &'a [DeadLetter],
    /// None: they could not be listed.
    pub(super) containers: Option<&'a [Container]>,
    /// None: Kafka does not answer.
    pub(super) kafka: Option<&'a Kafka>,
}

/// A group that has not passed an event.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Behind {
    group: String,
    event: RecordId,
    /// None: the group has never committed.
    committed: Option<i64>,
}

impl Known<'_> {
    /// Why `hop` is missing; and the error, if it is unknown whether a group is behind.
    pub(super) async fn explain(&self, hop: usize) -> (Missing, Option<kafka::Error>) {
        let workers = self.workers(hop);
        let (behind, unknown) = match self.behind(hop, &workers).await {
            Ok(behind) => (behind, None),
            Err(why) => (None, Some(why)),
        };
        let input = input(self.pipeline, self.steps, hop);
        let has_input = input.is_some_and(|input| self.events[input].is_some());
        (judge(self, hop, &workers, behind, has_input), unknown)
    }

    /// The services that have to do a hop's work. Services that call the hop's service come first,
    /// because they consume the event. Others that emit on the hop's topic come last: one of them may be the
    /// relay of an outbox.
    fn workers(&self, hop: usize) -> Vec<&Service> {
        let step = &self.steps[hop];
        let service = &step.service;
        let services = || self.pipeline.services.iter();
        let callers = services().filter(|s| s.calls.contains(service));
        let own = self.pipeline.service(service);
        let mut workers: Vec<_> = match own {
            Some(own) if !own.consumes.is_empty() => vec![own],
            own => callers.chain(own).collect(),
        };
        if let Some(topic) = step.topic() {
            let relays = services().filter(|s| s.emits.iter().any(|t| t == topic));
            for relay in relays {
                if !workers.iter().any(|worker| worker.name == relay.name) {
                    workers.push(relay);
                }
            }
        }
        workers
    }

    async fn behind(
        &self,
        hop: usize,
        workers: &[&Service],
    ) -> Result<Option<Behind>, kafka::Error> {
        let Some(kafka) = self.kafka else {
            return Ok(None);
        };
        for worker in workers {
            let Some(name) = &worker.group else {
                continue;
            };
            let group = Group {
                service: worker.name.clone(),
                topics: worker.consumes.clone(),
                offsets: kafka.declared_group(name).await?,
            };
            let consumed = steps::topics(&self.steps[..hop]);
            let events = consumed.filter_map(|(step, _)| self.events[step].as_ref());
            if let Some((event, committed)) = group.first_unconsumed(events).await? {
                return Ok(Some(Behind {
                    group: name.to_string(),
                    event,
                    committed,
                }));
            }
        }
        Ok(None)
    }
}

fn judge(
    known: &Known<'_>,
    hop: usize,
    workers: &[&Service],
    behind: Option<Behind>,
    has_input: bool,
) -> Missing {
    let service = known.steps[hop].service.clone();
    let mut why = Vec::new();
    let mut next = None;
    let groups: Vec<_> = workers.iter().filter_map(|w| w.group.as_ref()).collect();
    let own = |dead_letter: &&DeadLetter| {
        dead_letter
            .group
            .as_ref()
            .is_none_or(|name| groups.iter().any(|group| group.is(name)))
    };
    let dead_letters = known.dead_letters;
    let dead_letter = dead_letters
        .iter()
        .find(own)
        .or_else(|| dead_letters.first());
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
        let Some(containers) = known.containers else {
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
    Missing {
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

/// `running, healthy`; several replicas with their names.
fn describe(containers: &[Container]) -> String {
    let one = |c: &Container| {
        let health = c.health.as_ref().filter(|_| c.state == State::Running);
        match (health, c.exit_code) {
            (Some(health), _) => format!("{}, {}", c.state.name(), health.status),
            (None, Some(code)) if c.state == State::Exited => format!("exited ({code})"),
            (None, _) => c.state.name().to_owned(),
        }
    };
    match containers {
        [] => "not deployed".to_owned(),
        [container] => one(container),
        several => {
            let each = several.iter().map(|c| format!("{}: {}", c.name, one(c)));
            each.collect::<Vec<_>>().join("; ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::HopPlace;
    use declaration::testing::shipped;
    use platform::testing::container;

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

    fn judged(dead_letters: &[DeadLetter], state: State, behind: Option<Behind>) -> Missing {
        let pipeline = shipped();
        let worker = pipeline.service("purchase-worker").expect("declared");
        let mut container = container("purchase-worker", 1);
        container.state = state;
        let topic = "purchase-created".to_owned();
        let known = Known {
            pipeline: &pipeline,
            steps: &[Step {
                place: HopPlace::Topic { topic },
                service: "purchase-worker".to_owned(),
            }],
            events: Vec::new(),
            dead_letters,
            containers: Some(&[container]),
            kafka: None,
        };
        judge(&known, 0, &[worker], behind, true)
    }

    /// The entry service accepts, and a process of its own publishes what it has stored.
    #[test]
    fn a_relay_that_does_not_run_is_the_reason() {
        let mut pipeline = shipped();
        let topic = "purchase-confirmed".to_owned();
        let relay = pipeline.services.iter_mut();
        let mut relay = relay.filter(|s| s.name == "admin-service");
        let relay = relay.next().expect("declared");
        relay.emits = vec![topic.clone()];
        let mut stopped = container("admin-service", 1);
        stopped.state = State::Exited;
        let known = Known {
            pipeline: &pipeline,
            steps: &[Step {
                place: HopPlace::Topic { topic },
                service: "payment-service".to_owned(),
            }],
            events: vec![None],
            dead_letters: &[],
            containers: Some(&[container("payment-service", 1), stopped]),
            kafka: None,
        };
        let workers = known.workers(0);
        let names: Vec<_> = workers.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["payment-service", "admin-service"]);
        let missing = judge(&known, 0, &workers, None, false);
        assert_eq!(missing.next, Next::Up("admin-service".to_owned()));
        assert!(
            missing.why[1].starts_with("admin-service: exited"),
            "{missing:?}"
        );
    }

    #[test]
    fn a_dead_letter_is_the_reason_whatever_else_is_wrong() {
        let dead_letters = ["cache-worker", "purchase-worker"].map(dead_letter);
        let missing = judged(&dead_letters, State::Exited, Some(behind()));
        assert_eq!(
            missing.next,
            Next::DeadLetter(RecordId::new("purchase-confirmed", 1, 7))
        );
        assert_eq!(
            missing.why[0],
            "purchase-worker dead-lettered its event purchase-confirmed/1/7: not-json"
        );
    }

    #[test]
    fn a_worker_that_does_not_run_is_brought_up_and_a_paused_one_unpaused() {
        let missing = judged(&[], State::Exited, Some(behind()));
        assert_eq!(missing.next, Next::Up("purchase-worker".to_owned()));
        let lag = "the group purchase-worker has not consumed purchase-confirmed/1/7: its \
                   committed offset is 5, 3 behind";
        assert_eq!(missing.why[1], lag);
        let missing = judged(&[], State::Paused, None);
        assert_eq!(
            missing.next,
            Next::Unpause(vec!["shop-purchase-worker".to_owned()])
        );
    }

    #[test]
    fn a_group_that_is_behind_and_one_that_passed_without_a_trace_differ() {
        let missing = judged(&[], State::Running, Some(behind()));
        assert_eq!(missing.next, Next::Groups);
        let missing = judged(&[], State::Running, None);
        assert_eq!(missing.next, Next::Logs("purchase-worker".to_owned()));
        assert!(
            missing.why[1].contains("has consumed the event"),
            "{:?}",
            missing.why
        );
    }
}
