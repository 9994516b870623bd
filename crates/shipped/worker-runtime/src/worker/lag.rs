//! The lag of each partition, for the metrics and the watchdog.
//!
//! A separate thread fetches the watermarks with the producer's client. The consumer learns the high
//! watermark only from its fetches, so a consumer that stopped fetching would see no lag.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    thread,
    time::Duration,
};

use rdkafka::producer::Producer as _;

use super::progress::PartitionProgress;
use crate::{RunError, kafka::Producer, metrics::WorkerMetrics};

const EVERY: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(5);

/// The partitions whose lag is measured. Cheap to clone; all clones share their state.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lags(Arc<Mutex<BTreeMap<i32, Weak<PartitionProgress>>>>);

impl Lags {
    /// Measures the partition's lag until its [`PartitionProgress`] is dropped.
    pub(crate) fn add(&self, partition: i32, progress: &Arc<PartitionProgress>) {
        self.lock().insert(partition, Arc::downgrade(progress));
    }

    /// Starts the thread that measures the lag of `topic`'s partitions until the process ends.
    ///
    /// # Errors
    /// The thread could not be started.
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
        for (partition, progress) in self.current(metrics) {
            let client = producer.current();
            let ends = client.client().fetch_watermarks(topic, partition, TIMEOUT);
            // If the broker doesn't answer, the old values stay: `/ready` reports the outage.
            if let Ok((low, high)) = ends {
                progress.set_watermarks(low, high);
            }
            if let Some(lag) = progress.lag() {
                metrics.lag(partition, lag);
            }
        }
    }

    /// The partitions that this worker still has. Revoked ones are removed, with their metrics.
    fn current(&self, metrics: &WorkerMetrics) -> Vec<(i32, Arc<PartitionProgress>)> {
        let mut current = Vec::new();
        self.lock()
            .retain(|partition, progress| match progress.upgrade() {
                Some(progress) => {
                    current.push((*partition, progress));
                    true
                }
                None => {
                    metrics.forget(*partition);
                    false
                }
            });
        current
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<i32, Weak<PartitionProgress>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
