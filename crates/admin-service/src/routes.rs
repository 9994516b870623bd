//! `POST /allocations`.

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use worker_runtime::http::{ApiError, JsonObject, synthetic};

use crate::allocations::{Allocation, Allocations, Outcome, Purchase};

pub(crate) fn routes(allocations: Allocations) -> Router {
    Router::new()
        .route("/allocations", post(allocate))
        .with_state(allocations)
}

/// The body of `POST /allocations`; fields beyond these are ignored, as in events.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    purchase_id: Uuid,
    student_id: Uuid,
    course_id: Uuid,
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

async fn allocate(
    State(allocations): State<Allocations>,
    headers: HeaderMap,
    JsonObject(request): JsonObject<Request>,
) -> Result<(StatusCode, Json<Shown>), ApiError> {
    let purchase = Purchase {
        id: request.purchase_id,
        student_id: request.student_id,
        course_id: request.course_id,
        synthetic: synthetic(&headers)?,
    };
    match allocations.allocate(&purchase).await? {
        Outcome::New(allocation) => {
            tracing::info!(
                purchaseId = %allocation.purchase_id,
                trainerId = %allocation.trainer_id,
                synthetic = purchase.synthetic,
                "trainer allocated"
            );
            Ok((StatusCode::CREATED, Json(allocation.into())))
        }
        Outcome::Before(allocation) => Ok((StatusCode::OK, Json(allocation.into()))),
        Outcome::NoTrainer => {
            tracing::warn!(purchaseId = %purchase.id, courseId = %purchase.course_id, "no trainer");
            Err(ApiError::new(
                StatusCode::CONFLICT,
                "no_trainer_available",
                "no active trainer who teaches this course has capacity left",
            ))
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
