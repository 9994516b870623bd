//! A check of the machine that is under way, and the finding that it ends with.

use std::time::Instant;

use proof::checks::{
    CheckId,
    finding::{Finding, Severity, Status},
};

/// What is expected is said before anything is seen.
#[derive(Debug, Clone)]
pub(super) struct PendingFinding {
    id: CheckId,
    expected: String,
    began: Instant,
}

impl PendingFinding {
    /// `began`: when the call was made whose answer decides this check, perhaps with others.
    pub(super) fn new(began: Instant, id: CheckId, expected: impl Into<String>) -> Self {
        Self {
            id,
            expected: expected.into(),
            began,
        }
    }

    pub(super) fn pass(self, seen: impl Into<String>) -> Finding {
        self.ends(Status::Pass, seen)
    }

    pub(super) fn warn(self, seen: impl Into<String>) -> Finding {
        self.ends(Status::Warn, seen)
    }

    pub(super) fn fail(self, seen: impl Into<String>) -> Finding {
        self.ends(Status::Fail, seen)
    }

    /// Skipped because of the result of another check, `cause`.
    pub(super) fn skip(self, why: &str, cause: CheckId) -> Finding {
        let mut finding = self.ends(Status::Skip, format!("skipped: {why}"));
        finding.cause = Some(cause);
        finding
    }

    fn ends(self, status: Status, seen: impl Into<String>) -> Finding {
        Finding {
            id: self.id,
            status,
            severity: match status {
                Status::Warn => Severity::Warning,
                Status::Pass | Status::Fail | Status::Skip => Severity::Error,
            },
            expected: self.expected,
            seen: seen.into(),
            evidence: Vec::new(),
            hint: None,
            cause: None,
            took: self.began.elapsed(),
        }
    }
}
