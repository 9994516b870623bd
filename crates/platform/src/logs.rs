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
    /// Name of the service.
    pub service: String,
    /// The container's name.
    pub container: Arc<str>,
    /// When the platform received the line.
    pub at: DateTime<Utc>,
    /// The line without its line end.
    pub text: String,
}

/// Selects log lines.
#[derive(Clone, Default)]
pub struct LogOptions {
    /// Only the last `tail` selected lines of each container.
    pub tail: Option<usize>,
    /// Lines at or after this time.
    pub since: Option<DateTime<Utc>>,
    /// Lines at or before this time.
    pub until: Option<DateTime<Utc>>,
    /// Lines whose text this accepts. None: all lines.
    pub filter: Option<Filter>,
}

/// Called with the name of a container whose lines were deleted before they were read.
pub type OnLostLines = Arc<dyn Fn(&str) + Send + Sync>;

/// Selects a line by its text.
#[derive(Clone)]
pub struct Filter(pub Arc<dyn Fn(&str) -> bool + Send + Sync>);

impl LogOptions {
    /// Whether time and filter select a line; ignores `tail`.
    pub fn wants(&self, line: &LogLine) -> bool {
        self.since.is_none_or(|since| line.at >= since)
            && self.until.is_none_or(|until| line.at <= until)
            && self.filter.as_ref().is_none_or(|f| (f.0)(&line.text))
    }
}

/// The result of a scan of the first lines of a container's run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scanned {
    /// The run has more lines than were scanned.
    pub partial: bool,
    /// The line that was searched for was found.
    pub found: bool,
    /// Log rotation may have deleted the first lines, so a line that was not found may have existed.
    pub start_lost: bool,
}

/// Names of the containers whose selected lines may be incomplete because of log rotation, and the time
/// of their first remaining line.
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

    /// See [`CutOff`]. Call it after all lines were read.
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
