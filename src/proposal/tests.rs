//! The text of proposals. Each is a valid declaration before anything is filled in.

use std::time::Duration;

use super::{
    Observed, Stack,
    observed::{ObservedGroup, ObservedKafka, ObservedTopic},
    text,
};
use declaration::{Column, Pipeline, testing::TestDirectory};
use proof::stores::postgres::table_schema::TableSchema;

const SHOP: &str = "\
name: shop
services:
  kafka:
    image: apache/kafka:4.1.1
    ports: ['127.0.0.1:${KAFKA_PORT:-19092}:19092', '9092:9092']
    environment:
      KAFKA_ADVERTISED_LISTENERS: INSIDE://kafka:9092,HOST://localhost:${KAFKA_PORT:-19092}
    healthcheck: {test: [CMD, 'true']}
  kafka-ui: {image: provectuslabs/kafka-ui, ports: ['8081:8080']}
  db:
    image: postgres:16
    environment: ['POSTGRES_USER=shop', 'POSTGRES_PASSWORD=${DB_PASSWORD:-p}', 'POSTGRES_DB=orders']
    ports: ['5432:5432']
  cache: {image: valkey/valkey:8, ports: ['6379:6379']}
  migrate: {image: flyway/flyway, depends_on: [db]}
  api:
    build: {context: ., dockerfile_inline: 'FROM scratch'}
    ports: ['${API_PORT:-8080}:3000']
    environment: {KAFKA_BROKERS: 'kafka:9092'}
    healthcheck: {test: ['CMD-SHELL', 'wget -qO- http://localhost:3000/healthz || exit 1']}
    depends_on: {migrate: {condition: service_completed_successfully}}
  orders-worker:
    image: shop/orders-worker
    environment: {KAFKA_BROKERS: 'kafka:9092', GROUP_ID: orders, ORDERS_TOPIC: orders}
  mailer:
    image: shop/mailer
    environment: {KAFKA_BROKERS: 'kafka:9092'}
";

/// `SHOP` without a published port.
fn hidden() -> String {
    let lines = SHOP.lines().map(|line| match line.split_once(", ports:") {
        Some((before, _)) => format!("{before}}}"),
        None => line.to_owned(),
    });
    let lines: Vec<_> = lines
        .filter(|line| !line.trim().starts_with("ports:"))
        .collect();
    lines.join("\n")
}

fn observed() -> Observed {
    let topic = |name: &str, replication, days: Option<u64>| ObservedTopic {
        name: name.to_owned(),
        partitions: 3,
        replication,
        retention: days.map(|days| Duration::from_secs(days * 24 * 60 * 60)),
    };
    let group = |name: &str, topic: &str, service: &str| ObservedGroup {
        name: name.to_owned(),
        topics: vec![topic.to_owned()],
        services: vec![service.to_owned()],
    };
    let column = |name: &str, kind: &str| Column {
        name: name.to_owned(),
        kind: Some(kind.to_owned()),
    };
    let table = |name: &str, columns: Vec<Column>| TableSchema {
        name: name.to_owned(),
        columns,
        indexes: vec![format!("{name}_pkey")],
    };
    Observed {
        kafka: Some(ObservedKafka {
            topics: vec![
                topic("orders", 1, Some(7)),
                topic("orders.dlq", 1, Some(30)),
                topic("prices", 3, None),
            ],
            groups: vec![group("orders-7", "orders", "orders-worker")],
        }),
        postgres: Some(vec![
            table(
                "flyway_schema_history",
                vec![column("installed_rank", "integer")],
            ),
            table(
                "orders",
                vec![
                    column("id", "uuid"),
                    column("total", "numeric(10,2)"),
                    column("at", "timestamp with time zone"),
                ],
            ),
        ]),
        startups: [
            (
                "orders-worker".to_owned(),
                "[orders] started, costs $".to_owned(),
            ),
            ("api".to_owned(), "listening on".to_owned()),
        ]
        .into(),
        ready: [("api".to_owned(), "/healthz".to_owned())].into(),
        not_observed: Vec::new(),
    }
}

/// The proposal for a Compose file, and the pipeline that both declare.
fn proposed(compose: &str, observed: &Observed) -> (String, Pipeline) {
    masked(compose, observed, &str::to_owned)
}

