//! Finds declared topics, services and tables that no chain of `emits` reaches from where a message
//! begins.
//!
//! If the declaration has a gap, the flow ends early and would pass although the services after the
//! gap do not run. So `test-flow` names what it does not follow, and fails.

use std::collections::BTreeSet;

use super::steps::{HopPlace, Start, reach};
use declaration::{Flow, Pipeline, Service};

/// Topics, services and tables that are not followed, in the order of the declaration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unfollowed {
    /// Topics that a service consumes.
    pub topics: Vec<String>,
    /// Services that consume one of these topics and none that is followed.
    pub services: Vec<String>,
    /// Tables with a `find`.
    pub tables: Vec<String>,
    /// What to declare, one for each gap.
    pub hints: Vec<String>,
}

impl Unfollowed {
    /// Whether everything declared is followed.
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty() && self.services.is_empty() && self.tables.is_empty()
    }

    /// `topics a, b; services c; tables d`
    pub fn names(&self) -> String {
        let kinds = [
            ("topics", &self.topics),
            ("services", &self.services),
            ("tables", &self.tables),
        ];
        let named = kinds.into_iter().filter(|(_, names)| !names.is_empty());
        let named = named.map(|(kind, names)| format!("{kind} {}", names.join(", ")));
        named.collect::<Vec<_>>().join("; ")
    }
}

/// Follows both starts of a message, so the entry service's effects are not reported when the first
/// event is produced directly.
pub(super) fn unfollowed(pipeline: &Pipeline, flow: &Flow) -> Unfollowed {
    let entry = flow.entry.iter().map(|_| Start::Entry);
    let event = flow.event.iter().map(|event| Start::Event(&event.topic));
    let mut known = Known::default();
    for start in entry.chain(event) {
        let reached = reach(pipeline, flow, start);
        known.services.extend(reached.services);
        for step in reached.steps {
            match step.place {
                HopPlace::Topic { topic } => drop(known.topics.insert(topic)),
                HopPlace::Table { table, .. } => drop(known.tables.insert(table)),
                HopPlace::Entry { .. } | HopPlace::Log { .. } | HopPlace::Cache { .. } => {}
            }
        }
    }
    known.excluded.extend(flow.excludes.iter().cloned());
    known.excluded.extend(pipeline.dead_letters.clone());
    known.exclude_downstream(pipeline);
    known.rest(pipeline, flow)
}

/// What is reached, by names.
#[derive(Default)]
struct Known {
    topics: BTreeSet<String>,
    services: BTreeSet<String>,
    tables: BTreeSet<String>,
    /// Topics that a message is declared not to reach.
    excluded: BTreeSet<String>,
}

impl Known {
    /// What only services of excluded topics emit is excluded, too.
    fn exclude_downstream(&mut self, pipeline: &Pipeline) {
        loop {
            let services = pipeline.services.iter().filter(|s| self.is_excluded(s));
            let emitted: BTreeSet<String> = services.flat_map(|s| s.emits.clone()).collect();
            let before = self.excluded.len();
            let new = emitted.into_iter().filter(|t| !self.topics.contains(t));
            self.excluded.extend(new.collect::<Vec<_>>());
            if self.excluded.len() == before {
                return;
            }
        }
    }

    /// Whether it consumes only excluded topics.
    fn is_excluded(&self, service: &Service) -> bool {
        let excluded = |topic| self.excluded.contains(topic);
        !service.consumes.is_empty() && service.consumes.iter().all(excluded)
    }

    fn is_open(&self, topic: &str) -> bool {
        !self.topics.contains(topic) && !self.excluded.contains(topic)
    }

    fn rest(&self, pipeline: &Pipeline, flow: &Flow) -> Unfollowed {
        let mut rest = Unfollowed::default();
        for service in &pipeline.services {
            for topic in service.consumes.iter().filter(|topic| self.is_open(topic)) {
                if !rest.topics.contains(topic) {
                    rest.topics.push(topic.clone());
                }
            }
            if service.consumes.is_empty() || self.is_excluded(service) {
                continue;
            }
            if !self.services.contains(&service.name) {
                rest.services.push(service.name.clone());
            }
        }
        for topic in &rest.topics {
            rest.hints.extend(topic_hint(pipeline, flow, topic));
        }
        for table in pipeline.tables.iter().filter(|table| table.is_followed()) {
            let writes = |s: &&Service| s.writes.contains(&table.name);
            let writers: Vec<_> = pipeline.services.iter().filter(writes).collect();
            let excluded = !writers.is_empty() && writers.iter().all(|s| self.is_excluded(s));
            if self.tables.contains(&table.name) || excluded {
                continue;
            }
            rest.tables.push(table.name.clone());
            rest.hints.extend(table_hint(&table.name, &writers));
        }
        rest
    }
}

/// How a message may be declared to reach `topic`; None where another gap comes before it.
fn topic_hint(pipeline: &Pipeline, flow: &Flow, topic: &str) -> Option<String> {
    let emits = |s: &&Service| s.emits.iter().any(|t| t == topic);
    let emitters: Vec<_> = pipeline.services.iter().filter(emits).collect();
    let excludes = "or exclude the topic in `x-caravan.flow.excludes`";
    let source = emitters.iter().find(|s| s.consumes.is_empty());
    match (source, &flow.entry) {
        (Some(source), Some(entry)) => Some(format!(
            "`{}` emits {topic}, and nothing says that what `{1}` accepts gets there: declare \
             `emits: [{topic}]` on `{1}`, {excludes}",
            source.name, entry.service
        )),
        (Some(source), None) => Some(format!(
            "`{}` emits {topic}, and the first event does not lead there: declare what that \
             service `consumes`, {excludes}",
            source.name
        )),
        (None, _) if emitters.is_empty() => {
            let consumes = |s: &&Service| s.consumes.iter().any(|t| t == topic);
            let consumer = pipeline.services.iter().find(consumes)?;
            Some(format!(
                "no service is declared to emit {topic}, which `{}` consumes: declare \
                 `emits: [{topic}]` on the service that its events come from, {excludes}",
                consumer.name
            ))
        }
        (None, _) => None,
    }
}

