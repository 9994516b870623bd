//! What a group has committed has left rows: of the last events that it took, one at least is found in the
//! tables that its service writes, or has written by what it calls. A worker that reads, logs and commits,
//! but writes nothing, is alive for everybody else (docs/decisions/0039).

use std::{
    ops::ControlFlow,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use kafka::record::is_synthetic;
use kafka::record::{BorrowedMessage, Message};

use crate::{
    checks::{broker::Broker, facts::Facts, finding::Outcome},
    dead_letters::{Letter, Place},
    stores::postgres::{Postgres, lookup::Lookup},
};
use declaration::{Pipeline, Service, Table, correlation::Correlation};
use kafka::{
    identity::find_correlation,
    offsets::{Offsets, next},
    read::Span,
};

/// Of each partition, how many of the last offsets before the committed one are read.
const LAST: i64 = 5;
/// What reading them may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// So many in a row are no accident; a row may have been deleted by hand.
const ENOUGH: usize = 3;
/// Some commit before they have written.
const GRACE: TimeDelta = TimeDelta::seconds(30);
/// Rows that are older may have been moved away.
const WITHIN: TimeDelta = TimeDelta::hours(24);

/// The tables by which a service's work is told.
pub(super) struct Tables<'a> {
    /// Those that it writes, or that are written by what it calls.
    own: Vec<&'a Table>,
    /// Those that a payment reaches sooner. Without a row in any a payment is not known any more: it was
    /// a test's, or is long gone.
    before: Vec<&'a Table>,
}

impl<'a> Tables<'a> {
    /// None where the declaration does not tell where a payment's rows are.
    pub(super) fn of(pipeline: &'a Pipeline, service: &Service) -> Option<Self> {
        let called = service
            .calls
            .iter()
            .filter_map(|name| pipeline.service(name));
        let writers: Vec<_> = called.chain([service]).collect();
        let is_own = |table: &&Table| writers.iter().any(|s| s.writes.contains(&table.name));
        let followed = || pipeline.tables.iter().filter(|t| t.is_followed());
        let own: Vec<_> = followed().filter(is_own).collect();
        let before: Vec<_> = followed().take_while(|table| !is_own(table)).collect();
        (!own.is_empty() && !before.is_empty()).then_some(Self { own, before })
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.before.iter().chain(&self.own).map(|t| t.name.as_str())
    }
}

/// An event that the group has passed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Event {
    place: Place,
    at: DateTime<Utc>,
    /// What may be its correlation id, the likeliest first.
    ids: Vec<String>,
}

pub(super) async fn check(facts: &Facts<'_>, service: &Service, tables: &Tables<'_>) -> Outcome {
    let outcome = judged(facts, service, tables).await;
    outcome.unwrap_or_else(|why| Outcome::fail(format!("cannot be told: {why}")))
}

async fn judged(
    facts: &Facts<'_>,
    service: &Service,
    tables: &Tables<'_>,
) -> Result<Outcome, String> {
    let broker = facts.broker().await.as_ref().map_err(Clone::clone)?;
    let groups = facts.groups().await;
    let (earliest, _) = groups.ends()?;
    let committed = groups.committed(service)?;
    let flow = facts.pipeline.flow.as_ref();
    let correlation = flow
        .map(|flow| flow.correlation.clone())
        .unwrap_or_default();
    let mut events = Vec::new();
    for topic in &service.consumes {
        events.extend(read(broker, last(topic, earliest, committed), &correlation).await?);
    }
    let now = Utc::now();
    let events = tellable(events, now);
    let postgres = facts.database(1).await?;
    let (mut without, mut found) = (Vec::new(), false);
    for event in &events {
        // The later tables first: what deletes a payment's rows in between makes it unknown, not lacking.
        found = any_row(postgres, &tables.own, event).await?;
        if found {
            break;
        }
        let is_known = any_row(postgres, &tables.before, event).await?;
        if is_known && !given_up(facts, service, event).await {
            without.push(event);
        }
        if without.len() == ENOUGH {
            break;
        }
    }
    let outcome = judge(tables, &without, found, now);
    let id = without.first().and_then(|event| event.ids.first());
    Ok(match id {
        Some(id) => outcome.hint(facts.command(&format!("trace {id}"))),
        None => outcome,
    })
}

/// The last offsets of a topic's partitions that are committed.
fn last(topic: &str, earliest: &Offsets, committed: &Offsets) -> Span {
    let own = earliest.iter().filter(|((t, _), _)| t == topic);
    let from: Offsets = own.map(|(p, first)| (p.clone(), *first)).collect();
    let to = next(committed, &from, &from);
    Span { from, to }.last(LAST)
}

