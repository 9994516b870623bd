//! The same rows into the same tables, indexes and triggers: bare prepared `UNNEST` batches.

use std::{str::FromStr, time::Instant};

use futures_util::future::try_join_all;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, postgres::PgConnectOptions};

use crate::{
    Result,
    rows::{Batch, Insert},
};

/// Insert the rows of many payments into an empty copy of the database, and drop it
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// postgres:// URL of the pipeline's database
    #[arg(long)]
    database: String,
    #[arg(long, default_value_t = 20_000)]
    payments: usize,
    /// Payments in a transaction
    #[arg(long, default_value_t = 500)]
    batch: usize,
    /// Connections that work side by side
    #[arg(long, default_value_t = 1)]
    connections: usize,
}

/// The copy: the same server and settings, the same migrations.
const COPY: &str = "caravan_baseline";

pub(crate) async fn run(args: &Args) -> Result<Value> {
    let server = PgConnectOptions::from_str(&args.database)?;
    let mut admin = server.connect().await?;
    let copy = server.clone().database(COPY);
    for sql in [
        format!("DROP DATABASE IF EXISTS {COPY} WITH (FORCE)"),
        format!("CREATE DATABASE {COPY}"),
    ] {
        sqlx::query(AssertSqlSafe(sql)).execute(&mut admin).await?;
    }
    let measured = measure(args, &copy).await;
    let sql = format!("DROP DATABASE {COPY} WITH (FORCE)");
    sqlx::query(AssertSqlSafe(sql)).execute(&mut admin).await?;
    measured
}

async fn measure(args: &Args, copy: &PgConnectOptions) -> Result<Value> {
    let mut connection = copy.connect().await?;
    sqlx::migrate!("./migrations").run(&mut connection).await?;
    connection.close().await?;
    let share = args.payments.div_ceil(args.connections);
    let mut work = Vec::new();
    for _ in 0..args.connections {
        let batches: Vec<Batch> = (0..share.div_ceil(args.batch))
            .map(|n| Batch::of(args.batch.min(share - n * args.batch)))
            .collect();
        work.push((copy.connect().await?, batches));
    }
    let began = Instant::now();
    try_join_all(work.into_iter().map(async |(mut db, batches)| {
        for batch in batches {
            let mut transaction = db.begin().await?;
            for insert in Insert::ALL {
                batch.insert(&mut transaction, insert).await?;
            }
            transaction.commit().await?;
        }
        Result::Ok(())
    }))
    .await?;
    let seconds = began.elapsed().as_secs_f64();
    let payments = share * args.connections;
    Ok(json!({
        "what": "insert", "payments": payments, "batch": args.batch,
        "connections": args.connections, "seconds": seconds,
        "perSecond": payments as f64 / seconds,
    }))
}
