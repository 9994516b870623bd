use std::time::Duration;

use crate::testing::shipped;
use crate::{Condition, Effect, Group, ImageFrom, MountSource, Origin, Ready, Restart, Service};

fn service<'a>(pipeline: &'a crate::Pipeline, name: &str) -> &'a Service {
    pipeline.service(name).expect("a service of that name")
}

#[test]
fn the_shipped_declaration_needs_only_its_secrets() {
    let pipeline = shipped();
    assert_eq!(pipeline.warnings, Vec::<String>::new());
    assert_eq!(pipeline.project, "kodingcaravan");
    assert_eq!(pipeline.origin, Origin::Embedded);
    // Four that `up` generates, and a password for each of five roles.
    assert_eq!(pipeline.secrets.len(), 9);
    let names: Vec<_> = pipeline.services.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "kafka",
            "postgres",
            "redis",
            "migrate",
            "kafka-init",
            "payment-service",
            "admin-service",
            "purchase-worker",
            "allocation-worker",
            "session-worker",
            "cache-worker"
        ]
    );
}

#[test]
fn the_extension_of_the_shipped_pipeline_is_read() {
    let pipeline = shipped();
    let topics: Vec<_> = pipeline.topics.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(
        topics,
        [
            "purchase-confirmed",
            "purchase-created",
            "trainer-allocated",
            "dead-letter-queue"
        ]
    );
    assert!(pipeline.topics.iter().all(|topic| topic.partitions == 3));
    let tables: Vec<_> = pipeline
        .tables
        .iter()
        .filter(|t| t.is_followed())
        .map(|t| (t.name.as_str(), t.rows))
        .collect();
    assert_eq!(
        tables,
        [
            ("payments", 1),
            ("outbox", 1),
            ("student_course_purchases", 1),
            ("trainer_allocations", 1),
            ("tutoring_sessions", 7)
        ]
    );
    assert_eq!(pipeline.tables[0].find, "id = $1::uuid");
    let kafka = pipeline.kafka.as_ref().expect("kafka");
    assert_eq!(kafka.address, "localhost:29092");
    let postgres = pipeline.postgres.as_ref().expect("postgres");
    assert!(
        postgres
            .address
            .contains(":the-POSTGRES_PASSWORD@127.0.0.1:15432/")
    );
    assert_eq!(pipeline.invariants.len(), 13);
    let sessions = &pipeline.invariants[1];
    assert_eq!(sessions.grace, Duration::from_secs(150));
    assert_eq!(
        sessions.replay.as_ref().map(|replay| replay.topic.as_str()),
        Some("trainer-allocated")
    );
    let flow = pipeline.flow.as_ref().expect("a flow");
    let entry = flow.entry.as_ref().expect("an entry");
    assert_eq!(entry.headers["Authorization"], "Bearer the-PAYMENT_TOKEN");
    assert_eq!(pipeline.noun().many(), "payments");
    assert_eq!(entry.body["amountCents"], 4900);
    assert_eq!(entry.body["studentId"], "{{student}}");
    assert_eq!(flow.invalidated_keys.as_ref().expect("keys").keys.len(), 2);
}

#[test]
fn docker_options_of_the_shipped_services_are_read() {
    let pipeline = shipped();
    let kafka = service(&pipeline, "kafka");
    assert_eq!(kafka.image_from, ImageFrom::Template("kafka"));
    assert_eq!(kafka.ready, Some(Ready::Kafka));
    assert_eq!(kafka.container_name.as_deref(), Some("kodingcaravan-kafka"));
    assert_eq!(kafka.mem_limit, Some(1 << 30));
    assert_eq!(kafka.restart, Restart::UnlessStopped);
    assert_eq!(kafka.cap_drop, ["ALL"]);
    assert_eq!(kafka.ports[0].host_ip, "127.0.0.1");
    assert_eq!(kafka.ports[0].host_port, Some(29092));
    assert_eq!(
        kafka.mounts[0].source,
        MountSource::Volume("kafka-data".to_owned())
    );
    assert_eq!(kafka.environment["KAFKA_HEAP_OPTS"], "-Xms256m -Xmx512m");
    let redis = service(&pipeline, "redis");
    let command = redis.command.as_ref().expect("a command");
    assert!(
        command[2].contains("<<END\nrequirepass $(cat /run/secrets/redis-password)\nEND"),
        "{}",
        command[2]
    );
    let postgres = service(&pipeline, "postgres");
    let mount = &postgres.secrets_and_configs[0];
    assert_eq!(mount.target, "/run/secrets/postgres-password");
    assert!(
        mount
            .path
            .ends_with("caravan/kodingcaravan/.caravan-kodingcaravan/postgres-password")
    );
    let content = mount.generated.as_ref().map(|file| &file.content);
    assert_eq!(content.map(String::as_str), Some("the-POSTGRES_PASSWORD"));
    assert_eq!(pipeline.networks[0].name, "kodingcaravan_default");
    assert_eq!(pipeline.volumes[0].name, "kodingcaravan_kafka-data");
}

#[test]
fn options_that_docker_shows_contain_no_secret() {
    let pipeline = shipped();
    for service in &pipeline.services {
        let mut shown = service.clone();
        shown.secrets_and_configs.clear();
        let shown = format!("{shown:?}");
        for secret in &pipeline.secrets {
            assert!(!shown.contains(secret), "{}", service.name);
        }
    }
}

#[test]
fn one_shots_and_workers_are_recognized() {
    let pipeline = shipped();
    let init = service(&pipeline, "kafka-init");
    assert_eq!(init.effect, Some(Effect::Topics));
    assert_eq!(init.restart, Restart::No);
    assert_eq!(init.healthcheck.as_ref().expect("one").test, ["NONE"]);
    assert_eq!(
        init.command.as_ref().expect("topics")[0],
        "purchase-confirmed:3:7d"
    );
    assert!(init.is_one_shot(&pipeline));
    let worker = service(&pipeline, "allocation-worker");
    let group = Group::Named("allocation-worker".to_owned());
    assert_eq!(worker.group, Some(group));
    assert_eq!(worker.consumes, ["purchase-created"]);
    assert_eq!(worker.emits, ["trainer-allocated"]);
    assert_eq!(worker.stages.len(), 5);
    assert_eq!(worker.depends_on.len(), 3);
    let on_admin = worker
        .depends_on
        .iter()
        .find(|d| d.service == "admin-service");
    assert_eq!(on_admin.map(|d| d.condition), Some(Condition::Healthy));
    assert_eq!(worker.environment["KAFKA_BROKERS"], "kafka:9092");
    assert_eq!(worker.startup, Some("[AllocationWorker] Started".into()));
    assert!(!worker.is_one_shot(&pipeline));
    let check = worker.healthcheck.as_ref().expect("a check");
    assert_eq!(check.interval, Some(Duration::from_secs(10)));
}
