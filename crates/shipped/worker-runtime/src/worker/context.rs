//! What librdkafka tells the consumer: partitions come and go, what is committed, brokers vanish.

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

use super::lane::Lanes;
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

/// Callbacks; all run on the consumer's thread, within `poll`.
pub(crate) struct Context {
    pub(crate) topic: &'static str,
    lanes: Arc<Lanes>,
    health: Health,
    started: AtomicBool,
    /// It was told that no broker can be reached.
    away: AtomicBool,
    /// librdkafka's last word on a lost or refused connection.
    last_failure: Mutex<String>,
    /// Another client has taken over: what this one still tells is of no account.
    retired: AtomicBool,
    brokers: Brokers,
}

/// librdkafka's facility for it.
const CONNECTION_FAILED: &str = "FAIL";

impl Context {
    pub(crate) fn new(topic: &'static str, lanes: Arc<Lanes>, health: Health) -> Self {
        Self {
            topic,
            lanes,
            health,
            started: AtomicBool::new(false),
            away: AtomicBool::new(false),
            last_failure: Mutex::default(),
            retired: AtomicBool::new(false),
            brokers: Brokers::default(),
        }
    }

    /// For a client in the place of this one's, which is heard no more.
    pub(crate) fn successor(&self) -> Self {
        self.retired.store(true, Ordering::Relaxed);
        let next = Self::new(self.topic, Arc::clone(&self.lanes), self.health.clone());
        let copy = |from: &AtomicBool, to: &AtomicBool| {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        };
        copy(&self.started, &next.started);
        copy(&self.away, &next.away);
        next
    }

    /// What the client knows of its brokers.
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

    /// A cooperative rebalance that changes nothing comes here, too, with no partitions.
    fn assigned(&self, partitions: &[i32]) {
        for partition in partitions {
            self.lanes.open(*partition);
        }
        self.broker_answers();
        self.health.ready(GROUP_PART);
        // The startup line comes first; partitions come and go after it.
        if !self.started.swap(true, Ordering::Relaxed) {
            telemetry::started();
        }
        if !partitions.is_empty() {
            self.health.remove(TOPIC_PART);
            tracing::info!(partitions = ?partitions, "partitions assigned");
        }
    }

    /// The way back is told where the way out was.
    fn broker_answers(&self) {
        self.health.ready(KAFKA_PART);
        if self.away.swap(false, Ordering::Relaxed) {
            tracing::info!("broker connected");
        }
    }

    fn no_broker_answers(&self) {
        self.health
            .not_ready(KAFKA_PART, "no broker can be reached");
        if !self.away.swap(true, Ordering::Relaxed) {
            tracing::warn!(why = %self.last_failure(), "no broker can be reached");
        }
    }

    /// A partition's committed offset, as the broker acknowledged it last. Nothing else tells that
    /// an asynchronous commit has failed: librdkafka says so to a callback alone, which the rdkafka
    /// crate, built on librdkafka's events, does not set.
    fn tell_what_is_committed(&self, statistics: &Statistics) {
        let Some(topic) = statistics.topics.get(self.topic) else {
            return;
        };
        for (partition, told) in &topic.partitions {
            // Below zero: none.
            self.lanes
                .committed_is(*partition, told.committed_offset.max(0));
        }
    }

    fn revoked(&self, consumer: &BaseConsumer<Self>, partitions: &[i32]) {
        tracing::info!(partitions = ?partitions, "partitions revoked");
        kill::reached(Point::OnRevoke);
        let paused = self.lanes.paused(partitions);
        let offsets = self.lanes.close(partitions);
        // librdkafka remembers a pause, should the partition come back.
        resume(consumer, self.topic, &paused);
        if consumer.assignment_lost() {
            // Another member may have them by now, and has read on from what was committed.
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
    /// Why a connection failed is kept for the one line that says that none is left.
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

    /// Every other second: the only way to hear that a broker is back while nothing happens.
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
        self.tell_what_is_committed(&statistics);
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

/// Reads nothing more of these partitions, and throws away what was fetched of them.
pub(crate) fn pause(consumer: &BaseConsumer<Context>, topic: &str, partitions: &[i32]) {
    if !partitions.is_empty()
        && let Err(error) = consumer.pause(&list(topic, partitions))
    {
        tracing::warn!(%error, topic, "cannot pause");
    }
}

/// Reads on from these partitions.
pub(crate) fn resume(consumer: &BaseConsumer<Context>, topic: &str, partitions: &[i32]) {
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
        // Only fails for offsets below zero.
        if let Err(error) = list.add_partition_offset(topic, *partition, Offset::Offset(*offset)) {
            tracing::warn!(%error, partition, offset, "not an offset");
        }
    }
    kill::reached(Point::BeforeOffsetCommit);
    if let Err(error) = consumer.commit(&list, mode) {
        // What is not committed is delivered again, and the inbox knows it.
        tracing::warn!(%error, "commit failed");
    }
    kill::reached(Point::AfterOffsetCommit);
}
