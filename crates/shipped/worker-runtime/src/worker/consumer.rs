//! The consumer's thread: reads what is there, hands it to the partitions' tasks, reads no more
//! than they can take, commits what is done.

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
    context::{Context, GROUP_PART, KAFKA_PART, TOPIC_PART, commit, pause, resume},
    ending::Ending,
    lane::Lanes,
};
use crate::{Health, RunError, kafka, settings, watchdog::Pulse};

/// `poll` returns at once when something is there; this bounds how late a commit or resume is.
const POLL: Duration = Duration::from_millis(100);
/// Each is a request to the broker, and a crash in between costs no more than some inbox rows that
/// are found to be there already.
const COMMIT_EVERY: Duration = Duration::from_millis(200);
/// Handed on together, at most, so that the first of them need not wait long.
const READ_MESSAGES: usize = 500;
const READ_BYTES: usize = 1024 * 1024;
/// A full lane is looked at again after this, whether it was told to have room or not.
const WAIT_FOR_ROOM: Duration = Duration::from_millis(50);

/// A member that was fenced joins anew no more often: two processes of one name would take it from
/// each other for ever, and that is for a person to see.
const JOINS_ANEW_AFTER: Duration = Duration::from_secs(300);

/// One consumer of one topic.
pub(crate) struct Reader {
    consumer: BaseConsumer<Context>,
    brokers: String,
    group: String,
    topic: &'static str,
    lanes: Arc<Lanes>,
    health: Health,
    ending: Ending,
    pulse: Arc<Pulse>,
    next_commit: Instant,
    /// The group has given this member's name to another.
    fenced: bool,
    joined_anew: Option<Instant>,
}

impl Reader {
    /// Creates the client and subscribes; joining the group begins with the first poll.
    pub(crate) fn new(
        brokers: &str,
        group: &str,
        topic: &'static str,
        lanes: Lanes,
        health: Health,
        ending: Ending,
        pulse: Arc<Pulse>,
    ) -> Result<Self, RunError> {
        let lanes = Arc::new(lanes);
        let context = Context::new(topic, Arc::clone(&lanes), health.clone());
        Ok(Self {
            consumer: subscribed(brokers, group, context)?,
            brokers: brokers.to_owned(),
            group: group.to_owned(),
            topic,
            lanes,
            health,
            ending,
            pulse,
            next_commit: Instant::now(),
            fenced: false,
            joined_anew: None,
        })
    }

    /// Runs until the worker ends; then finishes what is under way, commits, leaves the group.
    ///
    /// Closing the consumer can hang (librdkafka); whoever waits for this thread has to bound it.
    pub(crate) fn run(mut self) {
        self.consume();
        while self.needs_another_client() {
            let Some(anew) = self.join_anew() else {
                return;
            };
            self = anew;
            self.consume();
        }
        let offsets = self.lanes.close(&self.lanes.all());
        commit(&self.consumer, self.topic, &offsets, CommitMode::Sync);
        drop(self.consumer);
    }

    /// Its place in the group is lost, or all brokers are.
    fn needs_another_client(&self) -> bool {
        self.fenced || self.consumer.context().brokers().are_lost()
    }

    /// Until the worker ends, or this client is of no use any more.
    fn consume(&mut self) {
        while !self.needs_another_client() && !self.ending.token().is_cancelled() {
            self.pulse.beat();
            if self.regulate() {
                self.read();
            } else {
                self.lanes.wait_for_room(WAIT_FOR_ROOM);
            }
            self.commit_done();
        }
    }

    /// By another client, under the same name: this one is refused for ever, or cannot connect. What is
    /// under way is finished first, and not committed: it is delivered again, and the inbox knows it.
    /// None where that cannot be.
    fn join_anew(self) -> Option<Self> {
        if !self.fenced {
            tracing::warn!("the Kafka client has lost all brokers: it is made anew");
        }
        self.lanes.close(&self.lanes.all());
        let context = self.consumer.context().successor();
        // Its teardown hangs, now and then; nobody waits for it.
        let consumer = self.consumer;
        thread::spawn(move || drop(consumer));
        match subscribed(&self.brokers, &self.group, context) {
            Ok(consumer) => Some(Self {
                consumer,
                fenced: false,
                joined_anew: match self.fenced {
                    true => Some(Instant::now()),
                    false => self.joined_anew,
                },
                ..self
            }),
            Err(error) => {
                self.ending.fatal(error);
                None
            }
        }
    }

    /// Waits for a message, takes those that are there with it, and hands them on: a lone one at
    /// once.
    fn read(&mut self) {
        let mut wait = POLL;
        let mut bytes = 0;
        for _ in 0..READ_MESSAGES {
            match self.consumer.poll(wait) {
                Some(Ok(message)) => {
                    let message = Message::copy(&message, self.topic);
                    bytes += message.size();
                    self.lanes.deliver(message);
                }
                Some(Err(error)) => self.failed(&error),
                None => break,
            }
            if bytes >= READ_BYTES || self.fenced {
                break;
            }
            wait = Duration::ZERO;
        }
        self.lanes.flush();
    }

    fn failed(&mut self, error: &KafkaError) {
        if let Some((code, reason)) = self.consumer.client().fatal_error() {
            let since = self.joined_anew.map(|at| at.elapsed());
            let again = since.is_some_and(|since| since < JOINS_ANEW_AFTER);
            if code == RDKafkaErrorCode::FencedInstanceId && !again {
                let why = "the group has given this member up: it joins anew";
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
            // State changes of the connection are told by Context::stats.
            _ => tracing::debug!(%error, "poll failed"),
        }
    }

    /// Pauses and resumes partitions; whether there is room for more.
    fn regulate(&self) -> bool {
        let flow = self.lanes.flow(tokio::time::Instant::now());
        pause(&self.consumer, self.topic, &flow.pause);
        resume(&self.consumer, self.topic, &flow.resume);
        !flow.hold
    }

    /// Only as a member of the group: librdkafka keeps a commit while the coordinator is away, and
    /// sends it for a member that has been given up meanwhile; for a static one that is fatal.
    fn commit_done(&mut self) {
        let now = Instant::now();
        let is_away = |part: &&str| self.health.is_not_ready(part);
        if now < self.next_commit || [KAFKA_PART, GROUP_PART].iter().any(is_away) {
            return;
        }
        self.next_commit = now + COMMIT_EVERY;
        let offsets = self.lanes.take_uncommitted();
        commit(&self.consumer, self.topic, &offsets, CommitMode::Async);
    }
}

/// The client, as a member of its group as soon as it is polled.
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

/// Offsets are ours to commit, after the effects; the rest is about being quick on a small
/// pipeline and bounded in memory.
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
        // Fetched before it is asked for, of all partitions together: the next fetch is made when
        // less than this is left. A larger message still comes (the broker sends one at least),
        // up to receive.message.max.bytes, 100 MB.
        .set("queued.min.messages", "2000")
        .set("queued.max.messages.kbytes", "4096")
        .set("fetch.message.max.bytes", "524288")
        .set("fetch.max.bytes", "4194304")
        .set("statistics.interval.ms", kafka::lost::STATISTICS_EVERY_MS);
    // A replica that has a number keeps its partitions over a quick restart.
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
