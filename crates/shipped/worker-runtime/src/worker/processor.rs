//! The interface between a partition's task, which handles Kafka, and the processing of its events.

use caravan_events::Payload;

use crate::{InfrastructureError, Reason};

use super::Received;

/// Applies the effects of events. One value serves all partitions concurrently.
pub trait Processor: Send + Sync + 'static {
    /// The payload of the events to process; it determines the topic.
    type Input: Payload;

    /// Applies the effects of a batch of one partition's events. Returns one outcome per event, in
    /// order.
    ///
    /// # Errors
    /// The database, the broker or another service is not available. The whole batch is retried until
    /// it succeeds.
    fn process(
        &self,
        batch: &[&Received<Self::Input>],
    ) -> impl Future<Output = Result<Vec<Outcome>, InfrastructureError>> + Send;
}

/// The result of processing one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The event's effects are applied.
    Processed {
        /// The inbox already had the event: its effects were applied earlier.
        duplicate: bool,
    },
    /// The effect that another service writes is not visible yet, for this reason. The event is
    /// retried forever, while other events continue.
    Unconfirmed(String),
    /// The event failed and may succeed later: a bounded number of retries, then a dead letter.
    Transient(Reason),
    /// The event can never succeed: a dead letter without a retry.
    Permanent(Reason),
}
