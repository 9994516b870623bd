//! The addresses of Kafka, Postgres and Redis, the topics and the tables.

use super::{
    observed::{Observed, ObservedTopic},
    stack::{Role, Stack},
    yaml::{inline, raw, word},
};
use crate::percent_encoding;
use declaration::Service;
use proof::stores::postgres::table_schema::TableSchema;

/// Kafka's default port.
const KAFKA_PORT: u16 = 9092;
const POSTGRES_PORT: u16 = 5432;
const REDIS_PORT: u16 = 6379;

/// Tables of migration tools. They are not the pipeline's data.
const BOOKKEEPING: [&str; 9] = [
    "_sqlx_migrations",
    "flyway_schema_history",
    "schema_migrations",
    "databasechangelog",
    "databasechangeloglock",
    "knex_migrations",
    "knex_migrations_lock",
    "pgmigrations",
    "__diesel_schema_migrations",
];

/// The lines below `x-caravan:` for the infrastructure.
pub(super) fn lines(stack: &Stack<'_>, observed: &Observed) -> Vec<String> {
    let mut lines = Vec::new();
    endpoints(stack, &mut lines);
    topics(observed, &mut lines);
    tables(observed, &mut lines);
    lines
}

fn endpoints(stack: &Stack<'_>, lines: &mut Vec<String>) {
    let brokers: Vec<_> = stack.of(Role::Kafka).collect();
    let postgres_of = stack.of(Role::Postgres).next();
    let redis_of = stack.of(Role::Redis).next();
    let parts = [
        (
            "kafka",
            "bootstrap",
            brokers.first().copied(),
            kafka(stack, &brokers),
        ),
        ("postgres", "url", postgres_of, postgres(stack)),
        ("redis", "url", redis_of, redis(stack)),
    ];
    let any = parts.iter().any(|(.., address)| address.is_some());
    if any {
        lines.push(match stack.is_published() {
            true => "  # Addresses of the infrastructure on the host.".to_owned(),
            false => {
                "  # No port is published, so these addresses resolve only inside the project's \
                 network."
                    .to_owned()
            }
        });
    }
    for (key, name, service, address) in parts {
        if let (Some(service), Some(address)) = (service, address) {
            lines.push(format!("  {key}:"));
            lines.push(format!("    service: {}", word(&service.name)));
            lines.push(format!("    {name}: {}", raw(&address)));
        }
    }
    if any {
        lines.push(String::new());
    }
}

/// Whether the proposal has an address for Kafka, and one for Postgres.
pub(super) fn has_addresses(stack: &Stack<'_>) -> (bool, bool) {
    let brokers: Vec<_> = stack.of(Role::Kafka).collect();
    (kafka(stack, &brokers).is_some(), postgres(stack).is_some())
}

/// `HOST:PORT` of each broker, separated by commas; None: no broker has a known address.
fn kafka(stack: &Stack<'_>, brokers: &[&Service]) -> Option<String> {
    let published = stack.is_published();
    let address = |broker: &&Service| match published {
        true => {
            let port = kafka_port(broker)?;
            Some(format!("localhost:{}", stack.host_port(broker, port)?))
        }
        false => Some(format!(
            "{}:{}",
            broker.name,
            inner_kafka_port(stack, broker)
        )),
    };
    let addresses: Vec<_> = brokers.iter().filter_map(address).collect();
    (!addresses.is_empty()).then(|| addresses.join(","))
}

/// The container port whose listener advertises an address of the host; else 9092, else the first declared
/// port.
pub(super) fn kafka_port(broker: &Service) -> Option<u16> {
    let texts = broker
        .environment
        .values()
        .chain(broker.command.iter().flatten());
    let texts: Vec<_> = texts.collect();
    let advertised = broker.ports.iter().find(|port| {
        let host = port.host_port.unwrap_or_default();
        let names = ["localhost", "127.0.0.1"].map(|name| format!("{name}:{host}"));
        texts
            .iter()
            .any(|text| names.iter().any(|name| text.contains(name)))
    });
    let known = broker
        .ports
        .iter()
        .find(|port| port.container_port == KAFKA_PORT);
    let port = advertised.or(known).or_else(|| broker.ports.first());
    port.map(|port| port.container_port)
}

/// The port that a service's environment variable names, as in `kafka:9092`.
fn inner_kafka_port(stack: &Stack<'_>, broker: &Service) -> u16 {
    let prefix = format!("{}:", broker.name);
    let mut values = stack
        .of(Role::Own)
        .flat_map(|service| service.environment.values());
    let port = values.find_map(|value| {
        let (_, rest) = value.split_once(&prefix)?;
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    });
    port.unwrap_or(KAFKA_PORT)
}

/// `HOST:PORT` of a service that listens on `port`: on the host, with the variables of the Compose file, or
/// in the project's network.
fn address(stack: &Stack<'_>, service: &Service, port: u16) -> Option<String> {
    match stack.is_published() {
        true => Some(format!("127.0.0.1:{}", stack.host_port(service, port)?)),
        false => Some(format!("{}:{port}", service.name)),
    }
}

