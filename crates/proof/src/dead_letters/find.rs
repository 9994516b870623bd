//! One dead letter, whole.

use std::{ops::ControlFlow, time::Duration};

use kafka::record::OwnedMessage;

use super::{DeadLetters, Letter, Place, Progress, Tell, journal::Status, too_slow};
use diagnostics::{Error, Kind, Result};
use kafka::read::Span;

/// Further letters of the same place are named, so many at most.
const MAX_OTHERS: usize = 20;

/// A letter with its key, payload and headers.
#[derive(Debug)]
pub struct Found {
    pub letter: Letter,
    pub message: OwnedMessage,
    pub status: Status,
    /// Letters of the same message: of other groups, or written twice by a worker that died.
    pub others: Vec<Letter>,
}

impl DeadLetters {
    /// The letter of a message that stood at `place`, or that stands there on the dead-letter
    /// topic itself.
    ///
    /// # Errors
    /// There is none, or Kafka does not answer.
    pub async fn find(&self, place: &Place, patience: Duration, tell: Tell) -> Result<Found> {
        let mut span = self.span().await?;
        if *place.topic == *self.topic {
            span = only(span, place);
        }
        let wanted = place.clone();
        let state: (Option<(Letter, OwnedMessage)>, Vec<Letter>) = (None, Vec::new());
        let (state, whole) = self
            .each(
                span.clone(),
                patience,
                tell,
                state,
                move |(found, others), letter, message| {
                    if letter.own != wanted && letter.source.as_ref() != Some(&wanted) {
                        return ControlFlow::Continue(());
                    }
                    if found.is_none() {
                        *found = Some((letter, message.detach()));
                    } else if others.len() < MAX_OTHERS {
                        others.push(letter);
                    }
                    ControlFlow::Continue(())
                },
            )
            .await?;
        match state {
            (Some((letter, message)), others) => {
                let status = self.status(&letter).await?;
                Ok(Found {
                    letter,
                    message,
                    status,
                    others,
                })
            }
            (None, _) if !whole => Err(too_slow(&span, patience)),
            (None, _) => Err(Error::new(
                Kind::Usage,
                format!("no dead letter of {place} on {}", self.topic),
            )),
        }
    }

    async fn status(&self, letter: &Letter) -> Result<Status> {
        let history = self.history().await?;
        let progress = match history.of(letter) {
            Some(_) => self.progress(&history).await?,
            None => Progress::new(),
        };
        Ok(history.status(letter, &progress))
    }
}

/// One message of a span.
fn only(mut span: Span, place: &Place) -> Span {
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
