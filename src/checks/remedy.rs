//! The next command when a service is not as it should be.

use super::Scene;
use crate::{
    engine::{
        labels,
        observed::{Container, State, replicas},
    },
    pipeline::Endpoint,
};

impl Scene<'_> {
    /// As [`Self::remedy`], of what `x-caravan.KEY` declares; that may be no service of this
    /// pipeline.
    pub(super) fn remedy_of(
        &self,
        containers: &[Container],
        key: &str,
        endpoint: &Endpoint,
    ) -> String {
        match &endpoint.service {
            Some(service) => self.remedy(containers, service),
            None => format!("see whether x-caravan.{key} says where it is, and whether it runs"),
        }
    }

    /// What brings `service` back: unpausing, starting or restarting it; `up` where its container
    /// is not of Caravan's making, and so perhaps not what is declared.
    pub(super) fn remedy(&self, containers: &[Container], service: &str) -> String {
        let own: Vec<_> = containers.iter().filter(|c| c.service == service).collect();
        let paused: Vec<_> = own
            .iter()
            .filter(|c| c.state == State::Paused)
            .map(|c| c.name.as_str())
            .collect();
        let declared = self.pipeline.service(service);
        let replicas = declared.map_or(1, |s| replicas(s, containers));
        let running = own.iter().filter(|c| c.state == State::Running).count();
        if !paused.is_empty() {
            self.invocation
                .docker(&format!("unpause {}", paused.join(" ")))
        } else if running > 0
            && running >= replicas as usize
            && own.iter().all(|c| c.labels.contains_key(labels::HASH))
        {
            self.invocation.command(&format!("restart {service}"))
        } else {
            self.invocation.command(&format!("up {service}"))
        }
    }
}
