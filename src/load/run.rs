//! One load from the first payment to the report.

use std::time::Instant;

use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use super::{
    Options, Progress, cleanup,
    drain::{self, Drained, Path, Until},
    ledger::Ledger,
    report::Report,
    rows::Tables,
    send::{self, Sender},
    topics, unreachable,
};
use crate::{
    clients::kafka::offsets::Offsets,
    error::{Error, Kind, Result},
    pipeline::Pipeline,
    probe::Cleanup,
};

/// What stays the same throughout.
pub(super) struct Run {
    pub(super) path: Path,
    pub(super) tables: Tables,
    pub(super) options: Options,
    pub(super) cancel: CancellationToken,
    pub(super) progress: UnboundedSender<Progress>,
}

impl Run {
    pub(super) async fn send_and_account(
        &self,
        pipeline: &Pipeline,
        sender: Sender<'_>,
        mut ledger: Ledger,
    ) -> Result<Report> {
        let from = self.path.ends().await.map_err(unreachable)?;
        let (payments, sent) = send::all(&sender, self.options, &self.cancel, &self.progress).await;
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
        let cleanup = self.clean(&ledger, &from, &drained).await;
        let effects = effects.map_err(unreachable)?;
        if self.cancel.is_cancelled() {
            return Err(interrupted(sent.accepted, self.options.count, &cleanup));
        }
        Ok(Report::new(
            pipeline,
            self.options,
            &ledger,
            sent,
            &effects,
            &drained,
            cleanup,
        ))
    }

    /// Waits until all groups have passed the payments' events, then reads when those were.
    async fn follow(&self, ledger: &mut Ledger, from: &Offsets) -> Result<Drained, String> {
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
            // Others may use the topics, too: then events were counted that are not ours.
            if drained.pending.is_some() || self.path.announced(ledger) || until.is_over() {
                return Ok(drained);
            }
            tokio::time::sleep(drain::PAUSE).await;
        }
    }

    async fn clean(&self, ledger: &Ledger, from: &Offsets, drained: &Drained) -> Cleanup {
        if self.options.keep {
            return Cleanup::Kept;
        }
        let mut pending = drained.pending.clone();
        if pending.is_some() {
            let payments = ledger.payments.len();
            let settled = self
                .path
                .drain(from, payments, Until::Stuck, &self.progress);
            pending = settled.await.map_or_else(Some, |drained| drained.pending);
        }
        match pending {
            None => cleanup::clean(&self.tables, &ledger.payments, &self.progress).await,
            Some(why) => Cleanup::Failed(format!(
                "{why}; the rows of all {} payments are left so that those can still go through",
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
        Cleanup::Deleted(tables) => {
            let rows: u64 = tables.iter().map(|(_, rows)| rows).sum();
            error.because(format!("their {rows} rows were deleted"))
        }
        Cleanup::Failed(why) => error.because(format!("not cleaned up: {why}")),
    }
}
