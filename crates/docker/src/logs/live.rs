//! Follows one container's log completely. Docker's `follow` only signals new lines; they are then read from
//! the stored log, from where the last reading ended. `follow` itself loses and repeats lines when a log is
//! rotated (measured with 20.10), more with a slow reader.

use std::{pin::Pin, time::Duration};

use bollard::query_parameters::LogsOptionsBuilder;
use chrono::{DateTime, Utc};
use futures_util::{FutureExt, StreamExt, future, stream};

use super::{
    lines::{Lines, bounded, whole_seconds},
    narrow,
    shown::{Log, Shown},
};
use crate::connect::Engine;
use diagnostics::Result;
use platform::{Container, LogLine, LogOptions, OnLostLines};

/// Delay after a signal, so that lines written within it are read together.
const BATCH_DELAY: Duration = Duration::from_millis(50);
/// The longest time between two readings, in case `follow` stops signalling.
const LONGEST_POLL: Duration = Duration::from_secs(2);
/// How many last lines are read first, which is cheap and usually includes all new ones.
const LAST_LINES: [usize; 2] = [100, 10_000];

/// The log of one run of a container.
pub(super) struct Live {
    engine: Engine,
    container: Container,
    options: LogOptions,
    log: Log,
    lost: OnLostLines,
    /// Docker's `follow`; ends with the run.
    signal: Lines,
    /// The lines that are being read.
    lines: Lines,
    ended: bool,
}

impl Live {
    /// `first`, then new lines until the container's run ends, filtered by `options`. `log` has the lines that
    /// were read before.
    pub(super) fn lines(
        engine: &Engine,
        container: &Container,
        options: LogOptions,
        log: Log,
        lost: OnLostLines,
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

    /// Waits until there may be new lines; false: the run has ended.
    async fn written(&mut self) -> bool {
        match tokio::time::timeout(LONGEST_POLL, self.signal.next()).await {
            Ok(Some(Ok(_))) => {
                tokio::time::sleep(BATCH_DELAY).await;
                while let Some(Some(Ok(_))) = self.signal.next().now_or_never() {}
                true
            }
            // The next reading returns the error.
            Ok(Some(Err(_)) | None) => false,
            Err(_) => true,
        }
    }

    /// The lines that were stored since the last reading.
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
                // All lines are new, so there may be more new ones before the first.
                Some(Ok(first)) if first.at > newest => {}
                Some(_) | None => return self.unshown(lines.boxed(), shown),
            }
        }
        let mut lines = self.since(shown.since()).peekable();
        if let Some(Ok(first)) = Pin::new(&mut lines).peek().await
            && first.at > newest
        {
            // The newest line that was shown was deleted, so later ones may have been deleted too.
            (self.lost)(&self.container.name);
        }
        self.unshown(lines.boxed(), shown)
    }

    fn since(&self, since: Option<DateTime<Utc>>) -> Lines {
        let request = LogsOptionsBuilder::new().since(since.map_or(0, whole_seconds));
        bounded(self.engine.lines(&self.container, request))
    }

    /// The lines that were not shown yet; records them as shown.
    fn unshown(&self, lines: Lines, mut shown: Shown) -> Lines {
        let new = move |line: &Result<LogLine>| {
            future::ready(line.as_ref().map_or(true, |line| !shown.take(line.at)))
        };
        let lines = self.log.noting(lines.filter(new).boxed());
        narrow(&self.options, lines)
    }
}
