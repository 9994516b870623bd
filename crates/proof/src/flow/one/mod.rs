//! One test message, watched at every hop while it passes.
//!
//! In the order in which data passes: [`run`] sends the message; `watch` reads topics, logs, tables
//! and keys, and reports sightings to `seen`, which also waits until all events of the message are
//! consumed.

mod seen;
mod watch;

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use super::{
    Cleanup, Completion, Hop, Missing, Options, Progress, Sighting,
    missing::Known,
    run::{Run, TestMessage, interrupted},
    sources::{Keys, postgres_address, unreachable},
    template::Values,
};
use crate::stores::{StoreError, postgres::Postgres};
use declaration::Pipeline;
use diagnostics::{Error, Kind, Result};
use kafka::{offsets::Offsets, tail::Tail};
use platform::{Container, LogOptions, Platform};
use seen::SeenHops;
pub(super) use watch::stage;

/// How many of the service's last log lines are evidence.
const LINES: usize = 10;

/// Expiry of the test's keys after the timeout, in case the process dies before it deletes them.
const KEYS_OUTLIVE: Duration = Duration::from_secs(60);

/// The result of following one test message.
#[derive(Debug)]
pub struct Report {
    /// Its correlation id.
    pub correlation_id: String,
    /// When the message was sent, by the local clock.
    pub began: DateTime<Utc>,
    /// Whether the first event was produced instead of the request to the entry service.
    pub direct: bool,
    /// All expected hops, in the expected order.
    pub hops: Vec<Hop>,
    /// From the request to the last hop that was seen, or the deadline.
    pub took: Duration,
    /// The first hop that was not seen.
    pub missing: Option<Missing>,
    /// Log lines of its service since the container's last start, oldest first.
    pub last_log_lines: Vec<String>,
    /// How the run ended.
    pub completion: Completion,
}

impl Report {
    /// Topics whose records have a wrong time, a line each.
    pub fn misdated(&self) -> Vec<String> {
        super::steps::misdated(&self.hops, (self.began, self.began + self.took))
    }

    /// Whether every hop was seen, and the run ended as it should.
    pub fn is_right(&self) -> bool {
        self.missing.is_none() && self.completion.is_right()
    }
}

/// Sends one message and follows it.
///
/// # Errors
/// `Usage`: the declaration has no flow, or no event for `direct`. `Unreachable`: Docker, Kafka,
/// Postgres, Redis or the entry service do not answer. `NotRight`: the entry service refuses the
/// message. `Interrupted`: the error says whether the rows were deleted. A missing hop is not an
/// error; [`Report::missing`] has it.
pub async fn run(
    pipeline: &Pipeline,
    engine: &dyn Platform,
    options: Options,
    cancel: CancellationToken,
    progress: UnboundedSender<Progress>,
) -> Result<Report> {
    let run = Run::open(pipeline, options, cancel, progress).await?;
    let values = Values::draw(&run.flow.values);
    let watched = Watched::open(&run, engine, &values).await?;
    let sent = match run.cancel.is_cancelled() {
        true => Err(Error::new(
            Kind::Interrupted,
            "interrupted before anything was sent",
        )),
        // Not cancellable: without its correlation id, the message could not be cleaned up.
        false => {
            let began = Moment::now();
            run.sender.send(&values).await.map(|sent| (sent, began))
        }
    };
    let (accepted, began) = match sent {
        Ok(sent) => sent,
        Err(error) => {
            let left = watched.delete_keys().await.err();
            return Err(left.into_iter().fold(error, Error::because));
        }
    };
    let mut seen = SeenHops::new(&run.steps, began);
    if let Some(answer) = accepted.answer {
        seen.entered(answer);
    }
    let id = accepted.correlation_id;
    let messages = [TestMessage {
        id: id.as_str().into(),
        due: began.at.timestamp_micros(),
        accepted: Utc::now().timestamp_micros(),
    }];

    let (sender, mut observations) = tokio::sync::mpsc::unbounded_channel();
    let message = watch::Message {
        run: &run,
        began,
        id: &id,
    };
    let mut watching = Box::pin(watch::all(message, engine, &watched, sender));
    let deadline = began.instant + options.timeout;
    run.report(seen.progress());
    tokio::select! {
        () = watching.as_mut() => {}
        () = seen.fill(&mut observations, deadline, |progress| run.report(progress)) => {}
        () = run.cancel.cancelled() => {}
    }
    seen.drain(&mut observations);
    seen.close();
    let took = seen.took(deadline);
    let mut pending = match options.keep && run.cancel.is_cancelled() {
        true => None,
        false => {
            run.report(Progress::Settling);
            let watching = &mut watching;
            seen.settle(&run, watching, &mut observations, deadline)
                .await
        }
    };
    let complete = pending.is_none() && seen.is_complete();
    let redelivery = run.again(&messages, &watched.from, complete).await;
    if redelivery.is_some() && pending.is_none() {
        // The copies are events of the message, too.
        let deadline = Instant::now() + options.timeout;
        let watching = &mut watching;
        pending = seen
            .settle(&run, watching, &mut observations, deadline)
            .await;
    }
    drop(watching);
    let keys = watched.delete_keys().await;
    let cleanup = match (run.clean(&messages, pending.clone()).await, keys) {
        (cleanup @ (Cleanup::Failed(_) | Cleanup::Left(_)), _) | (cleanup, Ok(())) => cleanup,
        (_, Err(why)) => Cleanup::Failed(format!("its keys are not deleted: {why}")),
    };
    if run.cancel.is_cancelled() {
        let what = format!("{} {id}, {}", run.flow.noun.one(), seen.summary());
        return Err(interrupted(what, &cleanup));
    }
    let (missing, last_log_lines) = first_missing(&run, engine, &seen).await;
    let hops = seen.into_hops();
    Ok(Report {
        missing,
        last_log_lines,
        correlation_id: id,
        began: began.at,
        direct: run.options.direct,
        hops,
        took,
        completion: run.completion(pending, redelivery, cleanup),
    })
}

