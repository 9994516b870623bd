//! One load from the first payment to the report.

use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use super::{
    Options, Progress, cleanup,
    drain::{self, Drained, Path, Until},
    ledger::{Ledger, Payment},
    poison::{BadEvent, Poisoned, Sent},
    redeliver::Redelivery,
    report::Report,
    rows::Tables,
    send::{self, Outcome, Sender},
    topics, unreachable,
};
use crate::probe::{self, Cleanup, unfollowed::Unfollowed};
use declaration::Pipeline;
use diagnostics::{Error, Kind, Result};
use kafka::offsets::Offsets;

/// The parts that do not change during a load.
pub(super) struct Run {
    pub(super) path: Path,
    pub(super) tables: Tables,
    pub(super) options: Options,
    pub(super) cancel: CancellationToken,
    pub(super) progress: UnboundedSender<Progress>,
}

/// What is sent.
pub(super) enum Workload<'a> {
    Payments(Sender<'a>),
    /// A few, and a bad event between them.
    Poison(Box<BadEvent<'a>>),
}

impl Run {
    pub(super) async fn send_and_account(
        &self,
        pipeline: &Pipeline,
        workload: Workload<'_>,
        mut ledger: Ledger,
    ) -> Result<Report> {
        let from = self.path.ends().await.map_err(unreachable)?;
        let (payments, sent, bad) = self.send(&workload).await?;
        if payments.is_empty() {
            let error = match self.cancel.is_cancelled() {
                true => Error::new(Kind::Interrupted, "interrupted before a payment was sent"),
                false => Error::new(Kind::Unreachable, "not one payment was accepted"),
            };
            let reasons = sent.reasons.into_iter().map(|(why, _)| why);
            return Err(reasons.fold(error, Error::because));
        }
        ledger.enter(payments);
        let followed = self.follow(&mut ledger, &from).await;
        let drained = followed.map_err(|why| {
            let count = ledger.payments.len();
            let left = format!("the rows of {count} payments are left");
            unreachable(why).because(left)
        })?;
        let checked = self.tables.check(&mut ledger, &self.cancel, &self.progress);
        let effects = checked.await;
        let poisoned = self.poisoned(&workload, bad, &drained).await;
        let through = drained.pending.is_none()
            && ledger.is_complete()
            && effects
                .as_ref()
                .is_ok_and(|effects| effects.wrong_row_counts.is_empty());
        let redelivery = match self.options.redeliver && !self.cancel.is_cancelled() {
            true => Some(self.again(pipeline, &ledger, &from, through).await),
            false => None,
        };
        let under_way = match &redelivery {
            None => None,
            Some(Ok(redelivery)) => redelivery.pending.clone(),
            Some(Err(why)) => Some(why.to_string()),
        };
        let pending = drained.pending.clone().or(under_way);
        let unfollowed = probe::unfollowed::unfollowed(pipeline, probe::flow(pipeline)?);
        let later = probe::cleanup::later(pipeline);
        let cleanup = self
            .clean(&ledger, &from, pending, &unfollowed, &later)
            .await;
        let effects = effects.map_err(unreachable)?;
        if self.cancel.is_cancelled() {
            return Err(interrupted(sent.accepted, self.options.count, &cleanup));
        }
        let mut report = Report::new(
            pipeline,
            self.options,
            &ledger,
            sent,
            &effects,
            &drained,
            cleanup,
        );
        report.poisoned = poisoned.transpose().map_err(unreachable)?;
        // The report gives the reason; the run itself does not fail.
        report.redelivery = redelivery.map(|again| again.map_err(|why| why.to_string()));
        report.unfollowed = unfollowed;
        Ok(report)
    }

    async fn send(&self, workload: &Workload<'_>) -> Result<(Vec<Payment>, Outcome, Option<Sent>)> {
        match workload {
            Workload::Payments(sender) => {
                let sending = send::all(sender, self.options, &self.cancel, &self.progress);
                let (payments, outcome) = sending.await;
                Ok((payments, outcome, None))
            }
            Workload::Poison(bad) => {
                let began = Instant::now();
                let (payments, sent) = bad.send().await?;
                let outcome = Outcome {
                    accepted: payments.len(),
                    took: began.elapsed(),
                    ..Outcome::default()
                };
                Ok((payments, outcome, Some(sent)))
            }
        }
    }

    /// Waits for the dead letters of the bad event, if one was sent.
    async fn poisoned(
        &self,
        workload: &Workload<'_>,
        sent: Option<Sent>,
        drained: &Drained,
    ) -> Option<Result<Poisoned, kafka::Error>> {
        let (Workload::Poison(bad), Some(sent)) = (workload, sent) else {
            return None;
        };
        // A worker that processes this partition has dead-lettered it by now.
        let patience = match drained.pending {
            None => self.options.timeout,
            Some(_) => Duration::ZERO,
        };
        let deadline = Instant::now() + patience;
        Some(bad.dead_letters(sent, deadline, &self.cancel).await)
    }

    /// Sends all events again if the payments were consumed.
    async fn again(
        &self,
        pipeline: &Pipeline,
        ledger: &Ledger,
        from: &Offsets,
        through: bool,
    ) -> Result<Redelivery> {
        if !through {
            return Err(Error::new(
                Kind::NotRight,
                "the payments have not come through as they should",
            ));
        }
        let event = pipeline.flow.as_ref().and_then(|flow| flow.event.as_ref());
        self.redeliver(event, &ledger.payments, from).await
    }

    /// Waits until all groups have passed the payments' events, then reads when those were.
    async fn follow(&self, ledger: &mut Ledger, from: &Offsets) -> Result<Drained> {
        let began = Instant::now();
        let until = Until::Deadline(began + self.options.timeout, &self.cancel);
        let payments = ledger.payments.len();
        let mut read = from.clone();
        loop {
            let drained = self
                .path
                .drain(from, payments, until, &self.progress)
                .await?;
            if drained.pending.is_none() {
                let took = began.elapsed();
                let _unwatched = self.progress.send(Progress::Passed { payments, took });
            }
            let ends = self.path.ends().await?;
            let whose = (&self.path.kafka, &self.path.correlation);
            topics::read(whose, ledger, &read, &ends).await?;
            read = ends;
            // Other traffic on the topics may have been counted as the payments' events.
            if drained.pending.is_some() || self.path.announced(ledger) || until.is_over() {
                return Ok(drained);
            }
            tokio::time::sleep(drain::PAUSE).await;
        }
    }

    async fn clean(
        &self,
        ledger: &Ledger,
        from: &Offsets,
        mut pending: Option<String>,
        unfollowed: &Unfollowed,
        later: &str,
    ) -> Cleanup {
        if self.options.keep {
            return Cleanup::Kept;
        }
        if pending.is_some() {
            let payments = ledger.payments.len();
            let settled = self
                .path
                .drain(from, payments, Until::Stuck, &self.progress);
            let drained = settled.await;
            pending = drained.map_or_else(|why| Some(why.to_string()), |drained| drained.pending);
        }
        if pending.is_none() && !unfollowed.is_empty() {
            let names = unfollowed.names();
            pending = Some(format!("whether {names} are done with them is unknown"));
        }
        match pending {
            None => cleanup::clean(&self.tables, &ledger.payments, &self.progress).await,
            Some(why) => Cleanup::Failed(format!(
                "{why}; the rows of all {} payments are left so that those can still go through \
                 ({later})",
                ledger.payments.len()
            )),
        }
    }
}

fn interrupted(sent: usize, of: usize, cleanup: &Cleanup) -> Error {
    let what = format!("interrupted: {sent} of {of} payments were sent");
    let error = Error::new(Kind::Interrupted, what);
    match cleanup {
        Cleanup::Nothing => error,
        Cleanup::Kept => error.because("their rows are kept"),
        Cleanup::Deleted(deleted) => {
            let rows: u64 = deleted.rows.iter().map(|(_, rows)| rows).sum();
            let left = deleted.left.iter().map(|left| left.table.as_str());
            let error = error.because(format!("their {rows} rows were deleted"));
            left.fold(error, |error, table| {
                error.because(format!(
                    "rows of {table} that are not proven to be theirs are left"
                ))
            })
        }
        Cleanup::Failed(why) => error.because(format!("not cleaned up: {why}")),
    }
}
