//! The progress of a consumer group: how far it is behind, and what it commits meanwhile.

use std::time::{Duration, Instant};

use super::{ObservationCache, ObservationError, broker::Broker};
use declaration::Service;
use kafka::{
    Partition,
    offsets::{End, Offsets, lag, next},
};
use platform::State;

/// The interval between two samples: a worker commits a few times a second.
pub(crate) const INTERVAL: Duration = Duration::from_millis(1_200);

/// How long a group may commit nothing though records wait: one record may take its time.
const PATIENCE: Duration = Duration::from_secs(5);

/// A group's position in its topics at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    /// Offsets that are not consumed.
    pub(crate) lag: i64,
    /// The sum of the committed offsets.
    pub(crate) committed: i64,
    pub(crate) at: Instant,
}

/// How far a group is behind.
#[derive(Debug, Clone)]
pub(crate) enum Lag {
    /// All offsets are consumed.
    None,
    /// The last offsets, so many, hold no record, for instance but a transaction's end.
    NoRecords { offsets: i64 },
    /// Records wait, and no container of the service runs.
    NoContainer { lag: i64 },
    /// The second sample was taken when the group had committed something, or after [`PATIENCE`].
    Sampled { first: Sample, last: Sample },
}

/// Observes the lag of a service's group: once if there is none, else until the group commits.
pub(crate) async fn observe_lag(
    observed: &ObservationCache<'_>,
    service: &Service,
) -> Result<Lag, ObservationError> {
    let broker = observed.broker().await?;
    let groups = observed.groups().await?;
    let (earliest, latest) = groups.ends()?;
    let sampler = Sampler {
        broker,
        service,
        earliest,
    };
    let committed = groups.observed_committed(service)?;
    let first = sampler.sample(committed, latest, groups.at);
    if first.lag == 0 {
        return Ok(Lag::None);
    }
    let of_records = sampler.of_records(committed, latest, groups.at).await;
    if of_records.lag == 0 {
        return Ok(Lag::NoRecords { offsets: first.lag });
    }
    let own = observed.containers_of(service).await;
    if !own.iter().any(|c| c.state == State::Running) {
        let lag = of_records.lag;
        return Ok(Lag::NoContainer { lag });
    }
    let mut look_at = first.at + INTERVAL;
    loop {
        tokio::time::sleep_until(look_at.into()).await;
        let (committed, latest, at) = sampler.look_again().await?;
        let last = sampler.sample(&committed, &latest, at);
        if last.committed > first.committed {
            return Ok(Lag::Sampled { first, last });
        }
        if last.at >= first.at + PATIENCE {
            let of_records = sampler.of_records(&committed, &latest, at).await;
            return Ok(match of_records.lag {
                0 => Lag::NoRecords { offsets: last.lag },
                _ => Lag::Sampled {
                    first,
                    last: of_records,
                },
            });
        }
        look_at += INTERVAL;
    }
}

/// Takes samples of one service's group.
struct Sampler<'a> {
    broker: &'a Broker,
    service: &'a Service,
    earliest: &'a Offsets,
}

impl Sampler<'_> {
    async fn look_again(&self) -> Result<(Offsets, Offsets, Instant), ObservationError> {
        let partitions = self.broker.consumed(self.service);
        let at = Instant::now();
        let (committed, latest) = tokio::join!(
            self.broker.fetch_committed(self.service),
            self.broker.kafka.ends(&partitions, End::Latest),
        );
        Ok((committed?, latest?, at))
    }

    fn sample(&self, committed: &Offsets, latest: &Offsets, at: Instant) -> Sample {
        Sample {
            lag: lag(committed, self.earliest, &self.own(latest)),
            committed: self.own(committed).values().sum(),
            at,
        }
    }

    /// As [`Self::sample`], up to the last record of each partition; up to its last offset if that
    /// cannot be read.
    async fn of_records(&self, committed: &Offsets, latest: &Offsets, at: Instant) -> Sample {
        let latest = self.own(latest);
        let from = next(committed, self.earliest, &latest);
        let ends = self.broker.kafka.ends_of_messages(&from, &latest).await;
        self.sample(committed, ends.as_ref().unwrap_or(&latest), at)
    }

    /// The offsets of the partitions that the service consumes.
    fn own(&self, offsets: &Offsets) -> Offsets {
        of_partitions(offsets, &self.broker.consumed(self.service))
    }
}

/// What a group has committed.
pub(crate) struct Commits {
    /// How many of the consumed partitions hold a record.
    pub(crate) partitions: usize,
    /// Those among them in which nothing is committed.
    pub(crate) without: Vec<Partition>,
}

/// Observes in which partitions a service's group has committed an offset.
pub(crate) async fn commits(
    observed: &ObservationCache<'_>,
    service: &Service,
) -> Result<Commits, ObservationError> {
    let broker = observed.broker().await?;
    let groups = observed.groups().await?;
    let (earliest, latest) = groups.ends()?;
    let mut partitions = broker.consumed(service);
    partitions.retain(|p| latest.get(p) > earliest.get(p));
    let no_records = || Commits {
        partitions: 0,
        without: Vec::new(),
    };
    let all = partitions.len();
    if all == 0 {
        return Ok(no_records());
    }
    let mut without = without_commit(&partitions, groups.observed_committed(service)?);
    if without.len() == all {
        // A worker commits its first records a moment after it received them.
        tokio::time::sleep_until((groups.at + INTERVAL).into()).await;
        without = without_commit(&partitions, &broker.fetch_committed(service).await?);
    }
    if without.len() == all && !any_record(broker, earliest, latest, &partitions).await {
        return Ok(no_records());
    }
    Ok(Commits {
        partitions: all,
        without,
    })
}

/// Whether one of `partitions` holds a record; true as well if that cannot be read.
async fn any_record(
    broker: &Broker,
    earliest: &Offsets,
    latest: &Offsets,
    partitions: &[Partition],
) -> bool {
    let from = of_partitions(earliest, partitions);
    let to = of_partitions(latest, partitions);
    let ends = broker.kafka.ends_of_messages(&from, &to).await;
    !ends.is_ok_and(|ends| ends == from)
}

fn of_partitions(offsets: &Offsets, partitions: &[Partition]) -> Offsets {
    let own = offsets.iter().filter(|(p, _)| partitions.contains(p));
    own.map(|(p, offset)| (p.clone(), *offset)).collect()
}

fn without_commit(partitions: &[Partition], committed: &Offsets) -> Vec<Partition> {
    let without = partitions.iter().filter(|p| !committed.contains_key(p));
    without.cloned().collect()
}
