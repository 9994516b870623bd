//! Consumer groups: there, at rest, every partition held by a running container, lag.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    time::{Duration, Instant},
};

use futures_util::future::join_all;

use super::{
    Containers, Scene,
    broker::Broker,
    finding::{Check, Finding},
    topics,
};
use crate::{
    clients::kafka::{
        Partition,
        groups::{GroupState, Member},
        offsets::{End, Offsets, lag},
    },
    engine::observed::{Container, State},
    error::Result,
    pipeline::Service,
};

/// How long a group may take to settle, for instance after its worker was started just now.
const SETTLES: Duration = Duration::from_secs(4);

/// Between two looks at a group that has not settled.
const PAUSE: Duration = Duration::from_millis(150);

/// A service that consumes, and what it should hold.
struct Worker<'a> {
    service: &'a Service,
    group: &'a str,
    /// Of all topics that it consumes and that exist.
    partitions: Vec<Partition>,
    /// A topic that it consumes and that does not exist.
    missing: Option<&'a str>,
    /// Addresses of its running containers.
    running: BTreeSet<IpAddr>,
}

/// How far a group has come, partition by partition.
struct Progress {
    committed: Result<Offsets, String>,
    earliest: Result<Offsets, String>,
    latest: Result<Offsets, String>,
}

pub(super) async fn check(
    scene: Scene<'_>,
    broker: &Broker,
    containers: impl Containers,
) -> Result<()> {
    let began = broker.began;
    let services = scene.pipeline.services.iter();
    let progress = services
        .clone()
        .filter_map(|s| Some((s, s.group.as_deref()?)));
    let progress = join_all(progress.map(|(service, group)| progress_of(broker, service, group)));
    let (groups, containers, progress) = tokio::join!(broker.kafka.groups(), containers, progress);
    let containers = containers?;
    let workers: Vec<_> = services
        .filter_map(|service| worker(broker, service, &containers))
        .collect();
    let groups = match groups {
        Ok(groups) => settled(broker, groups, &workers).await,
        Err(why) => Err(why),
    };
    for (worker, progress) in workers.iter().zip(&progress) {
        let hint = scene.remedy(&containers, &worker.service.name);
        scene.report.send_all(match &groups {
            Ok(groups) => {
                let group = groups.iter().find(|g| g.name == worker.group);
                judge(worker, group, progress, began, &hint)
            }
            Err(why) => checks(worker.service, began)
                .map(|c| c.fail(why.clone()))
                .into(),
        });
    }
    Ok(())
}

/// All of the layer, when Kafka did not answer.
pub(super) fn skip(scene: Scene<'_>, began: Instant, why: &str, cause: &str) {
    for service in scene.pipeline.services.iter().filter(|s| s.group.is_some()) {
        scene
            .report
            .send_all(checks(service, began).map(|check| check.skip(why, cause)));
    }
}

fn worker<'a>(
    broker: &Broker,
    service: &'a Service,
    containers: &[Container],
) -> Option<Worker<'a>> {
    let running = containers
        .iter()
        .filter(|c| c.service == service.name && c.state == State::Running)
        .flat_map(|c| c.addresses.iter().copied());
    let exists = |topic: &&String| broker.topics.contains_key(*topic);
    Some(Worker {
        service,
        group: service.group.as_deref()?,
        partitions: consumed(broker, service),
        missing: service
            .consumes
            .iter()
            .find(|t| !exists(t))
            .map(String::as_str),
        running: running.collect(),
    })
}

fn consumed(broker: &Broker, service: &Service) -> Vec<Partition> {
    service
        .consumes
        .iter()
        .flat_map(|topic| broker.partitions(topic))
        .collect()
}

async fn progress_of(broker: &Broker, service: &Service, group: &str) -> Progress {
    let partitions = consumed(broker, service);
    let (committed, earliest, latest) = tokio::join!(
        broker.kafka.committed(group, &partitions),
        broker.kafka.ends(&partitions, End::Earliest),
        broker.kafka.ends(&partitions, End::Latest),
    );
    Progress {
        committed,
        earliest,
        latest,
    }
}

