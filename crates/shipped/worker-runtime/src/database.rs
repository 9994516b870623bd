//! The database's address (`address`), the connection pool with a timeout for each wait, and waiting
//! until the database is available.

mod address;

use std::time::Duration;

use sqlx::{
    Connection, PgPool, Postgres, Transaction,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{Health, InfrastructureError, backoff::Backoff};

pub use address::address;

/// The database's part in `/ready`.
pub const PART: &str = "database";

/// Timeout of acquiring a connection, including opening one.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection that was idle for longer is tested before it is used.
const TESTED_WHEN_IDLE: Duration = Duration::from_secs(1);
/// Docker probes health every 10 s.
const WATCHED_EVERY: Duration = Duration::from_secs(5);
/// PostgreSQL's settings for each session; times are in milliseconds. The server ends statements
/// and idle transactions that take longer, and detects vanished clients. All queries look up rows by
/// key: a plan cached while a table was empty must not scan it once it has grown. Batches are too
/// short for JIT compilation or parallel workers.
const SESSION: [(&str, &str); 7] = [
    ("statement_timeout", "15000"),
    ("lock_timeout", "10000"),
    ("idle_in_transaction_session_timeout", "15000"),
    ("tcp_user_timeout", "15000"),
    ("enable_seqscan", "off"),
    ("jit", "off"),
    ("max_parallel_workers_per_gather", "0"),
];

/// Whether the server is a standby, and whether the session is read-only.
const WRITABLE: &str =
    "SELECT pg_is_in_recovery(), current_setting('transaction_read_only') = 'on'";

/// A pool of at most `max_connections`, none of them opened yet.
#[must_use]
pub fn pool(address: PgConnectOptions, max_connections: u32) -> PgPool {
    PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // A slow acquisition fails with a timeout, which the caller reports: no warning is needed.
        .acquire_slow_threshold(ACQUIRE_TIMEOUT)
        // Saves a round trip for busy connections: one that was used a moment ago is usable.
        .test_before_acquire(false)
        .before_acquire(|connection, state| {
            Box::pin(async move {
                if state.idle_for > TESTED_WHEN_IDLE {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_lazy_with(address.options(SESSION))
}

/// Waits until the database accepts writes. Until then the reason is in `/ready`, and in the log once.
/// Returns false if `shutdown` is cancelled first.
pub async fn wait(pool: &PgPool, health: &Health, shutdown: &CancellationToken) -> bool {
    let mut backoff = Backoff::infrastructure();
    health.not_ready(PART, "connecting");
    loop {
        let answer = tokio::select! {
            () = shutdown.cancelled() => return false,
            answer = ask(pool) => answer,
        };
        let Err(error) = answer else {
            if health.ready(PART) {
                tracing::info!("database connected");
            }
            return true;
        };
        if backoff.is_first() {
            tracing::warn!(%error, "waiting for the database");
        }
        health.not_ready(PART, error.to_string());
        tokio::select! {
            () = shutdown.cancelled() => return false,
            () = tokio::time::sleep(backoff.next_delay()) => {}
        }
    }
}

/// Begins a transaction, and leaves no open one behind if the caller is cancelled meanwhile.
///
/// `PgPool::begin` of sqlx 0.9 registers the transaction only after the server has answered BEGIN. If
/// the caller is cancelled before that (a timeout, a shutdown), the pool gets back a connection with
/// an open transaction. The next user's writes without a transaction are then rolled back when the
/// connection is closed. So BEGIN is awaited in any case.
///
/// # Errors
/// The database's.
pub async fn begin(pool: &PgPool) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    let pool = pool.clone();
    tokio::spawn(async move { pool.begin().await })
        .await
        .map_err(|_| sqlx::Error::WorkerCrashed)?
}

/// Limits the time of work on the database. The server has its own timeouts; this one is for a server
/// that is frozen.
///
/// # Errors
/// The work's own error; [`InfrastructureError::DatabaseTimeout`] when `limit` is exceeded.
pub async fn within<T, E: From<InfrastructureError>>(
    limit: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    timeout(limit, work)
        .await
        .unwrap_or_else(|_| Err(InfrastructureError::DatabaseTimeout(limit).into()))
}

/// Keeps the database's part in `/ready` up to date, for a service that queries the database only
/// while it handles requests or events. Ends with `shutdown`.
pub async fn watch(pool: PgPool, health: Health, shutdown: CancellationToken) {
    let look = async {
        loop {
            tokio::time::sleep(WATCHED_EVERY).await;
            match ask(&pool).await {
                Ok(()) if health.ready(PART) => tracing::info!("database connected"),
                Err(error) if health.not_ready(PART, error.to_string()) => {
                    tracing::warn!(%error, "the database is gone");
                }
                Ok(()) | Err(_) => {}
            }
        }
    };
    shutdown.run_until_cancelled(look).await;
}

async fn ask(pool: &PgPool) -> Result<(), InfrastructureError> {
    within(ACQUIRE_TIMEOUT * 2, async {
        let (recovers, read_only): (bool, bool) = sqlx::query_as(WRITABLE).fetch_one(pool).await?;
        match (recovers, read_only) {
            (true, _) => Err(InfrastructureError::ReadOnly("it is a standby")),
            (false, true) => Err(InfrastructureError::ReadOnly("its sessions are read-only")),
            (false, false) => Ok(()),
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn shutdown_ends_the_wait_for_an_absent_database() {
        let address = "postgres://nobody:secret@127.0.0.1:1/none".parse();
        let pool = pool(address.expect("a URL"), 1);
        let token = CancellationToken::new();
        token.cancel();
        assert!(!wait(&pool, &Health::starting(&[PART]), &token).await);
    }
}
