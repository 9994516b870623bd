//! The goal of `up` and `scale`, and the steps that lead to it.

use std::collections::BTreeMap;

use declaration::{Pipeline, Service};

use crate::graph;

/// The goal of `up` or `scale`.
pub struct Goal<'a> {
    /// The declaration.
    pub pipeline: &'a Pipeline,
    /// The services to start, in addition to their dependencies. Empty: all services.
    pub named: &'a [String],
    /// Desired replicas by service (`scale`). If not empty, other services are not changed.
    pub scale: BTreeMap<String, u32>,
    /// Whether to remove orphans: containers of the project whose service is not declared.
    pub remove_orphans: bool,
    /// Whether to recreate the containers of the named services (by default of all), even if nothing changed.
    pub recreate: bool,
}

impl<'a> Goal<'a> {
    /// Whether a service's containers are recreated even if nothing changed.
    pub fn recreates(&self, service: &str) -> bool {
        self.recreate && (self.named.is_empty() || self.named.iter().any(|name| name == service))
    }

    /// The services of the goal, in the declaration's order.
    pub fn services(&self) -> Vec<&'a Service> {
        if self.scale.is_empty() {
            return graph::with_dependencies(self.pipeline, self.named);
        }
        let scaled = |s: &&Service| self.scale.contains_key(&s.name);
        self.pipeline.services.iter().filter(scaled).collect()
    }
}

/// A planned change of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// No change: it is as declared, and runs (a one-shot service: has run).
    Keep,
    /// It does not exist.
    Create,
    /// It differs from the declaration, or its state does not allow another start.
    Recreate {
        /// At least one, a line each.
        causes: Vec<String>,
    },
    /// It is as declared, but does not run.
    Start {
        /// Why, in one line.
        cause: String,
    },
    /// It is paused.
    Unpause,
    /// It is as declared, but a dependency with `restart: true` was recreated or restarted.
    Restart {
        /// Why, in one line.
        cause: String,
    },
    /// It is an orphan, or a replica above the desired number.
    Remove,
}

/// The steps that `up` would perform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// Images that the engine does not have: `up` would pull or build them first.
    pub images: Vec<MissingImage>,
    /// In the declaration's order; orphans last.
    pub steps: Vec<Planned>,
    /// Host ports of containers to start that another container or process uses.
    pub port_conflicts: Vec<PortConflict>,
}

/// A host port that a service cannot publish because it is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortConflict {
    /// Name of the service.
    pub service: String,
    /// Number of the host port.
    pub port: u16,
    /// The container or process that uses it.
    pub holder: String,
}

/// An image that the engine does not have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MissingImage {
    /// Its name and tag or digest.
    pub reference: String,
    /// Whether the service declares how to build it.
    pub declared: bool,
}

/// A planned step of `up`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// Name of the service.
    pub service: String,
    /// The container's name.
    pub container: String,
    /// The change.
    pub action: Action,
}

/// A container that differs from the declaration: `up` would recreate it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drifted {
    /// The container's name.
    pub container: String,
    /// At least one, a line each, as in [`Action::Recreate`].
    pub causes: Vec<String>,
}
