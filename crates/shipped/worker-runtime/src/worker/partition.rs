//! One partition's task processes messages in order and reports done offsets. An event that waits
//! for a retry is parked, later events continue, and the committed offset stays before it.

use std::sync::Arc;

use tokio::{sync::mpsc::UnboundedReceiver, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    Message, Processor,
    batch::{Batch, MAX_EVENTS},
    batch_builder::BatchBuilder,
    progress::PartitionProgress,
    work::{Shared, Stopped, Work},
};

/// The task of one partition.
pub(crate) struct Partition<P: Processor> {
    batches: BatchBuilder<P::Input>,
    work: Work<P>,
    /// Once cancelled, the task finishes the current batch and starts no other.
    stop: CancellationToken,
}

impl<P: Processor> Partition<P> {
    pub(crate) fn new(
        shared: Arc<Shared<P>>,
        partition: i32,
        chunks: UnboundedReceiver<Vec<Message>>,
        progress: Arc<PartitionProgress>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            batches: BatchBuilder::new(chunks, Arc::clone(&progress)),
            work: Work::new(shared, partition, progress, stop.clone()),
            stop,
        }
    }

    /// Runs until it is stopped or the queue is closed. The next batch is decoded while the current
    /// one waits for the database or the broker.
    pub(crate) async fn run(mut self) {
        while let Some(batch) = self.next_batch().await {
            let worked = tokio::select! {
                biased;
                worked = self.work.on(batch) => worked,
                never = self.batches.fill() => match never {},
            };
            if let Err(Stopped) = worked {
                break;
            }
        }
    }

    /// Parked events that are due, otherwise the queued messages; None when the task has to end.
    async fn next_batch(&mut self) -> Option<Batch<P::Input>> {
        loop {
            let parked = &mut self.work.parked;
            let due = parked.take_due(Instant::now(), MAX_EVENTS);
            if !due.is_empty() {
                return Some(Batch::retry(due));
            }
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return None,
                () = parked.until_due() => {}
                batch = self.batches.next(), if !parked.is_full() => return batch,
            }
        }
    }
}

#[cfg(test)]
mod tests;
