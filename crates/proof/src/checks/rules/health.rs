//! The result of Docker's health checks, corrected where Docker is known to be wrong.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::checks::finding::Outcome;
use declaration::Healthcheck;
use platform::{Container, Health};

/// Docker's defaults for what a health check does not set.
const INTERVAL: Duration = Duration::from_secs(30);
const RETRIES: i64 = 3;

/// The health of one container.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Healthy,
    /// Not healthy yet, as expected for this reason.
    Expected(String),
    /// Not healthy, for this reason.
    Failed(String),
}

/// The worst of the running containers' health.
pub(super) fn judge(healthcheck: &Healthcheck, up: &[&Container], now: DateTime<Utc>) -> Outcome {
    let mut seen = "healthy".to_owned();
    let mut degraded = Vec::new();
    for container in up {
        match of(container, healthcheck, now) {
            Verdict::Healthy => degraded.extend(says_degraded(container)),
            Verdict::Expected(why) => seen = why,
            Verdict::Failed(why) => {
                let output = container
                    .health
                    .as_ref()
                    .and_then(|h| last_output(container, h));
                return Outcome::fail(why).evidence(output);
            }
        }
    }
    match degraded.as_slice() {
        [] => Outcome::pass(seen),
        [one, ..] => Outcome::warn(format!("healthy, but {one}")).evidence(degraded),
    }
}

/// What the last probe of a healthy container begins with if a part of its work is impaired.
const DEGRADED: &str = "degraded: ";

fn says_degraded(container: &Container) -> Option<String> {
    let output = container.health.as_ref()?.outputs.last()?;
    output.starts_with(DEGRADED).then(|| output.clone())
}

fn of(container: &Container, healthcheck: &Healthcheck, now: DateTime<Utc>) -> Verdict {
    let Some(health) = &container.health else {
        return Verdict::Failed("has no health check in Docker".to_owned());
    };
    let age = container
        .started_at
        .map_or(0, |at| (now - at).num_seconds());
    match (health.status.as_str(), health.failing_streak) {
        ("healthy", _) => Verdict::Healthy,
        ("starting", _) if age <= patience(healthcheck) => {
            Verdict::Expected(format!("starting for {age}s"))
        }
        ("starting", _) => Verdict::Failed(format!("still starting after {age}s")),
        // So Docker reports a container that was paused after a successful probe.
        ("unhealthy", 0) => {
            Verdict::Expected("no probe failed; none since it was paused".to_owned())
        }
        (word, streak) => Verdict::Failed(format!("{word}: {streak} probes failed in a row")),
    }
}

/// For how many seconds a container has been `starting`; None: it is not, or for longer than it may.
pub(super) fn starting_for(
    container: &Container,
    healthcheck: &Healthcheck,
    now: DateTime<Utc>,
) -> Option<i64> {
    let health = container.health.as_ref()?;
    let age = (now - container.started_at?).num_seconds();
    (health.status == "starting" && age <= patience(healthcheck)).then_some(age)
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
    fn verdict(status: &str, failing_streak: i64, age: i64) -> Verdict {
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
            Verdict::Expected("starting for 60s".to_owned())
        );
        assert!(matches!(verdict("starting", 0, 61), Verdict::Failed(_)));
    }

    #[test]
    fn unhealthy_counts_once_a_probe_has_failed() {
        assert_eq!(verdict("healthy", 0, 9), Verdict::Healthy);
        let paused = verdict("unhealthy", 0, 900);
        assert!(matches!(paused, Verdict::Expected(_)), "{paused:?}");
        let failed = verdict("unhealthy", 3, 900);
        assert!(
            matches!(&failed, Verdict::Failed(why) if why.contains('3')),
            "{failed:?}"
        );
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
        let verdict = of(&testing::container("web", 1), &declared, Utc::now());
        assert!(matches!(verdict, Verdict::Failed(_)), "{verdict:?}");
    }
}
