//! One file per command: its arguments (the doc comments are the help text) and `run`, which calls the crates
//! and hands their values to `output`. `run` returns a [`Verdict`] or an error, which `main` turns into an exit
//! code.

pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod dlq;
pub(crate) mod doctor;
pub(crate) mod down;
pub(crate) mod groups;
pub(crate) mod health;
pub(crate) mod images;
pub(crate) mod init;
pub(crate) mod logs;
pub(crate) mod man;
mod partitions;
pub(crate) mod restart;
pub(crate) mod run;
pub(crate) mod scale;
pub(crate) mod schema;
pub(crate) mod status;
pub(crate) mod test_flow;
pub(crate) mod topics;
pub(crate) mod trace;
pub(crate) mod up;
pub(crate) mod verify;
pub(crate) mod version;

pub(crate) use crate::verdict::Verdict;

use declaration::Pipeline;
use diagnostics::Result;

/// The full names of services, each given in full or in a short form.
fn resolve_services(pipeline: &Pipeline, given: &[String]) -> Result<Vec<String>> {
    given
        .iter()
        .map(|name| declaration::find_service(pipeline, name).map(|s| s.name.clone()))
        .collect()
}
