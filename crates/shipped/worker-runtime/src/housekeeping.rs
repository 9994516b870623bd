//! Deletes rows that are no longer needed: inbox rows whose event no topic retains, and outbox rows
//! that were sent long ago (docs/decisions/0013-housekeeping.md).
//!
//! A pass scans the table from the first page to the last, a few pages per step, and pauses after
//! each step. It needs no index that slows down inserts, a step's duration does not depend on the
//! size of the table, and the load on the database is bounded. An advisory lock ensures that one
//! process at a time scans for a consumer; other replicas skip the pass.

use std::time::{Duration, Instant};

use caravan_events::names::DEAD_LETTER_TOPIC;
use sqlx::{PgConnection, PgPool};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{
    InfrastructureError, database,
    kafka::{self, RetentionError},
};

/// Delay after the start of the process, so that a process that restarts repeatedly does not scan
/// each time.
const FIRST_PASS_AFTER: Duration = Duration::from_secs(60);
const PASS_EVERY: Duration = Duration::from_secs(3600);
/// Pages in one step, of 8 KiB: some 6,000 inbox rows.
const STEP: i64 = 64;
/// The pause after a step, as a multiple of the step's duration.
const REST: u32 = 4;
/// Timeout of one step. Longer than the server's own timeouts; it is for a server that is frozen.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Added to the retention: clocks differ, and brokers delete segments with a delay.
const MARGIN: Duration = Duration::from_secs(24 * 3600);
/// A hundred years: rows with a longer retention are never deleted.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Deletes the old rows of one table.
#[derive(Debug, Clone)]
pub struct Housekeeping {
    db: PgPool,
    brokers: String,
    table: Table,
}

#[derive(Debug, Clone, Copy)]
enum Table {
    Inbox {
        consumer: &'static str,
        topic: &'static str,
    },
    Outbox {
        topic: &'static str,
    },
}

/// Why a pass ended early.
#[derive(Debug, thiserror::Error)]
pub enum HousekeepingError {
    /// The retention of the topics is unknown.
    #[error(transparent)]
    Retention(#[from] RetentionError),
    /// The table cannot be scanned.
    #[error(transparent)]
    Infrastructure(#[from] InfrastructureError),
}

/// The result of a step.
enum Step {
    /// Rows deleted.
    Done(u64),
    /// Another process scans this table.
    Taken,
}

impl Housekeeping {
    /// Housekeeping of the inbox rows of `consumer`, whose events come from `topic`.
    #[must_use]
    pub fn inbox(db: PgPool, brokers: &str, consumer: &'static str, topic: &'static str) -> Self {
        let table = Table::Inbox { consumer, topic };
        Self::new(db, brokers, table)
    }

    /// Housekeeping of the outbox rows that were sent to `topic`.
    #[must_use]
    pub fn outbox(db: PgPool, brokers: &str, topic: &'static str) -> Self {
        Self::new(db, brokers, Table::Outbox { topic })
    }

    fn new(db: PgPool, brokers: &str, table: Table) -> Self {
        Self {
            db,
            brokers: brokers.to_owned(),
            table,
        }
    }

    /// Runs a pass every hour until the process ends. The next pass makes up for a failed one.
    pub async fn run(self, shutdown: CancellationToken) {
        let forever = async {
            sleep(FIRST_PASS_AFTER).await;
            loop {
                let table = self.table.name();
                match self.pass().await {
                    Ok(0) => {}
                    Ok(rows) => tracing::info!(table, rows, "old rows deleted"),
                    Err(why) => tracing::warn!(table, %why, "old rows cannot be deleted"),
                }
                sleep(PASS_EVERY).await;
            }
        };
        shutdown.run_until_cancelled(forever).await;
    }

    /// Deletes all rows that are old enough, step by step. Returns their number.
    ///
    /// # Errors
    /// The topics' settings or the table cannot be read. Rows deleted by earlier steps stay deleted.
    pub async fn pass(&self) -> Result<u64, HousekeepingError> {
        let retentions = kafka::retentions(&self.brokers, &self.table.topics()).await?;
        match keep(&retentions) {
            Some(keep) => Ok(self.prune(keep).await?),
            None => Ok(0),
        }
    }

    async fn prune(&self, keep: Duration) -> Result<u64, InfrastructureError> {
        let (mut page, mut rows) = (0, 0);
        let pages = database::within(TIMEOUT, self.pages()).await?;
        while page < pages {
            let began = Instant::now();
            match database::within(TIMEOUT, Box::pin(self.step(page, keep))).await? {
                Step::Done(deleted) => rows += deleted,
                Step::Taken => break,
            }
            page += STEP;
            sleep(began.elapsed() * REST).await;
        }
        Ok(rows)
    }

    async fn pages(&self) -> Result<i64, InfrastructureError> {
        let sql = "SELECT pg_relation_size($1::regclass) / current_setting('block_size')::bigint";
        let pages = sqlx::query_scalar(sql).bind(self.table.name());
        Ok(pages.fetch_one(&self.db).await?)
    }

    async fn step(&self, page: i64, keep: Duration) -> Result<Step, InfrastructureError> {
        let mut transaction = database::begin(&self.db).await?;
        // Held until the end of the transaction.
        let lock = "SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))";
        let mine: bool = sqlx::query_scalar(lock)
            .bind(format!("housekeeping/{}", self.table.owner()))
            .fetch_one(&mut *transaction)
            .await?;
        if !mine {
            return Ok(Step::Taken);
        }
        let deleted = self.table.delete(&mut transaction, page, keep).await?;
        transaction.commit().await?;
        Ok(Step::Done(deleted))
    }
}

impl Table {
    fn name(self) -> &'static str {
        match self {
            Self::Inbox { .. } => "processed_events",
            Self::Outbox { .. } => "outbox",
        }
    }

    /// The scope of the advisory lock: one pass at a time per owner.
    fn owner(self) -> &'static str {
        match self {
            Self::Inbox { consumer, .. } => consumer,
            Self::Outbox { .. } => self.name(),
        }
    }

