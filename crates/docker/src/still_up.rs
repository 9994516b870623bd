//! A second check of all services once the last one is ready.

use std::time::Instant;

use futures_util::future::{join_all, try_join_all};

use crate::{
    apply::{Apply, Trouble},
    board::Stage,
    hindrance::{SETTLED, is_up},
};
use declaration::Service;
use platform::{Container, Outcome, ServiceReport};

impl Apply<'_> {
    /// Waits again for services that were ready and are not any more, as others took longer. If nothing was
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
                Ok(report) => self.recheck(service, report, &containers).await,
                Err(trouble) => Err(trouble),
            }
        });
        join_all(rechecked).await
    }

    async fn recheck(
        &self,
        service: &Service,
        report: ServiceReport,
        containers: &[Container],
    ) -> Result<ServiceReport, Trouble> {
        let down = |c: &&Container| c.service == service.name && !is_up(c);
        let down: Vec<_> = containers.iter().filter(down).collect();
        if down.is_empty() || service.is_one_shot(self.pipeline) {
            return Ok(report);
        }
        self.board.set(&service.name, Stage::Started);
        let ready = down
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
