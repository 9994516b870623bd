//! What a command that runs inside is told: what it would have found out on the host.

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

/// Set for a command that runs inside, to the engine's address there; its stdin begins with a
/// [`Handover`], a line of JSON.
pub(crate) const INSIDE: &str = "CARAVAN_INSIDE";

/// The declaration, resolved by the host: its files, and those that they name, are there. It holds
/// secrets, so that it goes over stdin alone, and has no `Debug`.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Handover {
    pub(crate) pipeline: Pipeline,
    pub(crate) terminal: Terminal,
    /// What the process on the host is called.
    pub(crate) who: String,
    /// Where the engine is for the host, for messages.
    pub(crate) engine: String,
    /// What earlier runs of `verify` found: the host stores it.
    pub(crate) results: StoredResults,
}

/// Where the command hands results back, which the host stores: there is no disk here.
pub(super) const RESULTS: &str = "/run/results.sock";

/// Hands what `verify` found to the process on the host, which stores it.
///
/// # Errors
/// Nobody takes it.
pub(crate) fn hand_back(results: &StoredResults) -> Result<()> {
    let handed = serde_json::to_vec(results)
        .map_err(io::Error::from)
        .and_then(|text| UnixStream::connect(RESULTS)?.write_all(&text));
    handed.map_err(|error| {
        let what = "the results of this run are not stored: the host does not take them";
        Error::new(Kind::Unreachable, what).because(error)
    })
}

impl Handover {
    /// That of this process, if it runs inside.
    ///
    /// # Errors
    /// Its stdin does not begin with one.
    pub(crate) fn taken(env: &BTreeMap<String, String>) -> Result<Option<Self>> {
        if !env.contains_key(INSIDE) {
            return Ok(None);
        }
        let mut line = String::new();
        let read = io::stdin().lock().read_line(&mut line);
        let handover = read
            .map_err(|e| e.to_string())
            .and_then(|_| serde_json::from_str(&line).map_err(|e| e.to_string()));
        handover.map(Some).map_err(|why| {
            let what = format!("{INSIDE} is set, but nobody handed a pipeline over");
            Error::new(Kind::Usage, what)
                .because(why)
                .hint(format!("unset {INSIDE}"))
        })
    }
}
