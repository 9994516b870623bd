//! Deletes cache keys with bounded concurrency, without retries.

use std::{sync::Arc, time::Duration};

use caravan_events::PurchaseCreated;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use worker_runtime::{
    Health, InfrastructureError,
    worker::{Outcome, Processor, Received},
};

use crate::cache::{self, Cache, DeleteError};

/// Name of Redis in `/ready`.
const PART: &str = "redis";
/// Docker probes health every 10 s.
const WATCHED_EVERY: Duration = Duration::from_secs(5);
/// Maximum number of concurrent deletions. While Redis hangs, further ones are dropped at once.
const MAX_DELETIONS: usize = 32;

/// Deletes the cached pages of students with a purchase. Every event counts as processed, even if the
/// deletion fails.
pub(crate) struct Invalidation {
    cache: Cache,
    health: Health,
    turns: Arc<Semaphore>,
}

impl Invalidation {
    pub(crate) fn new(cache: Cache, health: Health) -> Self {
        Self {
            cache,
            health,
            turns: Arc::new(Semaphore::new(MAX_DELETIONS)),
        }
    }

    /// Waits for the deletion only while Redis is known to answer.
    async fn delete(&self, keys: Vec<String>) {
        let count = keys.len();
        let Ok(turn) = Arc::clone(&self.turns).try_acquire_owned() else {
            tracing::warn!("{count} cache entries stay until they expire: Redis hangs");
            return;
        };
        let deletion = self.cache.clone().delete(keys);
        let health = self.health.clone();
        let was_up = !self.health.is_degraded(PART);
        let task = tokio::spawn(async move {
            let _turn = turn;
            let result = deletion.await;
            if let Err(why) = &result {
                tracing::warn!(%why, "{count} cache entries stay until they expire");
            }
            report(&health, result);
        });
        if was_up {
            // The task cannot fail: a panic ends the process.
            task.await.ok();
        }
    }
}

/// Keeps the part of Redis in `/ready` up to date while there are no events. Ends with `shutdown`.
pub(crate) async fn watch(cache: Cache, health: Health, shutdown: CancellationToken) {
    let look = async {
        loop {
            let result = cache.clone().probe().await;
            if result.is_err() || health.is_degraded(PART) {
                report(&health, result);
            }
            tokio::time::sleep(WATCHED_EVERY).await;
        }
    };
    shutdown.run_until_cancelled(look).await;
}

/// Logs one line when Redis stops accepting deletions, and one when it accepts them again.
fn report(health: &Health, result: Result<(), DeleteError>) {
    match result {
        Ok(()) => {
            if health.ready(PART) {
                tracing::info!("Redis answers");
            }
        }
        Err(why) => {
            let text = format!("cached pages stay until they expire: {why}");
            if health.degraded(PART, text) {
                tracing::warn!(%why, "Redis does not delete, cached pages stay");
            }
        }
    }
}

impl Processor for Invalidation {
    type Input = PurchaseCreated;

    async fn process(
        &self,
        batch: &[&Received<PurchaseCreated>],
    ) -> Result<Vec<Outcome>, InfrastructureError> {
        let students = batch.iter().map(|r| r.event.payload.student_id);
        self.delete(students.flat_map(cache::keys).collect()).await;
        Ok(vec![Outcome::Processed { duplicate: false }; batch.len()])
    }
}
