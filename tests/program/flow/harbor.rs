//! A small pipeline: `api` stores a shipment, a relay publishes it, `pricing` quotes it, `stats` counts
//! per customer.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Mutex,
    time::Duration,
};

use axum::{Json, Router, extract::State, http::StatusCode, routing::post};
use rdkafka::{
    ClientConfig, Message as _,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{CommitMode, Consumer as _, StreamConsumer},
    producer::{FutureProducer, FutureRecord},
};
use serde_json::Value;
use sqlx::PgPool;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::{Ran, caravan, eventually_async, free_port, pipeline::IMAGES};

const TABLES: &str = "
CREATE TABLE shipments (no text PRIMARY KEY, customer text NOT NULL, announced bool NOT NULL DEFAULT false);
CREATE TABLE quotes (shipment text PRIMARY KEY);
CREATE TABLE customer_stats (customer text PRIMARY KEY, shipments bigint NOT NULL);
CREATE TABLE behaviour (stats_write bool NOT NULL DEFAULT true, doubled bool NOT NULL DEFAULT false,
    ahead interval NOT NULL DEFAULT '0', fails bool NOT NULL DEFAULT false);
INSERT INTO behaviour DEFAULT VALUES;
";

const COMPOSE: &str = r#"
services:
  kafka:
    image: caravan.local/kafka:4.1.1
    environment:
      KAFKA_NODE_ID: "1"
      KAFKA_PROCESS_ROLES: broker,controller
      KAFKA_CONTROLLER_QUORUM_VOTERS: 1@localhost:9093
      KAFKA_CONTROLLER_LISTENER_NAMES: CONTROLLER
      KAFKA_LISTENERS: INSIDE://:9092,HOST://:29092,CONTROLLER://localhost:9093
      KAFKA_ADVERTISED_LISTENERS: INSIDE://kafka:9092,HOST://localhost:KAFKA_PORT
      KAFKA_LISTENER_SECURITY_PROTOCOL_MAP: INSIDE:PLAINTEXT,HOST:PLAINTEXT,CONTROLLER:PLAINTEXT
      KAFKA_INTER_BROKER_LISTENER_NAME: INSIDE
      KAFKA_AUTO_CREATE_TOPICS_ENABLE: "false"
      KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR: "1"
      KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS: "2"
      KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS: "0"
      KAFKA_HEAP_OPTS: -Xms128m -Xmx256m
    ports: ["127.0.0.1:KAFKA_PORT:29092"]
  db:
    image: postgres:15
    environment: {POSTGRES_USER: harbor, POSTGRES_PASSWORD: harbor, POSTGRES_DB: harbor}
    ports: ["127.0.0.1:DB_PORT:5432"]
  cache:
    image: redis:7
    ports: ["127.0.0.1:CACHE_PORT:6379"]
  api: {image: harbor/app}
  relay: {image: harbor/app}
  pricing: {image: harbor/app}
  stats: {image: harbor/app}
"#;

const DECLARED: &str = r#"
x-caravan:
  kafka: {service: kafka, bootstrap: "localhost:KAFKA_PORT"}
  postgres: {service: db, url: "postgres://harbor:harbor@localhost:DB_PORT/harbor"}
  redis: {service: cache, url: "redis://localhost:CACHE_PORT/0"}
  topics: [{name: shipments, partitions: 1}, {name: quotes, partitions: 1}]
  tables:
    shipments: {find: "no = $$1", rows: 1, cleanup: find}
    quotes: {find: "shipment = $$1", rows: 1, cleanup: find}
    customer_stats:
      find: customer = (SELECT s.customer FROM shipments s WHERE s.no = $$1)
      rows: 1
      cleanup: find
  flow:
    values: {no: uuid, customer: ACME}
    entry:
      service: api
      path: /shipments
      body: {no: "{{no}}", customer: "{{customer}}"}
      status: 202
      correlation-id: "{{no}}"
