//! The task's side of a lane: what the consumer's thread has read becomes the next batch, while
//! this one is worked on.

use std::{convert::Infallible, future::pending, mem, sync::Arc, vec};

use caravan_events::Payload;
use tokio::sync::mpsc::UnboundedReceiver;

use super::{Message, batch::Batch, gauge::Gauge};

/// The messages of one partition, in order.
pub(crate) struct Inbox<I> {
    chunks: UnboundedReceiver<Vec<Message>>,
    /// Of the last chunk, what is in no batch yet.
    rest: vec::IntoIter<Message>,
    next: Batch<I>,
    gauge: Arc<Gauge>,
}

impl<I: Payload> Inbox<I> {
    pub(crate) fn new(chunks: UnboundedReceiver<Vec<Message>>, gauge: Arc<Gauge>) -> Self {
        Self {
            chunks,
            rest: Vec::new().into_iter(),
            next: Batch::default(),
            gauge,
        }
    }

    /// Everything that is there, up to a batch's bounds; where nothing is, what comes first. None
    /// once nothing can come. Nothing is lost where it is given up half-way.
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

    /// Decodes what comes, up to one batch, for as long as it is polled.
    pub(crate) async fn fill(&mut self) -> Infallible {
        while self.decode() {
            match self.chunks.recv().await {
                Some(chunk) => self.rest = chunk.into_iter(),
                None => break,
            }
        }
        pending().await
    }

    /// Moves messages into the next batch. Whether there is room for more.
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
            self.gauge.taken(messages, bytes);
        }
        room
    }
}
