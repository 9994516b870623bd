//! `build` of a service: how its image is built from a directory.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

/// `build`, for BuildKit or, on an engine without BuildKit, the classic builder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// The build context: an absolute directory.
    pub context: PathBuf,
    /// The Dockerfile.
    pub dockerfile: Dockerfile,
    /// Build arguments (`ARG`) by name.
    pub args: BTreeMap<String, String>,
    /// The stage to build. None: the last one.
    pub target: Option<String>,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// Docker's network mode for `RUN`.
    pub network: Option<String>,
    /// Images whose layers may be used as cache.
    pub cache_from: Vec<String>,
    /// Whether to ignore the build cache.
    pub no_cache: bool,
    /// Whether to pull base images even if they exist locally.
    pub pull: bool,
    /// Target platform, for instance `linux/arm64`. None: the engine's.
    pub platform: Option<String>,
    /// File name, relative to the context, under which the host's certificate authorities are added to
    /// the build context.
    pub ca_bundle: Option<String>,
    /// Secrets for `RUN --mount=type=secret`, by id; they are not stored in the image. Not serialized,
    /// because only the process that builds needs them.
    #[serde(skip)]
    pub secrets: BTreeMap<String, Vec<u8>>,
}

/// The Dockerfile of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Dockerfile {
    /// An absolute path; it may be outside of the context.
    File(PathBuf),
    /// The text of the Dockerfile.
    Inline(String),
}
