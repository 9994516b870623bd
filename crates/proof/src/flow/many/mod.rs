//! Many test messages: sent on schedule, timed, and each accounted for.
//!
//! In the order in which data passes: `send` sends the messages when they are due; `poison` sends a few
//! and a bad event between them; [`run`] waits until every consumer group has consumed them; `ledger`
//! looks up when each was seen at each hop; `report` computes the figures, `latency` their spread.
//!
//! While messages are in progress, only offsets are read, four times a second, because the pipeline
//! shares the machine. Kafka and Postgres store when each event and each row was written
//! (docs/decisions/0014-load-timestamps.md).

mod latency;
mod ledger;
mod poison;
mod report;
mod send;

use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

pub use latency::{Histogram, Spread};
pub use poison::Poisoned;
pub use report::{Deviation, Deviations, Passed, Report, Source, Throughput};
pub use send::{Lateness, Outcome};

use super::{
    Options, Progress,
    drain::{self, Drained, Until},
    run::{Run, TestMessage, interrupted},
    sources::{Topics, undeclared, unreachable},
};
use declaration::Pipeline;
use diagnostics::{Error, Kind, Result};
use kafka::offsets::Offsets;
use ledger::Ledger;
use poison::{BadEvent, SentBadEvent};
use report::Figures;

/// Sends the messages and checks each at each hop.
///
/// # Errors
/// `Usage`: the declaration has no flow, or no event for `direct`. `Unreachable`: Kafka or Postgres
/// do not answer, or no message was accepted. `Interrupted`: the error says what was left. A missing
/// effect is not an error; the report has it.
pub async fn run(
    pipeline: &Pipeline,
    options: Options,
    cancel: CancellationToken,
    progress: UnboundedSender<Progress>,
) -> Result<Report> {
    let count = if options.poison {
        poison::GOOD
    } else {
        options.count
    };
    let options = Options { count, ..options };
    let run = Run::open(pipeline, options, cancel, progress).await?;
    let Some(topics) = &run.topics else {
        let what = match pipeline.kafka {
            Some(_) => Error::new(Kind::Usage, "no service of the flow emits to a topic"),
            None => undeclared("Kafka"),
        };
        return Err(what);
    };
    if let Some(topic) = &topics.absent {
        let why = format!("topic {topic} does not exist");
        return Err(unreachable(pipeline, why));
    }
    let bad = match run.options.poison {
        true => Some(BadEvent::open(&run, &topics.kafka).await?),
        false => None,
    };

    let from = topics.ends().await;
    let from = from.map_err(|why| unreachable(pipeline, why))?;
    let (messages, sent, bad_sent) = send(&run, bad.as_ref()).await?;
    if messages.is_empty() {
        return Err(nothing_sent(&run, sent));
    }
    let mut ledger = Ledger::new(&run.steps, messages);
    let count = ledger.messages.len();
    let noun = &run.flow.noun;
    let followed = follow(&run, topics, &mut ledger, &from).await;
    let drained = followed.map_err(|why| {
        let left = format!("the rows of {count} {} are left", noun.many());
        unreachable(pipeline, why).because(left)
    })?;
    let wrong_rows = ledger.read_rows(&run).await;
    let poisoned = match bad.zip(bad_sent) {
        Some((bad, sent)) => Some(dead_letters(&run, &bad, sent, &drained).await),
        None => None,
    };
    let complete = drained.pending.is_none()
        && ledger.is_complete()
        && wrong_rows.as_ref().is_ok_and(Vec::is_empty);
    let redelivery = run.again(&ledger.messages, &from, complete).await;
    let again = redelivery.as_ref().and_then(|again| match again {
        Ok(redelivery) => redelivery.pending.clone(),
        Err(why) => Some(why.to_string()),
    });
    let mut pending = drained.pending.clone().or(again);
    if pending.is_some() && !run.options.keep {
        // What is consumed by now can be deleted all the same.
        let settled = topics.drain(&run, &from, count, Until::Stuck).await;
        pending = settled.map_or_else(|why| Some(why.to_string()), |drained| drained.pending);
    }
    let cleanup = run.clean(&ledger.messages, pending).await;
    let wrong_rows = wrong_rows.map_err(|why| unreachable(pipeline, why))?;
    if run.cancel.is_cancelled() {
        let (sent, of) = (sent.accepted, run.options.count);
        let what = format!("{sent} of {of} {} were sent", noun.many());
        return Err(interrupted(what, &cleanup));
    }
    let poisoned = poisoned.transpose();
    let poisoned = poisoned.map_err(|why| unreachable(pipeline, why))?;
    let figures = Figures::new(pipeline, &ledger, &wrong_rows, &drained);
    Ok(Report {
        count: run.options.count,
        rate: run.options.rate,
        direct: run.options.direct,
        sent,
        throughput: figures.throughput,
        hops: figures.hops,
        missing: figures.missing,
        surplus: figures.surplus,
        poisoned,
        not_watched: run.not_watched.clone(),
        completion: run.completion(drained.pending, redelivery, cleanup),
    })
}

/// Sends the messages, or the few of `--poison` and the bad event.
async fn send(
    run: &Run<'_>,
    bad: Option<&BadEvent<'_>>,
) -> Result<(Vec<TestMessage>, Outcome, Option<SentBadEvent>)> {
    let Some(bad) = bad else {
        let (messages, outcome) = send::all(run).await;
        return Ok((messages, outcome, None));
    };
    let began = Instant::now();
    let (messages, sent) = bad.send(run).await?;
    let outcome = Outcome {
        accepted: messages.len(),
        took: began.elapsed(),
        ..Outcome::default()
    };
    Ok((messages, outcome, Some(sent)))
}

fn nothing_sent(run: &Run<'_>, sent: Outcome) -> Error {
    let error = match run.cancel.is_cancelled() {
        true => Error::new(Kind::Interrupted, "interrupted before anything was sent"),
        false => {
            let what = format!("not one {} was accepted", run.flow.noun.one());
            Error::new(Kind::Unreachable, what)
        }
    };
    let reasons = sent.reasons.into_iter().map(|(why, _)| why);
    reasons.fold(error, Error::because)
}

/// Waits until all groups have consumed the messages' events, then reads when those were written.
async fn follow(
    run: &Run<'_>,
    topics: &Topics,
    ledger: &mut Ledger,
    from: &Offsets,
) -> Result<Drained> {
    let began = Instant::now();
    let until = Until::Deadline(began + run.options.timeout, &run.cancel);
    let messages = ledger.messages.len();
    let mut read = from.clone();
    loop {
        let drained = topics.drain(run, from, messages, until).await?;
        if drained.pending.is_none() {
            let took = began.elapsed();
            run.report(Progress::Passed { messages, took });
        }
        let ends = topics.ends().await?;
        ledger.read_topics(topics, &read, &ends).await?;
        read = ends;
        // Other traffic on the topics may have been counted as the messages' events.
        if drained.pending.is_some() || ledger.has_entered(topics) || until.is_over() {
            return Ok(drained);
        }
        tokio::time::sleep(drain::PAUSE).await;
    }
}

/// Waits for the dead letters of the bad event.
async fn dead_letters(
    run: &Run<'_>,
    bad: &BadEvent<'_>,
    sent: SentBadEvent,
    drained: &Drained,
) -> Result<Poisoned, kafka::Error> {
    // A worker that processes this partition has dead-lettered it by now.
    let patience = match drained.pending {
        None => run.options.timeout,
        Some(_) => Duration::ZERO,
    };
    bad.dead_letters(sent, Instant::now() + patience, &run.cancel)
        .await
}
