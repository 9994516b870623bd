//! An earlier message, searched in topics, logs and tables.
//!
//! In the order in which data passes: the tables are queried, which is quick and gives the approximate
//! time; `topics` reads topics, first around that time, then backwards from the end; `lines` reads the
//! containers' logs; `judge` decides for each hop whether it was seen, is missing or unknown; the dead
//! letters are searched for the reason.
//! docs/decisions/0029-trace.md has the reasons.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use tokio::sync::mpsc::UnboundedSender;

mod judge;
mod lines;
mod topics;

use super::{
    Found, Hop, HopPlace, Missing, Step,
    missing::Known,
    steps::{self, Start},
};
use crate::{
    dead_letters::{DeadLetter, RecordId},
    stores::{
        StoreError,
        postgres::{Postgres, lookup::Lookup},
    },
};
use declaration::{Pipeline, correlation::Correlation};
use diagnostics::Result;
use platform::Platform;

/// What to read.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Nothing older is read; None: everything that is retained.
    pub since: Option<DateTime<Utc>>,
    /// Time limit for reading topics and logs.
    pub timeout: Duration,
}

/// Progress.
#[derive(Debug, Clone)]
pub enum Progress {
    /// Records of a topic were read.
    Reading {
        /// Topic name.
        topic: String,
        /// Records read so far of the current piece.
        read: u64,
        /// Approximate number of records of the current piece.
        of: i64,
    },
    /// Number of the message's log lines found so far.
    Lines(usize),
}

/// What is searched for, and how long.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    pipeline: &'a Pipeline,
    steps: &'a [Step],
    correlation: &'a Correlation,
    /// The message's correlation id.
    id: &'a str,
    /// Nothing older is read.
    since: Option<DateTime<Utc>>,
    deadline: Instant,
    report: &'a ReportProgress,
}

/// Start and end.
type Window = (DateTime<Utc>, DateTime<Utc>);

/// Receives progress.
type ReportProgress = Arc<dyn Fn(Progress) + Send + Sync>;

/// What was found of a message.
#[derive(Debug, Default)]
pub struct Report {
    /// Its correlation id.
    pub id: String,
    /// Time of the earliest sighting; None: no sighting has a time.
    pub began: Option<DateTime<Utc>>,
    /// Whether all its events are marked synthetic: `test-flow` deletes the rows of such a message.
    pub synthetic: bool,
    /// All expected hops that leave a trace, in the expected order.
    pub hops: Vec<Hop>,
    /// Dead letters of its events. They are read only if a hop is missing or no source knows the
    /// message.
    pub dead_letters: Vec<DeadLetter>,
    /// Why the first missing hop is missing.
    pub missing: Option<Missing>,
    /// What was read, one line each.
    pub looked: Vec<String>,
    /// What could not be read in time, one line each.
    pub unread: Vec<String>,
    /// Errors of sources that do not answer.
    pub unreachable: Vec<String>,
    /// Tables whose query failed, and why, one line each.
    pub failed: Vec<String>,
}

/// The result of a search.
#[derive(Debug)]
pub enum Traced {
    /// What was found of the message. If its id was shortened, the report has the whole id.
    Found(Box<Report>),
    /// Several messages have an id that begins so.
    Ambiguous(Beginnings),
}

/// The messages whose ids begin with what was searched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beginnings {
    /// Their ids, sorted; at most [`Beginnings::MAX`].
    pub ids: Vec<String>,
    /// Whether there may be further ones, which were not read in time or are not named here.
    pub incomplete: bool,
}

impl Beginnings {
    /// This many ids are named at most.
    pub const MAX: usize = 1_000;
}

/// One of the message's events.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FoundEvent {
    at: Option<DateTime<Utc>>,
    place: RecordId,
    synthetic: bool,
}

impl Report {
    /// Whether any source knows the message.
    pub fn is_known(&self) -> bool {
        let seen = |hop: &Hop| matches!(&hop.found, Found::Seen(_) | Found::Missing(Some(_)));
        !self.dead_letters.is_empty() || self.hops.iter().any(seen)
    }

    /// How many hops were seen, are missing and are unknown.
    pub fn counts(&self) -> (usize, usize, usize) {
        let mut counts = (0, 0, 0);
        for hop in &self.hops {
            match hop.found {
                Found::Seen(_) => counts.0 += 1,
                Found::Missing(_) => counts.1 += 1,
                Found::Unknown(_) => counts.2 += 1,
            }
        }
        counts
    }
}

/// Searches all sources for the message with correlation id `id`, or whose correlation id is the only one
/// that begins with `id`. If a source does not answer, the result names it in [`Report::unreachable`].
///
/// # Errors
/// `Usage`: no flow is declared.
pub async fn look(
    pipeline: &Pipeline,
    engine: Result<&dyn Platform>,
    id: &str,
    options: Options,
    progress: UnboundedSender<Progress>,
) -> Result<Traced> {
    let flow = super::declared(pipeline)?;
    let report: ReportProgress = Arc::new(move |event| {
        // An error means that nobody receives progress.
        let _unwatched = progress.send(event);
    });
    let steps = traceable(steps::steps(pipeline, flow, Start::Entry));
    let wanted = Wanted {
        pipeline,
        steps: &steps,
        correlation: &flow.correlation,
        id,
        since: options.since,
        deadline: Instant::now() + options.timeout,
        report: &report,
    };
    let traced = search(wanted, engine.clone()).await;
    if traced.is_certain() {
        return Ok(Traced::Found(Box::new(traced.report)));
    }
    let Some(beginnings) = topics::beginnings(wanted).await else {
        return Ok(Traced::Found(Box::new(traced.report)));
    };
    match (beginnings.ids.as_slice(), beginnings.incomplete) {
        ([], _) => Ok(Traced::Found(Box::new(traced.report))),
        ([only], false) => {
            let whole = Wanted { id: only, ..wanted };
            Ok(Traced::Found(Box::new(search(whole, engine).await.report)))
        }
        _ => Ok(Traced::Ambiguous(beginnings)),
    }
}

