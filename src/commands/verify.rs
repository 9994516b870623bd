use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use indicatif::ProgressBar;
use serde_json::json;

use super::{Verdict, up};
use crate::{
    context::Context,
    flags::{ReportArgs, ReportFormat},
    output::{
        listing::{self, Column},
        report::{self, Report},
    },
};
use declaration::{NO_LIMIT, Pipeline};
use diagnostics::{Error, Kind, Result};
use platform::Platform;
use proof::checks::{
    self, Check, CheckId, Selection,
    finding::{Finding, Status},
};

/// Prove that every part of the pipeline works
///
/// Check ids are stable: `layer.subject.aspect`. A check is skipped if a check that it needs did
/// not pass. A failure that another failure explains names it as its cause. docs/faults.md lists
/// which fault fails which checks.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run only the checks of these layers or services, or these checks; as --only
    #[arg(value_name = "LAYER|SERVICE|CHECK")]
    checks: Vec<String>,
    /// Run only these checks: ids, prefixes of ids (`groups`, `groups.billing`), globs (`*.lag`),
    /// services or what they are about (`lag`)
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
    /// Repeat the checks until Ctrl-C: one screen on a terminal, else a line for each change
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// Show each check, not only the layers and what did not pass
    #[arg(short, long, conflicts_with = "list")]
    all: bool,
    /// List the checks that would run, and run none
    #[arg(long, conflicts_with_all = ["watch", "wait"])]
    pub(crate) list: bool,
    /// How far back the rules over the database look, as a duration or `all`, instead of their
    /// declared `within`; each rule may then take minutes
    #[arg(long, value_name = "DURATION", value_parser = span)]
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
/// At most this many changes are shown below the screen of `--watch`.
const CHANGES: usize = 3;

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Verdict> {
    if args.list {
        return list(context, args);
    }
    let mut pipeline = context.pipeline()?;
    if let Some(since) = args.since {
        look_back(&mut pipeline, since);
    }
    let selection = select(context, args, &checks::plan(&pipeline))?;
    let platform = context.platform().await?;
    let origin = up::origin(&pipeline);
    let verify = Verify {
        context,
        args,
        pipeline: &pipeline,
        origin: &origin,
        platform: platform.as_ref(),
        selection,
    };
    if args.watch {
        return verify.watch().await;
    }
    verify.until_right().await
}

