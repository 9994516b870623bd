//! The progress of a consumer group: how far it is behind, and what it commits meanwhile.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use chrono::Utc;

use super::{ObservationCache, ObservationError, broker::Broker};
use declaration::Service;
use kafka::{
    Partition,
    backlog::Backlog,
    offsets::{End, Offsets, next},
};
use platform::State;

/// The interval between two samples: a worker commits a few times a second.
pub(crate) const INTERVAL: Duration = Duration::from_millis(1_200);

/// How long a group may commit nothing though records wait: one record may take its time.
const PATIENCE: Duration = Duration::from_secs(5);

/// And how long in one partition, while it commits in others: a consumer may read one after another.
const PATIENCE_IN_ONE: Duration = Duration::from_secs(9);

/// How far the clock of a producer may be ahead of ours.
const AHEAD: Duration = Duration::from_secs(60);

/// `transaction.timeout.ms` of producers, by default: after it the broker aborts a transaction.
const TRANSACTION: Duration = Duration::from_secs(60);

/// With a declared `commit-interval` it is watched for that long, but at most for this.
pub(crate) const LONGEST_WATCH: Duration = Duration::from_secs(60);

/// A group's position in its topics at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    /// The next offset of each partition.
    pub(crate) next: Offsets,
    /// The end of each partition.
    pub(crate) ends: Offsets,
    pub(crate) at: Instant,
}

impl Sample {
    /// Offsets that are not consumed.
    pub(crate) fn lag(&self) -> i64 {
        self.ends.keys().map(|p| self.lag_of(p)).sum()
    }

    /// As [`Self::lag`], of one partition.
    pub(crate) fn lag_of(&self, partition: &Partition) -> i64 {
        let end = self.ends.get(partition).copied().unwrap_or_default();
        (end - self.next_of(partition)).max(0)
    }

    pub(crate) fn next_of(&self, partition: &Partition) -> i64 {
        self.next.get(partition).copied().unwrap_or_default()
    }
}

/// A partition in which nothing was committed although records wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stuck {
    pub(crate) partition: Partition,
    /// The next offset.
    pub(crate) offset: i64,
    pub(crate) lag: i64,
    /// How old its next record is; None: not known.
    pub(crate) age: Option<Duration>,
}

/// A partition whose end is before what a group has committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Beyond {
    pub(crate) partition: Partition,
    pub(crate) committed: i64,
    pub(crate) end: i64,
}

/// A partition with an open transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeldBack {
    pub(crate) partition: Partition,
    /// The first offset of the transaction.
    pub(crate) from: i64,
    /// How many offsets are not consumed before the transaction ends.
    pub(crate) offsets: i64,
    /// How old its first record is.
    pub(crate) age: Duration,
}

/// How far a group is behind.
#[derive(Debug, Clone)]
pub(crate) enum Lag {
    /// All offsets are consumed.
    None,
    /// The last offsets, so many, hold no record, for instance but a transaction's end.
    NoRecords { offsets: i64 },
    /// The group has committed offsets after the end of partitions: their records were written again, as
    /// after a loss of the broker's data, and what it has not consumed counts as consumed.
    Beyond(Vec<Beyond>),
    /// Consumers of committed messages get nothing before the end of a transaction that is open for too long.
    HeldBack(Vec<HeldBack>),
    /// Records wait, and no container of the service runs.
    NoContainer { lag: i64 },
    /// The oldest record that waits is not older than the declared interval between two commits.
    Waits {
        lag: i64,
        age: Duration,
        interval: Duration,
    },
    /// The last sample was taken when the group had committed something in each partition in which
    /// records waited, or after a while.
    Sampled {
        first: Sample,
        last: Sample,
        /// Partitions in which it committed nothing: all in which records waited, or those whose next record
        /// is much older than the next ones of the others.
        stuck: Vec<Stuck>,
        /// The age of the oldest record that waits, if known.
        oldest: Option<Duration>,
    },
}

