//! The forms of `x-caravan` that pipelines of other frameworks need.

use crate::testing::TestDirectory;
use crate::{
    Column, Group, IdSource, Noun, Pattern, Pipeline, Removal, Service,
    correlation::{Event, LogCorrelation},
};

fn read(promises: &str, service: &str) -> Pipeline {
    let place = TestDirectory::new();
    place.write(
        "compose.yaml",
        &format!(
            "x-caravan:\n  kafka: {{bootstrap: 'broker.example:9092'}}\n  \
             postgres: {{url: 'postgres://a:b@db.example/shop'}}\n  \
             topics:\n    - orders:3:7d\n{promises}services:\n  app:\n    image: app\n    \
             x-caravan: {{{service}}}\n"
        ),
    );
    place.pipeline()
}

fn app(pipeline: &Pipeline) -> &Service {
    pipeline.service("app").expect("the app")
}

#[test]
fn infrastructure_may_be_external() {
    let pipeline = read("", "");
    let kafka = pipeline.kafka.as_ref().expect("kafka");
    assert_eq!(
        (kafka.service.as_ref(), kafka.address.as_str()),
        (None, "broker.example:9092")
    );
}

#[test]
fn log_patterns_are_texts_or_expressions() {
    let pipeline = read(
        "  forbidden-logs: [FATAL, {regex: '^ERROR \\d+$$'}]\n  allowed-logs: [{regex: retry}]\n  \
         error-logs: 0.5%\n  \
         stages: {done: {regex: 'done in \\d+ ms'}}\n",
        "startup: {regex: 'Started \\w+'}, stages: [done]",
    );
    assert_eq!(pipeline.forbidden_logs[0], Pattern::from("FATAL"));
    assert!(pipeline.forbidden_logs[1].matches("ERROR 17"));
    assert!(!pipeline.forbidden_logs[1].matches("ERROR 17 again"));
    assert!(pipeline.allowed_logs[0].matches("will retry"));
    assert_eq!(pipeline.error_logs, Some(0.5));
    assert!(pipeline.stages["done"].matches("order 1 done in 17 ms"));
    let startup = app(&pipeline).startup.as_ref().expect("one");
    assert!(startup.matches("INFO Started OrderApp in 2 s"));
}

#[test]
fn groups_may_be_prefixes_and_topics_have_a_long_form() {
    let pipeline = read(
        "    - {name: refunds, partitions: 6, replication: 3, min-insync: 2}\n",
        "group: {prefix: orders-}, consumes: [orders]",
    );
    let group = app(&pipeline).group.as_ref().expect("a group");
    assert_eq!(*group, Group::Prefix("orders-".to_owned()));
    assert!(group.is("orders-7f3a") && !group.is("order-1"));
    assert_eq!(group.to_string(), "orders-*");
    let refunds = pipeline.topic("refunds").expect("it is there");
    assert_eq!((refunds.partitions, refunds.retention), (6, None));
    assert_eq!(
        (refunds.replication, refunds.min_insync),
        (Some(3), Some(2))
    );
}

#[test]
fn a_flow_may_start_with_an_event_that_is_not_json() {
    let pipeline = read(
        "  flow:\n    values: {order: uuid}\n    event:\n      topic: orders\n      \
         body: '<order no=\"{{order}}\"/>'\n      correlation-id: 'o-{{order}}'\n    \
         correlation: {event: header:order-id, log: {regex: 'order=(\\S+)'}}\n",
        "group: app, consumes: [orders]",
    );
    let flow = pipeline.flow.as_ref().expect("a flow");
    assert_eq!(flow.noun, Noun::default());
    assert!(flow.entry.is_none());
    assert!(pipeline.service(flow.maker()).is_none(), "nobody's service");
    let event = flow.event.as_ref().expect("an event");
    assert_eq!(event.key, None);
    let id = IdSource::Template("o-{{order}}".to_owned());
    assert_eq!(event.correlation_id, id);
    let seen = Event {
        key: Some(b"o-1"),
        value: None,
        header: &|name| (name == "order-id").then_some(b"o-2"),
    };
    assert!(flow.correlation.is_of(&seen, "o-2"));
    assert!(!flow.correlation.is_of(&seen, "o-1"));
    assert!(matches!(flow.correlation.log, LogCorrelation::Captured(_)));
}

#[test]
fn tables_declare_columns_indexes_and_cleanup() {
    let pipeline = read(
        "  tables:\n    orders: {find: id = $$1, rows: 1}\n    \
         lines: {find: order_id = $$1, rows: 2, cleanup: find}\n    \
         audit: {find: ref = $$1, rows: 1, cleanup: keep}\n    \
         prices: {columns: [sku, amount: 'numeric(10,2)'], indexes: [prices_pkey]}\n",
        "writes: [orders, prices]",
    );
    let cleanups: Vec<_> = pipeline.tables.iter().map(|t| t.cleanup).collect();
    assert_eq!(
        cleanups[..3],
        [Removal::Synthetic, Removal::Find, Removal::Keep]
    );
    let keeps: Vec<_> = pipeline.tables.iter().map(|t| t.keeps()).collect();
    assert_eq!(keeps, [false, false, true, false]);
    assert_eq!(pipeline.tables[1].cleanup, Removal::Find);
    let prices = &pipeline.tables[3];
    assert!(!prices.is_followed());
    let column = |name: &str, kind: Option<&str>| Column {
        name: name.to_owned(),
        kind: kind.map(str::to_owned),
    };
    assert_eq!(
        prices.columns,
        [column("sku", None), column("amount", Some("numeric(10,2)"))]
    );
    assert_eq!(prices.indexes, ["prices_pkey"]);
}

#[test]
fn http_declares_the_expected_status() {
    let pipeline = read("", "http: 'http://localhost:8080/api/'");
    let http = app(&pipeline).http.as_ref().expect("http");
    assert_eq!(
        (http.ready_url().as_str(), http.status, &http.request),
        ("http://localhost:8080/api/ready", 200, &None)
    );
    let pipeline = read(
        "",
        "http: {url: 'http://localhost:8080', ready: /health, status: 204, \
         request: {path: /orders/0, status: 404}}",
    );
    let http = app(&pipeline).http.as_ref().expect("http");
    assert_eq!(
        (http.ready_url().as_str(), http.status),
        ("http://localhost:8080/health", 204)
    );
    let request = http.request.as_ref().expect("a request");
    assert_eq!((request.method.as_str(), request.status), ("GET", 404));
}