/// The selection of the command line.
fn select(context: &Context, args: &Args, plan: &[Check<'_>]) -> Result<Selection> {
    let only: Vec<_> = args.only.iter().chain(&args.checks).cloned().collect();
    Selection::new(plan, &only, &args.skip)
        .map_err(|error| error.hint(context.invocation.command("verify --list")))
}

/// Shows the checks that would run. Needs neither Docker nor secrets.
fn list(context: &Context, args: &Args) -> Result<Verdict> {
    let pipeline = context.resolve_without_secrets(context.source()?)?;
    let plan = checks::plan(&pipeline);
    let selection = select(context, args, &plan)?;
    let selected = plan.iter().filter(|check| selection.selects(&check.id));
    match args.output.output {
        ReportFormat::Table => {
            let columns = [Column::name("CHECK"), Column::text("EXPECTED")];
            let rows = selected.map(|check| vec![check.id.to_string(), check.expected.clone()]);
            let table = listing::table(&context.console, &columns, rows.collect());
            context.console.composed(&table);
        }
        ReportFormat::Plain => {
            let ids: Vec<_> = selected.map(|check| check.id.to_string()).collect();
            context.console.composed(&ids.join("\n"));
        }
        ReportFormat::Json => {
            let checks = selected.map(|check| {
                json!({
                    "id": check.id.to_string(),
                    "layer": check.id.layer(),
                    "severity": check.severity,
                    "expected": check.expected,
                })
            });
            let checks: Vec<_> = checks.collect();
            let document = json!({ "project": pipeline.project, "checks": checks });
            context.console.document(&document);
        }
        ReportFormat::Ndjson | ReportFormat::Junit => {
            let what = "--list has no results, which this format is for";
            let error = Error::new(Kind::Usage, what);
            return Err(error.hint(context.invocation.command("verify --list -o json")));
        }
    }
    Ok(Verdict::Right)
}

fn span(text: &str) -> std::result::Result<Duration, String> {
    match text {
        "all" => Ok(NO_LIMIT),
        _ => humantime::parse_duration(text).map_err(|e| format!("{e}; or `all`")),
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
    /// The origin of the pipeline, in words.
    origin: &'a str,
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
        spinner: &ProgressBar,
    ) -> Result<Vec<Finding>> {
        let (pipeline, invocation) = (self.pipeline, &self.context.invocation);
        let plan = checks::plan(pipeline);
        let planned = plan.iter().map(|check| &check.id);
        let mut pending: Vec<_> = planned.filter(|id| self.selection.selects(id)).collect();
        let tell_changes = |finding: &Finding| {
            pending.retain(|id| **id != finding.id);
            if let [first, others @ ..] = pending.as_slice() {
                spinner.set_message(format!("{first} and {} more", others.len()));
            }
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
            origin: self.origin,
            findings,
            took,
            strict: self.args.strict,
            all: self.args.all,
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
            let findings = self.look(&mut known, tell, &spinner).await?;
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
            console.next(&self.context.invocation.command("test-flow"));
        }
        Ok(match (right, deadline) {
            (true, _) => Verdict::Right,
            (false, None) => Verdict::NotRight,
            (false, Some(_)) => Verdict::Late,
        })
    }

    /// Until stdout takes no more: one screen that is redrawn on a terminal, else a line for each change.
    async fn watch(&self) -> Result<Verdict> {
        let (console, format) = (&self.context.console, self.args.output.output);
        if matches!(format, ReportFormat::Json | ReportFormat::Junit) {
            let what = "--watch does not end, and this format is a single document";
            let error = Error::new(Kind::Usage, what);
            return Err(error.hint(self.context.invocation.command("verify --watch -o ndjson")));
        }
        let redraws = format == ReportFormat::Table && console.redraws();
        let (mut known, mut statuses) = (Known::new(), BTreeMap::new());
        let mut changes = Vec::new();
        let spinner = ProgressBar::hidden();
        for look in 0.. {
            let began = Instant::now();
            let tell = |finding: &Finding| report::show_finding(console, finding, format);
            let findings = self.look(&mut known, tell, &spinner).await?;
            let report = self.report(&findings, began.elapsed());
            let new = changed(&mut statuses, &findings);
            let mut lines: Vec<_> = new.map(|f| report::change(console, f)).collect();
            match format {
                ReportFormat::Ndjson => {}
                _ if redraws => {
                    // At first nothing has changed.
                    changes.extend(lines.into_iter().filter(|_| look > 0));
                    changes.drain(..changes.len().saturating_sub(CHANGES));
                    console.redraw(&report::screen(console, report, &changes), look == 0);
                }
                _ => {
                    if look == 0 || !lines.is_empty() {
                        lines.push(report::verdict(console, report));
                    }
                    lines.iter().for_each(|line| console.composed(line));
                }
            }
            if console.is_stdout_gone() {
                break;
            }
            tokio::time::sleep(WATCH_PAUSE).await;
        }
        Ok(Verdict::Right)
    }
}

/// The findings whose status differs from the last one; of those that are new, the ones that did not pass.
/// What is skipped follows from another, which is among them.
fn changed<'a>(
    statuses: &mut BTreeMap<CheckId, Status>,
    findings: &'a [Finding],
) -> impl Iterator<Item = &'a Finding> {
    let is_told = |status: Status| matches!(status, Status::Warn | Status::Fail);
    findings.iter().filter(move |finding| {
        let (id, now) = (finding.id.clone(), finding.status);
        match statuses.insert(id, now) {
            Some(before) => now != before && (is_told(before) || is_told(now)),
            None => is_told(now),
        }
    })
}

/// The root causes of the failures that remain.
fn waits_for(findings: &[Finding]) -> String {
    let roots = findings
        .iter()
        .filter(|f| f.status == Status::Fail && f.cause.is_none());
    let ids: Vec<_> = roots.map(|f| f.id.to_string()).collect();
    format!("not right yet: {}", ids.join(", "))
}
