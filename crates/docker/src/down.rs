//! `down`: stops containers before their dependencies, then removes them and the project's networks, and with
//! `--volumes` its volumes. Only objects with the project's label are touched.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use bollard::{
    models::NetworkInspect,
    query_parameters::{InspectNetworkOptions, RemoveVolumeOptions},
};
use futures_util::future::try_join_all;

use crate::{
    connect::{Engine, status},
    labels,
    stopping::Stopping,
};
use diagnostics::{Error, Kind, Result};
use platform::{Action, Container, Event, Events, Outcome, Planned, State};

/// How often a project is listed. The engine still executes the last request of a command that was killed, so
/// that a container may appear after the first list.
const ROUNDS: usize = 4;
/// Docker answers that a container is removed before it has released its network, which may take so long.
const RELEASE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);

impl Engine {
    /// Stops and removes a project, in the order given by its containers' labels, without a declaration.
    ///
    /// # Errors
    /// Docker refuses. What was removed before stays removed.
    pub(crate) async fn down(&self, project: &str, volumes: bool, events: &Events) -> Result<()> {
        for _ in 0..ROUNDS {
            let containers = self.containers(project).await?;
            let containers: Vec<_> = containers.iter().collect();
            self.take_all_down(&containers, volumes, events).await?;
            self.remove_network_containers(project).await?;
            let networks = self.networks_by_id(project).await?;
            let removed = networks.iter();
            let removed = removed.map(|(name, id)| self.take_network_down(name, id, events));
            try_join_all(removed).await?;
            if containers.is_empty() && networks.is_empty() {
                break;
            }
        }
        if volumes {
            let volumes = self.volumes(project).await?;
            try_join_all(volumes.iter().map(|name| self.remove_volume(name, events))).await?;
        }
        Ok(())
    }

    /// What [`Self::down`] would remove.
    ///
    /// # Errors
    /// Docker does not answer.
    pub(crate) async fn preview_down(&self, project: &str, volumes: bool) -> Result<Vec<Planned>> {
        let remove = |service: String, container: String| Planned {
            service,
            container,
            action: Action::Remove,
        };
        let containers = self.containers(project).await?.into_iter();
        let mut steps: Vec<_> = containers.map(|c| remove(c.service, c.name)).collect();
        let networks = self.networks(project).await?.into_iter();
        steps.extend(networks.map(|name| remove(String::new(), format!("network {name}"))));
        if volumes {
            let volumes = self.volumes(project).await?.into_iter();
            steps.extend(volumes.map(|name| remove(String::new(), format!("volume {name}"))));
        }
        Ok(steps)
    }

    /// Stops and removes containers, each before its dependencies.
    pub(super) async fn take_all_down(
        &self,
        containers: &[&Container],
        volumes: bool,
        events: &Events,
    ) -> Result<()> {
        let order = Stopping::new(containers);
        let down = containers.iter();
        let down = down.map(|c| self.take_down(c, &order, volumes, events));
        self.stopping(&order, try_join_all(down)).await?;
        Ok(())
    }

    /// Stops a container once its dependants have stopped, then removes it. Only the networks wait for the
    /// removal.
    async fn take_down(
        &self,
        c: &Container,
        order: &Stopping<'_>,
        volumes: bool,
        events: &Events,
    ) -> Result<()> {
        order.turn(&c.service).await;
        let began = Instant::now();
        let part = || match c.replica {
            0 | 1 => c.service.clone(),
            n => format!("{}-{n}", c.service),
        };
        if matches!(c.state, State::Exited | State::Created) {
            order.stopped(&c.service);
        } else {
            let what = "stopping".to_owned();
            drop(events.send(Event::Doing { part: part(), what }));
            order.stop(c, self.stop(&c.id, &c.name)).await?;
        }
        self.remove(&c.id, &c.name, volumes).await?;
        removed(events, part(), began);
        Ok(())
    }

    async fn take_network_down(&self, name: &str, id: &str, events: &Events) -> Result<()> {
        let began = Instant::now();
        while let Err(error) = self.remove_network(id, name).await {
            let inspect = self
                .docker
                .inspect_network(id, None::<InspectNetworkOptions>);
            let Ok(network) = self.call("inspect a network", inspect).await else {
                return Err(error);
            };
            let is_unused = network.containers.as_ref().is_none_or(HashMap::is_empty);
            let may_be_released = error.kind == Kind::NotRight && began.elapsed() < RELEASE;
            if !is_unused || !may_be_released {
                return Err(self.name_users(network, error).await);
            }
            tokio::time::sleep(PAUSE).await;
        }
        removed(events, format!("network {name}"), began);
        Ok(())
    }

