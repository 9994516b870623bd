//! How a service's image is built from a directory of the user's.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

/// `build`: what BuildKit is asked for, or the classic builder, where the engine has no BuildKit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Build {
    /// The directory that is sent, absolute.
    pub(crate) context: PathBuf,
    pub(crate) dockerfile: Dockerfile,
    pub(crate) args: BTreeMap<String, String>,
    /// The stage to stop at; the last one where none is named.
    pub(crate) target: Option<String>,
    pub(crate) labels: BTreeMap<String, String>,
    /// Docker's network mode for `RUN`.
    pub(crate) network: Option<String>,
    pub(crate) cache_from: Vec<String>,
    pub(crate) no_cache: bool,
    /// Whether base images are asked for anew.
    pub(crate) pull: bool,
    pub(crate) platform: Option<String>,
    /// Under this name, relative to the context, the host's certificate authorities are added to
    /// what is sent.
    pub(crate) ca_bundle: Option<String>,
    /// What `RUN --mount=type=secret` is given, by id; no image keeps it. Only who builds needs them.
    #[serde(skip)]
    pub(crate) secrets: BTreeMap<String, Vec<u8>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Dockerfile {
    /// Absolute; it may lie outside of the context.
    File(PathBuf),
    /// Its text.
    Inline(String),
}
