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
use proof::past::{self, Next, Past};

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
            spinner.set_message(output::past::line(&step));
        }
        spinner.finish_and_clear();
    });
    let options = past::Options {
        since: args.since,
        timeout: args.timeout,
    };
    let platform = engine.as_ref().map(|engine| engine as &dyn Platform);
    let platform = platform.map_err(Clone::clone);
    let looked = past::look(&pipeline, platform, &args.id, options, progress).await;
    // Ends with its channel; a panic in it would have been reported by the hook.
    drop(live.await);
    let past = looked?;
    if !past.is_known() {
        return Err(unknown(context, &past));
    }
    let next = past
        .broken
        .as_ref()
        .map(|broken| next(context, &past, &broken.next));
    let console = &context.console;
    match args.output.output {
        Format::Json => {
            let document = output::past::value(&pipeline.project, &past, next.as_deref());
            console.document(&document);
        }
        Format::Table => {
            console.composed(&output::past::text(console, &past));
            if let Some(next) = next {
                console.note(&format!("Next: {next}"));
            }
        }
    }
    Ok(verdict(&past))
}

fn verdict(past: &Past) -> Verdict {
    let (_, missing, _) = past.counts();
    if !past.unreachable.is_empty() {
        Verdict::Unreachable
    } else if missing > 0 {
        Verdict::NotRight
    } else if !past.unread.is_empty() {
        Verdict::Late
    } else {
        Verdict::Right
    }
}

/// Nothing that was looked at knows it.
fn unknown(context: &Context, past: &Past) -> Error {
    let id = &past.id;
    let (kind, what) = if !past.unreachable.is_empty() {
        (
            Kind::Unreachable,
            format!("nothing that answers knows {id}"),
        )
    } else if !past.unread.is_empty() {
        (
            Kind::Deadline,
            format!("nothing that could be read in time knows {id}"),
        )
    } else {
        (Kind::NotRight, format!("nothing anywhere knows {id}"))
    };
    let mut error = Error::new(kind, what);
    for why in &past.unreachable {
        error = error.because(format!("no answer: {why}"));
    }
    for unread in &past.unread {
        error = error.because(format!("not read: {unread}"));
    }
    for looked in &past.looked {
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
fn next(context: &Context, past: &Past, next: &Next) -> String {
    let invocation = &context.invocation;
    match next {
        Next::Letter(place) => invocation.command(&format!("dlq show {place}")),
        Next::Up(service) => invocation.command(&format!("up {service}")),
        Next::Unpause(containers) => {
            invocation.docker(&format!("unpause {}", containers.join(" ")))
        }
        Next::Groups => invocation.command("groups"),
        Next::Logs(service) => {
            let id = diagnostics::quote(&past.id);
            invocation.command(&format!("logs {service} --correlation-id {id}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proof::{
        past::{Found, Hop},
        probe::hop::Place,
    };

    fn past(found: Found) -> Past {
        let topic = "paid".to_owned();
        Past {
            hops: vec![Hop {
                place: Place::Topic { topic },
                service: "shop".to_owned(),
                found,
            }],
            ..Past::default()
        }
    }

    #[test]
    fn what_is_missing_fails_and_what_nobody_remembers_does_not() {
        let unknown = || Found::Unknown("its log is gone".to_owned());
        assert_eq!(verdict(&past(Found::Missing(None))), Verdict::NotRight);
        assert_eq!(verdict(&past(unknown())), Verdict::Right);
        let mut late = past(unknown());
        late.unread.push("topic paid: about 7 messages".to_owned());
        assert_eq!(verdict(&late), Verdict::Late);
        let mut down = past(Found::Missing(None));
        down.unreachable.push("no broker answers".to_owned());
        assert_eq!(verdict(&down), Verdict::Unreachable);
    }
}