fn masked(
    compose: &str,
    observed: &Observed,
    mask: &(dyn Fn(&str) -> String + Sync),
) -> (String, Pipeline) {
    let mut place = TestDirectory::new();
    place.write("compose.yaml", compose);
    place.request.files = vec!["compose.yaml".into()];
    let source = place.source();
    let pipeline = place.pipeline();
    let text = text(
        &Stack::new(&pipeline, &source, mask),
        observed,
        &["compose.yaml".to_owned()],
    );
    place.write("caravan.yaml", &text);
    place.request.files.push("caravan.yaml".into());
    (text, place.pipeline())
}

#[test]
fn a_running_project_gets_a_complete_proposal() {
    let (text, pipeline) = proposed(SHOP, &observed());
    insta::assert_snapshot!(text);
    assert_eq!(pipeline.warnings, Vec::<String>::new());
    assert_eq!(pipeline.topics.len(), 3);
    let postgres = pipeline.postgres.as_ref().expect("an address");
    assert_eq!(postgres.address, "postgres://shop:p@127.0.0.1:5432/orders");
    let worker = pipeline.service("orders-worker").expect("the worker");
    assert_eq!(worker.consumes, ["orders"]);
    assert_eq!(worker.startup, Some("[orders] started, costs $".into()));
}

#[test]
fn a_stopped_project_gets_comments_to_fill_in() {
    let observed = Observed {
        not_observed: vec!["no container of the project shop runs".to_owned()],
        ..Observed::default()
    };
    let (text, pipeline) = proposed(SHOP, &observed);
    insta::assert_snapshot!(text);
    assert!(pipeline.topics.is_empty());
}

#[test]
fn without_published_ports_addresses_are_those_of_the_docker_network() {
    let (text, pipeline) = proposed(&hidden(), &Observed::default());
    assert!(text.contains("No port is published"));
    let addresses = [&pipeline.kafka, &pipeline.postgres, &pipeline.redis];
    let addresses = addresses.map(|e| e.as_ref().expect("an address").address.clone());
    assert_eq!(
        addresses,
        [
            "kafka:9092",
            "postgres://shop:p@db:5432/orders",
            "redis://cache:6379/0"
        ]
    );
    let api = pipeline.service("api").expect("the service");
    let http = api.http.as_ref().expect("its health check says where");
    assert_eq!(http.ready_url(), "http://api:3000/healthz");
    assert!(pipeline.services.iter().all(|s| s.ready.is_none()));
}

#[test]
fn a_stack_without_known_images_gets_a_valid_proposal() {
    let compose = "services:\n  one: {image: one}\n  two: {image: two, depends_on: [one]}\n";
    let (text, _) = proposed(compose, &Observed::default());
    assert!(text.contains("x-caravan: {}"), "{text}");
}

#[test]
fn secrets_are_masked_in_values_and_nowhere_else() {
    // As `Console::masked`: words of the proposal's keys and names, and a value in a line of a log.
    let secrets = ["orders", "ready", "true", "kafka", "hunter2", "wget"];
    let mask = |value: &str| {
        let masked = |text: String, secret: &&str| text.replace(*secret, "****");
        secrets.iter().fold(value.to_owned(), masked)
    };
    let compose = SHOP.replace("${DB_PASSWORD:-p}", "hunter2");
    let mut seen = observed();
    let startup = "listening on hunter2".to_owned();
    seen.startups.insert("mailer".to_owned(), startup);
    seen.not_observed.push("tables: refused hunter2".to_owned());
    let (text, pipeline) = masked(&compose, &seen, &mask);
    assert!(!text.contains("hunter2"), "{text}");
    // Still a declaration, with all its keys, names and references.
    let worker = pipeline.service("orders-worker").expect("the worker");
    assert_eq!(worker.consumes, ["orders"]);
    assert_eq!(worker.startup, None, "{text}");
    let kafka = pipeline.service("kafka").expect("the broker");
    assert!(kafka.ready.is_some(), "{text}");
    let postgres = pipeline.postgres.as_ref().expect("an address");
    assert_eq!(postgres.address, "postgres://shop:****@127.0.0.1:5432/****");
}