/// Those of no test that stand there and say whose they are.
async fn read(
    broker: &Broker,
    span: Span,
    correlation: &Correlation,
) -> Result<Vec<Event>, String> {
    let correlation = correlation.clone();
    let see = move |events: &mut Vec<Event>, message: &BorrowedMessage<'_>| {
        if !is_synthetic(message.headers()) {
            events.extend(event(&correlation, message));
        }
        ControlFlow::Continue(())
    };
    let deadline = Instant::now() + PATIENCE;
    let (events, _) = broker.kafka.read(span, deadline, Vec::new(), see).await?;
    Ok(events)
}

fn event(correlation: &Correlation, message: &impl Message) -> Option<Event> {
    let mut ids = Vec::new();
    let note = |id: &str| {
        // A key and an envelope mostly say the same.
        if !ids.iter().any(|known| known == id) {
            ids.push(id.to_owned());
        }
        None::<()>
    };
    let _none_is_the_one = find_correlation(correlation, message, note);
    let millis = message.timestamp().to_millis()?;
    (!ids.is_empty()).then_some(Event {
        place: Place::new(message.topic(), message.partition(), message.offset()),
        at: DateTime::from_timestamp_millis(millis)?,
        ids,
    })
}

/// Those of which something can be said, each payment once, the newest first.
fn tellable(mut events: Vec<Event>, now: DateTime<Utc>) -> Vec<Event> {
    events.retain(|event| (GRACE..WITHIN).contains(&(now - event.at)));
    events.sort_by(|a, b| (b.at, &b.place).cmp(&(a.at, &a.place)));
    let mut ids = Vec::new();
    events.retain(|event| {
        let is_new = !ids.contains(&event.ids);
        ids.push(event.ids.clone());
        is_new
    });
    events
}

async fn any_row(postgres: &Postgres, tables: &[&Table], event: &Event) -> Result<bool, String> {
    for table in tables {
        for id in &event.ids {
            match postgres
                .look_up(&table.name, &table.find, id, false)
                .await?
            {
                Lookup::Rows(rows) if rows.count > 0 => return Ok(true),
                Lookup::Rows(_) | Lookup::NotAnId => {}
                Lookup::Refused(why) => return Err(format!("{}: {why}", table.name)),
            }
        }
    }
    Ok(false)
}

/// Whether it is known to have had no effect: it is a dead letter. One that does not say of which
/// event it is may be of any that came before it.
async fn given_up(facts: &Facts<'_>, service: &Service, event: &Event) -> bool {
    let Ok(survey) = facts.letters().await else {
        return false;
    };
    let group = service.group.as_ref().and_then(|group| group.name());
    let is_of = |letter: &Letter| {
        let by_it = letter
            .group
            .as_deref()
            .zip(group)
            .is_none_or(|(by, own)| by == own);
        by_it
            && match &letter.source {
                Some(source) => *source == event.place,
                None => letter.at.is_none_or(|at| at >= event.at),
            }
    };
    survey.listed.iter().any(|(letter, _)| is_of(letter))
}

/// `found`: an older one has left a row.
fn judge(tables: &Tables<'_>, without: &[&Event], found: bool, now: DateTime<Utc>) -> Outcome {
    let seen = match (without.len(), found) {
        (0, true) => return Outcome::pass("those of the last event are there"),
        (0, false) => return Outcome::pass("no event of the last 24 h tells"),
        (1, true) => return Outcome::pass("there, but for the last event's"),
        (n, true) => return Outcome::pass(format!("there, but for the last {n} events'")),
        (1, false) => "none for the only event of the last 24 h".to_owned(),
        (n, false) => format!("none for the last {n} events"),
    };
    let outcome = match without.len() {
        ENOUGH.. => Outcome::fail(seen),
        _ => Outcome::warn(seen),
    };
    let own: Vec<_> = tables.own.iter().map(|t| t.name.as_str()).collect();
    let own = own.join(", ");
    outcome.evidence(without.iter().map(|event| {
        let age = (now - event.at).num_seconds();
        let Event { place, ids, .. } = event;
        format!(
            "{place} ({}), {age} s old: nothing in {own}",
            ids.join(", ")
        )
    }))
}

#[cfg(test)]
mod tests {
    use kafka::record::{OwnedMessage, Timestamp};

    use super::*;
    use crate::checks::finding::Status;
    use declaration::testing::shipped;

