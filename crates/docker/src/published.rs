//! The host ports that the engine's containers of all projects publish.

use bollard::{
    models::{ContainerSummary, ContainerSummaryStateEnum},
    query_parameters::ListContainersOptionsBuilder,
};
use futures_util::future::try_join_all;

use crate::{connect::Engine, labels};
use declaration::PortBinding;
use diagnostics::Result;

/// Address on the host, number, protocol.
type Published = (String, u16, String);

impl Engine {
    /// The host ports of all containers that are running, created or restarting. An exited container
    /// occupies none.
    ///
    /// # Errors
    /// Docker does not answer.
    pub(crate) async fn published(&self) -> Result<Vec<PortBinding>> {
        let options = ListContainersOptionsBuilder::new().all(true).build();
        let list = self.docker.list_containers(Some(options));
        let containers = self.call("list containers", list).await?;
        let published = containers.iter().map(|container| async move {
            let (ports, running) = match container.state {
                Some(
                    ContainerSummaryStateEnum::CREATED | ContainerSummaryStateEnum::RESTARTING,
                ) => (self.bindings(container).await?, false),
                _ => (ports(container), true),
            };
            let named = |(host_ip, number, protocol)| PortBinding {
                host_ip,
                number,
                protocol,
                container: name(container),
                project: project(container),
                running,
            };
            Ok(ports.into_iter().map(named).collect::<Vec<_>>())
        });
        Ok(try_join_all(published).await?.concat())
    }

    /// The ports that a container without a running process will publish.
    async fn bindings(&self, container: &ContainerSummary) -> Result<Vec<Published>> {
        let id = container.id.as_deref().unwrap_or_default();
        let raw = self.inspect_raw(id).await?;
        let bindings = raw
            .and_then(|raw| raw.host_config)
            .and_then(|config| config.port_bindings);
        let one = |(inside, on): (String, Option<Vec<bollard::models::PortBinding>>)| {
            let protocol = inside.rsplit_once('/').map_or("tcp", |(_, p)| p).to_owned();
            on.into_iter().flatten().filter_map(move |binding| {
                let number = binding.host_port?.parse().ok()?;
                let host_ip = binding.host_ip.unwrap_or_default();
                Some((host_ip, number, protocol.clone()))
            })
        };
        Ok(bindings.into_iter().flatten().flat_map(one).collect())
    }
}

/// The ports that a running container publishes.
fn ports(container: &ContainerSummary) -> Vec<Published> {
    let ports = container.ports.iter().flatten();
    ports
        .filter_map(|port| {
            let protocol = port.typ.map(|typ| typ.to_string());
            let host_ip = port.ip.clone().unwrap_or_default();
            Some((host_ip, port.public_port?, protocol.unwrap_or_default()))
        })
        .collect()
}

/// Without the leading slash.
fn name(container: &ContainerSummary) -> String {
    let name = container.names.iter().flatten().next();
    name.map(|name| name.trim_start_matches('/').to_owned())
        .unwrap_or_default()
}

/// The Compose project that a container belongs to.
pub(super) fn project(container: &ContainerSummary) -> Option<String> {
    let labels = container.labels.as_ref()?;
    labels::project(|name| labels.get(name)).cloned()
}
