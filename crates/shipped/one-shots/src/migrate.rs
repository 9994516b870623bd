//! `migrate`: applies the embedded migrations to the database.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
    time::{Duration, Instant},
};

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, PgConnection,
    migrate::{MigrateError, Migrator},
    postgres::PgConnectOptions,
};
use tokio::time::timeout;
use worker_runtime::{Failure, backoff::Backoff};

use diagnostics::{Error, Kind, Result};

/// The files of `migrations/` at the time when this executable was built.
static MIGRATIONS: Migrator = sqlx::migrate!("../../../migrations");

/// How long to wait for a database that is still starting.
const DATABASE_PATIENCE: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Timeout of all migrations together, including the wait for another running `migrate`.
const MIGRATION_TIMEOUT: Duration = Duration::from_secs(600);

/// Applies the missing migrations; logs which existed and which it applied. `roles`: a directory with a file for
/// each role that may log in, which has its name and holds its password.
///
/// # Errors
/// The database does not answer, refuses a migration, or has unknown migrations. A file of a password cannot be
/// read, or its role does not exist.
pub async fn run(address: PgConnectOptions, roles: Option<&Path>) -> Result<()> {
    // Suppresses the notice that the table `_sqlx_migrations` already exists.
    let options = address.options([("client_min_messages", "warning")]);
    let mut connection = connect(&options).await?;
    let before = timeout(MIGRATION_TIMEOUT, apply(&mut connection))
        .await
        .map_err(|_| {
            let what = format!("the migrations did not end within {MIGRATION_TIMEOUT:?}");
            Error::new(Kind::Deadline, what)
                .hint("see who holds locks in pg_stat_activity, then start migrate again")
        })?
        .map_err(refused)?;
    for migration in MIGRATIONS.iter() {
        let (version, description) = (migration.version, &migration.description);
        if before.contains(&version) {
            tracing::info!("{version} {description}: already applied");
        } else {
            tracing::info!("{version} {description}: applied");
        }
    }
    if let Some(directory) = roles {
        let passwords = passwords(directory)?;
        let names: Vec<_> = passwords.keys().map(String::as_str).collect();
        let set = set_passwords(&mut connection, &passwords).await;
        set.map_err(|error| {
            let what = "the passwords of the services' roles could not be set";
            Error::new(Kind::NotRight, what).because(Failure::from(error))
        })?;
        tracing::info!("roles with their passwords: {}", names.join(", "));
    }
    // A failure to close is harmless: the process ends anyway.
    connection.close().await.ok();
    Ok(())
}

/// The role and password of each file in `directory`, by role.
fn passwords(directory: &Path) -> Result<BTreeMap<String, String>> {
    let failed = |error: io::Error| {
        let what = format!("cannot read the passwords in {}", directory.display());
        Error::new(Kind::Usage, what).because(error)
    };
    let mut passwords = BTreeMap::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let role = path.file_name().unwrap_or_default().to_string_lossy();
        let password = fs::read_to_string(&path).map_err(failed)?;
        passwords.insert(role.into_owned(), password.trim_end().to_owned());
    }
    Ok(passwords)
}

/// Lets roles log in with their passwords, all in one transaction.
async fn set_passwords(
    connection: &mut PgConnection,
    passwords: &BTreeMap<String, String>,
) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin().await?;
    // The server must not log a statement with a password, not even one that fails. Only a superuser may set this.
    sqlx::query(
        "SELECT set_config(name, 'panic', true) FROM pg_settings
         WHERE name = 'log_min_error_statement'
           AND (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)",
    )
    .execute(&mut *transaction)
    .await?;
    for (role, password) in passwords {
        // As identifier and literal; ALTER ROLE takes no parameters.
        let alter: String =
            sqlx::query_scalar("SELECT format('ALTER ROLE %I LOGIN PASSWORD %L', $1, $2)")
                .bind(role)
                .bind(password)
                .fetch_one(&mut *transaction)
                .await?;
        sqlx::query(AssertSqlSafe(alter))
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await
}

