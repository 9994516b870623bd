//! The consumer's thread: polls Kafka, sends messages to the partitions' tasks no faster than they
//! dequeue them, and commits done offsets.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, CommitMode, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
};

use super::{
    Message,
    context::{
        Context, GROUP_PART, KAFKA_PART, TOPIC_PART, commit, pause_partitions, resume_partitions,
    },
    ending::Ending,
    queues::PartitionQueues,
};
use crate::{Health, RunError, kafka, settings, watchdog::Pulse};

/// Timeout of `poll`, which returns at once if a message is there. Bounds the delay of commits and
/// resumes.
const POLL: Duration = Duration::from_millis(100);
/// Each commit is a request to the broker. After a crash between two commits, the redelivered events
/// only cost a lookup in the inbox.
const COMMIT_EVERY: Duration = Duration::from_millis(200);
/// Limits of one read: the first message must not wait long for the others.
const READ_MESSAGES: usize = 500;
const READ_BYTES: usize = 1024 * 1024;
/// A full queue is checked again after this time, even without a notification.
const WAIT_FOR_ROOM: Duration = Duration::from_millis(50);

/// Minimum time between two rejoins of a fenced member. Two processes with the same
/// `group.instance.id` would fence each other forever: the process ends with an error instead.
const REJOIN_INTERVAL: Duration = Duration::from_secs(300);

/// One consumer of one topic.
pub(crate) struct Reader {
    consumer: BaseConsumer<Context>,
    brokers: String,
    group: String,
    topic: &'static str,
    queues: Arc<PartitionQueues>,
    health: Health,
    ending: Ending,
    pulse: Arc<Pulse>,
    next_commit: Instant,
    /// The broker fenced this member: another one has its `group.instance.id`.
    fenced: bool,
    rejoined_at: Option<Instant>,
}

impl Reader {
    /// Creates the client and subscribes. It joins the group with the first poll.
    pub(crate) fn new(
        brokers: &str,
        group: &str,
        topic: &'static str,
        queues: PartitionQueues,
        health: Health,
        ending: Ending,
        pulse: Arc<Pulse>,
    ) -> Result<Self, RunError> {
        let queues = Arc::new(queues);
        let context = Context::new(topic, Arc::clone(&queues), health.clone());
        Ok(Self {
            consumer: subscribed(brokers, group, context)?,
            brokers: brokers.to_owned(),
            group: group.to_owned(),
            topic,
            queues,
            health,
            ending,
            pulse,
            next_commit: Instant::now(),
            fenced: false,
            rejoined_at: None,
        })
    }

    /// Runs until the worker ends; then finishes the current batches, commits and leaves the group.
    ///
    /// Closing the consumer can hang in librdkafka: wait for this thread only with a timeout.
    pub(crate) fn run(mut self) {
        self.consume();
        while self.needs_new_client() {
            let Some(rejoined) = self.rejoin() else {
                return;
            };
            self = rejoined;
            self.consume();
        }
        let offsets = self.queues.close(&self.queues.all());
        commit(&self.consumer, self.topic, &offsets, CommitMode::Sync);
        drop(self.consumer);
    }

    /// Whether the client cannot recover: it is fenced, or has lost all brokers.
    fn needs_new_client(&self) -> bool {
        self.fenced || self.consumer.context().brokers().are_lost()
    }

    /// Reads until the worker ends or the client has to be replaced.
    fn consume(&mut self) {
        while !self.needs_new_client() && !self.ending.token().is_cancelled() {
            self.pulse.beat();
            if self.regulate() {
                self.read();
            } else {
                self.queues.wait_for_room(WAIT_FOR_ROOM);
            }
            self.commit_done();
        }
    }

    /// Replaces the client by one with the same `group.instance.id`: this one is fenced, or cannot
    /// connect. The current batches are finished but not committed; the inbox recognises their
    /// redelivery. None if the new client could not be created.
    fn rejoin(self) -> Option<Self> {
        if !self.fenced {
            tracing::warn!("the Kafka client has lost all brokers: it is recreated");
        }
        self.queues.close(&self.queues.all());
        let context = self.consumer.context().successor();
        // Closing the old client may hang: no one waits for this thread.
        let consumer = self.consumer;
        thread::spawn(move || drop(consumer));
        match subscribed(&self.brokers, &self.group, context) {
            Ok(consumer) => Some(Self {
                consumer,
                fenced: false,
                rejoined_at: match self.fenced {
                    true => Some(Instant::now()),
                    false => self.rejoined_at,
                },
                ..self
            }),
            Err(error) => {
                self.ending.fatal(error);
                None
            }
        }
    }

