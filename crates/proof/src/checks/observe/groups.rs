//! Consumer groups: their state and members, their offsets, and which containers belong to them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::{Duration, Instant},
};

use futures_util::future::join_all;

use super::{ObservationError, broker::Broker};
use declaration::{Group, Pipeline, Service};
use diagnostics::Result;
use kafka::{
    Partition,
    groups::{GroupState, Member, as_one},
    offsets::{End, Offsets},
};
use platform::{Container, State};

/// The time that groups get to settle, for instance because a worker has just been started.
pub(crate) const SETTLES: Duration = Duration::from_secs(4);

/// The pause between two looks at groups that have not settled.
const PAUSE: Duration = Duration::from_millis(150);

/// The declared groups in Kafka, once they have settled.
pub(crate) struct Groups {
    states: Result<Vec<GroupState>, ObservationError>,
    earliest: Result<Offsets, ObservationError>,
    latest: Result<Offsets, ObservationError>,
    /// What each group has committed, by service.
    committed: BTreeMap<String, Result<Offsets, ObservationError>>,
    /// When `latest` and `committed` were requested.
    pub(crate) at: Instant,
}

impl Groups {
    /// Looks again while a group rebalances, or while partitions are unassigned though containers run.
    pub(crate) async fn observe(
        pipeline: &Pipeline,
        broker: &Broker,
        containers: impl Future<Output = &[Container]>,
    ) -> Self {
        let services = pipeline.services.iter();
        let services: Vec<_> = services.filter(|s| s.group.is_some()).collect();
        let mut partitions: Vec<_> = services.iter().flat_map(|s| broker.consumed(s)).collect();
        partitions.sort();
        partitions.dedup();
        let declared: Vec<_> = services.iter().filter_map(|s| s.group.as_ref()).collect();
        let at = Instant::now();
        let (states, containers, committed, earliest, latest) = tokio::join!(
            broker.kafka.groups_of(&declared),
            containers,
            join_all(
                services
                    .iter()
                    .map(|service| broker.fetch_committed(service))
            ),
            broker.kafka.ends(&partitions, End::Earliest),
            broker.kafka.ends(&partitions, End::Latest),
        );
        let workers: Vec<_> = services
            .iter()
            .filter_map(|s| Some(Worker::new(broker, s, s.group.as_ref()?, containers)))
            .collect();
        let states = match states {
            Ok(states) => settled(broker, states, &workers).await,
            Err(why) => Err(why.into()),
        };
        let names = services.iter().map(|s| s.name.clone());
        Self {
            states,
            earliest: earliest.map_err(ObservationError::from),
            latest: latest.map_err(ObservationError::from),
            committed: names.zip(committed).collect(),
            at,
        }
    }

    /// The state of a group; None: it does not exist.
    pub(crate) fn state(&self, group: &Group) -> Result<Option<GroupState>, ObservationError> {
        let states = self.states.as_ref().map_err(Clone::clone)?;
        Ok(as_one(group, states))
    }

    /// What the group of a service had committed.
    pub(crate) fn observed_committed(
        &self,
        service: &Service,
    ) -> Result<&Offsets, ObservationError> {
        match self.committed.get(&service.name) {
            Some(committed) => committed.as_ref().map_err(Clone::clone),
            None => Err(ObservationError::Incomplete(
                "its offsets were not requested".to_owned(),
            )),
        }
    }

    /// The first and the last offsets of all consumed partitions.
    pub(crate) fn ends(&self) -> Result<(&Offsets, &Offsets), ObservationError> {
        let earliest = self.earliest.as_ref().map_err(Clone::clone)?;
        let latest = self.latest.as_ref().map_err(Clone::clone)?;
        Ok((earliest, latest))
    }
}

async fn settled(
    broker: &Broker,
    mut groups: Vec<GroupState>,
    workers: &[Worker<'_>],
) -> Result<Vec<GroupState>, ObservationError> {
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

/// A service that consumes, its partitions and its running containers.
pub(crate) struct Worker<'a> {
    pub(crate) service: &'a Service,
    pub(crate) group: &'a Group,
    /// Of all topics that it consumes and that exist.
    pub(crate) partitions: Vec<Partition>,
    /// How many of its containers run.
    pub(crate) replicas: usize,
    /// Addresses of its running containers.
    pub(crate) running: BTreeSet<IpAddr>,
    /// `group.instance.id` of its running containers. Kafka keeps the address with which a static
    /// member first joined, and a restarted container may have another one.
    pub(crate) instances: BTreeSet<String>,
}

/// A partition that no running container of the service holds.
pub(crate) struct Unheld<'a> {
    pub(crate) partition: &'a Partition,
    /// The member that holds it instead, if any.
    pub(crate) holder: Option<&'a Member>,
}

impl<'a> Worker<'a> {
    pub(crate) fn new(
        broker: &Broker,
        service: &'a Service,
        group: &'a Group,
        containers: &[Container],
    ) -> Self {
        let running = || {
            containers
                .iter()
                .filter(|c| c.service == service.name && c.state == State::Running)
        };
        // Only containers that `up` created have a replica number (CARAVAN_REPLICA).
        let numbered = running().filter(|c| c.by_caravan);
        Self {
            service,
            group,
            partitions: broker.consumed(service),
            replicas: running().count(),
            running: running().flat_map(|c| c.addresses.clone()).collect(),
            instances: group.name().map_or_else(BTreeSet::new, |name| {
                numbered.map(|c| format!("{name}-{}", c.replica)).collect()
            }),
        }
    }

    /// The partitions that no running container of the service holds.
    pub(crate) fn unheld<'b>(&'b self, group: Option<&'b GroupState>) -> Vec<Unheld<'b>> {
        let members = group.map_or(&[][..], |g| &g.members);
        let unheld = self.partitions.iter().map(|partition| Unheld {
            partition,
            holder: members.iter().find(|m| m.partitions.contains(partition)),
        });
        unheld
            .filter(|unheld| !unheld.holder.is_some_and(|member| self.runs(member)))
            .collect()
    }

    /// Whether a running replica has no partition though there are enough.
    pub(crate) fn lacks_holders(&self, group: Option<&GroupState>) -> bool {
        self.holders(group) < self.replicas.min(self.partitions.len())
    }

    /// How many members of running containers hold a partition.
    pub(crate) fn holders(&self, group: Option<&GroupState>) -> usize {
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
