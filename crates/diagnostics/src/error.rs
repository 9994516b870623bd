//! The one error of the CLI: what failed, why, and what to do next. `main` turns its kind into
//! the exit code of docs/cli.md; `output` renders it.

use std::fmt;

/// The kind of a failure; decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The pipeline fails: a service did not start, a step is missing.
    NotRight,
    /// The command line or the declaration is wrong.
    Usage,
    /// A required system is not reachable: Docker, Kafka or a database.
    Unreachable,
    /// A deadline passed while waiting.
    Deadline,
    /// Ctrl-C.
    Interrupted,
    /// A defect in Caravan itself.
    Defect,
}

impl Kind {
    /// The exit code of docs/cli.md.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::NotRight => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::Deadline => 4,
            Self::Defect => 70,
            Self::Interrupted => 130,
        }
    }

    /// A stable word for machine formats.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotRight => "not-right",
            Self::Usage => "usage",
            Self::Unreachable => "unreachable",
            Self::Deadline => "deadline",
            Self::Defect => "defect",
            Self::Interrupted => "interrupted",
        }
    }
}

/// A failure, ready to be shown.
#[derive(Debug, Clone)]
pub struct Error {
    /// Decides the exit code.
    pub kind: Kind,
    /// One sentence: what failed.
    pub what: String,
    /// Evidence, a line each: state, exit code, last log lines, source excerpt.
    pub evidence: Vec<String>,
    /// The exact next command, or what to change.
    pub hint: Option<String>,
}

/// Shorthand within the CLI.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error without evidence and hint. `what`: one sentence that says what failed.
    pub fn new(kind: Kind, what: impl fmt::Display) -> Self {
        Self {
            kind,
            what: what.to_string(),
            evidence: Vec::new(),
            hint: None,
        }
    }

    /// Adds a line of evidence: a sentence, or the text of an error.
    pub fn because(mut self, evidence: impl fmt::Display) -> Self {
        self.evidence.push(evidence.to_string());
        self
    }

    /// Sets the hint: the exact next command, or what to change.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        for line in &self.evidence {
            write!(f, ": {line}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}
