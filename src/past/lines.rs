//! What the services have logged of a payment, in every replica, before restarts and rotations.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::StreamExt;

use super::{Progress, Sighting, Tell, search::Window};
use crate::{
    engine::{Engine, Filter, LogOptions, observed::Container},
    error::{Error, Result},
    pipeline::Pipeline,
    probe::{self, expected::Step, hop::Place},
};

/// A service may have logged that long before the first row was committed.
const MARGIN: TimeDelta = TimeDelta::minutes(10);

/// What the logs tell.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// By step, in the order of time.
    pub(super) seen: BTreeMap<usize, Vec<Sighting>>,
    /// The containers that were looked at.
    pub(super) containers: Vec<Container>,
    /// From when on the logs of a service are whole; none of a service that has no container.
    pub(super) whole_since: BTreeMap<String, DateTime<Utc>>,
    /// Older lines were not looked at.
    pub(super) since: Option<DateTime<Utc>>,
    /// The deadline passed before all was read.
    pub(super) late: bool,
}

/// Reads the logs of all services whose lines are hops.
///
/// # Errors
/// Docker does not answer.
pub(super) async fn look(
    pipeline: &Pipeline,
    engine: &Result<Engine>,
    steps: &[Step],
    id: &str,
    (since, near): (Option<DateTime<Utc>>, Option<Window>),
    deadline: Instant,
    tell: &Tell,
) -> Result<Lines, String> {
    let text = |error: &Error| error.to_string();
    let engine = engine.as_ref().map_err(text)?;
    let containers = engine.containers(&pipeline.project).await;
    let mut lines = Lines {
        containers: containers.map_err(|e| text(&e))?,
        // The rows tell about when it was; so does whoever asks.
        since: since.max(near.map(|(first, _)| first - MARGIN)),
        ..Lines::default()
    };
    let logs = |container: &&Container| {
        let of = |step: &Step| matches!(&step.place, Place::Log { service, .. } if *service == container.service);
        steps.iter().any(of)
    };
    let containers: Vec<_> = lines.containers.iter().filter(logs).cloned().collect();
    let wanted = id.to_owned();
    let options = LogOptions {
        since: lines.since,
        filter: Some(Filter(Arc::new(move |text: &str| text.contains(&wanted)))),
        ..LogOptions::default()
    };
    let mut logs = engine.logs(&containers, &options);
    let mut count = 0;
    loop {
        let line = match tokio::time::timeout_at(deadline.into(), logs.next()).await {
            Ok(Some(line)) => line.map_err(|e| text(&e))?,
            Ok(None) => break,
            Err(_) => {
                lines.late = true;
                break;
            }
        };
        if let Some(step) = probe::stage(steps, id, &line) {
            count += 1;
            tell(Progress::Lines(count));
            lines.seen.entry(step).or_default().push(Sighting {
                at: Some(line.at),
                detail: line.container.to_string(),
            });
        }
    }
    let mut cut = BTreeMap::new();
    if !lines.late {
        cut.extend(engine.cut_off(&logs).await.map_err(|e| text(&e))?);
    }
    for container in &containers {
        let begins = container.created_at.max(cut.get(&container.name).copied());
        if let Some(begins) = begins {
            let whole = lines.whole_since.entry(container.service.clone());
            let whole = whole.or_insert(begins);
            *whole = begins.max(*whole);
        }
    }
    Ok(lines)
}
