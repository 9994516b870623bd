//! Traces an earlier payment through topics, logs and tables.
//!
//! In the order in which data passes: `rows` queries the tables, which is quick and gives the
//! approximate time; `topics` and `search` read topics, first around that time, then backwards from
//! the end; `lines` reads the containers' logs; `judge` decides for each hop whether it was seen,
//! is missing or unknown; `broken` finds why the first missing hop is missing.
//! docs/decisions/0029-trace.md has the reasons.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use tokio::sync::mpsc::UnboundedSender;

mod broken;
mod judge;
mod lines;
mod rows;
mod search;
mod topics;

pub use broken::{Broken, Next};

use crate::{
    dead_letters::{DeadLetter, RecordId},
    probe::{self, expected, expected::Step, hop::HopPlace},
};
use declaration::Pipeline;
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
    /// Messages of a topic were read.
    Reading {
        /// Topic name.
        topic: String,
        /// Messages read so far of the current piece.
        read: u64,
        /// Approximate number of messages of the current piece.
        of: i64,
    },
    /// Number of the payment's log lines found so far.
    Lines(usize),
}

/// Receives progress.
type ReportProgress = Arc<dyn Fn(Progress) + Send + Sync>;

/// What was found of a payment.
#[derive(Debug, Default)]
pub struct FlowTrace {
    /// Its correlation id.
    pub id: String,
    /// Time of the earliest sighting; None: no sighting has a time.
    pub began: Option<DateTime<Utc>>,
    /// Whether all its events are marked synthetic: `test-flow` deletes the rows of such a payment.
    pub synthetic: bool,
    /// All expected hops that leave a trace, in the expected order.
    pub hops: Vec<Hop>,
    /// Dead letters of its events. They are read only if a hop is missing or no source knows the
    /// payment.
    pub dead_letters: Vec<DeadLetter>,
    /// Why the first missing hop is missing.
    pub broken: Option<Broken>,
    /// What was read, one line each.
    pub looked: Vec<String>,
    /// What could not be read in time, one line each.
    pub unread: Vec<String>,
    /// Errors of sources that do not answer.
    pub unreachable: Vec<String>,
}

/// A hop and whether it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// Where the hop can be seen.
    pub place: HopPlace,
    /// The service that does it.
    pub service: String,
    /// Whether it was seen.
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
    /// Time by the clock of the source (Kafka, Docker, Postgres). None: the source keeps no times.
    pub at: Option<DateTime<Utc>>,
    /// `partition 2 offset 17`, `7 rows`, a container's name.
    pub detail: String,
}

/// One of the payment's events.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FoundEvent {
    at: Option<DateTime<Utc>>,
    place: RecordId,
    synthetic: bool,
}

impl FlowTrace {
    /// Whether any source knows the payment.
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

/// Searches all sources for the payment with correlation id `id`. If a source does not answer, the
/// result names it in [`FlowTrace::unreachable`].
///
/// # Errors
/// `Usage`: no flow is declared.
pub async fn look(
    pipeline: &Pipeline,
    engine: Result<&dyn Platform>,
    id: &str,
    options: Options,
    progress: UnboundedSender<Progress>,
) -> Result<FlowTrace> {
    let flow = probe::flow(pipeline)?;
    let deadline = Instant::now() + options.timeout;
    let report: ReportProgress = Arc::new(move |event| {
        // An error means that nobody receives progress.
        let _unwatched = progress.send(event);
    });
    let steps = steps(expected::steps(pipeline, flow, expected::Start::Entry));
    let mut trace = FlowTrace {
        id: id.to_owned(),
        ..FlowTrace::default()
    };
    let payment = (&flow.correlation, id);
    let rows = rows::look(pipeline, &steps, id).await;
    let near = rows.as_ref().ok().and_then(rows::window);
    let look_topics = topics::look(
        pipeline,
        &steps,
        payment,
        (options.since, deadline),
        near,
        &report,
    );
    let look_lines = async |near| {
        let bounds = (options.since, near);
        lines::look(
            pipeline, &engine, &steps, payment, bounds, deadline, &report,
        )
        .await
    };
    let (topics, lines) = if near.is_some() {
        tokio::join!(look_topics, look_lines(near))
    } else {
        // Without rows, the events give the approximate time.
        let topics = look_topics.await;
        let near = topics.as_ref().ok().and_then(topics::window);
        (topics, look_lines(near).await)
    };
    let evidence = judge::Evidence {
        steps: &steps,
        rows,
        topics,
        lines,
        since: options.since,
    };
    evidence.describe_sources(&mut trace);
    judge::judge(pipeline, &evidence, &mut trace);
    let missing = trace.counts().1 > 0;
    if missing || !trace.is_known() {
        broken::explain(pipeline, &engine, &evidence, deadline, &report, &mut trace).await;
    }
    Ok(trace)
}

/// The steps that leave a trace. An HTTP answer and deleted keys leave none.
fn steps(all: Vec<Step>) -> Vec<Step> {
    let remembered = |step: &Step| match step.place {
        HopPlace::Topic { .. } | HopPlace::Log { .. } | HopPlace::Table { .. } => true,
        HopPlace::Entry { .. } | HopPlace::Cache { .. } => false,
    };
    all.into_iter().filter(remembered).collect()
}
