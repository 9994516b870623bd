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

/// Waits until the group is stable (or empty) without removed members: those that connected from
/// `hosts`, and the static ones named in `instances` (`group.instance.id`), wherever they joined from.
/// Returns None then, and after `timeout` a text that names the remaining member or the rebalance.
///
/// # Errors
/// Kafka does not respond.
pub async fn taken_over(
    bootstrap: &str,
    group: &Group,
    hosts: &[IpAddr],
    instances: &[String],
    timeout: Duration,
) -> Result<Option<String>> {
    let kafka = Kafka::connect(bootstrap).await?;
    let deadline = Instant::now() + timeout;
    let is_removed = |member: &Member| is_removed(member, hosts, instances);
    loop {
        let groups = kafka.groups_of(&[group]).await?;
        let lingering = groups.iter().find_map(|group| lingering(group, is_removed));
        if lingering.is_none() || Instant::now() > deadline {
            return Ok(lingering);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// What the wait is for: a removed member, or a rebalance. None: the group is done.
fn lingering(group: &GroupState, is_removed: impl Fn(&Member) -> bool) -> Option<String> {
    let name = &group.name;
    match group.members.iter().find(|member| is_removed(member)) {
        Some(member) => Some(format!("group {name} still has {}", member.client_id)),
        None if group.is_at_rest() => None,
        None => Some(format!("group {name} rebalances")),
    }
}

fn is_removed(member: &Member, hosts: &[IpAddr], instances: &[String]) -> bool {
    let host = member.host.parse();
    host.is_ok_and(|host: IpAddr| hosts.contains(&host))
        || (member.instance.as_ref()).is_some_and(|name| instances.contains(name))
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
            simple: false,
        }
    }

    #[test]
    fn a_removed_replica_is_recognised_by_its_instance_id_or_its_address() {
        let hosts = [[172, 18, 0, 9].into()];
        let instances = ["orders-2".to_owned()];
        let waits = |state, members: &[(&str, &str)]| {
            let is_removed = |member: &Member| is_removed(member, &hosts, &instances);
            lingering(&group(state, members), is_removed).is_some()
        };
        let left = ("orders-1", "172.18.0.8");
        assert!(waits(State::Stable, &[left, ("orders-2", "172.18.0.77")]));
        assert!(waits(State::Stable, &[left, ("x", "172.18.0.9")]));
        assert!(waits(State::PreparingRebalance, &[left]));
        assert!(!waits(State::Stable, &[left]));
        assert!(!waits(State::Empty, &[]));
    }
}
