//! Docker's frames of one container's log turned into whole lines with their times.

use std::{collections::VecDeque, sync::Arc};

use bollard::{container::LogOutput, query_parameters::LogsOptionsBuilder};
use chrono::{DateTime, Utc};
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};

use crate::connect::{CALL, Engine, status, timed_out};
use diagnostics::Result;
use platform::{Container, LogLine};

/// Lines of one container, or of several.
pub(super) type Lines = BoxStream<'static, Result<LogLine>>;

/// The longest line; longer ones are cut. No line that Caravan interprets is that long.
const LONGEST_LINE: usize = 1 << 20;

impl Engine {
    /// A container's lines of stdout and stderr, in Docker's order, with partial lines joined.
    pub(super) fn lines(&self, container: &Container, request: LogsOptionsBuilder) -> Lines {
        let request = request.stdout(true).stderr(true).timestamps(true).build();
        let frames = self.docker.logs(&container.id, Some(request)).fuse();
        let (service, name) = (
            container.service.clone(),
            Arc::from(container.name.as_str()),
        );
        let what = format!("read the log of {}", container.name);
        let line = move |(at, text)| LogLine {
            service: service.clone(),
            container: Arc::clone(&name),
            at,
            text,
        };
        // The engine and the call's name, for errors.
        let state = (frames.boxed(), Joiner::default(), (self.clone(), what));
        let joined = stream::unfold(state, move |(mut frames, mut joiner, source)| {
            async move {
                loop {
                    let line = match frames.next().await {
                        Some(Ok(frame)) => match joiner.add(frame) {
                            Some(line) => Ok(line),
                            None => continue,
                        },
                        // The container was removed, or is being removed.
                        Some(Err(e)) if matches!(status(&e), Some(404 | 409)) => return None,
                        Some(Err(e)) => Err(source.0.refused(&source.1, &e)),
                        // The last line may have no line feed.
                        None => Ok(joiner.rest()?),
                    };
                    return Some((line, (frames, joiner, source)));
                }
            }
        });
        joined.map(move |read| read.map(&line)).boxed()
    }
}

/// A time as Docker's options take it, in whole seconds.
pub(super) fn whole_seconds(at: DateTime<Utc>) -> i32 {
    i32::try_from(at.timestamp()).unwrap_or(0)
}

/// Ends a stalled read with an error.
pub(super) fn bounded(lines: Lines) -> Lines {
    let next = |mut lines: Lines| async move {
        match tokio::time::timeout(CALL, lines.next()).await {
            Ok(line) => line.map(|line| (line, lines)),
            Err(_) => Some((Err(timed_out("read a log", CALL)), stream::empty().boxed())),
        }
    };
    stream::unfold(lines, next).boxed()
}

/// The last `count` lines, once all were read.
pub(super) fn last(mut lines: Lines, count: usize) -> Lines {
    let read = async move {
        let mut last = VecDeque::new();
        while let Some(line) = lines.next().await {
            // An error ends the stream and does not count as a line.
            let kept = count + usize::from(line.is_err());
            last.push_back(line);
            while last.len() > kept {
                last.pop_front();
            }
        }
        stream::iter(last)
    };
    stream::once(read).flatten().boxed()
}

/// Joins lines that Docker split at 16 KiB; stdout and stderr interleave.
#[derive(Debug, Default)]
struct Joiner {
    /// Incomplete lines of stdout and stderr.
    begun: [Option<(DateTime<Utc>, String)>; 2],
}

impl Joiner {
    /// Adds a frame, `TIMESTAMP text`; it ends with a line feed unless the line continues in the next frame.
    fn add(&mut self, frame: LogOutput) -> Option<(DateTime<Utc>, String)> {
        let slot = usize::from(matches!(frame, LogOutput::StdErr { .. }));
        let text = String::from_utf8_lossy(frame.as_ref());
        let (at, text) = text.split_once(' ').unwrap_or((&text, ""));
        let at = DateTime::parse_from_rfc3339(at.trim_end()).ok()?.to_utc();
        let (at, mut line) = self.begun[slot].take().unwrap_or((at, String::new()));
        let room = LONGEST_LINE.saturating_sub(line.len());
        let (piece, ends) = match text.strip_suffix('\n') {
            Some(piece) => (piece, true),
            None => (text, false),
        };
        line.push_str(&piece[..piece.floor_char_boundary(room.min(piece.len()))]);
        if ends {
            line.truncate(line.trim_end_matches('\r').len());
            return Some((at, line));
        }
        self.begun[slot] = Some((at, line));
        None
    }

    /// A line without a line feed at the end of the log.
    fn rest(&mut self) -> Option<(DateTime<Utc>, String)> {
        self.begun.iter_mut().find_map(Option::take)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::tests::{line, texts};

    fn frame(text: &str) -> LogOutput {
        LogOutput::StdOut {
            message: text.to_owned().into(),
        }
    }

    #[test]
    fn split_lines_are_joined_within_their_stream() {
        let mut joiner = Joiner::default();
        assert_eq!(joiner.add(frame("2026-01-01T00:00:00.1Z one, ")), None);
        let other = LogOutput::StdErr {
            message: "2026-01-01T00:00:00.2Z aside\n".into(),
        };
        assert_eq!(
            joiner.add(other).map(|(_, text)| text).as_deref(),
            Some("aside")
        );
        let (at, text) = joiner
            .add(frame("2026-01-01T00:00:00.3Z two\n"))
            .expect("ends");
        assert_eq!(text, "one, two");
        assert_eq!(at.timestamp_subsec_millis(), 100);
    }

    #[test]
    fn an_empty_line_is_a_line_and_so_is_one_without_an_end() {
        let mut joiner = Joiner::default();
        let (_, text) = joiner
            .add(frame("2026-01-01T00:00:00Z \n"))
            .expect("a line");
        assert_eq!(text, "");
        assert_eq!(joiner.add(frame("2026-01-01T00:00:00Z cut")), None);
        assert_eq!(joiner.rest().map(|(_, text)| text).as_deref(), Some("cut"));
        assert_eq!(joiner.rest(), None);
    }

    #[tokio::test]
    async fn the_last_lines_are_kept() {
        let lines = || stream::iter((1..=5).map(|n| line("a", n))).boxed();
        assert_eq!(texts(last(lines(), 2)).await, ["4", "5"]);
        assert_eq!(texts(last(lines(), 9)).await.len(), 5);
        assert!(texts(last(lines(), 0)).await.is_empty());
    }
}
