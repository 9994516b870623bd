//! Evidence as it is when everything went through, and with one thing missing.

use std::collections::BTreeMap;

use super::*;
use crate::{
    dead_letters::RecordId,
    flow::{
        steps::Start,
        trace::{topics::Looked, traceable},
    },
    stores::postgres::batches::Rows,
};
use declaration::testing::shipped;
use diagnostics::Cause;
use kafka::Kafka;

/// Seconds after the message was sent.
fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_770_000_000 + second, 0).expect("in range")
}

struct Scene {
    pipeline: Pipeline,
    steps: Vec<Step>,
}

impl Scene {
    fn new() -> Self {
        let pipeline = shipped();
        let flow = pipeline.flow.as_ref().expect("a flow");
        let steps = traceable(steps::steps(&pipeline, flow, Start::Entry));
        Self { pipeline, steps }
    }

    fn step(&self, name: &str) -> usize {
        let is = |step: &Step| match &step.place {
            HopPlace::Topic { topic } => topic == name,
            HopPlace::Table { table, .. } => table == name,
            HopPlace::Log { service, .. } => service == name,
            HopPlace::Entry { .. } | HopPlace::Cache { .. } => false,
        };
        self.steps.iter().position(is).expect("a step")
    }

    /// Everything is as it should be, every hop a second after the one before.
    fn evidence(&self) -> Evidence<'_> {
        let mut topics = Topics {
            kafka: Kafka::new("127.0.0.1:1").expect("a client"),
            there: BTreeMap::new(),
            looked: Vec::new(),
        };
        let mut rows = Answers::new();
        let mut lines = Lines::default();
        for (index, step) in self.steps.iter().enumerate() {
            let time = at(i64::try_from(index).expect("few"));
            match &step.place {
                HopPlace::Topic { topic } => topics.looked.push((
                    index,
                    Some(Looked {
                        found: vec![FoundEvent {
                            at: Some(time),
                            place: RecordId::new(topic.as_str(), 0, 7),
                            synthetic: false,
                        }],
                        read: 10,
                        unread: 0,
                        kept_since: None,
                    }),
                )),
                HopPlace::Table { rows: count, .. } => {
                    let (first, last) = (Some(time), Some(time));
                    let count = *count;
                    rows.push((index, Lookup::Rows(Rows { count, first, last })));
                }
                HopPlace::Log { service, .. } => {
                    let detail = format!("shop-{service}");
                    let at_once = Sighting {
                        at: Some(time),
                        after: None,
                        detail,
                    };
                    lines.seen.insert(index, vec![at_once]);
                    lines.whole_since.insert(service.clone(), at(-3600));
                }
                HopPlace::Entry { .. } | HopPlace::Cache { .. } => unreachable!("left out"),
            }
        }
        Evidence {
            steps: &self.steps,
            rows: Ok(rows),
            topics: Ok(topics),
            lines: Ok(lines),
            since: None,
        }
    }

    fn judged(&self, evidence: &Evidence<'_>) -> Report {
        let mut trace = Report::default();
        evidence.describe_sources(&mut trace);
        judge(&self.pipeline, evidence, &mut trace);
        trace
    }
}

fn looked<'e>(evidence: &'e mut Evidence<'_>, step: usize) -> &'e mut Looked<FoundEvent> {
    let topics = evidence
        .topics
        .as_mut()
        .map_err(|why| why.clone())
        .expect("read");
    let own = topics.looked.iter_mut().find(|(index, _)| *index == step);
    own.and_then(|(_, looked)| looked.as_mut()).expect("there")
}

fn lines<'e>(evidence: &'e mut Evidence<'_>) -> &'e mut Lines {
    evidence.lines.as_mut().expect("read")
}

fn no_rows_in(evidence: &mut Evidence<'_>, steps: impl Fn(usize) -> bool) {
    let rows = evidence.rows.as_mut().expect("asked");
    for (_, answer) in rows.iter_mut().filter(|(step, _)| steps(*step)) {
        *answer = Lookup::Rows(Rows::default());
    }
}

#[test]
fn a_message_that_went_through_is_seen_everywhere() {
    let scene = Scene::new();
    let trace = scene.judged(&scene.evidence());
    assert_eq!(trace.counts(), (scene.steps.len(), 0, 0));
    assert_eq!(trace.began, Some(at(0)));
    let Found::Seen(sightings) = &trace.hops[3].found else {
        panic!("{:?}", trace.hops[3]);
    };
    assert_eq!(sightings[0].after, Some(std::time::Duration::from_secs(3)));
    assert!(!trace.synthetic && trace.is_known());
    assert!(trace.unread.is_empty() && trace.unreachable.is_empty());
}

#[test]
fn an_event_absent_from_a_completely_read_topic_is_missing() {
    let scene = Scene::new();
    let mut evidence = scene.evidence();
    let step = scene.step("purchase-created");
    looked(&mut evidence, step).found.clear();
    assert_eq!(
        scene.judged(&evidence).hops[step].found,
        Found::Missing(None)
    );
}

