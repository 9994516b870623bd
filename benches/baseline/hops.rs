//! One event's way without the workers: produced, consumed and committed three times in a row.

use std::{
    str::FromStr,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    producer::{BaseRecord, DefaultProducerContext, ThreadedProducer},
};
use serde_json::{Value, json};
use sqlx::{ConnectOptions, PgConnection, postgres::PgConnectOptions};

use crate::{
    Result,
    rows::{Batch, Insert},
};

const TIMEOUT: Duration = Duration::from_secs(10);
const TOPICS: [&str; 3] = [
    "caravan-baseline-1",
    "caravan-baseline-2",
    "caravan-baseline-3",
];

/// Time one event's bare hops, on topics of its own; its rows are deleted again
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(long)]
    brokers: String,
    /// postgres:// URL of the pipeline's database
    #[arg(long)]
    database: String,
    #[arg(long, default_value_t = 200)]
    events: usize,
    /// Milliseconds between two events
    #[arg(long, default_value_t = 50)]
    pause: u64,
}

pub(crate) async fn run(args: &Args) -> Result<Value> {
    let admin: AdminClient<DefaultClientContext> = config(args).create()?;
    let topics = TOPICS.map(|name| NewTopic::new(name, 1, TopicReplication::Fixed(1)));
    for made in admin.create_topics(&topics, &AdminOptions::new()).await? {
        made.map_err(|(topic, error)| format!("{topic}: {error}"))?;
    }
    let measured = measure(args).await;
    for gone in admin.delete_topics(&TOPICS, &AdminOptions::new()).await? {
        gone.map_err(|(topic, error)| format!("{topic}: {error}"))?;
    }
    measured
}

fn config(args: &Args) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &args.brokers)
        .set("broker.address.family", "v4");
    config
}

/// A chain of hops, in milliseconds, to the moment of the last commit by Postgres' own clock: the
/// yardstick that `caravan test-flow` has for the pipeline.
struct Chain {
    whole: f64,
    hops: [f64; 3],
    commits: [f64; 3],
}

async fn measure(args: &Args) -> Result<Value> {
    let producer: ThreadedProducer<DefaultProducerContext> = config(args)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("linger.ms", "0")
        .create()?;
    let consumers = TOPICS.map(|topic| consumer(args, topic));
    let mut db = PgConnectOptions::from_str(&args.database)?
        .connect()
        .await?;
    let mut chains = Vec::new();
    for n in 0..args.events + args.events / 10 {
        let chain = chain(&producer, &consumers, &mut db).await?;
        // The first ones connect, prepare and warm up.
        if n >= args.events / 10 {
            chains.push(chain);
        }
        tokio::time::sleep(Duration::from_millis(args.pause)).await;
    }
    let each = |of: fn(&Chain) -> &[f64; 3]| {
        median(
            chains
                .iter()
                .flat_map(|chain| of(chain).iter().copied())
                .collect(),
        )
    };
    Ok(json!({
        "what": "hops", "events": chains.len(),
        "chainMs": median(chains.iter().map(|chain| chain.whole).collect()),
        "hopMs": each(|chain| &chain.hops), "commitMs": each(|chain| &chain.commits),
    }))
}

fn consumer(args: &Args, topic: &str) -> Result<BaseConsumer> {
    let consumer: BaseConsumer = config(args)
        .set("group.id", "caravan-baseline")
        .set("enable.auto.commit", "false")
        .create()?;
    let mut from = TopicPartitionList::new();
    from.add_partition_offset(topic, 0, Offset::Beginning)?;
    consumer.assign(&from)?;
    Ok(consumer)
}

async fn chain(
    producer: &ThreadedProducer<DefaultProducerContext>,
    consumers: &[Result<BaseConsumer>; 3],
    db: &mut PgConnection,
) -> Result<Chain> {
    let batch = Batch::of(1);
    // As large as the pipeline's events.
    let value = "x".repeat(350);
    let mut chain = Chain {
        whole: 0.0,
        hops: [0.0; 3],
        commits: [0.0; 3],
    };
    let produced = Utc::now();
    for (n, insert) in Insert::ALL.into_iter().enumerate() {
        let consumer = consumers[n].as_ref().map_err(ToString::to_string)?;
        let began = Instant::now();
        producer
            .send(BaseRecord::to(TOPICS[n]).key("key").payload(&value))
            .map_err(|(error, _)| error)?;
        let polled = tokio::task::block_in_place(|| consumer.poll(TIMEOUT));
        polled.ok_or("an event does not arrive")??;
        chain.hops[n] = milliseconds(began);
        let began = Instant::now();
        batch.insert(db, insert).await?;
        chain.commits[n] = milliseconds(began);
    }
    let committed = committed(db, &batch).await?;
    chain.whole = (committed - produced).as_seconds_f64() * 1000.0;
    batch.delete(db).await?;
    Ok(chain)
}

async fn committed(db: &mut PgConnection, batch: &Batch) -> Result<DateTime<Utc>> {
    let sql = "SELECT max(pg_xact_commit_timestamp(xmin)) FROM tutoring_sessions
               WHERE allocation_id = ANY($1)";
    Ok(sqlx::query_scalar(sql)
        .bind(batch.allocations())
        .fetch_one(db)
        .await?)
}

fn milliseconds(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1000.0
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