    /// Names the containers that still use a network: those of `docker compose run`, or of others.
    async fn name_users(&self, network: NetworkInspect, error: Error) -> Error {
        let project = network.labels.as_ref().and_then(|l| l.get(labels::PROJECT));
        let (mut names, mut own) = (Vec::new(), true);
        for (id, user) in network.containers.into_iter().flatten() {
            let container = self.inspect(&id).await.ok().flatten();
            own &= container.is_some_and(|c| {
                let label = |name| c.labels.get(name).map(String::as_str);
                label(labels::ONEOFF) == Some("True")
                    && label(labels::PROJECT) == project.map(String::as_str)
            });
            names.extend(user.name);
        }
        if names.is_empty() {
            return error;
        }
        names.sort();
        let error = error.because(format!("in use by {}", names.join(", ")));
        // Containers of `docker compose run` belong to the project; others are for their owner to stop.
        if own {
            return error.hint(format!("docker stop {}", names.join(" ")));
        }
        let name = network.name.unwrap_or_default();
        error
            .because("it can be removed once they have stopped, or left it")
            .hint(format!("docker ps --filter network={name}"))
    }

    async fn remove_volume(&self, name: &str, events: &Events) -> Result<()> {
        let began = Instant::now();
        let remove = async {
            match self
                .docker
                .remove_volume(name, None::<RemoveVolumeOptions>)
                .await
            {
                Err(e) if status(&e) == Some(404) => Ok(()),
                answer => answer,
            }
        };
        self.call(&format!("remove the volume {name}"), remove)
            .await?;
        removed(events, format!("volume {name}"), began);
        Ok(())
    }
}

fn removed(events: &Events, part: String, began: Instant) {
    let (outcome, took) = (Outcome::Removed, began.elapsed());
    // A closed event channel does not stop the work.
    drop(events.send(Event::Done {
        part,
        outcome,
        took,
    }));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::{
        io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
        net::UnixListener,
    };

    use super::*;
    use crate::connect::tests::NoAnswers;

    /// An engine with a network that `users` use, and that it refuses to remove the first `refusals` times.
    async fn serve(listener: UnixListener, users: &str, mut refusals: usize) {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = BufReader::new(stream);
            let mut request = String::new();
            while stream.read_line(&mut request).await.is_ok_and(|n| n > 2) {}
            let (status, body) = if request.contains("/version") {
                ("200 OK", r#"{"ApiVersion": "1.41"}"#.to_owned())
            } else if request.starts_with("GET") {
                (
                    "200 OK",
                    format!(r#"{{"Name": "net", "Containers": {users}}}"#),
                )
            } else if refusals > 0 {
                refusals -= 1;
                (
                    "403 Forbidden",
                    r#"{"message": "net has active endpoints"}"#.to_owned(),
                )
            } else {
                ("200 OK", String::new())
            };
            let answer = format!(
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\n\
                 Content-Length: {}\r\n\r\n{body}",
                body.len()
            );
            stream
                .write_all(answer.as_bytes())
                .await
                .expect("it listens");
        }
    }

    async fn removal(users: &'static str, refusals: usize) -> Result<()> {
        let place = tempfile::tempdir().expect("a directory");
        let socket = place.path().join("docker.sock");
        let listener = UnixListener::bind(&socket).expect("binds");
        let engine = tokio::spawn(serve(listener, users, refusals));
        let host = format!("unix://{}", socket.display());
        let connected = Engine::connect(Some(&host), Arc::new(NoAnswers)).await;
        let (events, _received) = tokio::sync::mpsc::unbounded_channel();
        let connected = connected.expect("it answers");
        let removed = connected.take_network_down("net", "id", &events).await;
        engine.abort();
        removed
    }

    #[tokio::test]
    async fn a_network_that_docker_still_releases_is_waited_for() {
        removal("{}", 3).await.expect("removed at the fourth try");
    }

    #[tokio::test]
    async fn a_network_in_use_is_not_waited_for() {
        let users = r#"{"1": {"Name": "shell"}}"#;
        let error = removal(users, usize::MAX).await.expect_err("in use");
        assert!(error.to_string().contains("in use by shell"), "{error}");
    }
}
