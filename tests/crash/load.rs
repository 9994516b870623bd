//! Payments, by the API, in bursts, for as long as a round lasts. A payment counts once its
//! service has answered; until then it is posted again under the same key.

use std::{collections::BTreeSet, time::Duration};

use futures_util::future::join_all;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::support::{payments::COURSE, pipeline::Pipeline};

/// Together, so that workers get batches and not one event at a time.
const BURST: usize = 30;
const EVERY: Duration = Duration::from_millis(200);
/// For one payment, its service's restart included.
const PATIENCE: Duration = Duration::from_secs(30);

/// A load under way.
pub(crate) struct Load {
    stop: CancellationToken,
    task: JoinHandle<BTreeSet<Uuid>>,
}

impl Load {
    /// `name` makes the payments' keys its own.
    pub(crate) fn start(pipeline: &Pipeline, name: &str) -> Self {
        let stop = CancellationToken::new();
        let poster = Poster {
            client: Client::new(),
            url: format!(
                "http://127.0.0.1:{}/payments",
                pipeline.port("PAYMENT_PORT")
            ),
            token: pipeline.secret("PAYMENT_TOKEN"),
        };
        let task = tokio::spawn(bursts(poster, name.to_owned(), stop.clone()));
        Self { stop, task }
    }

    /// The payments that were made.
    pub(crate) async fn stop(self) -> BTreeSet<Uuid> {
        self.stop.cancel();
        self.task.await.unwrap()
    }
}

async fn bursts(poster: Poster, name: String, stop: CancellationToken) -> BTreeSet<Uuid> {
    let mut payments = BTreeSet::new();
    let mut interval = tokio::time::interval(EVERY);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for burst in 0.. {
        // The first comes at once, also where the load is stopped at once.
        if burst > 0 && stop.run_until_cancelled(interval.tick()).await.is_none() {
            break;
        }
        let keys = (0..BURST).map(|n| format!("{name}-{burst}-{n}"));
        payments.extend(join_all(keys.map(|key| poster.post(key))).await);
    }
    payments
}

struct Poster {
    client: Client,
    url: String,
    token: String,
}

impl Poster {
    async fn post(&self, key: String) -> Uuid {
        let tries = async {
            loop {
                match self.try_post(&key).await {
                    Ok(payment) => return payment,
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        };
        tokio::time::timeout(PATIENCE, tries)
            .await
            .unwrap_or_else(|_| panic!("payment {key} was not taken within {PATIENCE:?}"))
    }

    async fn try_post(&self, key: &str) -> Result<Uuid, reqwest::Error> {
        let body = json!({
            "studentId": Uuid::new_v5(&Uuid::NAMESPACE_OID, key.as_bytes()),
            "courseId": COURSE, "amountCents": 4900, "currency": "EUR",
        });
        let request = self
            .client
            .post(&self.url)
            .bearer_auth(&self.token)
            .header("Idempotency-Key", key)
            .timeout(Duration::from_secs(5))
            .json(&body);
        let answer = request.send().await?;
        let status = answer.status();
        assert!(
            status.is_server_error() || [StatusCode::OK, StatusCode::CREATED].contains(&status),
            "payment {key}: {status}"
        );
        let answer: Value = answer.error_for_status()?.json().await?;
        Ok(answer["paymentId"].as_str().unwrap().parse().unwrap())
    }
}
