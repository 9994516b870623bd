//! What goes over the link. The container's side opens every stream, and says first what it is for.

use std::{collections::BTreeMap, ffi::OsString};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::Handover;
use proof::checks::StoredResults;

/// The first byte of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Channel {
    /// [`ToAgent`] one way, [`ToHost`] the other, a line of JSON each.
    Control,
    /// What the command writes to stdout.
    Out,
    /// What the command writes to stderr.
    Err,
    /// A connection to the Docker engine.
    Engine,
}

impl Channel {
    pub(super) fn byte(self) -> u8 {
        match self {
            Self::Control => b'c',
            Self::Out => b'o',
            Self::Err => b'e',
            Self::Engine => b'd',
        }
    }

    /// Reads it off a stream that the other side opened; None: it closed it, or it is of no kind
    /// that there is.
    pub(super) async fn of(stream: &mut (impl AsyncRead + Unpin)) -> Option<Self> {
        let byte = stream.read_u8().await.ok()?;
        let all = [Self::Control, Self::Out, Self::Err, Self::Engine];
        all.into_iter().find(|channel| channel.byte() == byte)
    }
}

/// What the host says.
#[derive(Serialize, Deserialize)]
pub(super) enum ToAgent {
    /// Comes first, and once.
    Run(Box<Order>),
    /// A line for the command's stdin.
    Input(String),
    /// Ctrl-C, SIGTERM or SIGHUP.
    Interrupt,
}

/// What is to run.
#[derive(Serialize, Deserialize)]
pub(super) struct Order {
    /// The command line, without the program.
    pub(super) arguments: Vec<OsString>,
    /// All of the command's environment.
    pub(super) environment: BTreeMap<String, String>,
    pub(super) handover: Handover,
}

/// What the container's side says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToHost {
    /// What `verify` found, to be stored; the command goes on.
    Results(StoredResults),
    /// The command ended; all that it wrote is on its way.
    Ended {
        /// Its exit code, or the signal that ended it.
        code: Option<u8>,
        signal: Option<i32>,
    },
    /// It could not be started.
    Failed(String),
}