/// What one search found.
struct Searched {
    report: Report,
    /// Rows or events have exactly this id. Log lines contain it as text, so that they prove nothing about an
    /// id that is a part of others.
    exact: bool,
}

impl Searched {
    fn is_certain(&self) -> bool {
        self.exact || !self.report.dead_letters.is_empty()
    }
}

async fn search(wanted: Wanted<'_>, engine: Result<&dyn Platform>) -> Searched {
    let (pipeline, id, steps) = (wanted.pipeline, wanted.id, wanted.steps);
    let rows = rows(wanted).await;
    let near = rows.as_ref().ok().and_then(window_of_rows);
    let (topics, lines) = if near.is_some() {
        tokio::join!(
            topics::look(wanted, near),
            lines::look(wanted, &engine, near)
        )
    } else {
        // Without rows, the events give the approximate time.
        let topics = topics::look(wanted, near).await;
        let near = topics.as_ref().ok().and_then(topics::window);
        (topics, lines::look(wanted, &engine, near).await)
    };
    let mut trace = Report {
        id: id.to_owned(),
        ..Report::default()
    };
    let evidence = judge::Evidence {
        steps,
        rows,
        topics,
        lines,
        since: wanted.since,
    };
    let exact = evidence.is_exact();
    evidence.describe_sources(&mut trace);
    judge::judge(pipeline, &evidence, &mut trace);
    let missing = trace.counts().1 > 0;
    if missing || !trace.is_known() {
        explain(wanted, &evidence, &mut trace).await;
    }
    Searched {
        report: trace,
        exact,
    }
}

/// Finds the dead letters of the message, and why its first missing hop is missing.
async fn explain(wanted: Wanted<'_>, evidence: &judge::Evidence<'_>, trace: &mut Report) {
    if let Err(why) = topics::dead_letters(wanted, evidence, trace).await {
        trace.unreachable.push(why.to_string());
    }
    let Some(hop) = trace.hops.iter().position(Hop::is_missing) else {
        return;
    };
    let event = |step| {
        evidence
            .events(step)
            .first()
            .map(|event| event.place.clone())
    };
    let known = Known {
        pipeline: wanted.pipeline,
        steps: wanted.steps,
        events: (0..wanted.steps.len()).map(event).collect(),
        dead_letters: &trace.dead_letters,
        containers: (evidence.lines.as_ref().ok()).map(|lines| lines.containers.as_slice()),
        kafka: evidence.topics.as_ref().ok().map(|topics| &topics.kafka),
    };
    let (missing, unknown) = known.explain(hop).await;
    trace.unreachable.extend(unknown.map(|why| why.to_string()));
    trace.missing = Some(missing);
}

/// The steps that leave a trace. An HTTP answer and deleted keys leave none.
fn traceable(mut steps: Vec<Step>) -> Vec<Step> {
    steps.retain(|step| match step.place {
        HopPlace::Topic { .. } | HopPlace::Log { .. } | HopPlace::Table { .. } => true,
        HopPlace::Entry { .. } | HopPlace::Cache { .. } => false,
    });
    steps
}

/// Each table's answer, by the step.
type Answers = Vec<(usize, Lookup)>;

/// Queries every table of the flow by its index.
///
/// # Errors
/// The database does not answer, or the declaration does not say where it is.
async fn rows(wanted: Wanted<'_>) -> Result<Answers, StoreError> {
    let tables: Vec<_> = steps::tables(wanted.pipeline, wanted.steps).collect();
    if tables.is_empty() {
        return Ok(Answers::new());
    }
    let Some(endpoint) = &wanted.pipeline.postgres else {
        return Err(StoreError::undeclared(
            "the declaration does not say where Postgres is",
        ));
    };
    let postgres = Postgres::connect(&endpoint.address).await?;
    let timed = postgres.keeps_commit_times().await?;
    let mut answers = Answers::new();
    for (index, table) in tables {
        let answer = postgres.look_up(&table.name, &table.find, wanted.id, timed);
        answers.push((index, answer.await?));
    }
    Ok(answers)
}

/// From the first commit to the last.
fn window_of_rows(answers: &Answers) -> Option<Window> {
    let times = answers.iter().filter_map(|(_, answer)| match answer {
        Lookup::Rows(rows) => Some([rows.first, rows.last]),
        Lookup::NotAnId | Lookup::Refused(_) => None,
    });
    let times: Vec<DateTime<Utc>> = times.flatten().flatten().collect();
    Some((*times.iter().min()?, *times.iter().max()?))
}
