//! Thin access to Postgres, Redis and HTTP for the engine, the checks and the probe.
//!
//! Every call has a timeout, every answer a bound; a [`StoreError`] says
//! what was at fault and never holds a password. Nothing here decides whether what it reads is right.

use std::time::Duration;

use declaration::{Effect, Pipeline, Ready};

mod effects;
mod error;
pub mod http;
pub mod postgres;
mod redact;
pub mod redis;

pub use effects::{lacking_room, missing_migration};
pub use error::StoreError;
pub(crate) use error::StoreResult;

/// What one call may take, unless its caller says otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(3);

/// Asks the protocol's own question once: Kafka's metadata, Postgres' `SELECT 1`, Redis' `PING`.
/// Cheap enough to be asked every 50 ms while a broker boots.
///
/// # Errors
/// Why there is no answer (yet).
pub async fn ready(kind: Ready, address: &str, timeout: Duration) -> StoreResult<()> {
    match kind {
        Ready::Kafka => Ok(kafka::ready(address, timeout).await?),
        Ready::Postgres => postgres::ready(address, timeout).await,
        Ready::Redis => redis::ready(address, timeout).await,
    }
}

/// What is missing of what a one-shot leaves behind, in words; None when all of it is there.
///
/// # Errors
/// Why that could not be found out.
pub async fn effect_missing(pipeline: &Pipeline, effect: Effect) -> StoreResult<Option<String>> {
    match effect {
        Effect::Topics => effects::missing_topics(pipeline).await,
        Effect::Migrations => effects::missing_migrations(pipeline).await,
    }
}
