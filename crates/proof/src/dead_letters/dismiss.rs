//! Dismisses dead letters that a test caused, so that they do not count as waiting.
//!
//! The records stay on the topic, because Kafka deletes only the oldest records of a partition. The
//! journal records that they are dismissed (docs/decisions/0030-dead-letters-of-tests.md).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    DeadLetter, DeadLetters, RecordId, ReportProgress,
    journal::{History, Replay, State},
    lease::Lease,
    unreachable,
};
use diagnostics::{Error, Kind, Result};
use kafka::offsets::End;

/// How long to wait for another run that holds the lease.
const PATIENCE: Duration = Duration::from_secs(15);
/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(500);

impl DeadLetters {
    /// Writes to the journal that these dead letters are dismissed.
    ///
    /// # Errors
    /// A dead letter does not name its source record; another run holds the lease; Kafka does not
    /// answer.
    pub async fn dismiss(&self, dead_letters: &[DeadLetter]) -> Result<()> {
        let mut groups: BTreeMap<RecordId, BTreeSet<String>> = BTreeMap::new();
        for dead_letter in dead_letters {
            let Some(source) = &dead_letter.source else {
                let what = format!("{} does not say where its message stood", dead_letter.own);
                return Err(Error::new(Kind::NotRight, what));
            };
            let groups = groups.entry(source.clone()).or_default();
            groups.extend(dead_letter.group.clone());
        }
        let journal = self.journal();
        let replicas = self.topics.get(&self.topic).map_or(1, |t| t.replicas);
        journal.create(replicas).await?;
        let sender = Arc::new(self.kafka.producer().map_err(unreachable)?);
        let report: ReportProgress = Arc::new(|_| {});
        let deadline = Instant::now() + PATIENCE;
        let (lease, _) = loop {
            let start = History::default();
            match Lease::take(journal.clone(), Arc::clone(&sender), start, &report).await {
                Ok(taken) => break taken,
                Err(error) if error.kind == Kind::Unreachable || Instant::now() > deadline => {
                    return Err(error);
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        };
        let outcome = async {
            let ends = self.kafka.ends(&self.partitions(), End::Latest).await;
            // Indexed by partition: the map is sorted by topic and partition, and has one topic.
            let seen: Vec<i64> = ends.map_err(unreachable)?.into_values().collect();
            let dismissed = groups.into_iter().map(|(source, groups)| {
                let seen = seen.clone();
                let state = State::Dismissed;
                let replay = Replay {
                    seen,
                    groups,
                    state,
                };
                (source, replay)
            });
            lease.check().await?;
            journal.note(&sender, dismissed).await
        }
        .await;
        lease.release().await;
        outcome
    }
}
