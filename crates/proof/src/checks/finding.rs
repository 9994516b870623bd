//! The result of a check: data for any writer.

use std::time::Duration;

use super::ids::CheckId;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(
    missing_docs,
    reason = "the names say it; docs of variants would change the published JSON Schema"
)]
pub enum Status {
    Pass,
    Warn,
    Fail,
    Skip,
}

impl Status {
    /// As machines read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Skip => "skip",
        }
    }
}

/// What it means when a check does not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The pipeline is not right.
    Error,
    /// A person should know; `--strict` makes it an error.
    Warning,
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// For instance `groups.allocation-worker.lag`.
    pub id: CheckId,
    /// How the check ended.
    pub status: Status,
    /// What it means when the check does not pass.
    pub severity: Severity,
    /// What was expected, in a few words.
    pub expected: String,
    /// What was seen; if the check was skipped, why.
    pub seen: String,
    /// Details worth a line each: counterexamples, log lines.
    pub evidence: Vec<String>,
    /// The exact next command.
    pub hint: Option<String>,
    /// The root cause: the check that explains why this one did not pass, and has no cause itself.
    pub cause: Option<CheckId>,
    /// How long the check took.
    pub took: Duration,
}

impl Finding {
    /// The layer of the id.
    pub fn layer(&self) -> &'static str {
        self.id.layer()
    }

    /// Adds lines of evidence.
    pub fn evidence(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.evidence.extend(lines);
        self
    }

    /// Sets the next command.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// What a rule decided, before it has an id and a duration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub(super) status: Status,
    pub(super) seen: String,
    pub(super) evidence: Vec<String>,
    pub(super) hint: Option<String>,
}

impl Outcome {
    pub(super) fn pass(seen: impl Into<String>) -> Self {
        Self::new(Status::Pass, seen)
    }

    pub(super) fn warn(seen: impl Into<String>) -> Self {
        Self::new(Status::Warn, seen)
    }

    pub(super) fn fail(seen: impl Into<String>) -> Self {
        Self::new(Status::Fail, seen)
    }

    fn new(status: Status, seen: impl Into<String>) -> Self {
        Self {
            status,
            seen: seen.into(),
            evidence: Vec::new(),
            hint: None,
        }
    }

    /// Adds lines of evidence.
    pub(super) fn evidence(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.evidence.extend(lines);
        self
    }

    /// Sets the next command, unless the check passed.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        if self.status != Status::Pass {
            self.hint = Some(hint.into());
        }
        self
    }
}
