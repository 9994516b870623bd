//! The result of a command that ran to its end; `main` makes it an exit code.

/// The result of a command that ran to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Everything was done, and nothing is wrong.
    Right,
    /// The command did its work and found that the pipeline is not right.
    NotRight,
    /// The deadline passed; the command has shown what it did until then.
    Late,
    /// Docker is unreachable; the command has shown what it knows without Docker.
    Unreachable,
    /// The command ran in a container on the pipeline's network and exited with this code.
    Exited(u8),
}
