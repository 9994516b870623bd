//! What a message is expected to do, derived from the declaration, and what was seen of it.
//!
//! Breadth first along the graph: the entry service's tables and topics, or the first event's topic
//! if the event is produced directly; then, topic by topic, the services that consume it: their log
//! stages, the tables that they or services they call write, the keys they delete, and the topics
//! they emit. [`super::unfollowed`] finds what the graph does not reach.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};

use declaration::{Flow, Pattern, Pipeline, Service, Table, units};

/// An expected hop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Where the hop can be seen.
    pub place: HopPlace,
    /// The service that does it.
    pub service: String,
}

/// Where a hop can be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HopPlace {
    /// The answer of the entry service to the request.
    Entry {
        /// The entry service.
        service: String,
    },
    /// An event on a topic.
    Topic {
        /// Topic name.
        topic: String,
    },
    /// A worker's log line of one stage.
    Log {
        /// The service that logs it.
        service: String,
        /// What the line matches, as declared.
        stage: Pattern,
    },
    /// Rows of a table.
    Table {
        /// Table name as declared.
        table: String,
        /// Expected number of rows.
        rows: i64,
    },
    /// Redis keys were deleted.
    Cache {
        /// The service that deletes the keys.
        service: String,
        /// Number of keys.
        keys: usize,
    },
}

/// A step and what was seen of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// What is expected.
    pub step: Step,
    /// What was seen.
    pub found: Found,
}

/// Whether a hop was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Seen; at least one sighting, oldest first.
    Seen(Vec<Sighting>),
    /// It did not happen; what was found instead.
    Missing(Option<String>),
    /// Why it is unknown whether it happened.
    Unknown(String),
}

/// One sighting of a hop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// Time by the clock of the source (Kafka, Docker, Postgres), or the local clock where the source
    /// was polled. None: the source keeps no times.
    pub at: Option<DateTime<Utc>>,
    /// Since the message was sent, or since its earliest sighting.
    pub after: Option<Duration>,
    /// `paid/2/17`, `201 Created`, `7 rows`, a container's name.
    pub detail: String,
}

impl Step {
    /// The topic of the event, if the hop is one.
    pub fn topic(&self) -> Option<&str> {
        match &self.place {
            HopPlace::Topic { topic } => Some(topic),
            HopPlace::Entry { .. }
            | HopPlace::Log { .. }
            | HopPlace::Table { .. }
            | HopPlace::Cache { .. } => None,
        }
    }

    /// The table, if the hop is rows of one.
    pub(super) fn table<'a>(&self, pipeline: &'a Pipeline) -> Option<&'a Table> {
        match &self.place {
            HopPlace::Table { table, .. } => pipeline.table(table),
            HopPlace::Entry { .. }
            | HopPlace::Topic { .. }
            | HopPlace::Log { .. }
            | HopPlace::Cache { .. } => None,
        }
    }

    /// Whether the hop is a log line of `service`.
    pub(super) fn is_log_of(&self, service: &str) -> bool {
        matches!(&self.place, HopPlace::Log { service: own, .. } if own == service)
    }
}

impl HopPlace {
    /// The kind of place in words: `log lines`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Entry { .. } => "the answer of the entry service",
            Self::Topic { .. } => "events",
            Self::Log { .. } => "log lines",
            Self::Table { .. } => "rows",
            Self::Cache { .. } => "Redis keys",
        }
    }
}

impl Hop {
    /// Whether it was seen.
    pub fn is_seen(&self) -> bool {
        matches!(self.found, Found::Seen(_))
    }

    /// Whether it did not happen.
    pub fn is_missing(&self) -> bool {
        matches!(self.found, Found::Missing(_))
    }
}

/// By how much a record's time may differ from the clocks of other sources.
const CLOCKS: TimeDelta = TimeDelta::seconds(60);

/// The topics among `hops` whose records are dated before or after `span`, in which they were written, a line
/// each. Kafka deletes records, and lag and `--since` count, by the time that the producer gives them.
pub(super) fn misdated(hops: &[Hop], span: (DateTime<Utc>, DateTime<Utc>)) -> Vec<String> {
    let (from, to) = span;
    let lines = hops.iter().filter_map(|hop| {
        let topic = hop.step.topic()?;
        let at = hop.found.first()?;
        let (difference, word) = match at < from {
            true => (from - at, "early"),
            false => (at - to, "late"),
        };
        let by = units::coarse((difference > CLOCKS).then(|| difference.to_std().ok())??);
        Some(format!("{topic}: its record is dated {by} {word}"))
    });
    lines.collect()
}

