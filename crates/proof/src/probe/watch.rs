//! Watches topics, logs, tables and keys for the payment.

use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use futures_util::{StreamExt, stream};
use tokio::sync::mpsc::UnboundedSender;

use super::{
    Posted,
    expected::Step,
    hop::HopPlace,
    ledger::Sighting,
    sources::{Keys, Sources, Tables},
};
use crate::stores::postgres::ownership::Written;
use declaration::{
    Pipeline,
    correlation::{Correlation, Event},
};
use kafka::tail::{Record, Tail};
use platform::LogLine;
use platform::Platform;

/// Pause between two reads of tables or keys: initial and maximum.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LAST_PAUSE: Duration = Duration::from_millis(100);

/// Pause after an error.
const RETRY: Duration = Duration::from_millis(250);

/// Time limit of one read of the topics; also how long the reader outlives the probe.
const PATIENCE: Duration = Duration::from_millis(100);

/// The payment to watch for.
#[derive(Clone, Copy)]
pub(super) struct Payment<'a> {
    pub(super) pipeline: &'a Pipeline,
    pub(super) steps: &'a [Step],
    pub(super) posted: Posted,
    /// Its correlation id.
    pub(super) id: &'a str,
    pub(super) correlation: &'a Correlation,
}

/// Sends every sighting to `sightings`. Never completes: the caller stops polling it.
pub(super) async fn all(
    payment: Payment<'_>,
    engine: &dyn Platform,
    sources: &Sources,
    sightings: UnboundedSender<Sighting>,
) {
    tokio::join!(
        topics(payment, sources.tail.as_ref(), &sightings),
        logs(payment, engine, sources, &sightings),
        tables(payment, sources.tables.as_ref(), &sightings),
        keys(payment, sources.keys.as_ref(), &sightings),
    );
    std::future::pending().await
}

impl Payment<'_> {
    /// Index of the first step whose place is wanted.
    fn step(&self, wanted: impl Fn(&HopPlace) -> bool) -> Option<usize> {
        self.steps.iter().position(|step| wanted(&step.place))
    }

    /// Whether an event belongs to the payment.
    fn has(&self, record: &Record) -> bool {
        let event = Event {
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            header: &|name| record.header(name),
        };
        self.correlation.is_of(&event, self.id)
    }
}

fn report(sightings: &UnboundedSender<Sighting>, sighting: Sighting) {
    // The receiver outlives the watchers, so this cannot fail.
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
                    report(sightings, sighting);
                }
            }
            Err(why) => {
                let topics = payment.steps.iter().enumerate();
                for (index, _) in topics.filter(|(_, s)| matches!(s.place, HopPlace::Topic { .. }))
                {
                    report(sightings, Sighting::Note(index, why.to_string()));
                }
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

fn event(payment: Payment<'_>, record: Record) -> Option<Sighting> {
    let index =
        payment.step(|p| matches!(p, HopPlace::Topic { topic } if *topic == record.topic))?;
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
    // Docker's clock may differ from the local one. The correlation id identifies the lines anyway.
    let after = Some(payment.posted.at - TimeDelta::seconds(5));
    let containers = sources.containers.iter();
    let lines = containers.map(|container| engine.follow(container, after).boxed());
    let mut lines = stream::select_all(lines);
    while let Some(line) = lines.next().await {
        match line {
            Ok(line) => {
                if let Some(index) = stage(payment.correlation, payment.steps, payment.id, &line) {
                    let seen = payment.posted.seen_at(line.at, line.container.to_string());
                    report(sightings, Sighting::Hop(index, seen));
                }
            }
            Err(e) => {
                let logs = payment.steps.iter().enumerate();
                for (index, _) in logs.filter(|(_, s)| matches!(s.place, HopPlace::Log { .. })) {
                    report(sightings, Sighting::Note(index, e.to_string()));
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
        HopPlace::Log { service, stage } => *service == line.service && stage.matches(&line.text),
        _ => false,
    })
}

/// Polls each table until it has the declared number of rows, all written since the payment was
/// posted. Older rows prove nothing.
async fn tables(
    payment: Payment<'_>,
    tables: Option<&Tables>,
    sightings: &UnboundedSender<Sighting>,
) {
    let Some(Tables {
        postgres, stamp, ..
    }) = tables
    else {
        return;
    };
    let tables = payment.steps.iter().enumerate();
    let mut missing: Vec<_> = tables
        .filter_map(|(index, step)| match &step.place {
            HopPlace::Table { table, .. } => Some((index, payment.pipeline.table(table)?)),
            _ => None,
        })
        .collect();
    let mut pause = FIRST_PAUSE;
    while !missing.is_empty() {
        let mut still = Vec::new();
        for (index, table) in missing {
            let found = postgres.written(&table.name, &table.find, payment.id, stamp);
            let sighting = match found.await {
                Ok(written) => match sight(written, table.rows) {
                    Ok(detail) => {
                        let seen = payment.posted.seen_now(detail);
                        report(sightings, Sighting::Hop(index, seen));
                        continue;
                    }
                    Err(note) => Sighting::Note(index, note),
                },
                Err(why) => Sighting::Note(index, why.to_string()),
            };
            report(sightings, sighting);
            still.push((index, table));
        }
        missing = still;
        tokio::time::sleep(pause).await;
        pause = (pause * 3 / 2).min(LAST_PAUSE);
    }
}

/// Whether a table has the `expected` rows; otherwise what it has instead.
fn sight(written: Written, expected: i64) -> Result<String, String> {
    let Written { count, since } = written;
    let rows = match count {
        1 => "1 row".to_owned(),
        count => format!("{count} rows"),
    };
    match since {
        _ if count != expected => Err(format!("{count} of {expected} rows")),
        Some(since) if since < count => Err(format!(
            "{rows}, {} of which there before and unchanged since",
            count - since
        )),
        Some(_) => Ok(rows),
        None => Ok(format!("{rows} of a view: whether they are new is unknown")),
    }
}

/// The keys that have to be deleted.
async fn keys(payment: Payment<'_>, keys: Option<&Keys>, sightings: &UnboundedSender<Sighting>) {
    let (Some(keys), Some(index)) = (keys, payment.step(|p| matches!(p, HopPlace::Cache { .. })))
    else {
        return;
    };
    let mut pause = FIRST_PAUSE;
    loop {
        let total = keys.names.len();
        let note = match keys.redis.existing(&keys.names).await {
            Ok(0) => {
                let seen = payment.posted.seen_now(format!("{total} of {total} gone"));
                return report(sightings, Sighting::Hop(index, seen));
            }
            Ok(left) => format!("{left} of {total} keys still there"),
            Err(why) => why.to_string(),
        };
        report(sightings, Sighting::Note(index, note));
        tokio::time::sleep(pause).await;
        pause = (pause * 3 / 2).min(LAST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_count_once_all_of_them_were_written_since() {
        let sight = |count, since| sight(Written { count, since }, 2);
        assert_eq!(sight(2, Some(2)), Ok("2 rows".to_owned()));
        assert_eq!(sight(1, Some(1)), Err("1 of 2 rows".to_owned()));
        let old = "2 rows, 1 of which there before and unchanged since";
        assert_eq!(sight(2, Some(1)), Err(old.to_owned()));
        assert!(sight(2, None).is_ok_and(|detail| detail.contains("unknown")));
    }
}
