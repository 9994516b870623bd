//! Finds one dead letter with its payload.

use std::{ops::ControlFlow, time::Duration};

use kafka::record::OwnedMessage;

use super::{
    CommittedOffsets, DeadLetter, DeadLetters, RecordId, ReportProgress, journal::Status, too_slow,
};
use diagnostics::{Error, Kind, Result};
use kafka::read::Span;

/// Maximum number of further dead letters of the same source record.
const MAX_OTHERS: usize = 20;

/// A dead letter with its key, payload and headers.
#[derive(Debug)]
pub struct Found {
    /// What its headers say.
    pub dead_letter: DeadLetter,
    /// The record itself: key, payload and all headers.
    pub message: OwnedMessage,
    /// Whether it was replayed or dismissed.
    pub status: Status,
    /// Other dead letters of the same source record: of other groups, or a second copy by a worker
    /// that died before it committed.
    pub others: Vec<DeadLetter>,
}

impl DeadLetters {
    /// The dead letter whose source record is `place`, or that is itself the record `place`.
    ///
    /// # Errors
    /// No such dead letter exists, or Kafka does not answer.
    pub async fn find(
        &self,
        place: &RecordId,
        patience: Duration,
        report: ReportProgress,
    ) -> Result<Found> {
        let mut span = self.span().await?;
        if *place.topic == *self.topic {
            span = only(span, place);
        }
        let wanted = place.clone();
        let state: (Option<(DeadLetter, OwnedMessage)>, Vec<DeadLetter>) = (None, Vec::new());
        let (state, whole) = self
            .each(
                span.clone(),
                patience,
                report,
                state,
                move |(found, others), dead_letter, message| {
                    if dead_letter.own != wanted && dead_letter.source.as_ref() != Some(&wanted) {
                        return ControlFlow::Continue(());
                    }
                    if found.is_none() {
                        *found = Some((dead_letter, message.detach()));
                    } else if others.len() < MAX_OTHERS {
                        others.push(dead_letter);
                    }
                    ControlFlow::Continue(())
                },
            )
            .await?;
        match state {
            (Some((dead_letter, message)), others) => {
                let status = self.status(&dead_letter).await?;
                Ok(Found {
                    dead_letter,
                    message,
                    status,
                    others,
                })
            }
            (None, _) if !whole => Err(too_slow(&span, patience)),
            (None, _) => Err(Error::new(
                Kind::NotRight,
                format!("no dead letter of {place} on {}", self.topic),
            )),
        }
    }

    async fn status(&self, dead_letter: &DeadLetter) -> Result<Status> {
        let history = self.history().await?;
        let committed = match history.of(dead_letter) {
            Some(_) => self.committed_offsets(&history).await?,
            None => CommittedOffsets::new(),
        };
        Ok(history.status(dead_letter, &committed))
    }
}

/// Narrows a span to one record.
fn only(mut span: Span, place: &RecordId) -> Span {
    let at = place.partition();
    span.from.retain(|p, _| *p == at);
    span.to.retain(|p, _| *p == at);
    for from in span.from.values_mut() {
        *from = place.offset.max(*from);
    }
    for to in span.to.values_mut() {
        *to = (place.offset + 1).min(*to);
    }
    span
}
