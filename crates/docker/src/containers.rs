//! Operations on single containers: create, start, stop, remove, unpause.

use std::time::Duration;

use bollard::{
    models::{ContainerInspectResponse, NetworkConnectRequest},
    query_parameters::{
        CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder,
        RenameContainerOptionsBuilder, StartContainerOptions, StopContainerOptions,
    },
};

use crate::{
    connect::{Engine, status},
    labels,
    spec::Spec,
};
use diagnostics::Result;
use platform::State;

/// Timeout of a creation or start: an engine is slow when many run at once.
const WORK: Duration = Duration::from_secs(120);
/// Timeout of a stop, above any usual grace period: for daemons that hang.
const STOP: Duration = Duration::from_secs(300);
/// Labels that two containers share if they were created for the same replica from the same configuration.
const IDENTITY: [&str; 4] = [
    labels::PROJECT,
    labels::SERVICE,
    labels::NUMBER,
    labels::HASH,
];
/// Between the name of a container and its id while it is replaced.
pub(super) const REPLACED: &str = "-replaced-";
/// The oldest API that creates a container on several networks.
const SEVERAL_NETWORKS: (usize, usize) = (1, 44);

impl Engine {
    /// Creates a container, on all its networks; returns its id.
    ///
    /// # Errors
    /// The name is taken, or Docker refuses.
    pub(super) async fn create(&self, spec: &Spec) -> Result<String> {
        let mut spec = spec.clone();
        let rest = match self.api < SEVERAL_NETWORKS {
            true => spec.split_networks(),
            false => Vec::new(),
        };
        let mut options = CreateContainerOptionsBuilder::new().name(&spec.name);
        if let Some(platform) = &spec.platform {
            options = options.platform(platform);
        }
        let options = options.build();
        let create = async {
            let create = |body| self.docker.create_container(Some(options.clone()), body);
            match create(spec.body.clone()).await {
                Err(e) if status(&e) == Some(409) && self.remove_twin(&spec).await => {
                    create(spec.body.clone()).await
                }
                created => created,
            }
        };
        let created = self
            .call_within(WORK, &format!("create {}", spec.name), create)
            .await?;
        for (network, endpoint) in rest {
            let request = NetworkConnectRequest {
                container: created.id.clone(),
                endpoint_config: Some(endpoint),
            };
            let connect = self.docker.connect_network(&network, request);
            self.call(&format!("connect {} to {network}", spec.name), connect)
                .await?;
        }
        Ok(created.id)
    }

    /// Removes a container that has the name of `spec`, was created from the same configuration, and never ran:
    /// the engine created it for a command that was killed, after this command listed the containers. False: there
    /// is no such container.
    async fn remove_twin(&self, spec: &Spec) -> bool {
        let Ok(Some(found)) = self.inspect(&spec.name).await else {
            return false;
        };
        let own = spec.body.labels.iter().flatten();
        let mut own = own.filter(|(name, _)| IDENTITY.contains(&name.as_str()));
        let is_twin = own.all(|(name, value)| found.labels.get(name) == Some(value));
        let never_ran = found.state == State::Created && found.started_at.is_none();
        is_twin && never_ran && self.remove(&found.id, &spec.name, false).await.is_ok()
    }

    pub(super) async fn start(&self, id: &str, name: &str) -> Result<()> {
        let start = self
            .docker
            .start_container(id, None::<StartContainerOptions>);
        self.call_within(WORK, &format!("start {name}"), start)
            .await
    }

    pub(super) async fn unpause(&self, id: &str, name: &str) -> Result<()> {
        let unpause = self.docker.unpause_container(id);
        self.call(&format!("unpause {name}"), unpause).await
    }

    /// Stops a container; Docker kills it after its grace period. A missing container counts as stopped.
    pub(super) async fn stop(&self, id: &str, name: &str) -> Result<()> {
        let stop = async {
            match self
                .docker
                .stop_container(id, None::<StopContainerOptions>)
                .await
            {
                Err(e) if status(&e) == Some(404) => Ok(()),
                answer => answer,
            }
        };
        self.call_within(STOP, &format!("stop {name}"), stop).await
    }

    /// Removes a stopped container, and its anonymous volumes if `volumes`. A container that is missing, or
    /// being removed, counts as removed.
    pub(super) async fn remove(&self, id: &str, name: &str, volumes: bool) -> Result<()> {
        let options = RemoveContainerOptionsBuilder::new().v(volumes).build();
        let remove = async {
            match self.docker.remove_container(id, Some(options)).await {
                Err(e) if matches!(status(&e), Some(404 | 409)) => Ok(()),
                answer => answer,
            }
        };
        self.call_within(STOP, &format!("remove {name}"), remove)
            .await
    }

    /// Replaces a container by one as declared. The new one mounts the old one's anonymous volumes too, so the old
    /// one is removed only once the new one exists: a process that is killed in between loses no data.
    pub(super) async fn replace(&self, old: &str, mut spec: Spec) -> Result<String> {
        let Some(raw) = self.inspect_raw(old).await? else {
            return self.create(&spec).await;
        };
        spec.carry_over(volumes(&raw));
        self.stop(old, &spec.name).await?;
        let own = raw.name.unwrap_or_default();
        let has_the_name = own.trim_start_matches('/') == spec.name;
        if has_the_name {
            let set_aside = format!("{}{REPLACED}{old:.12}", spec.name);
            self.rename(old, &set_aside).await?;
        }
        let created = self.create(&spec).await;
        match &created {
            Ok(_) => self.remove(old, &spec.name, false).await?,
            // Best effort: the next `up` knows it by its labels.
            Err(_) if has_the_name => drop(self.rename(old, &spec.name).await),
            Err(_) => {}
        }
        created
    }

    async fn rename(&self, id: &str, name: &str) -> Result<()> {
        let options = RenameContainerOptionsBuilder::new().name(name).build();
        let rename = self.docker.rename_container(id, options);
        self.call(&format!("rename {id:.12} to {name}"), rename)
            .await
    }
}

/// A container's volumes: path and name.
fn volumes(raw: &ContainerInspectResponse) -> Vec<(String, String)> {
    let mounts = raw.mounts.iter().flatten();
    mounts
        .filter(|m| m.typ.as_deref() == Some("volume"))
        .filter_map(|m| Some((m.destination.clone()?, m.name.clone()?)))
        .collect()
}
