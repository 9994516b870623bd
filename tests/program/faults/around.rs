//! Faults that are neither a container's nor an event's: what stands around the workers, and what was
//! declared of it.

use super::{deployed, expect_red, hint, losses, record};
use crate::support::{
    Ran, caravan,
    fault_records::{self, Red},
    kafka::{Hanging, create_topic, delete_topic, set_message_limit},
    pipeline::Pipeline,
};

/// Another program's, in a worker's group: whoever it is, nobody gets anything.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_hangs() {
    let pipeline = &deployed().await;
    let hanging = Hanging::in_group(pipeline, "cache-worker", "purchase-created");
    // In the first minute after the worker's start both are warnings; meanwhile its health check may fail, too.
    let stable = "groups.cache-worker.stable";
    let ran = losses::expect(pipeline, "fail", &["groups.cache-worker.assigned", stable]);
    let cause = &Pipeline::finding(&ran, "groups.cache-worker.assigned")["cause"];
    assert_eq!(cause, stable);
    let health = Pipeline::finding(&ran, "containers.cache-worker.health");
    if health["status"] == "fail" {
        assert_eq!(health["cause"], stable, "one root");
    }
    record(pipeline, "a member of a group hangs", &ran, &[stable]);
    drop(hanging);
    pipeline.expect_green();
}

/// Each has its own root, and one `verify` finds them all.
#[tokio::test(flavor = "multi_thread")]
async fn several_that_do_not_touch_one_another() {
    let pipeline = &deployed().await;
    let database = &pipeline.database().await;
    pipeline.docker(&["rm", &pipeline.container("kafka-init")]);
    create_topic(pipeline, "purchase-confrimed").await;
    set_message_limit(pipeline, "purchase-created", 4 << 20).await;
    redis(pipeline, "config set maxmemory-policy noeviction");
    redis(pipeline, "config set maxmemory 1kb");
    migrated(database, false).await;
    let pid = pipeline.inspect("session-worker", "{{.State.Pid}}");
    let kill = format!("kill -9 {pid} 2>/dev/null || sudo kill -9 {pid}");
    pipeline.shell(&kill).expect(0);

    let ran = expect_red(
        pipeline,
        &[
            "cache.memory",
            "containers.kafka-init.as-declared",
            "containers.kafka-init.completed",
            "containers.session-worker.restarts",
            "database.migrations",
            "dead-letters.room",
            "logs.kafka-init.clean",
            "topics.undeclared",
        ],
    );
    let roots = [
        ("Redis is full", "cache.memory"),
        ("a one-shot never ran", "containers.kafka-init.completed"),
        ("a worker crashed", "containers.session-worker.restarts"),
        ("a migration was interrupted", "database.migrations"),
        ("a topic takes larger messages", "dead-letters.room"),
        ("a topic's name is misspelt", "topics.undeclared"),
    ];
    for (fault, root) in roots {
        record(pipeline, fault, &ran, &[root]);
    }

    pipeline
        .shell(&hint(&ran, "containers.kafka-init.completed"))
        .expect(0);
    delete_topic(pipeline, "purchase-confrimed").await;
    redis(pipeline, "config set maxmemory 128mb");
    redis(pipeline, "config set maxmemory-policy allkeys-lru");
    migrated(database, true).await;
    // Docker counts anew.
    pipeline.caravan(&["restart", "session-worker"]).expect(0);
    pipeline.expect_green();
}

/// A command of Redis', as its administrator gives it.
pub(super) fn redis(pipeline: &Pipeline, command: &str) {
    let line = format!("REDISCLI_AUTH=$(cat /run/secrets/redis-password) redis-cli -e {command}");
    pipeline.docker(&["exec", &pipeline.container("redis"), "sh", "-c", &line]);
}

/// Whether the last migration came to its end.
async fn migrated(database: &sqlx::PgPool, success: bool) {
    let sql = "UPDATE _sqlx_migrations SET success = $1
        WHERE version = (SELECT max(version) FROM _sqlx_migrations)";
    let done = sqlx::query(sql).bind(success).execute(database).await;
    assert_eq!(done.unwrap().rows_affected(), 1);
}

/// Nothing to check is no pass.
#[test]
fn a_declaration_of_nothing_that_could_be_checked_is_not_right() {
    let directory = tempfile::tempdir().unwrap();
    let declaration = "x-caravan: {}
services:
  worker: {image: worker, profiles: [nightly]}
";
    std::fs::write(directory.path().join("compose.yaml"), declaration).unwrap();
    let mut command = caravan();
    command.args(["-p", "caravan-test-nothing-0", "verify", "-o", "json"]);
    command.current_dir(directory.path());
    command.env("XDG_STATE_HOME", directory.path());
    let ran = Ran::of(command.output().unwrap()).expect(1);
    let red = Red::all(&ran.json());
    let ids: Vec<_> = red.iter().map(|r| r.id.as_str()).collect();
    assert_eq!(ids, ["declaration.checks"]);
    let fault = "no service has an active profile, and x-caravan is empty";
    let red: Vec<_> = red.iter().collect();
    let table = "a declaration of nothing";
    fault_records::record(table, "caravan-test-nothing-0", fault, &red, &[]);
}