services:
  kafka: {x-caravan: {image-from: kafka, ready: kafka}}
  db: {x-caravan: {image-from: postgres, ready: postgres}}
  cache: {x-caravan: {image-from: redis, ready: redis}}
  api: {x-caravan: {http: "http://127.0.0.1:API_PORT", emits: [shipments], writes: [shipments]}}
  relay: {x-caravan: {emits: [shipments]}}
  pricing: {x-caravan: {group: harbor.pricing, consumes: [shipments], writes: [quotes], emits: [quotes]}}
  stats: {x-caravan: {group: harbor.stats, consumes: [quotes], writes: [customer_stats]}}
"#;

/// A part that can be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Worker {
    Pricing,
    Stats,
}

/// One project on real Docker, with its services in this process.
pub(super) struct Harbor {
    project: String,
    directory: tempfile::TempDir,
    kafka: u16,
    pool: PgPool,
    declared: String,
    workers: Mutex<BTreeMap<Worker, CancellationToken>>,
    others: Vec<JoinHandle<()>>,
}

impl Harbor {
    pub(super) async fn up(name: &str) -> Self {
        let [kafka, db, cache, api] = [(); 4].map(|()| free_port());
        let directory = tempfile::tempdir().unwrap();
        let filled = |text: &str| {
            text.replace("KAFKA_PORT", &kafka.to_string())
                .replace("DB_PORT", &db.to_string())
                .replace("CACHE_PORT", &cache.to_string())
                .replace("API_PORT", &api.to_string())
        };
        std::fs::write(directory.path().join("compose.yaml"), filled(COMPOSE)).unwrap();
        let url = format!("postgres://harbor:harbor@127.0.0.1:{db}/harbor");
        let mut harbor = Self {
            project: format!("caravan-test-{name}-{}", std::process::id()),
            directory,
            kafka,
            pool: PgPool::connect_lazy(&url).unwrap(),
            declared: filled(DECLARED),
            workers: Mutex::default(),
            others: Vec::new(),
        };
        let guard = IMAGES
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        harbor
            .caravan(&["up", "kafka", "db", "cache"], &[])
            .expect(0);
        drop(guard);
        harbor.make_topics().await;
        harbor.sql(TABLES).await;
        let producer: FutureProducer = harbor.config().create().unwrap();
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", api))
            .await
            .unwrap();
        let app = Router::new()
            .route("/shipments", post(accept))
            .with_state(harbor.pool.clone());
        harbor.others.push(tokio::spawn(async move {
            axum::serve(listener, app).await.unwrap();
        }));
        let relay = relay(harbor.pool.clone(), producer);
        harbor.others.push(tokio::spawn(relay));
        harbor.start(Worker::Pricing).await;
        harbor.start(Worker::Stats).await;
        harbor
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", format!("127.0.0.1:{}", self.kafka));
        config.set("broker.address.family", "v4");
        config
    }

    async fn make_topics(&self) {
        let admin: AdminClient<DefaultClientContext> = self.config().create().unwrap();
        let topic = |name| NewTopic::new(name, 1, TopicReplication::Fixed(1));
        let made = admin
            .create_topics(&[topic("shipments"), topic("quotes")], &AdminOptions::new())
            .await
            .unwrap();
        made.into_iter().for_each(|made| drop(made.unwrap()));
    }

    pub(super) async fn start(&self, worker: Worker) {
        let mut config = self.config();
        let (group, topic) = match worker {
            Worker::Pricing => ("harbor.pricing", "shipments"),
            Worker::Stats => ("harbor.stats", "quotes"),
        };
        config
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest");
        let consumer: StreamConsumer = config.create().unwrap();
        consumer.subscribe(&[topic]).unwrap();
        let producer: FutureProducer = self.config().create().unwrap();
        let (stop, pool) = (CancellationToken::new(), self.pool.clone());
        let stopped = stop.clone().cancelled_owned();
        tokio::spawn(async move {
            tokio::select! {
                () = work(worker, &consumer, producer, pool) => {}
                () = stopped => {}
            }
            // Leaving the group blocks: other tasks must not wait for this one's thread.
            tokio::task::spawn_blocking(move || drop(consumer));
        });
        self.workers.lock().unwrap().insert(worker, stop);
    }

