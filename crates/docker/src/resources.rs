//! Creates missing networks and volumes of the project; never changes existing ones.

use std::collections::{BTreeMap, HashMap};

use bollard::{
    models::{Ipam, IpamConfig, NetworkCreateRequest, VolumeCreateRequest},
    query_parameters::{ListContainersOptionsBuilder, ListNetworksOptionsBuilder},
};

use crate::{
    connect::{Engine, status},
    images::Image,
    labels,
    spec::origin_labels,
};
use declaration::{MountSource, Network, Pipeline, Service, Subnet, Volume};
use diagnostics::{Error, Invocation, Kind, Result};

impl Engine {
    /// Creates the missing networks of these services, and removes a second one with the same name if it
    /// is the project's own and has no containers. Returns a note for each change.
    ///
    /// # Errors
    /// An external network is missing, or a network with that name belongs to something else.
    pub(super) async fn ensure_networks(
        &self,
        pipeline: &Pipeline,
        services: &[&Service],
        invocation: &Invocation,
    ) -> Result<Vec<String>> {
        let mut notes = Vec::new();
        for network in &pipeline.networks {
            let used = |s: &&Service| s.networks.iter().any(|n| n.network == network.key);
            if !services.iter().any(used) {
                continue;
            }
            let found = self.networks_named(&network.name).await?;
            let name = &network.name;
            match found.as_slice() {
                [] if network.external => {
                    let what = format!("the external network {name} does not exist");
                    let hint = format!("docker network create {name}");
                    return Err(Error::new(Kind::NotRight, what).hint(hint));
                }
                [] => {
                    self.create_network(pipeline, network).await?;
                    notes.push(format!("created the network {name}"));
                }
                _ if network.external => {}
                [one] if one.project.as_ref() == Some(&pipeline.project) => {}
                [other] => {
                    let what = format!("the network {name} exists, but is not this project's");
                    return Err(Error::new(Kind::NotRight, what)
                        .because(match &other.project {
                            Some(owner) => format!("it belongs to the project {owner}"),
                            None => "it was created by hand".to_owned(),
                        })
                        .hint(
                            "choose another project name: -p NAME; or declare the network \
                             `external: true` to share it",
                        ));
                }
                several => {
                    let surplus = surplus(pipeline, network, several, invocation)?;
                    for id in surplus {
                        self.remove_network(id, name).await?;
                        notes.push(format!("removed {id:.12}, a second network {name}"));
                    }
                }
            }
        }
        Ok(notes)
    }

    /// The networks with this name, the oldest first. Engines before API 1.44 let several be created at the
    /// same time.
    pub(super) async fn networks_named(&self, name: &str) -> Result<Vec<NamedNetwork>> {
        let filters = HashMap::from([("name", vec![name])]);
        let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
        let list = self.docker.list_networks(Some(options));
        let mut found = self.call("list networks", list).await?;
        // Docker's filter also finds parts of names.
        found.retain(|network| network.name.as_deref() == Some(name));
        found.sort_by(|a, b| a.created.cmp(&b.created));
        let several = found.len() > 1;
        let mut named = Vec::new();
        for network in found {
            let id = network.id.unwrap_or_default();
            let mut labels = network.labels.unwrap_or_default();
            named.push(NamedNetwork {
                // A second request each, which only a choice between several needs.
                used: several && self.has_containers(&id).await?,
                project: labels.remove(labels::PROJECT),
                key: labels.remove(labels::NETWORK),
                id,
            });
        }
        Ok(named)
    }

