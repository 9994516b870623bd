//! The consumer's librdkafka callbacks: rebalances, committed offsets, broker connections.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use rdkafka::{
    ClientContext, Statistics, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance},
    error::KafkaError,
    topic_partition_list::Offset,
};

use super::queues::PartitionQueues;
use crate::{
    Health,
    kafka::{self, lost::Brokers},
    kill::{self, Point},
    telemetry,
};

/// The broker's part in `/ready`.
pub(crate) const KAFKA_PART: &str = "kafka";
/// The consumer group's part in `/ready`.
pub(crate) const GROUP_PART: &str = "group";
/// The topic's part in `/ready`, where it does not exist.
pub(crate) const TOPIC_PART: &str = "topic";

/// The callbacks; all of them run on the consumer's thread, within `poll`.
pub(crate) struct Context {
    pub(crate) topic: &'static str,
    queues: Arc<PartitionQueues>,
    health: Health,
    started: AtomicBool,
    /// The log already says that no broker can be reached.
    unreachable: AtomicBool,
    /// librdkafka's last log message about a lost or refused connection.
    last_failure: Mutex<String>,
    /// Another client has replaced this one: callbacks of this client are ignored.
    retired: AtomicBool,
    brokers: Brokers,
}

/// librdkafka's log facility for failed connections.
const CONNECTION_FAILED: &str = "FAIL";

impl Context {
    pub(crate) fn new(topic: &'static str, queues: Arc<PartitionQueues>, health: Health) -> Self {
        Self {
            topic,
            queues,
            health,
            started: AtomicBool::new(false),
            unreachable: AtomicBool::new(false),
            last_failure: Mutex::default(),
            retired: AtomicBool::new(false),
            brokers: Brokers::default(),
        }
    }

    /// The context of a client that replaces this one. Later callbacks of this client are ignored.
    pub(crate) fn successor(&self) -> Self {
        self.retired.store(true, Ordering::Relaxed);
        let next = Self::new(self.topic, Arc::clone(&self.queues), self.health.clone());
        let copy = |from: &AtomicBool, to: &AtomicBool| {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        };
        copy(&self.started, &next.started);
        copy(&self.unreachable, &next.unreachable);
        next
    }

    /// The brokers that the client knows, from its statistics.
    pub(crate) fn brokers(&self) -> &Brokers {
        &self.brokers
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    fn partitions(&self, list: &TopicPartitionList) -> Vec<i32> {
        list.elements_for_topic(self.topic)
            .iter()
            .map(|element| element.partition())
            .collect()
    }

    fn last_failure(&self) -> MutexGuard<'_, String> {
        self.last_failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// A cooperative rebalance that changes nothing calls this with no partitions.
    fn assigned(&self, partitions: &[i32]) {
        for partition in partitions {
            self.queues.open(*partition);
        }
        self.broker_answers();
        self.health.ready(GROUP_PART);
        // The startup line must precede the first line about partitions.
        if !self.started.swap(true, Ordering::Relaxed) {
            telemetry::started();
        }
        if !partitions.is_empty() {
            self.health.remove(TOPIC_PART);
            tracing::info!(partitions = ?partitions, "partitions assigned");
        }
    }

    /// Logs the reconnection only if the outage was logged.
    fn broker_answers(&self) {
        self.health.ready(KAFKA_PART);
        if self.unreachable.swap(false, Ordering::Relaxed) {
            tracing::info!("broker connected");
        }
    }

    fn no_broker_answers(&self) {
        self.health
            .not_ready(KAFKA_PART, "no broker can be reached");
        if !self.unreachable.swap(true, Ordering::Relaxed) {
            tracing::warn!(why = %self.last_failure(), "no broker can be reached");
        }
    }

    /// Takes over each partition's committed offset, as the broker acknowledged it last. Only this
    /// reveals that an asynchronous commit failed: librdkafka reports that to its commit callback,
    /// which the rdkafka crate does not set because it uses librdkafka's event interface.
    fn update_committed_offsets(&self, statistics: &Statistics) {
        let Some(topic) = statistics.topics.get(self.topic) else {
            return;
        };
        for (partition, statistics) in &topic.partitions {
            // Negative if the group has committed no offset.
            self.queues
                .set_committed(*partition, statistics.committed_offset.max(0));
        }
    }

    fn revoked(&self, consumer: &BaseConsumer<Self>, partitions: &[i32]) {
        tracing::info!(partitions = ?partitions, "partitions revoked");
        kill::reached(Point::OnRevoke);
        let paused = self.queues.paused(partitions);
        let offsets = self.queues.close(partitions);
        // librdkafka keeps a partition paused if it is assigned again later.
        resume_partitions(consumer, self.topic, &paused);
        if consumer.assignment_lost() {
            // Another member may own the partitions, and may have committed higher offsets.
            return;
        }
        commit(consumer, self.topic, &offsets, CommitMode::Sync);
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(list) = rebalance
            && !self.is_retired()
        {
            self.revoked(consumer, &self.partitions(list));
        }
    }

    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(_) if self.is_retired() => {}
            Rebalance::Assign(list) => self.assigned(&self.partitions(list)),
            Rebalance::Revoke(_) => {}
            Rebalance::Error(error) => tracing::warn!(%error, "rebalance failed"),
        }
    }
}

