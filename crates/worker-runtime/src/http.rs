//! What an HTTP service of the pipeline owes its callers: a bearer token, bounded bodies, bounded
//! time, bounded concurrency, and every refusal as JSON `{error: "stable_word", message}`.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, FromRequest, Request, State, rejection::JsonRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use caravan_events::names::SYNTHETIC_HEADER;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::{sync::Semaphore, time::timeout};

use crate::Failure;

/// Largest request body, in bytes: ours are a tenth of a kilobyte.
const MAX_BODY: usize = 16 * 1024;
/// Requests worked on at once; more wait their turn, their bodies still unread.
const MAX_CONCURRENT: usize = 256;
/// From the request's head to its answer, the wait for its turn included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Seconds after which a caller may try again.
const RETRY_AFTER: u32 = 1;

/// A refusal: status, stable word, message for a person.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    word: &'static str,
    message: String,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'a str,
    message: &'a str,
}

impl ApiError {
    /// A refusal with any status.
    pub fn new(status: StatusCode, word: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            word,
            message: message.into(),
        }
    }

    /// 400: the caller has to change the request.
    pub fn bad_request(word: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, word, message)
    }

    /// 503: the caller may send the very same request again.
    pub fn unavailable(word: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, word, message)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = ErrorBody {
            error: self.word,
            message: &self.message,
        };
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// The database's refusal, as the caller may know it; the log has the whole of it.
impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        match Failure::from(error) {
            Failure::Infrastructure(why) => {
                tracing::warn!(why, "the database cannot be used");
                Self::unavailable("database_unavailable", "the database cannot be used now")
            }
            Failure::Transient(reason) | Failure::Permanent(reason) => {
                tracing::error!(why = reason.text, "the database refused a statement");
                Self::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "internal",
                    "a defect in this service; its log says more",
                )
            }
        }
    }
}

/// The secret that callers show as `Authorization: Bearer …`. Never printed.
#[derive(Clone)]
pub struct BearerToken(Arc<str>);

impl BearerToken {
    /// A token as configured.
    #[must_use]
    pub fn new(token: &str) -> Self {
        Self(token.into())
    }

    /// In a time that tells nothing of how much of it was right.
    fn matches(&self, headers: &HeaderMap) -> bool {
        let shown = headers
            .get(header::AUTHORIZATION)
            .and_then(|v| v.as_bytes().split_at_checked(7))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "))
            .map_or(&[][..], |(_, token)| token);
        let wanted = self.0.as_bytes();
        let differences = shown
            .iter()
            .zip(wanted)
            .fold(0, |all, (a, b)| std::hint::black_box(all | (a ^ b)));
        shown.len() == wanted.len() && differences == 0
    }
}

/// Puts `routes` behind the token and all bounds, and gives unknown paths and methods their
/// answers.
pub fn guard(routes: Router, token: BearerToken) -> Router {
    let turns = Arc::new(Semaphore::new(MAX_CONCURRENT));
    routes
        .method_not_allowed_fallback(method_not_allowed)
        .route_layer(middleware::from_fn_with_state(token, authorise))
        .fallback(not_found)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(turns, in_time))
}

async fn authorise(State(token): State<BearerToken>, request: Request, next: Next) -> Response {
    if token.matches(request.headers()) {
        return next.run(request).await;
    }
    ApiError::new(
        StatusCode::UNAUTHORIZED,
        "unauthorized",
        "the header Authorization: Bearer TOKEN is missing or wrong",
    )
    .into_response()
}

async fn in_time(State(turns): State<Arc<Semaphore>>, request: Request, next: Next) -> Response {
    let answer = async {
        // Nobody closes the semaphore; a request without a turn would still be bounded in time.
        let _turn = turns.acquire().await.ok();
        next.run(request).await
    };
    timeout(REQUEST_TIMEOUT, answer).await.unwrap_or_else(|_| {
        ApiError::unavailable(
            "timeout",
            format!("no answer within {REQUEST_TIMEOUT:?}; the same request may be sent again"),
        )
        .into_response()
    })
}

async fn not_found() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "not_found", "there is nothing here")
}

async fn method_not_allowed() -> ApiError {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "this path does not take that method; the header Allow names those it takes",
    )
}

/// The request's body: a JSON object with at least the fields of `T`.
pub struct JsonObject<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonObject<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let Json(value) = Json::<Value>::from_request(request, state)
            .await
            .map_err(refusal)?;
        // serde would read a struct from an array as well.
        if !value.is_object() {
            return Err(ApiError::bad_request(
                "invalid_body",
                "the body must be a JSON object",
            ));
        }
        serde_json::from_value(value)
            .map(Self)
            .map_err(|e| ApiError::bad_request("invalid_body", e.to_string()))
    }
}

fn refusal(rejection: JsonRejection) -> ApiError {
    let status = rejection.status();
    match status {
        StatusCode::UNSUPPORTED_MEDIA_TYPE => ApiError::new(
            status,
            "unsupported_media_type",
            "the body must be JSON: Content-Type: application/json",
        ),
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::new(
            status,
            "body_too_large",
            format!("the body may have {MAX_BODY} bytes"),
        ),
        _ => ApiError::bad_request("malformed_json", rejection.body_text()),
    }
}

/// A header that is there at most once.
///
/// # Errors
/// 400 `duplicate_header` where it is there more often.
pub fn single<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h HeaderValue>, ApiError> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(ApiError::bad_request(
            "duplicate_header",
            format!("the header {name} is there more than once"),
        ));
    }
    Ok(first)
}

/// Whether the request is test traffic: `Synthetic: true`.
///
/// # Errors
/// 400 `invalid_synthetic` for any value but true and false: test traffic must not pass for real.
pub fn synthetic(headers: &HeaderMap) -> Result<bool, ApiError> {
    let value = single(headers, SYNTHETIC_HEADER)?.map(HeaderValue::as_bytes);
    match value {
        None => Ok(false),
        Some(v) if v.eq_ignore_ascii_case(b"true") => Ok(true),
        Some(v) if v.eq_ignore_ascii_case(b"false") => Ok(false),
        Some(_) => Err(ApiError::bad_request(
            "invalid_synthetic",
            "the header Synthetic is either true or false",
        )),
    }
}
