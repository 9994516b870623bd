use std::{collections::HashMap, io::ErrorKind, sync::Arc};

use chrono::{DateTime, Utc};
use futures_util::{Stream, StreamExt};
use regex::Regex;

use super::{Verdict, resolve_services};
use crate::{
    context::Context,
    flags::LogFormat,
    output::{Console, Paint, control::without_colours, logs as output},
    when,
};
use declaration::{Pipeline, correlation::Correlation};
use diagnostics::{Error, Kind, Result};
use platform::{Container, Filter, LogLine, LogOptions, Platform};

/// Maximum number of lines in one write.
const AT_ONCE: usize = 128;

/// Show the logs of services, merged by time
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Services, or parts of their names [default: all]
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
    /// Follow new lines until Ctrl-C
    ///
    /// Including those of restarted and new containers.
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// The last N lines of each container, or all
    ///
    /// With a filter, the last N that match it.
    #[arg(short = 'n', long, value_name = "N", value_parser = tail)]
    tail: Option<Tail>,
    /// Only lines that match this regular expression
    ///
    /// `(?i)` at its start ignores case.
    #[arg(short, long, value_name = "PATTERN")]
    grep: Option<Regex>,
    /// Only lines of this message
    #[arg(long, value_name = "ID")]
    correlation_id: Option<String>,
    /// Only lines since then: 5m, 09:50, 2026-11-28
    ///
    /// A duration ago (`5m`, `1h30m`), a local time (`2026-11-28T09:50:00`, `09:50`, `2026-11-28`), a time
    /// with its zone (`2026-11-28T09:50:00Z`), or Unix seconds.
    #[arg(long, value_name = "WHEN", value_parser = when::parse)]
    since: Option<DateTime<Utc>>,
    /// Only lines until then
    #[arg(long, value_name = "WHEN", value_parser = when::parse, conflicts_with = "follow")]
    until: Option<DateTime<Utc>>,
    /// Start lines with the time Docker read them
    #[arg(short, long)]
    timestamps: bool,
    /// Print no names of containers
    #[arg(long)]
    no_log_prefix: bool,
    /// Format: table (default) or ndjson
    #[arg(short, long, value_name = "FORMAT", env = "CARAVAN_OUTPUT")]
    #[arg(value_enum, default_value_t)]
    pub(crate) output: LogFormat,
}

/// A number of lines; None: all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tail(Option<usize>);

fn tail(text: &str) -> Result<Tail, String> {
    match text {
        "all" => Ok(Tail(None)),
        _ => text
            .parse()
            .map(|lines| Tail(Some(lines)))
            .map_err(|_| "neither a number of lines nor `all`".to_owned()),
    }
}

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Verdict> {
    let pipeline = context.pipeline()?;
    let platform = context.platform().await?;
    let platform = platform.as_ref();
    let services = resolve_services(&pipeline, &args.services)?;
    let containers = deployed(context, platform, &pipeline, &services).await?;
    let mut printer = Printer::new(&context.console, args, &pipeline, &containers);
    let options = LogOptions {
        tail: args.tail.and_then(|Tail(lines)| lines),
        since: args.since,
        until: args.until,
        filter: filter(args, &pipeline),
    };
    if args.follow {
        let project = &pipeline.project;
        let console = Arc::clone(&context.console);
        let lost = Arc::new(move |container: &str| {
            let what = "log rotation deleted lines before they were read";
            console.warn(&format!("{container}: {what}"));
        });
        let lines = platform.follow_services(project, services, &containers, options, lost);
        show(lines, &mut printer).await?;
        return Ok(Verdict::Right);
    }
    let mut logs = platform.logs(&containers, &options);
    let Some(shown) = show(&mut logs, &mut printer).await? else {
        return Ok(Verdict::Right);
    };
    if args.output == LogFormat::Ndjson {
        output::end(&context.console, shown);
    }
    if shown == 0 && options.filter.is_some() {
        context.console.note("no line matches");
    }
    for (container, first) in logs.cut_off().await? {
        let first = context.console.clock.zoned(first);
        context.console.warn(&format!(
            "{container}: log rotation may have deleted lines older than {first}"
        ));
    }
    Ok(Verdict::Right)
}

/// What the text of a line must match, if anything.
fn filter(args: &Args, pipeline: &Pipeline) -> Option<Filter> {
    let (pattern, id) = (args.grep.clone(), args.correlation_id.clone());
    let flow = pipeline.flow.as_ref();
    let correlation = flow.map_or_else(Correlation::default, |f| f.correlation.clone());
    if pattern.is_none() && id.is_none() {
        return None;
    }
    Some(Filter(Arc::new(move |text: &str| {
        pattern
            .as_ref()
            .is_none_or(|pattern| pattern.is_match(text))
            && id.as_ref().is_none_or(|id| correlation.is_about(text, id))
    })))
}

