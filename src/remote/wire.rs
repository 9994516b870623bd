//! Streams and messages of the link. The container's side opens every stream; its first byte is the channel.

use std::{collections::BTreeMap, ffi::OsString};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::Handover;
use proof::checks::StoredResults;

/// The purpose of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Channel {
    /// [`ToAgent`] in one direction, [`ToHost`] in the other, a line of JSON each.
    Control,
    /// The command's stdout.
    Out,
    /// The command's stderr.
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

    /// Reads the channel of a stream that the other side opened. None: the stream was closed, or the channel
    /// is unknown.
    pub(super) async fn of(stream: &mut (impl AsyncRead + Unpin)) -> Option<Self> {
        let byte = stream.read_u8().await.ok()?;
        let all = [Self::Control, Self::Out, Self::Err, Self::Engine];
        all.into_iter().find(|channel| channel.byte() == byte)
    }
}

/// Messages of the host.
#[derive(Serialize, Deserialize)]
pub(super) enum ToAgent {
    /// The first message, sent once.
    Run(Box<Order>),
    /// A line for the command's stdin.
    Input(String),
    /// Ctrl-C, SIGTERM or SIGHUP.
    Interrupt,
}

/// The command to run.
#[derive(Serialize, Deserialize)]
pub(super) struct Order {
    /// The command line, without the program.
    pub(super) arguments: Vec<OsString>,
    /// The command's whole environment.
    pub(super) environment: BTreeMap<String, String>,
    pub(super) handover: Handover,
}

/// Messages of the container's side.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToHost {
    /// Results of `verify` for the host to store; the command goes on.
    Results(StoredResults),
    /// The command ended; all its output was sent.
    Ended {
        /// The exit code; None: `signal` ended it.
        code: Option<u8>,
        signal: Option<i32>,
    },
    /// The command could not be started.
    Failed(String),
}
