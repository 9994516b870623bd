//! A second check of all services once the last one is ready.

use std::time::{Duration, Instant};

use futures_util::future::{join_all, try_join_all};

use crate::{
    apply::{Apply, Trouble},
    board::{Run, Stage},
    hindrance::{SETTLED, is_up},
};
use declaration::Service;
use platform::{Container, Outcome, ServiceReport};

/// How long after it was ready a container that this command started has to go on: a process that fails
/// right after its startup line ends within this time.
const OUTLASTED: Duration = Duration::from_millis(300);

/// Whether a container is still in the run that was ready.
fn goes_on(run: &Run, container: &Container) -> bool {
    is_up(container) && container.started_at == run.started_at
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
    use chrono::{TimeDelta, Utc};

    use super::*;
    use platform::testing::container;

    #[test]
    fn another_run_of_a_container_does_not_go_on() {
        let started = |ago| {
            let mut container = container("db", 1);
            container.started_at = Some(Utc::now() - TimeDelta::seconds(ago));
            container
        };
        let container = started(60);
        let run = Run::ready(&container, true);
        assert!(goes_on(&run, &container));
        assert!(!goes_on(&run, &started(2)));
    }
}
