//! HTTP services: the answers to their readiness path and to a declared request.

use std::time::Duration;

use super::ObservationError;
use crate::stores::{
    self,
    http::{self, Answer},
};
use declaration::{Http, HttpRequest};

/// The time limit for an answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The answer to `GET` of the readiness path.
pub(crate) async fn ready(http: &Http) -> Result<Answer, ObservationError> {
    Ok(http::get(&http.ready_url(), TIMEOUT).await?)
}

/// As [`ready`], with more time: for a service that has written a lot of log.
pub(crate) async fn ready_of_busy(http: &Http) -> Result<Answer, ObservationError> {
    Ok(http::get(&http.ready_url(), stores::TIMEOUT).await?)
}

/// The answer to `request`, which is sent to `url`.
pub(crate) async fn send(request: &HttpRequest, url: &str) -> Result<Answer, ObservationError> {
    let client = http::client(TIMEOUT)?;
    let headers: Vec<_> = request.headers.clone().into_iter().collect();
    let (method, body) = (&request.method, request.body.as_ref());
    Ok(http::send(&client, method, url, &headers, body).await?)
}
