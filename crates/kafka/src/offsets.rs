//! The ends of partitions, a group's committed offsets, and lag.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    Offset, TopicPartitionList, consumer::Consumer, error::KafkaError, types::RDKafkaErrorCode,
};

pub use super::partition::Offsets;

use super::{Error, Kafka, Partition, Result, TIMEOUT, client::Client, groups::matching_groups};
use declaration::Group;

/// Between two requests while a partition has no leader or a group no coordinator.
const PAUSE: Duration = Duration::from_millis(100);

/// Which end of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The first offset that retention has not deleted.
    Earliest,
    /// One past the last offset.
    Latest,
}

/// One end of several partitions.
#[derive(Debug, Clone, Default)]
pub struct Ends {
    /// The end of each partition that has one.
    pub offsets: Offsets,
    /// Why the end of a partition is unknown.
    pub unknown: BTreeMap<Partition, Error>,
}

impl Ends {
    fn all(self) -> Result<Offsets> {
        match self.unknown.into_values().next() {
            Some(error) => Err(error),
            None => Ok(self.offsets),
        }
    }
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

    /// As [`Self::ends`]; a partition without an answer is no error of the others.
    ///
    /// # Errors
    /// Why there was no answer for any partition.
    pub async fn ends_of_each(&self, partitions: &[Partition], end: End) -> Result<Ends> {
        if partitions.is_empty() {
            return Ok(Ends::default());
        }
        let partitions = partitions.to_vec();
        let ends = move |client: &Client| ends_of_each(client, &partitions, end);
        self.ask("ends of partitions", ends).await
    }

    /// As [`Self::ends`] of [`End::Latest`], with the records of transactions that are still open.
    ///
    /// # Errors
    /// Why there was no answer, for one partition or for all.
    pub async fn high_watermarks(&self, partitions: &[Partition]) -> Result<Offsets> {
        if partitions.is_empty() {
            return Ok(Offsets::new());
        }
        let list = list(partitions, Offset::End)?;
        let ends = move |client: &Client| {
            let ends = crate::native::list_high_watermarks(client, &list, TIMEOUT)?;
            Ok(ends.into_iter().map(|(t, p, end)| ((t, p), end)).collect())
        };
        self.ask("ends with open transactions", ends).await
    }

    /// The first offset of each partition that was written at `at` (milliseconds since the epoch)
    /// or later; a partition without one is left out.
    ///
    /// # Errors
    /// Why there was no answer.
    pub async fn offsets_at(&self, partitions: &[Partition], at: i64) -> Result<Offsets> {
        // librdkafka takes negative timestamps for the ends.
        let timestamps = list(partitions, Offset::Offset(at.max(0)))?;
        self.ask("offsets by time", move |client| {
            let answered = client.consumer().offsets_for_times(timestamps, TIMEOUT)?;
            absolute(&answered)
        })
        .await
    }

    /// The offsets that `group` has committed for `partitions`; partitions without a commit are left out.
    ///
    /// # Errors
    /// Why there was no answer.
    pub async fn committed_offsets(
        &self,
        group: &str,
        partitions: &[Partition],
    ) -> Result<Offsets> {
        self.group(group).lowest_committed(partitions).await
    }

    /// A handle that reads `group`'s committed offsets, any number of times.
    pub fn group(&self, group: &str) -> GroupOffsets {
        self.group_offsets([group])
    }

