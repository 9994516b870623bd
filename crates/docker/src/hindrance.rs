//! Whether a running container counts as up, by its inspection.

use std::time::Duration;

use chrono::Utc;

use platform::{Container, State};

/// Docker's health status.
pub(super) const UNHEALTHY: &str = "unhealthy";
/// The least uptime of a container that declares no other sign of readiness.
pub(super) const SETTLED: Duration = Duration::from_secs(1);
/// The least uptime of a container that Docker's restart policy restarted. After 10 s Docker itself counts
/// a run as successful and resets its delay between restarts.
const RECOVERED: Duration = Duration::from_secs(10);

/// Why a running container does not count as up, even if its startup line and protocol were seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hindrance {
    /// Docker's health check fails.
    Unhealthy,
    /// It has not run long enough.
    JustStarted,
}

/// What keeps a running container from being up. `least` is the least uptime. `watched` is how long Caravan
/// has watched this run: the engine's clock may differ from this host's.
pub(super) fn hindrance(
    container: &Container,
    watched: Duration,
    least: Duration,
) -> Option<Hindrance> {
    let health = container.health.as_ref();
    if health.is_some_and(|health| health.status == UNHEALTHY) {
        return Some(Hindrance::Unhealthy);
    }
    let least = match container.restart_count {
        0 => least,
        _ => least.max(RECOVERED),
    };
    let age = container.started_at.map(|at| Utc::now() - at);
    let age = age.and_then(|age| age.to_std().ok()).unwrap_or_default();
    (age.max(watched) < least).then_some(Hindrance::JustStarted)
}

/// Whether a container runs, and nothing keeps it from being up.
pub(super) fn is_up(container: &Container) -> bool {
    let hindrance = hindrance(container, Duration::ZERO, Duration::ZERO);
    container.state == State::Running && hindrance.is_none()
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use platform::{Health, testing::container};

    const ZERO: Duration = Duration::ZERO;

    fn started(ago: i64) -> Container {
        let mut container = container("db", 1);
        container.started_at = Some(Utc::now() - TimeDelta::seconds(ago));
        container
    }

    #[test]
    fn a_container_that_docker_restarted_needs_a_longer_uptime() {
        let mut container = started(2);
        assert_eq!(hindrance(&container, ZERO, SETTLED), None);
        container.restart_count = 1;
        assert_eq!(
            hindrance(&container, ZERO, ZERO),
            Some(Hindrance::JustStarted)
        );
        assert_eq!(hindrance(&container, RECOVERED, ZERO), None);
        container.started_at = started(11).started_at;
        assert_eq!(hindrance(&container, ZERO, ZERO), None);
    }

    #[test]
    fn an_engine_whose_clock_is_ahead_is_watched_for_as_long() {
        let container = started(-3600);
        assert_eq!(
            hindrance(&container, ZERO, SETTLED),
            Some(Hindrance::JustStarted)
        );
        assert_eq!(hindrance(&container, SETTLED, SETTLED), None);
    }

    #[test]
    fn of_health_statuses_only_unhealthy_is_a_hindrance() {
        let mut container = started(60);
        for (status, expected) in [
            ("starting", None),
            ("healthy", None),
            (UNHEALTHY, Some(Hindrance::Unhealthy)),
        ] {
            container.health = Some(Health {
                status: status.to_owned(),
                failing_streak: 0,
                outputs: Vec::new(),
            });
            assert_eq!(hindrance(&container, ZERO, ZERO), expected, "{status}");
        }
    }

    #[test]
    fn only_a_running_container_is_up() {
        assert!(is_up(&started(60)));
        for state in [State::Restarting, State::Exited, State::Paused] {
            let container = Container {
                state,
                ..started(60)
            };
            assert!(!is_up(&container), "{state:?}");
        }
    }
}
