//! A Compose file with `x-caravan`, from text to [`Pipeline`], in this order:
//! `source` (which files, which project), `yaml` (text to a tree with positions), `interpolate`
//! (`${VAR}`), `compose` and `extension` (tree to typed values), `references` (names that must
//! exist) -> `model`. `variable_ports` says which host ports are set by variables, `address_scope` says from where an address is reachable, `schema` is the JSON Schema for
//! editors. `find` resolves service names of the command line; `problem` renders faults.

mod address_scope;
mod compose;
mod config;
mod context;
pub mod correlation;
mod deployed_ports;
mod extension;
mod find;
pub mod interpolate;
mod invalid;
mod model;
mod pattern;
mod problem;
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
mod variable_ports;
mod yaml;

pub use address_scope::{AddressScope, DeclaredAddress, Needs};
pub use config::yaml_text;
pub use deployed_ports::{DeployedPorts, PublishedPort};
pub use find::find_service;
pub use invalid::Invalid;
pub use model::*;
pub use pattern::Pattern;
pub use schema::schema;
pub use source::{
    OtherOrigin, RecordedOrigin, Request, SHIPPED, Source, UNSET_SECRET, compose_file, is_found,
    locate,
};

use source::clean_path;
