//! An event for each call to Docker, Kafka, Postgres, Redis and HTTP services, with its duration.
//! Only `-v` subscribes to them.

use std::{fmt::Display, time::Instant};

/// The target of these events. Fields: `of`, `what`, `took` (milliseconds) and, on failure, `why`.
pub const CALLS: &str = "caravan::calls";

/// Awaits `call` and emits its event. `of` names the system, `what` the call in a few words, without
/// a secret.
///
/// # Errors
/// Those of `call`.
pub async fn instrument_call<T, E: Display>(
    of: &'static str,
    what: impl Display,
    call: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let began = Instant::now();
    let answer = call.await;
    let took = began.elapsed().as_secs_f64() * 1e3;
    match &answer {
        Ok(_) => tracing::debug!(target: CALLS, of, %what, took),
        Err(why) => tracing::debug!(target: CALLS, of, %what, took, %why),
    }
    answer
}
