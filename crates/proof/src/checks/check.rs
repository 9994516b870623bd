//! A check before it is made: data, and how facts become its outcome.

use std::time::Duration;

use futures_util::future::LocalBoxFuture;

use super::{
    facts::Facts,
    finding::{Outcome, Severity},
};

/// What a check may take, unless it says otherwise: the clients' own limits come first.
const DEADLINE: Duration = Duration::from_secs(15);

type Make<'a> = Box<dyn FnOnce(&'a Facts<'a>) -> LocalBoxFuture<'a, Outcome> + 'a>;

/// One check of a pipeline. Made from the declaration alone, so what will be looked at is known
/// before anything is.
pub struct Check<'a> {
    pub id: String,
    /// In a few words.
    pub expected: String,
    pub severity: Severity,
    pub(super) deadline: Duration,
    /// Checks without which this one cannot be made: it is skipped when one of them fails.
    pub(super) needs: Vec<String>,
    /// Checks whose failure explains one of this, the likeliest first.
    pub(super) follows: Vec<String>,
    /// Checks of which a mere warning explains a failure of this, where nothing else does.
    pub(super) suspects: Vec<String>,
    pub(super) make: Make<'a>,
}

impl<'a> Check<'a> {
    /// `make` asks for the facts that it needs: each is found out once, whoever asks first.
    pub(super) fn new<F, Made>(id: impl Into<String>, expected: impl Into<String>, make: F) -> Self
    where
        F: FnOnce(&'a Facts<'a>) -> Made + 'a,
        Made: Future<Output = Outcome> + 'a,
    {
        Self {
            id: id.into(),
            expected: expected.into(),
            severity: Severity::Error,
            deadline: DEADLINE,
            needs: Vec::new(),
            follows: Vec::new(),
            suspects: Vec::new(),
            make: Box::new(move |facts| Box::pin(make(facts))),
        }
    }

    /// A failure is worth a warning.
    pub(super) fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// See [`Check::deadline`].
    pub(super) fn within(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// See [`Check::needs`].
    pub(super) fn needs<I: Into<String>>(mut self, ids: impl IntoIterator<Item = I>) -> Self {
        self.needs.extend(ids.into_iter().map(Into::into));
        self
    }

    /// See [`Check::follows`].
    pub(super) fn follows<I: Into<String>>(mut self, ids: impl IntoIterator<Item = I>) -> Self {
        self.follows.extend(ids.into_iter().map(Into::into));
        self
    }

    /// See [`Check::suspects`].
    pub(super) fn suspects(mut self, ids: impl IntoIterator<Item = String>) -> Self {
        self.suspects.extend(ids);
        self
    }
}
