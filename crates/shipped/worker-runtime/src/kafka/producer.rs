//! The producer of workers and relays.

use std::sync::{Arc, PoisonError, RwLock};

use rdkafka::{
    ClientConfig, ClientContext, Statistics,
    config::RDKafkaLogLevel,
    error::KafkaError,
    producer::{FutureProducer, Producer as _},
};

use super::{
    ClientLog, PRODUCER_MAX_BYTES, client,
    lost::{Brokers, STATISTICS_EVERY_MS},
};
use crate::RunError;

/// librdkafka's producer, which is replaced once it has lost all brokers. Cheap to clone; all clones
/// share one producer.
#[derive(Clone)]
pub struct Producer {
    config: ClientConfig,
    current: Arc<RwLock<Current>>,
}

struct Current {
    client: Native,
    brokers: Arc<Brokers>,
}

pub(crate) type Native = FutureProducer<Context>;

/// An idempotent producer that awaits all in-sync replicas: an acknowledged message is not lost,
/// not duplicated by a retry, and in order. It partitions keys as Java's and KafkaJS' clients do.
///
/// # Errors
/// The client could not be created. An unreachable broker is no error: the producer waits for it.
pub fn producer(brokers: &str) -> Result<Producer, RunError> {
    let mut config = client(brokers);
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("linger.ms", "0")
        .set("partitioner", "murmur2_random")
        .set("compression.type", "none")
        .set("message.max.bytes", PRODUCER_MAX_BYTES.to_string())
        .set("message.timeout.ms", "20000")
        .set("topic.metadata.propagation.max.ms", "5000")
        .set("queue.buffering.max.messages", "20000")
        .set(
            "queue.buffering.max.kbytes",
            (PRODUCER_MAX_BYTES / 1024).to_string(),
        )
        .set("statistics.interval.ms", STATISTICS_EVERY_MS);
    let current = create(&config).map_err(|e| RunError::Kafka(e.to_string()))?;
    Ok(Producer {
        config,
        current: Arc::new(RwLock::new(current)),
    })
}

impl Producer {
    /// The current client. Messages in the queue of a replaced one fail with a timeout, and the
    /// caller that awaits them sends them again.
    pub(crate) fn current(&self) -> Native {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        if !current.brokers.are_lost() {
            return current.client.clone();
        }
        drop(current);
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have replaced it already.
        if current.brokers.are_lost() {
            match create(&self.config) {
                Ok(another) => {
                    tracing::warn!("the Kafka client has lost all brokers: it is recreated");
                    *current = another;
                }
                Err(error) => tracing::warn!(%error, "the Kafka client cannot be recreated"),
            }
        }
        current.client.clone()
    }

    /// Returns an error if the producer has a fatal error.
    ///
    /// # Errors
    /// [`RunError::Kafka`]: the process has to end, so that it is restarted.
    pub fn check_fatal(&self) -> Result<(), RunError> {
        match self.current().client().fatal_error() {
            Some((code, reason)) => Err(RunError::Kafka(format!("producer: {code}: {reason}"))),
            None => Ok(()),
        }
    }
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer").finish_non_exhaustive()
    }
}

fn create(config: &ClientConfig) -> Result<Current, KafkaError> {
    let brokers = Arc::<Brokers>::default();
    let context = Context(Arc::clone(&brokers));
    let client = config.create_with_context(context)?;
    Ok(Current { client, brokers })
}

/// A [`ClientLog`] that also reads the brokers from librdkafka's statistics.
pub(crate) struct Context(Arc<Brokers>);

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        ClientLog.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        ClientLog.error(error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        self.0.are_in(&statistics);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::lost::tests::lose_all;

    #[test]
    fn a_producer_that_has_lost_all_brokers_is_replaced_once() {
        // Port 9, which nobody answers.
        let producer = producer("127.0.0.1:9").expect("a producer");
        let which = |client: &Native| client.client().native_ptr();
        let first = producer.current();
        assert_eq!(which(&producer.current()), which(&first));
        lose_all(&producer.current.read().expect("no panic").brokers);
        let second = producer.current();
        assert_ne!(which(&second), which(&first));
        assert_eq!(which(&producer.current()), which(&second));
    }
}
