//! One partition's task: messages in, offsets out. In order; an event that has to wait is parked
//! and its neighbours go on, the committed offset staying before it.

use std::sync::Arc;

use tokio::{sync::mpsc::UnboundedReceiver, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    Message, Processor,
    batch::{Batch, MAX_EVENTS},
    gauge::Gauge,
    inbox::Inbox,
    work::{Shared, Stopped, Work},
};

/// The task of one partition.
pub(crate) struct Partition<P: Processor> {
    inbox: Inbox<P::Input>,
    work: Work<P>,
    /// Finish what is under way, begin nothing more.
    stop: CancellationToken,
}

impl<P: Processor> Partition<P> {
    pub(crate) fn new(
        shared: Arc<Shared<P>>,
        partition: i32,
        chunks: UnboundedReceiver<Vec<Message>>,
        gauge: Arc<Gauge>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            inbox: Inbox::new(chunks, Arc::clone(&gauge)),
            work: Work::new(shared, partition, gauge, stop.clone()),
            stop,
        }
    }

    /// Works until it is told to stop or no more messages can come. The next batch is decoded
    /// while this one waits for the database or the broker.
    pub(crate) async fn run(mut self) {
        while let Some(batch) = self.next_batch().await {
            let worked = tokio::select! {
                biased;
                worked = self.work.on(batch) => worked,
                never = self.inbox.fill() => match never {},
            };
            if let Err(Stopped) = worked {
                break;
            }
        }
    }

    /// Parked events that are due, else the messages that are there; None at the end.
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
                batch = self.inbox.next(), if !parked.is_full() => return batch,
            }
        }
    }
}

#[cfg(test)]
mod tests;
