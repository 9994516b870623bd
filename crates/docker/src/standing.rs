//! Whether a running container counts as up, by what Docker shows of it; and a second look, once
//! the last service is ready, at those that were ready first.

use std::time::{Duration, Instant};

use chrono::Utc;
use futures_util::future::{join_all, try_join_all};

use crate::{
    apply::{Apply, Trouble},
    board::Stage,
};
use declaration::Service;
use platform::{Container, Outcome, ServiceReport, State};

/// Docker's word.
pub(super) const UNHEALTHY: &str = "unhealthy";
/// How long a container has to run of which nothing else is known.
pub(super) const SETTLED: Duration = Duration::from_secs(1);
/// How long a container has to run that Docker's restart policy restarted. Docker itself takes
/// that long a run for a success: its next wait before a restart is the shortest again.
const RECOVERED: Duration = Duration::from_secs(10);

/// Why a running container does not count as up, whatever it wrote and answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hindrance {
    /// Docker's health check says so.
    Unhealthy,
    /// Its run is too short to tell that it goes on.
    Young,
}

/// What keeps a running container from being up. `least` is how long it has to run; `watched` is how
/// long its run has been watched, because the engine's clock may be another one.
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
    (age.max(watched) < least).then_some(Hindrance::Young)
}

fn stands(container: &Container) -> bool {
    let hindrance = hindrance(container, Duration::ZERO, Duration::ZERO);
    container.state == State::Running && hindrance.is_none()
}

impl Apply<'_> {
    /// Waits once more for what was ready and is not any more: others took longer to come up.
    /// Where nothing was started and all was found ready within a second of `began`, that still holds.
    pub(super) async fn still_up(
        &self,
        outcomes: Vec<Result<ServiceReport, Trouble>>,
        began: Instant,
    ) -> Vec<Result<ServiceReport, Trouble>> {
        let kept = |report: &ServiceReport| report.outcome == Outcome::Kept;
        if began.elapsed() < SETTLED && outcomes.iter().flatten().all(kept) {
            return outcomes;
        }
        let containers = match self.engine.containers(&self.pipeline.project).await {
            Ok(containers) => containers,
            Err(e) => {
                let failed = |outcome: Result<_, _>| outcome.and_then(|_| Err(e.clone().into()));
                return outcomes.into_iter().map(failed).collect();
            }
        };
        let outcomes = self.services.iter().zip(outcomes);
        let looked = outcomes.map(|(service, outcome)| async {
            match outcome {
                Ok(report) => self.look_again(service, report, &containers).await,
                Err(trouble) => Err(trouble),
            }
        });
        join_all(looked).await
    }

    async fn look_again(
        &self,
        service: &Service,
        report: ServiceReport,
        containers: &[Container],
    ) -> Result<ServiceReport, Trouble> {
        let fallen = |c: &&Container| c.service == service.name && !stands(c);
        let fallen: Vec<_> = containers.iter().filter(fallen).collect();
        if fallen.is_empty() || service.is_one_shot(self.pipeline) {
            return Ok(report);
        }
        self.board.set(&service.name, Stage::Started);
        let ready = fallen
            .iter()
            .map(|c| Box::pin(self.ready(service, &c.id, false)));
        match try_join_all(ready).await {
            Ok(_) => {
                self.board.set(&service.name, Stage::Ready);
                Ok(report)
            }
            Err(e) => self.conclude(service, Err(e.into())).await,
        }
    }
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
    fn what_docker_restarted_has_to_run_for_a_while() {
        let mut container = started(2);
        assert_eq!(hindrance(&container, ZERO, SETTLED), None);
        container.restart_count = 1;
        assert_eq!(hindrance(&container, ZERO, ZERO), Some(Hindrance::Young));
        assert_eq!(hindrance(&container, RECOVERED, ZERO), None);
        container.started_at = started(11).started_at;
        assert_eq!(hindrance(&container, ZERO, ZERO), None);
    }

    #[test]
    fn an_engine_whose_clock_is_ahead_is_watched_for_as_long() {
        let container = started(-3600);
        assert_eq!(hindrance(&container, ZERO, SETTLED), Some(Hindrance::Young));
        assert_eq!(hindrance(&container, SETTLED, SETTLED), None);
    }

    #[test]
    fn only_an_unhealthy_container_is_hindered_by_its_health_check() {
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
    fn only_a_running_container_stands() {
        assert!(stands(&started(60)));
        for state in [State::Restarting, State::Exited, State::Paused] {
            let container = Container {
                state,
                ..started(60)
            };
            assert!(!stands(&container), "{state:?}");
        }
    }
}
