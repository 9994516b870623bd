//! `POST /allocations:batch`, and `POST /allocations`, which is a batch of one.

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, StatusCode},
    routing::post,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;
use worker_runtime::http::{ApiError, JsonObject, synthetic};

use crate::allocations::{Allocation, Allocations, Outcome, Purchase};

/// Maximum number of purchases per batch.
const MAX_BATCH: usize = 1000;
/// Maximum bytes of a batch's body: three times the size of a full batch.
const MAX_BATCH_BODY: usize = 512 * 1024;
const NO_TRAINER: &str = "no active trainer who teaches this course has capacity left";

pub(crate) fn routes(allocations: Allocations) -> Router {
    let batch = post(allocate_batch).layer(DefaultBodyLimit::max(MAX_BATCH_BODY));
    Router::new()
        .route("/allocations", post(allocate))
        .route("/allocations:batch", batch)
        .with_state(allocations)
}

/// The body of `POST /allocations`, and an item of a batch. `synthetic` marks one purchase; the header
/// marks all of a request. Unknown fields are ignored, as in events.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    purchase_id: Uuid,
    student_id: Uuid,
    course_id: Uuid,
    #[serde(default)]
    synthetic: bool,
}

/// The body of `POST /allocations:batch`: items are parsed one by one, so that each has an outcome.
#[derive(Deserialize)]
struct Batch {
    allocations: Vec<Box<RawValue>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    allocation_id: Uuid,
    purchase_id: Uuid,
    trainer_id: Uuid,
    student_id: Uuid,
    course_id: Uuid,
    status: String,
}

/// The response to a batch: one outcome per item, in order.
#[derive(Debug, Serialize)]
struct Outcomes {
    outcomes: Vec<ItemOutcome>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum ItemOutcome {
    Allocated(Shown),
    AlreadyAllocated(Shown),
    NoTrainerAvailable { message: &'static str },
    Invalid { message: String },
}

async fn allocate(
    State(allocations): State<Allocations>,
    headers: HeaderMap,
    JsonObject(request): JsonObject<Request>,
) -> Result<(StatusCode, Json<Shown>), ApiError> {
    let purchase = request.purchase(synthetic(&headers)?);
    let outcome = allocations
        .allocate(std::slice::from_ref(&purchase))
        .await?
        .pop();
    let outcome = outcome.unwrap_or(Outcome::NoTrainer);
    log(&purchase, &outcome);
    match outcome {
        Outcome::New(allocation) => Ok((StatusCode::CREATED, Json(allocation.into()))),
        Outcome::Before(allocation) => Ok((StatusCode::OK, Json(allocation.into()))),
        Outcome::NoTrainer => Err(ApiError::new(
            StatusCode::CONFLICT,
            "no_trainer_available",
            NO_TRAINER,
        )),
    }
}

async fn allocate_batch(
    State(allocations): State<Allocations>,
    headers: HeaderMap,
    JsonObject(batch): JsonObject<Batch>,
) -> Result<Json<Outcomes>, ApiError> {
    let count = batch.allocations.len();
    if !(1..=MAX_BATCH).contains(&count) {
        let message = format!("allocations has 1 to {MAX_BATCH} items, not {count}");
        return Err(ApiError::bad_request("invalid_body", message));
    }
    let synthetic = synthetic(&headers)?;
    let items: Vec<Result<Purchase, serde_json::Error>> = batch
        .allocations
        .iter()
        .map(|item| read(item, synthetic))
        .collect();
    let purchases: Vec<Purchase> = items.iter().flatten().cloned().collect();
    let mut outcomes = allocations.allocate(&purchases).await?.into_iter();
    let outcomes = items
        .into_iter()
        .map(|item| match item {
            Ok(purchase) => {
                let outcome = outcomes.next().unwrap_or(Outcome::NoTrainer);
                log(&purchase, &outcome);
                outcome.into()
            }
            Err(error) => ItemOutcome::Invalid {
                message: error.to_string(),
            },
        })
        .collect();
    Ok(Json(Outcomes { outcomes }))
}

/// Parses the purchase of an item.
fn read(item: &RawValue, synthetic: bool) -> Result<Purchase, serde_json::Error> {
    let JsonObject(request): JsonObject<Request> = serde_json::from_str(item.get())?;
    Ok(request.purchase(synthetic))
}

fn log(purchase: &Purchase, outcome: &Outcome) {
    match outcome {
        Outcome::New(allocation) => tracing::info!(
            purchaseId = %allocation.purchase_id,
            trainerId = %allocation.trainer_id,
            synthetic = purchase.synthetic,
            "trainer allocated"
        ),
        Outcome::NoTrainer => {
            tracing::warn!(purchaseId = %purchase.id, courseId = %purchase.course_id, "no trainer");
        }
        Outcome::Before(_) => {}
    }
}

impl Request {
    /// `synthetic`: the whole request is test traffic.
    fn purchase(self, synthetic: bool) -> Purchase {
        Purchase {
            id: self.purchase_id,
            student_id: self.student_id,
            course_id: self.course_id,
            synthetic: synthetic || self.synthetic,
        }
    }
}

impl From<Outcome> for ItemOutcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::New(allocation) => Self::Allocated(allocation.into()),
            Outcome::Before(allocation) => Self::AlreadyAllocated(allocation.into()),
            Outcome::NoTrainer => Self::NoTrainerAvailable {
                message: NO_TRAINER,
            },
        }
    }
}

impl From<Allocation> for Shown {
    fn from(allocation: Allocation) -> Self {
        Self {
            allocation_id: allocation.id,
            purchase_id: allocation.purchase_id,
            trainer_id: allocation.trainer_id,
            student_id: allocation.student_id,
            course_id: allocation.course_id,
            status: allocation.status,
        }
    }
}
