//! Errors of services that would not come up: what is known of the container, its own last words,
//! and the next command.

use super::{connect::Engine, observed::Container, ports, wait::NotReady};
use crate::{
    error::{Error, Kind},
    invocation::Invocation,
    pipeline::Service,
};

/// How many of its last lines are shown.
const LAST_LINES: usize = 10;

impl Engine {
    /// Why a service is not going to be ready.
    pub(super) async fn explain(
        &self,
        service: &Service,
        why: NotReady,
        invocation: &Invocation,
    ) -> Error {
        let name = &service.name;
        let (what, container) = match why {
            NotReady::Docker(e) => return e,
            NotReady::Gone => {
                return Error::new(Kind::NotRight, format!("{name}: its container was removed"))
                    .hint(invocation.command(&format!("up {name}")));
            }
            NotReady::Looping(c) => (format!("{name} starts over and over"), c),
            NotReady::Ended(c) => match c.exit_code {
                Some(code) => (format!("{name} ended with exit code {code}"), c),
                None => (format!("{name} ended"), c),
            },
        };
        let error = Error::new(Kind::NotRight, what);
        self.evidence(error, &container)
            .await
            .hint(invocation.command(&format!("logs {name}")))
    }

    /// Why Docker would not start a service's container.
    pub(super) async fn explain_start(
        &self,
        service: &Service,
        error: Error,
        invocation: &Invocation,
    ) -> Error {
        let name = &service.name;
        let reason = error.evidence.join(": ");
        if !ports::is_occupied(&reason) {
            return error.hint(invocation.command(&format!("up {name}")));
        }
        let Some(holder) = self.port_holder(service, &reason).await else {
            return error;
        };
        let what = format!("{name} cannot have port {}: it is taken", holder.port);
        let error = Error::new(Kind::NotRight, what)
            .because(format!("{} holds it", holder.who))
            .because(reason)
            .because(format!("stop that, or publish {name} on another port"));
        match holder.free {
            Some(command) => error.hint(command),
            None => error.hint(invocation.command(&format!("up {name}"))),
        }
    }

    /// Adds what is known of a container, and its last words.
    pub(super) async fn evidence(&self, error: Error, container: &Container) -> Error {
        let error = facts(container).into_iter().fold(error, Error::because);
        let lines = self.last_lines(container, LAST_LINES).await;
        if lines.is_empty() {
            return error.because("it wrote nothing");
        }
        let lines = lines.into_iter().map(|line| format!("| {line}"));
        lines.fold(error.because("its last lines:"), Error::because)
    }
}

/// State, exit code, out-of-memory flag, restarts, Docker's own error, the last health probe.
fn facts(container: &Container) -> Vec<String> {
    let mut state = format!("{}: {}", container.name, container.state.name());
    if let Some(code) = container.exit_code {
        state.push_str(&format!(", exit code {code}"));
    }
    if container.oom_killed {
        state.push_str(", killed for want of memory");
    }
    if container.restart_count > 0 {
        state.push_str(&format!(", restarted {} times", container.restart_count));
    }
    let mut facts = vec![state];
    facts.extend(container.error.clone());
    if let Some(health) = &container.health {
        let mut text = format!("health: {}", health.status);
        if let Some(output) = health.outputs.last() {
            text.push_str(&format!(", last probe: {output}"));
        }
        facts.push(text);
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{observed::Health, testing::container};

    #[test]
    fn the_facts_tell_how_a_container_ended() {
        let mut container = container("db", 1);
        container.state = crate::engine::observed::State::Exited;
        container.exit_code = Some(137);
        container.oom_killed = true;
        container.restart_count = 2;
        container.health = Some(Health {
            status: "unhealthy".to_owned(),
            failing_streak: 3,
            outputs: vec!["refused".to_owned()],
        });
        assert_eq!(
            facts(&container),
            [
                "shop-db: exited, exit code 137, killed for want of memory, restarted 2 times",
                "health: unhealthy, last probe: refused",
            ]
        );
    }
}
