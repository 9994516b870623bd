//! Producing records.

use std::time::Duration;

use rdkafka::{
    ClientConfig,
    config::RDKafkaLogLevel,
    message::OwnedHeaders,
    producer::{FutureProducer, FutureRecord},
};

use super::{Error, Kafka, Result, client::TracingContext};

/// `message.timeout.ms`: after it, whether the record was written is unknown.
pub const DELIVERY: Duration = Duration::from_secs(8);

/// A record to produce. Key and value may be absent.
#[derive(Debug, Clone)]
pub struct ProducerRecord {
    /// The topic's name.
    pub topic: String,
    /// The partition's number. None: the partitioner chooses by the key, as Java's and KafkaJS' do.
    pub partition: Option<i32>,
    /// The key's bytes; None: no key.
    pub key: Option<Vec<u8>>,
    /// The value's bytes; None: a null value (tombstone).
    pub value: Option<Vec<u8>>,
    /// Headers, in order; a name may occur more than once.
    pub headers: OwnedHeaders,
}

/// An idempotent producer with `acks=all`: records keep their order, and a retry writes no duplicate.
pub struct Producer(FutureProducer<TracingContext>);

impl Kafka {
    /// A producer; it connects with the first record.
    ///
    /// # Errors
    /// librdkafka could not be configured.
    pub fn producer(&self) -> Result<Producer> {
        ClientConfig::new()
            .set("bootstrap.servers", &self.bootstrap)
            .set("client.id", "caravan")
            .set("broker.address.family", "v4")
            .set("socket.nagle.disable", "true")
            .set("reconnect.backoff.ms", "20")
            .set("reconnect.backoff.max.ms", "100")
            .set("allow.auto.create.topics", "false")
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", "1")
            .set("partitioner", "murmur2_random")
            .set("message.timeout.ms", DELIVERY.as_millis().to_string())
            // No limit in the client: the topic's `max.message.bytes` decides.
            .set("message.max.bytes", "1000000000")
            .set_log_level(RDKafkaLogLevel::Emerg)
            .create_with_context(TracingContext)
            .map(Producer)
            .map_err(|e| Error::from(e).at(&self.bootstrap))
    }
}

impl Producer {
    /// Sends one record and returns its offset.
    ///
    /// # Errors
    /// Why the record was not acknowledged.
    pub async fn send_one(&self, record: &ProducerRecord) -> Result<i64> {
        let sent = self.send(std::slice::from_ref(record)).await;
        let first = sent.into_iter().next();
        first.unwrap_or_else(|| Err(Error::not_sent()))
    }

    /// Sends all records, in order. Returns for each its offset, or why it was not acknowledged.
    pub async fn send(&self, records: &[ProducerRecord]) -> Vec<Result<i64>> {
        let deliveries = records.iter().map(|record| {
            let message = FutureRecord {
                topic: &record.topic,
                partition: record.partition,
                payload: record.value.as_deref(),
                key: record.key.as_deref(),
                timestamp: None,
                headers: Some(record.headers.clone()),
            };
            self.0
                .send_result::<[u8], [u8]>(message)
                .map_err(|(e, _)| Error::from(e))
        });
        // Collected first: all records are enqueued, in order, before any delivery is awaited.
        let deliveries: Vec<_> = deliveries.collect();
        let mut outcomes = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            outcomes.push(match delivery {
                Ok(delivery) => match delivery.await {
                    Ok(Ok(delivered)) => Ok(delivered.offset),
                    Ok(Err((error, _))) => Err(error.into()),
                    Err(_) => Err(Error::producer_closed()),
                },
                Err(why) => Err(why),
            });
        }
        outcomes
    }
}
