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
    Failure, Trace,
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
/// Always [`Failure::Infrastructure`]: no broker is available, the topic does not exist, or it does
/// not accept a message of this size.
pub async fn send_all(producer: &Producer, records: Vec<Record>) -> Result<(), Failure> {
    send_each(producer, records).await.into_iter().collect()
}

/// As [`send_all`], but returns the result of each record, in order: some may be refused.
pub async fn send_each(producer: &Producer, records: Vec<Record>) -> Vec<Result<(), Failure>> {
    let producer = producer.current();
    let mut enqueued = Vec::with_capacity(records.len());
    let mut refused: Option<Failure> = None;
    for record in records {
        enqueued.push(match &refused {
            // After one timeout on a full queue, the rest is not enqueued: this keeps the order.
            Some(failure) => Err(failure.clone()),
            None => enqueue(&producer, record).await,
        });
        if let (None, Some(Err(failure))) = (&refused, enqueued.last()) {
            refused = Some(failure.clone());
        }
    }
    // In reverse order: once the last one is acknowledged nearly all are, which saves wake-ups.
    let mut results = Vec::with_capacity(enqueued.len());
    for delivery in enqueued.into_iter().rev() {
        results.push(match delivery {
            Ok(delivery) => acknowledged(delivery).await,
            Err(failure) => Err(failure),
        });
        if results.len() == 1 {
            kill::reached(Point::AfterSomeAcks);
        }
    }
    results.reverse();
    results
}

async fn enqueue(producer: &Native, record: Record) -> Result<DeliveryFuture, Failure> {
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
            Err((error, back)) => return Err(failure(back.topic, bytes(&back), &error)),
        }
    }
}

async fn acknowledged(delivery: DeliveryFuture) -> Result<(), Failure> {
    match delivery.await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err((error, message))) => {
            let headers = message.headers().map_or(0, header_bytes);
            let length = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len);
            let bytes = length(message.key()) + length(message.payload()) + headers;
            Err(failure(message.topic(), bytes, &error))
        }
        Err(_) => {
            let why = "the producer was closed".to_owned();
            Err(Failure::Infrastructure(why))
        }
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
fn failure(topic: &str, bytes: usize, error: &KafkaError) -> Failure {
    let mut text = format!("cannot write to topic {topic}: {error}");
    if error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageSizeTooLarge) {
        let needed = bytes + BYTES_AROUND_A_MESSAGE;
        text = if needed > PRODUCER_MAX_BYTES {
            format!("{text}: {needed} bytes are more than the {PRODUCER_MAX_BYTES} that are sent")
        } else {
            format!("{text}: set its max.message.bytes to {needed} or more")
        };
    }
    Failure::Infrastructure(text)
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
