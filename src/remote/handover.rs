//! What a command that runs inside is told: what it would have found out on the host.

use std::{
    collections::BTreeMap,
    io::{self, BufRead},
};

use serde::{Deserialize, Serialize};

use crate::output::Terminal;
use declaration::Pipeline;
use diagnostics::{Error, Kind, Result};

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
        let handover = read.and_then(|_| Ok(serde_json::from_str(&line)?));
        handover.map(Some).map_err(|why| {
            let what = format!("{INSIDE} is set, but no pipeline was handed over");
            Error::new(Kind::Usage, what)
                .because(why)
                .hint(format!("unset {INSIDE}"))
        })
    }
}
