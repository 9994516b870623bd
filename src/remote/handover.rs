//! The input of a command in a container on the pipeline's network: what it would read itself on the host.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, Write},
    os::unix::net::UnixStream,
};

use serde::{Deserialize, Serialize};

use crate::output::Terminal;
use declaration::Pipeline;
use diagnostics::{Error, Kind, Result};
use proof::checks::StoredResults;

/// Environment variable of a command in a container on the pipeline's network: the engine's address there.
/// If it is set, stdin begins with a [`Handover`], a line of JSON.
pub(crate) const INSIDE: &str = "CARAVAN_INSIDE";

/// The declaration, resolved on the host, where its files are. It contains secrets: it is sent over stdin
/// only, and has no `Debug`.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Handover {
    pub(crate) pipeline: Pipeline,
    pub(crate) terminal: Terminal,
    /// Name of the process on the host.
    pub(crate) who: String,
    /// The engine's address on the host, for messages.
    pub(crate) engine: String,
    /// What earlier runs of `verify` found: the host stores it.
    pub(crate) results: StoredResults,
}

/// Socket in the container through which the command hands its results to the host.
pub(super) const RESULTS: &str = "/run/results.sock";

/// Hands what `verify` found to the process on the host, which stores it.
///
/// # Errors
/// The host does not accept them.
pub(crate) fn hand_back(results: &StoredResults) -> Result<()> {
    let handed = serde_json::to_vec(results)
        .map_err(io::Error::from)
        .and_then(|text| UnixStream::connect(RESULTS)?.write_all(&text));
    handed.map_err(|error| {
        let what = "the results of this run are not stored: the host does not accept them";
        Error::new(Kind::Unreachable, what).because(error.to_string())
    })
}

impl Handover {
    /// Reads the handover of this process from stdin, if [`INSIDE`] is set.
    ///
    /// # Errors
    /// Stdin does not begin with a handover.
    pub(crate) fn from_stdin(env: &BTreeMap<String, String>) -> Result<Option<Self>> {
        if !env.contains_key(INSIDE) {
            return Ok(None);
        }
        let mut line = String::new();
        let read = io::stdin().lock().read_line(&mut line);
        let handover = read.and_then(|_| Ok(serde_json::from_str(&line)?));
        handover.map(Some).map_err(|why| {
            let what = format!("{INSIDE} is set, but no pipeline was handed over");
            Error::new(Kind::Usage, what)
                .because(why)
                .hint(format!("unset {INSIDE}"))
        })
    }
}
