//! Logs as they are written: across restarts, and across containers that come in place of others
//! or beside them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bollard::query_parameters::EventsOptionsBuilder;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{
    Stream, StreamExt, future,
    stream::{self, BoxStream},
};

use super::{
    LogOptions,
    lines::{Lines, last},
    merge::{Merge, Merged},
    shown::Shown,
};
use crate::{
    engine::{
        connect::{Engine, failed},
        labels,
        observed::{Container, LogLine, State},
    },
    error::{Error, Kind, Result},
};

/// Between the end of a log and the look at what became of its container.
const SETTLES: Duration = Duration::from_millis(100);

impl Engine {
    /// Lines of these containers, then new ones as they come, from every container of the `services`
    /// (of all, when none is named) that the project has or gets. It ends with Docker alone.
    pub(crate) fn follow_services(
        &self,
        project: &str,
        services: Vec<String>,
        containers: &[Container],
        options: LogOptions,
    ) -> impl Stream<Item = Result<LogLine>> {
        let mut following = Following {
            engine: self.clone(),
            services,
            options,
            merge: Merge::new(true),
            starts: self.starts(project),
            logs: HashMap::new(),
        };
        for container in containers {
            following.begin(container, true);
        }
        stream::unfold(following, |mut following| async move {
            let line = following.next().await;
            Some((line, following))
        })
    }

    /// Ids of the project's containers as they start, from shortly before now.
    fn starts(&self, project: &str) -> BoxStream<'static, Result<String>> {
        let label = format!("{}={project}", labels::PROJECT);
        let filters = HashMap::from([
            ("type", vec!["container"]),
            ("event", vec!["start"]),
            ("label", vec![&label]),
        ]);
        let since = (Utc::now() - TimeDelta::seconds(5)).timestamp().to_string();
        let options = EventsOptionsBuilder::new()
            .since(&since)
            .filters(&filters)
            .build();
        let events = self.docker.events(Some(options));
        events
            .filter_map(|event| {
                future::ready(match event {
                    Ok(event) => event.actor.and_then(|actor| actor.id).map(Ok),
                    Err(e) => Some(Err(failed("tell which containers start", &e))),
                })
            })
            .boxed()
    }

    /// New lines of one container, those after `after` (exclusive), across Docker's restarts, until
    /// it has ended.
    pub(crate) fn follow<'a>(
        &'a self,
        container: &'a Container,
        after: Option<DateTime<Utc>>,
    ) -> impl Stream<Item = Result<LogLine>> + Send + 'a {
        let from = after.map(|after| after + TimeDelta::nanoseconds(1));
        let options = LogOptions {
            since: from,
            ..LogOptions::default()
        };
        let log = Log::default();
        let lines = self.read_on(container, &options, &log, from);
        stream::unfold(
            (lines, log, options),
            move |(mut lines, log, options)| async move {
                loop {
                    if let Some(line) = lines.next().await {
                        return Some((line, (lines, log, options)));
                    }
                    if !self.goes_on(container).await {
                        return None;
                    }
                    lines = self.read_on(container, &options, &log, from);
                }
            },
        )
    }

    /// Whether a container whose log ended will write again by itself.
    async fn goes_on(&self, container: &Container) -> bool {
        tokio::time::sleep(SETTLES).await;
        match self.inspect(&container.id).await {
            Ok(Some(now)) => {
                matches!(
                    now.state,
                    State::Running | State::Paused | State::Restarting
                )
            }
            Ok(None) | Err(_) => false,
        }
    }

    /// A log from where its reading ended, else from `from` on, until the container's run ends.
    fn read_on(
        &self,
        container: &Container,
        options: &LogOptions,
        log: &Log,
        from: Option<DateTime<Utc>>,
    ) -> Lines {
        let mut shown = log.shown();
        let from = shown.since().or(from);
        let options = LogOptions {
            since: from,
            tail: None,
            ..options.clone()
        };
        let lines = self.lines(container, options.request().follow(true));
        let news = move |line: &Result<LogLine>| match line {
            Ok(line) => options.wants(line) && !shown.take(line.at),
            Err(_) => true,
        };
        let mut news = news;
        let lines = lines.filter(move |line| future::ready(news(line)));
        log.noting(lines.boxed())
    }
}