    /// The topics that can retain the event of a row, one after the other: a dead letter can be
    /// replayed to its source topic until it expires, and is then retained there once more.
    fn topics(self) -> Vec<&'static str> {
        match self {
            Self::Inbox { topic, .. } => vec![topic, DEAD_LETTER_TOPIC],
            Self::Outbox { topic } => vec![topic],
        }
    }

    async fn delete(
        self,
        db: &mut PgConnection,
        page: i64,
        keep: Duration,
    ) -> Result<u64, sqlx::Error> {
        const INBOX: &str = "
            DELETE FROM processed_events
            WHERE ctid >= format('(%s,0)', $1::bigint)::tid
              AND ctid < format('(%s,0)', $2::bigint)::tid
              AND processed_at < now() - make_interval(secs => $3) AND consumer = $4";
        const OUTBOX: &str = "
            DELETE FROM outbox
            WHERE ctid >= format('(%s,0)', $1::bigint)::tid
              AND ctid < format('(%s,0)', $2::bigint)::tid
              AND sent_at < now() - make_interval(secs => $3) AND topic = $4";
        let (sql, whose) = match self {
            Self::Inbox { consumer, .. } => (INBOX, consumer),
            Self::Outbox { topic } => (OUTBOX, topic),
        };
        let deleted = sqlx::query(sql)
            .bind(page)
            .bind(page + STEP)
            .bind(keep.as_secs_f64())
            .bind(whose);
        Ok(deleted.execute(db).await?.rows_affected())
    }
}

/// How long a row is needed, given the retention of each topic; None means forever.
fn keep(retentions: &[Option<Duration>]) -> Option<Duration> {
    retentions.iter().try_fold(MARGIN, |keep, retention| {
        keep.checked_add((*retention)?)
            .filter(|keep| *keep < FOR_EVER)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    #[test]
    fn a_row_is_kept_as_long_as_all_its_topics_together_hold_an_event() {
        assert_eq!(keep(&[Some(14 * DAY)]), Some(15 * DAY));
        assert_eq!(keep(&[Some(14 * DAY), Some(37 * DAY)]), Some(52 * DAY));
    }

    #[test]
    fn rows_of_a_topic_with_infinite_retention_are_kept() {
        assert_eq!(keep(&[None]), None);
        assert_eq!(keep(&[Some(DAY), None]), None);
        assert_eq!(keep(&[Some(Duration::MAX)]), None);
        assert_eq!(
            keep(&[Some(Duration::from_millis(i64::MAX as u64)); 2]),
            None
        );
    }
}
