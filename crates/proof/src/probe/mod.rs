//! One synthetic payment, followed hop by hop.
//!
//! In the order in which data passes: `expected` derives the hops from the declaration; `template`
//! fills in the request; `beginning` sends it (`entry`), or the first event; `watch` reads topics,
//! logs, tables and keys, and reports sightings to `ledger`; `settle` waits until all events of the
//! payment are consumed; `cleanup` deletes its rows. `unfollowed` finds what is declared and not
//! among these hops.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

pub mod beginning;
pub mod cleanup;
pub mod entry;
pub mod expected;
pub mod hop;
mod ledger;
mod missing;
mod settle;
pub mod sources;
pub mod template;
pub mod unfollowed;
mod watch;

pub use missing::describe;
pub use watch::stage;

use crate::stores::postgres::ownership::Deleted;
use beginning::Beginning;
use declaration::{Flow, Pipeline, Table};
use diagnostics::{Error, Kind, Result};
use expected::Step;
use hop::{Hop, HopPlace, Seen};
use ledger::Ledger;
use platform::Platform;
use sources::Sources;
use template::Values;
use unfollowed::{Unfollowed, unfollowed};

/// Options of a test payment.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Keep the payment's rows.
    pub keep: bool,
    /// Time limit until the last hop is seen.
    pub timeout: Duration,
}

/// The result of following one test payment.
#[derive(Debug)]
pub struct Trace {
    /// Its correlation id.
    pub correlation_id: Option<String>,
    /// When the payment was sent, by the local clock.
    pub posted_at: DateTime<Utc>,
    /// All expected hops, in the expected order.
    pub hops: Vec<Hop>,
    /// From the request to the last hop that was seen, or the deadline.
    pub took: Duration,
    /// The first hop that was not seen.
    pub missing: Option<Missing>,
    /// Whether the payment's rows and keys were deleted.
    pub cleanup: Cleanup,
    /// Tables whose rows are kept, as declared.
    pub kept: Vec<String>,
    /// What is declared and is not part of the hops.
    pub unfollowed: Unfollowed,
    /// Topics that the flow excludes, as declared.
    pub excluded: Vec<String>,
    /// What was not consumed at the end.
    pub pending: Option<String>,
}

impl Trace {
    /// Whether every hop was seen, everything declared is followed, every group has consumed the
    /// events and the cleanup did not fail.
    pub fn is_right(&self) -> bool {
        self.missing.is_none()
            && self.unfollowed.is_empty()
            && self.pending.is_none()
            && !matches!(self.cleanup, Cleanup::Failed(_))
    }
}

/// The first hop that was not seen.
#[derive(Debug)]
pub struct Missing {
    /// Index into [`Trace::hops`].
    pub hop: usize,
    /// The service that does it.
    pub service: String,
    /// The state of that service's containers, and what was seen instead.
    pub state: String,
    /// Log lines since the container's last start, oldest first.
    pub last_log_lines: Vec<String>,
}

/// Whether the payment's rows and keys were deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cleanup {
    /// There was nothing to delete.
    Nothing,
    /// Kept, because [`Options::keep`] is set.
    Kept,
    /// What was deleted, and which rows were not proven to be the test's own.
    Deleted(Deleted),
    /// What was not deleted, and why.
    Failed(String),
}

