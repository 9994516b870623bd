//! Where partitions end, how far a group has come, and the difference.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    Offset, TopicPartitionList, consumer::Consumer, error::KafkaError, types::RDKafkaErrorCode,
};

use super::{Error, Kafka, Partition, Result, TIMEOUT, client::Client, groups::meant};
use declaration::Group;

/// Between two questions while a partition has no leader, or a group no coordinator.
const PAUSE: Duration = Duration::from_millis(100);

/// An offset for each partition.
pub type Offsets = BTreeMap<Partition, i64>;

/// Which end of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The first offset that is still there.
    Earliest,
    /// One past the last offset.
    Latest,
}

impl Kafka {
    /// One end of each partition, in one round trip per broker.
    ///
    /// # Errors
    /// Why there was no answer, for one partition or for all.
    pub async fn ends(&self, partitions: &[Partition], end: End) -> Result<Offsets> {
        if partitions.is_empty() {
            return Ok(Offsets::new());
        }
        let partitions = partitions.to_vec();
        let ends = move |client: &Client| ends(client, &partitions, end);
        self.ask("ends of partitions", ends).await
    }

    /// The first offset of each partition that was written at `at` (milliseconds since the epoch)
    /// or later; a partition without one is left out.
    ///
    /// # Errors
    /// Why there was no answer.
    pub async fn offsets_at(&self, partitions: &[Partition], at: i64) -> Result<Offsets> {
        // Negative numbers mean the ends.
        let asked = list(partitions, Offset::Offset(at.max(0)))?;
        self.ask("offsets by time", move |client| {
            let answered = client.consumer().offsets_for_times(asked, TIMEOUT)?;
            absolute(&answered)
        })
        .await
    }

    /// What `group` has committed for `partitions`; those without a commit are left out.
    ///
    /// # Errors
    /// Why there was no answer.
    pub async fn committed(&self, group: &str, partitions: &[Partition]) -> Result<Offsets> {
        self.group(group).committed(partitions).await
    }

    /// Reads `group`'s offsets, again and again.
    pub fn group(&self, group: &str) -> GroupOffsets {
        self.group_offsets([group])
    }

    /// As [`Self::group`], for what is declared: of groups that begin alike, those that are there
    /// now.
    ///
    /// # Errors
    /// Kafka does not tell its groups.
    pub async fn declared_group(&self, group: &Group) -> Result<GroupOffsets> {
        match group.name() {
            Some(name) => Ok(self.group(name)),
            None => {
                let groups = self.groups_of(&[group]).await?;
                Ok(self.group_offsets(meant(group, &groups).iter().map(|g| g.name.as_str())))
            }
        }
    }

    fn group_offsets<'g>(&self, names: impl IntoIterator<Item = &'g str>) -> GroupOffsets {
        GroupOffsets {
            kafka: self.clone(),
            names: names.into_iter().map(str::to_owned).collect(),
        }
    }
}

/// What a group's coordinator knows of its offsets. Of several groups, where they are declared as one:
/// then the one that is furthest behind counts.
pub struct GroupOffsets {
    kafka: Kafka,
    names: Vec<String>,
}

impl GroupOffsets {
    /// See [`Kafka::committed`].
    ///
    /// # Errors
    /// Why there was no answer.
    pub async fn committed(&self, partitions: &[Partition]) -> Result<Offsets> {
        let mut all = Offsets::new();
        if partitions.is_empty() {
            return Ok(all);
        }
        for name in &self.names {
            let (name, list) = (name.clone(), list(partitions, Offset::Invalid)?);
            let ask = move |client: &Client| committed(client, &name, &list);
            for (partition, offset) in self.kafka.ask("committed offsets", ask).await? {
                let least = all.entry(partition).or_insert(offset);
                *least = offset.min(*least);
            }
        }
        Ok(all)
    }
}

/// Also of a coordinator that is only just taking office, as after a broker's start.
fn committed(client: &Client, group: &str, list: &TopicPartitionList) -> Result<Offsets> {
    let ask = || crate::native::committed(client, group, list, TIMEOUT);
    let answer = patiently(ask, |answer| answer.as_ref().is_err_and(is_taking_office));
    let offsets = answer?.into_iter();
    Ok(offsets.map(|(t, p, offset)| ((t, p), offset)).collect())
}

/// The first answer that is no passing state of the broker's, or the last one in time.
fn patiently<T>(ask: impl Fn() -> T, is_passing: impl Fn(&T) -> bool) -> T {
    let began = Instant::now();
    loop {
        let answer = ask();
        if !is_passing(&answer) || began.elapsed() > TIMEOUT {
            return answer;
        }
        thread::sleep(PAUSE);
    }
}

fn is_taking_office(error: &KafkaError) -> bool {
    let passing = [
        RDKafkaErrorCode::CoordinatorLoadInProgress,
        RDKafkaErrorCode::CoordinatorNotAvailable,
        RDKafkaErrorCode::NotCoordinator,
    ];
    error
        .rdkafka_error_code()
        .is_some_and(|code| passing.contains(&code))
}

