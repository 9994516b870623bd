//! What a check found: data, for any writer.

use std::time::{Duration, Instant};

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Pass,
    Warn,
    Fail,
    Skip,
}

/// The result of one check.
#[derive(Debug, Clone)]
pub(crate) struct Finding {
    /// Stable: `layer.subject.aspect`, for instance `groups.allocation-worker.lag`.
    pub(crate) id: String,
    pub(crate) status: Status,
    /// What was expected, in a few words.
    pub(crate) expected: String,
    /// What was seen.
    pub(crate) seen: String,
    /// Details worth a line each: counterexamples, log lines.
    pub(crate) evidence: Vec<String>,
    /// The exact next command; on a skip the reason stands in `seen`.
    pub(crate) hint: Option<String>,
    /// How long the check took.
    pub(crate) took: Duration,
}

impl Finding {
    /// The part of the id before the first dot.
    pub(crate) fn layer(&self) -> &str {
        self.id.split('.').next().unwrap_or(&self.id)
    }

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

/// A check that is under way: what is expected is said before anything is seen.
#[derive(Debug, Clone)]
pub(super) struct Check {
    id: String,
    expected: String,
    began: Instant,
}

impl Check {
    /// `began`: when the question was asked that this check, perhaps with others, is answered by.
    pub(super) fn new(began: Instant, id: impl Into<String>, expected: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            expected: expected.into(),
            began,
        }
    }

    pub(super) fn pass(self, seen: impl Into<String>) -> Finding {
        self.ends(Status::Pass, seen.into())
    }

    pub(super) fn warn(self, seen: impl Into<String>) -> Finding {
        self.ends(Status::Warn, seen.into())
    }

    pub(super) fn fail(self, seen: impl Into<String>) -> Finding {
        self.ends(Status::Fail, seen.into())
    }

    /// Could not be made because of what another check, `cause`, has found.
    pub(super) fn skip(self, why: &str, cause: &str) -> Finding {
        self.ends(Status::Skip, format!("skipped: {why} ({cause})"))
    }

    fn ends(self, status: Status, seen: String) -> Finding {
        Finding {
            id: self.id,
            status,
            expected: self.expected,
            seen,
            evidence: Vec::new(),
            hint: None,
            took: self.began.elapsed(),
        }
    }
}
