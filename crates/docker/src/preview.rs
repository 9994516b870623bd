//! What `up` would do, without doing it.

use std::collections::BTreeSet;

use futures_util::future::try_join_all;
use tokio::sync::mpsc;

use crate::{apply::Apply, connect::Engine, plan, port_availability::PortAvailability, spec};
use declaration::{Pipeline, Port, Service};
use diagnostics::{Invocation, Result};
use platform::{Action, Container, Goal, MissingImage, Planned, PortConflict, Preview, State};

impl Engine {
    /// What [`Self::up`] would do for a goal. Only reads.
    ///
    /// # Errors
    /// Docker does not answer.
    pub(crate) async fn preview(
        &self,
        goal: &Goal<'_>,
        invocation: &Invocation,
    ) -> Result<Preview> {
        let pipeline = goal.pipeline;
        let observed = self.containers(&pipeline.project).await?;
        let (events, _nobody) = mpsc::unbounded_channel();
        let services = goal.services();
        let mut apply = Apply::new(self, pipeline, invocation, &events, &observed, services);
        apply.aim_at(goal);
        let services = apply.services.iter().map(|service| apply.preview(service));
        let mut preview = Preview {
            images: Vec::new(),
            steps: Vec::new(),
            port_conflicts: Vec::new(),
        };
        for (image, steps) in try_join_all(services).await? {
            preview.images.extend(image);
            preview.steps.extend(steps);
        }
        restart_with_dependencies(&apply.services, &mut preview.steps);
        preview.port_conflicts = self
            .taken_ports(&apply.services, pipeline, &preview.steps)
            .await?;
        preview.images.sort();
        preview.images.dedup();
        if goal.remove_orphans {
            let gone = |c: &Container| Planned {
                service: c.service.clone(),
                container: c.name.clone(),
                action: Action::Remove,
            };
            let orphans = plan::orphans(pipeline, &observed).into_iter();
            preview.steps.extend(orphans.map(gone));
        }
        Ok(preview)
    }
}

impl Engine {
    /// The host ports of services to be started that other containers or processes occupy.
    async fn taken_ports(
        &self,
        services: &[&Service],
        pipeline: &Pipeline,
        steps: &[Planned],
    ) -> Result<Vec<PortConflict>> {
        let starts = |service: &&&Service| {
            let mut steps = steps.iter().filter(|step| step.service == service.name);
            steps.any(|step| {
                matches!(
                    step.action,
                    Action::Create | Action::Recreate { .. } | Action::Start { .. }
                )
            })
        };
        let mut ports: Vec<(&Service, &Port)> = Vec::new();
        for service in services.iter().filter(starts) {
            ports.extend(service.ports.iter().map(|port| (*service, port)));
        }
        let wanted: Vec<_> = ports.iter().map(|(_, port)| *port).collect();
        let availability = self.port_availability(&pipeline.project, &wanted).await?;
        let taken =
            ports
                .into_iter()
                .zip(availability)
                .filter_map(|((service, port), availability)| {
                    let holder = match availability {
                        PortAvailability::Free | PortAvailability::Own(_) => return None,
                        PortAvailability::Taken(holder) => holder.who,
                        PortAvailability::Unusable(why) => format!("nobody: {why}"),
                    };
                    Some(PortConflict {
                        service: service.name.clone(),
                        port: port.host_port?,
                        holder,
                    })
                });
        Ok(taken.collect())
    }
}

/// Plans a restart for kept containers whose dependency with `restart: true` is not kept, transitively.
fn restart_with_dependencies(services: &[&Service], steps: &mut [Planned]) {
    loop {
        let renewed: BTreeSet<String> = steps
            .iter()
            .filter(|step| !matches!(step.action, Action::Keep | Action::Remove))
            .map(|step| step.service.clone())
            .collect();
        let mut changed = false;
        for step in steps.iter_mut().filter(|step| step.action == Action::Keep) {
            let service = services.iter().find(|service| service.name == step.service);
            let cause =
                service.and_then(|s| plan::dependency_restart(s, |on| renewed.contains(on)));
            if let Some(cause) = cause {
                step.action = Action::Restart { cause };
                changed = true;
            }
        }
        if !changed {
            return;
        }
    }
}

impl Apply<'_> {
    /// The service's image if it is missing, and the planned action for each replica.
    async fn preview(&self, service: &Service) -> Result<(Option<MissingImage>, Vec<Planned>)> {
        let Some(image) = self.images.present(service).await? else {
            let missing = MissingImage {
                reference: service.image.clone(),
                declared: service.build.is_some(),
            };
            return Ok((Some(missing), self.without_image(service)));
        };
        let (replicas, surplus) = self.plan(service, &image);
        let steps = replicas.into_iter().map(|r| r.step).chain(surplus);
        let mut planned: Vec<_> = steps.map(|step| self.planned(service, step)).collect();
        let ended = |name: &str| {
            let container = self.observed.iter().find(|c| c.name == name);
            container.is_some_and(|c| c.state == State::Exited)
        };
        for step in &mut planned {
            if step.action == Action::Keep
                && ended(&step.container)
                && let Some(cause) = self.missing_effect(service).await
            {
                step.action = Action::Start { cause };
            }
        }
        Ok((None, planned))
    }

    /// The plan while the image is missing: existing containers have another image and are recreated.
    fn without_image(&self, service: &Service) -> Vec<Planned> {
        let step = |replica| {
            let own = |c: &&Container| c.service == service.name && c.replica == replica;
            let container = self.observed.iter().find(own).map(|c| c.id.clone());
            let action = match &container {
                Some(_) => Action::Recreate {
                    causes: vec!["its image changed".to_owned()],
                },
                None => Action::Create,
            };
            self.planned(
                service,
                plan::Step {
                    replica,
                    container,
                    action,
                },
            )
        };
        (1..=self.replicas(service)).map(step).collect()
    }

    fn planned(&self, service: &Service, step: plan::Step) -> Planned {
        let own = |c: &&Container| step.container.as_ref() == Some(&c.id);
        let existing = self.observed.iter().find(own).map(|c| c.name.clone());
        let derived = || spec::container_name(self.pipeline, service, step.replica);
        Planned {
            service: service.name.clone(),
            container: existing.unwrap_or_else(derived),
            action: step.action,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use platform::testing::depending;

    #[test]
    fn restarts_propagate_to_dependants() {
        let (mut api, mut web) = (depending("api", &["db"]), depending("web", &["api"]));
        api.depends_on[0].restart = true;
        web.depends_on[0].restart = true;
        let (db, other) = (depending("db", &[]), depending("other", &["db"]));
        let step = |name: &str, action: &Action| Planned {
            service: name.to_owned(),
            container: name.to_owned(),
            action: action.clone(),
        };
        let names = ["web", "api", "other"];
        let mut steps: Vec<_> = names.iter().map(|name| step(name, &Action::Keep)).collect();
        let services = [&web, &api, &other, &db];
        restart_with_dependencies(&services, &mut steps);
        assert!(steps.iter().all(|step| step.action == Action::Keep));
        steps.push(step("db", &Action::Create));
        restart_with_dependencies(&services, &mut steps);
        let restart = |cause: &str| Action::Restart {
            cause: cause.to_owned(),
        };
        let actions: Vec<_> = steps.into_iter().map(|step| step.action).collect();
        assert_eq!(
            actions,
            [
                restart("api changed"),
                restart("db changed"),
                Action::Keep,
                Action::Create
            ]
        );
    }
}
