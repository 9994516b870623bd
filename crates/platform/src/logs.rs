//! Log lines of containers.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use chrono::{DateTime, Utc};
use diagnostics::Result;
use futures_util::{Stream, StreamExt, future::BoxFuture, stream::BoxStream};

/// One line that a container wrote.
#[derive(Debug, Clone)]
pub struct LogLine {
    pub service: String,
    /// The container's name.
    pub container: Arc<str>,
    /// When Docker read it.
    pub at: DateTime<Utc>,
    pub text: String,
}

/// Which lines are wanted.
#[derive(Clone, Default)]
pub struct LogOptions {
    /// The last so many of those that the rest wants, of each container.
    pub tail: Option<usize>,
    /// Lines since then.
    pub since: Option<DateTime<Utc>>,
    /// Lines until then.
    pub until: Option<DateTime<Utc>>,
    pub filter: Option<Filter>,
}

/// Whether a line is wanted, by its text.
#[derive(Clone)]
pub struct Filter(pub Arc<dyn Fn(&str) -> bool + Send + Sync>);

impl LogOptions {
    /// Whether a line is wanted.
    pub fn wants(&self, line: &LogLine) -> bool {
        self.since.is_none_or(|since| line.at >= since)
            && self.until.is_none_or(|until| line.at <= until)
            && self.filter.as_ref().is_none_or(|f| (f.0)(&line.text))
    }
}

/// What a scan of the beginning of a container's current run came across.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scanned {
    /// There are more lines than were shown.
    pub partial: bool,
    /// What was looked for is there.
    pub found: bool,
    /// Log rotation may have eaten the beginning: what is not found may have been there.
    pub start_lost: bool,
}

/// The containers of which the beginning of what was asked for may be gone, and the time of their
/// first line.
pub type CutOff = Vec<(String, DateTime<Utc>)>;

/// The stored lines of several containers, by time.
pub struct Logs {
    lines: BoxStream<'static, Result<LogLine>>,
    cut_off: BoxFuture<'static, Result<CutOff>>,
}

impl Logs {
    /// `cut_off` is awaited once all of `lines` were read.
    pub fn new(
        lines: BoxStream<'static, Result<LogLine>>,
        cut_off: BoxFuture<'static, Result<CutOff>>,
    ) -> Self {
        Self { lines, cut_off }
    }

    /// See [`CutOff`]; to be asked once all lines were read.
    ///
    /// # Errors
    /// The platform does not answer.
    pub async fn cut_off(self) -> Result<CutOff> {
        self.cut_off.await
    }
}

impl Stream for Logs {
    type Item = Result<LogLine>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.lines.poll_next_unpin(context)
    }
}