    /// Whether a container, running or not, is on the network with this id.
    async fn has_containers(&self, id: &str) -> Result<bool> {
        let filters = HashMap::from([("network", vec![id])]);
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&filters)
            .build();
        let list = self.docker.list_containers(Some(options));
        Ok(!self.call("list containers", list).await?.is_empty())
    }

    /// Removes a network, if it exists.
    ///
    /// # Errors
    /// Docker refuses: containers use it.
    pub(super) async fn remove_network(&self, id: &str, name: &str) -> Result<()> {
        let remove = async {
            match self.docker.remove_network(id).await {
                Err(e) if status(&e) == Some(404) => Ok(()),
                answer => answer,
            }
        };
        self.call(&format!("remove the network {name}"), remove)
            .await
    }

    async fn create_network(&self, pipeline: &Pipeline, network: &Network) -> Result<()> {
        let name = &network.name;
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
            .await
            .map(drop)
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

/// One of the networks with a name.
pub(super) struct NamedNetwork {
    pub(super) id: String,
    /// The project and the network's key in its declaration, by its labels.
    project: Option<String>,
    key: Option<String>,
    /// Whether it has containers, running or not. Known only of several networks with one name.
    pub(super) used: bool,
}

/// Of several networks with one name, the ids of those to remove: with a second one, Docker refuses every
/// request that names the network. The one with containers stays, else the oldest.
///
/// # Errors
/// One of them is not the project's, or several have containers.
fn surplus<'a>(
    pipeline: &Pipeline,
    network: &Network,
    several: &'a [NamedNetwork],
    invocation: &Invocation,
) -> Result<Vec<&'a str>> {
    let name = &network.name;
    let what = format!("{} networks have the name {name}", several.len());
    let is_own = |n: &&NamedNetwork| {
        n.project.as_ref() == Some(&pipeline.project) && n.key.as_ref() == Some(&network.key)
    };
    let others: Vec<_> = several.iter().filter(|n| !is_own(n)).collect();
    if !others.is_empty() {
        let error = Error::new(Kind::NotRight, what).because("Docker cannot tell them apart by it");
        let whose = |n: &&NamedNetwork| match &n.project {
            Some(owner) if *owner != pipeline.project => {
                format!("{:.12} belongs to the project {owner}", n.id)
            }
            Some(_) | None => format!("{:.12} was created by hand", n.id),
        };
        return Err(others
            .iter()
            .map(whose)
            .fold(error, Error::because)
            .hint("choose another project name: -p NAME"));
    }
    let used: Vec<_> = several.iter().filter(|n| n.used).collect();
    if used.len() > 1 {
        let ids: Vec<_> = used.iter().map(|n| format!("{:.12}", n.id)).collect();
        return Err(Error::new(Kind::NotRight, what)
            .because(format!("containers are on {}", ids.join(" and ")))
            .hint(format!(
                "{}, which keeps the volumes; then {}",
                invocation.command("down"),
                invocation.command("up")
            )));
    }
    let kept = used.first().copied().or_else(|| several.first());
    let surplus = several.iter().map(|n| n.id.as_str());
    Ok(surplus
        .filter(|id| kept.is_some_and(|kept| kept.id != *id))
        .collect())
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

#[cfg(test)]
mod tests {
    use super::*;
    use declaration::testing::shipped;

    fn named(id: &str, project: &str, used: bool) -> NamedNetwork {
        NamedNetwork {
            id: id.to_owned(),
            project: Some(project.to_owned()),
            key: Some("default".to_owned()),
            used,
        }
    }

    #[test]
    fn only_an_empty_network_of_the_project_is_surplus() {
        let pipeline = shipped();
        let own = pipeline.project.clone();
        let network = &pipeline.networks[0];
        let surplus = |several: &[NamedNetwork]| {
            let ids = surplus(&pipeline, network, several, &Invocation::default());
            ids.map(|ids| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>())
        };
        let both = [named("a", &own, false), named("b", &own, false)];
        assert_eq!(surplus(&both).expect("own networks"), ["b"]);
        let second = [named("a", &own, false), named("b", &own, true)];
        assert_eq!(surplus(&second).expect("own networks"), ["a"]);
        let used = [named("a", &own, true), named("b", &own, true)];
        assert!(surplus(&used).is_err());
        let foreign = [named("a", &own, true), named("b", "another", false)];
        assert!(surplus(&foreign).is_err());
        let mut other_key = named("b", &own, false);
        other_key.key = None;
        assert!(surplus(&[named("a", &own, false), other_key]).is_err());
    }
}
