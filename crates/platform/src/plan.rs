//! What `up` and `scale` are to bring about, and what they would do about it.

use std::collections::BTreeMap;

use declaration::{Pipeline, Service, VariablePort};

use crate::graph;

/// What `up` or `scale` is to bring about.
pub struct Goal<'a> {
    pub pipeline: &'a Pipeline,
    /// The services to bring up, with all that they depend on; all when none is named.
    pub named: &'a [String],
    /// Replicas by service: then it is about these services alone.
    pub scale: BTreeMap<String, u32>,
    /// The host ports that variables decide, where they are known.
    pub variables: &'a [VariablePort],
    /// Whether containers that nothing declares are to go.
    pub remove_orphans: bool,
}

impl<'a> Goal<'a> {
    /// All that are to be seen to, in the declaration's order.
    pub fn services(&self) -> Vec<&'a Service> {
        if self.scale.is_empty() {
            return graph::with_dependencies(self.pipeline, self.named);
        }
        let scaled = |s: &&Service| self.scale.contains_key(&s.name);
        self.pipeline.services.iter().filter(scaled).collect()
    }
}

/// What is to be done about one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// It is as declared, and runs (or, a one-shot, has run).
    Keep,
    Create,
    /// It drifted from the declaration, or can never run again.
    Recreate {
        /// At least one, a line each.
        causes: Vec<String>,
    },
    Start {
        cause: String,
    },
    Unpause,
    /// It is as declared, and follows a dependency that is another process now (`restart: true`).
    Restart {
        cause: String,
    },
    /// It is one replica too many.
    Remove,
}

/// What `up` would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// Images that the engine does not have: they would be fetched or made first.
    pub images: Vec<Absent>,
    /// In the declaration's order; orphans last.
    pub steps: Vec<Planned>,
    /// Host ports of what would start that are somebody else's.
    pub taken: Vec<Taken>,
}

/// A host port that a service would not get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    pub service: String,
    pub port: u16,
    /// Who has it.
    pub holder: String,
}

/// An image that the engine does not have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Absent {
    pub reference: String,
    /// Whether the service says how it is built.
    pub declared: bool,
}

/// What would be done about one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    pub service: String,
    /// Its name.
    pub container: String,
    pub action: Action,
}

/// A container that is not as declared: `up` would make it anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drifted {
    /// Its name.
    pub container: String,
    /// At least one, a line each, as [`Action::Recreate`] has them.
    pub causes: Vec<String>,
}
