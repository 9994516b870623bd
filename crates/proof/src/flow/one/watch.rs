//! Watches topics, logs, tables and keys for the message.

use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use futures_util::{StreamExt, stream};
use tokio::sync::mpsc::UnboundedSender;

use super::{Moment, Run, Watched, seen::Observation};
use crate::{
    dead_letters::RecordId,
    flow::{HopPlace, Step, sources::Keys},
    stores::postgres::{Postgres, ownership::Written},
};
use declaration::correlation::{Correlation, Event};
use kafka::tail::{Record, Tail};
use platform::{LogLine, Platform};

/// Pause between two reads of tables or keys: initial and maximum.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LAST_PAUSE: Duration = Duration::from_millis(100);

/// Pause after an error.
const RETRY: Duration = Duration::from_millis(250);

/// Time limit of one read of the topics; also how long the reader outlives the run.
const PATIENCE: Duration = Duration::from_millis(100);

/// The message to watch for.
#[derive(Clone, Copy)]
pub(super) struct Message<'a> {
    pub(super) run: &'a Run<'a>,
    pub(super) began: Moment,
    /// Its correlation id.
    pub(super) id: &'a str,
}

/// Sends everything that is observed to `observations`. Never completes: the caller stops polling it.
pub(super) async fn all(
    message: Message<'_>,
    engine: &dyn Platform,
    watched: &Watched,
    observations: UnboundedSender<Observation>,
) {
    tokio::join!(
        topics(message, watched.tail.as_ref(), &observations),
        logs(message, engine, watched, &observations),
        tables(message, watched.postgres.as_ref(), &observations),
        keys(message, watched.keys.as_ref(), &observations),
    );
    std::future::pending().await
}

impl Message<'_> {
    /// Index of the first step whose place is wanted.
    fn step(&self, wanted: impl Fn(&HopPlace) -> bool) -> Option<usize> {
        self.run.steps.iter().position(|step| wanted(&step.place))
    }

    /// Whether an event belongs to the message.
    fn has(&self, record: &Record) -> bool {
        let event = Event {
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            header: &|name| record.header(name),
        };
        self.run.flow.correlation.is_of(&event, self.id)
    }
}

fn report(observations: &UnboundedSender<Observation>, observation: Observation) {
    // The receiver outlives the watchers, so this cannot fail.
    let _unheard = observations.send(observation);
}

