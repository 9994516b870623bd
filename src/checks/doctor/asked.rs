//! A question to the machine that is under way, and the finding that its answer makes.

use std::time::Instant;

use crate::checks::finding::{Finding, Outcome, Severity, Status};

/// What is expected is said before anything is seen.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    id: String,
    expected: String,
    began: Instant,
}

impl Asked {
    /// `began`: when the question was asked that this check, perhaps with others, is answered by.
    pub(super) fn new(began: Instant, id: impl Into<String>, expected: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            expected: expected.into(),
            began,
        }
    }

    pub(super) fn pass(self, seen: impl Into<String>) -> Finding {
        self.ends(Outcome::pass(seen), None)
    }

    pub(super) fn warn(self, seen: impl Into<String>) -> Finding {
        self.ends(Outcome::warn(seen), None)
    }

    pub(super) fn fail(self, seen: impl Into<String>) -> Finding {
        self.ends(Outcome::fail(seen), None)
    }

    /// Could not be made because of what another check, `cause`, has found.
    pub(super) fn skip(self, why: &str, cause: &str) -> Finding {
        let mut outcome = Outcome::fail(format!("skipped: {why}"));
        outcome.status = Status::Skip;
        self.ends(outcome, Some(cause.to_owned()))
    }

    fn ends(self, outcome: Outcome, cause: Option<String>) -> Finding {
        Finding {
            id: self.id,
            status: outcome.status,
            severity: match outcome.status {
                Status::Warn => Severity::Warning,
                Status::Pass | Status::Fail | Status::Skip => Severity::Error,
            },
            expected: self.expected,
            seen: outcome.seen,
            evidence: outcome.evidence,
            hint: outcome.hint,
            cause,
            took: self.began.elapsed(),
        }
    }
}

impl Finding {
    /// With lines of evidence.
    pub(super) fn evidence(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.evidence.extend(lines);
        self
    }

    /// With the next command.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