/// Offsets between what a group has committed and the end, over all `latest`: as many messages, but for
/// those that [`Kafka::ends_of_messages`] knows of.
pub fn lag(committed: &Offsets, earliest: &Offsets, latest: &Offsets) -> i64 {
    let next = next(committed, earliest, latest);
    let behind = |(partition, end): (&Partition, &i64)| {
        let at = next.get(partition).copied().unwrap_or(*end);
        (end - at).max(0)
    };
    latest.iter().map(behind).sum()
}

/// Where a group goes on in each partition of `latest`. One without a commit is to be read from its
/// earliest offset; what retention deleted is not to be read any more.
pub fn next(committed: &Offsets, earliest: &Offsets, latest: &Offsets) -> Offsets {
    let next = |partition: &Partition| {
        let earliest = earliest.get(partition).copied().unwrap_or(0);
        let committed = committed.get(partition);
        (
            partition.clone(),
            committed.map_or(earliest, |&c| c.max(earliest)),
        )
    };
    latest.keys().map(next).collect()
}

/// See [`Kafka::ends`].
pub(super) fn ends(client: &Client, partitions: &[Partition], end: End) -> Result<Offsets> {
    // `ListOffsets` takes -1 and -2 for the ends where a timestamp would stand, and librdkafka
    // passes them on: one request, where asking for watermarks is two for each partition.
    let asked = list(
        partitions,
        match end {
            End::Earliest => Offset::Beginning,
            End::Latest => Offset::End,
        },
    )?;
    let ask = || client.consumer().offsets_for_times(asked.clone(), TIMEOUT);
    let answer = patiently(ask, |answer| answer.as_ref().is_ok_and(has_no_leader));
    absolute(&answer?)
}

/// Whether a partition's leader is just being found: for some moments after a broker's start.
fn has_no_leader(list: &TopicPartitionList) -> bool {
    let passing = [
        RDKafkaErrorCode::LeaderNotAvailable,
        RDKafkaErrorCode::NotLeaderForPartition,
        RDKafkaErrorCode::FencedLeaderEpoch,
        RDKafkaErrorCode::UnknownLeaderEpoch,
        RDKafkaErrorCode::OffsetNotAvailable,
    ];
    let errors = list.elements().into_iter().map(|e| e.error());
    let mut codes = errors.filter_map(|error| error.err()?.rdkafka_error_code());
    codes.any(|code| passing.contains(&code))
}

/// A list of partitions, each with `offset`.
pub(super) fn list(partitions: &[Partition], offset: Offset) -> Result<TopicPartitionList> {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for (topic, partition) in partitions {
        list.add_partition_offset(topic, *partition, offset)?;
    }
    Ok(list)
}

/// The partitions of `list` that have an offset; the first error of a partition is the list's.
pub(super) fn absolute(list: &TopicPartitionList) -> Result<Offsets> {
    let mut offsets = Offsets::new();
    for element in list.elements() {
        let (topic, partition) = (element.topic(), element.partition());
        element
            .error()
            .map_err(|e| Error::from(e).about(format!("{topic}/{partition}")))?;
        if let Offset::Offset(offset) = element.offset() {
            offsets.insert((topic.to_owned(), partition), offset);
        }
    }
    Ok(offsets)
}

#[cfg(test)]
mod tests {
    use rdkafka::{
        mocking::MockCluster,
        types::{RDKafkaApiKey, RDKafkaRespErr},
    };

    use super::*;

    fn offsets<const N: usize>(values: [(i32, i64); N]) -> Offsets {
        values
            .map(|(p, offset)| (("t".to_owned(), p), offset))
            .into()
    }

    /// In a client without a group of its own librdkafka 2.12.1 crashes on it (its issue 5040).
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_coordinator_that_is_only_just_taking_office_is_asked_again() {
        let cluster = MockCluster::new(1).expect("a cluster");
        cluster.create_topic("t", 1, 1).expect("a topic");
        let refusals = [
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
        ];
        cluster.request_errors(RDKafkaApiKey::OffsetFetch, &refusals);
        let kafka = Kafka::new(&cluster.bootstrap_servers()).expect("a client");
        let committed = kafka.committed("nobody", &[("t".to_owned(), 0)]).await;
        assert_eq!(committed.expect("an answer"), Offsets::new());
    }

    #[test]
    fn lag_counts_from_the_commit_or_from_the_earliest_message() {
        let (earliest, latest) = (offsets([(0, 5), (1, 0)]), offsets([(0, 10), (1, 4)]));
        assert_eq!(lag(&offsets([(0, 7), (1, 4)]), &earliest, &latest), 3);
        assert_eq!(lag(&offsets([]), &earliest, &latest), 9);
        // Retention deleted what the group had not read: that is not lag any more.
        assert_eq!(lag(&offsets([(0, 2), (1, 4)]), &earliest, &latest), 5);
        assert_eq!(lag(&offsets([(0, 99), (1, 99)]), &earliest, &latest), 0);
    }
}
