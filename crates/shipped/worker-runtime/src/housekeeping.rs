//! What nobody can ask for any more is deleted: inbox rows whose event no topic holds, outbox rows
//! that were sent long ago (docs/decisions/0013-housekeeping.md).
//!
//! A pass walks the table from its first page to its last, a few pages at a time, and rests after
//! each step: no index that every insert would pay for, a step that takes as long however large
//! the table is, and never more than a part of the database's time. One process at a time walks
//! for a consumer; replicas leave it to the one that is at it.

use std::time::{Duration, Instant};

use caravan_events::names::DEAD_LETTER_TOPIC;
use sqlx::{PgConnection, PgPool};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::{Failure, database, kafka};

/// After the start of the process; one that starts again and again does not prune each time.
const FIRST_PASS_AFTER: Duration = Duration::from_secs(60);
const PASS_EVERY: Duration = Duration::from_secs(3600);
/// Pages in one step, of 8 KiB: some 6,000 inbox rows.
const STEP: i64 = 64;
/// After a step, in multiples of the time it took.
const REST: u32 = 4;
/// For one step: longer than the server's own timeouts, for a server that is frozen.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Clocks that differ, and the time in which brokers get to deleting.
const MARGIN: Duration = Duration::from_secs(24 * 3600);
/// A hundred years: what is to be kept longer is kept.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Keeps one table small.
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

/// What a step did.
enum Step {
    /// Rows deleted.
    Done(u64),
    /// Another process walks this table.
    Taken,
}

impl Housekeeping {
    /// For the inbox rows of `consumer`, whose events come from `topic`.
    #[must_use]
    pub fn inbox(db: PgPool, brokers: &str, consumer: &'static str, topic: &'static str) -> Self {
        let table = Table::Inbox { consumer, topic };
        Self::new(db, brokers, table)
    }

    /// For outbox rows that were sent to `topic`.
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

    /// A pass every hour, until the end of the process. What fails is made good by the next.
    pub async fn run(self, shutdown: CancellationToken) {
        let forever = async {
            sleep(FIRST_PASS_AFTER).await;
            loop {
                let table = self.table.name();
                match self.pass().await {
                    Ok(0) => {}
                    Ok(rows) => tracing::info!(table, rows, "old rows deleted"),
                    Err(why) => tracing::warn!(table, why, "old rows cannot be deleted"),
                }
                sleep(PASS_EVERY).await;
            }
        };
        shutdown.run_until_cancelled(forever).await;
    }

    /// Deletes, step by step, all rows that are old enough; how many.
    ///
    /// # Errors
    /// The topics' settings or the table cannot be read; what was deleted until then is.
    pub async fn pass(&self) -> Result<u64, String> {
        let retentions = kafka::retentions(&self.brokers, &self.table.topics()).await?;
        match keep(&retentions) {
            Some(keep) => self.prune(keep).await,
            None => Ok(0),
        }
    }

    async fn prune(&self, keep: Duration) -> Result<u64, String> {
        let (mut page, mut rows) = (0, 0);
        let pages = bounded(self.pages()).await?;
        while page < pages {
            let began = Instant::now();
            match bounded(Box::pin(self.step(page, keep))).await? {
                Step::Done(deleted) => rows += deleted,
                Step::Taken => break,
            }
            page += STEP;
            sleep(began.elapsed() * REST).await;
        }
        Ok(rows)
    }

    async fn pages(&self) -> Result<i64, sqlx::Error> {
        let sql = "SELECT pg_relation_size($1::regclass) / current_setting('block_size')::bigint";
        let pages = sqlx::query_scalar(sql).bind(self.table.name());
        pages.fetch_one(&self.db).await
    }

    async fn step(&self, page: i64, keep: Duration) -> Result<Step, sqlx::Error> {
        let mut transaction = database::begin(&self.db).await?;
        // Until the end of the transaction.
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

    /// Who walks alone.
    fn owner(self) -> &'static str {
        match self {
            Self::Inbox { consumer, .. } => consumer,
            Self::Outbox { .. } => self.name(),
        }
    }

    /// The topics out of which an event of a row can come, one after the other: a dead letter may
    /// be sent back to its source until it is gone itself, and stays there as long as any event.
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

/// How long a row may be asked for, given how long each topic holds a message; None for ever.
fn keep(retentions: &[Option<Duration>]) -> Option<Duration> {
    retentions.iter().try_fold(MARGIN, |keep, retention| {
        keep.checked_add((*retention)?)
            .filter(|keep| *keep < FOR_EVER)
    })
}

async fn bounded<T>(work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, String> {
    timeout(TIMEOUT, work)
        .await
        .map_err(|_| "database: no answer".to_owned())?
        .map_err(|error| Failure::from(error).to_string())
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
    fn what_is_held_for_ever_is_kept_for_ever() {
        assert_eq!(keep(&[None]), None);
        assert_eq!(keep(&[Some(DAY), None]), None);
        assert_eq!(keep(&[Some(Duration::MAX)]), None);
        assert_eq!(
            keep(&[Some(Duration::from_millis(i64::MAX as u64)); 2]),
            None
        );
    }
}
