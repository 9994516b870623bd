//! What is to be done about each replica of a service, and why: a pure function of what is
//! declared and what is there.

use crate::{images::Image, settings, spec::Spec};
use declaration::{Pipeline, Service};
use platform::{Action, Container, Settings, State};

/// One replica of a service and what is to be done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub replica: u32,
    /// Id of the container that is there.
    pub container: Option<String>,
    pub action: Action,
}

/// What a replica is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// [`platform::labels::HASH`] of a container as declared.
    pub hash: String,
    pub image_id: String,
    pub settings: Settings,
}

impl Wanted {
    pub(super) fn of(spec: &Spec, image: &Image) -> Self {
        Self {
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
    let mut steps: Vec<_> = (1..)
        .zip(wanted)
        .map(|(replica, wanted)| {
            let container = ours().find(|c| c.replica == replica);
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
    steps.extend(ours().filter(|c| c.replica > most).map(|c| Step {
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

/// In what a container is not as wanted. The hash decides for what Caravan made; what somebody else
/// made, `docker compose` for instance, is compared by what it is set to. Networks are compared in
/// any case: a container may have left them.
pub(super) fn drift(wanted: &Wanted, container: &Container, secrets: &[String]) -> Vec<String> {
    let mut causes = Vec::new();
    if container.image_id != wanted.image_id {
        causes.push("its image changed".to_owned());
    }
    let hash = container.labels.get(platform::labels::HASH);
    if hash != Some(&wanted.hash) {
        let differences = settings::differences(&wanted.settings, &container.settings);
        if differences.is_empty() && hash.is_some() {
            causes.push("its declaration changed".to_owned());
        }
        causes.extend(differences.iter().map(|d| d.describe(secrets)));
    } else {
        // What somebody did to it since it was made.
        let (name, seen) = (&container.name, &container.settings);
        causes.extend(settings::lost_networks(&wanted.settings, seen, name));
    }
    causes
}

/// The cause for which what runs as declared starts anew: a dependency that it follows
/// (`restart: true`) is not what it was.
pub(super) fn follows(service: &Service, is_renewed: impl Fn(&str) -> bool) -> Option<String> {
    let mut followed = service.depends_on.iter().filter(|on| on.restart);
    let renewed = followed.find(|on| is_renewed(&on.service))?;
    Some(format!("{} is another", renewed.service))
}

fn ended(container: &Container) -> String {
    match container.exit_code {
        Some(code) => format!("it had ended with exit code {code}"),
        None => "it had ended".to_owned(),
    }
}

/// The project's containers that no declared service owns, be it inactive.
pub(crate) fn orphans<'a>(pipeline: &Pipeline, observed: &'a [Container]) -> Vec<&'a Container> {
    let declared = || pipeline.services.iter().chain(&pipeline.inactive);
    let orphan = |c: &&Container| !declared().any(|service| service.name == c.service);
    observed.iter().filter(orphan).collect()
}

#[cfg(test)]
mod tests;
