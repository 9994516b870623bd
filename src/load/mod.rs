//! Many synthetic payments at once, timed and accounted for one by one.
//!
//! In the order in which data passes: `pace` says when each is due; `send` posts the request or
//! produces the first event; `drain` waits until every consumer group has passed them; `topics`
//! and `rows` look, afterwards, at what each left on its way; `redeliver` sends it all again;
//! `poison` puts a bad event between good ones; `ledger` holds what was seen, and
//! `report` makes figures of it; `cleanup` takes the rows away again,
//! `collect` those that earlier runs had to leave.
//!
//! While payments are under way nothing but offsets is asked, four times a second: the pipeline
//! shares the machine. Kafka and Postgres remember when each event and each row was written
//! (docs/decisions/0014-timed-by-what-is-stored.md).

mod cleanup;
pub(crate) mod collect;
mod drain;
mod histogram;
mod ledger;
mod pace;
mod percentiles;
pub(crate) mod poison;
pub(crate) mod redeliver;
pub(crate) mod report;
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
use poison::Bad;
use report::Report;
use rows::Tables;
use run::{Run, Way};
use send::Sender;

/// What to send.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// How many payments.
    pub(crate) count: usize,
    /// Payments per second; None is as fast as they are taken.
    pub(crate) rate: Option<f64>,
    /// How many may wait for their answer at one time; None: as many as suit the way in.
    pub(crate) concurrency: Option<usize>,
    /// Produce the first events instead of asking the entry service.
    pub(crate) direct: bool,
    /// Send everything again once it is through, and compare the rows.
    pub(crate) redeliver: bool,
    /// Instead of so many payments, a few, and a bad event between them.
    pub(crate) poison: bool,
    /// Leave the rows where they are.
    pub(crate) keep: bool,
    /// For the last effect, after the last payment was sent.
    pub(crate) timeout: Duration,
}

/// How far it has come.
#[derive(Debug, Clone)]
pub(crate) enum Progress {
    Sending {
        sent: usize,
        of: usize,
    },
    Sent {
        sent: usize,
        took: Duration,
    },
    /// Events on each topic since the start, in the order of the flow.
    Passing {
        topics: Vec<(String, i64)>,
    },
    /// By all consumer groups.
    Passed {
        payments: usize,
        took: Duration,
    },
    Checking {
        table: String,
        done: usize,
        of: usize,
    },
    Cleaning {
        done: usize,
        of: usize,
    },
}

/// Sends the payments and accounts for them.
///
/// # Errors
/// `Usage`: the declaration has no flow, or no event for `direct`. `Unreachable`: Kafka or
/// Postgres do not answer, or no payment at all was accepted. `Interrupted`: with what was left.
/// What is missing is no error: the report says so.
pub(crate) async fn run(
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
    let way = match options.poison {
        true => Way::Poison(Box::new(Bad::open(pipeline, flow, &path.kafka).await?)),
        false => Way::Payments(sender),
    };
    let run = Run {
        path,
        tables: Tables::open(pipeline, &ledger).await?,
        options,
        cancel,
        progress,
    };
    run.send_and_account(pipeline, way, ledger).await
}

/// A part of the pipeline that has to be looked at does not answer.
fn unreachable(why: String) -> Error {
    Error::new(Kind::Unreachable, "the payments could not be followed").because(why)
}
