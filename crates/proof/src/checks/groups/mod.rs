//! Consumer groups: there, at rest, every partition held by a running container, worked off, and with
//! rows for what is committed.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use futures_util::future::join_all;

use super::{broker::Broker, check::Check, facts::Facts, finding::Outcome, ids};
use declaration::{Group, Pipeline, Service};
use diagnostics::Result;
use kafka::{
    Partition,
    groups::{GroupState, as_one},
    offsets::{End, Offsets},
};
use platform::{Container, State, labels};

mod commits;
mod effects;
mod judge;
mod lag;

use judge::Worker;

/// How long a group may take to settle, for instance after its worker was started just now.
const SETTLES: Duration = Duration::from_secs(4);

/// Between two looks at a group that has not settled.
const PAUSE: Duration = Duration::from_millis(150);

/// The declared groups as Kafka has them, once they have settled.
pub(super) struct Groups {
    states: Result<Vec<GroupState>, String>,
    earliest: Result<Offsets, String>,
    latest: Result<Offsets, String>,
    /// What each group has committed, by service.
    committed: BTreeMap<String, Result<Offsets, String>>,
    /// When `latest` and `committed` were asked for.
    at: Instant,
}

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
    let named = |aspect: &str| format!("groups.{}.{aspect}", service.name);
    let (there, held, at_rest) = (named("exists"), named("assigned"), named("stable"));
    let topics: Vec<_> = service.consumes.iter().map(|t| ids::topic(t)).collect();
    let works_on = ids::works_on(pipeline, service);
    let deployed = ids::deployed(pipeline, service);
    let started = format!("logs.{}.started", service.name);

    let exists = async move |facts: &Facts<'_>| judged(facts, service, group, judge::exists).await;
    let stable = async move |facts: &Facts<'_>| {
        judged(facts, service, group, |_, state| match state {
            Some(state) => judge::stable(state),
            None => Outcome::fail("the group does not exist"),
        })
        .await
    };
    let assigned =
        async move |facts: &Facts<'_>| judged(facts, service, group, judge::assigned).await;
    let lag = async move |facts: &Facts<'_>| lag::check(facts, service).await;
    let committed = async move |facts: &Facts<'_>| {
        let outcome = commits::committed_where_needed(facts, service).await;
        facts.remedied(outcome, &service.name).await
    };
    let lagging = named("lag");
    let effects = effects::Tables::of(pipeline, service).map(|tables| {
        let named_tables: Vec<_> = tables.names().map(ids::table).collect();
        let effects = async move |facts: &Facts<'_>| effects::check(facts, service, &tables).await;
        Check::new(named("effects"), "rows for what is committed", effects)
            .needs([ids::KAFKA, ids::DATABASE, &there])
            .needs(topics.clone())
            .needs(named_tables)
            .follows([&deployed])
            .follows(works_on.clone())
    });
    let checks = [
        Check::new(&there, "exists", exists)
            .needs([ids::KAFKA])
            .follows([&deployed])
            .follows(topics.clone()),
        Check::new(&at_rest, "not rebalancing", stable)
            .needs([&there])
            .follows(works_on.clone()),
        Check::new(
            &held,
            "every partition held by a running container",
            assigned,
        )
        .needs([ids::KAFKA])
        .needs(topics.clone())
        .follows([&deployed, &there, &started, &at_rest])
        .follows(works_on.clone()),
        Check::new(&lagging, "worked off", lag)
            .needs([ids::KAFKA])
            .needs(topics.clone())
            .follows([&deployed, &held])
            .follows(works_on.clone()),
        Check::new(
            named("committed"),
            "an offset where there are messages",
            committed,
        )
        .needs([&there])
        .needs(topics)
        .follows([&deployed, &held, &lagging])
        .follows(works_on),
    ];
    let drift = || [ids::as_declared(&service.name)];
    let checks = checks.into_iter().chain(effects);
    checks.map(|check| check.suspects(drift())).collect()
}

