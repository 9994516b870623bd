//! A service's HTTP, as it is declared.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Where a service answers, and what it has to answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Http {
    /// Base URL, without a slash at its end.
    pub url: String,
    /// The path, with its slash, that says whether it is ready.
    pub ready: String,
    /// The status that means so.
    pub status: u16,
    /// A real request; it can be made over and over.
    pub request: Option<HttpRequest>,
}

/// See [`Http::request`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpRequest {
    pub method: String,
    pub path: String,
    pub headers: BTreeMap<String, String>,
    /// A string is sent as it is, anything else as JSON.
    pub body: Option<serde_json::Value>,
    /// The status that is right.
    pub status: u16,
}

impl Http {
    /// Where the service says whether it is ready.
    pub fn ready_url(&self) -> String {
        format!("{}{}", self.url, self.ready)
    }
}
