//! A Compose file with `x-caravan`, from text to [`Pipeline`], in this order:
//! `source` (which files, which project), `yaml` (text to a tree with positions), `interpolate`
//! (`${VAR}`), `compose` and `extension` (tree to typed values), `references` (names that must
//! exist) -> `model`. `place` says from where its addresses are reached, `schema` is what editors are
//! told of all this. `find` is how a person names a service; `problem` how a fault is shown.

mod compose;
pub(crate) mod correlation;
mod extension;
mod find;
pub(crate) mod interpolate;
mod model;
mod pattern;
mod place;
mod problem;
mod read;
mod references;
mod schema;
mod source;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod topic_spec;
pub(crate) mod units;
mod yaml;

pub(crate) use find::find_service;
pub(crate) use model::*;
pub(crate) use pattern::Pattern;
pub(crate) use place::{Declared, Needs, Place};
pub(crate) use schema::schema;
pub(crate) use source::{
    HostPorts, Request, SHIPPED, Set, Source, VariablePort, compose_file, is_found, locate,
};

use source::clean_path;
