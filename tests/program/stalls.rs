//! A worker whose handler never returns: seen, told, ended.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use caravan_events::PurchaseConfirmed;
use serde_json::Value;
use worker_runtime::{
    InfrastructureError, Service, telemetry,
    watchdog::{self, Limits, STALLED_EXIT_CODE},
    worker::{Outcome, Processor, Received, Worker},
};

use crate::support::{eventually, eventually_async, free_port, pipeline::Pipeline};

/// On a pipeline whose `purchase-confirmed` has events.
pub(crate) async fn a_stuck_handler_is_seen_and_ended(pipeline: &Pipeline) {
    let port = free_port();
    let mut worker = Stuck::start(pipeline, port);
    let ask = async |path: &str| {
        let url = format!("http://127.0.0.1:{port}{path}");
        let answer = reqwest::get(url).await.ok()?;
        let status = answer.status().as_u16();
        Some((status, answer.text().await.ok()?))
    };
    eventually_async("a live worker", async || {
        ask("/live").await.filter(|(status, _)| *status == 200)
    })
    .await;
    let why = eventually_async("a red /live", async || {
        let (status, body) = ask("/live").await?;
        (status == 503).then_some(body)
    })
    .await;
    let why: Value = serde_json::from_str(&why).unwrap();
    let why = why["why"].as_str().unwrap().to_owned();
    assert!(why.starts_with("purchase-confirmed/"), "{why}");
    assert!(why.contains("no progress for"), "{why}");
    let (status, ready) = ask("/ready").await.unwrap();
    assert_eq!(status, 503, "{ready}");
    let (_, metrics) = ask("/metrics").await.unwrap();
    assert!(metrics.contains("\ncaravan_live 0\n"), "{metrics}");
    let code = eventually("the end of the worker", || worker.0.try_wait().unwrap());
    assert_eq!(code.code(), Some(STALLED_EXIT_CODE));
}

/// [`stuck_worker`], as a process.
struct Stuck(Child);

impl Stuck {
    fn start(pipeline: &Pipeline, port: u16) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "stalls::stuck_worker", "--ignored"])
            .env("KAFKA_BROKERS", pipeline.brokers())
            .env("HTTP_PORT", port.to_string())
            .env(AS_A_PROCESS, "1")
            .stdout(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().unwrap();
    }
}

const AS_A_PROCESS: &str = "CARAVAN_TEST_STUCK_WORKER";

/// Takes events and never comes back.
struct Never;

impl Processor for Never {
    type Input = PurchaseConfirmed;

    async fn process(
        &self,
        _: &[&Received<Self::Input>],
    ) -> Result<Vec<Outcome>, InfrastructureError> {
        std::future::pending().await
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a process that another test starts"]
async fn stuck_worker() {
    if std::env::var_os(AS_A_PROCESS).is_none() {
        return;
    }
    let _log = telemetry::init("StuckWorker").unwrap();
    let limits = Limits {
        tick: Duration::from_millis(100),
        grace: Duration::from_secs(3),
        patience: Duration::from_secs(20),
        patience_with_others: Duration::from_secs(2),
    };
    let routes = axum::Router::new();
    let service = Service::watched(&[], routes, limits, watchdog::end_process());
    let worker = Worker::on(service.await.unwrap(), "stuck-worker").unwrap();
    worker.run(Never).await.unwrap();
}
