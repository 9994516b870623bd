//! What `version` writes.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Console, json::Outcome};

/// The version of the executable.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Version {
    version: &'static str,
}

/// The version of the executable.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Writes it.
pub(crate) fn report(console: &Console) {
    console.report(Outcome::Pass, (), Version { version: VERSION });
}
