use std::{
    thread::{self, JoinHandle},
    time::Duration,
};

use caravan_events::names::DEAD_LETTER_TOPIC;
use rdkafka::{
    Offset, TopicPartitionList,
    producer::{FutureProducer, FutureRecord},
    types::{RDKafkaApiKey, RDKafkaRespErr},
};
use tokio::runtime::Handle;

use super::{
    super::{
        rig::{Cluster, Fake, PROCESSED, TOPIC, cluster, eventually, good, shared},
        spawner,
    },
    *,
};
use crate::{
    Metrics,
    kafka::lost::tests::lose_all,
    worker::{lag::Lags, work::Shared},
};

const GROUP: &str = "group";
const PARTITIONS: i32 = 3;

/// A worker's consumer and tasks, without a process.
struct Member {
    shared: Arc<Shared<Fake>>,
    metrics: Metrics,
    /// The context of the first client.
    context: Arc<Context>,
    thread: JoinHandle<()>,
}

impl Member {
    fn join(fake: Fake, brokers: &str) -> Self {
        let (shared, metrics) = shared(fake, brokers);
        let queues = PartitionQueues::new(
            spawner(Arc::clone(&shared), Lags::default()),
            Handle::current(),
            shared.metrics.clone(),
        );
        let reader = Reader::new(
            brokers,
            GROUP,
            TOPIC,
            queues,
            shared.health.clone(),
            shared.ending.clone(),
            Arc::default(),
        );
        let reader = reader.expect("a client");
        Self {
            shared,
            metrics,
            context: Arc::clone(reader.consumer.context()),
            thread: thread::spawn(move || reader.run()),
        }
    }

    fn events(&self) -> usize {
        self.shared.processor.batches().iter().map(Vec::len).sum()
    }

    async fn leave(self) {
        self.shared.ending.token().cancel();
        let left = tokio::task::spawn_blocking(|| self.thread.join());
        left.await.expect("no panic").expect("no panic");
    }
}

/// One event to each partition in turn.
async fn produce(brokers: &str, events: i64) {
    let producer: FutureProducer = kafka::client(brokers).create().expect("a producer");
    let mut deliveries = Vec::new();
    for offset in 0..events {
        let value = good(offset).value.expect("an event");
        let record: FutureRecord<'_, (), _> = FutureRecord::to(TOPIC).payload(&value);
        let partition = i32::try_from(offset).expect("small") % PARTITIONS;
        let sent = producer.send_result(record.partition(partition));
        deliveries.push(sent.map_err(|(error, _)| error).expect("room"));
    }
    for delivery in deliveries {
        delivery.await.expect("an answer").expect("written");
    }
}

/// The sum of the group's committed offsets over all partitions.
async fn committed(brokers: &str) -> i64 {
    let mut config = kafka::client(brokers);
    config.set("group.id", GROUP);
    let lookup = tokio::task::spawn_blocking(move || {
        let consumer: BaseConsumer = config.create().expect("a client");
        let mut list = TopicPartitionList::new();
        list.add_partition_range(TOPIC, 0, PARTITIONS - 1);
        consumer.committed_offsets(list, Duration::from_secs(10))
    });
    let list = lookup.await.expect("no panic").expect("an answer");
    let offset = |offset| {
        if let Offset::Offset(at) = offset {
            at
        } else {
            0
        }
    };
    list.elements().iter().map(|e| offset(e.offset())).sum()
}

