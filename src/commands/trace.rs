use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use tokio::sync::mpsc;

use super::Verdict;
use crate::{
    context::Context,
    flags::{Format, OutputArgs},
    output::flow as output,
    when,
};
use declaration::{Noun, units};
use diagnostics::{Error, Kind, Result};
use platform::Platform;
use proof::flow::{
    Next,
    trace::{self, Beginnings, Report, Traced},
};

/// Trace an earlier message: where it was seen, what is missing, and why
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Its correlation id, or an unambiguous beginning
    #[arg(value_name = "ID")]
    #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
    id: String,
    /// Read nothing older: 5m, 09:50, 2026-11-28
    ///
    /// A duration ago or a time, as in `logs` [default: everything that is retained].
    #[arg(long, value_name = "WHEN", value_parser = when::parse)]
    since: Option<DateTime<Utc>>,
    /// Show each step, not only services
    #[arg(long)]
    all: bool,
    /// Time to read topics and logs
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "60s",
        env = "CARAVAN_TIMEOUT"
    )]
    #[arg(value_parser = humantime::parse_duration)]
    timeout: Duration,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Verdict> {
    let pipeline = context.pipeline()?;
    // Without Docker, topics and tables can still be read.
    let engine = context.engine().await;
    let (progress, mut steps) = mpsc::unbounded_channel();
    let console = Arc::clone(&context.console);
    let live = tokio::spawn(async move {
        let spinner = console.spinner("trace");
        while let Some(step) = steps.recv().await {
            spinner.set_message(output::trace::line(&step));
        }
        spinner.finish_and_clear();
    });
    let options = trace::Options {
        since: args.since,
        timeout: args.timeout,
    };
    let platform = engine.as_ref().map(|engine| engine as &dyn Platform);
    let platform = platform.map_err(Clone::clone);
    // Tables that are too narrow cut ids with this character.
    let id = args.id.trim_end_matches('…');
    let looked = trace::look(&pipeline, platform, id, options, progress).await;
    // The task ends with its channel; the panic hook reports a panic.
    drop(live.await);
    let trace = match looked? {
        Traced::Found(trace) => *trace,
        Traced::Ambiguous(beginnings) => {
            return Err(ambiguous(context, &pipeline.noun(), id, &beginnings));
        }
    };
    if !trace.is_known() {
        return Err(unknown(
            context,
            pipeline.noun().one(),
            &trace,
            args.timeout,
        ));
    }
    let next = trace
        .missing
        .as_ref()
        .map(|missing| next_command(context, &trace.id, &missing.next));
    let console = &context.console;
    match args.output.output {
        Format::Json => {
            let document = output::document::trace(console, &trace, next.as_deref());
            console.document(&document);
        }
        Format::Table => {
            let collect = context.invocation.command("test-flow --collect=0s");
            let view = output::View {
                pipeline: &pipeline,
                all: args.all,
                next: next.as_deref(),
                collect: &collect,
            };
            console.composed(&output::trace::text(console, &trace, view));
        }
    }
    Ok(verdict(&trace))
}

fn verdict(trace: &Report) -> Verdict {
    let (_, missing, _) = trace.counts();
    if !trace.unreachable.is_empty() {
        Verdict::Unreachable
    } else if missing > 0 || !trace.failed.is_empty() {
        Verdict::NotRight
    } else if !trace.unread.is_empty() {
        Verdict::Late
    } else {
        Verdict::Right
    }
}

/// Ids that are named of those that begin with a shortened one.
const NAMED: usize = 5;

/// Several messages have an id that begins with `id`.
fn ambiguous(context: &Context, noun: &Noun, id: &str, beginnings: &Beginnings) -> Error {
    let count = beginnings.ids.len();
    let word = match count {
        1 => noun.one().to_owned(),
        _ => noun.many(),
    };
    let what = match beginnings.incomplete {
        true => format!("at least {count} {word} begin with {id}"),
        false => format!("{count} {word} begin with {id}"),
    };
    let mut error = Error::new(Kind::NotRight, what);
    for id in beginnings.ids.iter().take(NAMED) {
        error = error.because(id.clone());
    }
    if count > NAMED {
        error = error.because(format!("and {} more", count - NAMED));
    }
    let first = beginnings.ids.first().map_or(id, String::as_str);
    let first = diagnostics::quote(first);
    error.hint(context.invocation.command(&format!("trace {first}")))
}

/// No source that was read knows the message.
fn unknown(context: &Context, noun: &str, trace: &Report, timeout: Duration) -> Error {
    let id = &trace.id;
    let (kind, what) = if !trace.unreachable.is_empty() {
        (
            Kind::Unreachable,
            format!("no source that answers knows {id}"),
        )
    } else if !trace.unread.is_empty() {
        (
            Kind::Deadline,
            format!("no source that was read in time knows {id}"),
        )
    } else {
        (Kind::NotRight, format!("no source knows {id}"))
    };
    let mut error = Error::new(kind, what);
    for why in &trace.unreachable {
        error = error.because(format!("no answer: {why}"));
    }
    for unread in &trace.unread {
        error = error.because(format!("not read: {unread}"));
    }
    for failed in &trace.failed {
        error = error.because(format!("not searched: {failed}"));
    }
    for looked in &trace.looked {
        error = error.because(format!("read: {looked}"));
    }
    let quoted = diagnostics::quote(id);
    let next = match kind {
        Kind::Unreachable => "status".to_owned(),
        Kind::Deadline => {
            let longer = units::exact(timeout.saturating_mul(10));
            format!("trace {quoted} --timeout {longer}")
        }
        _ => {
            error = error.because(format!("is it the correlation id of a {noun}?"));
            format!("logs --grep {quoted}")
        }
    };
    error.hint(context.invocation.command(&next))
}

/// The next command for the user. `id`: the message's correlation id.
pub(super) fn next_command(context: &Context, id: &str, next: &Next) -> String {
    let invocation = &context.invocation;
    match next {
        Next::DeadLetter(place) => invocation.command(&format!("dlq show {place}")),
        Next::Up(service) => invocation.command(&format!("up {service}")),
        Next::Unpause(containers) => {
            invocation.docker(&format!("unpause {}", containers.join(" ")))
        }
        Next::Groups => invocation.command("groups"),
        Next::Logs(service) => {
            let id = diagnostics::quote(id);
            invocation.command(&format!("logs {service} --correlation-id {id}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proof::flow::{Found, Hop, HopPlace, Step};

    fn trace(found: Found) -> Report {
        let topic = "paid".to_owned();
        Report {
            hops: vec![Hop {
                step: Step {
                    place: HopPlace::Topic { topic },
                    service: "shop".to_owned(),
                },
                found,
            }],
            ..Report::default()
        }
    }

    #[test]
    fn missing_hops_fail_and_unknown_ones_do_not() {
        let unknown = || Found::Unknown("its log is gone".to_owned());
        assert_eq!(verdict(&trace(Found::Missing(None))), Verdict::NotRight);
        assert_eq!(verdict(&trace(unknown())), Verdict::Right);
        let mut late = trace(unknown());
        late.unread.push("topic paid: about 7 messages".to_owned());
        assert_eq!(verdict(&late), Verdict::Late);
        let mut down = trace(Found::Missing(None));
        down.unreachable.push("no broker answers".to_owned());
        assert_eq!(verdict(&down), Verdict::Unreachable);
    }
}