    pub(super) fn stop(&self, worker: Worker) {
        let stop = self.workers.lock().unwrap().remove(&worker);
        stop.unwrap().cancel();
    }

    pub(super) async fn sql(&self, sql: &'static str) {
        sqlx::raw_sql(sql).execute(&self.pool).await.unwrap();
    }

    /// `count` quoted shipments of ACME, whose events are as old as `age` says.
    pub(super) async fn quoted(&self, name: &str, count: usize, age: Duration) {
        let producer: FutureProducer = self.config().create().unwrap();
        let at = std::time::SystemTime::now() - age;
        let at = at.duration_since(std::time::UNIX_EPOCH).unwrap();
        for n in 0..count {
            let no = format!("{name}-{n}");
            let stored = "WITH s AS (INSERT INTO shipments VALUES ($1, 'ACME', true)) INSERT INTO quotes VALUES ($1)";
            let stored = sqlx::query(stored).bind(&no).execute(&self.pool).await;
            stored.unwrap();
            let record = FutureRecord::to("quotes").key(&no).payload(&no);
            let record = record.timestamp(i64::try_from(at.as_millis()).unwrap());
            let sent = producer.send(record, Duration::from_secs(10)).await;
            sent.unwrap();
        }
    }

    /// Postgres keeps when each transaction was committed, from now on.
    pub(super) async fn keep_commit_times(&self) {
        self.sql("ALTER SYSTEM SET track_commit_timestamp = on")
            .await;
        let mut docker = Command::new("docker");
        docker.args(["restart", &format!("{}-db", self.project)]);
        Ran::of(docker.output().unwrap()).expect(0);
        eventually_async("Postgres answers", async || {
            sqlx::query("SELECT 1").execute(&self.pool).await.ok()
        })
        .await;
    }

    pub(super) async fn number(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap()
    }

    /// What Redis answers.
    pub(super) fn redis(&self, command: &[&str]) -> String {
        let cache = format!("{}-cache", self.project);
        let mut docker = Command::new("docker");
        docker.args(["exec", &cache, "redis-cli"]).args(command);
        Ran::of(docker.output().unwrap()).expect(0).stdout
    }

    /// `test-flow ARGS -o json`, where the declaration says `to` in place of each `from`.
    pub(super) fn test_flow(&self, args: &[&str], otherwise: &[(&str, &str)]) -> Ran {
        self.caravan(&[&["test-flow", "-o", "json"], args].concat(), otherwise)
    }

    /// For a person.
    pub(super) fn text(&self, args: &[&str], otherwise: &[(&str, &str)]) -> Ran {
        self.caravan(&[&["test-flow"], args].concat(), otherwise)
    }

    /// `test-flow ARGS` under way. SIGHUP is not ignored there, as it is under `nohup`.
    pub(super) fn start_test_flow(&self, args: &[&str]) -> Child {
        let command = self.command(&[&["test-flow"], args].concat(), &[]);
        let mut env = Command::new("env");
        env.arg("--default-signal=HUP").arg(command.get_program());
        env.args(command.get_args()).env_clear();
        let variables = command.get_envs();
        env.envs(variables.filter_map(|(name, value)| Some((name, value?))));
        env.current_dir(self.directory.path());
        env.stdout(Stdio::piped()).stderr(Stdio::piped());
        env.spawn().unwrap()
    }

    pub(super) fn caravan(&self, args: &[&str], otherwise: &[(&str, &str)]) -> Ran {
        Ran::of(self.command(args, otherwise).output().unwrap())
    }