/// Looks again while a group rebalances, or lacks partitions though its containers run.
async fn settled(
    broker: &Broker,
    mut groups: Vec<GroupState>,
    workers: &[Worker<'_>],
) -> Result<Vec<GroupState>, String> {
    let deadline = Instant::now() + SETTLES;
    let settles = |groups: &[GroupState]| {
        workers.iter().any(|worker| {
            let group = groups.iter().find(|g| g.name == worker.group);
            let rebalances = group.is_some_and(|g| !at_rest(g));
            rebalances || (!worker.running.is_empty() && !worker.unheld(group).is_empty())
        })
    };
    while settles(&groups) && Instant::now() < deadline {
        tokio::time::sleep(PAUSE).await;
        groups = broker.kafka.groups().await?;
    }
    Ok(groups)
}

fn at_rest(group: &GroupState) -> bool {
    matches!(group.state.as_str(), "Stable" | "Empty")
}

/// `exists`, `stable`, `assigned`, `lag`.
fn checks(service: &Service, began: Instant) -> [Check; 4] {
    [
        ("exists", "exists"),
        ("stable", "not rebalancing"),
        ("assigned", "every partition held by a running container"),
        ("lag", "worked off"),
    ]
    .map(|(aspect, expected)| {
        Check::new(began, format!("groups.{}.{aspect}", service.name), expected)
    })
}

fn judge(
    worker: &Worker<'_>,
    group: Option<&GroupState>,
    progress: &Progress,
    began: Instant,
    hint: &str,
) -> Vec<Finding> {
    let [exists, stable, assigned, lag] = checks(worker.service, began);
    let exists = match group {
        Some(_) => exists.pass("there"),
        None => exists
            .fail(format!("group {} does not exist", worker.group))
            .hint(hint),
    };
    let stable = match group {
        None => stable.skip("the group does not exist", &exists.id),
        Some(group) if at_rest(group) => stable.pass(members(group)),
        Some(group) => stable
            .fail(format!("{} for {} s", group.state, SETTLES.as_secs()))
            .evidence(
                group
                    .members
                    .iter()
                    .map(|m| format!("{} at {}", m.client_id, m.host)),
            )
            .hint(hint),
    };
    if let Some(topic) = worker.missing {
        let (why, cause) = (
            format!("topic {topic} does not exist"),
            topics::exists_id(topic),
        );
        return vec![
            exists,
            stable,
            assigned.skip(&why, &cause),
            lag.skip(&why, &cause),
        ];
    }
    let assigned = judge_assigned(worker, group, assigned, hint);
    let lag = judge_lag(worker, progress, lag, hint);
    vec![exists, stable, assigned, lag]
}

fn members(group: &GroupState) -> String {
    match group.members.len() {
        0 => "no members".to_owned(),
        1 => "1 member".to_owned(),
        n => format!("{n} members"),
    }
}

fn judge_assigned(
    worker: &Worker<'_>,
    group: Option<&GroupState>,
    check: Check,
    hint: &str,
) -> Finding {
    let total = worker.partitions.len();
    let unheld = worker.unheld(group);
    if unheld.is_empty() {
        return check.pass(format!("{total} of {total}"));
    }
    let seen = format!("{} of {total}", total - unheld.len());
    check.fail(seen).evidence(unheld).hint(hint)
}

fn judge_lag(worker: &Worker<'_>, progress: &Progress, check: Check, hint: &str) -> Finding {
    let (committed, earliest, latest) =
        match (&progress.committed, &progress.earliest, &progress.latest) {
            (Ok(committed), Ok(earliest), Ok(latest)) => (committed, earliest, latest),
            (Err(why), ..) | (_, Err(why), _) | (.., Err(why)) => {
                return check.fail(format!("cannot be told: {why}")).hint(hint);
            }
        };
    match lag(committed, earliest, latest) {
        0 => check.pass("0"),
        n if worker.running.is_empty() => check
            .warn(format!("{n}, and no running container to work it off"))
            .hint(hint),
        n => check.pass(n.to_string()),
    }
}

impl Worker<'_> {
    /// The partitions that no running container of the service holds, and who does, a line each.
    fn unheld(&self, group: Option<&GroupState>) -> Vec<String> {
        let members = group.map_or(&[][..], |g| &g.members);
        let holder = |p: &Partition| members.iter().find(|m| m.partitions.contains(p));
        let runs = |member: &Member| {
            member
                .host
                .parse()
                .is_ok_and(|host: IpAddr| self.running.contains(&host))
        };
        let unheld = |partition: &Partition| {
            let (topic, number) = partition;
            match holder(partition) {
                Some(member) if runs(member) => None,
                Some(member) => Some(format!(
                    "{topic}/{number}: held by {} at {}, no running container of {}",
                    member.client_id, member.host, self.service.name
                )),
                None => Some(format!("{topic}/{number}: held by nobody")),
            }
        };
        self.partitions.iter().filter_map(unheld).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::finding::Status, *};

    const TOPIC: &str = "purchase-created";

    fn partition(number: i32) -> Partition {
        (TOPIC.to_owned(), number)
    }

    fn member(host: &str, partitions: &[i32]) -> Member {
        Member {
            client_id: "allocation-worker-1".to_owned(),
            host: host.to_owned(),
            partitions: partitions.iter().map(|p| partition(*p)).collect(),
        }
    }

    fn group(state: &str, members: Vec<Member>) -> GroupState {
        GroupState {
            name: "allocation-worker".to_owned(),
            state: state.to_owned(),
            members,
        }
    }

    /// Statuses of `exists`, `stable`, `assigned` and `lag` for a worker with two partitions,
    /// one message behind, whose container runs at 172.18.0.9 or not at all.
    fn statuses(group: Option<&GroupState>, runs: bool) -> [Status; 4] {
        let pipeline = super::super::samples::pipeline();
        let worker = Worker {
            service: pipeline.service("allocation-worker").expect("is declared"),
            group: "allocation-worker",
            partitions: vec![partition(0), partition(1)],
            missing: None,
            running: runs.then(|| [172, 18, 0, 9].into()).into_iter().collect(),
        };
        let offsets = |offset| Ok([(partition(0), offset)].into());
        let progress = Progress {
            committed: offsets(4),
            earliest: offsets(0),
            latest: offsets(5),
        };
        let findings = judge(&worker, group, &progress, Instant::now(), "caravan up");
        let statuses: Vec<_> = findings.iter().map(|f| f.status).collect();
        statuses.try_into().expect("four findings")
    }

    #[test]
    fn a_worker_at_work_passes() {
        let working = group("Stable", vec![member("172.18.0.9", &[0, 1])]);
        assert_eq!(statuses(Some(&working), true), [Status::Pass; 4]);
    }

    /// A static member stays in its group until its session ends; then the group is empty.
    #[test]
    fn a_stopped_worker_is_the_same_before_and_after_its_session_ends() {
        let lingering = group("Stable", vec![member("172.18.0.9", &[0, 1])]);
        let empty = group("Empty", Vec::new());
        let expected = [Status::Pass, Status::Pass, Status::Fail, Status::Warn];
        assert_eq!(statuses(Some(&lingering), false), expected);
        assert_eq!(statuses(Some(&empty), false), expected);
    }

    #[test]
    fn a_partition_of_nobody_or_of_another_container_is_not_assigned() {
        let partly = group("Stable", vec![member("172.18.0.9", &[0])]);
        let stranger = group(
            "Stable",
            vec![member("172.18.0.9", &[0]), member("172.18.0.77", &[1])],
        );
        let expected = [Status::Pass, Status::Pass, Status::Fail, Status::Pass];
        assert_eq!(statuses(Some(&partly), true), expected);
        assert_eq!(statuses(Some(&stranger), true), expected);
    }

    #[test]
    fn a_group_that_does_not_exist_or_settle_fails() {
        let [exists, stable, assigned, _] = statuses(None, true);
        assert_eq!(
            (exists, stable, assigned),
            (Status::Fail, Status::Skip, Status::Fail)
        );
        let rebalancing = group("PreparingRebalance", vec![member("172.18.0.9", &[])]);
        let [exists, stable, assigned, _] = statuses(Some(&rebalancing), true);
        assert_eq!(
            (exists, stable, assigned),
            (Status::Pass, Status::Fail, Status::Fail)
        );
    }
}
