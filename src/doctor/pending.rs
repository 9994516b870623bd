//! A running check, and the finding that it ends with.

use std::time::Instant;

use proof::checks::{
    CheckId,
    finding::{Finding, Severity, Status},
};

/// A running check. What it expects is fixed before anything is observed.
#[derive(Debug, Clone)]
pub(super) struct PendingFinding {
    id: CheckId,
    expected: String,
    began: Instant,
}

impl PendingFinding {
    /// `began`: when the call started whose result decides this check. Several checks may share a call.
    pub(super) fn new(began: Instant, id: CheckId, expected: impl Into<String>) -> Self {
        Self {
            id,
            expected: expected.into(),
            began,
        }
    }

    pub(super) fn pass(self, seen: impl Into<String>) -> Finding {
        self.finding(Status::Pass, seen)
    }

    pub(super) fn warn(self, seen: impl Into<String>) -> Finding {
        self.finding(Status::Warn, seen)
    }

    pub(super) fn fail(self, seen: impl Into<String>) -> Finding {
        self.finding(Status::Fail, seen)
    }

    /// Skipped because of the result of another check, `cause`.
    pub(super) fn skip(self, why: &str, cause: CheckId) -> Finding {
        let mut finding = self.finding(Status::Skip, format!("skipped: {why}"));
        finding.cause = Some(cause);
        finding
    }

    fn finding(self, status: Status, seen: impl Into<String>) -> Finding {
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