    fn command(&self, args: &[&str], otherwise: &[(&str, &str)]) -> Command {
        let mut declared = self.declared.clone();
        for (from, to) in otherwise {
            assert_eq!(declared.matches(from).count(), 1, "{from}");
            declared = declared.replace(from, to);
        }
        let path: PathBuf = self.directory.path().join("caravan.yaml");
        std::fs::write(path, declared).unwrap();
        let mut command = caravan();
        command.args(["-p", &self.project]).args(args);
        command.env("CARAVAN_FILE", "compose.yaml:caravan.yaml");
        command.env("XDG_STATE_HOME", self.directory.path());
        command.current_dir(self.directory.path());
        command
    }
}

impl Drop for Harbor {
    fn drop(&mut self) {
        self.others.iter().for_each(JoinHandle::abort);
        let workers = self.workers.lock().unwrap();
        workers.values().for_each(CancellationToken::cancel);
        drop(workers);
        let down = self.caravan(&["down", "--volumes", "--yes"], &[]);
        if down.code != 0 && !std::thread::panicking() {
            panic!("down failed: {}", down.stderr);
        }
    }
}

/// Stores a shipment; of a doubled one, a second for the same customer.
async fn accept(State(pool): State<PgPool>, Json(shipment): Json<Value>) -> StatusCode {
    let sql = "INSERT INTO shipments (no, customer, announced) \
               SELECT $1, $2, false UNION ALL SELECT 'other-' || $1, $2, true FROM behaviour WHERE doubled";
    sqlx::query(sql)
        .bind(shipment["no"].as_str().unwrap())
        .bind(shipment["customer"].as_str().unwrap())
        .execute(&pool)
        .await
        .unwrap();
    let fails = sqlx::query_scalar("SELECT fails FROM behaviour");
    match fails.fetch_one(&pool).await.unwrap() {
        true => StatusCode::INTERNAL_SERVER_ERROR,
        false => StatusCode::ACCEPTED,
    }
}

async fn send(producer: &FutureProducer, topic: &str, no: &str) {
    let record = FutureRecord::to(topic).key(no).payload(no);
    producer
        .send(record, Duration::from_secs(10))
        .await
        .unwrap();
}

/// Publishes what the outbox holds.
async fn relay(pool: PgPool, producer: FutureProducer) {
    loop {
        let waiting = "SELECT no FROM shipments WHERE NOT announced";
        let waiting = sqlx::query_scalar(waiting).fetch_all(&pool).await;
        // Postgres may be restarting.
        let waiting: Vec<String> = waiting.unwrap_or_default();
        for no in waiting {
            sqlx::query("UPDATE shipments SET announced = true WHERE no = $1")
                .bind(&no)
                .execute(&pool)
                .await
                .unwrap();
            let now = "SELECT (extract(epoch FROM clock_timestamp() + ahead) * 1000)::bigint FROM behaviour";
            let now: i64 = sqlx::query_scalar(now).fetch_one(&pool).await.unwrap();
            let record = FutureRecord::to("shipments").key(&no).payload(&no);
            let sent = producer.send(record.timestamp(now), Duration::from_secs(10));
            sent.await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn work(worker: Worker, consumer: &StreamConsumer, producer: FutureProducer, pool: PgPool) {
    loop {
        let message = consumer.recv().await.unwrap();
        let no = String::from_utf8(message.key().unwrap().to_vec()).unwrap();
        match worker {
            Worker::Pricing => {
                let sql = "INSERT INTO quotes VALUES ($1) ON CONFLICT DO NOTHING";
                sqlx::query(sql).bind(&no).execute(&pool).await.unwrap();
                send(&producer, "quotes", &no).await;
            }
            Worker::Stats => {
                let sql = "INSERT INTO customer_stats SELECT customer, 1 FROM shipments, behaviour \
                           WHERE no = $1 AND stats_write ON CONFLICT (customer) DO UPDATE \
                           SET shipments = customer_stats.shipments + 1";
                sqlx::query(sql).bind(&no).execute(&pool).await.unwrap();
            }
        }
        consumer
            .commit_message(&message, CommitMode::Async)
            .unwrap();
    }
}