/// Observes the lag of a service's group: once if there is none, else until the group commits.
pub(crate) async fn observe_lag(
    observed: &ObservationCache<'_>,
    service: &Service,
) -> Result<Lag, ObservationError> {
    let broker = observed.broker().await?;
    let groups = observed.groups().await?;
    let (earliest, latest) = groups.ends_of(broker, service)?;
    let sampler = Sampler {
        broker,
        service,
        earliest,
    };
    let committed = groups.observed_committed(service)?;
    let first = sampler.sample(committed, latest, groups.at);
    if !beyond(committed, &first.ends).is_empty() {
        // Records may have been written and consumed between the requests for ends and for commits.
        let again = sampler.look_again().await?;
        let beyond = beyond(committed, &again.ends);
        if !beyond.is_empty() {
            return Ok(Lag::Beyond(beyond));
        }
    }
    let held_back = sampler.held_back(&first, groups.high_watermarks()?).await;
    if !held_back.is_empty() {
        return Ok(Lag::HeldBack(held_back));
    }
    if first.lag() == 0 {
        return Ok(Lag::None);
    }
    let waiting = sampler.waiting(&first).await;
    let with_records = first.next.keys().filter(|p| waiting.lag_of(p) > 0);
    let with_records: Vec<Partition> = with_records.cloned().collect();
    if with_records.is_empty() {
        let offsets = first.lag();
        return Ok(Lag::NoRecords { offsets });
    }
    let own = observed.containers_of(service).await;
    if !own.iter().any(|c| c.state == State::Running) {
        let lag = waiting.lag();
        return Ok(Lag::NoContainer { lag });
    }
    let interval = service.commit_interval.filter(|i| *i > PATIENCE);
    if let (Some(interval), Some(age)) = (interval, waiting.oldest())
        && age <= interval + PATIENCE
    {
        let lag = waiting.lag();
        return Ok(Lag::Waits { lag, age, interval });
    }
    let patience = interval.map_or(PATIENCE, |i| i.min(LONGEST_WATCH) + PATIENCE);
    let mut look_at = first.at + INTERVAL;
    loop {
        tokio::time::sleep_until(look_at.into()).await;
        let last = sampler.look_again().await?;
        let (moved, open): (Vec<_>, Vec<_>) = with_records
            .iter()
            .cloned()
            .partition(|p| last.next_of(p) > first.next_of(p));
        let patience = match moved.is_empty() {
            true => patience,
            false => patience.max(PATIENCE_IN_ONE),
        };
        if open.is_empty() || last.at >= first.at + patience {
            let still = sampler.waiting(&last).await;
            if still.lag() == 0 && last.lag() > 0 {
                let offsets = last.lag();
                return Ok(Lag::NoRecords { offsets });
            }
            return Ok(Lag::Sampled {
                oldest: still.oldest(),
                stuck: still.stuck(&last, &moved, open),
                // Up to the last record of each partition.
                first: waiting.sample,
                last: still.sample,
            });
        }
        look_at += INTERVAL;
    }
}

/// What waits beyond a sample's offsets.
struct Waiting {
    sample: Sample,
    /// The age of the next record of each partition, where known.
    ages: BTreeMap<Partition, Duration>,
}

impl Waiting {
    fn lag(&self) -> i64 {
        self.sample.lag()
    }

    fn lag_of(&self, partition: &Partition) -> i64 {
        self.sample.lag_of(partition)
    }

    fn oldest(&self) -> Option<Duration> {
        self.ages.values().max().copied()
    }

    /// Those of the `open` partitions that are stuck. If the group commits in others (`moved`), a partition
    /// is stuck if it was left behind: a slow consumer is late in all of them.
    fn stuck(&self, last: &Sample, moved: &[Partition], open: Vec<Partition>) -> Vec<Stuck> {
        let age = |partition: &Partition| self.ages.get(partition).copied();
        let late = moved.iter().filter(|p| self.lag_of(p) > 0).filter_map(age);
        let late = late.max().unwrap_or_default();
        let left_behind = |age: Option<Duration>| {
            let is_old = age.is_none_or(|age| age > PATIENCE_IN_ONE && age > late * 2);
            moved.is_empty() || is_old
        };
        let stuck = open.into_iter().filter(|p| self.lag_of(p) > 0);
        let stuck = stuck.map(|partition| Stuck {
            offset: last.next_of(&partition),
            lag: self.lag_of(&partition),
            age: age(&partition),
            partition,
        });
        stuck.filter(|stuck| left_behind(stuck.age)).collect()
    }
}

