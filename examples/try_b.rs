#![allow(dead_code, unused_imports)]
#[path = "../src/clients/mod.rs"] mod clients;
#[path = "../src/error.rs"] mod error;
#[path = "../src/invocation.rs"] mod invocation;
#[path = "../src/jobs/mod.rs"] mod jobs;
#[path = "../src/pipeline/mod.rs"] mod pipeline;
#[path = "../src/commands"] mod commands { #[path = "run.rs"] pub(crate) mod run; #[path = "health.rs"] pub(crate) mod health; }
#[path = "../src/state/mod.rs"] mod state;
mod engine { pub(crate) mod images { pub(crate) const TEMPLATES: [&str; 3] = ["kafka","postgres","redis"]; } }
use clap::Parser;
#[derive(Parser)]
enum Cli { Run(commands::run::Args), Health(commands::health::Args) }
#[tokio::main]
async fn main() -> std::process::ExitCode {
    let r = match Cli::parse() { Cli::Run(a) => commands::run::run(&a).await, Cli::Health(_) => commands::health::run().await };
    match r { Ok(()) => 0.into(), Err(e) => { eprintln!("ERR {:?} {e}\n hint {:?}", e.kind, e.hint); e.kind.exit_code().into() } }
}
