//! A temporary container of Caravan's own image, on a network of its own, reports what only a container can
//! see (`run doctor`). Container and network are removed afterwards.

use std::{collections::HashMap, time::Duration};

use bollard::{
    models::{
        ContainerCreateBody, EndpointSettings, HostConfig, NetworkCreateRequest, NetworkingConfig,
    },
    query_parameters::{
        CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder, WaitContainerOptions,
    },
};
use futures_util::{StreamExt, TryStreamExt};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    connect::Engine,
    images::{Image, caravan_repository},
    labels,
};
use declaration::Pipeline;
use diagnostics::{Error, Kind, Result};
use platform::Container;
use platform::{HostInfo, LogOptions};

/// Timeout from the network's creation to the report; usually it takes a second.
const LIMIT: Duration = Duration::from_secs(30);
/// The name that the container resolves: only Docker's DNS knows it, the hosts file does not.
const ALIAS: &str = "caravan-doctor.internal";

impl Engine {
    /// Runs the temporary container and returns its report.
    ///
    /// # Errors
    /// The container cannot be created, does not end in time or reports nothing; or `cancel` was triggered.
    pub async fn look_inside(
        &self,
        pipeline: &Pipeline,
        cancel: &CancellationToken,
    ) -> Result<HostInfo> {
        let repository = caravan_repository(pipeline);
        let (image, _) = self.pack(&repository).await?;
        let mut name = format!("caravan-doctor-{}", Uuid::new_v4().simple());
        name.truncate("caravan-doctor-".len() + 8);
        let result = tokio::select! {
            result = tokio::time::timeout(LIMIT, self.look(&image, &name)) => {
                result.unwrap_or_else(|_| Err(too_late()))
            }
            () = cancel.cancelled() => Err(Error::new(Kind::Interrupted, "interrupted")),
        };
        let removed = self.remove_look(&name).await;
        let inside = result?;
        removed.map(|()| inside)
    }

    async fn look(&self, image: &Image, name: &str) -> Result<HostInfo> {
        let network = NetworkCreateRequest {
            name: name.to_owned(),
            labels: Some(label()),
            ..NetworkCreateRequest::default()
        };
        self.call("create a network", self.docker.create_network(network))
            .await?;
        let options = CreateContainerOptionsBuilder::new().name(name).build();
        let create = self
            .docker
            .create_container(Some(options), body(image, name));
        let id = self.call("create a container", create).await?.id;
        self.start(&id, name).await?;
        // bollard returns an exit code other than 0 as an error; the container's output says more.
        let options = None::<WaitContainerOptions>;
        drop(self.docker.wait_container(&id, options).next().await);
        match self.inspect(&id).await? {
            Some(container) => self.parse_answer(container).await,
            None => Err(Error::new(Kind::NotRight, "somebody removed the container")),
        }
    }

    /// Parses the report that the container wrote.
    async fn parse_answer(&self, container: Container) -> Result<HostInfo> {
        let containers = [container];
        let lines: Vec<_> = self
            .logs(&containers, &LogOptions::default())
            .try_collect()
            .await?;
        let answer = lines
            .iter()
            .find_map(|l| serde_json::from_str(&l.text).ok());
        answer.ok_or_else(|| {
            let [container] = &containers;
            let code = container.exit_code.unwrap_or_default();
            let what = format!("a container of Caravan's own image ended with exit code {code}");
            let error = Error::new(Kind::NotRight, what);
            let error = container.error.iter().cloned().fold(error, Error::because);
            lines
                .into_iter()
                .map(|l| l.text)
                .fold(error, Error::because)
        })
    }

    async fn remove_look(&self, name: &str) -> Result<()> {
        let options = RemoveContainerOptionsBuilder::new()
            .force(true)
            .v(true)
            .build();
        let container = self.docker.remove_container(name, Some(options));
        let container = async { gone(container.await) };
        self.call("remove a container", container).await?;
        let network = async { gone(self.docker.remove_network(name).await) };
        self.call("remove a network", network).await
    }
}

/// A container or network that does not exist counts as removed.
fn gone(answer: Result<(), bollard::errors::Error>) -> Result<(), bollard::errors::Error> {
    match answer {
        Err(e) if super::connect::status(&e) == Some(404) => Ok(()),
        answer => answer,
    }
}

fn too_late() -> Error {
    let limit = humantime::format_duration(LIMIT);
    let what = format!("a container of Caravan's own image did not end within {limit}");
    Error::new(Kind::NotRight, what)
}

fn label() -> HashMap<String, String> {
    HashMap::from([(labels::DOCTOR.to_owned(), "true".to_owned())])
}

fn body(image: &Image, network: &str) -> ContainerCreateBody {
    let endpoint = EndpointSettings {
        aliases: Some(vec![ALIAS.to_owned()]),
        ..EndpointSettings::default()
    };
    ContainerCreateBody {
        image: Some(image.reference.clone()),
        cmd: Some(["run", "doctor", ALIAS].map(str::to_owned).to_vec()),
        labels: Some(label()),
        host_config: Some(HostConfig {
            network_mode: Some(network.to_owned()),
            memory: Some(64 << 20),
            pids_limit: Some(64),
            readonly_rootfs: Some(true),
            cap_drop: Some(vec!["ALL".to_owned()]),
            security_opt: Some(vec!["no-new-privileges:true".to_owned()]),
            ..HostConfig::default()
        }),
        networking_config: Some(NetworkingConfig {
            endpoints_config: Some(HashMap::from([(network.to_owned(), endpoint)])),
        }),
        ..ContainerCreateBody::default()
    }
}
