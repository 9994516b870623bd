//! Where the database is (`address`), and the connection pool: bounded waits everywhere, and
//! patience with a database that is not there yet.

mod address;

use std::time::Duration;

use sqlx::{
    Connection, PgPool, Postgres, Transaction,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{Failure, Health, backoff::Backoff};

pub use address::address;

/// The database's part in `/ready`.
pub const PART: &str = "database";

/// For a free connection, opening one included.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection that was idle for longer is tried before it is used.
const TESTED_WHEN_IDLE: Duration = Duration::from_secs(1);
/// Docker probes health every 10 s.
const WATCHED_EVERY: Duration = Duration::from_secs(5);
/// PostgreSQL's settings for each session, in milliseconds. A statement or a forgotten
/// transaction that takes longer is ended by the server; a vanished client is noticed. All that
/// we ask is found by key: a plan that was made and kept while a table was empty must not read it
/// whole once it is not, and a batch is too short to be compiled or to be divided among processes.
const SESSION: [(&str, &str); 7] = [
    ("statement_timeout", "15000"),
    ("lock_timeout", "10000"),
    ("idle_in_transaction_session_timeout", "15000"),
    ("tcp_user_timeout", "15000"),
    ("enable_seqscan", "off"),
    ("jit", "off"),
    ("max_parallel_workers_per_gather", "0"),
];

/// A pool of at most `max_connections`, none of them opened yet.
#[must_use]
pub fn pool(address: PgConnectOptions, max_connections: u32) -> PgPool {
    PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // What is slow fails, and is told by whoever waited.
        .acquire_slow_threshold(ACQUIRE_TIMEOUT)
        // One round trip less for what is busy: a connection that was used just now is there.
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

/// Waits until the database has answered. Until then the reason is in the log, once, and in
/// `/ready`. False when `shutdown` came first.
pub async fn wait(pool: &PgPool, health: &Health, shutdown: &CancellationToken) -> bool {
    let mut backoff = Backoff::infrastructure();
    health.not_ready(PART, "connecting");
    loop {
        let answer = tokio::select! {
            () = shutdown.cancelled() => return false,
            answer = ask(pool) => answer,
        };
        let Err(reason) = answer else {
            if health.ready(PART) {
                tracing::info!("database connected");
            }
            return true;
        };
        if backoff.is_first() {
            tracing::warn!(error = reason, "waiting for the database");
        }
        health.not_ready(PART, reason);
        tokio::select! {
            () = shutdown.cancelled() => return false,
            () = tokio::time::sleep(backoff.next_delay()) => {}
        }
    }
}

/// A transaction that leaves nothing behind, even if its beginning is not waited for.
///
/// `PgPool::begin` of sqlx 0.9 counts the transaction only once the server has answered BEGIN: a
/// caller that is gone by then (a timeout, a shutdown) gives a connection back that is in a
/// transaction nobody knows of, and what the next one writes to it, without a transaction of its
/// own, is taken back when it is closed. So BEGIN is waited for in any case.
///
/// # Errors
/// The database's.
pub async fn begin(pool: &PgPool) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    let pool = pool.clone();
    tokio::spawn(async move { pool.begin().await })
        .await
        .map_err(|_| sqlx::Error::WorkerCrashed)?
}

/// Bounds work on the database: the server has timeouts of its own, this one is for a server that
/// is frozen.
///
/// # Errors
/// The work's own; `Infrastructure` when `limit` passed.
pub async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    timeout(limit, work).await.unwrap_or_else(|_| {
        Err(Failure::Infrastructure(format!(
            "database: no answer within {limit:?}"
        )))
    })
}

/// Keeps the database's part in `/ready` true, for a service that only speaks to it when asked.
/// Ends with `shutdown`.
pub async fn watch(pool: PgPool, health: Health, shutdown: CancellationToken) {
    let look = async {
        loop {
            tokio::time::sleep(WATCHED_EVERY).await;
            match ask(&pool).await {
                Ok(()) if health.ready(PART) => tracing::info!("database connected"),
                Err(reason) if health.not_ready(PART, &reason) => {
                    tracing::warn!(error = reason, "the database is gone");
                }
                Ok(()) | Err(_) => {}
            }
        }
    };
    shutdown.run_until_cancelled(look).await;
}

async fn ask(pool: &PgPool) -> Result<(), String> {
    // The server's timeouts do not help where the server itself is frozen.
    match timeout(ACQUIRE_TIMEOUT * 2, sqlx::query("SELECT 1").execute(pool)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(Failure::from(error).to_string()),
        Err(_) => Err("database: no answer".to_owned()),
    }
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
