//! What the pipeline is measured against: the same rows, messages and hops with nothing of the
//! pipeline between. `script/bench` runs it beside the pipeline, on the same Kafka and Postgres;
//! each part prints one JSON object a line.

#![expect(
    clippy::print_stdout,
    reason = "its lines on stdout are the result, read by script/bench"
)]

mod consume;
mod hops;
mod insert;
mod rows;

use clap::Parser;

/// Errors end the program; all of them are for a person.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[derive(Debug, Parser)]
enum Baseline {
    Insert(insert::Args),
    Consume(consume::Args),
    Hops(hops::Args),
}

#[tokio::main]
async fn main() -> Result<()> {
    // `cargo bench` adds its own flag at the end.
    let given = std::env::args().filter(|argument| argument != "--bench");
    let line = match Baseline::parse_from(given) {
        Baseline::Insert(args) => insert::run(&args).await?,
        Baseline::Consume(args) => consume::run(&args)?,
        Baseline::Hops(args) => hops::run(&args).await?,
    };
    println!("{line}");
    Ok(())
}
