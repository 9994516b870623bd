//! JSON of the commands that change a project: `up`, `scale`, `restart` and `down`. All of them, and their dry
//! runs, write the same document.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Console,
    json::{Millis, Outcome},
    plan, word,
};
use crate::state::Chosen;
use platform::{Action, Planned, PortConflict, Preview, UpReport};

/// The counts of a change.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Summary {
    /// Services of `up` and `scale`; steps of `restart`, `down` and of a dry run.
    total: usize,
    /// Those of them that changed, or would change.
    changed: usize,
    /// Null: a dry run.
    took_ms: Option<Millis>,
}

/// What was done, or would be.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Change<'a> {
    /// Whether nothing was changed.
    dry_run: bool,
    /// The services of `up` and `scale`, once they are ready. Null: a dry run, `restart` or `down`.
    services: Option<Vec<Service<'a>>>,
    /// The steps of `restart`, `down` and of a dry run. Null: `up` or `scale`.
    steps: Option<Vec<Step<'a>>>,
    /// Images that are missing, of a dry run.
    images: Vec<&'a str>,
    /// Host ports that would be chosen because the default port is in use, of a dry run.
    ports: Vec<Port<'a>>,
    /// Host ports that are in use and cannot be replaced, of a dry run.
    taken: Vec<Taken<'a>>,
}

/// A service that is up.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Service<'a> {
    name: &'a str,
    /// `unchanged`, `created`, `recreated`, `started`, `completed`, `removed` or `restarted`.
    outcome: &'static str,
    took_ms: Millis,
    /// Its addresses on the host.
    addresses: &'a [String],
}

/// What is done to a container, network or volume.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Step<'a> {
    service: &'a str,
    container: &'a str,
    /// `create`, `recreate`, `start`, `unpause`, `restart`, `remove` or `keep`.
    action: &'static str,
    /// Why: for instance each key that drifted.
    causes: Vec<&'a str>,
}

/// A port chosen in place of a default port.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Port<'a> {
    service: &'a str,
    /// The variable that sets it.
    variable: &'a str,
    port: u16,
    /// The default port.
    instead_of: u16,
    /// What uses the default port.
    holder: &'a str,
}

/// A port that is in use.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Taken<'a> {
    service: &'a str,
    port: u16,
    /// What uses it.
    holder: &'a str,
}

fn steps<'a>(planned: &'a [Planned]) -> Vec<Step<'a>> {
    let step = |step: &'a Planned| {
        let Planned {
            service,
            container,
            action,
        } = step;
        Step {
            service,
            container,
            action: plan::word(action),
            causes: plan::causes(action),
        }
    };
    planned.iter().map(step).collect()
}

fn counts(planned: &[Planned], took: Option<Duration>) -> Summary {
    let changed = planned.iter().filter(|step| step.action != Action::Keep);
    Summary {
        total: planned.len(),
        changed: changed.count(),
        took_ms: Millis::of(took),
    }
}

/// Writes what would be done. `taken`: ports in use that cannot be replaced.
pub(super) fn preview<'a>(
    console: &Console,
    preview: &'a Preview,
    chosen: &'a [Chosen],
    taken: impl Iterator<Item = &'a PortConflict>,
) {
    let port = |chosen: &'a Chosen| Port {
        service: &chosen.service,
        variable: &chosen.variable,
        port: chosen.number,
        instead_of: chosen.instead_of,
        holder: &chosen.holder,
    };
    let conflict = |conflict: &'a PortConflict| Taken {
        service: &conflict.service,
        port: conflict.port,
        holder: &conflict.holder,
    };
    let images = preview.images.iter();
    let change = Change {
        dry_run: true,
        services: None,
        steps: Some(steps(&preview.steps)),
        images: images.map(|image| image.reference.as_str()).collect(),
        ports: chosen.iter().map(port).collect(),
        taken: taken.map(conflict).collect(),
    };
    let status = Outcome::doubtful(!change.taken.is_empty());
    console.report(status, counts(&preview.steps, None), change);
}

/// Writes what `restart` or `down` did.
pub(crate) fn done(console: &Console, planned: &[Planned], took: Duration) {
    let change = Change {
        steps: Some(steps(planned)),
        ..Change::default()
    };
    console.report(Outcome::Pass, counts(planned, Some(took)), change);
}

/// Writes what `up` or `scale` did.
pub(crate) fn up(console: &Console, report: &UpReport) {
    let services = report.services.iter().map(|service| Service {
        name: &service.name,
        outcome: word(service.outcome),
        took_ms: Millis(service.took),
        addresses: &service.addresses,
    });
    let changed = report
        .services
        .iter()
        .filter(|service| service.outcome != platform::Outcome::Kept);
    let summary = Summary {
        total: report.services.len(),
        changed: changed.count(),
        took_ms: Some(Millis(report.took)),
    };
    let change = Change {
        services: Some(services.collect()),
        ..Change::default()
    };
    console.report(Outcome::Pass, summary, change);
}
