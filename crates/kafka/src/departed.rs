//! Waiting for a consumer group to drop removed members. A static member stays listed, and keeps its
//! partitions, until its session times out.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use super::{
    Kafka, Result,
    groups::{GroupState, Member},
};
use declaration::Group;

/// Between two requests.
const PAUSE: Duration = Duration::from_millis(200);

/// Replicas that were removed from a group.
#[derive(Debug, Clone)]
pub struct Departed {
    /// The group, as declared.
    pub group: Group,
    /// Addresses that they connected from.
    pub hosts: Vec<IpAddr>,
    /// Their `group.instance.id`; a static member may have joined from another address.
    pub instances: Vec<String>,
}

impl Departed {
    /// Waits until the group is stable (or empty) without them. Returns None then, and after `timeout`
    /// a text that names the remaining member or the rebalance.
    ///
    /// # Errors
    /// Kafka does not respond.
    pub async fn taken_over(&self, bootstrap: &str, timeout: Duration) -> Result<Option<String>> {
        let kafka = Kafka::connect(bootstrap).await?;
        let deadline = Instant::now() + timeout;
        loop {
            let groups = kafka.groups_of(&[&self.group]).await?;
            let lingering = groups.iter().find_map(|group| self.lingering(group));
            if lingering.is_none() || Instant::now() > deadline {
                return Ok(lingering);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// What the wait is for: a removed member, or a rebalance. None: the group is done.
    fn lingering(&self, group: &GroupState) -> Option<String> {
        let name = &group.name;
        match group.members.iter().find(|member| self.is_of(member)) {
            Some(member) => Some(format!("group {name} still has {}", member.client_id)),
            None if group.is_at_rest() => None,
            None => Some(format!("group {name} rebalances")),
        }
    }

    fn is_of(&self, member: &Member) -> bool {
        let host = member.host.parse();
        host.is_ok_and(|host: IpAddr| self.hosts.contains(&host))
            || (member.instance.as_ref()).is_some_and(|name| self.instances.contains(name))
    }
}

#[cfg(test)]
mod tests {
    use crate::native::{Protocol, State};

    use super::*;

    fn group(state: State, members: &[(&str, &str)]) -> GroupState {
        let member = |(instance, host): &(&str, &str)| Member {
            client_id: "client".to_owned(),
            instance: Some((*instance).to_owned()),
            host: (*host).to_owned(),
            partitions: Vec::new(),
        };
        GroupState {
            name: "orders".to_owned(),
            protocol: Protocol::Classic,
            state,
            members: members.iter().map(member).collect(),
        }
    }

    #[test]
    fn a_removed_replica_is_recognised_by_its_instance_id_or_its_address() {
        let departed = Departed {
            group: Group::Named("orders".to_owned()),
            hosts: vec![[172, 18, 0, 9].into()],
            instances: vec!["orders-2".to_owned()],
        };
        let waits = |state, members: &[(&str, &str)]| {
            let lingering = departed.lingering(&group(state, members));
            lingering.is_some()
        };
        let left = ("orders-1", "172.18.0.8");
        assert!(waits(State::Stable, &[left, ("orders-2", "172.18.0.77")]));
        assert!(waits(State::Stable, &[left, ("x", "172.18.0.9")]));
        assert!(waits(State::PreparingRebalance, &[left]));
        assert!(!waits(State::Stable, &[left]));
        assert!(!waits(State::Empty, &[]));
    }
}
