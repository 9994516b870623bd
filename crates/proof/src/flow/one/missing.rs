//! The first hop that was not seen, with what its service was doing.

use futures_util::StreamExt;

use super::{Hop, Missing};
use crate::flow::Found;
use declaration::Pipeline;
use platform::{Container, LogOptions, Platform, State};

/// How many of the service's last log lines are evidence.
const LINES: usize = 10;

pub(super) async fn first(
    engine: &dyn Platform,
    pipeline: &Pipeline,
    hops: &[Hop],
) -> Option<Missing> {
    let hop = hops.iter().position(|hop| !hop.is_seen())?;
    let service = hops[hop].step.service.clone();
    let containers = engine.containers(&pipeline.project).await;
    let (mut state, last_log_lines) = match containers {
        Err(e) => (e.to_string(), Vec::new()),
        Ok(mut containers) => {
            containers.retain(|c| c.service == service);
            (describe(&containers), last_lines(engine, &containers).await)
        }
    };
    if let Found::Missing(Some(note)) = &hops[hop].found {
        state.push_str(&format!("; seen instead: {note}"));
    }
    Some(Missing {
        hop,
        service,
        state,
        last_log_lines,
    })
}

/// `running, healthy`; several replicas with their names.
pub(in crate::flow) fn describe(containers: &[Container]) -> String {
    let one = |c: &Container| {
        let health = c.health.as_ref().filter(|_| c.state == State::Running);
        match (health, c.exit_code) {
            (Some(health), _) => format!("{}, {}", c.state.name(), health.status),
            (None, Some(code)) if c.state == State::Exited => format!("exited ({code})"),
            (None, _) => c.state.name().to_owned(),
        }
    };
    match containers {
        [] => "not deployed".to_owned(),
        [container] => one(container),
        several => {
            let each = several.iter().map(|c| format!("{}: {}", c.name, one(c)));
            each.collect::<Vec<_>>().join("; ")
        }
    }
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
