//! Secrets and configs: what a service is given as a file.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One secret or config of one service, mounted read-only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Where it is read in the container, absolute.
    pub target: String,
    /// The file on the host.
    pub path: PathBuf,
    /// What `up` writes there; None: the file is the user's own.
    pub written: Option<Written>,
    /// SHA-256 of the content.
    pub digest: [u8; 32],
}

/// A file of Caravan's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    pub content: String,
    pub executable: bool,
}