/// Takes samples of one service's group.
struct Sampler<'a> {
    broker: &'a Broker,
    service: &'a Service,
    earliest: &'a Offsets,
}

impl Sampler<'_> {
    async fn look_again(&self) -> Result<Sample, ObservationError> {
        let partitions = self.broker.consumed(self.service);
        let at = Instant::now();
        let (committed, latest) = tokio::join!(
            self.broker.fetch_committed(self.service),
            self.broker.kafka.ends(&partitions, End::Latest),
        );
        Ok(self.sample(&committed?, &latest?, at))
    }

    fn sample(&self, committed: &Offsets, latest: &Offsets, at: Instant) -> Sample {
        let ends = of_partitions(latest, &self.broker.consumed(self.service));
        Sample {
            next: next(committed, self.earliest, &ends),
            ends,
            at,
        }
    }

    /// The partitions in which a transaction is open for longer than producers may, or than the group's own
    /// interval between two commits.
    async fn held_back(&self, sample: &Sample, high: &Offsets) -> Vec<HeldBack> {
        let open = sample.ends.iter();
        let open = open.filter(|(partition, end)| high.get(*partition) > Some(*end));
        let open: Offsets = open.map(|(p, end)| (p.clone(), *end)).collect();
        if open.is_empty() {
            return Vec::new();
        }
        let written = self.broker.kafka.first_written(&open).await;
        let now = Utc::now().timestamp_millis();
        let patience = TRANSACTION.max(self.service.commit_interval.unwrap_or_default());
        let held_back = written.unwrap_or_default().into_iter();
        let held_back = held_back.filter_map(|(partition, at)| {
            let from = *open.get(&partition)?;
            Some(HeldBack {
                from,
                offsets: high.get(&partition)? - from,
                age: age(at, now).filter(|age| *age > patience)?,
                partition,
            })
        });
        held_back.collect()
    }

    /// `sample` with ends after the last records, and the age of the next records; if they cannot be
    /// read, each offset counts as one.
    async fn waiting(&self, sample: &Sample) -> Waiting {
        let backlog = self.broker.kafka.backlog(&sample.next, &sample.ends).await;
        let Backlog { ends, first } = backlog.unwrap_or_else(|_| Backlog {
            ends: sample.ends.clone(),
            first: BTreeMap::new(),
        });
        let now = Utc::now().timestamp_millis();
        let age = |(partition, at): (Partition, i64)| Some((partition, age(at, now)?));
        Waiting {
            sample: Sample {
                ends,
                ..sample.clone()
            },
            ages: first.into_iter().filter_map(age).collect(),
        }
    }
}

