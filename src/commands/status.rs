mod projects;
mod services;

use std::time::Duration;

use super::{Verdict, groups, up};
use crate::{
    context::Context,
    flags::{Format, StatusFormat},
    output::{Paint, listing, status as output},
};
use declaration::{Pipeline, find_service, units};
use diagnostics::Result;
use kafka::Kafka;
use platform::{Container, State};
use services::Lags;

/// Show what runs: state, health, restarts, lag and addresses of each service
///
/// What is wrong comes first; the replicas of a service are one line. `-o wide` has a line for each container,
/// with its image and its IP addresses.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these services, or parts of their names
    #[arg(value_name = "SERVICE", conflicts_with = "all")]
    pub(crate) services: Vec<String>,
    /// Show every project of the engine instead
    ///
    /// It needs no declaration.
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Exit with 1 if a service is not as it should be
    #[arg(long, conflicts_with = "all")]
    exit_code: bool,
    /// table (default), wide or json; also --json
    #[arg(short, long, value_name = "FORMAT", env = "CARAVAN_OUTPUT")]
    #[arg(value_enum, default_value_t)]
    pub(crate) output: StatusFormat,
}

impl Args {
    fn verdict(&self, lines: &[services::Line<'_>]) -> Verdict {
        match self.exit_code && services::summary(lines).wrong > 0 {
            true => Verdict::NotRight,
            false => Verdict::Right,
        }
    }
}

/// Kafka answers within this time, or the lag is unknown.
const LAG_TIMEOUT: Duration = Duration::from_millis(300);

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Verdict> {
    if args.all {
        let format = match args.output {
            StatusFormat::Table | StatusFormat::Wide => Format::Table,
            StatusFormat::Json => Format::Json,
        };
        return projects::run(context, format).await;
    }
    let pipeline = context.deployed(context.resolve_without_secrets(context.source()?)?);
    let selected = args
        .services
        .iter()
        .map(|name| find_service(&pipeline, name));
    let selected = selected.collect::<Result<Vec<_>>>()?;
    let platform = context.platform().await?;
    let (containers, (lags, unknown)) = tokio::join!(
        platform.containers(&pipeline.project),
        lags(&pipeline, args.output)
    );
    let mut containers = containers?;
    let is_selected = |name: &str| selected.is_empty() || selected.iter().any(|s| s.name == name);
    containers.retain(|container| is_selected(&container.service));
    let mut shown = pipeline.clone();
    shown.services.retain(|service| is_selected(&service.name));
    let missing = missing(&shown, &containers);
    let mut lines = services::lines(&pipeline, &containers, &lags);
    lines.retain(|line| is_selected(line.service()));
    let console = &context.console;
    let table = match args.output {
        StatusFormat::Table => services::table(console, &lines),
        StatusFormat::Wide => services::wide(console, &lines),
        StatusFormat::Json => {
            let status = output::Status {
                origin: Some(up::origin(&pipeline)),
                services: lines.iter().map(services::Line::entry).collect(),
                containers: containers.iter().map(output::ContainerEntry::of).collect(),
                not_deployed: missing,
                projects: None,
            };
            output::report(console, services::summary(&lines), status);
            return Ok(args.verdict(&lines));
        }
    };
    let project = console.out(Paint::Strong, &pipeline.project);
    let verdict = services::verdict(&pipeline, &lines);
    let parts = [project, up::origin(&pipeline), verdict];
    let header = parts.join(&console.marks(" · "));
    let header = listing::paragraph(console, "", 2, &header);
    console.composed(&format!("{header}\n\n{table}"));
    let runs = containers.iter().any(|c| c.state == State::Running);
    if let Some(why) = unknown.filter(|_| runs) {
        // Unlike `status`, it runs in the pipeline's network if Kafka's address resolves only there.
        let groups = context.invocation.command("groups");
        let note = format!("lag unknown: {why}; see {groups}");
        console.composed(&format!("\n{}", listing::paragraph(console, "", 2, &note)));
    }
    if let Some(next) = services::next(&context.invocation, &lines) {
        console.next(&next);
    }
    Ok(args.verdict(&lines))
}

/// The lag of each service with a consumer group, and why it is unknown. Empty: the pipeline has no Kafka, or the
/// format does not show the lag.
async fn lags(pipeline: &Pipeline, format: StatusFormat) -> (Lags, Option<String>) {
    let Some(endpoint) = pipeline
        .kafka
        .as_ref()
        .filter(|_| format != StatusFormat::Wide)
    else {
        return (Lags::new(), None);
    };
    let listed = async {
        let kafka = Kafka::connect(&endpoint.address).await?;
        groups::list(pipeline, &kafka).await
    };
    let address = endpoint.address.as_str();
    let listed = match tokio::time::timeout(LAG_TIMEOUT, listed).await {
        Ok(Ok(listed)) => Ok(listed),
        Ok(Err(why)) => Err(why.to_string()),
        Err(_) => Err(format!(
            "no answer from {address} within {}",
            units::exact(LAG_TIMEOUT)
        )),
    };
    let services = pipeline.services.iter();
    let lags = services.filter_map(|service| {
        let group = service.group.as_ref()?;
        let lag = listed.as_ref().ok().map(|listed| {
            let own = listed.iter().filter(|listed| group.is(&listed.name));
            own.map(|listed| listed.lag).sum()
        });
        Some((service.name.clone(), lag))
    });
    (lags.collect(), listed.err())
}

/// Declared services without any container.
fn missing<'a>(pipeline: &'a Pipeline, containers: &[Container]) -> Vec<&'a str> {
    let deployed = |name: &str| containers.iter().any(|c| c.service == name);
    let names = pipeline.services.iter().map(|s| s.name.as_str());
    names.filter(|name| !deployed(name)).collect()
}
