use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use chrono::Utc;

use super::{Verdict, up};
use crate::{
    context::Context,
    flags::{ReportArgs, ReportFormat},
    output::{
        Spinner,
        listing::{self, Column},
        report::{self, Report},
    },
    when,
};
use declaration::{Budget, NO_LIMIT, Pipeline};
use diagnostics::{Error, Kind, Result};
use platform::Platform;
use proof::checks::{
    self, AuditProgress, Check, CheckId, Selection, StoredResults,
    finding::{Finding, Status},
};

/// Prove that every part of the pipeline works
///
/// Check ids are stable: `layer.subject.aspect`. A check is skipped if a check that it needs did
/// not pass. A failure that another failure explains names it as its cause. docs/faults.md lists
/// which fault fails which checks.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these layers, services or checks ('*.lag')
    ///
    /// Ids, prefixes of ids (`groups`, `groups.billing`), globs (`*.lag`), services, or what checks are about
    /// (`lag`).
    #[arg(value_name = "CHECK")]
    checks: Vec<String>,
    /// The same, with commas
    #[arg(
        long,
        value_name = "CHECK",
        value_delimiter = ',',
        hide_short_help = true
    )]
    only: Vec<String>,
    /// Not these checks
    ///
    /// One that a selected check needs still runs, and is shown only if it fails.
    #[arg(long, value_name = "CHECK", value_delimiter = ',')]
    skip: Vec<String>,
    /// Repeat until all pass; exit code 4 after this time
    #[arg(
        long,
        value_name = "DURATION",
        env = "CARAVAN_WAIT",
        conflicts_with = "watch"
    )]
    #[arg(value_parser = humantime::parse_duration)]
    wait: Option<Duration>,
    /// Repeat until Ctrl-C
    ///
    /// One screen on a terminal, else a line for each change.
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// Show each check, not only layers and problems
    #[arg(short, long, conflicts_with = "list")]
    all: bool,
    /// List the checks, and run none
    #[arg(long, conflicts_with_all = ["watch", "wait"])]
    pub(crate) list: bool,
    /// Check all rows since then: 30d, a time, or all
    ///
    /// For the rules over the database, instead of as many rows as their budget of time allows. A duration, a
    /// time as in `logs`, or `all`; that may take minutes.
    #[arg(long, value_name = "WHEN", value_parser = span)]
    since: Option<Duration>,
    /// Accept a row that violates a rule; then verify
    ///
    /// For a row that will not be repaired, of a rule over the database.
    #[arg(long, num_args = 2, value_names = ["RULE", "ID"], action = clap::ArgAction::Append)]
    dismiss: Vec<String>,
    /// Warnings count as failures
    #[arg(long, env = "CARAVAN_STRICT")]
    strict: bool,
    #[command(flatten)]
    pub(crate) output: ReportArgs,
}

/// Interval between two runs of the checks, with `--wait` and `--watch`.
const PAUSE: Duration = Duration::from_millis(500);
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
    let mut results = Results::read(context)?;
    for pair in args.dismiss.chunks_exact(2) {
        results.dismiss(&pipeline, &pair[0], &pair[1])?;
    }
    let platform = context.platform().await?;
    let origin = up::origin(&pipeline);
    let verify = Verify {
        context,
        args,
        pipeline: &pipeline,
        origin: &origin,
        platform: platform.as_ref(),
        selection,
        results,
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
    let plan = checks::shown(checks::plan(&pipeline), |check| &check.id);
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
            let checks = selected.map(|check| report::document::Planned {
                id: check.id.to_string(),
                layer: check.id.layer().to_owned(),
                severity: check.severity,
                expected: check.expected.clone(),
            });
            report::document::list(&context.console, checks.collect());
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
        _ => when::parse(text)
            .map(|at| (Utc::now() - at).to_std().unwrap_or_default())
            .map_err(|e| format!("{e}; or `all`")),
    }
}

/// Sets the span of all rules for `--since`, and removes their budgets.
fn look_back(pipeline: &mut Pipeline, since: Duration) {
    for rule in &mut pipeline.invariants {
        rule.within = rule.within.map(|_| since);
        rule.budget = Budget::Unlimited;
    }
}

/// What earlier runs found of the rules over the database.
struct Results<'a> {
    context: &'a Context,
    /// As they are stored.
    began: StoredResults,
    now: StoredResults,
    /// A failure to store them has been reported.
    is_lost: bool,
}

impl<'a> Results<'a> {
    fn read(context: &'a Context) -> Result<Self> {
        let began = context.stored_results()?;
        Ok(Self {
            context,
            now: began.clone(),
            began,
            is_lost: false,
        })
    }

    /// `rule`: a rule's name or the id of its check.
    fn dismiss(&mut self, pipeline: &Pipeline, rule: &str, id: &str) -> Result<()> {
        let of_check = rule.strip_prefix("database.");
        let of_check = of_check.and_then(|rule| rule.strip_suffix(".holds"));
        let name = of_check.unwrap_or(rule);
        if !pipeline.invariants.iter().any(|rule| rule.name == name) {
            let names = pipeline.invariants.iter().map(|rule| rule.name.as_str());
            let names: Vec<_> = names.collect();
            let error = Error::new(
                Kind::Usage,
                format!("no rule over the database is named {name}"),
            );
            return Err(error.because(format!("rules: {}", names.join(", "))));
        }
        if let Err(known) = self.now.dismiss(name, id) {
            let what = format!("no row {id} that violates {name} is known");
            let known = match known.as_slice() {
                [] => "none of that rule is".to_owned(),
                known => format!("known: {}", known.join(", ")),
            };
            return Err(Error::new(Kind::NotRight, what).because(known));
        }
        self.context.store_results(&self.began, &self.now)?;
        self.began.clone_from(&self.now);
        Ok(())
    }

    /// Stores what is new. If that fails, this run's findings are right all the same.
    fn store(&mut self) {
        if self.is_lost || self.now == self.began {
            return;
        }
        match self.context.store_results(&self.began, &self.now) {
            Ok(()) => self.began.clone_from(&self.now),
            Err(error) => {
                self.is_lost = true;
                self.context.console.warn(&error.to_string());
            }
        }
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
    results: Results<'a>,
}

/// The last status of each check.
type Known = BTreeMap<CheckId, (Status, String)>;

impl Verify<'_> {
    /// Makes the checks once; tells of those that end otherwise than is known.
    async fn look(
        &mut self,
        known: &mut Known,
        mut tell: impl FnMut(&Finding),
        spinner: &Spinner,
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
        let console = &self.context.console;
        let progress = |progress: AuditProgress| report::progress(console, spinner, &progress);
        let run = checks::run(
            pipeline,
            self.platform,
            invocation,
            &self.selection,
            &mut self.results.now,
            tell_changes,
            &progress,
        );
        let findings = Box::pin(run).await;
        self.results.store();
        findings
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
    async fn until_right(mut self) -> Result<Verdict> {
        let (context, format) = (self.context, self.args.output.output);
        let console = &context.console;
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
    async fn watch(mut self) -> Result<Verdict> {
        let (context, format) = (self.context, self.args.output.output);
        let console = &context.console;
        if matches!(format, ReportFormat::Json | ReportFormat::Junit) {
            let what = "--watch does not end, and this format is a single document";
            let error = Error::new(Kind::Usage, what);
            return Err(error.hint(self.context.invocation.command("verify --watch -o ndjson")));
        }
        let redraws = format == ReportFormat::Table && console.redraws();
        let (mut known, mut statuses) = (Known::new(), BTreeMap::new());
        let mut changes = Vec::new();
        let spinner = Spinner::hidden();
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
