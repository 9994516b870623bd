//! Reads a message's log lines from all replicas, including lines before restarts and rotations.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::StreamExt;

use super::{Progress, Wanted, Window};
use crate::flow::{HopPlace, Sighting, one};
use diagnostics::{Error, Result};
use platform::{Container, Filter, LogLine, LogOptions, Logs, Platform};

/// A service may log this long before the first row is committed.
const MARGIN: TimeDelta = TimeDelta::minutes(10);

/// Most services log within this time of the first and the last row.
const NEAR: TimeDelta = TimeDelta::seconds(5);

/// This many last lines of each container are read first. Docker finds the last lines at once, but
/// earlier ones only by reading all lines before them, about 100,000 a second.
const TAILS: [usize; 2] = [5_000, 50_000];

/// The message's log lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// Sightings by step, oldest first.
    pub(super) seen: BTreeMap<usize, Vec<Sighting>>,
    /// The containers whose logs were read.
    pub(super) containers: Vec<Container>,
    /// By service, the time since which its logs are complete. A service without a container has no
    /// entry.
    pub(super) whole_since: BTreeMap<String, DateTime<Utc>>,
    /// Older lines were not read.
    pub(super) since: Option<DateTime<Utc>>,
    /// The deadline passed before all was read.
    pub(super) late: bool,
}

/// Reads the logs of all services whose lines are hops.
///
/// # Errors
/// Docker does not answer.
pub(super) async fn look(
    wanted: Wanted<'_>,
    engine: &Result<&dyn Platform>,
    near: Option<Window>,
) -> Result<Lines> {
    let engine = *engine.as_ref().map_err(Error::clone)?;
    let containers = engine.containers(&wanted.pipeline.project).await;
    let mut lines = Lines {
        containers: containers?,
        // The time of the rows and `--since` narrow what is read.
        since: wanted.since.max(near.map(|(first, _)| first - MARGIN)),
        ..Lines::default()
    };
    let logs = |container: &&Container| {
        let mut steps = wanted.steps.iter();
        steps.any(|step| step.is_log_of(&container.service))
    };
    let containers: Vec<_> = lines.containers.iter().filter(logs).cloned().collect();
    let reading = Reading {
        engine,
        containers: &containers,
        wanted,
    };
    let mut cut = BTreeMap::new();
    let complete = match near {
        None => false,
        Some((first, last)) => {
            let from = lines.since.max(Some(first - NEAR)).unwrap_or(first);
            let (mut complete, mut reached) = (false, false);
            for tail in TAILS {
                reached = reading.read_last(tail, from, &mut lines).await?;
                complete = reading.is_complete(&lines);
                if complete || reached || lines.late {
                    break;
                }
            }
            if !complete && !reached && !lines.late {
                let window = (Some(from), Some(last + NEAR));
                reading.read(window, &mut lines).await?;
                complete = !lines.late && reading.is_complete(&lines);
            }
            complete
        }
    };
    if !complete && !lines.late {
        let logs = reading.read((lines.since, None), &mut lines).await?;
        if !lines.late {
            cut.extend(logs.cut_off().await?);
        }
    }
    for container in &containers {
        let begins = container.created_at.max(cut.get(&container.name).copied());
        if let Some(begins) = begins {
            let whole = lines.whole_since.entry(container.service.clone());
            let whole = whole.or_insert(begins);
            *whole = begins.max(*whole);
        }
    }
    Ok(lines)
}

struct Reading<'a> {
    engine: &'a dyn Platform,
    containers: &'a [Container],
    wanted: Wanted<'a>,
}

impl Reading<'_> {
    /// Replaces `lines` with the last lines of each container. Returns whether they reach back to
    /// `from` in each.
    async fn read_last(
        &self,
        count: usize,
        from: DateTime<Utc>,
        lines: &mut Lines,
    ) -> Result<bool> {
        let options = LogOptions {
            tail: Some(count),
            ..LogOptions::default()
        };
        let mut reached = BTreeSet::new();
        self.take(self.engine.logs(self.containers, &options), lines, |line| {
            if line.at <= from && !reached.contains(&*line.container) {
                reached.insert(line.container.to_string());
            }
        })
        .await?;
        Ok(self.containers.iter().all(|c| reached.contains(&c.name)))
    }

    /// Replaces `lines` with the lines of a time range.
    async fn read(
        &self,
        (since, until): (Option<DateTime<Utc>>, Option<DateTime<Utc>>),
        lines: &mut Lines,
    ) -> Result<Logs> {
        let id = self.wanted.id.to_owned();
        let options = LogOptions {
            since,
            until,
            filter: Some(Filter(Arc::new(move |text: &str| text.contains(&id)))),
            ..LogOptions::default()
        };
        self.take(self.engine.logs(self.containers, &options), lines, |_| {})
            .await
    }

    /// Replaces `lines` with the message's lines of `logs`, and passes each line to `each`.
    async fn take(
        &self,
        mut logs: Logs,
        lines: &mut Lines,
        mut each: impl FnMut(&LogLine),
    ) -> Result<Logs> {
        lines.seen.clear();
        let mut count = 0;
        loop {
            let next = tokio::time::timeout_at(self.wanted.deadline.into(), logs.next()).await;
            let line = match next {
                Ok(Some(line)) => line?,
                Ok(None) => return Ok(logs),
                Err(_) => {
                    lines.late = true;
                    return Ok(logs);
                }
            };
            each(&line);
            if lines.since.is_some_and(|since| line.at < since) {
                continue;
            }
            if let Some(step) = one::stage(
                self.wanted.correlation,
                self.wanted.steps,
                self.wanted.id,
                &line,
            ) {
                count += 1;
                (self.wanted.report)(Progress::Lines(count));
                lines.seen.entry(step).or_default().push(Sighting {
                    at: Some(line.at),
                    after: None,
                    detail: line.container.to_string(),
                });
            }
        }
    }

    /// Whether each stage was seen at least once.
    fn is_complete(&self, lines: &Lines) -> bool {
        let mut steps = self.wanted.steps.iter().enumerate();
        steps.all(|(index, step)| {
            !matches!(step.place, HopPlace::Log { .. }) || lines.seen.contains_key(&index)
        })
    }
}
