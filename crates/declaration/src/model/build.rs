//! How a service's image is built from a directory of the user's.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

/// `build`: what BuildKit is asked for, or the classic builder, where the engine has no BuildKit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// The directory that is sent, absolute.
    pub context: PathBuf,
    pub dockerfile: Dockerfile,
    pub args: BTreeMap<String, String>,
    /// The stage to stop at; the last one where none is named.
    pub target: Option<String>,
    pub labels: BTreeMap<String, String>,
    /// Docker's network mode for `RUN`.
    pub network: Option<String>,
    pub cache_from: Vec<String>,
    pub no_cache: bool,
    /// Whether base images are asked for anew.
    pub pull: bool,
    pub platform: Option<String>,
    /// Under this name, relative to the context, the host's certificate authorities are added to
    /// what is sent.
    pub ca_bundle: Option<String>,
    /// What `RUN --mount=type=secret` is given, by id; no image keeps it. Only who builds needs them.
    #[serde(skip)]
    pub secrets: BTreeMap<String, Vec<u8>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Dockerfile {
    /// Absolute; it may lie outside of the context.
    File(PathBuf),
    /// Its text.
    Inline(String),
}
