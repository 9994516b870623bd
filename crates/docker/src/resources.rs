//! Creates missing networks and volumes of the project; never changes existing ones.

use std::collections::{BTreeMap, HashMap};

use bollard::{
    models::{Ipam, IpamConfig, NetworkCreateRequest, VolumeCreateRequest},
    query_parameters::InspectNetworkOptions,
};

use crate::{
    connect::{Engine, status},
    images::Image,
    labels,
    spec::origin_labels,
};
use declaration::{MountSource, Network, Pipeline, Service, Subnet, Volume};
use diagnostics::{Error, Kind, Result};

impl Engine {
    /// Creates the missing networks of these services; returns their names.
    ///
    /// # Errors
    /// An external network is missing, or a network with that name belongs to something else.
    pub(super) async fn ensure_networks(
        &self,
        pipeline: &Pipeline,
        services: &[&Service],
    ) -> Result<Vec<String>> {
        let mut made = Vec::new();
        for network in &pipeline.networks {
            let used = |s: &&Service| s.networks.iter().any(|n| n.network == network.key);
            if services.iter().any(used) && self.ensure_network(pipeline, network).await? {
                made.push(network.name.clone());
            }
        }
        Ok(made)
    }

    async fn ensure_network(&self, pipeline: &Pipeline, network: &Network) -> Result<bool> {
        let inspect = async {
            let options = None::<InspectNetworkOptions>;
            match self.docker.inspect_network(&network.name, options).await {
                Err(e) if status(&e) == Some(404) => Ok(None),
                answer => answer.map(Some),
            }
        };
        let found = self.call("inspect a network", inspect).await?;
        let name = &network.name;
        match found {
            Some(_) if network.external => return Ok(false),
            Some(found) => {
                let owner = found.labels.as_ref().and_then(|l| l.get(labels::PROJECT));
                if owner == Some(&pipeline.project) {
                    return Ok(false);
                }
                let what = format!("the network {name} exists, but is not this project's");
                return Err(Error::new(Kind::NotRight, what)
                    .because(match owner {
                        Some(owner) => format!("it belongs to the project {owner}"),
                        None => "it was created by hand".to_owned(),
                    })
                    .hint(
                        "choose another project name: -p NAME; or declare the network \
                         `external: true` to share it",
                    ));
            }
            None if network.external => {
                let what = format!("the external network {name} does not exist");
                return Err(
                    Error::new(Kind::NotRight, what).hint(format!("docker network create {name}"))
                );
            }
            None => {}
        }
        let mut labels = network.labels.clone();
        labels.extend(ours(pipeline, labels::NETWORK, &network.key));
        let request = NetworkCreateRequest {
            name: name.clone(),
            driver: network.driver.clone(),
            options: non_empty(&network.driver_opts),
            internal: network.internal.then_some(true),
            attachable: network.attachable.then_some(true),
            enable_ipv6: network.enable_ipv6.then_some(true),
            ipam: ipam(network),
            labels: Some(labels.into_iter().collect()),
            ..NetworkCreateRequest::default()
        };
        let create = self.docker.create_network(request);
        self.call(&format!("create the network {name}"), create)
            .await?;
        Ok(true)
    }

    /// Creates the missing volumes of a service, labelled with the image that will write them.
    ///
    /// # Errors
    /// An external volume is missing, or a volume with that name belongs to another project.
    pub(super) async fn ensure_volumes(
        &self,
        pipeline: &Pipeline,
        service: &Service,
        image: &Image,
    ) -> Result<()> {
        let keys: Vec<&String> = service
            .mounts
            .iter()
            .filter_map(|mount| match &mount.source {
                MountSource::Volume(key) => Some(key),
                MountSource::Bind(_) | MountSource::Anonymous => None,
            })
            .collect();
        for volume in pipeline.volumes.iter().filter(|v| keys.contains(&&v.key)) {
            self.ensure_volume(pipeline, volume, image).await?;
        }
        Ok(())
    }