/// What was shown of a container's log, noted by whatever reads it.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Shown>>);

impl Log {
    fn shown(&self) -> Shown {
        let shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shown.clone()
    }

    fn noting(&self, lines: Lines) -> Lines {
        let shown = Arc::clone(&self.0);
        let note = move |line: &Result<LogLine>| {
            if let Ok(line) = line {
                let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
                shown.add(line.at);
            }
        };
        lines.inspect(note).boxed()
    }
}

/// The logs of a project's containers being followed.
struct Following {
    engine: Engine,
    services: Vec<String>,
    options: LogOptions,
    merge: Merge,
    starts: BoxStream<'static, Result<String>>,
    /// By container id.
    logs: HashMap<String, Followed>,
}

struct Followed {
    log: Log,
    /// Whether `merge` has it.
    open: bool,
    /// Its container was started while it was open: what is open may be the log of the run before.
    again: bool,
}

impl Following {
    async fn next(&mut self) -> Result<LogLine> {
        loop {
            tokio::select! {
                Some(merged) = self.merge.next(), if !self.merge.is_empty() => match merged {
                    Merged::Line(line) => return line,
                    Merged::Ended(id) => self.ended(&id).await?,
                },
                started = self.starts.next() => match started {
                    Some(id) => self.started(&id?).await?,
                    None => return Err(Error::new(Kind::Unreachable, "Docker tells nothing more")),
                },
            }
        }
    }

    /// Reads a container's log for the first time, from its last lines or its beginning on.
    fn begin(&mut self, container: &Container, tail: bool) {
        let log = Log::default();
        let mut options = self.options.clone();
        options.tail = options.tail.filter(|_| tail);
        let lines = match options.own_tail() {
            None => {
                let lines = self.engine.lines(container, options.request().follow(true));
                log.noting(options.narrow(lines))
            }
            Some(count) => {
                let stored = self.engine.lines(container, options.request());
                let stored = last(log.noting(options.narrow(stored)), count);
                let (engine, container, log) =
                    (self.engine.clone(), container.clone(), log.clone());
                let from = container.run_began();
                let go_on = async move { engine.read_on(&container, &options, &log, from) };
                stored.chain(stream::once(go_on).flatten()).boxed()
            }
        };
        self.merge.add(container.id.clone(), lines);
        let followed = Followed {
            log,
            open: true,
            again: false,
        };
        self.logs.insert(container.id.clone(), followed);
    }

    async fn started(&mut self, id: &str) -> Result<()> {
        match self.logs.get_mut(id) {
            Some(followed) if followed.open => followed.again = true,
            Some(_) => self.reopen(id).await?,
            None => {
                if let Some(container) = self.engine.inspect(id).await?
                    && self.concerns(&container)
                {
                    self.begin(&container, false);
                }
            }
        }
        Ok(())
    }

    fn concerns(&self, container: &Container) -> bool {
        let one_off = container.labels.get(labels::ONEOFF);
        let named = self.services.is_empty() || self.services.contains(&container.service);
        named && one_off.is_none_or(|v| v != "True")
    }

    /// A log ends with its container's run; the next one begins with a start.
    async fn ended(&mut self, id: &str) -> Result<()> {
        let Some(followed) = self.logs.get_mut(id) else {
            return Ok(());
        };
        followed.open = false;
        if followed.again {
            return self.reopen(id).await;
        }
        tokio::time::sleep(SETTLES).await;
        match self.engine.inspect(id).await? {
            Some(now) if matches!(now.state, State::Running | State::Paused) => {
                self.reopen(id).await
            }
            Some(_) => Ok(()),
            None => {
                self.logs.remove(id);
                Ok(())
            }
        }
    }

    async fn reopen(&mut self, id: &str) -> Result<()> {
        let Some(container) = self.engine.inspect(id).await? else {
            self.logs.remove(id);
            return Ok(());
        };
        if let Some(followed) = self.logs.get_mut(id) {
            (followed.open, followed.again) = (true, false);
            let from = container.run_began();
            let lines = self
                .engine
                .read_on(&container, &self.options, &followed.log, from);
            self.merge.add(id.to_owned(), lines);
        }
        Ok(())
    }
}
