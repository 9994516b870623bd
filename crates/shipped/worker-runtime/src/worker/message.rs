//! A Kafka message, and the event decoded from it.

use caravan_events::{DecodeError, Event, Payload};
use rdkafka::{
    Message as _,
    message::{BorrowedMessage, OwnedHeaders},
};

use crate::{Trace, kafka};

/// An owned copy of a Kafka message: the parts that a dead letter repeats byte for byte.
#[derive(Debug, Clone)]
pub struct Message {
    /// The topic that the message was read from.
    pub topic: &'static str,
    /// The partition in the topic.
    pub partition: i32,
    /// The offset in the partition.
    pub offset: i64,
    /// The key; None if the message has none.
    pub key: Option<Vec<u8>>,
    /// The value; None in a tombstone.
    pub value: Option<Vec<u8>>,
    /// The message's headers; None if it has none.
    pub headers: Option<OwnedHeaders>,
}

impl Message {
    /// Copies the message out of librdkafka's memory. `topic` is the subscribed topic.
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

    /// Decodes the message's value.
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

/// A decoded event, as a handler gets it.
#[derive(Debug, Clone)]
pub struct Received<P> {
    /// The decoded event.
    pub event: Event<P>,
    /// Test traffic: rows and events that result from it are marked as synthetic too.
    pub synthetic: bool,
    /// The trace of the message's `traceparent` header, if any.
    pub trace: Option<Trace>,
    /// The partition that the message was read from.
    pub partition: i32,
    /// The message's offset in that partition.
    pub offset: i64,
}