/// Writes lines as they arrive. Returns their number; None: the reader of stdout closed it
/// (`caravan logs | head`).
///
/// The next lines are read only after these were written, so a slow reader slows the reading.
async fn show(
    lines: impl Stream<Item = Result<LogLine>>,
    printer: &mut Printer<'_>,
) -> Result<Option<usize>> {
    let mut chunks = std::pin::pin!(lines.ready_chunks(AT_ONCE));
    let mut shown = 0;
    while let Some(chunk) = chunks.next().await {
        let mut text = String::new();
        let mut failed = None;
        for line in chunk {
            match line {
                Ok(line) => {
                    printer.add(&mut text, &line);
                    shown += 1;
                }
                Err(e) => failed = failed.or(Some(e)),
            }
        }
        if !printer.write(text).await? {
            return Ok(None);
        }
        if let Some(e) = failed {
            return Err(e);
        }
    }
    Ok(Some(shown))
}

/// The containers of the named services, by default of all.
///
/// # Errors
/// There is no container.
async fn deployed(
    context: &Context,
    platform: &dyn Platform,
    pipeline: &Pipeline,
    services: &[String],
) -> Result<Vec<Container>> {
    let mut containers = platform.containers(&pipeline.project).await?;
    if !services.is_empty() {
        containers.retain(|c| services.contains(&c.service));
    }
    if !containers.is_empty() {
        return Ok(containers);
    }
    let what = if services.is_empty() {
        format!("no container of {} exists", pipeline.project)
    } else {
        format!("not deployed: {}", services.join(", "))
    };
    let up = format!("up {}", services.join(" "));
    Err(Error::new(Kind::NotRight, what).hint(context.invocation.command(up.trim())))
}

/// Formats lines; with several containers, each line begins with its container's name.
struct Printer<'a> {
    console: &'a Arc<Console>,
    format: LogFormat,
    timestamps: bool,
    prefix: bool,
    /// The first container's name, while there is no other.
    alone: Option<&'a str>,
    /// Of the longest name so far.
    width: usize,
    /// Of each service.
    paints: HashMap<&'a str, Paint>,
}

impl<'a> Printer<'a> {
    fn new(
        console: &'a Arc<Console>,
        args: &Args,
        pipeline: &'a Pipeline,
        containers: &'a [Container],
    ) -> Self {
        let services = pipeline.services.iter().map(|s| s.name.as_str());
        let paints = services.enumerate().map(|(n, name)| (name, Paint::Nth(n)));
        Self {
            console,
            format: args.output,
            timestamps: args.timestamps,
            prefix: !args.no_log_prefix,
            alone: match containers {
                [container] => Some(&container.name),
                _ => None,
            },
            width: containers.iter().map(|c| c.name.len()).max().unwrap_or(0),
            paints: paints.collect(),
        }
    }

    /// Adds a line to `text`, masked; the name before it stays.
    fn add(&mut self, text: &mut String, line: &LogLine) {
        if self.format == LogFormat::Ndjson {
            text.push_str(&output::line(self.console, line));
            return;
        }
        self.alone = self.alone.filter(|name| *name == &*line.container);
        if self.prefix && self.alone.is_none() {
            self.width = self.width.max(line.container.len());
            let paint = self.paints.get(line.service.as_str());
            let name = format!("{:width$} |", line.container, width = self.width);
            text.push_str(&self.console.out(*paint.unwrap_or(&Paint::Faint), &name));
            text.push(' ');
        }
        if self.timestamps {
            let at = line.at.format("%Y-%m-%dT%H:%M:%S%.3fZ ");
            text.push_str(&at.to_string());
        }
        let own = without_colours(&line.text);
        text.push_str(&self.console.masked(own.trim_end_matches('\r')));
        text.push('\n');
    }

    /// False: nobody reads any more. Writing may take as long as the reader likes, and must not keep
    /// Ctrl-C from being heard.
    async fn write(&self, text: String) -> Result<bool> {
        let console = Arc::clone(self.console);
        let written = tokio::task::spawn_blocking(move || console.results(&text)).await;
        match written {
            Ok(Ok(())) => Ok(true),
            Ok(Err(e)) if e.kind() == ErrorKind::BrokenPipe => Ok(false),
            Ok(Err(e)) => {
                Err(Error::new(Kind::Unreachable, "the lines cannot be written")
                    .because(e.to_string()))
            }
            Err(e) => Err(Error::new(Kind::Defect, e.to_string())),
        }
    }
}