/// The first hop that was not seen, and the last log lines of its service.
async fn first_missing(
    run: &Run<'_>,
    engine: &dyn Platform,
    seen: &SeenHops,
) -> (Option<Missing>, Vec<String>) {
    let Some(hop) = seen.first_missing() else {
        return (None, Vec::new());
    };
    let listed = engine.containers(&run.pipeline.project).await;
    let known = Known {
        pipeline: run.pipeline,
        steps: &run.steps,
        events: run
            .steps
            .iter()
            .map(|step| seen.first_event(step))
            .collect(),
        dead_letters: &[],
        containers: listed.as_deref().ok(),
        kafka: run.topics.as_ref().map(|topics| &topics.kafka),
    };
    let (mut missing, unknown) = known.explain(hop).await;
    missing.why.extend(unknown.map(|why| why.to_string()));
    let mut containers = match listed {
        Ok(containers) => containers,
        Err(why) => {
            missing.why.push(why.to_string());
            Vec::new()
        }
    };
    containers.retain(|container| container.service == missing.service);
    let lines = last_lines(engine, &containers).await;
    (Some(missing), lines)
}

async fn last_lines(engine: &dyn Platform, containers: &[Container]) -> Vec<String> {
    let options = LogOptions {
        tail: Some(LINES),
        since: containers.iter().filter_map(Container::run_began).min(),
        ..LogOptions::default()
    };
    let lines = engine.logs(containers, &options);
    let lines: Vec<String> = lines
        .map(|line| line.map_or_else(|e| e.to_string(), |line| line.text))
        .collect()
        .await;
    lines[lines.len().saturating_sub(LINES)..].to_vec()
}

/// What is watched of one message besides [`Run`]'s topics and tables.
struct Watched {
    /// Reads the topics of the flow from where they ended before the message was sent.
    tail: Option<Tail>,
    /// Where they ended.
    from: Offsets,
    /// A connection that only reads; the one that deletes rows is [`Run::tables`]'.
    postgres: Option<Postgres>,
    keys: Option<Keys>,
    /// Containers of the services whose log stages are expected.
    containers: Vec<Container>,
}

impl Watched {
    async fn open(run: &Run<'_>, engine: &dyn Platform, values: &Values) -> Result<Self> {
        let pipeline = run.pipeline;
        let tail = async {
            let Some(topics) = run.topics.as_ref().filter(|t| !t.partitions.is_empty()) else {
                return Ok((None, Offsets::new()));
            };
            let opening = async {
                let from = topics.ends().await?;
                let tail = topics.kafka.tail(topics.partitions.clone()).await?;
                Ok((Some(tail), from))
            };
            let opened: Result<_, kafka::Error> = opening.await;
            opened.map_err(|why| unreachable(pipeline, why))
        };
        let postgres = async {
            if run.tables.is_none() {
                return Ok(None);
            }
            let postgres = Postgres::connect(postgres_address(pipeline)?).await;
            let postgres = postgres.map_err(|why| unreachable(pipeline, why))?;
            Ok(Some(postgres))
        };
        let expiry = run.options.timeout + KEYS_OUTLIVE;
        let ((tail, from), postgres, keys, mut containers) = tokio::try_join!(
            tail,
            postgres,
            Keys::set(pipeline, run.flow, values, expiry),
            engine.containers(&pipeline.project),
        )?;
        containers.retain(|c| run.steps.iter().any(|step| step.is_log_of(&c.service)));
        Ok(Self {
            tail,
            from,
            postgres,
            keys,
            containers,
        })
    }

    async fn delete_keys(&self) -> Result<(), StoreError> {
        match &self.keys {
            Some(keys) => keys.delete().await,
            None => Ok(()),
        }
    }
}

/// When the message was sent, by both clocks.
#[derive(Debug, Clone, Copy)]
struct Moment {
    at: DateTime<Utc>,
    instant: Instant,
}

impl Moment {
    fn now() -> Self {
        Self {
            at: Utc::now(),
            instant: Instant::now(),
        }
    }

    /// Seen at `at`, by the clock of its source.
    fn seen_at(self, at: DateTime<Utc>, detail: String) -> Sighting {
        Sighting {
            at: Some(at),
            // The clock of another machine may be behind.
            after: Some((at - self.at).to_std().unwrap_or_default()),
            detail,
        }
    }

    /// Seen just now.
    fn seen_now(self, detail: String) -> Sighting {
        Sighting {
            at: Some(Utc::now()),
            after: Some(self.instant.elapsed()),
            detail,
        }
    }
}
