//! Consumer groups: their state and members, their offsets, and which containers belong to them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::{Duration, Instant},
};

use chrono::{TimeDelta, Utc};
use futures_util::future::join_all;

use super::{ObservationError, broker::Broker};
use declaration::{Group, Pipeline, Service};
use diagnostics::Result;
use kafka::{
    Partition,
    groups::{self, GroupState, Member},
    offsets::{End, Ends, Offsets},
};
use platform::{Container, State};

/// The time that groups get to settle, for instance because a worker has just been started.
pub(crate) const SETTLES: Duration = Duration::from_secs(4);

/// The pause between two looks at groups that have not settled.
const PAUSE: Duration = Duration::from_millis(150);

/// The declared groups in Kafka, once they have settled.
pub(crate) struct Groups {
    states: Result<groups::Groups, ObservationError>,
    earliest: Result<Ends, ObservationError>,
    latest: Result<Ends, ObservationError>,
    /// The ends with open transactions.
    high: Result<Offsets, ObservationError>,
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
        let (states, containers, committed, earliest, latest, high) = tokio::join!(
            broker.kafka.groups_of_each(&declared),
            containers,
            join_all(
                services
                    .iter()
                    .map(|service| broker.fetch_committed(service))
            ),
            broker.kafka.ends_of_each(&partitions, End::Earliest),
            broker.kafka.ends_of_each(&partitions, End::Latest),
            broker.kafka.high_watermarks(&partitions),
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
            high: high.map_err(ObservationError::from),
            committed: names.zip(committed).collect(),
            at,
        }
    }

    /// The state of a group; None: it does not exist.
    pub(crate) fn state(&self, group: &Group) -> Result<Option<GroupState>, ObservationError> {
        let states = self.states.as_ref().map_err(Clone::clone)?;
        Ok(states.as_one(group)?)
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

    /// The first and the last offsets of all consumed partitions that have a leader.
    pub(crate) fn ends(&self) -> Result<(&Offsets, &Offsets), ObservationError> {
        let earliest = self.earliest.as_ref().map_err(Clone::clone)?;
        let latest = self.latest.as_ref().map_err(Clone::clone)?;
        Ok((&earliest.offsets, &latest.offsets))
    }

    /// The last offsets of all consumed partitions, records of open transactions included.
    pub(crate) fn high_watermarks(&self) -> Result<&Offsets, ObservationError> {
        self.high.as_ref().map_err(Clone::clone)
    }

    /// As [`Self::ends`]; an error if one that `service` consumes is unknown.
    pub(crate) fn ends_of(
        &self,
        broker: &Broker,
        service: &Service,
    ) -> Result<(&Offsets, &Offsets), ObservationError> {
        let consumed = broker.consumed(service);
        for ends in [&self.earliest, &self.latest] {
            let unknown = &ends.as_ref().map_err(Clone::clone)?.unknown;
            if let Some(why) = consumed.iter().find_map(|p| unknown.get(p)) {
                return Err(why.clone().into());
            }
        }
        self.ends()
    }
}

async fn settled(
    broker: &Broker,
    mut groups: groups::Groups,
    workers: &[Worker<'_>],
) -> Result<groups::Groups, ObservationError> {
    let deadline = Instant::now() + SETTLES;
    let settles = |groups: &groups::Groups| {
        workers.iter().any(|worker| {
            // An unknown group is reported, and no other waits for it.
            let group = match groups.as_one(worker.group) {
                Err(_) => return false,
                // Its members are not known to Kafka.
                Ok(Some(group)) if group.simple => return false,
                Ok(group) => group,
            };
            let group = group.as_ref();
            let rebalances = group.is_some_and(|g| !g.is_at_rest());
            let unspread = !worker.unheld(group).is_empty() || worker.lacks_holders(group);
            rebalances || (!worker.running.is_empty() && unspread)
        })
    };
    while settles(&groups) && Instant::now() < deadline {
        tokio::time::sleep(PAUSE).await;
        let declared: Vec<_> = workers.iter().map(|worker| worker.group).collect();
        groups = broker.kafka.groups_of_each(&declared).await?;
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
    /// The last start of a running container is so long ago; None: none runs.
    pub(crate) since_start: Option<TimeDelta>,
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
            since_start: running()
                .filter_map(|c| c.started_at)
                .max()
                .map(|at| Utc::now() - at),
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
