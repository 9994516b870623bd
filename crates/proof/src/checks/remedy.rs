//! The next command when a service is not as it should be.

use super::{
    facts::Facts,
    finding::{Outcome, Status},
};
use declaration::Endpoint;
use platform::{State, labels, replicas};

impl Facts<'_> {
    /// As [`Self::remedy`], of what `x-caravan.KEY` declares; that may be no service of this
    /// pipeline.
    pub(super) async fn remedy_of(&self, key: &str, endpoint: &Endpoint) -> String {
        match &endpoint.service {
            Some(service) => self.remedy(service).await,
            None => format!("see whether x-caravan.{key} says where it is, and whether it runs"),
        }
    }

    /// With [`Self::remedy`] as the next command, where one is needed.
    pub(super) async fn remedied(&self, outcome: Outcome, service: &str) -> Outcome {
        match outcome.status {
            Status::Pass | Status::Skip => outcome,
            Status::Warn | Status::Fail => outcome.hint(self.remedy(service).await),
        }
    }

    /// What brings `service` back: unpausing, starting or restarting it; `up` where its container
    /// is not what is declared, or not of Caravan's making.
    pub(super) async fn remedy(&self, service: &str) -> String {
        let containers = self.all_containers().await;
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
            && !self.has_drifted(service).await
        {
            self.command(&format!("restart {service}"))
        } else {
            self.command(&format!("up {service}"))
        }
    }

    async fn has_drifted(&self, service: &str) -> bool {
        let drift = self.drift(service).await;
        drift.is_some_and(|drift| drift.as_ref().is_ok_and(|drifted| !drifted.is_empty()))
    }
}
