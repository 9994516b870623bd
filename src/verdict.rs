//! How a command ended.

/// How a command that did its work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Right,
    /// The work was done, and showed that the pipeline is not right.
    NotRight,
    /// A part of it was done, and shown, when the deadline passed.
    Late,
    /// What could be told without Docker was shown.
    Unreachable,
    /// It ran inside the network, showed all, and ended with this exit code.
    Told(u8),
}
