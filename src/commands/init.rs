use std::{
    fs,
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use super::Verdict;
use crate::{
    context::Context,
    proposal::{self, Stack},
};
use declaration::SHIPPED;
use diagnostics::{Error, Kind, Result};

/// Propose `x-caravan` for a Compose file without it, or write the shipped pipeline to a file
///
/// Reads the Compose file (-f, else the first with a usual name) and, if the project runs, the
/// topics, groups and tables of Kafka and Postgres. The proposal is an additional file: caravan -f
/// compose.yaml -f caravan.yaml.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write the shipped pipeline to compose.yaml, for editing
    #[arg(long, conflicts_with = "write")]
    default: bool,
    /// Write the proposal to caravan.yaml instead of stdout
    ///
    /// Beside the Compose file.
    #[arg(long)]
    write: bool,
    /// Write to this file, which must not exist; - is stdout
    #[arg(short = 'O', long, value_name = "FILE", conflicts_with = "write")]
    out: Option<PathBuf>,
}

/// File name of the proposal.
const OVERLAY: &str = "caravan.yaml";

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Verdict> {
    if args.default {
        return shipped(context, args);
    }
    let source = context.compose_file()?;
    let mut invocation = source.invocation().clone();
    let files = invocation.files.clone();
    if source.tree().get("x-caravan").is_some() {
        let what = format!("{} already has x-caravan", files.join(", "));
        return Err(Error::new(Kind::Usage, what)
            .because("`init` proposes x-caravan for a Compose file without it")
            .hint("edit it; editors complete it by the output of `caravan schema`"));
    }
    let pipeline = context.resolve_without_secrets(&source)?;
    let mask = |value: &str| context.console.masked(value);
    let stack = Stack::new(&pipeline, &source, &mask);
    let spinner = context.console.spinner("init");
    spinner.set_message("checking");
    let observed = Box::pin(proposal::observe(&stack, context.platform().await)).await;
    spinner.finish_and_clear();
    for why in &observed.not_observed {
        context.console.warn(&format!("not seen: {why}"));
    }
    let text = proposal::text(&stack, &observed, &files);
    let first = files.first().map_or("", String::as_str);
    let beside = Path::new(first).with_file_name(OVERLAY);
    match (&args.out, args.write) {
        (Some(out), _) if out.as_os_str() != "-" => write(context, out, &text)?,
        (None, true) => write(context, &beside, &text)?,
        (Some(_) | None, _) => {
            context.console.composed(&text);
            return Ok(Verdict::Right);
        }
    }
    let overlay = args.out.as_ref().unwrap_or(&beside).display().to_string();
    invocation.files.push(overlay.clone());
    let next = invocation.command("verify");
    context
        .console
        .note(&format!("Next: edit {overlay}, then {next}"));
    Ok(Verdict::Right)
}

fn shipped(context: &Context, args: &Args) -> Result<Verdict> {
    let out = args.out.clone().unwrap_or_else(|| "compose.yaml".into());
    if out.as_os_str() == "-" {
        context.console.composed(SHIPPED.trim_end());
        return Ok(Verdict::Right);
    }
    write(context, &out, SHIPPED.trim_end())?;
    let next = match declaration::is_found(&out) {
        true => "caravan up".to_owned(),
        false => format!("caravan -f {} up", out.display()),
    };
    context.console.note(&format!("Next: edit it, then {next}"));
    Ok(Verdict::Right)
}

/// Creates a file; never replaces an existing one.
fn write(context: &Context, path: &Path, text: &str) -> Result<()> {
    let failed = |error: std::io::Error| {
        let what = format!("cannot write {}", path.display());
        let error = match error.kind() {
            ErrorKind::AlreadyExists => Error::new(Kind::Usage, what)
                .because("the file exists; it was not changed")
                .hint("name another file with -O FILE"),
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                Error::new(Kind::Unreachable, what).because(error.to_string())
            }
            _ => Error::new(Kind::Usage, what).because(error.to_string()),
        };
        Err(error)
    };
    let made = fs::File::options()
        .write(true)
        .create_new(true)
        .open(context.path(path));
    let written = made.and_then(|mut file| {
        let written = writeln!(file, "{text}").and_then(|()| file.sync_all());
        if written.is_err() {
            // A part of a declaration is useless, so the file is removed; the first error is reported.
            drop(fs::remove_file(context.path(path)));
        }
        written
    });
    match written {
        Ok(()) => {
            context.console.note(&format!("wrote {}", path.display()));
            Ok(())
        }
        Err(error) => failed(error),
    }
}