impl Found {
    /// The time of the first sighting.
    pub(super) fn first(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Seen(sightings) => sightings.iter().filter_map(|s| s.at).min(),
            Self::Missing(_) | Self::Unknown(_) => None,
        }
    }
}

/// The topics among `steps`, each with the index of its step, in order.
pub(super) fn topics(steps: &[Step]) -> impl Iterator<Item = (usize, &str)> {
    let steps = steps.iter().enumerate();
    steps.filter_map(|(index, step)| Some((index, step.topic()?)))
}

/// The tables among `steps`, each with the index of its step, in order.
pub(super) fn tables<'a>(
    pipeline: &'a Pipeline,
    steps: &[Step],
) -> impl Iterator<Item = (usize, &'a Table)> {
    let steps = steps.iter().enumerate();
    steps.filter_map(|(index, step)| Some((index, step.table(pipeline)?)))
}

/// The tables of the flow whose rows are declared to be kept.
pub(super) fn kept(pipeline: &Pipeline, steps: &[Step]) -> Vec<String> {
    let followed = |table: &&Table| {
        let mut tables = tables(pipeline, steps);
        table.keeps() && tables.any(|(_, step)| step.name == table.name)
    };
    let tables = pipeline.tables.iter().filter(followed);
    tables.map(|table| table.name.clone()).collect()
}

/// The step of the topic that the service of `step`, or one that calls it, consumes.
pub(super) fn input(pipeline: &Pipeline, steps: &[Step], step: usize) -> Option<usize> {
    let service = &steps[step].service;
    let own = pipeline.service(service).into_iter();
    let callers = pipeline
        .services
        .iter()
        .filter(|s| s.calls.contains(service));
    let mut consumed = own.chain(callers).flat_map(|s| &s.consumes);
    consumed.find_map(|topic| {
        let mut earlier = steps[..step].iter();
        earlier.position(|s| s.topic() == Some(topic))
    })
}

/// A service, and those that it calls, directly or through others.
pub(super) fn with_called<'a>(pipeline: &'a Pipeline, service: &'a Service) -> Vec<&'a Service> {
    let mut services = vec![service];
    let mut next = 0;
    while let Some(service) = services.get(next).copied() {
        next += 1;
        let called = service.calls.iter().filter_map(|n| pipeline.service(n));
        for called in called {
            if !services.iter().any(|s| s.name == called.name) {
                services.push(called);
            }
        }
    }
    services
}

/// Where a message begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start<'a> {
    /// With the request to the entry service.
    Entry,
    /// With its first event, on this topic.
    Event(&'a str),
}

/// The expected hops of a message, in breadth-first order.
pub(super) fn steps(pipeline: &Pipeline, flow: &Flow, start: Start<'_>) -> Vec<Step> {
    reach(pipeline, flow, start).steps
}

/// What a message reaches, as declared.
#[derive(Debug, Default)]
pub(super) struct Reach {
    pub(super) steps: Vec<Step>,
    /// Services that do something for it.
    pub(super) services: BTreeSet<String>,
}

pub(super) fn reach(pipeline: &Pipeline, flow: &Flow, start: Start<'_>) -> Reach {
    let mut walk = Walk {
        pipeline,
        flow,
        steps: Vec::new(),
        services: BTreeSet::new(),
        topics: VecDeque::new(),
    };
    let entry = flow.maker().to_owned();
    match start {
        Start::Entry => {
            let service = entry.clone();
            walk.add(&entry, HopPlace::Entry { service });
            if let Some(service) = pipeline.service(&entry) {
                walk.log(service);
                walk.leave(service);
            }
            walk.all();
            // The declared first event is the one that the entry service causes, even if another
            // service publishes it.
            if let Some(event) = flow.event.as_ref().filter(|_| flow.entry.is_some()) {
                walk.emit(&entry, &event.topic);
                walk.all();
            }
        }
        Start::Event(topic) => {
            walk.emit(&entry, topic);
            walk.all();
        }
    }
    Reach {
        steps: walk.steps,
        services: walk.services,
    }
}

struct Walk<'a> {
    pipeline: &'a Pipeline,
    flow: &'a Flow,
    steps: Vec<Step>,
    services: BTreeSet<String>,
    topics: VecDeque<String>,
}

