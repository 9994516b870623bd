//! Secrets and configs: what a service is given as a file.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One secret or config of one service, mounted read-only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Grant {
    /// Where it is read in the container, absolute.
    pub(crate) target: String,
    /// The file on the host.
    pub(crate) path: PathBuf,
    /// What `up` writes there; None: the file is the user's own.
    pub(crate) written: Option<Written>,
    /// SHA-256 of the content.
    pub(crate) digest: [u8; 32],
}

/// A file of Caravan's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Written {
    pub(crate) content: String,
    pub(crate) executable: bool,
}
