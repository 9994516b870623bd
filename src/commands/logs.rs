use chrono::{DateTime, Utc};
use futures_util::StreamExt;

use super::{Verdict, resolve_services};
use crate::{
    context::Context,
    engine::{LogOptions, observed::LogLine},
    error::{Error, Kind, Result},
    output::Paint,
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
    let pipeline = context.pipeline()?;
    let services = resolve_services(&pipeline, &args.services)?;
    let engine = context.engine().await?;
    let mut containers = engine.containers(&pipeline.project).await?;
    if !services.is_empty() {
        containers.retain(|c| services.contains(&c.service));
    }
    if containers.is_empty() {
        let what = if services.is_empty() {
            format!("nothing of {} is deployed", pipeline.project)
        } else {
            format!("not deployed: {}", services.join(", "))
        };
        let up = format!("up {}", services.join(" "));
        return Err(Error::new(Kind::NotRight, what).hint(context.invocation.command(up.trim())));
    }
    let prefixed = containers.len() > 1;
    let width = containers.iter().map(|c| c.name.len()).max().unwrap_or(0);
    let name = |line: &LogLine| {
        let found = containers
            .iter()
            .find(|c| c.service == line.service && c.replica == line.replica);
        found.map(|c| c.name.clone()).unwrap_or_default()
    };
    let options = LogOptions {
        follow: args.follow,
        // A filter has to see all lines before the last N can be told.
        tail: args.tail.filter(|_| args.correlation_id.is_none()),
        since: args.since,
    };
    let console = &context.console;
    let show = |line: &LogLine| {
        let mut text = String::new();
        if prefixed {
            let name = format!("{:width$} |", name(line));
            text.push_str(&console.out(Paint::Faint, &name));
            text.push(' ');
        }
        if args.timestamps {
            let at = line.at.format("%Y-%m-%dT%H:%M:%S%.3fZ ");
            text.push_str(&at.to_string());
        }
        text.push_str(&line.text);
        console.result(&text);
    };
    let wanted = |line: &LogLine| {
        let id = args.correlation_id.as_ref();
        id.is_none_or(|id| line.text.contains(id.as_str()))
    };
    let lines = engine.logs(&containers, options);
    futures_util::pin_mut!(lines);
    // With a filter, the last N of each container are those that pass it.
    let held_back = args
        .tail
        .filter(|_| args.correlation_id.is_some() && !args.follow);
    let mut held = Vec::new();
    while let Some(line) = lines.next().await {
        let line = line?;
        if !wanted(&line) {
            continue;
        }
        if held_back.is_some() {
            held.push(line);
        } else {
            show(&line);
        }
    }
    if let Some(tail) = held_back {
        last_of_each(held, tail).iter().for_each(show);
    }
    Ok(Verdict::Right)
}

/// The last `tail` lines of each replica, order kept.
fn last_of_each(lines: Vec<LogLine>, tail: usize) -> Vec<LogLine> {
    let mut seen: std::collections::HashMap<(String, u32), usize> = Default::default();
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
