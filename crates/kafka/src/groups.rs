//! Consumer groups and their members, of both group protocols (classic and consumer).

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use crate::native::{Described, Protocol, State};

use super::{
    Error, Kafka, Partition, Result, TIMEOUT, client::Client, offsets::is_coordinator_loading,
};
use declaration::Group;

/// Between two requests while a group has no coordinator.
const PAUSE: Duration = Duration::from_millis(100);

/// A consumer group as its coordinator describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupState {
    /// Its `group.id`.
    pub name: String,
    /// The group protocol; of an empty group, its last members' protocol.
    pub protocol: Protocol,
    /// Whether it is stable, empty or rebalancing.
    pub state: State,
    /// Its members, in the coordinator's order.
    pub members: Vec<Member>,
    /// No member ever joined it: its consumers assign partitions themselves (`assign()`) and only commit.
    pub simple: bool,
}

/// Groups as their coordinators describe them. A coordinator that does not answer concerns only its groups.
#[derive(Debug, Clone, Default)]
pub struct Groups {
    /// Those that exist.
    pub described: Vec<GroupState>,
    /// Why a group is unknown, by name.
    pub unknown: BTreeMap<String, Error>,
}

/// A member of a group. A static member stays listed until its session times out, running or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its `client.id`.
    pub client_id: String,
    /// `group.instance.id` of a static member.
    pub instance: Option<String>,
    /// Address that it connects from, as text.
    pub host: String,
    /// The partitions assigned to it.
    pub partitions: Vec<Partition>,
}

impl Kafka {
    /// All consumer groups of the cluster, in no order.
    ///
    /// # Errors
    /// Why there was no answer.
    pub async fn groups(&self) -> Result<Vec<GroupState>> {
        let all = |client: &Client| described(client, listed(client)?)?.all();
        self.ask("all groups", all).await
    }

    /// The existing groups of `declared`; for a declared prefix, all groups with that prefix.
    ///
    /// # Errors
    /// Why there was no answer.
    pub async fn groups_of(&self, declared: &[&Group]) -> Result<Vec<GroupState>> {
        self.groups_of_each(declared).await?.all()
    }

    /// As [`Self::groups_of`]; a group that could not be described is no error of the others.
    ///
    /// # Errors
    /// Why there was no answer for any group.
    pub async fn groups_of_each(&self, declared: &[&Group]) -> Result<Groups> {
        let declared: Vec<Group> = declared.iter().map(|group| (*group).clone()).collect();
        self.ask("groups", move |client| {
            let named = declared.iter().map(|group| group.name().map(str::to_owned));
            // Only a prefix requires listing all groups.
            let mut names = match named.collect::<Option<Vec<_>>>() {
                Some(names) => names,
                None => {
                    let mut names = listed(client)?;
                    names.retain(|name| declared.iter().any(|group| group.is(name)));
                    names
                }
            };
            names.sort();
            names.dedup();
            described(client, names)
        })
        .await
    }
}

fn listed(client: &Client) -> Result<Vec<String>> {
    Ok(crate::native::list(client, TIMEOUT)?)
}

fn described(client: &Client, names: Vec<String>) -> Result<Groups> {
    let describe = |names: &[String]| Ok(crate::native::describe(client, names, TIMEOUT)?);
    describe_with_retry(describe, names, TIMEOUT)
}

/// Asks again for those groups whose coordinator is being elected or loads its offsets, as after a
/// broker's start, until `patience` is over.
fn describe_with_retry(
    describe: impl Fn(&[String]) -> Result<Vec<Described>>,
    mut names: Vec<String>,
    patience: Duration,
) -> Result<Groups> {
    let deadline = Instant::now() + patience;
    let mut groups = Groups::default();
    while !names.is_empty() {
        let retry = Instant::now() < deadline;
        let mut again = Vec::new();
        for (name, answer) in names.iter().zip(describe(&names)?) {
            match answer {
                Ok(group) => groups.described.extend(group.map(GroupState::from)),
                Err(e) if retry && is_coordinator_loading(&e) => again.push(name.clone()),
                Err(e) => {
                    let error = Error::from(e).about(format!("group {name}"));
                    groups.unknown.insert(name.clone(), error);
                }
            }
        }
        names = again;
        if !names.is_empty() {
            thread::sleep(PAUSE);
        }
    }
    Ok(groups)
}

/// Kafka's name of a state.
pub fn word(state: State) -> &'static str {
    match state {
        State::Empty => "Empty",
        State::PreparingRebalance => "PreparingRebalance",
        State::CompletingRebalance => "CompletingRebalance",
        State::Reconciling => "Reconciling",
        State::Stable => "Stable",
    }
}

/// Kafka's name of a protocol, as in `group.protocol`.
pub fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Classic => "classic",
        Protocol::Consumer => "consumer",
    }
}

impl Groups {
    /// All groups.
    ///
    /// # Errors
    /// Why one of them is unknown.
    pub fn all(self) -> Result<Vec<GroupState>> {
        match self.unknown.into_values().next() {
            Some(error) => Err(error),
            None => Ok(self.described),
        }
    }

    /// The groups that match the declared `group`, combined ([`as_one`]). None: no group matches.
    ///
    /// # Errors
    /// Why one of the matching groups is unknown.
    pub fn as_one(&self, group: &Group) -> Result<Option<GroupState>> {
        match self.unknown.iter().find(|(name, _)| group.is(name)) {
            Some((_, error)) => Err(error.clone()),
            None => Ok(as_one(group, &self.described)),
        }
    }
}

