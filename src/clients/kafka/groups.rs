//! Consumer groups and their members.

use rdkafka::groups::{GroupInfo, GroupMemberInfo};

use super::{Kafka, Partition, TIMEOUT, assignment, client::describe};

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
