//! `migrate`: the database comes to have the embedded migrations.

use std::{
    collections::BTreeSet,
    str::FromStr,
    time::{Duration, Instant},
};

use sqlx::{
    ConnectOptions, Connection, PgConnection,
    migrate::Migrator,
    postgres::PgConnectOptions,
};
use tokio::time::timeout;
use worker_runtime::{Failure, backoff::Backoff};

use crate::error::{Error, Kind, Result};

/// The files of `migrations/`, as they were when this executable was built.
static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// For a database that is still starting.
const DATABASE_PATIENCE: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// All migrations together, and the wait for another `migrate` that is at it.
const MIGRATION_TIMEOUT: Duration = Duration::from_secs(600);

/// Applies what is missing; says what was there and what it applied.
///
/// # Errors
/// The database does not answer, or refuses a migration, or has others than these.
pub(crate) async fn run(url: &str) -> Result<()> {
    let options = PgConnectOptions::from_str(url).map_err(|_| {
        // The address itself holds a password: not shown.
        Error::new(Kind::Usage, "DATABASE_URL is not a PostgreSQL URL")
            .hint("DATABASE_URL=postgres://USER:PASSWORD@HOST:5432/NAME")
    })?;
    let mut connection = connect(&options).await?;
    let before = applied(&mut connection).await.map_err(refused)?;
    timeout(MIGRATION_TIMEOUT, MIGRATIONS.run(&mut connection))
        .await
        .map_err(|_| {
            let what = format!("the migrations did not end within {MIGRATION_TIMEOUT:?}");
            Error::new(Kind::Deadline, what)
                .hint("see who holds locks in pg_stat_activity, then start migrate again")
        })?
        .map_err(|e| refused(e.to_string()))?;
    for migration in MIGRATIONS.iter() {
        let (version, description) = (migration.version, &migration.description);
        if before.contains(&version) {
            tracing::info!("{version} {description}: was there");
        } else {
            tracing::info!("{version} {description}: applied");
        }
    }
    // Its end is the process's end; the server does not mind.
    connection.close().await.ok();
    Ok(())
}

async fn connect(options: &PgConnectOptions) -> Result<PgConnection> {
    let deadline = Instant::now() + DATABASE_PATIENCE;
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
    let mut told = false;
    loop {
        let why = match timeout(CONNECT_TIMEOUT, options.connect()).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(error)) if is_final(&error) => return Err(no_database(options, &error)),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {CONNECT_TIMEOUT:?}"),
        };
        if Instant::now() >= deadline {
            return Err(no_database(options, &why));
        }
        if !told {
            tracing::info!(host = options.get_host(), why, "waiting for the database");
            told = true;
        }
        tokio::time::sleep(backoff.next_delay()).await;
    }
}

/// A server that answers, and will answer the same next time: wrong password or user (SQLSTATE
/// class 28), no such database (3D000).
fn is_final(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|e| e.code());
    code.is_some_and(|code| code.starts_with("28") || code == "3D000")
}

fn no_database(options: &PgConnectOptions, why: &impl ToString) -> Error {
    let (host, port) = (options.get_host(), options.get_port());
    Error::new(Kind::Unreachable, format!("no database at {host}:{port}"))
        .because(why.to_string())
        .hint("set DATABASE_URL to a database that runs, then start migrate again")
}

/// Versions that are applied; none where nothing was ever migrated.
async fn applied(connection: &mut PgConnection) -> Result<BTreeSet<i64>, String> {
    let text = |e: sqlx::Error| Failure::from(e).to_string();
    let exists: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await
        .map_err(text)?;
    if !exists {
        return Ok(BTreeSet::new());
    }
    let versions: Vec<i64> =
        sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success")
            .fetch_all(connection)
            .await
            .map_err(text)?;
    Ok(versions.into_iter().collect())
}

fn refused(why: String) -> Error {
    Error::new(Kind::NotRight, "the database could not be migrated")
        .because(why)
        .hint("migrations/README.md tells what each migration promises; none may be changed once applied")
}
