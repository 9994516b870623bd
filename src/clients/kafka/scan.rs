//! What a topic holds already: bounded reads from its beginning.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    time::{Duration, Instant},
};

use rdkafka::{
    Message,
    message::{BorrowedMessage, Headers},
};

use super::{
    Kafka, Partition, ask,
    offsets::{End, Offsets},
    tail::assigned,
};

/// How long a scan reads, whatever is left then.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many messages a scan reads.
const LIMIT: usize = 200_000;

/// How many dead letters are looked at for their reasons.
const DEAD_LETTERS: usize = 1_000;

/// What a dead-letter topic holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct DeadLetters {
    /// All that are there.
    pub(crate) total: i64,
    /// Of the first 1,000: how many of each reason.
    pub(crate) reasons: BTreeMap<String, usize>,
    /// A dead letter without a `dlq-error-kind`, or whose reason was not read in time.
    pub(crate) unknown: i64,
}

/// Where an event stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

impl Kafka {
    /// Counts the messages of a dead-letter topic, the first of them by the header that says why.
    ///
    /// # Errors
    /// Why there was no answer.
    pub(crate) async fn dead_letters(
        &self,
        partitions: &[Partition],
        reason_header: &'static str,
    ) -> Result<DeadLetters, String> {
        let range = self.range(partitions).await?;
        let total = range.messages();
        if total == 0 {
            return Ok(DeadLetters::default());
        }
        let bootstrap = self.bootstrap.clone();
        let reasons = ask(&self.bootstrap, move || {
            let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
            range.read(&bootstrap, DEAD_LETTERS, |message| {
                if let Some(reason) = header(message, reason_header) {
                    *reasons.entry(reason).or_default() += 1;
                }
                ControlFlow::Continue(())
            })?;
            Ok(reasons)
        })
        .await?;
        let known: usize = reasons.values().sum();
        Ok(DeadLetters {
            total,
            unknown: total.saturating_sub_unsigned(known as u64),
            reasons,
        })
    }

    /// The latest message of each of `keys` among those that a bounded scan sees.
    ///
    /// # Errors
    /// Why there was no answer.
    pub(crate) async fn find_keys(
        &self,
        partitions: &[Partition],
        keys: BTreeSet<String>,
    ) -> Result<BTreeMap<String, Found>, String> {
        let range = self.range(partitions).await?;
        if keys.is_empty() || range.messages() == 0 {
            return Ok(BTreeMap::new());
        }
        let bootstrap = self.bootstrap.clone();
        ask(&self.bootstrap, move || {
            let mut found = BTreeMap::new();
            range.read(&bootstrap, LIMIT, |message| {
                if let Some(key) = message.key().and_then(|k| str::from_utf8(k).ok())
                    && keys.contains(key)
                {
                    let (partition, offset) = (message.partition(), message.offset());
                    found.insert(key.to_owned(), Found { partition, offset });
                }
                if found.len() == keys.len() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })?;
            Ok(found)
        })
        .await
    }

    async fn range(&self, partitions: &[Partition]) -> Result<Range, String> {
        let (earliest, latest) = tokio::try_join!(
            self.ends(partitions, End::Earliest),
            self.ends(partitions, End::Latest)
        )?;
        Ok(Range { earliest, latest })
    }
}

/// What stands in partitions at one moment.
struct Range {
    earliest: Offsets,
    latest: Offsets,
}

impl Range {
    fn messages(&self) -> i64 {
        super::offsets::lag(&Offsets::new(), &self.earliest, &self.latest)
    }

    /// Hands the messages over, partition by partition in order, till all are read, `limit` or
    /// [`PATIENCE`] is reached, or `see` breaks.
    fn read(
        mut self,
        bootstrap: &str,
        limit: usize,
        mut see: impl FnMut(&BorrowedMessage<'_>) -> ControlFlow<()>,
    ) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        self.latest
            .retain(|p, end| *end > self.earliest.get(p).copied().unwrap_or(0));
        self.earliest.retain(|p, _| self.latest.contains_key(p));
        let client = assigned(bootstrap, &self.earliest)?;
        let mut seen = 0;
        while seen < limit && !self.latest.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(polled) = client.consumer().poll(left) else {
                break;
            };
            let message = polled.map_err(|e| super::client::describe(&e))?;
            let at = (message.topic().to_owned(), message.partition());
            match self.latest.get(&at) {
                Some(end) if message.offset() + 1 >= *end => drop(self.latest.remove(&at)),
                Some(_) => {}
                // Produced after the range was taken.
                None => continue,
            }
            seen += 1;
            if see(&message).is_break() {
                break;
            }
        }
        Ok(())
    }
}

fn header(message: &BorrowedMessage<'_>, name: &str) -> Option<String> {
    let header = message.headers()?.iter().find(|h| h.key == name)?;
    Some(String::from_utf8_lossy(header.value?).into_owned())
}
