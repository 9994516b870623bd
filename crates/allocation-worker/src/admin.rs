//! The admin-service's `POST /allocations`, and what its answers mean for an event.

use std::time::Duration;

use caravan_events::{PurchaseCreated, names::SYNTHETIC_HEADER};
use reqwest::{Client, Response, StatusCode, Url, redirect};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use uuid::Uuid;
use worker_runtime::{Failure, Reason, settings::SettingsError};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// For the whole call.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Calls under way at once, of all partitions together.
const MAX_CALLS: usize = 16;
/// More of an answer is not read.
const MAX_ANSWER: usize = 16 * 1024;

/// A client of the admin-service. Its token never shows in errors or logs.
pub(crate) struct AdminService {
    client: Client,
    allocations: Url,
    token: String,
    turns: Semaphore,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    purchase_id: Uuid,
    student_id: Uuid,
    course_id: Uuid,
}

/// `{error: "stable_word", message}`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Refusal {
    error: String,
    message: String,
}

impl AdminService {
    pub(crate) fn new(url: &str, token: &str) -> Result<Self, SettingsError> {
        let invalid = |reason: String| SettingsError::Invalid {
            name: "ADMIN_URL".to_owned(),
            expected: "an HTTP URL (http://admin-service:8080)",
            reason,
        };
        let url = format!("{}/allocations", url.trim_end_matches('/'));
        let allocations = Url::parse(&url).map_err(|e| invalid(e.to_string()))?;
        let client = Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .build()
            .map_err(|e| invalid(e.to_string()))?;
        Ok(Self {
            client,
            allocations,
            token: token.to_owned(),
            turns: Semaphore::new(MAX_CALLS),
        })
    }

    /// Asks for the purchase's allocation; asking again is harmless. That it says yes is not yet
    /// proof of the row.
    pub(crate) async fn allocate(
        &self,
        purchase: &PurchaseCreated,
        synthetic: bool,
    ) -> Result<(), Failure> {
        // Nobody closes the semaphore.
        let _turn = self.turns.acquire().await.ok();
        let mut request = self
            .client
            .post(self.allocations.clone())
            .bearer_auth(&self.token)
            .json(&Request {
                purchase_id: purchase.purchase_id,
                student_id: purchase.student_id,
                course_id: purchase.course_id,
            });
        if synthetic {
            request = request.header(SYNTHETIC_HEADER, "true");
        }
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        if matches!(status, StatusCode::OK | StatusCode::CREATED) {
            return Ok(());
        }
        let answer = read(response).await?;
        Err(meaning(status, &answer))
    }
}

/// Reads the answer to its end, or as much as is bounded.
async fn read(mut response: Response) -> Result<Vec<u8>, Failure> {
    let mut answer = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        answer.extend_from_slice(&chunk);
        if answer.len() > MAX_ANSWER {
            break;
        }
    }
    Ok(answer)
}

/// reqwest's own text names the URL, never a header; its sources say what went wrong.
fn unreachable(error: reqwest::Error) -> Failure {
    let mut text = format!("admin-service: {error}");
    let mut source = std::error::Error::source(&error);
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    Failure::Infrastructure(text)
}

/// What a refusal means for the event. Anything that is not clearly about this purchase (a wrong
/// address, a wrong token, an overload) is the service's trouble and no event's.
fn meaning(status: StatusCode, answer: &[u8]) -> Failure {
    let refusal: Refusal = serde_json::from_slice(answer).unwrap_or_default();
    let text = format!("admin-service: {status}: {}", refusal.message);
    match status {
        StatusCode::CONFLICT if refusal.error == "no_trainer_available" => {
            Failure::Transient(Reason::new("no-trainer-available", text))
        }
        StatusCode::BAD_REQUEST
        | StatusCode::CONFLICT
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNPROCESSABLE_ENTITY => {
            Failure::Permanent(Reason::new("admin-refused", text))
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Failure::Infrastructure(format!(
            "{text} (is ADMIN_TOKEN the admin-service's API_TOKEN?)"
        )),
        _ => Failure::Infrastructure(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(status: u16, answer: &str) -> &'static str {
        let status = StatusCode::from_u16(status).expect("a status");
        match meaning(status, answer.as_bytes()) {
            Failure::Infrastructure(_) => "infrastructure",
            Failure::Transient(_) => "transient",
            Failure::Permanent(_) => "permanent",
        }
    }

    #[test]
    fn a_refusal_is_one_of_three_kinds() {
        let full = r#"{"error": "no_trainer_available", "message": "none"}"#;
        assert_eq!(kind(409, full), "transient");
        assert_eq!(kind(409, r#"{"error": "other"}"#), "permanent");
        assert_eq!(kind(400, r#"{"error": "invalid_body"}"#), "permanent");
        assert_eq!(kind(422, "not JSON"), "permanent");
        for status in [301, 401, 403, 404, 408, 429, 500, 502, 503, 504] {
            assert_eq!(kind(status, full), "infrastructure", "{status}");
        }
    }

    #[tokio::test]
    async fn an_absent_service_is_infrastructure_and_no_secret_shows() {
        let admin = AdminService::new("http://127.0.0.1:1/", "secret").expect("a URL");
        let purchase = PurchaseCreated {
            purchase_id: Uuid::nil(),
            payment_id: Uuid::nil(),
            student_id: Uuid::nil(),
            course_id: Uuid::nil(),
        };
        let failure = admin.allocate(&purchase, true).await.expect_err("nobody");
        let Failure::Infrastructure(text) = failure else {
            panic!("an event's fault: {failure}");
        };
        assert!(
            text.contains("/allocations") && !text.contains("secret"),
            "{text}"
        );
    }
}
