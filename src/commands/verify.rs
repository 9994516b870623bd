use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use chrono::{Local, Utc};

use super::Verdict;
use crate::{
    context::Context,
    flags::{ReportArgs, ReportFormat},
    output::report::{self, Report},
    when,
};
use declaration::{NO_LIMIT, Pipeline};
use diagnostics::{Error, Kind, Result};
use platform::Platform;
use proof::checks::{
    self, CheckId, Selection,
    finding::{Finding, Status},
};

/// Prove that every part of the pipeline works
///
/// Check ids are stable: `layer.subject.aspect`. A check is skipped if a check that it needs did
/// not pass. A failure that another failure explains names it as its cause. docs/faults.md lists
/// which fault fails which checks.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run only these checks: ids, prefixes of ids (`groups`, `groups.billing`) or globs (`*.lag`)
    #[arg(long, value_name = "CHECK", value_delimiter = ',')]
    only: Vec<String>,
    /// Skip these checks; one that a selected check needs still runs, and is shown only if it fails
    #[arg(long, value_name = "CHECK", value_delimiter = ',')]
    skip: Vec<String>,
    /// Repeat the checks until all pass, for at most this long; then exit code 4
    #[arg(
        long,
        value_name = "DURATION",
        env = "CARAVAN_WAIT",
        conflicts_with = "watch"
    )]
    #[arg(value_parser = humantime::parse_duration)]
    wait: Option<Duration>,
    /// Repeat the checks and show what changes, until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// How far back the rules over the database look: a duration (`30d`), a time, as in `logs`, or `all`,
    /// instead of their declared `within`; each rule may then take minutes
    #[arg(long, value_name = "WHEN", value_parser = span)]
    since: Option<Duration>,
    /// Warnings count as failures
    #[arg(long, env = "CARAVAN_STRICT")]
    strict: bool,
    #[command(flatten)]
    pub(crate) output: ReportArgs,
}

/// Interval between two runs of the checks, with `--wait` and `--watch`.
const PAUSE: Duration = Duration::from_millis(500);
/// Timeout of a rule with `--since`, which reads more than its declaration says.
const FURTHER: Duration = Duration::from_secs(300);
const WATCH_PAUSE: Duration = Duration::from_secs(2);

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Verdict> {
    let mut pipeline = context.pipeline()?;
    if let Some(since) = args.since {
        look_back(&mut pipeline, since);
    }
    let selection = Selection::new(&checks::plan(&pipeline), &args.only, &args.skip)?;
    let platform = context.platform().await?;
    let verify = Verify {
        context,
        args,
        pipeline: &pipeline,
        platform: platform.as_ref(),
        selection,
    };
    if args.watch {
        return verify.watch().await;
    }
    verify.until_right().await
}

fn span(text: &str) -> std::result::Result<Duration, String> {
    match text {
        "all" => Ok(NO_LIMIT),
        _ => when::parse(text)
            .map(|at| (Utc::now() - at).to_std().unwrap_or_default())
            .map_err(|e| format!("{e}; or `all`")),
    }
}

/// Sets the span and the timeout of all rules for `--since`.
fn look_back(pipeline: &mut Pipeline, since: Duration) {
    let bounded = pipeline.invariants.iter_mut();
    for rule in bounded.filter(|rule| rule.within.is_some()) {
        rule.within = Some(since);
        rule.timeout = FURTHER;
    }
}

struct Verify<'a> {
    context: &'a Context,
    args: &'a Args,
    pipeline: &'a Pipeline,
    platform: &'a dyn Platform,
    selection: Selection,
}

/// The last status of each check.
type Known = BTreeMap<CheckId, (Status, String)>;

impl Verify<'_> {
    /// Makes the checks once; tells of those that end otherwise than is known.
    async fn look(
        &self,
        known: &mut Known,
        mut tell: impl FnMut(&Finding),
    ) -> Result<Vec<Finding>> {
        let (pipeline, invocation) = (self.pipeline, &self.context.invocation);
        let tell_changes = |finding: &Finding| {
            let now = (finding.status, finding.seen.clone());
            if known.insert(finding.id.clone(), now.clone()) != Some(now) {
                tell(finding);
            }
        };
        let run = checks::run(
            pipeline,
            self.platform,
            invocation,
            &self.selection,
            tell_changes,
        );
        Box::pin(run).await
    }

    fn report<'a>(&'a self, findings: &'a [Finding], took: Duration) -> Report<'a> {
        Report {
            project: &self.pipeline.project,
            findings,
            took,
            strict: self.args.strict,
        }
    }

    /// Once, or until all is right.
    async fn until_right(&self) -> Result<Verdict> {
        let (console, format) = (&self.context.console, self.args.output.output);
        let began = Instant::now();
        let deadline = self.args.wait.map(|wait| began + wait);
        let spinner = console.spinner("verify");
        let mut known = Known::new();
        let (findings, right) = loop {
            let tell = |finding: &Finding| report::show_finding(console, finding, format);
            let findings = self.look(&mut known, tell).await?;
            let right = self.report(&findings, began.elapsed()).is_right();
            if right || deadline.is_none_or(|deadline| Instant::now() + PAUSE > deadline) {
                break (findings, right);
            }
            spinner.set_message(waits_for(&findings));
            tokio::time::sleep(PAUSE).await;
        };
        spinner.finish_and_clear();
        report::show(console, self.report(&findings, began.elapsed()), format);
        if format == ReportFormat::Table && right && self.pipeline.flow.is_some() {
            let next = self.context.invocation.command("test-flow");
            console.note(&format!("Next: {next}"));
        }
        Ok(match (right, deadline) {
            (true, _) => Verdict::Right,
            (false, None) => Verdict::NotRight,
            (false, Some(_)) => Verdict::Late,
        })
    }

    /// Until stdout takes no more: a table that is drawn again on a terminal, else a line for each change.
    async fn watch(&self) -> Result<Verdict> {
        let (console, format) = (&self.context.console, self.args.output.output);
        if matches!(format, ReportFormat::Json | ReportFormat::Junit) {
            let what = "--watch does not end, and this format is a single document";
            return Err(Error::new(Kind::Usage, what).hint("-o ndjson"));
        }
        let redraws = format == ReportFormat::Table && console.width().is_some();
        let mut known = Known::new();
        loop {
            let began = Instant::now();
            let tell = |finding: &Finding| match format {
                ReportFormat::Ndjson => report::show_finding(console, finding, format),
                _ if redraws => {}
                _ => {
                    let at = Local::now().format("%H:%M:%S");
                    console.composed(&format!("{at} {}", report::change(console, finding)));
                }
            };
            let findings = self.look(&mut known, tell).await?;
            if redraws {
                console.clear();
                report::show(console, self.report(&findings, began.elapsed()), format);
            }
            if console.is_stdout_gone() {
                return Ok(Verdict::Right);
            }
            tokio::time::sleep(WATCH_PAUSE).await;
        }
    }
}

/// The root causes of the failures that remain.
fn waits_for(findings: &[Finding]) -> String {
    let roots = findings
        .iter()
        .filter(|f| f.status == Status::Fail && f.cause.is_none());
    let ids: Vec<_> = roots.map(|f| f.id.to_string()).collect();
    format!("not right yet: {}", ids.join(", "))
}
