//! `restart`: stops dependants before dependencies, and starts dependencies before dependants.

use std::time::{Duration, Instant};

use futures_util::future::{join_all, try_join_all};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::{
    apply::{Apply, Trouble, addresses},
    board::{FailedDependency, Stage},
    connect::Engine,
    stopping::Stopping,
};
use declaration::{Pipeline, Service};
use diagnostics::{Error, Invocation, Kind, Result};
use platform::{
    Action, Container, Event, Events, Outcome, Planned, ServiceReport, State, UpReport,
};

impl Engine {
    /// Restarts the existing containers of the named services (of all, if `names` is empty), and waits until
    /// they are ready. Completed one-shots run again only if named.
    ///
    /// # Errors
    /// A service is not deployed, or does not become ready; see [`Engine::up`] for the rest.
    pub(crate) async fn restart(
        &self,
        pipeline: &Pipeline,
        services: &[String],
        invocation: &Invocation,
        deadline: Duration,
        events: &Events,
        cancel: CancellationToken,
    ) -> Result<UpReport> {
        let began = Instant::now();
        let observed = self.containers(&pipeline.project).await?;
        let chosen = choose(pipeline, services);
        expect_deployed(&chosen, &observed, invocation)?;
        let apply = Apply::new(self, pipeline, invocation, events, &observed, chosen);
        // Containers that this command stops.
        let stopped = Mutex::default();
        let all = async {
            if let Err(e) = apply.stop_all(&stopped).await {
                return vec![Err(Trouble::Failed(e))];
            }
            let services = apply.services.iter();
            let outcomes = join_all(services.map(|s| Box::pin(apply.start_again(s)))).await;
            apply.still_up(outcomes, began).await
        };
        let finished = apply.finish(Box::pin(all), deadline, &cancel).await;
        let services = match finished {
            Err(error) if error.kind == Kind::Interrupted => {
                let stopped = stopped.into_inner();
                return Err(apply.start_what_was_stopped(&stopped, error).await);
            }
            finished => finished?,
        };
        Ok(UpReport {
            services,
            took: began.elapsed(),
        })
    }
}

impl Engine {
    /// The steps of [`Self::restart`].
    ///
    /// # Errors
    /// A service is not deployed.
    pub(crate) async fn preview_restart(
        &self,
        pipeline: &Pipeline,
        services: &[String],
        invocation: &Invocation,
    ) -> Result<Vec<Planned>> {
        let observed = self.containers(&pipeline.project).await?;
        let chosen = choose(pipeline, services);
        expect_deployed(&chosen, &observed, invocation)?;
        let own = |service: &Service| {
            let name = service.name.clone();
            let own = observed.iter().filter(move |c| c.service == name);
            own.collect::<Vec<_>>()
        };
        let step = |c: &Container| Planned {
            service: c.service.clone(),
            container: c.name.clone(),
            action: Action::Restart {
                cause: format!("it is {}", c.state.name()),
            },
        };
        let containers = chosen.into_iter().flat_map(own);
        Ok(containers.map(step).collect())
    }
}

fn expect_deployed(
    services: &[&Service],
    observed: &[Container],
    invocation: &Invocation,
) -> Result<()> {
    let is_missing = |s: &&&Service| !observed.iter().any(|c| c.service == s.name);
    match services.iter().find(is_missing) {
        None => Ok(()),
        Some(missing) => {
            let name = &missing.name;
            let error = Error::new(Kind::NotRight, format!("{name} is not deployed"));
            Err(error.hint(invocation.command(&format!("up {name}"))))
        }
    }
}

/// The named services and their dependants with `restart: true`; without names, all services but one-shots.
fn choose<'a>(pipeline: &'a Pipeline, names: &[String]) -> Vec<&'a Service> {
    let mut names = names.to_vec();
    let mut next = 0;
    while let Some(name) = names.get(next).cloned() {
        let follows = |s: &&Service| {
            s.depends_on
                .iter()
                .any(|on| on.restart && on.service == name)
        };
        for service in pipeline.services.iter().filter(follows) {
            if !names.contains(&service.name) {
                names.push(service.name.clone());
            }
        }
        next += 1;
    }
    let chosen = |s: &&Service| match names.is_empty() {
        true => !s.is_one_shot(pipeline),
        false => names.contains(&s.name),
    };
    pipeline.services.iter().filter(chosen).collect()
}