/// How old a record with the timestamp `at` is; None: that is no time at which it was written. -1 means none,
/// and what is far in the future is the event's own time, or that of a wrong clock.
fn age(at: i64, now: i64) -> Option<Duration> {
    let ahead = u64::try_from(at - now).unwrap_or_default();
    let age = u64::try_from(now - at).unwrap_or_default();
    (at > 0 && Duration::from_millis(ahead) < AHEAD).then(|| Duration::from_millis(age))
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
    let (earliest, latest) = groups.ends_of(broker, service)?;
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

fn beyond(committed: &Offsets, ends: &Offsets) -> Vec<Beyond> {
    let beyond = committed.iter().filter_map(|(partition, &committed)| {
        let end = *ends.get(partition)?;
        (committed > end).then(|| Beyond {
            partition: partition.clone(),
            committed,
            end,
        })
    });
    beyond.collect()
}

/// Records that were deleted before a group consumed them.
pub(crate) struct Lost {
    pub(crate) partition: Partition,
    /// The group's committed offset.
    pub(crate) committed: i64,
    /// The first offset that is still there.
    pub(crate) earliest: i64,
}

/// Observes which of the offsets that a service's group would read next are gone.
pub(crate) async fn lost(
    observed: &ObservationCache<'_>,
    service: &Service,
) -> Result<Vec<Lost>, ObservationError> {
    let broker = observed.broker().await?;
    let groups = observed.groups().await?;
    let (earliest, _) = groups.ends_of(broker, service)?;
    let committed = groups.observed_committed(service)?;
    Ok(below(committed, earliest))
}

fn below(committed: &Offsets, earliest: &Offsets) -> Vec<Lost> {
    let lost = committed.iter().filter_map(|(partition, &committed)| {
        let earliest = *earliest.get(partition)?;
        (committed < earliest).then(|| Lost {
            partition: partition.clone(),
            committed,
            earliest,
        })
    });
    lost.collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(number: i32) -> Partition {
        ("orders".to_owned(), number)
    }

    fn offsets<const N: usize>(offsets: [i64; N]) -> Offsets {
        (0..).map(partition).zip(offsets).collect()
    }

    fn waiting<const N: usize>(next: [i64; N], ends: [i64; N], ages: [u64; N]) -> Waiting {
        let ages = (0..).map(partition).zip(ages.map(Duration::from_secs));
        Waiting {
            sample: Sample {
                next: offsets(next),
                ends: offsets(ends),
                at: Instant::now(),
            },
            ages: ages.collect(),
        }
    }

    fn stuck(waiting: &Waiting, moved: &[i32], open: &[i32]) -> Vec<i32> {
        let of = |numbers: &[i32]| numbers.iter().map(|n| partition(*n)).collect::<Vec<_>>();
        let stuck = waiting.stuck(&waiting.sample, &of(moved), of(open));
        stuck.iter().map(|stuck| stuck.partition.1).collect()
    }

    #[test]
    fn a_partition_that_is_left_behind_by_the_others_is_stuck() {
        let one_behind = waiting([10, 5, 30], [12, 48, 30], [1, 40, 0]);
        assert_eq!(stuck(&one_behind, &[0, 2], &[1]), [1]);
        let all_late = waiting([10, 5, 30], [40, 48, 60], [35, 40, 38]);
        assert!(stuck(&all_late, &[0, 2], &[1]).is_empty(), "it is slow");
        let none_moves = waiting([10, 5, 30], [12, 6, 30], [2, 1, 0]);
        assert_eq!(stuck(&none_moves, &[], &[0, 1]), [0, 1]);
        let no_record = waiting([10, 5], [12, 5], [1, 0]);
        assert!(stuck(&no_record, &[0], &[1]).is_empty());
    }

    #[test]
    fn a_timestamp_in_the_future_is_no_age() {
        let hour = 3_600_000;
        let seconds = |at| age(at, 10 * hour).map(|age| age.as_secs());
        assert_eq!(seconds(9 * hour), Some(3600));
        assert_eq!(seconds(10 * hour + 5_000), Some(0), "a clock may be ahead");
        assert_eq!(seconds(11 * hour), None);
        assert_eq!(seconds(-1), None);
        let mut future = waiting([10, 5], [12, 6], [1, 0]);
        future.ages.remove(&partition(1));
        assert_eq!(
            stuck(&future, &[0], &[1]),
            [1],
            "left behind, as far as known"
        );
    }

    #[test]
    fn an_offset_after_the_end_is_beyond_it() {
        let found = beyond(&offsets([3, 99, 5]), &offsets([3, 7, 8]));
        let found: Vec<_> = found
            .iter()
            .map(|b| (b.partition.1, b.committed, b.end))
            .collect();
        assert_eq!(found, [(1, 99, 7)]);
    }

    #[test]
    fn what_was_deleted_before_it_was_read_is_counted() {
        let lost = below(&offsets([3, 7, 5]), &offsets([0, 22, 5]));
        let lost: Vec<_> = lost
            .iter()
            .map(|l| (l.partition.1, l.earliest - l.committed))
            .collect();
        assert_eq!(lost, [(1, 15)]);
        assert!(
            below(&Offsets::new(), &offsets([9])).is_empty(),
            "no commit"
        );
    }
}
