//! The consumer group of a service, as it is declared.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A group by its name, or all that begin alike: frameworks append what nobody can know before.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Group {
    Named(String),
    Prefix(String),
}

impl Group {
    /// Whether the group of this name is meant.
    pub fn is(&self, name: &str) -> bool {
        match self {
            Self::Named(own) => own == name,
            Self::Prefix(prefix) => name.starts_with(prefix),
        }
    }

    /// Its name, where that is known before Kafka is asked.
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
