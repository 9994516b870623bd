//! A service's HTTP, as it is declared.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Where a service answers, and what it has to answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Http {
    /// Base URL, without a slash at its end.
    pub(crate) url: String,
    /// The path, with its slash, that says whether it is ready.
    pub(crate) ready: String,
    /// The status that means so.
    pub(crate) status: u16,
    /// A real request; it can be made over and over.
    pub(crate) request: Option<HttpRequest>,
}

/// See [`Http::request`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HttpRequest {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    /// A string is sent as it is, anything else as JSON.
    pub(crate) body: Option<serde_json::Value>,
    /// The status that is right.
    pub(crate) status: u16,
}

impl Http {
    /// Where the service says whether it is ready.
    pub(crate) fn ready_url(&self) -> String {
        format!("{}{}", self.url, self.ready)
    }
}
