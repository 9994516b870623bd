//! Records to partitions of the caller's choice.

use std::time::Duration;

use rdkafka::{
    ClientConfig,
    config::RDKafkaLogLevel,
    message::OwnedHeaders,
    producer::{FutureProducer, FutureRecord},
};

use super::{
    Kafka,
    client::{Silent, describe},
};

/// How long a record may be under way; then it is not known whether it arrived.
pub(crate) const DELIVERY: Duration = Duration::from_secs(8);

/// A record to send. Key and value may be absent.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: OwnedHeaders,
}

/// A producer: acknowledged by all replicas, in order, doubled by no retry.
pub(crate) struct Sender(FutureProducer<Silent>);

impl Kafka {
    /// A producer; it connects with the first record.
    ///
    /// # Errors
    /// librdkafka could not be set up.
    pub(crate) fn sender(&self) -> Result<Sender, String> {
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
            .set("message.timeout.ms", DELIVERY.as_millis().to_string())
            // The topic's own limit decides.
            .set("message.max.bytes", "1000000000")
            .set_log_level(RDKafkaLogLevel::Emerg)
            .create_with_context(Silent)
            .map(Sender)
            .map_err(|e| super::at(&self.bootstrap, &describe(&e)))
    }
}

impl Sender {
    /// Sends all records, in order; for each its offset, or why it is not known to have arrived.
    pub(crate) async fn send(&self, records: &[Outgoing]) -> Vec<Result<i64, String>> {
        let deliveries = records.iter().map(|record| {
            let message = FutureRecord {
                topic: &record.topic,
                partition: Some(record.partition),
                payload: record.value.as_deref(),
                key: record.key.as_deref(),
                timestamp: None,
                headers: Some(record.headers.clone()),
            };
            self.0
                .send_result::<[u8], [u8]>(message)
                .map_err(|(e, _)| describe(&e))
        });
        // Enqueued one after the other before any is awaited.
        let deliveries: Vec<_> = deliveries.collect();
        let mut outcomes = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            outcomes.push(match delivery {
                Ok(delivery) => match delivery.await {
                    Ok(Ok(delivered)) => Ok(delivered.offset),
                    Ok(Err((error, _))) => Err(describe(&error)),
                    Err(_) => Err("the producer was closed".to_owned()),
                },
                Err(why) => Err(why),
            });
        }
        outcomes
    }
}
