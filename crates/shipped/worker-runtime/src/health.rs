//! `/live` says whether the process makes progress (the watchdog decides), `/ready` whether it can
//! do its work, and if not, why.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
    time::timeout,
};

use crate::{
    settings::{self, SettingsError},
    telemetry,
};

const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// A `/ready` answer lists a few parts with a line each.
const PROBE_MAX_BYTES: u64 = 64 * 1024;

/// The states of the parts of a process. Cheap to clone; all clones share their state.
#[derive(Debug, Clone, Default)]
pub struct Health {
    parts: Arc<Mutex<BTreeMap<String, Part>>>,
    /// The watchdog's description of the current stall, if any.
    stall: Arc<Mutex<Option<String>>>,
    /// Notified when a part that was not ready becomes ready.
    recovered: Arc<Notify>,
}

/// The state of one part.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Ready,
    /// Works, but some of its work is delayed.
    Degraded(String),
    NotReady(String),
}

impl Health {
    /// A starting process: none of `parts` is ready.
    #[must_use]
    pub fn starting(parts: &[&str]) -> Self {
        let health = Self::default();
        for part in parts {
            health.not_ready(part, "starting");
        }
        health
    }

    /// Marks the part as ready. Returns whether its state changed.
    pub fn ready(&self, part: &str) -> bool {
        self.set(part, Part::Ready)
    }

    /// Marks the part as degraded: `/ready` shows the reason and still answers 200. Returns whether
    /// the state changed.
    pub fn degraded(&self, part: &str, why: impl Into<String>) -> bool {
        self.set(part, Part::Degraded(why.into()))
    }

    /// Whether the part is degraded.
    #[must_use]
    pub fn is_degraded(&self, part: &str) -> bool {
        matches!(self.lock().get(part), Some(Part::Degraded(_)))
    }

    /// Marks the part as not ready. Returns whether its state changed; a new reason alone is no
    /// change.
    pub fn not_ready(&self, part: &str, why: impl Into<String>) -> bool {
        self.set(part, Part::NotReady(why.into()))
    }

    /// Removes a part, such as a revoked partition.
    pub fn remove(&self, part: &str) {
        self.lock().remove(part);
    }

    /// Whether the part is not ready.
    #[must_use]
    pub fn is_not_ready(&self, part: &str) -> bool {
        matches!(self.lock().get(part), Some(Part::NotReady(_)))
    }

    /// Some part makes no progress: the process is neither live nor ready until
    /// [`Health::moving`].
    pub fn stalled(&self, why: &str) {
        *self.stall() = Some(why.to_owned());
    }

    /// Everything makes progress again.
    pub fn moving(&self) {
        *self.stall() = None;
    }

