//! What Caravan asks of Docker, Kafka and the rest, and how long each takes to answer: events that nobody
//! hears but `output::verbose` (`-v`).

use std::{fmt::Display, time::Instant};

/// The target of these events; each has `of`, `what`, `took` (milliseconds), and `why` where it failed.
pub(crate) const TARGET: &str = "caravan::asked";

/// Awaits an answer. `of` whom it is asked, `what` in a few words, without a secret.
///
/// # Errors
/// The answer's own.
pub(crate) async fn asked<T, E: Display>(
    of: &'static str,
    what: impl Display,
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let began = Instant::now();
    let answer = answer.await;
    let took = began.elapsed().as_secs_f64() * 1e3;
    match &answer {
        Ok(_) => tracing::debug!(target: TARGET, of, %what, took),
        Err(why) => tracing::debug!(target: TARGET, of, %what, took, %why),
    }
    answer
}
