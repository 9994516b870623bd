//! What the engine tells while it works; `output` shows it.

use std::time::Duration;

/// One step of `up`, `down` or `restart`.
#[derive(Debug, Clone)]
pub enum Event {
    /// Something is being done about a part (service, image, network, volume), in a few words:
    /// `pulling`, `building (step 3/7)`, `creating`, `starting`, `waiting for its startup line`.
    Doing { part: String, what: String },
    /// A part reached its goal.
    Done {
        part: String,
        outcome: Outcome,
        took: Duration,
    },
    /// A part failed; the command's error tells the rest.
    Failed { part: String, why: String },
    /// Something a person should know: a fallback taken, a port chosen.
    Note(String),
}

/// How a part reached its goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Was right already.
    Kept,
    Created,
    /// Drifted from the declaration, or its image did.
    Recreated,
    Started,
    /// A one-shot ran to its end.
    Completed,
    Removed,
    Restarted,
    /// An image came from the registry.
    Pulled,
    /// An image was built here.
    Built,
    /// Images were written into a file.
    Saved,
    /// Images came from a file.
    Loaded,
}

/// Where events go; the engine never knows who listens.
pub type Events = tokio::sync::mpsc::UnboundedSender<Event>;
