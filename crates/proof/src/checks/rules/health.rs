//! The result of Docker's health checks, corrected where Docker is known to be wrong.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::checks::finding::Outcome;
use declaration::Healthcheck;
use platform::{Container, Health};

/// Docker's defaults for what a health check does not set.
const INTERVAL: Duration = Duration::from_secs(30);
const RETRIES: i64 = 3;

/// The worst of the running containers' health.
pub(super) fn judge(healthcheck: &Healthcheck, up: &[&Container], now: DateTime<Utc>) -> Outcome {
    let mut seen = "healthy".to_owned();
    for container in up {
        match of(container, healthcheck, now) {
            Ok(None) => {}
            Ok(Some(aside)) => seen = aside,
            Err(why) => {
                let output = container
                    .health
                    .as_ref()
                    .and_then(|h| last_output(container, h));
                return Outcome::fail(why).evidence(output);
            }
        }
    }
    Outcome::pass(seen)
}

/// None: healthy. A text: not yet healthy, but as expected. The error says why it is not.
fn of(
    container: &Container,
    healthcheck: &Healthcheck,
    now: DateTime<Utc>,
) -> Result<Option<String>, String> {
    let Some(health) = &container.health else {
        return Err("has no health check in Docker".to_owned());
    };
    let age = container
        .started_at
        .map_or(0, |at| (now - at).num_seconds());
    match (health.status.as_str(), health.failing_streak) {
        ("healthy", _) => Ok(None),
        ("starting", _) if age <= patience(healthcheck) => {
            Ok(Some(format!("starting for {age} s")))
        }
        ("starting", _) => Err(format!("still starting after {age} s")),
        // So Docker reports a container that was paused after a successful probe.
        ("unhealthy", 0) => Ok(Some("no probe failed; none since it was paused".to_owned())),
        (word, streak) => Err(format!("{word}: {streak} probes failed in a row")),
    }
}

/// For how many seconds a container may be `starting`.
fn patience(healthcheck: &Healthcheck) -> i64 {
    let retries = u32::try_from(healthcheck.retries.unwrap_or(RETRIES)).unwrap_or(1);
    let interval = healthcheck.interval.unwrap_or(INTERVAL);
    let patience = healthcheck.start_period.unwrap_or_default() + interval * retries;
    i64::try_from(patience.as_secs()).unwrap_or(i64::MAX)
}

fn last_output(container: &Container, health: &Health) -> Option<String> {
    let output = health.outputs.last().filter(|o| !o.is_empty())?;
    Some(format!("{}: last probe: {output}", container.name))
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use platform::testing;

    /// The verdict on `status` and a failing streak, of a container that started `age` seconds ago.
    fn verdict(status: &str, failing_streak: i64, age: i64) -> Result<Option<String>, String> {
        let healthcheck = Healthcheck {
            test: vec!["CMD".to_owned(), "true".to_owned()],
            interval: Some(Duration::from_secs(10)),
            timeout: None,
            start_period: Some(Duration::from_secs(30)),
            start_interval: None,
            retries: Some(3),
        };
        let now = Utc::now();
        let mut container = testing::container("web", 1);
        container.started_at = Some(now - TimeDelta::seconds(age));
        container.health = Some(Health {
            status: status.to_owned(),
            failing_streak,
            outputs: Vec::new(),
        });
        of(&container, &healthcheck, now)
    }

    #[test]
    fn starting_passes_for_as_long_as_docker_allows_it() {
        assert_eq!(
            verdict("starting", 0, 60),
            Ok(Some("starting for 60 s".to_owned()))
        );
        assert!(verdict("starting", 0, 61).is_err());
    }

    #[test]
    fn unhealthy_counts_once_a_probe_has_failed() {
        assert_eq!(verdict("healthy", 0, 9), Ok(None));
        assert!(verdict("unhealthy", 0, 900).is_ok_and(|seen| seen.is_some()));
        assert!(verdict("unhealthy", 3, 900).is_err_and(|why| why.contains('3')));
    }

    #[test]
    fn a_declared_health_check_that_docker_lacks_is_a_fault() {
        let declared = Healthcheck {
            test: Vec::new(),
            interval: None,
            timeout: None,
            start_period: None,
            start_interval: None,
            retries: None,
        };
        assert!(of(&testing::container("web", 1), &declared, Utc::now()).is_err());
    }
}
