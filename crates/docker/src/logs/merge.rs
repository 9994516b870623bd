//! Merges several logs by time: exactly for stored logs; for live logs, a silent one is waited for only
//! briefly.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use chrono::{DateTime, Utc};
use futures_util::{Stream, StreamExt};
use tokio::time::Sleep;

use super::lines::Lines;
use diagnostics::Result;
use platform::LogLine;

/// How long a line waits for a possible older line of a silent log.
const SILENCE_TIMEOUT: Duration = Duration::from_millis(200);
/// The same for a log without a line so far: Docker may still be reading its file.
const FIRST_LINE_TIMEOUT: Duration = Duration::from_secs(1);

/// An item of the merged stream.
pub(super) enum Merged {
    Line(Result<LogLine>),
    /// The log with this id has ended.
    Ended(String),
}

/// Merges logs that are each approximately sorted by time. Buffers one line of each, so a slow reader slows
/// the logs down.
pub(super) struct Merge {
    logs: Vec<Log>,
    /// Whether the logs are still being written, so that one may be silent.
    live: bool,
    /// When waiting for silent logs ends.
    timer: Option<Pin<Box<Sleep>>>,
}

struct Log {
    id: String,
    lines: Lines,
    head: Option<Result<LogLine>>,
    /// It has returned no line yet.
    fresh: bool,
    /// Waiting for it timed out; it is not waited for until its next line.
    silent: bool,
}

impl Merge {
    pub(super) fn new(live: bool) -> Self {
        Self {
            logs: Vec::new(),
            live,
            timer: None,
        }
    }

    pub(super) fn add(&mut self, id: String, lines: Lines) {
        self.logs.push(Log {
            id,
            lines,
            head: None,
            fresh: true,
            silent: false,
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.logs.is_empty()
    }

    /// Polls the next line of each log; returns the id of one that has ended.
    fn fill(&mut self, context: &mut Context<'_>) -> Option<String> {
        for index in 0..self.logs.len() {
            let log = &mut self.logs[index];
            if log.head.is_some() {
                continue;
            }
            match log.lines.poll_next_unpin(context) {
                Poll::Ready(Some(line)) => {
                    log.head = Some(line);
                    (log.fresh, log.silent) = (false, false);
                }
                Poll::Ready(None) => return Some(self.logs.swap_remove(index).id),
                Poll::Pending => {}
            }
        }
        None
    }

    /// Whether to wait for a log that may still return an older line.
    fn waits(&mut self, context: &mut Context<'_>) -> bool {
        let mut awaited = self
            .logs
            .iter()
            .filter(|log| log.head.is_none() && !log.silent)
            .peekable();
        if awaited.peek().is_none() {
            self.timer = None;
            return false;
        }
        if !self.live {
            return true;
        }
        let timeout = match awaited.any(|log| log.fresh) {
            true => FIRST_LINE_TIMEOUT,
            false => SILENCE_TIMEOUT,
        };
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        if timer.as_mut().poll(context).is_pending() {
            return true;
        }
        self.timer = None;
        for log in self.logs.iter_mut().filter(|log| log.head.is_none()) {
            log.silent = true;
        }
        false
    }

    /// The oldest buffered line. Errors come first, because they have no time.
    fn oldest(&mut self) -> Option<Result<LogLine>> {
        let time = |line: &Result<LogLine>| match line {
            Ok(line) => line.at,
            Err(_) => DateTime::<Utc>::MIN_UTC,
        };
        let heads = self.logs.iter_mut().filter(|log| log.head.is_some());
        let first = heads.min_by_key(|log| log.head.as_ref().map(time))?;
        first.head.take()
    }
}

impl Stream for Merge {
    type Item = Merged;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Merged>> {
        if let Some(id) = self.fill(context) {
            return Poll::Ready(Some(Merged::Ended(id)));
        }
        if self.logs.is_empty() {
            return Poll::Ready(None);
        }
        if self.waits(context) {
            return Poll::Pending;
        }
        match self.oldest() {
            Some(line) => Poll::Ready(Some(Merged::Line(line))),
            // All logs are pending; each wakes this task.
            None => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;
    use crate::logs::tests::line;

    async fn next(merge: &mut Merge) -> String {
        match merge.next().await.expect("goes on") {
            Merged::Line(line) => line.expect("a line").text,
            Merged::Ended(id) => format!("end of {id}"),
        }
    }

    #[tokio::test]
    async fn several_logs_are_one_by_time() {
        let mut merge = Merge::new(false);
        let lines = |name: &'static str, seconds: &'static [u32]| {
            stream::iter(seconds.iter().map(move |s| line(name, *s))).boxed()
        };
        merge.add("a".to_owned(), lines("a", &[1, 4]));
        merge.add("b".to_owned(), lines("b", &[2, 3, 5]));
        for expected in ["1", "2", "3", "4", "end of a", "5", "end of b"] {
            assert_eq!(next(&mut merge).await, expected);
        }
        assert!(merge.next().await.is_none());
    }

    #[tokio::test]
    async fn a_silent_log_delays_other_logs_only_briefly() {
        let mut merge = Merge::new(true);
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
        let busy = stream::iter([line("a", 3), line("a", 4)]).chain(stream::pending());
        merge.add("a".to_owned(), busy.boxed());
        let silent = stream::unfold(receiver, |mut r| async { Some((r.recv().await?, r)) });
        merge.add("b".to_owned(), silent.boxed());
        assert_eq!(next(&mut merge).await, "3");
        // It is not waited for until its next line, which is then merged by time again.
        sender.send(line("b", 2)).expect("is read");
        assert_eq!(next(&mut merge).await, "2");
        assert_eq!(next(&mut merge).await, "4");
    }
}