#[test]
fn an_event_that_may_be_deleted_or_was_not_read_is_unknown() {
    let scene = Scene::new();
    let step = scene.step("purchase-created");
    let mut evidence = scene.evidence();
    let topic = looked(&mut evidence, step);
    topic.found.clear();
    topic.kept_since = Some(at(3600));
    let why = Found::Unknown("read since 2026-02-02T03:40:00Z".to_owned());
    assert_eq!(scene.judged(&evidence).hops[step].found, why);
    // Deleted long before: nothing of this message.
    looked(&mut evidence, step).kept_since = Some(at(-3600));
    assert_eq!(
        scene.judged(&evidence).hops[step].found,
        Found::Missing(None)
    );
    looked(&mut evidence, step).unread = 5;
    let trace = scene.judged(&evidence);
    assert!(matches!(trace.hops[step].found, Found::Unknown(_)));
    assert_eq!(trace.unread, ["topic purchase-created: about 5 records"]);
}

#[test]
fn a_log_that_begins_later_proves_nothing() {
    let scene = Scene::new();
    let step = scene.step("purchase-worker");
    let mut evidence = scene.evidence();
    lines(&mut evidence).seen.remove(&step);
    assert_eq!(
        scene.judged(&evidence).hops[step].found,
        Found::Missing(None)
    );
    let whole = &mut lines(&mut evidence).whole_since;
    whole.insert("purchase-worker".to_owned(), at(3600));
    assert!(matches!(
        scene.judged(&evidence).hops[step].found,
        Found::Unknown(_)
    ));
    lines(&mut evidence).whole_since.remove("purchase-worker");
    let gone = Found::Unknown("no container, so no log".to_owned());
    assert_eq!(scene.judged(&evidence).hops[step].found, gone);
}

#[test]
fn too_few_rows_are_missing_and_say_how_many() {
    let scene = Scene::new();
    let step = scene.step("tutoring_sessions");
    let mut evidence = scene.evidence();
    let rows = evidence.rows.as_mut().expect("asked");
    let (_, last) = rows.last_mut().expect("a table");
    *last = Lookup::Rows(Rows {
        count: 3,
        ..Rows::default()
    });
    let few = Found::Missing(Some("3 of 7 rows".to_owned()));
    assert_eq!(scene.judged(&evidence).hops[step].found, few);
}

#[test]
fn rows_of_a_test_are_deleted_and_of_a_real_message_missing() {
    let scene = Scene::new();
    let mut evidence = scene.evidence();
    no_rows_in(&mut evidence, |_| true);
    assert_eq!(scene.judged(&evidence).counts().1, 5);
    for topic in [
        "purchase-confirmed",
        "purchase-created",
        "trainer-allocated",
    ] {
        looked(&mut evidence, scene.step(topic)).found[0].synthetic = true;
    }
    let trace = scene.judged(&evidence);
    assert!(trace.synthetic);
    assert_eq!(trace.counts(), (scene.steps.len() - 5, 0, 5));
}

#[test]
fn a_test_event_that_was_not_made_by_the_entry_service_has_no_row_of_it() {
    let scene = Scene::new();
    let mut evidence = scene.evidence();
    let own = [scene.step("payments"), scene.step("outbox")];
    no_rows_in(&mut evidence, |step| own.contains(&step));
    assert_eq!(scene.judged(&evidence).counts().1, 2);
    for topic in [
        "purchase-confirmed",
        "purchase-created",
        "trainer-allocated",
    ] {
        looked(&mut evidence, scene.step(topic)).found[0].synthetic = true;
    }
    assert_eq!(scene.judged(&evidence).counts().1, 0);
}

#[test]
fn an_id_that_no_source_has_is_not_known() {
    let scene = Scene::new();
    let mut evidence = scene.evidence();
    let rows = evidence.rows.as_mut().expect("asked");
    rows.iter_mut()
        .for_each(|(_, answer)| *answer = Lookup::NotAnId);
    for topic in [
        "purchase-confirmed",
        "purchase-created",
        "trainer-allocated",
    ] {
        looked(&mut evidence, scene.step(topic)).found.clear();
    }
    lines(&mut evidence).seen.clear();
    let trace = scene.judged(&evidence);
    assert!(!trace.is_known());
    assert!(
        trace
            .looked
            .contains(&"table payments: not a valid id for it".to_owned())
    );
    assert!(
        trace
            .looked
            .contains(&"topic purchase-created: 10 records read".to_owned())
    );
}

#[test]
fn the_hops_of_a_source_that_does_not_answer_are_unknown() {
    let scene = Scene::new();
    let mut evidence = scene.evidence();
    evidence.topics = Err(StoreError::new(Cause::Connection, "no broker answers"));
    let trace = scene.judged(&evidence);
    assert_eq!(trace.counts(), (scene.steps.len() - 3, 0, 3));
    assert_eq!(trace.unreachable, ["no broker answers"]);
}
