//! What a service shares with other containers.

use serde::{Deserialize, Serialize};

/// A container that a service refers to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Other {
    /// The containers of a service.
    Service(String),
    /// A container of any project, by name or id.
    Container(String),
}

/// An additional DNS name, only for this service, of other containers on its networks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The containers.
    pub of: Other,
    /// The name.
    pub alias: String,
}

/// A container whose mounts a service gets, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumesFrom {
    /// The container.
    pub of: Other,
    /// Whether the service cannot write to them.
    pub read_only: bool,
}

/// A namespace of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Namespace {
    /// One of Docker's words, for instance `host`.
    Mode(String),
    /// That of another container.
    Of(Other),
}