/// What `judge` makes of a service's group.
async fn judged(
    facts: &Facts<'_>,
    service: &Service,
    group: &Group,
    judge: impl FnOnce(&Worker<'_>, Option<&GroupState>) -> Outcome,
) -> Outcome {
    let broker = match facts.broker().await {
        Ok(broker) => broker,
        Err(why) => return Outcome::fail(why.clone()),
    };
    let states = match &facts.groups().await.states {
        Ok(states) => states,
        Err(why) => return Outcome::fail(why.clone()),
    };
    let worker = worker(broker, service, group, facts.all_containers().await);
    let state = as_one(group, states);
    let outcome = judge(&worker, state.as_ref());
    facts.remedied(outcome, &service.name).await
}

impl Groups {
    /// Looks again while a group rebalances, or lacks partitions though its containers run.
    pub(super) async fn see(facts: &Facts<'_>) -> Self {
        let broker = match facts.broker().await {
            Ok(broker) => broker,
            Err(why) => return Self::unseen(why),
        };
        let services = facts.pipeline.services.iter();
        let services: Vec<_> = services.filter(|s| s.group.is_some()).collect();
        let mut partitions: Vec<_> = services.iter().flat_map(|s| consumed(broker, s)).collect();
        partitions.sort();
        partitions.dedup();
        let declared: Vec<_> = services.iter().filter_map(|s| s.group.as_ref()).collect();
        let at = Instant::now();
        let (states, containers, committed, earliest, latest) = tokio::join!(
            broker.kafka.groups_of(&declared),
            facts.all_containers(),
            join_all(services.iter().map(|service| committed(broker, service))),
            broker.kafka.ends(&partitions, End::Earliest),
            broker.kafka.ends(&partitions, End::Latest),
        );
        let workers: Vec<_> = services
            .iter()
            .filter_map(|s| Some(worker(broker, s, s.group.as_ref()?, containers)))
            .collect();
        let states = match states {
            Ok(states) => settled(broker, states, &workers).await,
            Err(why) => Err(why.into()),
        };
        let names = services.iter().map(|s| s.name.clone());
        Self {
            states,
            earliest: earliest.map_err(String::from),
            latest: latest.map_err(String::from),
            committed: names.zip(committed).collect(),
            at,
        }
    }

    /// What the group of a service had committed.
    fn committed(&self, service: &Service) -> Result<&Offsets, String> {
        match self.committed.get(&service.name) {
            Some(committed) => committed.as_ref().map_err(Clone::clone),
            None => Err("its offsets were not asked for".to_owned()),
        }
    }

    /// The first and the last offsets of what is consumed.
    fn ends(&self) -> Result<(&Offsets, &Offsets), String> {
        let earliest = self.earliest.as_ref().map_err(Clone::clone)?;
        let latest = self.latest.as_ref().map_err(Clone::clone)?;
        Ok((earliest, latest))
    }

    fn unseen(why: &str) -> Self {
        Self {
            states: Err(why.to_owned()),
            earliest: Err(why.to_owned()),
            latest: Err(why.to_owned()),
            committed: BTreeMap::new(),
            at: Instant::now(),
        }
    }
}

fn worker<'a>(
    broker: &Broker,
    service: &'a Service,
    group: &'a Group,
    containers: &[Container],
) -> Worker<'a> {
    let running = || {
        containers
            .iter()
            .filter(|c| c.service == service.name && c.state == State::Running)
    };
    // `up` numbers the replicas of what it creates (CARAVAN_REPLICA).
    let numbered = running().filter(|c| c.labels.contains_key(labels::HASH));
    Worker {
        service,
        group,
        partitions: consumed(broker, service),
        replicas: running().count(),
        running: running().flat_map(|c| c.addresses.clone()).collect(),
        instances: group.name().map_or_else(BTreeSet::new, |name| {
            numbered.map(|c| format!("{name}-{}", c.replica)).collect()
        }),
    }
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
        Some(Ok(offsets)) => Ok(offsets.committed(&consumed(broker, service)).await?),
        Some(Err(why)) => Err(why.clone()),
        None => Ok(Offsets::new()),
    }
}

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
        let declared: Vec<_> = workers.iter().map(|worker| worker.group).collect();
        groups = broker.kafka.groups_of(&declared).await?;
    }
    Ok(groups)
}
