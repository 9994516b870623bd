//! Sends messages: a whole batch is enqueued, then every acknowledgement is awaited.

use std::time::Duration;

use caravan_events::names::{CORRELATION_ID_HEADER, SYNTHETIC_HEADER, TRACEPARENT_HEADER};
use rdkafka::{
    Message as _,
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, Headers, OwnedHeaders},
    producer::{FutureRecord, future_producer::DeliveryFuture},
};

use super::{PRODUCER_MAX_BYTES, Producer, producer::Native};
use crate::{
    ProduceError, Trace,
    kill::{self, Point},
};

/// The wait between two attempts while the producer's queue is full; 10 s in all. Once queued, a
/// message has librdkafka's own timeout (`message.timeout.ms`).
const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(10);
const QUEUE_FULL_TRIES: usize = 1_000;
/// Upper bounds of the overhead of Kafka's format: for a batch of one message, and for a header.
const BYTES_AROUND_A_MESSAGE: usize = 512;
const BYTES_AROUND_A_HEADER: usize = 10;

/// A message to send. Key and value may be absent, as in the source message of a dead letter.
#[derive(Debug, Clone)]
pub struct Record {
    /// The topic to send to.
    pub topic: String,
    /// The key. Messages with the same key go to the same partition, in order.
    pub key: Option<Vec<u8>>,
    /// The value, usually an encoded event.
    pub value: Option<Vec<u8>>,
    /// The headers, in the order in which they are sent.
    pub headers: OwnedHeaders,
}

impl Record {
    /// An event of the pipeline: its key is the correlation id.
    #[must_use]
    pub fn event(
        topic: &str,
        correlation_id: &str,
        value: String,
        synthetic: bool,
        trace: Option<Trace>,
    ) -> Self {
        Self {
            topic: topic.to_owned(),
            key: Some(correlation_id.as_bytes().to_vec()),
            value: Some(value.into_bytes()),
            headers: headers(correlation_id, synthetic, trace),
        }
    }
}

/// Sends all records, in order, and returns once the brokers have acknowledged all of them. After an
/// error some may have been written: send all of them again (receivers drop duplicates).
///
/// # Errors
/// That of the first record that was not acknowledged.
pub async fn send_all(producer: &Producer, records: Vec<Record>) -> Result<(), ProduceError> {
    send_each(producer, records).await.into_iter().collect()
}

/// As [`send_all`], but returns the result of each record, in order: some may be refused.
pub async fn send_each(producer: &Producer, records: Vec<Record>) -> Vec<Result<(), ProduceError>> {
    let producer = producer.current();
    let mut enqueued = Vec::with_capacity(records.len());
    let mut refused: Option<ProduceError> = None;
    for record in records {
        enqueued.push(match &refused {
            // After one timeout on a full queue, the rest is not enqueued: this keeps the order.
            Some(error) => Err(error.clone()),
            None => enqueue(&producer, record).await,
        });
        if let (None, Some(Err(error))) = (&refused, enqueued.last()) {
            refused = Some(error.clone());
        }
    }
    // In reverse order: once the last one is acknowledged nearly all are, which saves wake-ups.
    let mut results = Vec::with_capacity(enqueued.len());
    for delivery in enqueued.into_iter().rev() {
        results.push(match delivery {
            Ok(delivery) => acknowledged(delivery).await,
            Err(error) => Err(error),
        });
        if results.len() == 1 {
            kill::reached(Point::AfterSomeAcks);
        }
    }
    results.reverse();
    results
}

async fn enqueue(producer: &Native, record: Record) -> Result<DeliveryFuture, ProduceError> {
    let mut message = FutureRecord {
        topic: &record.topic,
        partition: None,
        payload: record.value.as_deref(),
        key: record.key.as_deref(),
        timestamp: None,
        headers: Some(record.headers),
    };
    let mut tries = 0;
    loop {
        match producer.send_result(message) {
            Ok(delivery) => return Ok(delivery),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back))
                if tries < QUEUE_FULL_TRIES =>
            {
                tries += 1;
                message = back;
                tokio::time::sleep(QUEUE_FULL_PAUSE).await;
            }
            Err((error, back)) => return Err(not_written(back.topic, bytes(&back), error)),
        }
    }
}