/// The message's events, copies included.
async fn topics(
    message: Message<'_>,
    tail: Option<&Tail>,
    observations: &UnboundedSender<Observation>,
) {
    let Some(tail) = tail else {
        return;
    };
    loop {
        match tail.next(PATIENCE).await {
            Ok(None) => {}
            Ok(Some(record)) => {
                if message.has(&record)
                    && let Some(sighting) = event(message, record)
                {
                    report(observations, sighting);
                }
            }
            Err(why) => {
                let topics = message.run.steps.iter().enumerate();
                for (index, _) in topics.filter(|(_, s)| matches!(s.place, HopPlace::Topic { .. }))
                {
                    report(observations, Observation::Note(index, why.to_string()));
                }
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

fn event(message: Message<'_>, record: Record) -> Option<Observation> {
    let index =
        message.step(|p| matches!(p, HopPlace::Topic { topic } if *topic == record.topic))?;
    let detail = format!("partition {} offset {}", record.partition, record.offset);
    let seen = match record.timestamp.and_then(DateTime::from_timestamp_millis) {
        Some(at) => message.began.seen_at(at, detail),
        None => message.began.seen_now(detail),
    };
    let event = RecordId::new(record.topic, record.partition, record.offset);
    Some(Observation::Event(index, seen, event))
}

/// The workers' log lines of each stage.
async fn logs(
    message: Message<'_>,
    engine: &dyn Platform,
    watched: &Watched,
    observations: &UnboundedSender<Observation>,
) {
    if watched.containers.is_empty() {
        return;
    }
    // Docker's clock may differ from the local one. The correlation id identifies the lines anyway.
    let after = Some(message.began.at - TimeDelta::seconds(5));
    let containers = watched.containers.iter();
    let lines = containers.map(|container| engine.follow(container, after).boxed());
    let mut lines = stream::select_all(lines);
    while let Some(line) = lines.next().await {
        match line {
            Ok(line) => {
                if let Some(index) = stage(
                    &message.run.flow.correlation,
                    &message.run.steps,
                    message.id,
                    &line,
                ) {
                    let seen = message.began.seen_at(line.at, line.container.to_string());
                    report(observations, Observation::Hop(index, seen));
                }
            }
            Err(e) => {
                let logs = message.run.steps.iter().enumerate();
                for (index, _) in logs.filter(|(_, s)| matches!(s.place, HopPlace::Log { .. })) {
                    report(observations, Observation::Note(index, e.to_string()));
                }
            }
        }
    }
}

/// The step that a log line of the message belongs to.
pub(in crate::flow) fn stage(
    correlation: &Correlation,
    steps: &[Step],
    id: &str,
    line: &LogLine,
) -> Option<usize> {
    if !correlation.is_about(&line.text, id) {
        return None;
    }
    steps.iter().position(|step| match &step.place {
        HopPlace::Log { service, stage } => *service == line.service && stage.matches(&line.text),
        _ => false,
    })
}

/// Polls each table until it has the declared number of rows, all written since the message was
/// sent. Older rows prove nothing.
async fn tables(
    message: Message<'_>,
    postgres: Option<&Postgres>,
    observations: &UnboundedSender<Observation>,
) {
    let (Some(postgres), Some(tables)) = (postgres, &message.run.tables) else {
        return;
    };
    let mut missing: Vec<_> = tables.tables.iter().collect();
    let mut pause = FIRST_PAUSE;
    while !missing.is_empty() {
        let mut still = Vec::new();
        for entry in missing {
            let (index, table) = (entry.0, &entry.1);
            let found = postgres.written(&table.name, &table.find, message.id, &tables.stamp);
            let sighting = match found.await {
                Ok(written) => match sight(written, table.rows) {
                    RowsFound::AsDeclared(detail) => {
                        let seen = message.began.seen_now(detail);
                        report(observations, Observation::Hop(index, seen));
                        continue;
                    }
                    RowsFound::Other(note) => Observation::Note(index, note),
                },
                Err(why) => Observation::Note(index, why.to_string()),
            };
            report(observations, sighting);
            still.push(entry);
        }
        missing = still;
        tokio::time::sleep(pause).await;
        pause = (pause * 3 / 2).min(LAST_PAUSE);
    }
}

/// The rows of a message in a table, for a person.
#[derive(Debug, PartialEq, Eq)]
enum RowsFound {
    AsDeclared(String),
    Other(String),
}

/// Compares the rows of a message with the `expected` number.
fn sight(written: Written, expected: i64) -> RowsFound {
    let Written { count, since } = written;
    let rows = match count {
        1 => "1 row".to_owned(),
        count => format!("{count} rows"),
    };
    match since {
        _ if count != expected => RowsFound::Other(format!("{count} of {expected} rows")),
        Some(since) if since < count => RowsFound::Other(format!(
            "{rows}, {} of which there before and unchanged since",
            count - since
        )),
        Some(_) => RowsFound::AsDeclared(rows),
        None => RowsFound::AsDeclared(format!("{rows} of a view: whether they are new is unknown")),
    }
}

/// The keys that have to be deleted.
async fn keys(
    message: Message<'_>,
    keys: Option<&Keys>,
    observations: &UnboundedSender<Observation>,
) {
    let (Some(keys), Some(index)) = (keys, message.step(|p| matches!(p, HopPlace::Cache { .. })))
    else {
        return;
    };
    let mut pause = FIRST_PAUSE;
    loop {
        let total = keys.names.len();
        let note = match keys.redis.existing(&keys.names).await {
            Ok(0) => {
                let seen = message.began.seen_now(format!("{total} of {total} gone"));
                return report(observations, Observation::Hop(index, seen));
            }
            Ok(left) => format!("{left} of {total} keys still there"),
            Err(why) => why.to_string(),
        };
        report(observations, Observation::Note(index, note));
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
        assert_eq!(
            sight(2, Some(2)),
            RowsFound::AsDeclared("2 rows".to_owned())
        );
        assert_eq!(
            sight(1, Some(1)),
            RowsFound::Other("1 of 2 rows".to_owned())
        );
        let old = "2 rows, 1 of which there before and unchanged since";
        assert_eq!(sight(2, Some(1)), RowsFound::Other(old.to_owned()));
        let view = "2 rows of a view: whether they are new is unknown";
        assert_eq!(sight(2, None), RowsFound::AsDeclared(view.to_owned()));
    }
}
