//! Old rows go, and only those that no topic can bring back.

use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier},
    client::DefaultClientContext,
};
use sqlx::PgPool;
use worker_runtime::Housekeeping;

use crate::support::{payments::count, pipeline::Pipeline};

const SOURCE: &str = "purchase-confirmed";
const DEAD_LETTERS: &str = "dead-letter-queue";
const DAY_MS: i64 = 24 * 3600 * 1000;

async fn hold(pipeline: &Pipeline, topic: &str, retention_ms: i64) {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", pipeline.brokers())
        .set("broker.address.family", "v4")
        .create()
        .unwrap();
    let (retention, segment) = (retention_ms.to_string(), DAY_MS.to_string());
    let config = AlterConfig::new(ResourceSpecifier::Topic(topic))
        .set("retention.ms", &retention)
        .set("segment.ms", &segment);
    let altered = admin.alter_configs([&config], &AdminOptions::new()).await;
    altered.unwrap().remove(0).unwrap();
}

/// Rows of this many days, many enough for several steps of a pass.
async fn rows(database: &PgPool, consumer: &str, days: i32) {
    sqlx::query(
        "INSERT INTO processed_events (consumer, event_id, processed_at)
         SELECT $1, gen_random_uuid(), now() - make_interval(days => $2)
         FROM generate_series(1, 20000)",
    )
    .bind(consumer)
    .bind(days)
    .execute(database)
    .await
    .unwrap();
    sqlx::query(
        "INSERT INTO outbox (event_id, correlation_id, topic, event, sent_at)
         SELECT gen_random_uuid(), gen_random_uuid(), $1, '{}',
                CASE WHEN n > 10 THEN now() - make_interval(days => $2) END
         FROM generate_series(1, 1000) n WHERE $3 = 'purchase-worker'",
    )
    .bind(SOURCE)
    .bind(days)
    .bind(consumer)
    .execute(database)
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn old_rows_are_deleted_once_no_topic_can_bring_them_back() {
    let pipeline = Pipeline::declared("housekeeping", &[]);
    pipeline.caravan(&["up", "migrate", "kafka-init"]).expect(0);
    let database = pipeline.database().await;
    let brokers = pipeline.brokers();
    // 3 + 1 days in the source, 5 + 1 as a dead letter, and a day to be sure: 11.
    hold(&pipeline, SOURCE, 3 * DAY_MS).await;
    hold(&pipeline, DEAD_LETTERS, 5 * DAY_MS).await;
    for (consumer, days) in [
        ("purchase-worker", 12),
        ("purchase-worker", 10),
        ("purchase-worker", 0),
        ("another", 12),
    ] {
        rows(&database, consumer, days).await;
    }
    let inbox = || Housekeeping::inbox(database.clone(), &brokers, "purchase-worker", SOURCE);
    let outbox = || Housekeeping::outbox(database.clone(), &brokers, SOURCE);

    // What is held for ever can come back for ever.
    hold(&pipeline, DEAD_LETTERS, -1).await;
    assert_eq!(inbox().pass().await.unwrap(), 0);
    hold(&pipeline, DEAD_LETTERS, 5 * DAY_MS).await;

    // Replicas share the work, or leave it to one of them, and never wait for each other.
    let mut locked = database.begin().await.unwrap();
    sqlx::query(
        "SELECT pg_advisory_xact_lock(hashtextextended('housekeeping/purchase-worker', 0))",
    )
    .execute(&mut *locked)
    .await
    .unwrap();
    assert_eq!(inbox().pass().await.unwrap(), 0, "another one is at it");
    locked.rollback().await.unwrap();
    let (one, other) = (inbox(), inbox());
    let (one, other) = tokio::join!(one.pass(), other.pass());
    assert!(one.is_ok() && other.is_ok(), "{one:?} {other:?}");
    inbox().pass().await.unwrap();
    let old = "SELECT count(*) FROM processed_events
        WHERE consumer = 'purchase-worker' AND processed_at < now() - interval '11 days'";
    assert_eq!(count(&database, old).await, 0);
    let young = "SELECT count(*) FROM processed_events WHERE consumer = 'purchase-worker'";
    assert_eq!(count(&database, young).await, 40_000);
    let others = "SELECT count(*) FROM processed_events WHERE consumer = 'another'";
    assert_eq!(count(&database, others).await, 20_000);

    // 3 + 1 days and one to be sure: only what was sent today is left, and what waits.
    assert_eq!(outbox().pass().await.unwrap(), 2 * 990);
    assert_eq!(
        count(&database, "SELECT count(*) FROM outbox").await,
        990 + 30
    );
    let waiting = "SELECT count(*) FROM outbox WHERE sent_at IS NULL";
    assert_eq!(count(&database, waiting).await, 30);
    assert_eq!(outbox().pass().await.unwrap(), 0);

    let unknown = Housekeeping::inbox(database.clone(), &brokers, "purchase-worker", "no-such");
    let error = unknown.pass().await.unwrap_err().to_string();
    assert!(error.contains("no-such"), "{error}");
}