async fn connect(options: &PgConnectOptions) -> Result<PgConnection> {
    let deadline = Instant::now() + DATABASE_PATIENCE;
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
    let mut logged = false;
    loop {
        let why = match timeout(CONNECT_TIMEOUT, options.connect()).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(error)) if is_final(&error) => {
                return Err(no_database(options, Failure::from(error).to_string()));
            }
            Ok(Err(error)) => Failure::from(error).to_string(),
            Err(_) => format!("no answer within {CONNECT_TIMEOUT:?}"),
        };
        if Instant::now() >= deadline {
            return Err(no_database(options, why));
        }
        if !logged {
            tracing::info!(host = options.get_host(), why, "waiting for the database");
            logged = true;
        }
        tokio::time::sleep(backoff.next_delay()).await;
    }
}

/// Whether a retry would fail again: wrong password or user (SQLSTATE class 28), or the database does
/// not exist (3D000).
fn is_final(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|e| e.code());
    code.is_some_and(|code| code.starts_with("28") || code == "3D000")
}

fn no_database(options: &PgConnectOptions, why: String) -> Error {
    let (host, port) = (options.get_host(), options.get_port());
    Error::new(Kind::Unreachable, format!("no database at {host}:{port}"))
        .because(why)
        .hint("set DATABASE_URL to a database that runs, then start migrate again")
}

/// Applies the missing migrations. Returns the versions that were applied before.
async fn apply(connection: &mut PgConnection) -> Result<BTreeSet<i64>, MigrateError> {
    // Held until the connection ends: one `migrate` at a time, so that each logs its own work.
    sqlx::query("SELECT pg_advisory_lock(hashtextextended('caravan/migrate', 0))")
        .execute(&mut *connection)
        .await?;
    let before = applied(connection).await?;
    MIGRATIONS.run(connection).await?;
    Ok(before)
}

/// The applied versions; empty if the database was never migrated.
async fn applied(connection: &mut PgConnection) -> Result<BTreeSet<i64>, sqlx::Error> {
    let exists: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await?;
    if !exists {
        return Ok(BTreeSet::new());
    }
    let versions: Vec<i64> =
        sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success")
            .fetch_all(connection)
            .await?;
    Ok(versions.into_iter().collect())
}

/// The error with the database's message and SQLSTATE.
fn describe(error: MigrateError) -> String {
    match error {
        MigrateError::Execute(error) => Failure::from(error).to_string(),
        MigrateError::ExecuteMigration(error, version) => {
            format!("migration {version}: {}", Failure::from(error))
        }
        MigrateError::VersionMissing(version) => {
            let latest = MIGRATIONS.iter().map(|m| m.version).max();
            format!(
                "the database has migration {version}, and this caravan ({}) knows none after \
                 {}: a newer Caravan migrated it",
                env!("CARGO_PKG_VERSION"),
                latest.unwrap_or_default()
            )
        }
        other => other.to_string(),
    }
}

fn refused(error: MigrateError) -> Error {
    let hint = match error {
        MigrateError::VersionMissing(_) => {
            "bring the pipeline up with the caravan that it was last brought up with, or a newer one"
        }
        _ => {
            "migrations/README.md says what each migration promises; an applied migration must \
             not be changed"
        }
    };
    Error::new(Kind::NotRight, "the database could not be migrated")
        .because(describe(error))
        .hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `verify` reads the latest migration from the declaration.
    #[test]
    fn the_shipped_declaration_names_the_latest_migration() {
        let declaration = include_str!("../../../../compose/compose.yaml");
        let latest = MIGRATIONS.iter().map(|m| m.version).max().expect("some");
        assert!(declaration.contains(&format!("    latest: {latest}\n")));
    }

    #[test]
    fn migrations_are_numbered_without_gaps() {
        let versions: Vec<i64> = MIGRATIONS.iter().map(|m| m.version).collect();
        let count = i64::try_from(versions.len()).expect("a few");
        assert_eq!(versions, (1..=count).collect::<Vec<_>>());
    }
}
