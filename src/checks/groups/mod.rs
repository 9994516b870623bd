//! Consumer groups: there, at rest, every partition held by a running container, lag.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use futures_util::future::join_all;

use super::{Containers, Scene, broker::Broker};
use crate::{
    clients::kafka::{
        Partition,
        groups::{GroupState, as_one},
        offsets::{End, Offsets, lag},
    },
    engine::{
        labels,
        observed::{Container, State},
    },
    error::Result,
    pipeline::Service,
};

mod judge;

use judge::{Worker, checks, judge};

/// How long a group may take to settle, for instance after its worker was started just now.
const SETTLES: Duration = Duration::from_secs(4);

/// Between two looks at a group that has not settled.
const PAUSE: Duration = Duration::from_millis(150);

pub(super) async fn check(
    scene: Scene<'_>,
    broker: &Broker,
    containers: impl Containers,
) -> Result<()> {
    let began = broker.began;
    let services: Vec<_> = scene
        .pipeline
        .services
        .iter()
        .filter(|s| s.group.is_some())
        .collect();
    let mut partitions: Vec<_> = services.iter().flat_map(|s| consumed(broker, s)).collect();
    partitions.sort();
    partitions.dedup();
    let (groups, containers, committed, earliest, latest) = tokio::join!(
        broker.kafka.groups(),
        containers,
        join_all(services.iter().map(|service| committed(broker, service))),
        broker.kafka.ends(&partitions, End::Earliest),
        broker.kafka.ends(&partitions, End::Latest),
    );
    let containers = containers?;
    let workers = services
        .iter()
        .filter_map(|service| worker(broker, service, &containers));
    let workers: Vec<_> = workers.collect();
    let groups = match groups {
        Ok(groups) => settled(broker, groups, &workers).await,
        Err(why) => Err(why),
    };
    for (worker, committed) in workers.iter().zip(&committed) {
        let hint = scene.remedy(&containers, &worker.service.name);
        scene.report.send_all(match &groups {
            Ok(groups) => {
                let group = as_one(worker.group, groups);
                let lag = lag_of(worker, committed, &earliest, &latest);
                judge(worker, group.as_ref(), &lag, began, &hint)
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
        let skipped = checks(service, began).map(|check| check.skip(why, cause));
        scene.report.send_all(skipped);
    }
}

fn worker<'a>(
    broker: &Broker,
    service: &'a Service,
    containers: &[Container],
) -> Option<Worker<'a>> {
    let group = service.group.as_ref()?;
    let running = || {
        containers
            .iter()
            .filter(|c| c.service == service.name && c.state == State::Running)
    };
    // `up` numbers the replicas of what it creates (CARAVAN_REPLICA).
    let numbered = running().filter(|c| c.labels.contains_key(labels::HASH));
    let exists = |topic: &&String| broker.topics.contains_key(*topic);
    Some(Worker {
        service,
        group,
        partitions: consumed(broker, service),
        missing: service
            .consumes
            .iter()
            .find(|t| !exists(t))
            .map(String::as_str),
        replicas: running().count(),
        running: running().flat_map(|c| c.addresses.clone()).collect(),
        instances: group.name().map_or_else(BTreeSet::new, |name| {
            numbered.map(|c| format!("{name}-{}", c.replica)).collect()
        }),
    })
}

/// The partitions of all topics that a service consumes and that exist.
fn consumed(broker: &Broker, service: &Service) -> Vec<Partition> {
    service
        .consumes
        .iter()
        .flat_map(|topic| broker.partitions(topic))
        .collect()
}

/// What a service's group has committed.
async fn committed(broker: &Broker, service: &Service) -> Result<Offsets, String> {
    let group = service.group.as_ref();
    match group.and_then(|group| broker.offsets.get(group)) {
        Some(Ok(offsets)) => offsets.committed(&consumed(broker, service)).await,
        Some(Err(why)) => Err(why.clone()),
        None => Ok(Offsets::new()),
    }
}

fn lag_of(
    worker: &Worker<'_>,
    committed: &Result<Offsets, String>,
    earliest: &Result<Offsets, String>,
    latest: &Result<Offsets, String>,
) -> Result<i64, String> {
    let (committed, earliest, latest) = match (committed, earliest, latest) {
        (Ok(committed), Ok(earliest), Ok(latest)) => (committed, earliest, latest),
        (Err(why), ..) | (_, Err(why), _) | (.., Err(why)) => return Err(why.clone()),
    };
    let own = |(partition, _): &(&Partition, &i64)| worker.partitions.contains(partition);
    let latest = latest.iter().filter(own).map(|(p, end)| (p.clone(), *end));
    Ok(lag(committed, earliest, &latest.collect()))
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
            let group = as_one(worker.group, groups);
            let group = group.as_ref();
            let rebalances = group.is_some_and(|g| !g.is_at_rest());
            let unspread = !worker.unheld(group).is_empty() || worker.lacks_holders(group);
            rebalances || (!worker.running.is_empty() && unspread)
        })
    };
    while settles(&groups) && Instant::now() < deadline {
        tokio::time::sleep(PAUSE).await;
        groups = broker.kafka.groups().await?;
    }
    Ok(groups)
}
