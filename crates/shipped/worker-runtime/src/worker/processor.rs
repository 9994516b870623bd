//! Between a partition's task, which knows Kafka, and what is done with its events.

use caravan_events::Payload;

use crate::Reason;

use super::Received;

/// Takes the effects of events. One value serves all partitions, side by side.
pub trait Processor: Send + Sync + 'static {
    /// What it takes; the topic follows from it.
    type Input: Payload;

    /// Takes the effects of a batch of one partition's events: one outcome each, in order.
    ///
    /// # Errors
    /// Something other than an event is at fault (no database, no broker), and what. The whole
    /// batch is given again later, for ever.
    fn process(
        &self,
        batch: &[&Received<Self::Input>],
    ) -> impl Future<Output = Result<Vec<Outcome>, String>> + Send;
}

/// What became of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Its effects are taken. `duplicate`: they were before.
    Processed {
        /// Whether the event had been seen.
        duplicate: bool,
    },
    /// Its effect cannot be seen yet, and only it can have an effect of its own: it is tried
    /// again, for ever, while its neighbours go on. Why.
    Unconfirmed(String),
    /// A few more tries, then a dead letter.
    Transient(Reason),
    /// A dead letter at once.
    Permanent(Reason),
}