    fn event(id: &str, offset: i64, age: i64, now: DateTime<Utc>) -> Event {
        Event {
            place: Place::new("t", 0, offset),
            at: now - TimeDelta::seconds(age),
            ids: vec![id.to_owned()],
        }
    }

    #[test]
    fn a_workers_tables_are_its_own_and_of_whom_it_calls() {
        let pipeline = shipped();
        let of = |service: &str| {
            let service = pipeline.service(service).expect("declared");
            let tables = Tables::of(&pipeline, service)?;
            let names = |tables: &[&Table]| -> Vec<String> {
                tables.iter().map(|table| table.name.clone()).collect()
            };
            Some((names(&tables.own), names(&tables.before).len()))
        };
        let own = |name: &str| vec![name.to_owned()];
        let purchases = Some((own("student_course_purchases"), 2));
        assert_eq!(of("purchase-worker"), purchases);
        let allocations = Some((own("trainer_allocations"), 3));
        assert_eq!(of("allocation-worker"), allocations, "its service's");
        assert_eq!(of("session-worker"), Some((own("tutoring_sessions"), 4)));
        assert_eq!(of("cache-worker"), None, "it writes to none");
        assert_eq!(of("payment-service"), None, "nothing comes before it");
    }

    #[test]
    fn an_event_has_each_id_that_it_may_be_of_once() {
        let of = |key: &str, timestamp| {
            let value = br#"{"correlationId":"p-1"}"#.to_vec();
            let (key, at) = (key.as_bytes().to_vec(), timestamp);
            let message = OwnedMessage::new(Some(value), Some(key), "t".to_owned(), at, 0, 7, None);
            super::event(&Correlation::default(), &message)
        };
        let made = Timestamp::CreateTime(1_000);
        let ids = |key| of(key, made).expect("an event").ids;
        assert_eq!(ids("p-1"), ["p-1"]);
        assert_eq!(ids("customer-7"), ["customer-7", "p-1"]);
        assert_eq!(of("p-1", Timestamp::NotAvailable), None);
    }

    #[test]
    fn the_last_offsets_are_those_before_the_committed_one() {
        let offsets =
            |of: [(i32, i64); 3]| -> Offsets { of.map(|(p, at)| (("t".to_owned(), p), at)).into() };
        let mut committed = offsets([(0, 100), (1, 12), (2, 0)]);
        committed.remove(&("t".to_owned(), 2));
        let span = last("t", &offsets([(0, 0), (1, 10), (2, 7)]), &committed);
        assert_eq!(span.from, offsets([(0, 95), (1, 10), (2, 7)]));
        assert_eq!(span.to, offsets([(0, 100), (1, 12), (2, 7)]));
        let other = last("u", &offsets([(0, 0), (1, 10), (2, 7)]), &committed);
        assert_eq!(other, Span::default());
    }

    #[test]
    fn the_newest_comes_first_and_each_payment_once() {
        let now = Utc::now();
        let day = 24 * 3600;
        let events = [
            ("a", 1, 90),
            ("b", 2, 60),
            ("a", 3, 40),
            ("c", 4, 29),
            ("d", 0, day),
        ];
        let events = events.map(|(id, offset, age)| event(id, offset, age, now));
        let told = tellable(events.into(), now).into_iter();
        let offsets: Vec<_> = told.map(|event| event.place.offset).collect();
        assert_eq!(offsets, [3, 2], "one is too young, one too old");
    }

    #[test]
    fn one_without_a_row_may_have_been_deleted_three_in_a_row_were_never_written() {
        let pipeline = shipped();
        let service = pipeline.service("session-worker").expect("declared");
        let tables = Tables::of(&pipeline, service).expect("declared");
        let now = Utc::now();
        let events = ["a", "b", "c"].map(|id| event(id, 7, 40, now));
        let judged = |n: usize, found| {
            let without: Vec<_> = events.iter().take(n).collect();
            judge(&tables, &without, found, now)
        };
        let status = |n, found| judged(n, found).status;
        assert_eq!(status(0, true), Status::Pass);
        assert_eq!(status(0, false), Status::Pass);
        assert_eq!(status(2, true), Status::Pass);
        assert_eq!(status(2, false), Status::Warn);
        let failed = judged(3, false);
        assert_eq!(failed.status, Status::Fail);
        assert_eq!(failed.seen, "none for the last 3 events");
        assert_eq!(
            failed.evidence[0],
            "t/0/7 (a), 40 s old: nothing in tutoring_sessions"
        );
    }
}