impl ClientContext for Context {
    /// Keeps the reason of a failed connection for the log line that no broker can be reached.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if facility == CONNECTION_FAILED {
            message.clone_into(&mut self.last_failure());
        } else {
            kafka::log(level, facility, message);
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "Kafka client");
    }

    /// Called every 2 s. For an idle client, statistics are the only sign that a broker is back.
    fn stats(&self, statistics: Statistics) {
        if self.is_retired() {
            return;
        }
        self.brokers.are_in(&statistics);
        if statistics
            .brokers
            .values()
            .any(|broker| broker.state == "UP")
        {
            self.broker_answers();
        } else {
            self.no_broker_answers();
        }
        self.update_committed_offsets(&statistics);
        match statistics.cgrp {
            Some(group) if group.state == "up" && group.join_state == "steady" => {
                self.health.ready(GROUP_PART);
            }
            Some(group) => {
                let why = format!("not joined: {}, {}", group.state, group.join_state);
                self.health.not_ready(GROUP_PART, why);
            }
            None => {}
        }
    }
}

/// Pauses fetching from these partitions; librdkafka drops their prefetched messages.
pub(crate) fn pause_partitions(consumer: &BaseConsumer<Context>, topic: &str, partitions: &[i32]) {
    if !partitions.is_empty()
        && let Err(error) = consumer.pause(&list(topic, partitions))
    {
        tracing::warn!(%error, topic, "cannot pause");
    }
}

/// Resumes fetching from these partitions.
pub(crate) fn resume_partitions(consumer: &BaseConsumer<Context>, topic: &str, partitions: &[i32]) {
    if !partitions.is_empty()
        && let Err(error) = consumer.resume(&list(topic, partitions))
    {
        tracing::warn!(%error, topic, "cannot resume");
    }
}

fn list(topic: &str, partitions: &[i32]) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition(topic, *partition);
    }
    list
}

/// Commits `(partition, offset)` pairs of the topic, if there are any.
pub(crate) fn commit(
    consumer: &BaseConsumer<Context>,
    topic: &str,
    offsets: &[(i32, i64)],
    mode: CommitMode,
) {
    if offsets.is_empty() {
        return;
    }
    let mut list = TopicPartitionList::new();
    for (partition, offset) in offsets {
        // Fails only for negative offsets.
        if let Err(error) = list.add_partition_offset(topic, *partition, Offset::Offset(*offset)) {
            tracing::warn!(%error, partition, offset, "not an offset");
        }
    }
    kill::reached(Point::BeforeOffsetCommit);
    if let Err(error) = consumer.commit(&list, mode) {
        // Uncommitted messages are delivered again; the inbox recognises them as duplicates.
        tracing::warn!(%error, "commit failed");
    }
    kill::reached(Point::AfterOffsetCommit);
}
