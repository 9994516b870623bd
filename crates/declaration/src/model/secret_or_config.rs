//! Secrets and configs, which are mounted into containers as files.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One secret or config of one service, mounted read-only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretOrConfigMount {
    /// Absolute path in the container.
    pub target: String,
    /// The file on the host.
    pub path: PathBuf,
    /// Content that `up` writes to `path`. None: the file is the user's.
    pub generated: Option<GeneratedFile>,
    /// SHA-256 of the content.
    pub digest: [u8; 32],
}

/// A file that Caravan writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GeneratedFile {
    /// Its text.
    pub content: String,
    /// Whether its mode has the executable bits.
    pub executable: bool,
}
