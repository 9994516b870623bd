//! A message as it came, and the event in it.

use caravan_events::{DecodeError, Event, Payload};
use rdkafka::{
    Message as _,
    message::{BorrowedMessage, OwnedHeaders},
};

use crate::{Trace, kafka};

/// A Kafka message, owned: what a dead letter needs, byte for byte.
#[derive(Debug, Clone)]
pub struct Message {
    /// Where it came from.
    pub topic: &'static str,
    /// Where in the topic.
    pub partition: i32,
    /// Where in the partition.
    pub offset: i64,
    /// May be absent.
    pub key: Option<Vec<u8>>,
    /// Absent in a tombstone.
    pub value: Option<Vec<u8>>,
    /// The source's own headers.
    pub headers: Option<OwnedHeaders>,
}

impl Message {
    /// Copies the message out of librdkafka's memory, once. `topic` is the one that was subscribed
    /// to.
    pub(crate) fn copy(message: &BorrowedMessage<'_>, topic: &'static str) -> Self {
        Self {
            topic,
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers: message.headers().map(|headers| headers.detach()),
        }
    }

    /// Bytes of key and value, for bounding memory.
    pub(crate) fn size(&self) -> usize {
        let length = |part: &Option<Vec<u8>>| part.as_ref().map_or(0, Vec::len);
        length(&self.key) + length(&self.value)
    }

    /// The event in it.
    pub(crate) fn decode<P: Payload>(&self) -> Result<Received<P>, DecodeError> {
        Ok(Received {
            event: caravan_events::decode(self.value.as_deref())?,
            synthetic: kafka::is_synthetic(self.headers.as_ref()),
            trace: kafka::trace(self.headers.as_ref()),
            partition: self.partition,
            offset: self.offset,
        })
    }
}

/// An event as a handler gets it.
#[derive(Debug, Clone)]
pub struct Received<P> {
    /// The event.
    pub event: Event<P>,
    /// Test traffic: whatever comes of it is marked, too.
    pub synthetic: bool,
    /// The trace that it belongs to, if it says so.
    pub trace: Option<Trace>,
    /// Where it was read.
    pub partition: i32,
    /// Where it was read.
    pub offset: i64,
}
