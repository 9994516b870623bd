//! An event for each call to Docker, Kafka, Postgres, Redis and HTTP services, and for each read of a file
//! of the declaration, with its duration.
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
    emit(of, what, began, &answer);
    answer
}

/// As [`instrument_call`], for a call that blocks.
///
/// # Errors
/// Those of `call`.
pub fn instrument_blocking<T, E: Display>(
    of: &'static str,
    what: impl Display,
    call: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    let began = Instant::now();
    let answer = call();
    emit(of, what, began, &answer);
    answer
}

fn emit<T, E: Display>(
    of: &'static str,
    what: impl Display,
    began: Instant,
    answer: &Result<T, E>,
) {
    let took = began.elapsed().as_secs_f64() * 1e3;
    match answer {
        Ok(_) => tracing::debug!(target: CALLS, of, %what, took),
        Err(why) => tracing::debug!(target: CALLS, of, %what, took, %why),
    }
}