async fn wait_for_commit(brokers: &str, offsets: i64) {
    let all_committed = async {
        while committed(brokers).await < offsets {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(30), all_committed).await;
    assert!(waited.is_ok(), "{} committed", committed(brokers).await);
}

fn topics() -> Cluster {
    cluster(&[(TOPIC, PARTITIONS), (DEAD_LETTER_TOPIC, 1)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_events_are_processed_once_and_committed_at_the_end() {
    let cluster = topics();
    let brokers = cluster.bootstrap_servers();
    produce(&brokers, 6_000).await;
    let member = Member::join(Fake::new(|_| Ok(PROCESSED)), &brokers);
    eventually("all are given", || member.events() >= 6_000).await;
    assert_eq!(member.events(), 6_000);
    member.leave().await;
    assert_eq!(committed(&brokers).await, 6_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_current_batch_is_finished_before_partitions_are_revoked() {
    let cluster = topics();
    let brokers = cluster.bootstrap_servers();
    let first = Member::join(Fake::waiting(), &brokers);
    produce(&brokers, 30).await;
    eventually("all are under way", || first.events() > 0).await;
    let begun = first.events();
    let leaving = tokio::spawn({
        let shared = Arc::clone(&first.shared);
        async move {
            tokio::time::sleep(Duration::from_millis(200)).await;
            shared.processor.let_through(1_000);
        }
    });
    first.leave().await;
    leaving.await.expect("no panic");
    let done = committed(&brokers).await;
    assert!(
        done >= i64::try_from(begun).expect("few"),
        "{done} of {begun}"
    );
    // The next member processes the remaining events only.
    let second = Member::join(Fake::new(|_| Ok(PROCESSED)), &brokers);
    let rest = usize::try_from(30 - done).expect("no more than all");
    eventually("the rest is done", || second.events() >= rest).await;
    second.leave().await;
    assert_eq!(committed(&brokers).await, 30);
}

/// Only the committed offset that the broker reports reveals the failure; no later event causes
/// another commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_commit_is_repeated() {
    let cluster = topics();
    let brokers = cluster.bootstrap_servers();
    let refusals = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS; 2];
    cluster.request_errors(RDKafkaApiKey::OffsetCommit, &refusals);
    let member = Member::join(Fake::new(|_| Ok(PROCESSED)), &brokers);
    produce(&brokers, 30).await;
    eventually("all are given", || member.events() >= 30).await;
    wait_for_commit(&brokers, 30).await;
    member.leave().await;
}

/// librdkafka keeps a partition paused while it is assigned to another member.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_was_revoked_while_paused_is_read_after_reassignment() {
    let cluster = topics();
    let brokers = cluster.bootstrap_servers();
    produce(&brokers, 6_000).await;
    let first = Member::join(Fake::waiting(), &brokers);
    let paused = r#"caravan_partitions_paused{reason="full"} 3"#;
    eventually("all are paused", || first.metrics.text().contains(paused)).await;
    let second = Member::join(Fake::new(|_| Ok(PROCESSED)), &brokers);
    eventually("one goes", || second.events() > 0).await;
    second.leave().await;
    first.shared.processor.let_through(1_000);
    produce(&brokers, 30).await;
    wait_for_commit(&brokers, 6_030).await;
    first.leave().await;
}

/// The group fenced the member while it was disconnected: the process replaces the client.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fenced_member_rejoins_and_processes_the_remaining_events() {
    let cluster = topics();
    let brokers = cluster.bootstrap_servers();
    let member = Member::join(Fake::new(|_| Ok(PROCESSED)), &brokers);
    produce(&brokers, 30).await;
    eventually("all are given", || member.events() >= 30).await;
    let refusal = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID];
    cluster.request_errors(RDKafkaApiKey::Heartbeat, &refusal);
    let health = member.shared.health.clone();
    let gone = || health.is_not_ready(super::GROUP_PART);
    eventually("it has lost its place", gone).await;
    produce(&brokers, 30).await;
    wait_for_commit(&brokers, 60).await;
    assert!(!member.shared.ending.token().is_cancelled());

    // Fenced again shortly after: another process has its name.
    cluster.request_errors(RDKafkaApiKey::Heartbeat, &refusal);
    let ended = || member.shared.ending.token().is_cancelled();
    eventually("it gives up", ended).await;
    let error = member.shared.ending.result().expect_err("fenced twice");
    assert!(
        error.to_string().contains("the Kafka client failed"),
        "{error}"
    );
    // Closing the client may hang; the process waits for it with a timeout.
    drop(member);
}

/// The client itself never recovers from this; it is replaced each time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_has_lost_all_brokers_is_replaced() {
    let cluster = topics();
    let brokers = cluster.bootstrap_servers();
    let member = Member::join(Fake::new(|_| Ok(PROCESSED)), &brokers);
    produce(&brokers, 30).await;
    eventually("all are given", || member.events() >= 30).await;
    lose_all(member.context.brokers());
    eventually("another client is there", || member.context.is_retired()).await;
    produce(&brokers, 30).await;
    wait_for_commit(&brokers, 60).await;
    member.leave().await;
}
