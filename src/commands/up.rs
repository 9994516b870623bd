pub(super) mod refuse;

use std::{collections::BTreeMap, time::Duration};

use super::{Verdict, resolve_services};
use crate::{
    context::Context,
    flags::{Format, LockArgs, OutputArgs},
    output::{
        Paint, Progress, change,
        listing::{self, Column},
        plan,
    },
    state,
};
use declaration::{Origin, Pipeline, Source};
use diagnostics::{Result, quote};
use platform::{Goal, Platform, UpReport, with_dependencies};

/// Start the pipeline, or the named services and their dependencies
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Services, or parts of their names [default: all]
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
    /// Show what would be done and why, without doing it
    #[arg(long)]
    dry_run: bool,
    /// Remove containers that no service declares
    #[arg(long)]
    remove_orphans: bool,
    /// Recreate containers even if nothing changed
    ///
    /// Those of the named services, by default of all.
    #[arg(long)]
    force_recreate: bool,
    /// For the habits of `docker compose`: `up` always waits, and returns when all is ready
    #[arg(short, long, alias = "wait", hide = true)]
    detach: bool,
    /// For the habits of `docker compose`: `up` always builds what changed
    #[arg(long, hide = true)]
    build: bool,
    #[command(flatten)]
    lock: LockArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    /// Time until all is ready
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "15m",
        env = "CARAVAN_TIMEOUT"
    )]
    #[arg(value_parser = humantime::parse_duration)]
    timeout: Duration,
}

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Verdict> {
    let source = context.source()?;
    let volumes = source.volume_names()?;
    let platform = context.platform().await?;
    let platform = platform.as_ref();
    let existing = platform.existing_volumes(&volumes).await?;
    refuse::other_secrets(context, platform, source, &args.line()).await?;
    if args.dry_run {
        let pipeline = match state::secrets_to_generate(source, &existing)?.is_empty() {
            true => context.resolve(source)?,
            false => context.resolve_without_secrets(source)?,
        };
        introduce(context, &pipeline);
        let named = resolve_services(&pipeline, &args.services)?;
        let goal = args.goal(&pipeline, &named);
        refuse::other_password(context, source, &goal, &existing).await?;
        let chosen = preview_ports(platform, source, &args.services).await?;
        return preview(context, platform, &goal, &chosen, args.output.output).await;
    }
    let lock = state::lock(source, args.lock.wait_lock).await?;
    // Another `up` may have held the lock until now.
    source.reload()?;
    // Resolved before secrets are generated: host ports do not depend on them.
    let draft = source.resolve_without_secrets()?;
    let made = state::ensure_secrets(source, &existing)?;
    let (chosen, claims) = choose_ports(platform, source, &draft, &args.services).await?;
    let pipeline = context.resolve(source)?;
    let named = resolve_services(&pipeline, &args.services)?;
    let goal = args.goal(&pipeline, &named);
    refuse::other_password(context, source, &goal, &existing).await?;
    state::write_files(source, &pipeline)?;
    introduce(context, &pipeline);
    if !made.is_empty() {
        let path = source.env_path();
        context.console.note(&format!(
            "  generated {} in {}",
            made.join(", "),
            path.display()
        ));
    }
    for port in &chosen {
        let text = format!("  {}", choice(port, source));
        context.console.note(&text);
    }
    let report = bring_about(context, platform, &goal, args.timeout).await;
    drop(claims);
    drop(lock);
    summarise(context, &report?, args.output.output);
    Ok(Verdict::Right)
}

