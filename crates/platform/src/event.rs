//! Progress events of the engine; `output` shows them.

use std::time::Duration;

/// One step of `up`, `down` or `restart`.
#[derive(Debug, Clone)]
pub enum Event {
    /// Work on a part (service, image, network, volume) began or advanced. The action is one of
    /// `pulling`, `building (step 3/7)`, `creating`, `starting`, `waiting for its startup line`.
    Doing {
        /// Name of the part.
        part: String,
        /// The current action.
        what: String,
    },
    /// A part reached its goal.
    Done {
        /// Name of the part.
        part: String,
        /// How it reached its goal.
        outcome: Outcome,
        /// Duration of the work on the part.
        took: Duration,
    },
    /// A part failed; the command's error has the evidence.
    Failed {
        /// Name of the part.
        part: String,
        /// The cause in one line.
        why: String,
    },
    /// A message for the user, for instance that a fallback was used or a port was chosen.
    Note(String),
}

/// How a part reached its goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It already was as declared.
    Kept,
    /// It did not exist.
    Created,
    /// The container differed from the declaration or from the current image.
    Recreated,
    /// The container existed, and was stopped or paused.
    Started,
    /// A one-shot service ran and exited with code 0.
    Completed,
    /// The part was removed.
    Removed,
    /// A running container was restarted.
    Restarted,
    /// An image was pulled from the registry.
    Pulled,
    /// An image was built on this engine.
    Built,
    /// Images were written to a file.
    Saved,
    /// Images were loaded from a file.
    Loaded,
}

/// The channel that the engine sends events to.
pub type Events = tokio::sync::mpsc::UnboundedSender<Event>;
