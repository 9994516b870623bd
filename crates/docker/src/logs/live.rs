//! One container's log as it is written, complete: what is stored is read again from where the last
//! reading ended, and Docker's own following only tells when. By itself that loses and repeats
//! lines where a log is rotated (measured with 20.10), the more the slower its reader is.

use std::{pin::Pin, sync::Arc, time::Duration};

use bollard::query_parameters::LogsOptionsBuilder;
use chrono::{DateTime, Utc};
use futures_util::{FutureExt, StreamExt, future, stream};

use super::{
    follow::Log,
    lines::{Lines, bounded, whole_seconds},
    narrow,
    shown::Shown,
};
use crate::connect::Engine;
use diagnostics::Result;
use platform::{Container, LogLine, LogOptions};

/// What is written within this time is read at once.
const GATHERS: Duration = Duration::from_millis(50);
/// Should Docker's following fall silent, the next look comes then.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// So many last lines are read first: that is cheap, and mostly all that is new.
const LAST_LINES: [usize; 2] = [100, 10_000];

/// Is told of a container of whose log something was deleted before it was read.
pub(super) type Lost = Arc<dyn Fn(&str) + Send + Sync>;

/// The log of one run of a container.
pub(super) struct Live {
    engine: Engine,
    container: Container,
    options: LogOptions,
    log: Log,
    lost: Lost,
    /// Ends when the run does.
    signal: Lines,
    /// What is being read.
    lines: Lines,
    ended: bool,
}

impl Live {
    /// `first` and then whatever is written until the container's run ends, as far as `options` want
    /// it; `log` knows what was read before.
    pub(super) fn lines(
        engine: &Engine,
        container: &Container,
        options: LogOptions,
        log: Log,
        lost: Lost,
        first: Lines,
    ) -> Lines {
        let request = LogsOptionsBuilder::new().follow(true).tail("0");
        let live = Self {
            engine: engine.clone(),
            container: container.clone(),
            options,
            log,
            lost,
            signal: engine.lines(container, request).fuse().boxed(),
            lines: first,
            ended: false,
        };
        let next = |mut live: Self| async move { Some((live.next().await?, live)) };
        stream::unfold(live, next).boxed()
    }

    async fn next(&mut self) -> Option<Result<LogLine>> {
        loop {
            if let Some(line) = self.lines.next().await {
                return Some(line);
            }
            if self.ended {
                return None;
            }
            self.ended = !self.written().await;
            self.lines = self.news().await;
        }
    }

    /// Waits until something may have been written; false: nothing will be any more.
    async fn written(&mut self) -> bool {
        match tokio::time::timeout(LOOK_AGAIN, self.signal.next()).await {
            Ok(Some(Ok(_))) => {
                tokio::time::sleep(GATHERS).await;
                while let Some(Some(Ok(_))) = self.signal.next().now_or_never() {}
                true
            }
            // What is wrong shows in what is read next.
            Ok(Some(Err(_)) | None) => false,
            Err(_) => true,
        }
    }

    /// What was stored since the last reading.
    async fn news(&mut self) -> Lines {
        let shown = self.log.shown();
        let Some(newest) = shown.newest() else {
            return self.unshown(self.since(self.container.run_began()), shown);
        };
        for count in LAST_LINES {
            let request = LogsOptionsBuilder::new().tail(&count.to_string());
            let lines = bounded(self.engine.lines(&self.container, request));
            let mut lines = lines.peekable();
            match Pin::new(&mut lines).peek().await {
                // There may be more that is new before the first one.
                Some(Ok(first)) if first.at > newest => {}
                Some(_) | None => return self.unshown(lines.boxed(), shown),
            }
        }
        let mut lines = self.since(shown.since()).peekable();
        if let Some(Ok(first)) = Pin::new(&mut lines).peek().await
            && first.at > newest
        {
            // Not even the newest line that was shown is stored any more.
            (self.lost)(&self.container.name);
        }
        self.unshown(lines.boxed(), shown)
    }

    fn since(&self, since: Option<DateTime<Utc>>) -> Lines {
        let request = LogsOptionsBuilder::new().since(since.map_or(0, whole_seconds));
        bounded(self.engine.lines(&self.container, request))
    }

    /// Those lines that were not shown, from now on noted as such.
    fn unshown(&self, lines: Lines, mut shown: Shown) -> Lines {
        let new = move |line: &Result<LogLine>| {
            future::ready(line.as_ref().map_or(true, |line| !shown.take(line.at)))
        };
        let lines = self.log.noting(lines.filter(new).boxed());
        narrow(&self.options, lines)
    }
}
