//! Looks for the payment in all places at once.

use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use futures_util::{StreamExt, stream};
use tokio::sync::mpsc::UnboundedSender;

use super::{
    Posted,
    expected::Step,
    hop::Place,
    ledger::Sighting,
    sources::{Keys, Sources},
};
use crate::stores::postgres::Postgres;
use declaration::{
    Pipeline,
    correlation::{Correlation, Event},
};
use kafka::tail::{Record, Tail};
use platform::LogLine;
use platform::Platform;

/// Between two looks at tables or keys: at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LAST_PAUSE: Duration = Duration::from_millis(100);

/// After a place could not be looked at.
const RETRY: Duration = Duration::from_millis(250);

/// How long one look at the topics waits; also how long it outlives the probe.
const PATIENCE: Duration = Duration::from_millis(100);

/// What is looked for.
#[derive(Clone, Copy)]
pub(super) struct Payment<'a> {
    pub(super) pipeline: &'a Pipeline,
    pub(super) steps: &'a [Step],
    pub(super) posted: Posted,
    /// Its correlation id.
    pub(super) id: &'a str,
    pub(super) correlation: &'a Correlation,
}

/// Tells every sighting, for as long as it is polled: it never ends by itself.
pub(super) async fn all(
    payment: Payment<'_>,
    engine: &dyn Platform,
    sources: &Sources,
    sightings: UnboundedSender<Sighting>,
) {
    tokio::join!(
        topics(payment, sources.tail.as_ref(), &sightings),
        logs(payment, engine, sources, &sightings),
        tables(payment, sources.postgres.as_ref(), &sightings),
        keys(payment, sources.keys.as_ref(), &sightings),
    );
    std::future::pending().await
}

impl Payment<'_> {
    /// Index of the first step whose place is wanted.
    fn step(&self, wanted: impl Fn(&Place) -> bool) -> Option<usize> {
        self.steps.iter().position(|step| wanted(&step.place))
    }

    /// Whether an event is its.
    fn has(&self, record: &Record) -> bool {
        let event = Event {
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            header: &|name| record.header(name),
        };
        self.correlation.is_of(&event, self.id)
    }
}

fn tell(sightings: &UnboundedSender<Sighting>, sighting: Sighting) {
    // The receiver outlives the watchers.
    let _unheard = sightings.send(sighting);
}

/// The payment's events, copies included.
async fn topics(payment: Payment<'_>, tail: Option<&Tail>, sightings: &UnboundedSender<Sighting>) {
    let Some(tail) = tail else {
        return;
    };
    loop {
        match tail.next(PATIENCE).await {
            Ok(None) => {}
            Ok(Some(record)) => {
                if payment.has(&record)
                    && let Some(sighting) = event(payment, record)
                {
                    tell(sightings, sighting);
                }
            }
            Err(why) => {
                let topics = payment.steps.iter().enumerate();
                for (index, _) in topics.filter(|(_, s)| matches!(s.place, Place::Topic { .. })) {
                    tell(sightings, Sighting::Note(index, why.to_string()));
                }
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

fn event(payment: Payment<'_>, record: Record) -> Option<Sighting> {
    let index = payment.step(|p| matches!(p, Place::Topic { topic } if *topic == record.topic))?;
    let detail = format!("partition {} offset {}", record.partition, record.offset);
    let seen = match record.timestamp.and_then(DateTime::from_timestamp_millis) {
        Some(at) => payment.posted.seen_at(at, detail),
        None => payment.posted.seen_now(detail),
    };
    let partition = (record.topic, record.partition);
    Some(Sighting::Event(index, seen, partition, record.offset))
}

/// The workers' log lines of each stage.
async fn logs(
    payment: Payment<'_>,
    engine: &dyn Platform,
    sources: &Sources,
    sightings: &UnboundedSender<Sighting>,
) {
    if sources.containers.is_empty() {
        return;
    }
    // Docker's clock may be another machine's; the correlation id tells lines apart anyway.
    let after = Some(payment.posted.at - TimeDelta::seconds(5));
    let containers = sources.containers.iter();
    let lines = containers.map(|container| engine.follow(container, after).boxed());
    let mut lines = stream::select_all(lines);
    while let Some(line) = lines.next().await {
        match line {
            Ok(line) => {
                if let Some(index) = stage(payment.correlation, payment.steps, payment.id, &line) {
                    let seen = payment.posted.seen_at(line.at, line.container.to_string());
                    tell(sightings, Sighting::Hop(index, seen));
                }
            }
            Err(e) => {
                let logs = payment.steps.iter().enumerate();
                for (index, _) in logs.filter(|(_, s)| matches!(s.place, Place::Log { .. })) {
                    tell(sightings, Sighting::Note(index, e.to_string()));
                }
            }
        }
    }
}

/// The step that a line of the payment is.
pub fn stage(correlation: &Correlation, steps: &[Step], id: &str, line: &LogLine) -> Option<usize> {
    if !correlation.is_about(&line.text, id) {
        return None;
    }
    steps.iter().position(|step| match &step.place {
        Place::Log { service, stage } => *service == line.service && stage.matches(&line.text),
        _ => false,
    })
}

/// Rows of each table, till there are as many as declared.
async fn tables(
    payment: Payment<'_>,
    postgres: Option<&Postgres>,
    sightings: &UnboundedSender<Sighting>,
) {
    let Some(postgres) = postgres else {
        return;
    };
    let tables = payment.steps.iter().enumerate();
    let mut missing: Vec<_> = tables
        .filter_map(|(index, step)| match &step.place {
            Place::Table { table, .. } => Some((index, payment.pipeline.table(table)?)),
            _ => None,
        })
        .collect();
    let mut pause = FIRST_PAUSE;
    while !missing.is_empty() {
        let mut still = Vec::new();
        for (index, table) in missing {
            let sighting = match postgres.count(&table.name, &table.find, payment.id).await {
                Ok(rows) if rows == table.rows => {
                    let rows = if rows == 1 {
                        "1 row".to_owned()
                    } else {
                        format!("{rows} rows")
                    };
                    tell(
                        sightings,
                        Sighting::Hop(index, payment.posted.seen_now(rows)),
                    );
                    continue;
                }
                Ok(rows) => Sighting::Note(index, format!("{rows} of {} rows", table.rows)),
                Err(why) => Sighting::Note(index, why.to_string()),
            };
            tell(sightings, sighting);
            still.push((index, table));
        }
        missing = still;
        tokio::time::sleep(pause).await;
        pause = (pause * 3 / 2).min(LAST_PAUSE);
    }
}

/// The keys that are to be gone.
async fn keys(payment: Payment<'_>, keys: Option<&Keys>, sightings: &UnboundedSender<Sighting>) {
    let (Some(keys), Some(index)) = (keys, payment.step(|p| matches!(p, Place::Cache { .. })))
    else {
        return;
    };
    let mut pause = FIRST_PAUSE;
    loop {
        let total = keys.names.len();
        let note = match keys.redis.existing(&keys.names).await {
            Ok(0) => {
                let seen = payment.posted.seen_now(format!("{total} of {total} gone"));
                return tell(sightings, Sighting::Hop(index, seen));
            }
            Ok(left) => format!("{left} of {total} keys still there"),
            Err(why) => why.to_string(),
        };
        tell(sightings, Sighting::Note(index, note));
        tokio::time::sleep(pause).await;
        pause = (pause * 3 / 2).min(LAST_PAUSE);
    }
}