impl Walk<'_> {
    /// Follows all topics that are known so far.
    fn all(&mut self) {
        while let Some(topic) = self.topics.pop_front() {
            let consumes = |s: &&Service| s.consumes.contains(&topic);
            for service in self.pipeline.services.iter().filter(consumes) {
                self.log(service);
                self.leave(service);
            }
        }
    }

    /// Adds an event on a topic, unless the topic is excluded from the flow.
    fn emit(&mut self, service: &str, topic: &str) {
        if self.flow.excludes.iter().any(|t| t == topic) {
            return;
        }
        let place = HopPlace::Topic {
            topic: topic.to_owned(),
        };
        if !self.steps.iter().any(|step| step.place == place) {
            self.topics.push_back(topic.to_owned());
        }
        self.add(service, place);
    }

    /// Adds a hop once: a hop that is reached again, by a cycle or a second path, is the same.
    fn add(&mut self, service: &str, place: HopPlace) {
        if !self.steps.iter().any(|step| step.place == place) {
            self.steps.push(Step {
                place,
                service: service.to_owned(),
            });
        }
    }

    fn log(&mut self, service: &Service) {
        for stage in &service.stages {
            let pattern = self.pipeline.stages.get(stage);
            let place = HopPlace::Log {
                service: service.name.clone(),
                stage: pattern.map_or_else(|| stage.as_str().into(), Clone::clone),
            };
            self.add(&service.name, place);
        }
    }

    /// Adds the effects of a service: rows (its own and those of services it calls), deleted keys
    /// and events.
    fn leave(&mut self, service: &Service) {
        let called = with_called(self.pipeline, service);
        for service in &called {
            self.services.insert(service.name.clone());
            self.tables(service);
        }
        if let Some(gone) = &self.flow.invalidated_keys
            && gone.service == service.name
        {
            let place = HopPlace::Cache {
                service: service.name.clone(),
                keys: gone.keys.len(),
            };
            self.add(&service.name, place);
        }
        for service in called {
            for topic in &service.emits {
                self.emit(&service.name, topic);
            }
        }
    }

    fn tables(&mut self, service: &Service) {
        for table in service
            .writes
            .iter()
            .filter_map(|name| self.pipeline.table(name))
            .filter(|table| table.is_followed())
        {
            let place = HopPlace::Table {
                table: table.name.clone(),
                rows: table.rows,
            };
            self.add(&service.name, place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use declaration::testing::shipped;

    /// The shipped pipeline's steps as `service: place`.
    fn short(start: Start<'_>) -> Vec<String> {
        let pipeline = shipped();
        let flow = pipeline.flow.clone().expect("has a flow");
        let short = |step: Step| {
            let place = match step.place {
                HopPlace::Entry { .. } => "entry".to_owned(),
                HopPlace::Topic { topic } => format!("topic {topic}"),
                HopPlace::Log { stage, .. } => format!("log {stage}"),
                HopPlace::Table { table, rows } => format!("{rows} in {table}"),
                HopPlace::Cache { keys, .. } => format!("{keys} keys gone"),
            };
            format!("{}: {place}", step.service)
        };
        let steps = steps(&pipeline, &flow, start);
        steps.into_iter().map(short).collect()
    }

    #[test]
    fn a_first_event_leaves_the_entry_out() {
        let all = short(Start::Entry);
        assert_eq!(short(Start::Event("purchase-confirmed")), all[3..]);
        assert_eq!(short(Start::Event("trainer-allocated"))[1..], all[22..]);
    }

    #[test]
    fn the_hops_follow_the_graph_breadth_first() {
        assert_eq!(
            short(Start::Entry),
            [
                "payment-service: entry",
                "payment-service: 1 in payments",
                "payment-service: 1 in outbox",
                "payment-service: topic purchase-confirmed",
                "purchase-worker: log message received",
                "purchase-worker: log processing started",
                "purchase-worker: log database write completed",
                "purchase-worker: log event emitted",
                "purchase-worker: log message processed successfully",
                "purchase-worker: 1 in student_course_purchases",
                "purchase-worker: topic purchase-created",
                "allocation-worker: log message received",
                "allocation-worker: log processing started",
                "allocation-worker: log database write completed",
                "allocation-worker: log event emitted",
                "allocation-worker: log message processed successfully",
                "admin-service: 1 in trainer_allocations",
                "allocation-worker: topic trainer-allocated",
                "cache-worker: log message received",
                "cache-worker: log processing started",
                "cache-worker: log message processed successfully",
                "cache-worker: 2 keys gone",
                "session-worker: log message received",
                "session-worker: log processing started",
                "session-worker: log database write completed",
                "session-worker: log message processed successfully",
                "session-worker: 7 in tutoring_sessions",
            ]
        );
    }
}
