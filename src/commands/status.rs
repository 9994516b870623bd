mod projects;

use chrono::Utc;
use serde_json::{Value, json};

use super::{Verdict, up};
use crate::{
    context::Context,
    flags::{Format, OutputArgs},
    output::listing,
};
use declaration::Pipeline;
use diagnostics::Result;
use platform::Container;

/// Show each service's containers: state, health, restarts, addresses
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Show every project of the engine instead; needs no declaration
    #[arg(short, long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Verdict> {
    if args.all {
        return projects::run(context, args.output.output).await;
    }
    let pipeline = context.pipeline()?;
    let platform = context.platform().await?;
    let containers = platform.containers(&pipeline.project).await?;
    match args.output.output {
        Format::Table => {
            up::introduce(context, &pipeline);
            let header = [
                "SERVICE",
                "CONTAINER",
                "STATE",
                "HEALTH",
                "RESTARTS",
                "SINCE",
                "PORTS",
            ];
            let rows = rows(&pipeline, &containers);
            let table = listing::table(&context.console, &header, rows);
            context.console.composed(&table);
        }
        Format::Json => {
            let document = json!({
                "project": pipeline.project,
                "origin": up::origin(&pipeline),
                "containers": containers.iter().map(value).collect::<Vec<_>>(),
                "notDeployed": missing(&pipeline, &containers),
            });
            context.console.document(&document);
        }
    }
    Ok(Verdict::Right)
}

/// Declared services without any container.
fn missing<'a>(pipeline: &'a Pipeline, containers: &[Container]) -> Vec<&'a str> {
    let deployed = |name: &str| containers.iter().any(|c| c.service == name);
    let names = pipeline.services.iter().map(|s| s.name.as_str());
    names.filter(|name| !deployed(name)).collect()
}

/// The services in declared order, also those that are not deployed; then the containers of undeclared
/// services.
fn rows(pipeline: &Pipeline, containers: &[Container]) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for service in &pipeline.services {
        let mut replicas: Vec<_> = containers
            .iter()
            .filter(|c| c.service == service.name)
            .collect();
        replicas.sort_by_key(|c| c.replica);
        if replicas.is_empty() {
            let name = service.name.clone();
            rows.push(vec![name, "-".to_owned(), "not deployed".to_owned()]);
        }
        rows.extend(replicas.into_iter().map(row));
    }
    let orphans = containers
        .iter()
        .filter(|c| pipeline.service(&c.service).is_none());
    rows.extend(orphans.map(row));
    for row in &mut rows {
        row.resize(7, String::new());
    }
    rows
}

fn row(container: &Container) -> Vec<String> {
    let state = match container.exit_code {
        Some(code) => format!("{} ({code})", container.state.name()),
        None => container.state.name().to_owned(),
    };
    let at = container.finished_at.filter(|_| !container.has_processes());
    let since = at.or(container.started_at).map(ago).unwrap_or_default();
    vec![
        container.service.clone(),
        container.name.clone(),
        state,
        health(container).unwrap_or_default().to_owned(),
        container.restart_count.to_string(),
        since,
        container.ports.join(", "),
    ]
}

fn health(container: &Container) -> Option<&str> {
    container.health.as_ref().map(|h| h.status.as_str())
}

/// The age of a time by this host's clock, such as `12 s ago`.
fn ago(at: chrono::DateTime<Utc>) -> String {
    let passed = (Utc::now() - at).to_std().unwrap_or_default();
    let seconds = passed.as_secs();
    match seconds {
        0..120 => format!("{seconds} s ago"),
        120..7200 => format!("{} m ago", seconds / 60),
        7200..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

fn value(container: &Container) -> Value {
    json!({
        "service": container.service,
        "container": container.name,
        "id": container.id,
        "replica": container.replica,
        "state": container.state.name(),
        "health": health(container),
        "exitCode": container.exit_code,
        "oomKilled": container.oom_killed,
        "restarts": container.restart_count,
        "startedAt": container.started_at,
        "finishedAt": container.finished_at,
        "imageId": container.image_id,
        "ports": container.ports,
    })
}
