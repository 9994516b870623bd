//! Sends many synthetic payments and follows each.
//!
//! In the order in which data passes: `pace` schedules the payments; `send` posts the request or
//! produces the first event; `drain` waits until every consumer group has passed them; afterwards
//! `topics` and `rows` read the events and rows of each payment; `redeliver` sends the events
//! again; `poison` sends a bad event between good ones; `ledger` records what was seen, and
//! `report` computes the figures; `cleanup` deletes the rows, `collect` those that earlier runs
//! left.
//!
//! While payments are in progress, only offsets are read, four times a second, because the pipeline
//! shares the machine. Kafka and Postgres store when each event and each row was written
//! (docs/decisions/0014-load-timestamps.md).

mod cleanup;
pub mod collect;
mod drain;
mod histogram;
mod ledger;
mod pace;
mod percentiles;
pub mod poison;
pub mod redeliver;
pub mod report;
mod rows;
mod run;
mod send;
mod topics;

use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use crate::probe::{self, expected, expected::Start};
use declaration::Pipeline;
use diagnostics::{Error, Kind, Result};
use drain::Path;
use ledger::Ledger;
use poison::BadEvent;
use report::Report;
use rows::Tables;
use run::{Run, Workload};
use send::Sender;

/// What to send.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How many payments.
    pub count: usize,
    /// Payments per second; None: as fast as they are accepted.
    pub rate: Option<f64>,
    /// Maximum number of unanswered requests or events; None: the default of either.
    pub concurrency: Option<usize>,
    /// Produce the first events instead of sending requests to the entry service.
    pub direct: bool,
    /// Send every event again after all were consumed, and compare the rows.
    pub redeliver: bool,
    /// Send a few payments and a bad event between them, instead of `count` payments.
    pub poison: bool,
    /// Keep the rows.
    pub keep: bool,
    /// Time limit for the last effect, after the last payment was sent.
    pub timeout: Duration,
}

/// Progress.
#[derive(Debug, Clone)]
pub enum Progress {
    /// Payments are being sent.
    Sending {
        /// Payments sent so far.
        sent: usize,
        /// Payments to send.
        of: usize,
    },
    /// All payments were sent.
    Sent {
        /// Payments sent.
        sent: usize,
        /// Time since the first payment was due.
        took: Duration,
    },
    /// Events on each topic since the start, in the order of the flow.
    Passing {
        /// Topic names and numbers of events.
        topics: Vec<(String, i64)>,
    },
    /// All consumer groups have consumed the payments' events.
    Passed {
        /// Payments that were sent.
        payments: usize,
        /// Time since the last payment was sent.
        took: Duration,
    },
    /// Rows of a table are being counted.
    Checking {
        /// Table name as declared.
        table: String,
        /// Payments done.
        done: usize,
        /// Payments in all.
        of: usize,
    },
    /// Rows are being deleted.
    Cleaning {
        /// Payments done.
        done: usize,
        /// Payments in all.
        of: usize,
    },
}

/// Sends the payments and checks each at each hop.
///
/// # Errors
/// `Usage`: the declaration has no flow, or no event for `direct`. `Unreachable`: Kafka or Postgres
/// do not answer, or no payment was accepted. `Interrupted`: the error says what was left. A
/// missing effect is not an error; the report has it.
pub async fn run(
    pipeline: &Pipeline,
    options: Options,
    cancel: CancellationToken,
    progress: UnboundedSender<Progress>,
) -> Result<Report> {
    let flow = probe::flow(pipeline)?;
    let options = match options.poison {
        true => Options {
            count: poison::GOOD,
            direct: true,
            ..options
        },
        false => Options {
            direct: options.direct || flow.entry.is_none(),
            ..options
        },
    };
    let start = match (&flow.event, options.direct) {
        (_, false) => Start::Entry,
        (Some(event), true) => Start::Event(&event.topic),
        (None, true) => {
            let what = "the declaration does not say what the first event is";
            let flag = if options.poison {
                "--poison"
            } else {
                "--direct"
            };
            let hint = format!("declare x-caravan.flow.event, or leave {flag} out");
            return Err(Error::new(Kind::Usage, what).hint(hint));
        }
    };
    let ledger = Ledger::new(expected::steps(pipeline, flow, start));
    let sender = Sender::open(pipeline, flow, options.direct)?;
    let path = Path::open(pipeline, flow, &ledger).await?;
    let workload = match options.poison {
        true => Workload::Poison(Box::new(BadEvent::open(pipeline, flow, &path.kafka).await?)),
        false => Workload::Payments(sender),
    };
    let run = Run {
        path,
        tables: Tables::open(pipeline, &ledger, options.keep).await?,
        options,
        cancel,
        progress,
    };
    run.send_and_account(pipeline, workload, ledger).await
}

/// A part of the pipeline that has to be read does not answer.
fn unreachable(why: impl std::fmt::Display) -> Error {
    Error::new(Kind::Unreachable, "the payments could not be followed").because(why)
}