    /// As [`Self::group`], for a declared group. For a prefix: the matching groups that exist now.
    ///
    /// # Errors
    /// The groups could not be listed or described.
    pub async fn declared_group(&self, group: &Group) -> Result<GroupOffsets> {
        match group.name() {
            Some(name) => Ok(self.group(name)),
            None => {
                let groups = self.groups_of(&[group]).await?;
                Ok(self.group_offsets(
                    matching_groups(group, &groups)
                        .iter()
                        .map(|g| g.name.as_str()),
                ))
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

/// Reads the committed offsets of a declared group. If its prefix matches several groups, the lowest offset
/// of each partition counts.
pub struct GroupOffsets {
    kafka: Kafka,
    names: Vec<String>,
}

impl GroupOffsets {
    /// The lowest committed offset of each partition; partitions without a commit are left out.
    ///
    /// # Errors
    /// Why there was no answer.
    pub async fn lowest_committed(&self, partitions: &[Partition]) -> Result<Offsets> {
        let mut all = Offsets::new();
        if partitions.is_empty() {
            return Ok(all);
        }
        for name in &self.names {
            let (name, list) = (name.clone(), list(partitions, Offset::Invalid)?);
            let ask = move |client: &Client| committed_with_retry(client, &name, &list);
            for (partition, offset) in self.kafka.ask("committed offsets", ask).await? {
                let least = all.entry(partition).or_insert(offset);
                *least = offset.min(*least);
            }
        }
        Ok(all)
    }
}

/// A group's committed offsets. Retries while its coordinator is loading, as after a broker's start.
fn committed_with_retry(
    client: &Client,
    group: &str,
    list: &TopicPartitionList,
) -> Result<Offsets> {
    let request = || crate::native::list_group_offsets(client, group, list, TIMEOUT);
    let is_final = |answer: &Result<_, _>| !answer.as_ref().is_err_and(is_coordinator_loading);
    let answer = retry_until(request, is_final);
    let offsets = answer?.into_iter();
    Ok(offsets.map(|(t, p, offset)| ((t, p), offset)).collect())
}

/// Repeats a request until its answer is final; after [`TIMEOUT`] returns the last answer.
fn retry_until<T>(request: impl Fn() -> T, is_final: impl Fn(&T) -> bool) -> T {
    let began = Instant::now();
    loop {
        let answer = request();
        if is_final(&answer) || began.elapsed() > TIMEOUT {
            return answer;
        }
        thread::sleep(PAUSE);
    }
}

/// Whether the group's coordinator is being elected or loads its offsets.
pub(super) fn is_coordinator_loading(error: &KafkaError) -> bool {
    let transient = [
        RDKafkaErrorCode::CoordinatorLoadInProgress,
        RDKafkaErrorCode::CoordinatorNotAvailable,
        RDKafkaErrorCode::NotCoordinator,
    ];
    error
        .rdkafka_error_code()
        .is_some_and(|code| transient.contains(&code))
}

/// Offsets between a group's committed offsets and the ends `latest`, summed. This counts offsets without
/// a message too; [`Kafka::ends_of_messages`] finds those.
pub fn lag(committed: &Offsets, earliest: &Offsets, latest: &Offsets) -> i64 {
    let next = next(committed, earliest, latest);
    let behind = |(partition, end): (&Partition, &i64)| {
        let at = next.get(partition).copied().unwrap_or(*end);
        (end - at).max(0)
    };
    latest.iter().map(behind).sum()
}

/// The next offset that a group reads in each partition of `latest`: its committed offset, and the earliest
/// one if it has no commit or retention deleted the committed one.
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
    ends_of_each(client, partitions, end)?.all()
}

fn ends_of_each(client: &Client, partitions: &[Partition], end: End) -> Result<Ends> {
    // `ListOffsets` takes the timestamps -1 and -2 for the ends, and librdkafka passes them on: one
    // request for all partitions, where watermarks take two for each.
    let timestamps = list(
        partitions,
        match end {
            End::Earliest => Offset::Beginning,
            End::Latest => Offset::End,
        },
    )?;
    let request = || {
        client
            .consumer()
            .offsets_for_times(timestamps.clone(), TIMEOUT)
    };
    let is_final = |answer: &Result<_, _>| !answer.as_ref().is_ok_and(has_no_leader);
    let answer = retry_until(request, is_final);
    Ok(each(&answer?))
}

/// Whether a partition has no leader yet, as for some moments after a broker's start.
fn has_no_leader(list: &TopicPartitionList) -> bool {
    let transient = [
        RDKafkaErrorCode::LeaderNotAvailable,
        RDKafkaErrorCode::NotLeaderForPartition,
        RDKafkaErrorCode::FencedLeaderEpoch,
        RDKafkaErrorCode::UnknownLeaderEpoch,
        RDKafkaErrorCode::OffsetNotAvailable,
    ];
    let errors = list.elements().into_iter().map(|e| e.error());
    let mut codes = errors.filter_map(|error| error.err()?.rdkafka_error_code());
    codes.any(|code| transient.contains(&code))
}

/// A list of partitions, each with `offset`.
pub(super) fn list(partitions: &[Partition], offset: Offset) -> Result<TopicPartitionList> {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for (topic, partition) in partitions {
        list.add_partition_offset(topic, *partition, offset)?;
    }
    Ok(list)
}

/// The partitions of `list` that have an offset; fails with the first error of a partition.
pub(super) fn absolute(list: &TopicPartitionList) -> Result<Offsets> {
    each(list).all()
}

fn each(list: &TopicPartitionList) -> Ends {
    let mut ends = Ends::default();
    for element in list.elements() {
        let (topic, partition) = (element.topic(), element.partition());
        let key = (topic.to_owned(), partition);
        match (element.error(), element.offset()) {
            (Err(e), _) => {
                let error = Error::from(e).about(format!("{topic}/{partition}"));
                ends.unknown.insert(key, error);
            }
            (Ok(()), Offset::Offset(offset)) => {
                ends.offsets.insert(key, offset);
            }
            (Ok(()), _) => {}
        }
    }
    ends
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

    /// In a client without a `group.id` librdkafka 2.12.1 crashes on NOT_COORDINATOR (its issue 5040).
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_request_is_retried_while_the_coordinator_is_loading() {
        let cluster = MockCluster::new(1).expect("a cluster");
        cluster.create_topic("t", 1, 1).expect("a topic");
        let refusals = [
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
        ];
        cluster.request_errors(RDKafkaApiKey::OffsetFetch, &refusals);
        let kafka = Kafka::new(&cluster.bootstrap_servers()).expect("a client");
        let committed = kafka
            .committed_offsets("nobody", &[("t".to_owned(), 0)])
            .await;
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
