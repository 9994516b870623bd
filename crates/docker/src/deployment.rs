//! Reads from a project's containers where they publish their ports, and which files and state directory the
//! project was brought up from.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
};

use bollard::{
    models::{ContainerSummary, ContainerSummaryStateEnum, PortSummaryTypeEnum},
    query_parameters::{ListContainersOptionsBuilder, ListVolumesOptionsBuilder},
};

use crate::{connect::Engine, labels, observe::by_label};
use declaration::{DeployedPorts, Origin, PublishedPort, RecordedOrigin};
use diagnostics::Result;
use platform::Deployment;

impl Engine {
    /// A project's deployment; its files and state directory are from the labels of the newest container, else
    /// of the newest volume. `queried_ports` are the host ports that the caller is about to connect to: a
    /// process outside Docker may listen on one of them.
    ///
    /// # Errors
    /// Docker does not respond.
    pub(crate) async fn deployment(
        &self,
        project: &str,
        queried_ports: &BTreeSet<u16>,
    ) -> Result<Deployment> {
        let options = ListContainersOptionsBuilder::new().all(true).build();
        let list = self.docker.list_containers(Some(options));
        let all = self.call("list containers", list).await?;
        let mut deployment = Deployment::default();
        let mut newest = None;
        for container in &all {
            let own = self.is_of(container, project).await?;
            deployment.exists |= own;
            if own && newest.is_none_or(|at| container.created >= at) {
                newest = Some(container.created);
                deployment.recorded = recorded(|name| label(container, name));
            }
            add(&mut deployment.ports, container, own);
        }
        if newest.is_none() {
            deployment.recorded = self.recorded_by_volumes(project).await?;
        }
        if self.local {
            add_processes(&mut deployment.ports, queried_ports);
        }
        Ok(deployment)
    }

    /// Whether a container belongs to the project, except those of `docker compose run`.
    async fn is_of(&self, container: &ContainerSummary, project: &str) -> Result<bool> {
        let owner = labels::project(|name| label(container, name));
        if owner.is_none_or(|owner| owner != project)
            || label(container, labels::ONEOFF).is_some_and(|v| v == "True")
        {
            return Ok(false);
        }
        if label(container, labels::IMAGE) == container.image_id.as_ref() {
            return Ok(true);
        }
        let id = container.id.as_deref().unwrap_or_default();
        match self.inspect(id).await? {
            Some(container) => Ok(!self.inherits(&container).await?),
            None => Ok(false),
        }
    }

    async fn recorded_by_volumes(&self, project: &str) -> Result<Option<RecordedOrigin>> {
        let options = ListVolumesOptionsBuilder::new()
            .filters(&by_label(labels::PROJECT, project))
            .build();
        let list = self.docker.list_volumes(Some(options));
        let volumes = self.call("list volumes", list).await?.volumes;
        let volumes = volumes.into_iter().flatten();
        let newest = volumes
            .filter(|volume| volume.labels.contains_key(labels::STATE_DIR))
            .max_by(|a, b| a.created_at.cmp(&b.created_at));
        Ok(newest.and_then(|volume| recorded(|name| volume.labels.get(name))))
    }
}

/// Adds a container's TCP ports, except those of the project's containers that do not run.
fn add(ports: &mut DeployedPorts, container: &ContainerSummary, own: bool) {
    let runs = matches!(
        container.state,
        Some(ContainerSummaryStateEnum::RUNNING | ContainerSummaryStateEnum::PAUSED)
    );
    let service = label(container, labels::SERVICE);
    let published = container.ports.iter().flatten();
    for port in published.filter(|p| p.typ == Some(PortSummaryTypeEnum::TCP)) {
        let Some(host_port) = port.public_port else {
            continue;
        };
        match service.filter(|_| own) {
            Some(service) if runs => ports.own.push(PublishedPort {
                service: service.clone(),
                container_port: port.private_port,
                host_port,
            }),
            Some(_) => {}
            None => drop(ports.others.insert(host_port)),
        }
    }
}

/// Adds the ports of this machine that are in use and that no container publishes.
fn add_processes(ports: &mut DeployedPorts, queried_ports: &BTreeSet<u16>) {
    let known = |port: &u16| {
        ports.others.contains(port) || ports.own.iter().any(|own| own.host_port == *port)
    };
    let is_bound = |port: &u16| {
        let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, *port));
        bound.is_err_and(|e| e.kind() == std::io::ErrorKind::AddrInUse)
    };
    let unknown = queried_ports.iter().copied().filter(|port| !known(port));
    let bound: Vec<u16> = unknown.filter(is_bound).collect();
    ports.others.extend(bound);
}

fn label<'a>(container: &'a ContainerSummary, name: &str) -> Option<&'a String> {
    container.labels.as_ref()?.get(name)
}

/// Reads a project's files and state directory from labels. Docker Compose's labels have the project's directory
/// instead; labels of an older Caravan's shipped pipeline have none.
fn recorded<'a>(label: impl Fn(&str) -> Option<&'a String>) -> Option<RecordedOrigin> {
    let files = label(labels::CONFIG_FILES)?;
    let origin = match files.as_str() {
        "" => return None,
        labels::EMBEDDED => Origin::Embedded,
        files => Origin::Files(files.split(',').map(PathBuf::from).collect()),
    };
    let directory = label(labels::STATE_DIR).or_else(|| match origin {
        Origin::Embedded => None,
        Origin::Files(_) => label(labels::WORKING_DIR),
    })?;
    // Compose accepts several env files, Caravan one.
    let env_file = label(labels::ENV_FILE)
        .or_else(|| label(labels::COMPOSE_ENV_FILE).filter(|files| !files.contains(',')));
    let env_file = env_file.filter(|file| Path::new(file).is_absolute());
    Some(RecordedOrigin {
        origin,
        state_dir: directory.into(),
        env_file: env_file.map(PathBuf::from),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn a_compose_projects_state_directory_is_its_working_directory() {
        let labels = HashMap::from(
            [
                (labels::CONFIG_FILES, "/srv/a.yaml,/srv/b.yaml"),
                (labels::WORKING_DIR, "/srv"),
                (labels::COMPOSE_ENV_FILE, "/srv/.env.staging"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        let expected = RecordedOrigin {
            origin: Origin::Files(vec!["/srv/a.yaml".into(), "/srv/b.yaml".into()]),
            state_dir: "/srv".into(),
            env_file: Some("/srv/.env.staging".into()),
        };
        assert_eq!(recorded(|name| labels.get(name)), Some(expected));
    }

    #[test]
    fn labels_of_an_older_caravan_have_no_state_directory() {
        let files = labels::EMBEDDED.to_owned();
        let label = |name: &str| (name == labels::CONFIG_FILES).then_some(&files);
        assert_eq!(recorded(label), None);
    }
}
