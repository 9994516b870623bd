//! `up`: all services concurrently, each as soon as its dependencies allow; and the errors after a failure, a
//! timeout or Ctrl-C. `scale` does the same for some services.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use crate::{
    apply::{Apply, Trouble},
    board::Stage,
    connect::Engine,
    outcome, plan,
};
use declaration::Service;
use diagnostics::{Error, Invocation, Kind, Result};
use platform::{Event, Events, Goal, ServiceReport, UpReport};

impl Engine {
    /// Applies a goal and waits until its services are ready. Containers that are as declared are not changed.
    ///
    /// # Errors
    /// A service does not become ready (services that do not depend on it do), the deadline passes, or `up`
    /// is cancelled. Containers stay as they are, failed ones included.
    pub(crate) async fn up(
        &self,
        goal: &Goal<'_>,
        invocation: &Invocation,
        deadline: Duration,
        events: &Events,
        cancel: CancellationToken,
    ) -> Result<UpReport> {
        let began = Instant::now();
        let pipeline = goal.pipeline;
        let observed = self.containers(&pipeline.project).await?;
        let services = goal.services();
        let mut apply = Apply::new(self, pipeline, invocation, events, &observed, services);
        apply.aim_at(goal);
        let orphans = plan::orphans(pipeline, &observed);
        if goal.remove_orphans {
            self.take_all_down(&orphans, false, events).await?;
        } else {
            for orphan in orphans {
                let name = &orphan.name;
                let note =
                    format!("{name} belongs to this project, but is not declared: left as it is");
                apply.send(Event::Note(note));
            }
        }
        let all = async {
            let services = apply.services.iter().map(|s| apply.service(s));
            let outcomes = join_all(services).await;
            apply.still_up(outcomes, began).await
        };
        let services = apply.finish(Box::pin(all), deadline, &cancel).await?;
        Ok(UpReport {
            services,
            took: began.elapsed(),
        })
    }
}

impl Apply<'_> {
    /// Waits for all services, up to the deadline or until cancelled.
    ///
    /// # Errors
    /// See [`Engine::up`].
    pub(super) async fn finish(
        &self,
        all: impl Future<Output = Vec<Result<ServiceReport, Trouble>>>,
        deadline: Duration,
        cancel: &CancellationToken,
    ) -> Result<Vec<ServiceReport>> {
        let outcomes = tokio::select! {
            biased;
            () = cancel.cancelled() => {
                return Err(self.left_as_it_was(Error::new(Kind::Interrupted, "interrupted")));
            }
            outcomes = all => outcomes,
            () = tokio::time::sleep(deadline) => return Err(self.too_late(deadline).await),
        };
        outcome::sum_up(&self.services, outcomes)
    }

    /// The error after the deadline: the services that are not ready, and their last log lines.
    async fn too_late(&self, deadline: Duration) -> Error {
        let unready = self.in_stage(|stage| matches!(stage, Stage::Started | Stage::Waiting));
        // Running services that are not ready block the others.
        let culprits = self.in_stage(|stage| stage == Stage::Started);
        let late = if culprits.is_empty() {
            &unready
        } else {
            &culprits
        };
        let names: Vec<_> = late.iter().map(|s| s.name.as_str()).collect();
        let within = declaration::units::exact(deadline);
        let what = format!("not ready within {within}: {}", names.join(", "));
        let mut error = self.left_as_it_was(Error::new(Kind::Deadline, what));
        let containers = self.engine.containers(&self.pipeline.project).await;
        for container in containers.unwrap_or_default() {
            if culprits.iter().any(|s| s.name == container.service) {
                error = self.engine.evidence(error, &container).await;
            }
        }
        match culprits.first() {
            Some(culprit) => error.hint(self.invocation.command(&format!("logs {}", culprit.name))),
            None => error,
        }
    }

    /// Adds the current activity of each service that is not ready; the next `up` continues.
    fn left_as_it_was(&self, error: Error) -> Error {
        let unready = self.in_stage(|stage| stage != Stage::Ready);
        let ready = self.services.len() - unready.len();
        let error = error.because(format!(
            "{ready} of {} services are ready; containers stay as they are",
            self.services.len()
        ));
        let about = |name: &str| format!("{name}: {}", self.board.activity(name));
        let about = unready.iter().map(|s| about(&s.name));
        about
            .fold(error, Error::because)
            .hint(self.invocation.command("up"))
    }

    fn in_stage(&self, is: impl Fn(Stage) -> bool) -> Vec<&Service> {
        let chosen = |s: &&&Service| self.board.stage(&s.name).is_some_and(&is);
        self.services.iter().filter(chosen).copied().collect()
    }
}