impl Apply<'_> {
    /// After an interruption: starts the containers that this command stopped, or is stopping, and has not started
    /// again, without waiting until they are ready. `ids`: those whose stop was requested.
    async fn start_what_was_stopped(&self, ids: &[String], mut error: Error) -> Error {
        let stopped = self.observed.iter().filter(|c| ids.contains(&c.id));
        let start = stopped.map(|c| async move {
            let now = self.engine.inspect(&c.id).await?;
            if now.is_none_or(|now| now.started_at != c.started_at) {
                return Ok(None);
            }
            // Waits for the stop that was requested.
            self.engine.stop(&c.id, &c.name).await?;
            self.engine.start(&c.id, &c.name).await?;
            Ok::<_, Error>(Some(c.name.clone()))
        });
        for started in join_all(start).await {
            error = match started {
                Ok(Some(name)) => error.because(format!("{name} was stopped: started again")),
                Ok(None) => error,
                Err(e) => error.because(e),
            };
        }
        error
    }

    async fn stop_all(&self, stopped: &Mutex<Vec<String>>) -> Result<()> {
        let chosen = |c: &&Container| self.services.iter().any(|s| s.name == c.service);
        let containers: Vec<_> = self.observed.iter().filter(chosen).collect();
        let order = Stopping::new(&containers);
        let stop = containers.iter().map(|c| async {
            order.turn(&c.service).await;
            if c.state == State::Exited {
                order.stopped(&c.service);
            } else {
                let (part, what) = (c.service.clone(), "stopping".to_owned());
                self.send(Event::Doing { part, what });
                stopped.lock().await.push(c.id.clone());
                let stop = self.engine.stop(&c.id, &c.name);
                order.stop(c, stop).await?;
            }
            Ok(())
        });
        let stopped = self.engine.stopping(&order, try_join_all(stop));
        stopped.await.map(drop)
    }

    async fn start_again(&self, service: &Service) -> Result<ServiceReport, Trouble> {
        let started = Box::pin(self.start_replicas(service)).await;
        self.conclude(service, started).await
    }

    async fn start_replicas(&self, service: &Service) -> Result<ServiceReport, Trouble> {
        let ready = self.board.dependencies(service).await;
        ready.map_err(|FailedDependency(by)| Trouble::Blocked { by })?;
        let began = Instant::now();
        let replicas: Vec<_> = self
            .observed
            .iter()
            .filter(|c| c.service == service.name)
            .collect();
        let started = replicas.iter().map(|c| async {
            self.start(service, &c.id, &c.name).await?;
            self.board.set(&service.name, Stage::Started);
            if service.is_one_shot(self.pipeline) {
                let outcome = self
                    .complete(service, &c.id, &c.name, Outcome::Restarted)
                    .await?;
                return Ok::<_, Error>(outcome);
            }
            Box::pin(self.ready(service, &c.id, true)).await?;
            Ok(Outcome::Restarted)
        });
        let outcomes = try_join_all(started).await?;
        Ok(ServiceReport {
            name: service.name.clone(),
            outcome: outcomes.first().copied().unwrap_or(Outcome::Restarted),
            took: began.elapsed(),
            addresses: addresses(service),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use platform::testing::{depending, pipeline};

    #[test]
    fn a_dependant_with_restart_true_is_restarted_with_its_dependency() {
        let (mut api, mut web) = (depending("api", &["db"]), depending("web", &["api"]));
        api.depends_on[0].restart = true;
        web.depends_on[0].restart = true;
        let other = depending("other", &["db"]);
        let pipeline = pipeline(vec![depending("db", &[]), api, web, other]);
        let chosen = choose(&pipeline, &["db".to_owned()]);
        let names: Vec<_> = chosen.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["db", "api", "web"]);
    }
}
