//! What is made of a group, its members and its lag.

use std::{collections::BTreeSet, net::IpAddr};

use super::SETTLES;
use crate::checks::finding::Outcome;
use declaration::{Group, Service};
use kafka::{
    Partition,
    groups::{self, GroupState, Member},
};

/// A service that consumes, and what it should hold.
pub(super) struct Worker<'a> {
    pub(super) service: &'a Service,
    pub(super) group: &'a Group,
    /// Of all topics that it consumes and that exist.
    pub(super) partitions: Vec<Partition>,
    /// How many containers of it run.
    pub(super) replicas: usize,
    /// Addresses of its running containers.
    pub(super) running: BTreeSet<IpAddr>,
    /// Names that its running containers have as static members. Kafka keeps the address with
    /// which such a member first joined, and a restarted container may have another one.
    pub(super) instances: BTreeSet<String>,
}

/// Kafka knows the group.
pub(super) fn exists(worker: &Worker<'_>, group: Option<&GroupState>) -> Outcome {
    match group {
        Some(_) => Outcome::pass("there"),
        None => Outcome::fail(format!("group {} does not exist", worker.group)),
    }
}

/// It is at rest: an empty group is.
pub(super) fn stable(group: &GroupState) -> Outcome {
    if group.is_at_rest() {
        return Outcome::pass(match group.members.len() {
            0 => "no members".to_owned(),
            1 => "1 member".to_owned(),
            n => format!("{n} members"),
        });
    }
    let members = group.members.iter();
    let state = groups::word(group.state);
    Outcome::fail(format!("{state} for {} s", SETTLES.as_secs()))
        .evidence(members.map(|m| format!("{} at {}", m.client_id, m.host)))
}

/// All partitions are held; by all replicas, or by as many as there are partitions.
pub(super) fn assigned(worker: &Worker<'_>, group: Option<&GroupState>) -> Outcome {
    let (total, replicas) = (worker.partitions.len(), worker.replicas);
    let unheld = worker.unheld(group);
    if !unheld.is_empty() {
        return Outcome::fail(format!("{} of {total}", total - unheld.len())).evidence(unheld);
    }
    let all = format!("{total} of {total}");
    if worker.lacks_holders(group) {
        let holders = worker.holders(group);
        return Outcome::fail(format!("{all}, by {holders} of {replicas} replicas"));
    }
    match replicas {
        0 | 1 => Outcome::pass(all),
        _ if replicas > total => {
            let idle = replicas - total;
            Outcome::warn(format!("{all}; {idle} of {replicas} replicas have none"))
        }
        _ => Outcome::pass(format!("{all}, over {replicas} replicas")),
    }
}

impl Worker<'_> {
    /// The partitions that no running container of the service holds, and who does, a line each.
    pub(super) fn unheld(&self, group: Option<&GroupState>) -> Vec<String> {
        let members = group.map_or(&[][..], |g| &g.members);
        let holder = |p: &Partition| members.iter().find(|m| m.partitions.contains(p));
        let unheld = |partition: &Partition| {
            let (topic, number) = partition;
            match holder(partition) {
                Some(member) if self.runs(member) => None,
                Some(member) => Some(format!(
                    "{topic}/{number}: held by {} at {}, no running container of {}",
                    member.client_id, member.host, self.service.name
                )),
                None => Some(format!("{topic}/{number}: held by nobody")),
            }
        };
        self.partitions.iter().filter_map(unheld).collect()
    }

    /// Whether a running replica has nothing to do while there are partitions enough.
    pub(super) fn lacks_holders(&self, group: Option<&GroupState>) -> bool {
        self.holders(group) < self.replicas.min(self.partitions.len())
    }

    /// Members of running containers that hold a partition.
    fn holders(&self, group: Option<&GroupState>) -> usize {
        let members = group.map_or(&[][..], |g| &g.members);
        let holds = |m: &&Member| self.runs(m) && !m.partitions.is_empty();
        members.iter().filter(holds).count()
    }

    fn runs(&self, member: &Member) -> bool {
        let host = member.host.parse();
        host.is_ok_and(|host: IpAddr| self.running.contains(&host))
            || (member.instance.as_ref()).is_some_and(|name| self.instances.contains(name))
    }
}

#[cfg(test)]
mod tests {
    use kafka::{Protocol, State};

    use super::*;
    use crate::checks::finding::Status;
    use declaration::testing::shipped;

    const TOPIC: &str = "purchase-created";

    fn partition(number: i32) -> Partition {
        (TOPIC.to_owned(), number)
    }

    fn member(host: &str, partitions: &[i32]) -> Member {
        Member {
            client_id: "some-client".to_owned(),
            instance: None,
            host: host.to_owned(),
            partitions: partitions.iter().map(|p| partition(*p)).collect(),
        }
    }