impl GroupState {
    /// Whether the group is stable or empty, thus not rebalancing.
    pub fn is_at_rest(&self) -> bool {
        matches!(self.state, State::Stable | State::Empty)
    }
}

/// The `groups` that match the declared `group`. If any group with a declared prefix has members, groups
/// without members are left out: earlier starts created them.
pub fn matching_groups<'a>(group: &Group, groups: &'a [GroupState]) -> Vec<&'a GroupState> {
    let mut matching: Vec<_> = groups.iter().filter(|g| group.is(&g.name)).collect();
    if matching.iter().any(|g| !g.members.is_empty()) {
        matching.retain(|g| !g.members.is_empty());
    }
    matching
}

/// The groups that match the declared `group`, combined: all their members, and the state of the first
/// that is not at rest. None: no group matches.
pub fn as_one(group: &Group, groups: &[GroupState]) -> Option<GroupState> {
    let matching = matching_groups(group, groups);
    let rebalancing = matching.iter().find(|g| !g.is_at_rest());
    let shown = rebalancing.or_else(|| matching.first())?;
    Some(GroupState {
        name: shown.name.clone(),
        protocol: shown.protocol,
        state: shown.state,
        members: matching.iter().flat_map(|g| g.members.clone()).collect(),
        simple: matching.iter().all(|g| g.simple),
    })
}

impl From<crate::native::Group> for GroupState {
    fn from(group: crate::native::Group) -> Self {
        Self {
            name: group.name,
            protocol: group.protocol,
            state: group.state,
            members: group.members.into_iter().map(Member::from).collect(),
            simple: group.simple,
        }
    }
}

impl From<crate::native::Member> for Member {
    fn from(member: crate::native::Member) -> Self {
        Self {
            // Java prints an address as `host/address`; the host is usually empty.
            host: member
                .host
                .rsplit('/')
                .next()
                .unwrap_or_default()
                .to_owned(),
            client_id: member.client_id,
            instance: member.instance,
            partitions: member.partitions,
        }
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::error::{KafkaError, RDKafkaErrorCode};

    use super::*;

    fn state(name: &str, state: State, clients: &[&str]) -> GroupState {
        let member = |client: &&str| Member {
            client_id: (*client).to_owned(),
            instance: None,
            host: String::new(),
            partitions: Vec::new(),
        };
        GroupState {
            name: name.to_owned(),
            protocol: Protocol::Classic,
            state,
            members: clients.iter().map(member).collect(),
            simple: false,
        }
    }

    fn native(name: &str) -> crate::native::Group {
        crate::native::Group {
            name: name.to_owned(),
            protocol: Protocol::Classic,
            state: State::Stable,
            members: Vec::new(),
            simple: false,
        }
    }

    #[test]
    fn a_group_without_a_coordinator_is_asked_for_again_and_unknown_alone() {
        let asked = std::cell::RefCell::new(Vec::new());
        let describe = |names: &[String]| {
            asked.borrow_mut().push(names.to_vec());
            let lost = |code| Err(KafkaError::GroupListFetch(code));
            let answer = |name: &String| match (name.as_str(), asked.borrow().len()) {
                ("moved", 1) => lost(RDKafkaErrorCode::NotCoordinator),
                ("lost", _) => lost(RDKafkaErrorCode::CoordinatorNotAvailable),
                ("refused", _) => lost(RDKafkaErrorCode::GroupAuthorizationFailed),
                ("none", _) => Ok(None),
                (name, _) => Ok(Some(native(name))),
            };
            Ok(names.iter().map(answer).collect())
        };
        let names = ["fine", "lost", "moved", "none", "refused"].map(str::to_owned);
        let patience = PAUSE * 3;
        let groups = describe_with_retry(describe, names.to_vec(), patience).expect("answers");
        let of = |name: &str| groups.as_one(&Group::Named(name.to_owned()));
        assert!(of("fine").expect("is described").is_some());
        assert!(of("moved").expect("is described in the end").is_some());
        assert!(of("none").expect("does not exist").is_none());
        let error = of("lost").expect_err("no coordinator").to_string();
        assert!(error.contains("group lost"), "{error}");
        assert!(of("refused").is_err());
        let asked = asked.into_inner();
        assert_eq!(asked[1], ["lost", "moved"], "only what may pass");
        assert_eq!(asked[2], ["lost"]);
        assert!(groups.all().is_err());
    }

    #[test]
    fn groups_of_one_prefix_are_combined_without_those_that_have_no_members() {
        let groups = [
            state("orders-1", State::Empty, &[]),
            state("orders-2", State::Stable, &["a"]),
            state("orders-3", State::PreparingRebalance, &["b"]),
            state("other", State::Stable, &["c"]),
        ];
        let prefix = Group::Prefix("orders-".to_owned());
        let names: Vec<_> = matching_groups(&prefix, &groups)
            .iter()
            .map(|g| &g.name)
            .collect();
        assert_eq!(names, ["orders-2", "orders-3"]);
        let one = as_one(&prefix, &groups).expect("there are some");
        assert_eq!(one.state, State::PreparingRebalance);
        assert_eq!(one.members.len(), 2);
        let left = as_one(&prefix, &groups[..1]).expect("it is there");
        assert!(left.is_at_rest());
        assert_eq!(as_one(&Group::Named("orders".to_owned()), &groups), None);
    }
}
