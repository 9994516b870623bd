//! The admin-service's `POST /allocations:batch`, and what its answers mean for an event.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use caravan_events::PurchaseCreated;
use reqwest::{Client, Response, StatusCode, Url, redirect};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use worker_runtime::{
    Failure, InfrastructureError, Reason,
    kill::{self, Point},
    settings::SettingsError,
    worker::Received,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Timeout of the whole call.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum number of purchases that the admin-service accepts per request.
const MAX_BATCH: usize = 1000;
/// Maximum bytes of a response per purchase; the rest is not read.
const MAX_OUTCOME: usize = 1024;

/// A client of the admin-service. Its token never shows in errors or logs.
pub(crate) struct AdminService {
    client: Client,
    batch: Url,
    token: String,
}

#[derive(Serialize)]
struct Batch {
    allocations: Vec<Request>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    purchase_id: Uuid,
    student_id: Uuid,
    course_id: Uuid,
    synthetic: bool,
}

/// The admin-service's response to a batch: one outcome per purchase, in order.
#[derive(Deserialize)]
struct Answer {
    outcomes: Vec<ItemOutcome>,
}

#[derive(Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum ItemOutcome {
    Allocated,
    AlreadyAllocated,
    NoTrainerAvailable { message: String },
    Invalid { message: String },
}

/// Why a call gave no outcomes.
#[derive(Debug, thiserror::Error)]
enum CallError {
    /// The service does not answer.
    #[error("{}", WithSources(.0))]
    Http(#[from] reqwest::Error),
    /// The service answered with another status than 200.
    #[error("{status}: {message}{}", hint(*status))]
    Refused { status: StatusCode, message: String },
    #[error("its answer cannot be understood: {0}")]
    NotUnderstood(#[from] serde_json::Error),
    #[error("{outcomes} outcomes for {purchases} purchases")]
    WrongCount { outcomes: usize, purchases: usize },
}

/// `{error: "stable_word", message}`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Refusal {
    message: String,
}

impl AdminService {
    pub(crate) fn new(url: &str, token: &str) -> Result<Self, SettingsError> {
        let invalid = |reason: String| SettingsError::Invalid {
            name: "ADMIN_URL".to_owned(),
            expected: "an HTTP URL (http://admin-service:8080)",
            reason,
        };
        let url = format!("{}/allocations:batch", url.trim_end_matches('/'));
        let batch = Url::parse(&url).map_err(|e| invalid(e.to_string()))?;
        let client = Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .build()
            .map_err(|e| invalid(e.to_string()))?;
        Ok(Self {
            client,
            batch,
            token: token.to_owned(),
        })
    }

    /// Requests the allocation of each purchase; the request is idempotent. Returns one result per
    /// purchase, in order. A success does not prove that the row is committed.
    pub(crate) async fn allocate(
        &self,
        purchases: &[&Received<PurchaseCreated>],
    ) -> Vec<Result<(), Failure>> {
        let mut results = Vec::with_capacity(purchases.len());
        for batch in purchases.chunks(MAX_BATCH) {
            match self.call(batch).await {
                Ok(outcomes) => results.extend(outcomes.into_iter().map(ItemOutcome::result)),
                Err(error) => {
                    let error = InfrastructureError::Service {
                        service: "admin-service",
                        source: Arc::new(error),
                    };
                    results.resize(purchases.len(), Err(error.into()));
                    break;
                }
            }
        }
        results
    }

    /// Makes one call. Any response without an outcome per purchase is a failure of the service, not
    /// of an event: the whole batch is retried.
    async fn call(
        &self,
        purchases: &[&Received<PurchaseCreated>],
    ) -> Result<Vec<ItemOutcome>, CallError> {
        let allocations = purchases.iter().map(|received| Request::of(received));
        let request = self.client.post(self.batch.clone());
        let response = request
            .bearer_auth(&self.token)
            .json(&Batch {
                allocations: allocations.collect(),
            })
            .send()
            .await?;
        let status = response.status();
        let answer = read(response, purchases.len() * MAX_OUTCOME).await?;
        kill::reached(Point::AfterAdminCall);
        if status != StatusCode::OK {
            let refusal: Refusal = serde_json::from_slice(&answer).unwrap_or_default();
            let message = refusal.message;
            return Err(CallError::Refused { status, message });
        }
        outcomes(&answer, purchases.len())
    }
}

impl Request {
    fn of(received: &Received<PurchaseCreated>) -> Self {
        let purchase = &received.event.payload;
        Self {
            purchase_id: purchase.purchase_id,
            student_id: purchase.student_id,
            course_id: purchase.course_id,
            synthetic: received.synthetic,
        }
    }
}

impl ItemOutcome {
    fn result(self) -> Result<(), Failure> {
        match self {
            Self::Allocated | Self::AlreadyAllocated => Ok(()),
            Self::NoTrainerAvailable { message } => Err(Failure::Transient(Reason::new(
                "no-trainer-available",
                format!("admin-service: {message}"),
            ))),
            Self::Invalid { message } => Err(Failure::Permanent(Reason::new(
                "admin-refused",
                format!("admin-service: {message}"),
            ))),
        }
    }
}

/// Reads the response to its end, or up to the limit.
async fn read(mut response: Response, most: usize) -> Result<Vec<u8>, reqwest::Error> {
    let mut answer = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        answer.extend_from_slice(&chunk);
        if answer.len() > most {
            break;
        }
    }
    Ok(answer)
}

/// reqwest's own text names the URL, never a header; its sources say what went wrong.
struct WithSources<'a>(&'a reqwest::Error);

impl fmt::Display for WithSources<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(inner) = source {
            write!(f, ": {inner}")?;
            source = inner.source();
        }
        Ok(())
    }
}

/// What to do about this status.
fn hint(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            " (is ADMIN_TOKEN the admin-service's API_TOKEN?)"
        }
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
            " (it does not know /allocations:batch: is ADMIN_URL right, and its version this one's?)"
        }
        _ => "",
    }
}

fn outcomes(answer: &[u8], purchases: usize) -> Result<Vec<ItemOutcome>, CallError> {
    let Answer { outcomes } = serde_json::from_slice(answer)?;
    if outcomes.len() != purchases {
        return Err(CallError::WrongCount {
            outcomes: outcomes.len(),
            purchases,
        });
    }
    Ok(outcomes)
}

#[cfg(test)]
mod tests;
