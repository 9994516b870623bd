//! After removing replicas, waits until the remaining members of their consumer group own the partitions:
//! `up` and `scale` do not end before. A static member's partitions are assigned to nobody else until its
//! session times out, which `verify` would report.

use std::time::Duration;

use crate::{apply::Apply, plan::Step};
use declaration::Service;
use platform::{Container, Event};
use platform::{Departed, Question};

/// Longer than the default session timeout of any client (45 s).
const REBALANCE_TIMEOUT: Duration = Duration::from_secs(60);

impl Apply<'_> {
    /// Waits until the group of `service` is stable without the replicas of these steps, which were removed.
    pub(super) async fn await_rebalance(&self, service: &Service, removed: &[Step]) {
        let (Some(group), Some(kafka)) = (&service.group, &self.pipeline.kafka) else {
            return;
        };
        // With no replica left, no member takes over.
        if removed.is_empty() || self.replicas(service) == 0 {
            return;
        }
        let ids: Vec<_> = removed
            .iter()
            .filter_map(|s| s.container.as_ref())
            .collect();
        let is_removed = |c: &&Container| ids.contains(&&c.id);
        let gone: Vec<_> = self.observed.iter().filter(is_removed).collect();
        let numbered = gone.iter().filter(|c| c.by_caravan);
        let departed = Departed {
            group: group.clone(),
            hosts: gone.iter().flat_map(|c| c.addresses.clone()).collect(),
            instances: group.name().map_or_else(Vec::new, |name| {
                numbered.map(|c| format!("{name}-{}", c.replica)).collect()
            }),
        };
        let names: Vec<_> = gone.iter().map(|c| c.name.as_str()).collect();
        let names = names.join(", ");
        let held = format!("the partitions of group {group} that {names} held");
        self.report(service, &format!("waiting until {held} are reassigned"));
        let address = kafka.address.clone();
        let question = Question::Rebalanced {
            address: address.clone(),
            departed,
            timeout: REBALANCE_TIMEOUT,
        };
        let answer = self.engine.ask(self.pipeline, &address, &question).await;
        let note = match answer.unwrap_or_else(|e| Err(e.to_string())) {
            Ok(None) => return,
            Ok(Some(lingering)) => format!("{held} are not reassigned yet: {lingering}"),
            Err(why) => format!("it is unknown whether {held} are reassigned: {why}"),
        };
        self.send(Event::Note(note));
    }
}
