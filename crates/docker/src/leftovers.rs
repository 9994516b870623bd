//! What earlier runs left behind: of this project, and of Caravan itself.

use std::collections::{BTreeSet, HashMap};

use bollard::{
    models::{ContainerSummary, ContainerSummaryStateEnum},
    query_parameters::{
        ListContainersOptionsBuilder, ListImagesOptionsBuilder, ListNetworksOptionsBuilder,
    },
};
use chrono::{DateTime, Utc};

use crate::{
    connect::Engine,
    images::{caravan_repository, packed_reference},
    labels, plan, published,
};
use declaration::Pipeline;
use diagnostics::Result;

/// `doctor` removes its container and network within this time: older ones were left behind.
const DOCTOR: chrono::TimeDelta = chrono::TimeDelta::minutes(10);

/// Names of objects that earlier runs left behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Containers of the project that the declaration does not have.
    pub containers: Vec<String>,
    /// Networks of the project that the declaration does not have.
    pub networks: Vec<String>,
    /// Volumes of the project that the declaration does not have.
    pub volumes: Vec<String>,
    /// The project's containers that Docker could not remove.
    pub dead: Vec<String>,
    /// Containers of a `doctor` that was interrupted.
    pub doctor_containers: Vec<String>,
    /// Networks of a `doctor` that was interrupted.
    pub doctor_networks: Vec<String>,
    /// Temporary containers of commands, in any project's networks, that were created and never started.
    pub network_containers: Vec<String>,
    /// Caravan's own images of other executables that no container uses.
    pub images: Vec<String>,
    /// Ids of images that Caravan built, that a newer build replaced and that no container uses.
    pub builds: Vec<String>,
}

impl Engine {
    /// Finds the leftovers of this project and of Caravan itself.
    ///
    /// # Errors
    /// Docker does not respond.
    pub async fn leftovers(&self, pipeline: &Pipeline) -> Result<Leftovers> {
        let project = &pipeline.project;
        let observed = self.containers(project).await?;
        let orphans = plan::orphans(pipeline, &observed);
        let networks = pipeline.networks.iter().map(|n| n.name.as_str()).collect();
        let volumes = pipeline.volumes.iter().map(|v| v.name.as_str()).collect();
        let all = ListContainersOptionsBuilder::new().all(true).build();
        let all = self.docker.list_containers(Some(all));
        let all = self.call("list containers", all).await?;
        let old = Utc::now() - DOCTOR;
        let dead = |c: &&ContainerSummary| {
            c.state == Some(ContainerSummaryStateEnum::DEAD)
                && published::project(c).as_ref() == Some(project)
        };
        let doctors = |c: &&ContainerSummary| c.created.is_some_and(|at| at < old.timestamp());
        let network_containers = |c: &&ContainerSummary| {
            c.state != Some(ContainerSummaryStateEnum::RUNNING) && doctors(c)
        };
        let used: BTreeSet<&str> = all.iter().filter_map(|c| c.image_id.as_deref()).collect();
        Ok(Leftovers {
            containers: orphans.into_iter().map(|c| c.name.clone()).collect(),
            networks: others(self.networks(project).await?, &networks),
            volumes: others(self.volumes(project).await?, &volumes),
            dead: names(labelled(&all, labels::HASH).filter(dead)),
            doctor_containers: names(labelled(&all, labels::DOCTOR).filter(doctors)),
            network_containers: names(labelled(&all, labels::INSIDE).filter(network_containers)),
            doctor_networks: self.doctor_networks(old).await?,
            images: self.other_executables(pipeline, &used).await?,
            builds: self.replaced_builds(&used).await?,
        })
    }

    async fn doctor_networks(&self, old: DateTime<Utc>) -> Result<Vec<String>> {
        let filters = HashMap::from([("label", vec![labels::DOCTOR])]);
        let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
        let list = self.docker.list_networks(Some(options));
        let networks = self.call("list networks", list).await?.into_iter();
        let old = networks.filter(|n| {
            let created = n.created.as_ref().map(|at| at.parse::<DateTime<Utc>>());
            created.is_some_and(|at| at.is_ok_and(|at| at < old))
        });
        Ok(old.filter_map(|network| network.name).collect())
    }

    async fn other_executables(
        &self,
        pipeline: &Pipeline,
        used: &BTreeSet<&str>,
    ) -> Result<Vec<String>> {
        let repository = caravan_repository(pipeline);
        let current = packed_reference(&repository).await?;
        let latest = format!("{repository}:latest");
        let filters = HashMap::from([("reference", vec![repository.as_str()])]);
        let options = ListImagesOptionsBuilder::new().filters(&filters).build();
        let list = self.docker.list_images(Some(options));
        let images = self.call("list images", list).await?.into_iter();
        let unused = images.filter(|image| !used.contains(image.id.as_str()));
        let tags = unused.flat_map(|image| image.repo_tags);
        Ok(tags
            .filter(|tag| *tag != current && *tag != latest)
            .collect())
    }

    async fn replaced_builds(&self, used: &BTreeSet<&str>) -> Result<Vec<String>> {
        let filters = HashMap::from([("label", vec![labels::CONTENT]), ("dangling", vec!["true"])]);
        let options = ListImagesOptionsBuilder::new().filters(&filters).build();
        let list = self.docker.list_images(Some(options));
        let images = self.call("list images", list).await?.into_iter();
        let unused = images.filter(|image| !used.contains(image.id.as_str()));
        let short = |id: String| id.trim_start_matches("sha256:").chars().take(12).collect();
        Ok(unused.map(|image| short(image.id)).collect())
    }
}

fn others(there: Vec<String>, declared: &BTreeSet<&str>) -> Vec<String> {
    let mut there = there;
    there.retain(|name| !declared.contains(name.as_str()));
    there
}

fn labelled<'a>(
    all: &'a [ContainerSummary],
    label: &'a str,
) -> impl Iterator<Item = &'a ContainerSummary> {
    let has = move |c: &&ContainerSummary| c.labels.as_ref().is_some_and(|l| l.contains_key(label));
    all.iter().filter(has)
}

fn names<'a>(containers: impl Iterator<Item = &'a ContainerSummary>) -> Vec<String> {
    let names = containers.filter_map(|c| c.names.as_ref()?.first());
    names
        .map(|name| name.trim_start_matches('/').to_owned())
        .collect()
}
