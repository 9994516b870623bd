//! The action for each replica of a service, and its cause: a pure function of the declaration and the
//! existing containers.

use crate::{containers::REPLACED, images::Image, settings, spec::Spec};
use declaration::{Pipeline, Service};
use platform::{Action, Container, Settings, State};

/// The planned action for one replica of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub replica: u32,
    /// Id of the existing container; None: there is none.
    pub container: Option<String>,
    pub action: Action,
}

impl Step {
    /// Recreates an existing container even if nothing changed.
    pub(super) fn force_recreate(&mut self) {
        match self.action {
            Action::Create | Action::Recreate { .. } | Action::Remove => {}
            Action::Keep | Action::Start { .. } | Action::Unpause | Action::Restart { .. } => {
                let causes = vec!["--force-recreate".to_owned()];
                self.action = Action::Recreate { causes };
            }
        }
    }
}

/// What a replica is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// The container's name.
    pub name: String,
    /// [`crate::labels::HASH`] of a container as declared.
    pub hash: String,
    pub image_id: String,
    pub settings: Settings,
}

impl Wanted {
    pub(super) fn of(spec: &Spec, image: &Image) -> Self {
        Self {
            name: spec.name.clone(),
            hash: spec.hash.clone(),
            image_id: image.id.clone(),
            settings: settings::wanted(&spec.body, &image.config),
        }
    }
}

/// The steps of one service. `wanted` has an entry for each replica, from 1; `observed` may hold
/// other services' containers.
pub(crate) fn steps(
    pipeline: &Pipeline,
    service: &Service,
    wanted: &[Wanted],
    observed: &[Container],
) -> Vec<Step> {
    let one_shot = service.is_one_shot(pipeline);
    let ours = || observed.iter().filter(|c| c.service == service.name);
    // Of several, the one with the right name: a command that was killed had created it, and not yet removed the
    // one that it replaces.
    let kept = |replica: u32, wanted: &Wanted| {
        let mut same = ours().filter(|c| c.replica == replica);
        let named = same.clone().find(|c| c.name == wanted.name);
        named.or_else(|| same.next())
    };
    let mut steps: Vec<_> = (1..)
        .zip(wanted)
        .map(|(replica, wanted)| {
            let container = kept(replica, wanted);
            Step {
                replica,
                container: container.map(|c| c.id.clone()),
                action: container.map_or(Action::Create, |c| {
                    action(one_shot, wanted, c, &pipeline.secrets)
                }),
            }
        })
        .collect();
    let most = u32::try_from(wanted.len()).unwrap_or(u32::MAX);
    let kept: Vec<_> = steps.iter().filter_map(|s| s.container.clone()).collect();
    let surplus = ours().filter(|c| c.replica > most || !kept.contains(&c.id));
    steps.extend(surplus.map(|c| Step {
        replica: c.replica,
        container: Some(c.id.clone()),
        action: Action::Remove,
    }));
    steps
}

fn action(one_shot: bool, wanted: &Wanted, container: &Container, secrets: &[String]) -> Action {
    let cause = |text: &str| text.to_owned();
    let causes = drift(wanted, container, secrets);
    if !causes.is_empty() {
        return Action::Recreate { causes };
    }
    match container.state {
        State::Running | State::Restarting => Action::Keep,
        State::Paused => Action::Unpause,
        State::Created => Action::Start {
            cause: cause("it was never started"),
        },
        State::Exited if one_shot && container.exit_code == Some(0) => Action::Keep,
        State::Exited => Action::Start {
            cause: ended(container),
        },
        State::Dead | State::Removing | State::Unknown => Action::Recreate {
            causes: vec![format!("its container is {}", container.state.name())],
        },
    }
}

/// The differences between a container and the declaration. The hash decides whether the declaration changed;
/// the settings that `inspect` shows decide what changed on the container since, for example by `docker update`.
/// Containers of other tools, such as `docker compose`, are compared by their settings alone.
pub(super) fn drift(wanted: &Wanted, container: &Container, secrets: &[String]) -> Vec<String> {
    let mut causes = Vec::new();
    if container.name.contains(REPLACED) {
        causes.push("a command ended while it replaced it".to_owned());
    }
    if container.image_id != wanted.image_id {
        causes.push("its image changed".to_owned());
    }
    let hash = container.labels.get(crate::labels::HASH);
    if hash != Some(&wanted.hash) {
        let differences = settings::differences(&wanted.settings, &container.settings);
        if differences.is_empty() && hash.is_some() {
            causes.push("its declaration changed".to_owned());
        }
        causes.extend(differences.iter().map(|d| d.describe(secrets)));
    } else {
        let (name, seen) = (&container.name, &container.settings);
        causes.extend(settings::changes(&wanted.settings, seen, name, secrets));
    }
    causes
}

/// Why an unchanged container has to be restarted: a dependency with `restart: true` was recreated or
/// restarted. None: there is no such dependency.
pub(super) fn dependency_restart(
    service: &Service,
    is_renewed: impl Fn(&str) -> bool,
) -> Option<String> {
    let mut followed = service.depends_on.iter().filter(|on| on.restart);
    let renewed = followed.find(|on| is_renewed(&on.service))?;
    Some(format!("{} changed", renewed.service))
}

fn ended(container: &Container) -> String {
    match container.exit_code {
        Some(code) => format!("it had ended with exit code {code}"),
        None => "it had ended".to_owned(),
    }
}

/// The project's containers that belong to no declared service, active or inactive.
pub(crate) fn orphans<'a>(pipeline: &Pipeline, observed: &'a [Container]) -> Vec<&'a Container> {
    let declared = || pipeline.services.iter().chain(&pipeline.inactive);
    let orphan = |c: &&Container| !declared().any(|service| service.name == c.service);
    observed.iter().filter(orphan).collect()
}

#[cfg(test)]
mod tests;
