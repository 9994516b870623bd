//! Consumer groups: each exists, is stable, has its partitions assigned to running containers, commits
//! offsets, keeps up, loses nothing, and leaves rows.

use chrono::TimeDelta;

use super::{effects, lag};
use crate::checks::{
    check::Check,
    context::CheckContext,
    finding::{Outcome, Status},
    ids,
    observe::{
        ObservationError,
        groups::{SETTLES, Unheld, Worker},
        progress::{self, Commits, LONGEST_WATCH, Lost},
    },
};
use declaration::{Group, Pipeline, Service};
use kafka::groups::{self, GroupState};

pub(super) fn checks(pipeline: &Pipeline) -> Vec<Check<'_>> {
    let services = pipeline.services.iter();
    let grouped = services.filter_map(|s| Some((s, s.group.as_ref()?)));
    grouped
        .flat_map(|(service, group)| of_service(pipeline, service, group))
        .collect()
}

fn of_service<'a>(
    pipeline: &'a Pipeline,
    service: &'a Service,
    group: &'a Group,
) -> Vec<Check<'a>> {
    let own = |kind: ids::Kind| kind.of(&service.name);
    let topics = ids::consumed_topics(pipeline, service);
    let dependencies = ids::dependencies_and_calls(pipeline, service);
    let deployed = ids::deployed(pipeline, service);

    let is_there =
        async move |context: &CheckContext<'_>| judged(context, service, group, exists).await;
    let is_stable = async move |context: &CheckContext<'_>| {
        judged(context, service, group, |worker, state| match state {
            Some(state) => stable(worker, state),
            None => Outcome::fail("the group does not exist"),
        })
        .await
    };
    let is_assigned = async move |context: &CheckContext<'_>| {
        let groups = context.observed.groups().await;
        let commits = groups.is_ok_and(|groups| {
            let committed = groups.observed_committed(service);
            committed.is_ok_and(|offsets| !offsets.is_empty())
        });
        judged(context, service, group, |worker, state| {
            assigned(worker, state, commits)
        })
        .await
    };
    let loses_nothing =
        async move |context: &CheckContext<'_>| match progress::lost(&context.observed, service)
            .await
        {
            Ok(gone) => lost(&gone),
            Err(why) => Outcome::fail(format!("unknown: {why}")),
        };
    let interval = service.commit_interval.unwrap_or_default();
    let watched = interval.min(LONGEST_WATCH);
    let keeps_up = async move |context: &CheckContext<'_>| lag::check(context, service).await;
    let has_committed = async move |context: &CheckContext<'_>| {
        let outcome = match progress::commits(&context.observed, service).await {
            Ok(commits) => committed(&commits),
            Err(why) => Outcome::fail(format!("unknown: {why}")),
        };
        context.remedied(outcome, &service.name).await
    };
    let checks = [
        Check::new(own(ids::GROUP), "exists", is_there)
            .needs(ids::kafka(pipeline))
            .explained_by([deployed.clone()])
            .explained_by(topics.clone()),
        Check::new(own(ids::STABLE), "not rebalancing", is_stable)
            .needs([own(ids::GROUP)])
            .explained_by(dependencies.clone()),
        Check::new(
            own(ids::ASSIGNED),
            "every partition assigned to a running container",
            is_assigned,
        )
        .needs(ids::kafka(pipeline))
        .needs(topics.clone())
        .explained_by([deployed.clone(), own(ids::GROUP)])
        .explained_by(ids::started(service))
        .explained_by([own(ids::STABLE)])
        .explained_by(dependencies.clone()),
        Check::new(own(ids::LOST), "no unread event was deleted", loses_nothing)
            .needs(ids::kafka(pipeline))
            .needs(topics.clone()),
        Check::new(own(ids::LAG), "lag 0", keeps_up)
            .longer_by(watched)
            .needs(ids::kafka(pipeline))
            .needs(topics.clone())
            .explained_by([deployed.clone(), own(ids::ASSIGNED)])
            .explained_by(dependencies.clone()),
        Check::new(
            own(ids::COMMITTED),
            "an offset where there are messages",
            has_committed,
        )
        .needs([own(ids::GROUP)])
        .needs(topics)
        .explained_by([deployed, own(ids::ASSIGNED), own(ids::LAG)])
        .explained_by(dependencies),
    ];
    let checks = checks.into_iter().chain(effects::check(pipeline, service));
    checks
        .map(|check| check.possible_causes([ids::as_declared(service)]))
        .collect()
}

