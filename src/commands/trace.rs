use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use tokio::sync::mpsc;

use super::{Verdict, logs::parse_when};
use crate::{
    context::Context,
    flags::{Format, OutputArgs},
    output,
};
use diagnostics::{Error, Kind, Result};
use platform::Platform;
use proof::trace::{self, FlowTrace, Next};

/// Follow a past payment: where it was seen and when, what is missing, and why
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Its correlation id
    #[arg(value_name = "ID")]
    #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
    id: String,
    /// Look at nothing older: a duration (`5m`) or a time (RFC 3339) [default: all that is kept]
    #[arg(long, value_name = "WHEN", value_parser = parse_when)]
    since: Option<DateTime<Utc>>,
    /// How long to read topics and logs
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
    // Without Docker, topics and tables still tell.
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
    let looked = trace::look(&pipeline, platform, &args.id, options, progress).await;
    // Ends with its channel; a panic in it would have been reported by the hook.
    drop(live.await);
    let trace = looked?;
    if !trace.is_known() {
        return Err(unknown(context, &trace));
    }
    let next = trace
        .broken
        .as_ref()
        .map(|broken| next(context, &trace, &broken.next));
    let console = &context.console;
    match args.output.output {
        Format::Json => {
            let document = output::trace::value(&pipeline.project, &trace, next.as_deref());
            console.document(&document);
        }
        Format::Table => {
            console.composed(&output::trace::text(console, &trace));
            if let Some(next) = next {
                console.note(&format!("Next: {next}"));
            }
        }
    }
    Ok(verdict(&trace))
}

fn verdict(trace: &FlowTrace) -> Verdict {
    let (_, missing, _) = trace.counts();
    if !trace.unreachable.is_empty() {
        Verdict::Unreachable
    } else if missing > 0 {
        Verdict::NotRight
    } else if !trace.unread.is_empty() {
        Verdict::Late
    } else {
        Verdict::Right
    }
}

/// Nothing that was looked at knows it.
fn unknown(context: &Context, trace: &FlowTrace) -> Error {
    let id = &trace.id;
    let (kind, what) = if !trace.unreachable.is_empty() {
        (
            Kind::Unreachable,
            format!("nothing that answers knows {id}"),
        )
    } else if !trace.unread.is_empty() {
        (
            Kind::Deadline,
            format!("nothing that could be read in time knows {id}"),
        )
    } else {
        (Kind::NotRight, format!("nothing anywhere knows {id}"))
    };
    let mut error = Error::new(kind, what);
    for why in &trace.unreachable {
        error = error.because(format!("no answer: {why}"));
    }
    for unread in &trace.unread {
        error = error.because(format!("not read: {unread}"));
    }
    for looked in &trace.looked {
        error = error.because(format!("looked at {looked}"));
    }
    error.hint(match kind {
        Kind::Unreachable => context.invocation.command("status"),
        Kind::Deadline => "give it more time with --timeout, or say --since".to_owned(),
        _ => format!(
            "is it the payment's correlation id? What logs there are of it: {}",
            context.invocation.command("logs --grep TEXT")
        ),
    })
}

/// The command that comes next.
fn next(context: &Context, trace: &FlowTrace, next: &Next) -> String {
    let invocation = &context.invocation;
    match next {
        Next::DeadLetter(place) => invocation.command(&format!("dlq show {place}")),
        Next::Up(service) => invocation.command(&format!("up {service}")),
        Next::Unpause(containers) => {
            invocation.docker(&format!("unpause {}", containers.join(" ")))
        }
        Next::Groups => invocation.command("groups"),
        Next::Logs(service) => {
            let id = diagnostics::quote(&trace.id);
            invocation.command(&format!("logs {service} --correlation-id {id}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proof::{
        probe::hop::HopPlace,
        trace::{Found, Hop},
    };

    fn trace(found: Found) -> FlowTrace {
        let topic = "paid".to_owned();
        FlowTrace {
            hops: vec![Hop {
                place: HopPlace::Topic { topic },
                service: "shop".to_owned(),
                found,
            }],
            ..FlowTrace::default()
        }
    }

    #[test]
    fn what_is_missing_fails_and_what_nobody_remembers_does_not() {
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