/// How a message may be declared to reach a table; None where the gap is that of a topic.
fn table_hint(table: &str, writers: &[&Service]) -> Option<String> {
    match writers {
        [] => Some(format!(
            "no service is declared to write {table}: declare `writes: [{table}]` on the one that \
             does, or leave out the table's `find`"
        )),
        writers if writers.iter().all(|s| s.consumes.is_empty()) => Some(format!(
            "`{}` writes {table}, and no service on the way calls it: declare \
             `calls: [{0}]` on the one that does",
            writers[0].name
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use declaration::testing::{TestDirectory, shipped};

    const PIPELINE: &str = "
x-caravan:
  kafka: {service: api, bootstrap: 'localhost:9092'}
  postgres: {url: 'postgres://a:b@localhost:5432/shop'}
  topics: ['orders:1:1d', 'bills:1:1d', 'retries:1:1d', 'dead:1:1d']
  dead-letters: dead
  tables:
    orders: {find: id = $$1, rows: 1}
    bills: {find: id = $$1, rows: 1}
  flow:
    values: {id: uuid}
    entry: {service: api, path: /, body: '{{id}}', status: 200, correlation-id: '{{id}}'}
services:
  api: {image: a, x-caravan: {http: 'http://localhost:8080', emits: [orders], writes: [orders]}}
  relay: {image: a, x-caravan: {emits: [orders]}}
  billing: {image: a, x-caravan: {group: b, consumes: [orders], emits: [bills], writes: [bills]}}
  mailer: {image: a, x-caravan: {group: m, consumes: [bills]}}
  undertaker: {image: a, x-caravan: {group: u, consumes: [dead]}}
";

    /// Where the pipeline says `to` in place of each `from`.
    fn rest(otherwise: &[(&str, &str)]) -> Unfollowed {
        let mut text = PIPELINE.to_owned();
        for (from, to) in otherwise {
            assert_eq!(text.matches(from).count(), 1, "{from}");
            text = text.replace(from, to);
        }
        let directory = TestDirectory::new();
        directory.write("compose.yaml", &text);
        let pipeline = directory.pipeline();
        let flow = pipeline.flow.clone().expect("a flow");
        unfollowed(&pipeline, &flow)
    }

    fn names(otherwise: &[(&str, &str)]) -> String {
        rest(otherwise).names()
    }

    const NO_EMITS: (&str, &str) = ("emits: [orders], writes", "writes");

    #[test]
    fn complete_pipelines_are_followed_without_the_dead_letter_topic() {
        let pipeline = shipped();
        let flow = pipeline.flow.clone().expect("a flow");
        assert_eq!(unfollowed(&pipeline, &flow), Unfollowed::default());
        assert_eq!(names(&[]), "");
    }

    #[test]
    fn behind_a_relay_everything_is_named_and_the_gap_is_hinted_at_once() {
        let rest = rest(&[NO_EMITS]);
        let all = "topics orders, bills; services billing, mailer; tables bills";
        assert_eq!(rest.names(), all);
        assert_eq!(rest.hints.len(), 1, "{:?}", rest.hints);
        assert!(rest.hints[0].contains("declare `emits: [orders]` on `api`"));
    }

    #[test]
    fn the_first_event_is_what_the_entry_announces() {
        let event = "    values: {id: uuid}\n    event: {topic: orders, body: {id: '{{id}}'}, correlation-id: /id}";
        assert_eq!(names(&[NO_EMITS, ("    values: {id: uuid}", event)]), "");
    }

    #[test]
    fn what_a_called_service_writes_and_emits_is_followed() {
        let called = "  tax: {image: a, x-caravan: {calls: [store]}}\n  store: {image: a, \
                      x-caravan: {emits: [bills], writes: [bills]}}\n  mailer:";
        let by_others = ("emits: [bills], writes: [bills]", "calls: [tax]");
        assert_eq!(names(&[by_others, ("  mailer:", called)]), "");
        let not_called = ("emits: [bills], writes: [bills]", "stages: []");
        let rest = rest(&[not_called, ("  mailer:", called)]);
        assert_eq!(rest.names(), "topics bills; services mailer; tables bills");
    }

    #[test]
    fn topics_and_tables_without_a_declared_writer_are_gaps() {
        let rest = rest(&[
            ("emits: [bills], writes: [bills]", "stages: []"),
            ("consumes: [orders]", "consumes: [orders, retries]"),
        ]);
        assert_eq!(
            rest.names(),
            "topics retries, bills; services mailer; tables bills"
        );
        assert_eq!(rest.hints.len(), 3, "{:?}", rest.hints);
    }

    #[test]
    fn excluded_topics_and_what_only_they_lead_to_are_not_gaps() {
        let excludes = "    excludes: [orders]\n    values: {id: uuid}";
        let excluded = [NO_EMITS, ("    values: {id: uuid}", excludes)];
        assert_eq!(names(&excluded), "");
    }
}
