//! A check before it runs: data, and the function that makes its outcome.

use std::time::Duration;

use futures_util::future::LocalBoxFuture;

use super::{
    context::CheckContext,
    finding::{Outcome, Severity},
    ids::CheckId,
};

/// The time limit of a check, unless it declares another. The clients' own timeouts come first.
const DEADLINE: Duration = Duration::from_secs(15);

type Make<'a> = Box<dyn FnOnce(&'a CheckContext<'a>) -> LocalBoxFuture<'a, Outcome> + 'a>;

/// One check of a pipeline. It is made of the declaration alone, so the checks that will run are known
/// before anything is observed.
pub struct Check<'a> {
    /// Unique in a plan.
    pub id: CheckId,
    /// In a few words.
    pub expected: String,
    /// What it means if the check does not pass.
    pub severity: Severity,
    pub(super) deadline: Duration,
    /// If one of these checks fails or is skipped, this one is skipped.
    pub(super) needs: Vec<CheckId>,
    /// Checks whose failure explains a failure of this one, the likeliest first.
    pub(super) explained_by: Vec<CheckId>,
    /// Checks whose warning explains a failure of this one, if no failure does.
    pub(super) possible_causes: Vec<CheckId>,
    pub(super) make: Make<'a>,
}

impl<'a> Check<'a> {
    /// `make` observes what it needs and judges that.
    pub(super) fn new<F, Made>(id: CheckId, expected: impl Into<String>, make: F) -> Self
    where
        F: FnOnce(&'a CheckContext<'a>) -> Made + 'a,
        Made: Future<Output = Outcome> + 'a,
    {
        Self {
            id,
            expected: expected.into(),
            severity: Severity::Error,
            deadline: DEADLINE,
            needs: Vec::new(),
            explained_by: Vec::new(),
            possible_causes: Vec::new(),
            make: Box::new(move |context| Box::pin(make(context))),
        }
    }

    /// A failure counts as a warning.
    pub(super) fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// See [`Check::deadline`].
    pub(super) fn within(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Extends the time limit.
    pub(super) fn longer_by(mut self, time: Duration) -> Self {
        self.deadline += time;
        self
    }

    /// See [`Check::needs`].
    pub(super) fn needs(mut self, ids: impl IntoIterator<Item = CheckId>) -> Self {
        self.needs.extend(ids);
        self
    }

    /// See [`Check::explained_by`].
    pub(super) fn explained_by(mut self, ids: impl IntoIterator<Item = CheckId>) -> Self {
        self.explained_by.extend(ids);
        self
    }

    /// See [`Check::possible_causes`].
    pub(super) fn possible_causes(mut self, ids: impl IntoIterator<Item = CheckId>) -> Self {
        self.possible_causes.extend(ids);
        self
    }
}