    /// Waits for a message, reads those that are available with it, and sends them to the tasks. A
    /// single message is sent at once.
    fn read(&mut self) {
        let mut wait = POLL;
        let mut bytes = 0;
        for _ in 0..READ_MESSAGES {
            match self.consumer.poll(wait) {
                Some(Ok(message)) => {
                    let message = Message::copy(&message, self.topic);
                    bytes += message.size();
                    self.queues.deliver(message);
                }
                Some(Err(error)) => self.failed(&error),
                None => break,
            }
            if bytes >= READ_BYTES || self.fenced {
                break;
            }
            wait = Duration::ZERO;
        }
        self.queues.flush();
    }

    fn failed(&mut self, error: &KafkaError) {
        if let Some((code, reason)) = self.consumer.client().fatal_error() {
            let since = self.rejoined_at.map(|at| at.elapsed());
            let again = since.is_some_and(|since| since < REJOIN_INTERVAL);
            if code == RDKafkaErrorCode::FencedInstanceId && !again {
                let why = "the group removed this member: it joins again";
                self.health.not_ready(GROUP_PART, why);
                tracing::warn!(reason, "{why}");
                self.fenced = true;
            } else {
                self.ending
                    .fatal(RunError::Kafka(format!("consumer: {code}: {reason}")));
            }
            return;
        }
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                let why = format!("topic {} does not exist", self.topic);
                if self.health.not_ready(TOPIC_PART, why) {
                    tracing::warn!(topic = self.topic, "the topic does not exist");
                }
            }
            // Context::stats reports state changes of the connection.
            _ => tracing::debug!(%error, "poll failed"),
        }
    }

    /// Pauses and resumes partitions. Returns whether to read.
    fn regulate(&self) -> bool {
        let flow = self.queues.flow(tokio::time::Instant::now());
        pause_partitions(&self.consumer, self.topic, &flow.pause);
        resume_partitions(&self.consumer, self.topic, &flow.resume);
        !flow.hold
    }

    /// Commits done offsets, only as a member of the group. librdkafka keeps a commit while the
    /// coordinator is unreachable and sends it later. If the group has removed a static member by
    /// then, that commit is a fatal error.
    fn commit_done(&mut self) {
        let now = Instant::now();
        let is_away = |part: &&str| self.health.is_not_ready(part);
        if now < self.next_commit || [KAFKA_PART, GROUP_PART].iter().any(is_away) {
            return;
        }
        self.next_commit = now + COMMIT_EVERY;
        let offsets = self.queues.take_uncommitted();
        commit(&self.consumer, self.topic, &offsets, CommitMode::Async);
    }
}

/// Creates the client and subscribes it to the topic.
fn subscribed(
    brokers: &str,
    group: &str,
    context: Context,
) -> Result<BaseConsumer<Context>, RunError> {
    let topic = context.topic;
    let consumer: BaseConsumer<Context> = config(brokers, group)
        .create_with_context(context)
        .map_err(|e| RunError::Kafka(e.to_string()))?;
    consumer
        .subscribe(&[topic])
        .map_err(|e| RunError::Kafka(e.to_string()))?;
    Ok(consumer)
}

/// Auto-commit is off, because offsets are committed after the effects. The other settings give low
/// latency with few events and bounded memory.
fn config(brokers: &str, group: &str) -> ClientConfig {
    let mut config = kafka::client(brokers);
    config
        .set("group.id", group)
        .set("group.protocol", "classic")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("isolation.level", "read_committed")
        .set("session.timeout.ms", "10000")
        .set("heartbeat.interval.ms", "1000")
        .set("max.poll.interval.ms", "300000")
        .set("fetch.queue.backoff.ms", "5")
        .set("fetch.error.backoff.ms", "100")
        // Prefetch of all partitions together: the next fetch starts when less than this is queued.
        // A larger message still arrives (a broker returns at least one), up to
        // receive.message.max.bytes, 100 MB.
        .set("queued.min.messages", "2000")
        .set("queued.max.messages.kbytes", "4096")
        .set("fetch.message.max.bytes", "524288")
        .set("fetch.max.bytes", "4194304")
        .set("statistics.interval.ms", kafka::lost::STATISTICS_EVERY_MS);
    // A static member: a replica with a number keeps its partitions over a quick restart.
    if let Some(replica) = settings::optional("CARAVAN_REPLICA") {
        let instance = format!("{group}-{replica}");
        config
            .set("group.instance.id", &instance)
            .set("client.id", &instance);
    } else {
        config.set("client.id", group);
    }
    config
}

#[cfg(test)]
mod tests;
