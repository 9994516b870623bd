//! `caravan run ROLE`: the entry point of the pipeline's containers.

use caravan_events::names::DEAD_LETTER_TOPIC;
use clap::ValueEnum;
use serde_json::json;
use worker_runtime::{RunError, database, settings, settings::SettingsError, telemetry};

use crate::{doctor, output::Console, remote};
use diagnostics::{Error, Kind, Result};

/// Run one part of the pipeline in this process, in the foreground
///
/// Settings come from the environment: KAFKA_BROKERS, DATABASE_URL and the like. A secret, such as
/// API_TOKEN, may be in a file instead, which API_TOKEN_FILE names.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which part
    #[arg(value_enum)]
    role: Role,
    /// For kafka-init: its topics, each as NAME:PARTITIONS:RETENTION (orders:3:7d); for doctor: a
    /// name to resolve
    #[arg(value_name = "ARGUMENT")]
    arguments: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Role {
    PaymentService,
    AdminService,
    PurchaseWorker,
    AllocationWorker,
    SessionWorker,
    CacheWorker,
    KafkaInit,
    Migrate,
    Doctor,
    Inside,
    Ask,
}

/// Runs the role until SIGTERM, a one-shot until it is done.
///
/// # Errors
/// The role could not start, or failed.
pub(crate) async fn run(console: &Console, args: &Args) -> Result<()> {
    if !matches!(args.role, Role::KafkaInit | Role::Doctor) && !args.arguments.is_empty() {
        let extra = args.arguments.join(" ");
        return Err(Error::new(
            Kind::Usage,
            format!("this role takes no arguments: {extra}"),
        ));
    }
    #[cfg(feature = "kill-points")]
    worker_runtime::kill::arm().map_err(unset)?;
    match args.role {
        Role::PaymentService => payment_service::run().await.map_err(ended),
        Role::AdminService => admin_service::run().await.map_err(ended),
        Role::PurchaseWorker => purchase_worker::run().await.map_err(ended),
        Role::AllocationWorker => allocation_worker::run().await.map_err(ended),
        Role::SessionWorker => session_worker::run().await.map_err(ended),
        Role::CacheWorker => cache_worker::run().await.map_err(ended),
        Role::KafkaInit => kafka_init(&args.arguments).await,
        Role::Migrate => migrate().await,
        Role::Ask => remote::answer::run().await,
        Role::Inside => remote::agent::run().await,
        Role::Doctor => look_inside(console, &args.arguments).await,
    }
}

async fn kafka_init(specs: &[String]) -> Result<()> {
    let _log = telemetry::init("KafkaInit").map_err(ended)?;
    let brokers = settings::required("KAFKA_BROKERS").map_err(unset)?;
    log_failure(one_shots::kafka_init::run(&brokers, specs, DEAD_LETTER_TOPIC).await)
}

async fn look_inside(console: &Console, names: &[String]) -> Result<()> {
    let [name] = names else {
        return Err(Error::new(Kind::Usage, "doctor takes one name"));
    };
    console.line(&json!(doctor::host_info::collect(name).await));
    Ok(())
}

async fn migrate() -> Result<()> {
    let _log = telemetry::init("Migrate").map_err(ended)?;
    let address = database::address().map_err(ended)?;
    log_failure(one_shots::migrate::run(address).await)
}

/// Logs the failure of a one-shot as well, because the log's format may be JSON.
fn log_failure(outcome: Result<()>) -> Result<()> {
    match &outcome {
        Ok(()) => tracing::info!("Completed"),
        Err(error) => tracing::error!("{error}"),
    }
    outcome
}

fn unset(error: SettingsError) -> Error {
    ended(error.into())
}

fn ended(error: RunError) -> Error {
    let kind = match &error {
        RunError::Settings(_) | RunError::DatabaseUrl => Kind::Usage,
        RunError::Start(_) | RunError::Kafka(_) => Kind::Unreachable,
    };
    Error::new(kind, error.to_string())
}