/// Sends one payment through and follows it; each hop is sent to `hops` when it is seen.
///
/// # Errors
/// `Usage`: no flow is declared. `Unreachable`: Docker, Kafka, Postgres, Redis or the entry service
/// do not answer. `NotRight`: the entry service refuses the payment. `Interrupted`: the error says
/// whether the rows were deleted. A missing hop is not an error; [`Trace::missing`] has it.
pub async fn run(
    pipeline: &Pipeline,
    engine: &dyn Platform,
    options: Options,
    cancel: CancellationToken,
    hops: UnboundedSender<Hop>,
) -> Result<Trace> {
    let flow = flow(pipeline)?;
    let values = Values::draw(&flow.values);
    let beginning = Beginning::new(pipeline, flow, &values)?;
    let steps = expected::steps(pipeline, flow, beginning.start());
    let unfollowed = unfollowed(pipeline, flow);
    let sources = Sources::open(pipeline, engine, flow, &values, &steps, options).await?;

    if cancel.is_cancelled() {
        let left = sources.delete_keys().await.err();
        let error = Error::new(
            Kind::Interrupted,
            "interrupted before the payment was posted",
        );
        return Err(left.into_iter().fold(error, Error::because));
    }
    let posted = Posted::now();
    // Not cancellable: without its correlation id, the payment could not be cleaned up.
    let begun = match beginning.begin().await {
        Ok(begun) => begun,
        Err(e) => {
            let left = sources.delete_keys().await.err();
            return Err(left.into_iter().fold(e, Error::because));
        }
    };
    let mut ledger = Ledger::new(steps.clone(), posted, hops);
    if let Some(answer) = begun.answer {
        ledger.entered(answer);
    }
    let id = begun.correlation_id;

    let (sightings, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let payment = watch::Payment {
        pipeline,
        steps: &steps,
        posted,
        id: &id,
        correlation: &flow.correlation,
    };
    let mut watching = Box::pin(watch::all(payment, engine, &sources, sightings));
    let deadline = posted.instant + options.timeout;
    tokio::select! {
        () = watching.as_mut() => {}
        () = ledger.fill(&mut seen, deadline) => {}
        () = cancel.cancelled() => {}
    }
    ledger.drain(&mut seen);
    ledger.close();
    let took = ledger.took(deadline);
    let settled = match options.keep && cancel.is_cancelled() {
        true => Ok(()),
        false => settle::settle(&sources, &mut ledger, &mut watching, &mut seen).await,
    };
    let pending = settled.clone().err();
    let settled = match unfollowed.is_empty() {
        true => settled,
        false => Err(format!(
            "whether {} are done with it is unknown",
            unfollowed.names()
        )),
    };
    let cleanup = if options.keep {
        Cleanup::Kept
    } else {
        cleanup::clean(pipeline, &sources, &id, settled).await
    };
    if cancel.is_cancelled() {
        return Err(interrupted(&ledger, &id, &cleanup));
    }
    let missing = missing::first(engine, pipeline, &ledger).await;
    let kept = match &cleanup {
        Cleanup::Deleted(_) | Cleanup::Nothing => kept(pipeline, &steps),
        Cleanup::Kept | Cleanup::Failed(_) => Vec::new(),
    };
    Ok(Trace {
        correlation_id: Some(id.clone()),
        posted_at: posted.at,
        hops: ledger.into_hops(),
        took,
        missing,
        cleanup,
        kept,
        unfollowed,
        excluded: flow.excludes.clone(),
        pending,
    })
}

/// The tables of the flow whose rows are declared to be kept.
pub fn kept(pipeline: &Pipeline, steps: &[Step]) -> Vec<String> {
    let on_the_way = |table: &&Table| {
        let mut places = steps.iter().map(|step| &step.place);
        places.any(|p| matches!(p, HopPlace::Table { table: name, .. } if *name == table.name))
    };
    let tables = pipeline.tables.iter().filter(|table| table.keeps());
    tables.filter(on_the_way).map(|t| t.name.clone()).collect()
}

/// The declared flow.
///
/// # Errors
/// `Usage`: there is none.
pub fn flow(pipeline: &Pipeline) -> Result<&Flow> {
    pipeline.flow.as_ref().ok_or_else(|| {
        Error::new(Kind::Usage, "the declaration has no flow to follow")
            .hint("declare x-caravan.flow: how a payment enters the pipeline")
    })
}

/// When the payment was posted, by both clocks.
#[derive(Debug, Clone, Copy)]
struct Posted {
    at: DateTime<Utc>,
    instant: Instant,
}

impl Posted {
    fn now() -> Self {
        Self {
            at: Utc::now(),
            instant: Instant::now(),
        }
    }

    /// Seen at `at`, by the clock of its source.
    fn seen_at(self, at: DateTime<Utc>, detail: String) -> Seen {
        Seen {
            at,
            // The clock of another machine may be behind.
            after: (at - self.at).to_std().unwrap_or_default(),
            detail,
        }
    }

    /// Seen just now.
    fn seen_now(self, detail: String) -> Seen {
        Seen {
            at: Utc::now(),
            after: self.instant.elapsed(),
            detail,
        }
    }
}

fn interrupted(ledger: &Ledger, id: &str, cleanup: &Cleanup) -> Error {
    let what = format!("interrupted: payment {id}, {}", ledger.summary());
    let error = Error::new(Kind::Interrupted, what);
    match cleanup {
        Cleanup::Nothing => error,
        Cleanup::Kept => error.because("its rows are kept"),
        Cleanup::Deleted(deleted) => {
            let rows: u64 = deleted.rows.iter().map(|(_, rows)| rows).sum();
            let left = deleted.left.iter().map(|left| left.table.as_str());
            let error = error.because(format!("its {rows} rows were deleted"));
            left.fold(error, |error, table| {
                error.because(format!(
                    "rows of {table} that are not proven to be its own are left"
                ))
            })
        }
        Cleanup::Failed(why) => error.because(format!("not cleaned up: {why}")),
    }
}
