//! Producing records.

use std::time::Duration;

use rdkafka::{
    ClientConfig, ClientContext,
    config::RDKafkaLogLevel,
    error::KafkaError,
    message::OwnedHeaders,
    producer::{FutureProducer, FutureRecord, Producer as _},
};
use tokio::sync::watch;

use super::{Error, Kafka, Result, TIMEOUT, client::TracingContext};

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
pub struct Producer {
    producer: FutureProducer<ProducerContext>,
    has_id: watch::Receiver<bool>,
}

/// Learns from librdkafka's statistics, which alone say so, that the broker has assigned a producer id. An
/// idempotent producer sends nothing before.
struct ProducerContext {
    has_id: watch::Sender<bool>,
}

impl ClientContext for ProducerContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        TracingContext.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        TracingContext.error(error, reason);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        const ASSIGNED: &[u8] = b"\"idemp_state\": \"Assigned\"";
        let is_assigned = || statistics.windows(ASSIGNED.len()).any(|w| w == ASSIGNED);
        if !*self.has_id.borrow() && is_assigned() {
            self.has_id.send_replace(true);
        }
    }
}

impl Kafka {
    /// A producer; it connects with the first record.
    ///
    /// # Errors
    /// librdkafka could not be configured.
    pub fn producer(&self) -> Result<Producer> {
        let (sender, has_id) = watch::channel(false);
        let context = ProducerContext { has_id: sender };
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
            .set("statistics.interval.ms", "20")
            .set_log_level(RDKafkaLogLevel::Emerg)
            .create_with_context(context)
            .map(|producer| Producer { producer, has_id })
            .map_err(|e| Error::from(e).at(&self.bootstrap))
    }
}

impl Producer {
    /// Waits, for some seconds at most, until a record of `topic` would be sent at once: the topic's leaders are
    /// known, and the broker has assigned a producer id. Otherwise the first record waits for that.
    pub async fn ready(&self, topic: &str) {
        let (producer, name) = (self.producer.clone(), topic.to_owned());
        let metadata = move || {
            producer
                .client()
                .fetch_metadata(Some(&name), TIMEOUT)
                .is_ok()
        };
        let known = tokio::task::spawn_blocking(metadata).await;
        if known.is_ok_and(|known| known) {
            let mut has_id = self.has_id.clone();
            let assigned = has_id.wait_for(|has_id| *has_id);
            // Without an id in time, the first record waits for it.
            let _is_slow = tokio::time::timeout(TIMEOUT, assigned).await.is_err();
        }
    }

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
            self.producer
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

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_producer_that_is_ready_has_an_id() {
        let cluster = MockCluster::new(1).expect("a cluster");
        cluster.create_topic("t", 1, 1).expect("a topic");
        let kafka = Kafka::new(&cluster.bootstrap_servers()).expect("a client");
        let producer = kafka.producer().expect("a producer");
        assert!(!*producer.has_id.borrow(), "nothing has been requested");
        producer.ready("t").await;
        assert!(*producer.has_id.borrow());
    }
}