async fn acknowledged(delivery: DeliveryFuture) -> Result<(), ProduceError> {
    match delivery.await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err((error, message))) => {
            let headers = message.headers().map_or(0, header_bytes);
            let length = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len);
            let bytes = length(message.key()) + length(message.payload()) + headers;
            Err(not_written(message.topic(), bytes, error))
        }
        Err(_) => Err(ProduceError::Closed),
    }
}

fn bytes(record: &FutureRecord<'_, [u8], [u8]>) -> usize {
    let headers = record.headers.as_ref().map_or(0, header_bytes);
    record.key.map_or(0, <[u8]>::len) + record.payload.map_or(0, <[u8]>::len) + headers
}

fn header_bytes(headers: &impl Headers) -> usize {
    let length = |header: Header<'_, &[u8]>| {
        header.key.len() + header.value.map_or(0, <[u8]>::len) + BYTES_AROUND_A_HEADER
    };
    headers.iter().map(length).sum()
}

/// `bytes` is the message's size without the overhead of Kafka's format.
fn not_written(topic: &str, bytes: usize, source: KafkaError) -> ProduceError {
    let topic = topic.to_owned();
    if source.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageSizeTooLarge) {
        let needed = bytes + BYTES_AROUND_A_MESSAGE;
        ProduceError::TooLarge {
            topic,
            needed,
            sent_at_most: PRODUCER_MAX_BYTES,
            source,
        }
    } else {
        ProduceError::Refused { topic, source }
    }
}

/// Headers of an event: its correlation id, its trace if it has one, the mark of test traffic.
fn headers(correlation_id: &str, synthetic: bool, trace: Option<Trace>) -> OwnedHeaders {
    let mut headers = OwnedHeaders::new_with_capacity(3).insert(Header {
        key: CORRELATION_ID_HEADER,
        value: Some(correlation_id),
    });
    if let Some(trace) = trace {
        headers = headers.insert(Header {
            key: TRACEPARENT_HEADER,
            value: Some(&trace.header()),
        });
    }
    if synthetic {
        headers = headers.insert(Header {
            key: SYNTHETIC_HEADER,
            value: Some("true"),
        });
    }
    headers
}

/// The trace of the `traceparent` header; None if it is missing or malformed.
#[must_use]
pub fn trace(headers: Option<&impl Headers>) -> Option<Trace> {
    let mut values = headers?
        .iter()
        .filter(|header| header.key == TRACEPARENT_HEADER);
    let first = values.next()?.value?;
    // More than one `traceparent` header counts as none.
    values.next().is_none().then(|| Trace::parse(first))?
}

/// Whether the headers mark test traffic.
#[must_use]
pub fn is_synthetic(headers: Option<&impl Headers>) -> bool {
    headers.is_some_and(|headers| {
        headers.iter().any(|header| {
            header.key.eq_ignore_ascii_case(SYNTHETIC_HEADER)
                && header
                    .value
                    .is_some_and(|value| value.eq_ignore_ascii_case(b"true"))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "1a2b";

    #[test]
    fn the_synthetic_header_is_sent() {
        assert!(is_synthetic(Some(&headers(ID, true, None))));
        assert!(!is_synthetic(Some(&headers(ID, false, None))));
        assert!(!is_synthetic(None::<&OwnedHeaders>));
        let other = OwnedHeaders::new().insert(Header {
            key: SYNTHETIC_HEADER,
            value: Some("false"),
        });
        assert!(!is_synthetic(Some(&other)));
    }

    #[test]
    fn trace_and_correlation_id_headers_are_sent() {
        let begun = Trace::start();
        let sent = headers(ID, false, Some(begun));
        assert_eq!(trace(Some(&sent)), Some(begun));
        let first = sent.get(0);
        assert_eq!(
            (first.key, first.value),
            ("correlation-id", Some(ID.as_bytes()))
        );
        assert_eq!(trace(Some(&headers(ID, true, None))), None);
    }

    #[test]
    fn an_invalid_trace_is_ignored() {
        let with = |values: &[Option<&str>]| {
            values.iter().fold(OwnedHeaders::new(), |headers, value| {
                let key = TRACEPARENT_HEADER;
                headers.insert(Header { key, value: *value })
            })
        };
        let good = Trace::start().to_string();
        assert!(trace(Some(&with(&[Some(&good)]))).is_some());
        for none in [&[][..], &[None], &[Some("")], &[Some(&good), Some(&good)]] {
            assert_eq!(trace(Some(&with(none))), None, "{none:?}");
        }
    }
}
