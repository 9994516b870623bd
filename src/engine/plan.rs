//! What is to be done about each replica of a service, and why: a pure function of what is
//! declared and what is there.

use super::observed::{Container, State};
use crate::pipeline::{Pipeline, Service};

/// What is to be done about one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// It is as declared, and runs (or, a one-shot, has run).
    Keep,
    Create,
    /// It drifted from the declaration, or can never run again.
    Recreate {
        cause: String,
    },
    Start {
        cause: String,
    },
    Unpause,
    /// It is one replica too many.
    Remove,
}

/// One replica of a service and what is to be done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) replica: u32,
    /// Id of the container that is there.
    pub(crate) container: Option<String>,
    pub(crate) action: Action,
}

/// What a replica is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// [`super::labels::HASH`] of a container as declared.
    pub(crate) hash: String,
    pub(crate) image_id: String,
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
                action: container.map_or(Action::Create, |c| action(one_shot, wanted, c)),
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

fn action(one_shot: bool, wanted: &Wanted, container: &Container) -> Action {
    let cause = |text: &str| text.to_owned();
    if container.labels.get(super::labels::HASH) != Some(&wanted.hash) {
        return Action::Recreate {
            cause: cause("its declaration changed"),
        };
    }
    if container.image_id != wanted.image_id {
        return Action::Recreate {
            cause: cause("its image changed"),
        };
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
            cause: format!("its container is {}", container.state.name()),
        },
    }
}

fn ended(container: &Container) -> String {
    match container.exit_code {
        Some(code) => format!("it had ended with exit code {code}"),
        None => "it had ended".to_owned(),
    }
}

/// Names of the project's containers that no declared service owns, be it inactive.
pub(crate) fn orphans<'a>(pipeline: &Pipeline, observed: &'a [Container]) -> Vec<&'a str> {
    let declared = || pipeline.services.iter().chain(&pipeline.inactive);
    let orphan = |c: &&Container| !declared().any(|service| service.name == c.service);
    observed
        .iter()
        .filter(orphan)
        .map(|c| c.name.as_str())
        .collect()
}

#[cfg(test)]
mod tests;
