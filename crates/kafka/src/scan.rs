//! A bounded search for events in a topic, by key.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    time::{Duration, Instant},
};

use rdkafka::Message;

use super::{Kafka, Partition, Result};

/// The longest scan, even if records are left.
const SCAN_TIMEOUT: Duration = Duration::from_secs(2);

/// The most messages that a scan reads.
const LIMIT: usize = 200_000;

/// Where an event was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its partition's number.
    pub partition: i32,
    /// Its offset in that partition.
    pub offset: i64,
}

impl Kafka {
    /// The latest message of each of `keys` among those that a bounded scan reads.
    ///
    /// # Errors
    /// Why there was no answer.
    pub async fn find_keys(
        &self,
        partitions: &[Partition],
        keys: BTreeSet<String>,
    ) -> Result<BTreeMap<String, Found>> {
        if keys.is_empty() {
            return Ok(BTreeMap::new());
        }
        let span = self.span(partitions).await?;
        let deadline = Instant::now() + SCAN_TIMEOUT;
        let mut left = LIMIT;
        let (found, _) = self
            .read(span, deadline, BTreeMap::new(), move |found, message| {
                left -= 1;
                if let Some(key) = message.key().and_then(|k| str::from_utf8(k).ok())
                    && keys.contains(key)
                {
                    let (partition, offset) = (message.partition(), message.offset());
                    found.insert(key.to_owned(), Found { partition, offset });
                }
                if left == 0 || found.len() == keys.len() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })
            .await?;
        Ok(found)
    }
}
