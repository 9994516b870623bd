//! A Compose file with `x-caravan`, from text to [`Pipeline`], in this order:
//! `source` (which files, which project), `yaml` (text to a tree with positions), `interpolate`
//! (`${VAR}`), `compose` and `extension` (tree to typed values), `references` (names that must
//! exist) -> `model`. `place` says from where an address is reachable, `schema` is the JSON Schema for
//! editors. `find` resolves service names of the command line; `problem` renders faults.

mod compose;
pub mod correlation;
mod extension;
mod find;
pub mod interpolate;
mod model;
mod pattern;
mod place;
mod problem;
mod reached;
mod read;
mod references;
mod schema;
mod source;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
pub mod topic_spec;
pub mod units;
mod yaml;

pub use find::find_service;
pub use model::*;
pub use pattern::Pattern;
pub use place::{Declared, Needs, Place};
pub use reached::{DeployedPorts, PublishedPort};
pub use schema::schema;
pub use source::{
    Elsewhere, HostPorts, Recorded, Request, SHIPPED, Set, Source, VariablePort, compose_file,
    is_found, locate,
};

use source::clean_path;
