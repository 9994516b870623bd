//! Whether a running container counts as up, by its inspection; and a second check of all services once the
//! last one is ready.

use std::time::{Duration, Instant};

use chrono::Utc;
use futures_util::future::{join_all, try_join_all};

use crate::{
    apply::{Apply, Trouble},
    board::{Run, Stage},
};
use declaration::Service;
use platform::{Container, Outcome, ServiceReport, State};

/// Docker's health status.
pub(super) const UNHEALTHY: &str = "unhealthy";
/// The least uptime of a container that declares no other sign of readiness.
pub(super) const SETTLED: Duration = Duration::from_secs(1);
/// The least uptime of a container that Docker's restart policy restarted. After 10 s Docker itself counts
/// a run as successful and resets its delay between restarts.
const RECOVERED: Duration = Duration::from_secs(10);

/// How long after it was ready a container that this command started has to go on: a process that fails
/// right after its startup line ends within this time.
const OUTLASTED: Duration = Duration::from_millis(300);

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

/// Whether a container is still in the run that was ready.
fn goes_on(run: &Run, container: &Container) -> bool {
    is_up(container) && container.started_at == run.started_at
}

fn is_up(container: &Container) -> bool {
    let hindrance = hindrance(container, Duration::ZERO, Duration::ZERO);
    container.state == State::Running && hindrance.is_none()
}

impl Apply<'_> {
    /// Waits again for services that were ready and are not any more: their containers ended or began
    /// another run, as others took longer or within [`OUTLASTED`]. If nothing was
    /// started and all were ready within a second of `began`, the check is skipped.
    pub(super) async fn still_up(
        &self,
        outcomes: Vec<Result<ServiceReport, Trouble>>,
        began: Instant,
    ) -> Vec<Result<ServiceReport, Trouble>> {
        let kept = |report: &ServiceReport| report.outcome == Outcome::Kept;
        if began.elapsed() < SETTLED && outcomes.iter().flatten().all(kept) {
            return outcomes;
        }
        let runs = self.board.runs();
        let last = runs.iter().filter_map(|run| run.fresh_since).max();
        if let Some(last) = last {
            tokio::time::sleep_until((last + OUTLASTED).into()).await;
        }
        let containers = match self.engine.containers(&self.pipeline.project).await {
            Ok(containers) => containers,
            Err(e) => {
                let failed = |outcome: Result<_, _>| outcome.and_then(|_| Err(e.clone().into()));
                return outcomes.into_iter().map(failed).collect();
            }
        };
        let outcomes = self.services.iter().zip(outcomes);
        let rechecked = outcomes.map(|(service, outcome)| async {
            match outcome {
                Ok(report) => self.recheck(service, report, &runs, &containers).await,
                Err(trouble) => Err(trouble),
            }
        });
        join_all(rechecked).await
    }

    async fn recheck(
        &self,
        service: &Service,
        report: ServiceReport,
        runs: &[Run],
        containers: &[Container],
    ) -> Result<ServiceReport, Trouble> {
        let down = |run: &&Run| {
            let container = containers.iter().find(|c| c.id == run.container);
            run.service == service.name && !container.is_some_and(|c| goes_on(run, c))
        };
        let down: Vec<_> = runs.iter().filter(down).collect();
        if down.is_empty() {
            return Ok(report);
        }
        self.board.set(&service.name, Stage::Started);
        let ready = down
            .iter()
            .map(|run| Box::pin(self.ready(service, &run.container, run.fresh_since.is_some())));
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
    fn another_run_of_a_container_does_not_go_on() {
        let container = started(60);
        let run = Run::ready(&container, true);
        assert!(goes_on(&run, &container));
        assert!(!goes_on(&run, &started(2)));
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
