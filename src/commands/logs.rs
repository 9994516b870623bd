use std::collections::HashMap;

use chrono::{DateTime, Utc};
use futures_util::StreamExt;

use super::{Verdict, resolve_services};
use crate::{
    context::Context,
    engine::{
        Engine, LogOptions,
        observed::{Container, LogLine},
    },
    error::{Error, Kind, Result},
    output::{Console, Paint},
    pipeline::Pipeline,
};

/// Show what services wrote; several together, by time, with their names
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Services, by name or unambiguous short form; all when none is named
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
    /// Go on with new lines until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// The last N lines of each container
    #[arg(short = 'n', long, value_name = "N")]
    tail: Option<usize>,
    /// Lines since then: a duration (`5m`) or a time (RFC 3339)
    #[arg(long, value_name = "WHEN", value_parser = parse_since)]
    since: Option<DateTime<Utc>>,
    /// Only lines of the payment with this correlation id
    #[arg(long, value_name = "ID")]
    correlation_id: Option<String>,
    /// Start each line with the time at which Docker read it
    #[arg(short, long)]
    timestamps: bool,
}

fn parse_since(given: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(at) = DateTime::parse_from_rfc3339(given) {
        return Ok(at.to_utc());
    }
    let ago = humantime::parse_duration(given)
        .map_err(|_| "neither a duration such as 5m nor a time such as 2026-01-31T12:00:00Z")?;
    chrono::TimeDelta::from_std(ago)
        .ok()
        .and_then(|ago| Utc::now().checked_sub_signed(ago))
        .ok_or_else(|| "too long ago".to_owned())
}

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Verdict> {
    let mut source = context.source()?;
    source.activate(&args.services)?;
    let pipeline = context.resolve(&source)?;
    let engine = context.engine().await?;
    let containers = deployed(context, &engine, &pipeline, &args.services).await?;
    let printer = Printer::new(&context.console, &containers, args.timestamps);
    let wanted = |line: &LogLine| {
        let id = args.correlation_id.as_ref();
        id.is_none_or(|id| line.text.contains(id.as_str()))
    };
    // With a filter, the last N of each container are those that pass it: Docker cannot tell.
    let filtered = args.correlation_id.is_some();
    let options = LogOptions {
        follow: args.follow,
        tail: args.tail.filter(|_| !filtered),
        since: args.since,
    };
    let held_back = args.tail.filter(|_| filtered && !args.follow);
    let mut held = Vec::new();
    let lines = engine.logs(&containers, options);
    futures_util::pin_mut!(lines);
    while let Some(line) = lines.next().await {
        let line = line?;
        if !wanted(&line) {
            continue;
        }
        if held_back.is_some() {
            held.push(line);
        } else {
            printer.show(&line);
        }
    }
    if let Some(tail) = held_back {
        let last = last_of_each(held, tail);
        last.iter().for_each(|line| printer.show(line));
    }
    Ok(Verdict::Right)
}

/// The containers of the services named, or of all; none at all is an error.
async fn deployed(
    context: &Context,
    engine: &Engine,
    pipeline: &Pipeline,
    given: &[String],
) -> Result<Vec<Container>> {
    let services = resolve_services(pipeline, given)?;
    let mut containers = engine.containers(&pipeline.project).await?;
    if !services.is_empty() {
        containers.retain(|c| services.contains(&c.service));
    }
    if !containers.is_empty() {
        return Ok(containers);
    }
    let what = if services.is_empty() {
        format!("nothing of {} is deployed", pipeline.project)
    } else {
        format!("not deployed: {}", services.join(", "))
    };
    let up = format!("up {}", services.join(" "));
    Err(Error::new(Kind::NotRight, what).hint(context.invocation.command(up.trim())))
}

/// Writes lines; where there are several containers, each with its container's name.
struct Printer<'a> {
    console: &'a Console,
    timestamps: bool,
    /// By service and replica, padded to one width; None for a lone container.
    names: Option<HashMap<(String, u32), String>>,
}

impl<'a> Printer<'a> {
    fn new(console: &'a Console, containers: &[Container], timestamps: bool) -> Self {
        let width = containers.iter().map(|c| c.name.len()).max().unwrap_or(0);
        let name = |c: &Container| {
            let name = format!("{:width$} |", c.name);
            let painted = console.out(Paint::Faint, &name);
            ((c.service.clone(), c.replica), painted)
        };
        Self {
            console,
            timestamps,
            names: (containers.len() > 1).then(|| containers.iter().map(name).collect()),
        }
    }

    fn show(&self, line: &LogLine) {
        let mut text = String::new();
        if let Some(names) = &self.names {
            let name = names.get(&(line.service.clone(), line.replica));
            text.push_str(name.map_or("", String::as_str));
            text.push(' ');
        }
        if self.timestamps {
            let at = line.at.format("%Y-%m-%dT%H:%M:%S%.3fZ ");
            text.push_str(&at.to_string());
        }
        text.push_str(&line.text);
        self.console.result(&text);
    }
}

/// The last `tail` lines of each replica, order kept.
fn last_of_each(lines: Vec<LogLine>, tail: usize) -> Vec<LogLine> {
    let mut seen: HashMap<(String, u32), usize> = HashMap::new();
    let mut kept: Vec<LogLine> = lines
        .into_iter()
        .rev()
        .filter(|line| {
            let n = seen
                .entry((line.service.clone(), line.replica))
                .or_default();
            *n += 1;
            *n <= tail
        })
        .collect();
    kept.reverse();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_takes_durations_and_times() {
        assert_eq!(
            parse_since("2026-01-31T12:00:00Z").map(|at| at.timestamp()),
            Ok(1_769_860_800)
        );
        let five = parse_since("5m").map(|at| (Utc::now() - at).num_seconds());
        assert!(five.is_ok_and(|s| (299..=301).contains(&s)));
        assert!(parse_since("yesterday").is_err());
    }

    #[test]
    fn the_last_lines_of_each_replica_are_kept() {
        let line = |service: &str, text: &str| LogLine {
            service: service.to_owned(),
            replica: 1,
            at: DateTime::UNIX_EPOCH,
            text: text.to_owned(),
        };
        let lines = vec![
            line("a", "1"),
            line("b", "2"),
            line("a", "3"),
            line("a", "4"),
        ];
        let texts: Vec<_> = last_of_each(lines, 2).into_iter().map(|l| l.text).collect();
        assert_eq!(texts, ["2", "3", "4"]);
    }
}
