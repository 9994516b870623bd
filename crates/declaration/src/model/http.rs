//! The declared HTTP endpoint of a service.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Base URL, readiness path and test request of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Http {
    /// Base URL, without a slash at its end.
    pub url: String,
    /// The readiness path, with its leading slash.
    pub ready: String,
    /// The status of a ready service.
    pub status: u16,
    /// A test request. It must be safe to repeat.
    pub request: Option<HttpRequest>,
}

/// See [`Http::request`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpRequest {
    /// HTTP method.
    pub method: String,
    /// Path with its leading slash, appended to the base URL.
    pub path: String,
    /// Headers by name.
    pub headers: BTreeMap<String, String>,
    /// A string is sent as it is, anything else as JSON.
    pub body: Option<serde_json::Value>,
    /// The expected status.
    pub status: u16,
}

impl Http {
    /// The URL of the readiness path.
    pub fn ready_url(&self) -> String {
        format!("{}{}", self.url, self.ready)
    }
}