    fn group(state: State, members: Vec<Member>) -> GroupState {
        GroupState {
            name: "allocation-worker".to_owned(),
            protocol: Protocol::Classic,
            state,
            members,
        }
    }

    /// Statuses of `exists`, `stable` (where there is a group) and `assigned` for a worker with two
    /// partitions, whose container runs at 172.18.0.9 or not at all.
    fn statuses(group: Option<&GroupState>, runs: bool) -> Vec<Status> {
        let pipeline = shipped();
        let service = pipeline.service("allocation-worker").expect("is declared");
        let worker = Worker {
            service,
            group: service.group.as_ref().expect("has one"),
            partitions: vec![partition(0), partition(1)],
            replicas: usize::from(runs),
            running: runs.then(|| [172, 18, 0, 9].into()).into_iter().collect(),
            instances: runs
                .then(|| "allocation-worker-1".to_owned())
                .into_iter()
                .collect(),
        };
        let outcomes = [
            Some(exists(&worker, group)),
            group.map(stable),
            Some(assigned(&worker, group)),
        ];
        outcomes.into_iter().flatten().map(|o| o.status).collect()
    }

    #[test]
    fn a_worker_at_work_passes() {
        let working = group(State::Stable, vec![member("172.18.0.9", &[0, 1])]);
        assert_eq!(statuses(Some(&working), true), [Status::Pass; 3]);
    }

    #[test]
    fn a_static_member_is_known_by_its_name_wherever_it_first_joined_from() {
        let mut moved = member("172.18.0.77", &[0, 1]);
        moved.instance = Some("allocation-worker-1".to_owned());
        let group = group(State::Stable, vec![moved]);
        assert_eq!(statuses(Some(&group), true), [Status::Pass; 3]);
        assert_eq!(statuses(Some(&group), false)[2], Status::Fail);
    }

    #[test]
    fn partitions_are_spread_over_all_replicas_there_are_partitions_for() {
        let pipeline = shipped();
        let hosts = ["172.18.0.9", "172.18.0.10", "172.18.0.11"];
        let found = |replicas: usize, members: Vec<Member>| {
            let service = pipeline.service("allocation-worker").expect("is declared");
            let worker = Worker {
                service,
                group: service.group.as_ref().expect("has one"),
                partitions: vec![partition(0), partition(1)],
                replicas,
                running: hosts.iter().filter_map(|host| host.parse().ok()).collect(),
                instances: BTreeSet::new(),
            };
            let group = group(State::Stable, members);
            let outcome = assigned(&worker, Some(&group));
            (outcome.status, outcome.seen)
        };
        let spread = || vec![member(hosts[0], &[0]), member(hosts[1], &[1])];
        assert_eq!(
            found(2, spread()),
            (Status::Pass, "2 of 2, over 2 replicas".to_owned())
        );
        let one = vec![member(hosts[0], &[0, 1]), member(hosts[1], &[])];
        assert_eq!(
            found(2, one),
            (Status::Fail, "2 of 2, by 1 of 2 replicas".to_owned())
        );
        assert_eq!(
            found(3, spread()),
            (Status::Warn, "2 of 2; 1 of 3 replicas have none".to_owned())
        );
    }

    /// A static member stays in its group until its session ends; then the group is empty.
    #[test]
    fn a_stopped_worker_is_the_same_before_and_after_its_session_ends() {
        let lingering = group(State::Stable, vec![member("172.18.0.9", &[0, 1])]);
        let empty = group(State::Empty, Vec::new());
        let expected = [Status::Pass, Status::Pass, Status::Fail];
        assert_eq!(statuses(Some(&lingering), false), expected);
        assert_eq!(statuses(Some(&empty), false), expected);
    }

    #[test]
    fn a_partition_of_nobody_or_of_another_container_is_not_assigned() {
        let partly = group(State::Stable, vec![member("172.18.0.9", &[0])]);
        let stranger = group(
            State::Stable,
            vec![member("172.18.0.9", &[0]), member("172.18.0.77", &[1])],
        );
        let expected = [Status::Pass, Status::Pass, Status::Fail];
        assert_eq!(statuses(Some(&partly), true), expected);
        assert_eq!(statuses(Some(&stranger), true), expected);
    }

    #[test]
    fn a_group_that_does_not_exist_or_settle_fails() {
        assert_eq!(statuses(None, true), [Status::Fail, Status::Fail]);
        let rebalancing = group(State::PreparingRebalance, vec![member("172.18.0.9", &[])]);
        let expected = [Status::Pass, Status::Fail, Status::Fail];
        assert_eq!(statuses(Some(&rebalancing), true), expected);
    }
}
