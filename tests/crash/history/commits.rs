//! Whether what a stopped worker has committed is what it has processed: no more, no less.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};
use sqlx::PgPool;
use uuid::Uuid;

use super::{Emitted, Topics};
use crate::support::pipeline::Pipeline;

const TIMEOUT: Duration = Duration::from_secs(10);

/// Compares a group's committed offsets with its inbox: events in words, none where they agree.
/// To be asked while no member of the group runs.
pub(crate) async fn disagreements(
    pipeline: &Pipeline,
    topics: &mut Topics,
    database: &PgPool,
    group: &str,
    topic: &str,
) -> Vec<String> {
    let sql = "SELECT event_id FROM processed_events WHERE consumer = $1";
    let inbox: Vec<Uuid> = sqlx::query_scalar(sql)
        .bind(group)
        .fetch_all(database)
        .await
        .unwrap();
    let events = topics.read(topic);
    let partitions = events.iter().map(|e| e.partition).collect();
    let committed = committed(pipeline, group, topic, &partitions);
    compare(events, &inbox.into_iter().collect(), &committed)
}

fn compare(
    events: &[Emitted],
    inbox: &BTreeSet<Uuid>,
    committed: &HashMap<i32, i64>,
) -> Vec<String> {
    let mut first_copies = BTreeSet::new();
    let mut found = Vec::new();
    for event in events {
        let is_committed = event.offset < committed[&event.partition];
        let is_processed = inbox.contains(&event.event_id);
        // A copy of an event that was processed before may well lie ahead.
        let is_first = first_copies.insert(event.event_id);
        let what = match (is_committed, is_processed) {
            (true, false) => "committed, but not processed",
            (false, true) if is_first => "processed, but not committed",
            _ => continue,
        };
        found.push(format!(
            "{what}: {} at {}/{}",
            event.event_id, event.partition, event.offset
        ));
    }
    found
}

fn committed(
    pipeline: &Pipeline,
    group: &str,
    topic: &str,
    partitions: &BTreeSet<i32>,
) -> HashMap<i32, i64> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", pipeline.brokers())
        .set("broker.address.family", "v4")
        .set("group.id", group);
    let consumer: BaseConsumer = config.create().unwrap();
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition(topic, *partition);
    }
    let committed = consumer.committed_offsets(list, TIMEOUT).unwrap();
    let offset = |partition| match committed.find_partition(topic, partition).unwrap().offset() {
        Offset::Offset(offset) => offset,
        _ => 0,
    };
    partitions.iter().map(|p| (*p, offset(*p))).collect()
}

#[test]
fn more_and_less_than_processed_are_distinguished() {
    let event = |offset, id| Emitted {
        partition: 0,
        offset,
        event_id: Uuid::from_u128(id),
        payment: Uuid::nil(),
    };
    let events = [event(0, 1), event(1, 2), event(2, 1), event(3, 3)];
    let inbox = |ids: &[u128]| ids.iter().map(|id| Uuid::from_u128(*id)).collect();
    let found = |ids, committed| compare(&events, &inbox(ids), &HashMap::from([(0, committed)]));
    // The third is a copy of the first: whether it was read again makes no difference.
    assert_eq!(found(&[1, 2], 2), Vec::<String>::new());
    assert_eq!(found(&[1, 2], 3), Vec::<String>::new());
    assert!(found(&[1], 2)[0].starts_with("committed, but not processed"));
    assert!(found(&[1, 2, 3], 3)[0].starts_with("processed, but not committed"));
}
