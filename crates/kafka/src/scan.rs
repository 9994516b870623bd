//! Where events stand in what a topic holds: bounded.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    time::{Duration, Instant},
};

use rdkafka::Message;

use super::{Kafka, Partition, Result};

/// How long a scan reads, whatever is left then.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many messages a scan reads.
const LIMIT: usize = 200_000;

/// Where an event stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub partition: i32,
    pub offset: i64,
}

impl Kafka {
    /// The latest message of each of `keys` among those that a bounded scan sees.
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
        let deadline = Instant::now() + PATIENCE;
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
