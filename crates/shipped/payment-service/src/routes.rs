//! `POST /payments` and `GET /payments/{id}`.

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    routing::{get, post},
};
use caravan_events::payloads::validate_amount;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use worker_runtime::http::{ApiError, JsonObject, single, synthetic, trace};

use crate::payments::{Accepted, Order, Payment, Payments};

const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
const MAX_KEY_LENGTH: usize = 200;

pub(crate) fn routes(payments: Payments) -> Router {
    Router::new()
        .route("/payments", post(accept))
        .route("/payments/{id}", get(show))
        .with_state(payments)
}

/// The body of `POST /payments`; unknown fields are ignored, as in events.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    student_id: Uuid,
    course_id: Uuid,
    amount_cents: i64,
    currency: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Receipt {
    payment_id: Uuid,
    status: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    payment_id: Uuid,
    student_id: Uuid,
    course_id: Uuid,
    amount_cents: i64,
    currency: String,
    status: String,
    created_at: DateTime<Utc>,
}

async fn accept(
    State(payments): State<Payments>,
    headers: HeaderMap,
    JsonObject(request): JsonObject<Request>,
) -> Result<(StatusCode, Json<Receipt>), ApiError> {
    let key = idempotency_key(&headers)?;
    let synthetic = synthetic(&headers)?;
    let order = order(request, synthetic)?;
    let trace = trace(&headers);
    let (status, payment) = match payments.accept(key, &order, trace).await? {
        Accepted::New(payment) => {
            tracing::info!(correlationId = %payment.id, synthetic, "payment accepted");
            (StatusCode::CREATED, payment)
        }
        Accepted::Before(payment) => (StatusCode::OK, payment),
        Accepted::KeyReused => {
            return Err(ApiError::new(
                StatusCode::CONFLICT,
                "idempotency_key_reused",
                "this Idempotency-Key has paid for something else; use a new one",
            ));
        }
        Accepted::Vanished => {
            return Err(ApiError::unavailable(
                "try_again",
                "the payment of this Idempotency-Key was just deleted; send the request again",
            ));
        }
    };
    let receipt = Receipt {
        payment_id: payment.id,
        status: payment.status,
    };
    Ok((status, Json(receipt)))
}

async fn show(
    State(payments): State<Payments>,
    Path(id): Path<String>,
) -> Result<Json<Shown>, ApiError> {
    let payment = match Uuid::try_parse(&id) {
        Ok(id) => payments.find(id).await?,
        Err(_) => None,
    };
    payment.map(|payment| Json(payment.into())).ok_or_else(|| {
        let message = "there is no payment with this id";
        ApiError::new(StatusCode::NOT_FOUND, "payment_not_found", message)
    })
}

impl From<Payment> for Shown {
    fn from(payment: Payment) -> Self {
        Self {
            payment_id: payment.id,
            student_id: payment.student_id,
            course_id: payment.course_id,
            amount_cents: payment.amount_cents,
            currency: payment.currency,
            status: payment.status,
            created_at: payment.created_at,
        }
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<&str, ApiError> {
    let Some(value) = single(headers, IDEMPOTENCY_KEY)? else {
        return Err(ApiError::bad_request(
            "missing_idempotency_key",
            "the header Idempotency-Key is missing: a value of your own, the same for every \
             attempt at the same payment",
        ));
    };
    let bytes = value.as_bytes();
    let well_formed =
        (1..=MAX_KEY_LENGTH).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic);
    value.to_str().ok().filter(|_| well_formed).ok_or_else(|| {
        let message = format!(
            "the header Idempotency-Key has 1 to {MAX_KEY_LENGTH} visible ASCII characters"
        );
        ApiError::bad_request("invalid_idempotency_key", message)
    })
}

fn order(request: Request, synthetic: bool) -> Result<Order, ApiError> {
    validate_amount(request.amount_cents, &request.currency)
        .map_err(|why| ApiError::bad_request("invalid_body", why.to_string()))?;
    Ok(Order {
        student_id: request.student_id,
        course_id: request.course_id,
        amount_cents: request.amount_cents,
        currency: request.currency,
        synthetic,
    })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn with_key(key: &str) -> HeaderMap {
        let value = HeaderValue::from_bytes(key.as_bytes()).expect("a header value");
        HeaderMap::from_iter([(IDEMPOTENCY_KEY.parse().expect("a name"), value)])
    }

    #[test]
    fn a_key_is_1_to_200_visible_characters() {
        for key in ["k", "order-17/attempt:1", &"x".repeat(200)] {
            assert_eq!(idempotency_key(&with_key(key)).expect("a good key"), key);
        }
        for key in ["", "two words", "tab\tkey", "schlüssel", &"x".repeat(201)] {
            assert!(idempotency_key(&with_key(key)).is_err(), "{key:?}");
        }
        assert!(idempotency_key(&HeaderMap::new()).is_err());
    }

    #[test]
    fn an_order_keeps_the_rules_of_amounts() {
        let request = |amount_cents, currency: &str| Request {
            student_id: Uuid::from_u128(1),
            course_id: Uuid::from_u128(2),
            amount_cents,
            currency: currency.to_owned(),
        };
        assert!(order(request(4900, "EUR"), false).is_ok());
        assert!(order(request(0, "EUR"), false).is_err());
        assert!(order(request(4900, "euro"), false).is_err());
    }
}
