//! Consumer groups and their members.

use rdkafka::groups::{GroupInfo, GroupMemberInfo};

use super::{Kafka, Partition, TIMEOUT, assignment, client::describe};
use crate::pipeline::Group;

/// A consumer group as its coordinator describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GroupState {
    pub(crate) name: String,
    /// Kafka's word: `Stable`, `Empty`, `PreparingRebalance`, `CompletingRebalance`, `Dead`.
    pub(crate) state: String,
    pub(crate) members: Vec<Member>,
}

/// A member of a group. A static one is listed until its session times out, running or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) client_id: String,
    /// Address that it connects from, as text.
    pub(crate) host: String,
    pub(crate) partitions: Vec<Partition>,
}

impl Kafka {
    /// All consumer groups of the cluster, in two round trips; in no order.
    ///
    /// # Errors
    /// Why there was no answer.
    pub(crate) async fn groups(&self) -> Result<Vec<GroupState>, String> {
        self.ask(|client| {
            let list = client
                .fetch_group_list(None, TIMEOUT)
                .map_err(|e| describe(&e))?;
            let consumers = list
                .groups()
                .iter()
                .filter(|g| g.protocol_type() == "consumer");
            Ok(consumers.map(group).collect())
        })
        .await
    }
}

impl GroupState {
    /// Neither rebalancing nor about to.
    pub(crate) fn is_at_rest(&self) -> bool {
        matches!(self.state.as_str(), "Stable" | "Empty")
    }
}

/// Those of `groups` that are declared as `group`. Of several that begin alike those without a
/// member were left by earlier starts, unless none has one.
pub(crate) fn meant<'a>(group: &Group, groups: &'a [GroupState]) -> Vec<&'a GroupState> {
    let mut meant: Vec<_> = groups.iter().filter(|g| group.is(&g.name)).collect();
    if meant.iter().any(|g| !g.members.is_empty()) {
        meant.retain(|g| !g.members.is_empty());
    }
    meant
}

/// What is declared as `group`, as one: all members, and the state of the first that is not at
/// rest. None: there is no such group.
pub(crate) fn as_one(group: &Group, groups: &[GroupState]) -> Option<GroupState> {
    let meant = meant(group, groups);
    let restless = meant.iter().find(|g| !g.is_at_rest());
    let told = restless.or_else(|| meant.first())?;
    Some(GroupState {
        name: told.name.clone(),
        state: told.state.clone(),
        members: meant.iter().flat_map(|g| g.members.clone()).collect(),
    })
}

fn group(info: &GroupInfo) -> GroupState {
    GroupState {
        name: info.name().to_owned(),
        state: info.state().to_owned(),
        members: info.members().iter().map(member).collect(),
    }
}

fn member(info: &GroupMemberInfo) -> Member {
    // Java prints an address as `host/address`, mostly with no host.
    let host = info.client_host();
    Member {
        client_id: info.client_id().to_owned(),
        host: host.rsplit('/').next().unwrap_or(host).to_owned(),
        // A member without an assignment, or with one in a format of its own, holds nothing.
        partitions: info
            .assignment()
            .and_then(assignment::decode)
            .unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(name: &str, state: &str, clients: &[&str]) -> GroupState {
        let member = |client: &&str| Member {
            client_id: (*client).to_owned(),
            host: String::new(),
            partitions: Vec::new(),
        };
        GroupState {
            name: name.to_owned(),
            state: state.to_owned(),
            members: clients.iter().map(member).collect(),
        }
    }

    #[test]
    fn groups_that_begin_alike_are_one_and_those_left_behind_do_not_count() {
        let groups = [
            state("orders-1", "Empty", &[]),
            state("orders-2", "Stable", &["a"]),
            state("orders-3", "PreparingRebalance", &["b"]),
            state("other", "Stable", &["c"]),
        ];
        let prefix = Group::Prefix("orders-".to_owned());
        let names: Vec<_> = meant(&prefix, &groups).iter().map(|g| &g.name).collect();
        assert_eq!(names, ["orders-2", "orders-3"]);
        let one = as_one(&prefix, &groups).expect("there are some");
        assert_eq!(one.state, "PreparingRebalance");
        assert_eq!(one.members.len(), 2);
        let left = as_one(&prefix, &groups[..1]).expect("it is there");
        assert!(left.is_at_rest());
        assert_eq!(as_one(&Group::Named("orders".to_owned()), &groups), None);
    }
}
