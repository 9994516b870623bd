//! A payment of the past, by what topics, logs and tables remember of it.
//!
//! In the order in which data passes: `rows` asks the tables, which is quick and tells about when
//! it was; `search` reads topics, there first, then backwards from the end; `lines` reads what
//! the services' containers have logged; `judge` makes hops of it, of each whether it was seen, is
//! missing, or cannot be told any more; `broken` finds out why the first one that is missing is.
//! docs/decisions/0029-a-payment-of-the-past.md says why it is so.

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

/// How far to look.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Not at what is older; None: at all that is kept.
    pub since: Option<DateTime<Utc>>,
    /// For reading topics and logs.
    pub timeout: Duration,
}

/// How far it has come.
#[derive(Debug, Clone)]
pub enum Progress {
    /// So many of about so many messages of a topic.
    Reading { topic: String, read: u64, of: i64 },
    /// So many lines of logs that are of the payment.
    Lines(usize),
}

/// Where progress goes.
type ReportProgress = Arc<dyn Fn(Progress) + Send + Sync>;

/// What is remembered of a payment.
#[derive(Debug, Default)]
pub struct FlowTrace {
    pub id: String,
    /// When the first sign of it was made, if any tells.
    pub began: Option<DateTime<Utc>>,
    /// Its events say that it is test traffic, whose rows are deleted once it is through.
    pub synthetic: bool,
    /// All that are expected and leave a trace, in the expected order.
    pub hops: Vec<Hop>,
    /// Of its events, where something is missing.
    pub dead_letters: Vec<DeadLetter>,
    /// Why the first missing hop is missing.
    pub broken: Option<Broken>,
    /// Where it was looked for, in words.
    pub looked: Vec<String>,
    /// What could not be read in time, in words.
    pub unread: Vec<String>,
    /// What does not answer, and why.
    pub unreachable: Vec<String>,
}

/// A hop and what is remembered of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    pub place: HopPlace,
    /// Whose work it is.
    pub service: String,
    pub found: Found,
}

/// What is remembered of a hop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Oldest first; one at least.
    Seen(Vec<Sighting>),
    /// It did not happen; what there is instead.
    Missing(Option<String>),
    /// Why nobody can tell.
    Unknown(String),
}

/// One sign of a hop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// By the clock of the place itself. None: it keeps no times.
    pub at: Option<DateTime<Utc>>,
    /// `partition 2 offset 17`, `7 rows`, a container's name.
    pub detail: String,
}

/// One of its events.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FoundEvent {
    at: Option<DateTime<Utc>>,
    place: RecordId,
    synthetic: bool,
}

impl FlowTrace {
    /// Whether anything at all knows of it.
    pub fn is_known(&self) -> bool {
        let seen = |hop: &Hop| matches!(&hop.found, Found::Seen(_) | Found::Missing(Some(_)));
        !self.dead_letters.is_empty() || self.hops.iter().any(seen)
    }

    /// How many hops were seen, are missing, and cannot be told.
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

/// Looks everywhere for the payment whose correlation id is `id`. A source that does not answer is
/// told of in what is returned, beside what the others know.
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
        // For whoever watches.
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
        // The events tell about when it was, if the rows do not.
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

/// Those that leave a trace: nobody remembers a request's answer, nor keys that are gone.
fn steps(all: Vec<Step>) -> Vec<Step> {
    let remembered = |step: &Step| match step.place {
        HopPlace::Topic { .. } | HopPlace::Log { .. } | HopPlace::Table { .. } => true,
        HopPlace::Entry { .. } | HopPlace::Cache { .. } => false,
    };
    all.into_iter().filter(remembered).collect()
}
