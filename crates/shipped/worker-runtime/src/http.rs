//! Shared by the HTTP services: a bearer token, limits for bodies, time and concurrency, and every
//! error as JSON `{error: "stable_word", message}`.

mod server;

use std::{fmt, marker::PhantomData, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, FromRequest, Request, State, rejection::JsonRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use caravan_events::names::{SYNTHETIC_HEADER, TRACEPARENT_HEADER};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, MapAccess, Visitor, value::MapAccessDeserializer},
};
use tokio::{sync::Semaphore, time::timeout};

use crate::{Failure, Trace};
pub(crate) use server::serve;

/// Largest request body, in bytes; the pipeline's requests have about 100 bytes.
const MAX_BODY: usize = 16 * 1024;
/// Concurrent requests, a few more than there are database connections. Further ones wait in the
/// order of their arrival; their bodies are not read meanwhile.
const MAX_CONCURRENT: usize = 32;
/// Time from the request's head to its answer, including the wait for its turn: a burst is answered
/// late instead of refused.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Seconds after which a caller may try again.
const RETRY_AFTER: u32 = 1;

/// An error response: status, stable word, message for a person.
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
    /// An error response with any status.
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

    /// 503: the caller may repeat the same request.
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

/// The part of a database error that the caller may see; the log has the whole error.
impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        match Failure::from(error) {
            Failure::Infrastructure(why) => {
                tracing::warn!(%why, "the database cannot be used");
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

/// The secret that callers send as `Authorization: Bearer …`. Never printed.
#[derive(Clone)]
pub struct BearerToken(Arc<str>);

impl BearerToken {
    /// A token as configured.
    #[must_use]
    pub fn new(token: &str) -> Self {
        Self(token.into())
    }

    /// Compares without an early exit, so that the duration reveals no matching prefix.
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

/// Protects `routes` with the token and all limits, and answers unknown paths and methods.
pub fn guard(routes: Router, token: BearerToken) -> Router {
    bounded(routes, token, REQUEST_TIMEOUT)
}

fn bounded(routes: Router, token: BearerToken, limit: Duration) -> Router {
    let turns = Turns {
        free: Arc::new(Semaphore::new(MAX_CONCURRENT)),
        limit,
    };
    routes
        .method_not_allowed_fallback(method_not_allowed)
        .route_layer(DefaultBodyLimit::max(MAX_BODY))
        .route_layer(middleware::from_fn_with_state(turns, in_time))
        // Outermost: an unauthorised request must not wait for a turn.
        .route_layer(middleware::from_fn_with_state(token, authorise))
        .fallback(not_found)
}

/// The limits of concurrent requests and of the time of one.
#[derive(Clone)]
struct Turns {
    free: Arc<Semaphore>,
    limit: Duration,
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

async fn in_time(State(turns): State<Turns>, request: Request, next: Next) -> Response {
    let answer = async {
        // The semaphore is never closed; even without a permit, the request would have a timeout.
        let _turn = turns.free.acquire().await.ok();
        next.run(request).await
    };
    timeout(turns.limit, answer).await.unwrap_or_else(|_| {
        let message = format!(
            "no answer within {:?}; the same request may be sent again",
            turns.limit
        );
        ApiError::unavailable("timeout", message).into_response()
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

/// The request's body, a JSON object with at least the fields of `T`; field 0 is the value.
pub struct JsonObject<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonObject<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let body = Json::<Self>::from_request(request, state).await;
        body.map(|Json(object)| object).map_err(refusal)
    }
}

/// serde reads a struct from an array as well; this refuses one.
impl<'de, T: Deserialize<'de>> Deserialize<'de> for JsonObject<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = JsonObject<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(JsonObject)
            }
        }

        deserializer.deserialize_map(Fields(PhantomData))
    }
}

fn refusal(rejection: JsonRejection) -> ApiError {
    let status = rejection.status();
    match rejection {
        JsonRejection::JsonDataError(error) => ApiError::bad_request("invalid_body", cause(&error)),
        JsonRejection::JsonSyntaxError(error) => {
            ApiError::bad_request("malformed_json", cause(&error))
        }
        JsonRejection::MissingJsonContentType(_) => ApiError::new(
            status,
            "unsupported_media_type",
            "the body must be JSON: Content-Type: application/json",
        ),
        _ if status == StatusCode::PAYLOAD_TOO_LARGE => ApiError::new(
            status,
            "body_too_large",
            "the body is larger than this path takes",
        ),
        unread => ApiError::bad_request("unreadable_body", unread.body_text()),
    }
}

/// The field, the fault and its position, without the prefix that axum adds.
fn cause(error: &dyn std::error::Error) -> String {
    error
        .source()
        .map_or_else(|| error.to_string(), ToString::to_string)
}

/// The value of a header that may occur at most once.
///
/// # Errors
/// 400 `duplicate_header` if it occurs more often.
pub fn single<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h HeaderValue>, ApiError> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(ApiError::bad_request(
            "duplicate_header",
            format!("the header {name} occurs more than once"),
        ));
    }
    Ok(first)
}

/// Whether the request is test traffic: `Synthetic: true`.
///
/// # Errors
/// 400 `invalid_synthetic` for other values than true and false: test traffic must not count as
/// real.
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

/// The request's trace with a new span id. A new trace if the header `traceparent` is missing,
/// malformed or occurs more than once, as W3C Trace Context requires.
#[must_use]
pub fn trace(headers: &HeaderMap) -> Trace {
    let header = single(headers, TRACEPARENT_HEADER).ok().flatten();
    header
        .and_then(|value| Trace::parse(value.as_bytes()))
        .map_or_else(Trace::start, Trace::child)
}

#[cfg(test)]
mod tests;