/// Observes the group of a service and applies `judge`.
async fn judged(
    context: &CheckContext<'_>,
    service: &Service,
    group: &Group,
    judge: impl FnOnce(&Worker<'_>, Option<&GroupState>) -> Outcome,
) -> Outcome {
    let observed = async {
        let broker = context.observed.broker().await?;
        let state = context.observed.groups().await?.state(group)?;
        Ok::<_, ObservationError>((broker, state))
    };
    let (broker, state) = match observed.await {
        Ok(observed) => observed,
        Err(why) => return Outcome::fail(why),
    };
    let containers = context.observed.all_containers().await;
    let worker = Worker::new(broker, service, group, containers);
    let outcome = judge(&worker, state.as_ref());
    match outcome.status {
        // A restart would make a group rebalance once more.
        Status::Warn => outcome.hint(context.command("groups")),
        Status::Pass | Status::Fail | Status::Skip => {
            context.remedied(outcome, &service.name).await
        }
    }
}

/// Kafka knows the group.
fn exists(worker: &Worker<'_>, group: Option<&GroupState>) -> Outcome {
    match group {
        Some(_) => Outcome::pass("there"),
        None => Outcome::fail(format!("group {} does not exist", worker.group)),
    }
}

/// A member that ended without leaving its group stays a member until its session times out: after 45 s
/// with the defaults of librdkafka and the Java client.
const SESSION: TimeDelta = TimeDelta::seconds(60);

/// A failure is only a warning while a former member may still be waited for.
fn after_start(worker: &Worker<'_>, failure: Outcome) -> Outcome {
    let Some(age) = worker.since_start.filter(|age| *age < SESSION) else {
        return failure;
    };
    let seen = failure.seen;
    let waits = "a member that ended without leaving is waited for until its session times out";
    Outcome::warn(format!(
        "{seen}; a container was started {}s ago",
        age.num_seconds()
    ))
    .evidence(failure.evidence)
    .evidence([waits.to_owned()])
}

/// The group does not rebalance. An empty group is stable.
fn stable(worker: &Worker<'_>, group: &GroupState) -> Outcome {
    if group.is_at_rest() {
        return Outcome::pass(match group.members.len() {
            0 => "no members".to_owned(),
            1 => "1 member".to_owned(),
            n => format!("{n} members"),
        });
    }
    let members = group.members.iter();
    let state = groups::word(group.state);
    let failure = Outcome::fail(format!("{state} for {}s", SETTLES.as_secs()))
        .evidence(members.map(|m| format!("{} at {}", m.client_id, m.host)));
    after_start(worker, failure)
}

/// All partitions are held: by all replicas, or by as many replicas as there are partitions.
///
/// A consumer that assigns partitions itself joins no group: only its commits tell that it is there.
fn assigned(worker: &Worker<'_>, group: Option<&GroupState>, commits: bool) -> Outcome {
    let (total, replicas) = (worker.partitions.len(), worker.replicas);
    if commits && replicas > 0 && group.is_some_and(|g| g.simple && g.members.is_empty()) {
        return Outcome::warn(
            "unknown: it commits without members, so it assigns partitions itself",
        );
    }
    let unheld = worker.unheld(group);
    if !unheld.is_empty() {
        let failure = Outcome::fail(format!("{} of {total}", total - unheld.len()))
            .evidence(unheld.iter().map(|unheld| describe(worker, unheld)));
        let rebalances = group.is_some_and(|g| !g.is_at_rest());
        let former_member = unheld.iter().any(|unheld| unheld.holder.is_some());
        return match rebalances || former_member {
            true => after_start(worker, failure),
            false => failure,
        };
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

fn describe(worker: &Worker<'_>, unheld: &Unheld<'_>) -> String {
    let (topic, number) = unheld.partition;
    match unheld.holder {
        Some(member) => format!(
            "{topic}/{number}: assigned to {} at {}, no running container of {}",
            member.client_id, member.host, worker.service.name
        ),
        None => format!("{topic}/{number}: not assigned"),
    }
}

/// Offsets below the first one of a partition were deleted before the group consumed them.
fn lost(gone: &[Lost]) -> Outcome {
    let count: i64 = gone.iter().map(|lost| lost.earliest - lost.committed).sum();
    if gone.is_empty() {
        return Outcome::pass("none");
    }
    let lines = gone.iter().map(|lost| {
        let Lost {
            partition: (topic, number),
            committed,
            earliest,
        } = lost;
        format!(
            "{topic}/{number}: offsets {committed} to {} are gone",
            earliest - 1
        )
    });
    let seen = match count {
        1 => "1 event was deleted before it was consumed".to_owned(),
        n => format!("{n} events were deleted before they were consumed"),
    };
    Outcome::fail(seen).evidence(lines)
}

/// The group has committed an offset in a partition that has records. Without any, a consumer starts
/// again at an end of the topic each time. A single partition without an offset is only behind.
fn committed(commits: &Commits) -> Outcome {
    let (all, without) = (commits.partitions, &commits.without);
    if all == 0 {
        return Outcome::pass("no messages");
    }
    if without.len() < all {
        return Outcome::pass(format!("{} of {all}", all - without.len()));
    }
    let lines = without.iter();
    let lines = lines.map(|(topic, partition)| format!("{topic}/{partition}: nothing committed"));
    Outcome::fail(format!("none, of {all} partitions")).evidence(lines)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use kafka::{
        Partition, Protocol, State,
        groups::{GroupState, Member},
    };

    use super::*;
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
            simple: false,
        }
    }

    /// Statuses of `exists`, `stable` (where there is a group) and `assigned` for a worker with two
    /// partitions, whose container runs at 172.18.0.9 or not at all.
    fn statuses(group: Option<&GroupState>, runs: bool) -> Vec<Status> {
        statuses_after(None, group, runs)
    }

    /// As [`statuses`], so long after the start of the container.
    fn statuses_after(
        since_start: Option<TimeDelta>,
        group: Option<&GroupState>,
        runs: bool,
    ) -> Vec<Status> {
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
            since_start,
        };
        let outcomes = [
            Some(exists(&worker, group)),
            group.map(|group| stable(&worker, group)),
            Some(assigned(&worker, group, false)),
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
                since_start: None,
            };
            let group = group(State::Stable, members);
            let outcome = assigned(&worker, Some(&group), false);
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
    fn a_former_member_is_waited_for_until_its_session_times_out() {
        let former = group(State::Stable, vec![member("172.18.0.77", &[0, 1])]);
        let joins = group(State::PreparingRebalance, vec![member("172.18.0.77", &[])]);
        let after = |seconds, group| {
            let since_start = Some(TimeDelta::seconds(seconds));
            statuses_after(since_start, Some(group), true)
        };
        let (pass, warn, fail) = (Status::Pass, Status::Warn, Status::Fail);
        assert_eq!(after(20, &former), [pass, pass, warn]);
        assert_eq!(after(90, &former), [pass, pass, fail]);
        assert_eq!(after(20, &joins), [pass, warn, warn]);
        assert_eq!(after(90, &joins), [pass, fail, fail]);
        let nobody = group(State::Stable, Vec::new());
        assert_eq!(
            after(20, &nobody),
            [pass, pass, fail],
            "nothing to wait for"
        );
    }

    #[test]
    fn a_consumer_that_assigns_partitions_itself_is_judged_by_its_commits() {
        let pipeline = shipped();
        let service = pipeline.service("allocation-worker").expect("is declared");
        let worker = |replicas| Worker {
            service,
            group: service.group.as_ref().expect("has one"),
            partitions: vec![partition(0)],
            replicas,
            running: BTreeSet::new(),
            instances: BTreeSet::new(),
            since_start: None,
        };
        let simple = GroupState {
            simple: true,
            ..group(State::Empty, Vec::new())
        };
        let judged = |replicas, commits| assigned(&worker(replicas), Some(&simple), commits).status;
        assert_eq!(judged(1, true), Status::Warn);
        assert_eq!(judged(1, false), Status::Fail);
        assert_eq!(judged(0, true), Status::Fail, "no container runs");
        let left = group(State::Empty, Vec::new());
        let left = assigned(&worker(1), Some(&left), true);
        assert_eq!(left.status, Status::Fail, "it had members");
    }

    #[test]
    fn deleted_events_are_counted_by_number() {
        let gone = Lost {
            partition: partition(1),
            committed: 7,
            earliest: 22,
        };
        let outcome = lost(&[gone]);
        assert_eq!(
            outcome.seen,
            "15 events were deleted before they were consumed"
        );
        assert_eq!(
            outcome.evidence,
            ["purchase-created/1: offsets 7 to 21 are gone"]
        );
        assert_eq!(lost(&[]).status, Status::Pass);
    }

    #[test]
    fn a_group_that_does_not_exist_or_settle_fails() {
        assert_eq!(statuses(None, true), [Status::Fail, Status::Fail]);
        let rebalancing = group(State::PreparingRebalance, vec![member("172.18.0.9", &[])]);
        let expected = [Status::Pass, Status::Fail, Status::Fail];
        assert_eq!(statuses(Some(&rebalancing), true), expected);
    }
}