impl Args {
    /// The command line, as far as a hint repeats it.
    pub(crate) fn line(&self) -> String {
        let services = self.services.iter().map(|name| quote(name));
        std::iter::once("up".to_owned())
            .chain(services)
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn goal<'a>(&self, pipeline: &'a Pipeline, named: &'a [String]) -> Goal<'a> {
        Goal {
            pipeline,
            named,
            scale: BTreeMap::new(),
            remove_orphans: self.remove_orphans,
            recreate: self.force_recreate,
        }
    }
}

/// Shows the plan.
pub(super) async fn preview(
    context: &Context,
    platform: &dyn Platform,
    goal: &Goal<'_>,
    chosen: &[state::Chosen],
    format: Format,
) -> Result<Verdict> {
    let preview = platform.preview(goal, &context.invocation).await?;
    plan::show(&context.console, &preview, chosen, format);
    Ok(Verdict::Right)
}

/// Runs `up` and shows its progress.
pub(super) async fn bring_about(
    context: &Context,
    platform: &dyn Platform,
    goal: &Goal<'_>,
    deadline: Duration,
) -> Result<UpReport> {
    let progress = Progress::start(&context.console);
    let (events, cancel) = (progress.events(), context.cancel.clone());
    let up = platform.up(goal, &context.invocation, deadline, events, cancel);
    let report = up.await;
    progress.finish().await;
    report
}

/// Chooses free host ports for the services that start.
async fn choose_ports(
    platform: &dyn Platform,
    source: &Source,
    draft: &Pipeline,
    given: &[String],
) -> Result<(Vec<state::Chosen>, state::Claims)> {
    let services = publishing(draft, given)?;
    let used = platform.used_ports().await?;
    state::choose_ports(source, draft, &services, &used)
}

/// The ports that [`choose_ports`] would choose.
async fn preview_ports(
    platform: &dyn Platform,
    source: &Source,
    given: &[String],
) -> Result<Vec<state::Chosen>> {
    let draft = source.resolve_without_secrets()?;
    let services = publishing(&draft, given)?;
    let used = platform.used_ports().await?;
    state::preview_ports(source, &draft, &services, &used)
}

/// Names of the services that start, dependencies included.
fn publishing(pipeline: &Pipeline, given: &[String]) -> Result<Vec<String>> {
    let services = resolve_services(pipeline, given)?;
    let services = with_dependencies(pipeline, &services).into_iter();
    Ok(services.map(|s| s.name.clone()).collect())
}

/// A chosen port, in one line.
fn choice(chosen: &state::Chosen, source: &Source) -> String {
    let state::Chosen {
        variable,
        service,
        number,
        instead_of,
        holder,
    } = chosen;
    let path = source.ports_path().display();
    format!("{holder} has port {instead_of}: {service} gets {number} ({variable} in {path})")
}

/// Notes which pipeline this is, and from which file.
pub(super) fn introduce(context: &Context, pipeline: &Pipeline) {
    context.console.note(&format!(
        "{} from {}",
        context.console.err(Paint::Strong, &pipeline.project),
        origin(pipeline)
    ));
}

/// The declaration's origin in words.
pub(super) fn origin(pipeline: &Pipeline) -> String {
    match &pipeline.origin {
        Origin::Embedded => "shipped pipeline".to_owned(),
        Origin::Files(files) => {
            let directory = files.first().and_then(|first| first.parent());
            // Files beside the first one are shown by their names.
            let shown = files.iter().enumerate().map(|(n, file)| {
                let beside = directory.filter(|_| n > 0);
                let name = beside.and_then(|directory| file.strip_prefix(directory).ok());
                name.unwrap_or(file).display().to_string()
            });
            shown.collect::<Vec<_>>().join(", ")
        }
    }
}

pub(super) fn summarise(context: &Context, report: &UpReport, format: Format) {
    let console = &context.console;
    if format == Format::Json {
        change::up(console, report);
        return;
    }
    let rows: Vec<_> = report
        .services
        .iter()
        .map(|service| {
            vec![
                service.name.clone(),
                crate::output::word(service.outcome).to_owned(),
                listing::duration(service.took),
                service.addresses.join(", "),
            ]
        })
        .collect();
    let columns = [
        Column::name("SERVICE"),
        Column::name("OUTCOME"),
        Column::number("TOOK"),
        Column::names("ADDRESS"),
    ];
    console.composed(&listing::table(console, &columns, rows));
    let mut outcomes: BTreeMap<&str, usize> = BTreeMap::new();
    for service in &report.services {
        *outcomes
            .entry(crate::output::word(service.outcome))
            .or_default() += 1;
    }
    let outcomes: Vec<_> = outcomes.iter().map(|(o, n)| format!("{n} {o}")).collect();
    console.note(&format!(
        "\n{} up in {} ({})",
        listing::count(report.services.len(), "service"),
        listing::duration(report.took),
        outcomes.join(", "),
    ));
    console.next(&context.invocation.command("verify"));
}