    async fn ensure_volume(
        &self,
        pipeline: &Pipeline,
        volume: &Volume,
        image: &Image,
    ) -> Result<()> {
        let name = &volume.name;
        if let Some(labels) = self.volume_labels(name).await? {
            let owner = labels.get(labels::PROJECT);
            return match owner.filter(|owner| **owner != pipeline.project) {
                Some(owner) if !volume.external => Err(volume_of_another(name, owner)),
                Some(_) | None => Ok(()),
            };
        }
        if volume.external {
            let what = format!("the external volume {name} does not exist");
            let hint = format!("docker volume create {name}");
            return Err(Error::new(Kind::NotRight, what).hint(hint));
        }
        let mut labels = volume.labels.clone();
        labels.extend(ours(pipeline, labels::VOLUME, &volume.key));
        labels.insert(labels::VOLUME_IMAGE.to_owned(), image.reference.clone());
        let origin = origin_labels(pipeline).into_iter();
        labels.extend(origin.map(|(name, value)| (name.to_owned(), value)));
        let request = VolumeCreateRequest {
            name: Some(name.clone()),
            driver: volume.driver.clone(),
            driver_opts: non_empty(&volume.driver_opts),
            labels: Some(labels.into_iter().collect()),
            ..VolumeCreateRequest::default()
        };
        let create = self.docker.create_volume(request);
        self.call(&format!("create the volume {name}"), create)
            .await?;
        Ok(())
    }

    /// The image that a volume was created for, if Caravan created it.
    pub(super) async fn volume_image(&self, name: &str) -> Result<Option<String>> {
        let labels = self.volume_labels(name).await?;
        Ok(labels.and_then(|mut labels| labels.remove(labels::VOLUME_IMAGE)))
    }

    /// A volume's labels; None when there is no such volume.
    async fn volume_labels(&self, name: &str) -> Result<Option<HashMap<String, String>>> {
        let inspect = async {
            match self.docker.inspect_volume(name).await {
                Err(e) if status(&e) == Some(404) => Ok(None),
                answer => answer.map(Some),
            }
        };
        let found = self.call("inspect a volume", inspect).await?;
        Ok(found.map(|volume| volume.labels))
    }
}

/// The declared address ranges; None: Docker chooses.
fn ipam(network: &Network) -> Option<Ipam> {
    let config = |subnet: &Subnet| IpamConfig {
        subnet: subnet.subnet.clone(),
        ip_range: subnet.ip_range.clone(),
        gateway: subnet.gateway.clone(),
        ..IpamConfig::default()
    };
    let config: Vec<_> = network.subnets.iter().map(config).collect();
    (!config.is_empty()).then(|| Ipam {
        config: Some(config),
        ..Ipam::default()
    })
}

fn non_empty(options: &BTreeMap<String, String>) -> Option<HashMap<String, String>> {
    (!options.is_empty()).then(|| options.clone().into_iter().collect())
}

/// The error for a volume of another project: two databases on one volume would corrupt it.
fn volume_of_another(volume: &str, owner: &str) -> Error {
    let what = format!("the volume {volume} exists, but is not this project's");
    Error::new(Kind::NotRight, what)
        .because(format!("it belongs to the project {owner}"))
        .because("a `name` without ${COMPOSE_PROJECT_NAME} is for one project alone")
        .hint("name it otherwise, or say `external: true` to share what is in it")
}

/// The labels by which Compose knows its networks and volumes. No hash: Compose would offer to
/// recreate what differs, data included.
fn ours(pipeline: &Pipeline, kind: &str, key: &str) -> [(String, String); 3] {
    [
        (labels::PROJECT.to_owned(), pipeline.project.clone()),
        (kind.to_owned(), key.to_owned()),
        (labels::VERSION.to_owned(), labels::THIS_VERSION.to_owned()),
    ]
}
