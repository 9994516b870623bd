//! The task's end of a partition queue: builds the next batch from queued messages while the
//! current batch is processed.

use std::{convert::Infallible, future::pending, mem, sync::Arc, vec};

use caravan_events::Payload;
use tokio::sync::mpsc::UnboundedReceiver;

use super::{Message, batch::Batch, progress::PartitionProgress};

/// Builds batches from the messages of one partition, in order.
pub(crate) struct BatchBuilder<I> {
    chunks: UnboundedReceiver<Vec<Message>>,
    /// Messages of the last chunk that are in no batch yet.
    rest: vec::IntoIter<Message>,
    next: Batch<I>,
    progress: Arc<PartitionProgress>,
}

impl<I: Payload> BatchBuilder<I> {
    pub(crate) fn new(
        chunks: UnboundedReceiver<Vec<Message>>,
        progress: Arc<PartitionProgress>,
    ) -> Self {
        Self {
            chunks,
            rest: Vec::new().into_iter(),
            next: Batch::default(),
            progress,
        }
    }

    /// The queued messages, up to a batch's limits; if none is queued, waits for the next chunk.
    /// None once the queue is closed. Cancel safe: messages stay in `self`.
    pub(crate) async fn next(&mut self) -> Option<Batch<I>> {
        loop {
            while self.decode() {
                match self.chunks.try_recv() {
                    Ok(chunk) => self.rest = chunk.into_iter(),
                    Err(_) => break,
                }
            }
            if self.next.len() > 0 {
                return Some(mem::take(&mut self.next));
            }
            self.rest = self.chunks.recv().await?.into_iter();
        }
    }

    /// Decodes messages into the next batch for as long as it is polled. Never completes.
    pub(crate) async fn fill(&mut self) -> Infallible {
        while self.decode() {
            match self.chunks.recv().await {
                Some(chunk) => self.rest = chunk.into_iter(),
                None => break,
            }
        }
        pending().await
    }

    /// Moves messages into the next batch. Returns whether the batch has room for more.
    fn decode(&mut self) -> bool {
        let (mut messages, mut bytes) = (0, 0);
        let mut room = true;
        while let Some(first) = self.rest.as_slice().first() {
            let size = first.size();
            room = self.next.admits(size);
            if !room {
                break;
            }
            self.next.extend(self.rest.next());
            messages += 1;
            bytes += size;
        }
        if messages > 0 {
            self.progress.dequeued(messages, bytes);
        }
        room
    }
}
