//! How much lies before each partition, for the metrics and the watchdog.
//!
//! Asked of the broker through the producer's client, by a thread of its own: the consumer learns
//! of a partition's end from its fetches, so that one that stopped fetching sees no lag.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    thread,
    time::Duration,
};

use rdkafka::producer::Producer as _;

use super::gauge::Gauge;
use crate::{RunError, kafka::Producer, metrics::WorkerMetrics};

const EVERY: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(5);

/// The partitions that are looked at. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lags(Arc<Mutex<BTreeMap<i32, Weak<Gauge>>>>);

impl Lags {
    /// Looks at the partition for as long as somebody has its gauge.
    pub(crate) fn add(&self, partition: i32, gauge: &Arc<Gauge>) {
        self.lock().insert(partition, Arc::downgrade(gauge));
    }

    /// Starts the thread that keeps the lag of `topic`'s partitions up to date. It lives as long
    /// as the process.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(crate) fn watch(
        self,
        topic: &'static str,
        producer: Producer,
        metrics: WorkerMetrics,
    ) -> Result<(), RunError> {
        let look = move || {
            loop {
                self.look(topic, &producer, &metrics);
                thread::sleep(EVERY);
            }
        };
        thread::Builder::new()
            .name("lag".to_owned())
            .spawn(look)
            .map(drop)
            .map_err(|e| RunError::Start(format!("cannot start a thread: {e}")))
    }

    fn look(&self, topic: &str, producer: &Producer, metrics: &WorkerMetrics) {
        for (partition, gauge) in self.current(metrics) {
            let client = producer.current();
            let ends = client.client().fetch_watermarks(topic, partition, TIMEOUT);
            // No answer is no news: `/ready` says what is away.
            if let Ok((low, high)) = ends {
                gauge.lies_between(low, high);
            }
            if let Some(lag) = gauge.lag() {
                metrics.lag(partition, lag);
            }
        }
    }

    /// Those that this worker still has; the others are forgotten.
    fn current(&self, metrics: &WorkerMetrics) -> Vec<(i32, Arc<Gauge>)> {
        let mut current = Vec::new();
        self.lock()
            .retain(|partition, gauge| match gauge.upgrade() {
                Some(gauge) => {
                    current.push((*partition, gauge));
                    true
                }
                None => {
                    metrics.forget(*partition);
                    false
                }
            });
        current
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<i32, Weak<Gauge>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
