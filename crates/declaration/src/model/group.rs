//! The declared consumer group of a service.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A group by name, or all groups with a prefix: some frameworks append a generated suffix.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Group {
    /// The group with exactly this name.
    Named(String),
    /// All groups whose names start with this.
    Prefix(String),
}

impl Group {
    /// Whether the group with this name matches.
    pub fn is(&self, name: &str) -> bool {
        match self {
            Self::Named(own) => own == name,
            Self::Prefix(prefix) => name.starts_with(prefix),
        }
    }

    /// The group's name. None: only its prefix is declared.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Named(name) => Some(name),
            Self::Prefix(_) => None,
        }
    }
}

/// `orders`, or `orders-*`.
impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}
