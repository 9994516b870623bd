//! `down`: containers stopped before what they depend on, then removed, with the project's
//! networks and, only when asked, its volumes. Only what carries the project's label is touched.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use bollard::query_parameters::RemoveVolumeOptions;
use futures_util::future::try_join_all;

use super::{
    connect::{Engine, status},
    event::{Event, Events, Outcome},
    labels,
    observed::{Container, State},
};
use crate::error::Result;

impl Engine {
    /// Takes a project down, in the order that the labels of its containers tell: it needs no
    /// declaration.
    ///
    /// # Errors
    /// Docker refuses; what was removed until then is gone.
    pub(crate) async fn down(&self, project: &str, volumes: bool, events: &Events) -> Result<()> {
        let containers = self.containers(project).await?;
        let containers: Vec<_> = containers.iter().collect();
        for level in levels(&containers) {
            try_join_all(
                level
                    .into_iter()
                    .map(|c| self.take_down(c, volumes, events)),
            )
            .await?;
        }
        let networks = self.networks(project).await?;
        try_join_all(
            networks
                .iter()
                .map(|name| self.remove_network(name, events)),
        )
        .await?;
        if volumes {
            let volumes = self.volumes(project).await?;
            try_join_all(volumes.iter().map(|name| self.remove_volume(name, events))).await?;
        }
        Ok(())
    }

    pub(super) async fn take_down(
        &self,
        c: &Container,
        volumes: bool,
        events: &Events,
    ) -> Result<()> {
        let began = Instant::now();
        let part = || match c.replica {
            0 | 1 => c.service.clone(),
            n => format!("{}-{n}", c.service),
        };
        if !matches!(c.state, State::Exited | State::Created) {
            let what = "stopping".to_owned();
            drop(events.send(Event::Doing { part: part(), what }));
            self.stop(&c.id, &c.name).await?;
        }
        self.remove(&c.id, &c.name, volumes).await?;
        removed(events, part(), began);
        Ok(())
    }

    async fn remove_network(&self, name: &str, events: &Events) -> Result<()> {
        let began = Instant::now();
        let remove = async {
            match self.docker.remove_network(name).await {
                Err(e) if status(&e) == Some(404) => Ok(()),
                answer => answer,
            }
        };
        self.call(&format!("remove the network {name}"), remove)
            .await?;
        removed(events, format!("network {name}"), began);
        Ok(())
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
    // Nobody listening is no reason to stop.
    drop(events.send(Event::Done {
        part,
        outcome,
        took,
    }));
}

/// Containers in the order in which they may be stopped: each level after all that depends on it.
/// By their own labels, so that it works for what no declaration has any more.
pub(super) fn levels<'a>(containers: &[&'a Container]) -> Vec<Vec<&'a Container>> {
    let mut left: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for container in containers {
        left.entry(&container.service)
            .or_default()
            .extend(depends_on(container));
    }
    let mut levels = Vec::new();
    while !left.is_empty() {
        let needed: BTreeSet<&str> = left
            .iter()
            .flat_map(|(name, on)| on.iter().filter(move |on| *on != name))
            .copied()
            .collect();
        let mut free: Vec<&str> = left
            .keys()
            .filter(|s| !needed.contains(*s))
            .copied()
            .collect();
        if free.is_empty() {
            // Labels of different declarations may contradict each other: then all at once.
            free = left.keys().copied().collect();
        }
        left.retain(|name, _| !free.contains(name));
        let level = containers
            .iter()
            .filter(|c| free.contains(&c.service.as_str()));
        levels.push(level.copied().collect());
    }
    levels
}

/// `kafka:service_healthy:false,…`
fn depends_on(container: &Container) -> impl Iterator<Item = &str> {
    let label = container.labels.get(labels::DEPENDS_ON);
    let label = label.map_or("", String::as_str);
    label
        .split(',')
        .filter_map(|one| one.split(':').next())
        .filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::container;

    fn depending(service: &str, label: &str) -> Container {
        let mut container = container(service, 1);
        container
            .labels
            .insert(labels::DEPENDS_ON.to_owned(), label.to_owned());
        container
    }

    fn names(containers: &[Container]) -> Vec<Vec<&str>> {
        let containers: Vec<_> = containers.iter().collect();
        let levels = levels(&containers).into_iter();
        levels
            .map(|level| level.into_iter().map(|c| c.service.as_str()).collect())
            .collect()
    }

    #[test]
    fn what_others_need_is_stopped_after_them() {
        let containers = [
            depending("kafka", ""),
            depending("redis", ""),
            depending("topics", "kafka:service_healthy:false"),
            depending(
                "worker",
                "topics:service_completed_successfully:false,redis:service_started:false",
            ),
        ];
        assert_eq!(
            names(&containers),
            [vec!["worker"], vec!["redis", "topics"], vec!["kafka"]]
        );
    }

    #[test]
    fn contradicting_labels_do_not_hold_it_up() {
        let containers = [depending("a", "b:x:false"), depending("b", "a:x:false")];
        assert_eq!(names(&containers), [vec!["a", "b"]]);
    }
}
