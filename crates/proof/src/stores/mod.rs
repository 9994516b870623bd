//! Thin access to Postgres, Redis and HTTP for the engine, the checks and the probe.
//!
//! Every call has a time limit, every answer a size limit. A [`StoreError`] names the cause and
//! never contains a password. The callers decide whether the values are right.

use std::time::Duration;

use declaration::{Effect, Pipeline, Ready};

mod effects;
mod error;
pub mod http;
pub mod postgres;
mod redact;
pub mod redis;
mod tls;

pub use effects::{lacking_room, missing_migration};
pub use error::StoreError;
pub(crate) use error::StoreResult;
pub use tls::speaks_tls;

/// Default time limit of a call.
pub const TIMEOUT: Duration = Duration::from_secs(3);

/// Sends one request of the protocol: Kafka metadata, `SELECT 1` for Postgres, `PING` for Redis. It
/// is cheap enough to repeat every 50 ms while a broker starts.
///
/// # Errors
/// The store does not answer (yet).
pub async fn ready(kind: Ready, address: &str, timeout: Duration) -> StoreResult<()> {
    match kind {
        Ready::Kafka => Ok(kafka::ready(address, timeout).await?),
        Ready::Postgres => postgres::ready(address, timeout).await,
        Ready::Redis => redis::ready(address, timeout).await,
    }
}

/// Which declared effect of a one-shot container is missing; None: none is.
///
/// # Errors
/// The effect could not be checked.
pub async fn effect_missing(pipeline: &Pipeline, effect: Effect) -> StoreResult<Option<String>> {
    match effect {
        Effect::Topics => effects::missing_topics(pipeline).await,
        Effect::Migrations => effects::missing_migrations(pipeline).await,
    }
}