    /// Whether `/live` answers 200.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.stall().is_none()
    }

    /// Whether `/ready` answers 200.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let all = |parts: &BTreeMap<_, _>| !parts.values().any(|p| matches!(p, Part::NotReady(_)));
        self.is_live() && all(&self.lock())
    }

    /// Waits until some part that was not ready becomes ready: a retry may succeed now.
    pub async fn recovered(&self) {
        self.recovered.notified().await;
    }

    fn set(&self, name: &str, part: Part) -> bool {
        let mut parts = self.lock();
        let news = parts
            .get(name)
            .is_none_or(|before| std::mem::discriminant(before) != std::mem::discriminant(&part));
        let works = !matches!(part, Part::NotReady(_));
        let before = parts.insert(name.to_owned(), part);
        if works && matches!(before, Some(Part::NotReady(_))) {
            self.recovered.notify_waiters();
        }
        news
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Part>> {
        // A panic ends the process (see telemetry), so the map is never half-written.
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stall(&self) -> MutexGuard<'_, Option<String>> {
        self.stall.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `(200 or 503, {"live", "why" where it is not})`.
    pub(crate) fn liveness(&self) -> (StatusCode, Value) {
        match &*self.stall() {
            None => (StatusCode::OK, json!({"live": true})),
            Some(why) => (
                StatusCode::SERVICE_UNAVAILABLE,
                json!({"live": false, "why": why}),
            ),
        }
    }

    /// `(200 or 503, {"ready", "parts": {name: state}, "droppedLogLines", "stalled" where it is})`.
    pub(crate) fn report(&self) -> (StatusCode, Value) {
        let ready = self.is_ready();
        let parts: serde_json::Map<String, Value> = self
            .lock()
            .iter()
            .map(|(name, part)| (name.clone(), part.to_json()))
            .collect();
        let mut body = json!({
            "ready": ready,
            "parts": parts,
            "droppedLogLines": telemetry::dropped_lines(),
        });
        if let Some(why) = &*self.stall() {
            body["stalled"] = json!(why);
        }
        let status = if ready {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        (status, body)
    }
}

impl Part {
    fn to_json(&self) -> Value {
        match self {
            Self::Ready => json!({"state": "ready"}),
            Self::Degraded(why) => json!({"state": "degraded", "why": why}),
            Self::NotReady(why) => json!({"state": "not ready", "why": why}),
        }
    }
}

/// `/live` and `/ready`, to be merged with a service's own routes.
pub fn router(health: Health) -> Router {
    Router::new()
        .route("/live", get(live))
        .route("/ready", get(ready))
        .with_state(health)
}

async fn live(State(health): State<Health>) -> (StatusCode, Json<Value>) {
    let (status, body) = health.liveness();
    (status, Json(body))
}

async fn ready(State(health): State<Health>) -> (StatusCode, Json<Value>) {
    let (status, body) = health.report();
    (status, Json(body))
}

/// Why the process on this machine is not ready.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The port cannot be read from the environment.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The process does not answer in time.
    #[error("no answer on port {0} within {PROBE_TIMEOUT:?}")]
    Timeout(u16),
    /// The process does not listen, or closed the connection.
    #[error("no answer on port {port}: {source}")]
    NoAnswer {
        /// The port of `/ready`.
        port: u16,
        /// The socket's error.
        source: std::io::Error,
    },
    /// The process answered that it is not ready.
    #[error("not ready (HTTP {status}): {body}")]
    NotReady {
        /// The HTTP status as answered; empty if the answer is not HTTP.
        status: String,
        /// The answer's body, which says which part is not ready.
        body: String,
    },
}

/// Asks the process on this machine (in this container) whether it is ready: `caravan health`. A
/// process that is not live is not ready either. Returns why parts are degraded, `PART: WHY` each.
///
/// # Errors
/// The process is not ready, or does not answer.
pub async fn probe() -> Result<Vec<String>, ProbeError> {
    let port = settings::port("HTTP_PORT", 8080)?;
    let answer = timeout(PROBE_TIMEOUT, get_ready(port))
        .await
        .map_err(|_| ProbeError::Timeout(port))?
        .map_err(|source| ProbeError::NoAnswer { port, source })?;
    judge(&answer)
}

/// One HTTP/1.0 request over plain TCP: the whole answer, status line and all.
async fn get_ready(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream
        .write_all(b"GET /ready HTTP/1.0\r\nHost: localhost\r\n\r\n")
        .await?;
    let mut answer = Vec::new();
    stream
        .take(PROBE_MAX_BYTES)
        .read_to_end(&mut answer)
        .await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn judge(answer: &str) -> Result<Vec<String>, ProbeError> {
    let status = answer.split_whitespace().nth(1).unwrap_or_default();
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    if status == "200" {
        return Ok(degraded_parts(body));
    }
    Err(ProbeError::NotReady {
        status: status.to_owned(),
        body: body.to_owned(),
    })
}

fn degraded_parts(body: &str) -> Vec<String> {
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let parts = body["parts"].as_object().into_iter().flatten();
    let degraded = parts.filter(|(_, part)| part["state"] == "degraded");
    degraded
        .map(|(name, part)| format!("{name}: {}", part["why"].as_str().unwrap_or_default()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_returns_which_parts_are_degraded() {
        let health = Health::default();
        health.ready("kafka");
        let answer = |health: &Health| format!("HTTP/1.0 200 OK\r\n\r\n{}", health.report().1);
        let degraded = judge(&answer(&health)).expect("it is ready");
        assert_eq!(degraded, Vec::<String>::new());
        health.degraded("redis", "pages stay");
        let degraded = judge(&answer(&health)).expect("it is ready");
        assert_eq!(degraded, ["redis: pages stay"]);
    }

    #[test]
    fn ready_once_every_part_is() {
        let health = Health::starting(&["kafka", "database"]);
        assert!(health.ready("kafka"));
        let (status, body) = health.report();
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(body["parts"]["database"]["why"], "starting");
        health.degraded("database", "slow");
        let (status, body) = health.report();
        assert_eq!(status, StatusCode::OK);
        assert_eq!(body["parts"]["database"]["state"], "degraded");
    }

    #[test]
    fn only_a_change_of_state_returns_true() {
        let health = Health::default();
        assert!(health.not_ready("database", "refused"));
        assert!(!health.not_ready("database", "timed out"));
        assert!(health.ready("database"));
        assert!(!health.ready("database"));
        health.remove("database");
        assert_eq!(health.report().0, StatusCode::OK);
    }

    #[test]
    fn a_stall_makes_it_neither_live_nor_ready() {
        let health = Health::default();
        assert_eq!(health.liveness(), (StatusCode::OK, json!({"live": true})));
        health.stalled("consumer: no progress for 60s");
        let (status, body) = health.liveness();
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(body["why"], "consumer: no progress for 60s");
        let (status, body) = health.report();
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(body["stalled"], "consumer: no progress for 60s");
        assert!(!health.is_ready());
        health.moving();
        assert_eq!(health.report().0, StatusCode::OK);
        assert!(health.report().1.get("stalled").is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_part_that_was_not_ready_notifies() {
        let health = Health::default();
        health.ready("database");
        let within = Duration::from_secs(1);
        let mut recovered = Box::pin(health.recovered());
        assert!(timeout(within, &mut recovered).await.is_err());
        health.degraded("database", "slow");
        health.ready("database");
        assert!(timeout(within, &mut recovered).await.is_err());
        health.not_ready("database", "gone");
        assert!(timeout(within, &mut recovered).await.is_err());
        health.ready("database");
        assert!(timeout(within, &mut recovered).await.is_ok());
    }

    #[test]
    fn the_probe_returns_the_reason() {
        judge("HTTP/1.0 200 OK\r\n\r\n{}").expect("ready");
        let answer = "HTTP/1.0 503 Service Unavailable\r\nx: y\r\n\r\n{\"ready\":false}";
        let why = judge(answer).expect_err("503").to_string();
        assert_eq!(why, "not ready (HTTP 503): {\"ready\":false}");
        assert!(judge("").is_err());
    }
}