fn postgres(stack: &Stack<'_>) -> Option<String> {
    let service = stack.of(Role::Postgres).next()?;
    let address = address(stack, service, POSTGRES_PORT)?;
    let variable = |name| {
        let raw_value = stack.raw_value_or_variable(service, name)?;
        Some(match raw_value.contains('$') {
            true => raw_value,
            false => stack.shown(&percent_encoding::encode(&raw_value)),
        })
    };
    let user = variable("POSTGRES_USER").unwrap_or_else(|| "postgres".to_owned());
    let database = variable("POSTGRES_DB").unwrap_or_else(|| user.clone());
    let file = service.environment.get("POSTGRES_PASSWORD_FILE");
    let password = variable("POSTGRES_PASSWORD")
        .or_else(|| stack.secret_variable(service, Some(file?)))
        .unwrap_or_else(|| "${POSTGRES_PASSWORD}".to_owned());
    Some(format!("postgres://{user}:{password}@{address}/{database}"))
}

fn redis(stack: &Stack<'_>) -> Option<String> {
    let service = stack.of(Role::Redis).next()?;
    let address = address(stack, service, REDIS_PORT)?;
    let password = stack
        .raw_value_or_variable(service, "REDIS_PASSWORD")
        .or_else(|| stack.secret_variable(service, None));
    let login = password
        .map(|password| match password.contains('$') {
            true => format!(":{password}@"),
            false => format!(":{}@", stack.shown(&password)),
        })
        .unwrap_or_default();
    Some(format!("redis://{login}{address}/0"))
}

fn topics(observed: &Observed, lines: &mut Vec<String>) {
    let Some(kafka) = observed
        .kafka
        .as_ref()
        .filter(|kafka| !kafka.topics.is_empty())
    else {
        lines.push("  # Topics that must exist, NAME:PARTITIONS:RETENTION.".to_owned());
        lines.push("  # topics: ['orders:3:7d']".to_owned());
        lines.push(String::new());
        return;
    };
    lines.push("  # The existing topics; remove those that may be missing.".to_owned());
    lines.push("  topics:".to_owned());
    lines.extend(kafka.topics.iter().map(|t| format!("    - {}", topic(t))));
    let dead = |t: &&ObservedTopic| {
        let name = t.name.to_ascii_lowercase();
        ["dlq", "dlt", "dead-letter", "dead_letter", "deadletter"]
            .iter()
            .any(|word| name.contains(word))
    };
    let dead: Vec<_> = kafka.topics.iter().filter(dead).collect();
    match dead.as_slice() {
        [one] => {
            lines.push("  # By its name.".to_owned());
            lines.push(format!("  dead-letters: {}", word(&one.name)));
        }
        _ => lines.push("  # dead-letters: TOPIC".to_owned()),
    }
    lines.push(String::new());
}

fn topic(topic: &ObservedTopic) -> String {
    let ObservedTopic {
        name,
        partitions,
        replication,
        retention,
    } = topic;
    let retention = retention.map(|r| humantime::format_duration(r).to_string());
    // humantime writes `7days`; the declaration has `7d`.
    let retention = retention.map(|r| r.replace("days", "d").replace("day", "d"));
    match (retention, replication) {
        (Some(retention), 1) => word(&format!(
            "{name}:{partitions}:{}",
            retention.replace(' ', "")
        )),
        (retention, _) => {
            let mut text = format!("{{name: {}, partitions: {partitions}", inline(name));
            if let Some(retention) = retention {
                text.push_str(&format!(", retention: {}", inline(&retention)));
            }
            format!("{text}, replication: {replication}}}")
        }
    }
}

fn tables(observed: &Observed, lines: &mut Vec<String>) {
    let tables = observed.postgres.iter().flatten();
    let own = |table: &&TableSchema| !BOOKKEEPING.contains(&table.name.as_str());
    let tables: Vec<_> = tables.filter(own).collect();
    lines.push(
        "  # In the order in which one message of the flow reaches them. `find` and `rows`"
            .to_owned(),
    );
    lines.push(
        "  # select its rows: a predicate over its correlation id $$1 (text), and their \
                number."
            .to_owned(),
    );
    if tables.is_empty() {
        lines.push("  # tables:".to_owned());
        lines.push("  #   orders: {find: 'id = $$1::uuid', rows: 1, cleanup: find}".to_owned());
        lines.push(String::new());
        return;
    }
    lines.push("  tables:".to_owned());
    for table in tables {
        lines.push(format!("    {}:", table.name));
        lines.push("      # find: id = $$1::uuid".to_owned());
        lines.push("      # rows: 1".to_owned());
        if !table
            .columns
            .iter()
            .any(|column| column.name == "synthetic")
        {
            lines.push(
                "      # cleanup: find   # or keep: no column `synthetic` marks test rows"
                    .to_owned(),
            );
        }
        lines.push("      columns:".to_owned());
        for column in &table.columns {
            let kind = column.kind.as_deref().unwrap_or_default();
            lines.push(format!("        - {}: {}", word(&column.name), word(kind)));
        }
        if !table.indexes.is_empty() {
            lines.push(format!(
                "      indexes: {}",
                super::yaml::list(&table.indexes)
            ));
        }
    }
    lines.push(String::new());
}
