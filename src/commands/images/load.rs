use std::{
    fs::File,
    io::{self, IsTerminal},
    os::fd::AsFd,
    path::PathBuf,
};

use super::pipeline;
use crate::{
    commands::Verdict,
    context::Context,
    flags::{Format, OutputArgs},
    output::{Progress, images},
};
use diagnostics::{Error, Kind, Result};

/// Load a file of `images save`, and list what is still missing
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The file; `-` is stdin
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Verdict> {
    let pipeline = pipeline(context)?;
    let (file, name) = open(args)?;
    let engine = context.engine().await?;
    let progress = Progress::start(&context.console);
    let loaded = engine.import_images(file, &name, progress.events()).await;
    progress.finish().await;
    let loaded = loaded?;
    let needed = engine.needed_images(&pipeline).await?;
    let console = &context.console;
    console.note(&format!("  loaded {}\n", loaded.join(", ")));
    match args.output.output {
        Format::Table => console.composed(&images::text(console, &needed)),
        Format::Json => images::report(console, &needed, None, true),
    }
    let missing: Vec<_> = needed.iter().filter(|n| n.needs_network()).collect();
    if missing.is_empty() {
        console.note("\nNothing is missing.");
        console.next(&context.invocation.command("up"));
        return Ok(Verdict::Right);
    }
    let names: Vec<_> = missing.iter().map(|n| n.reference.as_str()).collect();
    console.note(&format!(
        "\nStill missing: {}. Next: {} on a host with a network, with the same version of Caravan",
        names.join(", "),
        context.invocation.command("images save FILE")
    ));
    Ok(Verdict::NotRight)
}

/// The file and its name in messages.
fn open(args: &Args) -> Result<(File, String)> {
    if args.file.as_os_str() != "-" {
        let name = args.file.display().to_string();
        let failed = |e: io::Error| {
            Error::new(Kind::Usage, format!("cannot read {name}")).because(e.to_string())
        };
        return Ok((File::open(&args.file).map_err(failed)?, name));
    }
    let stdin = io::stdin();
    if stdin.is_terminal() {
        let what = "stdin is a terminal, not a file of images";
        return Err(Error::new(Kind::Usage, what).hint("caravan images load FILE"));
    }
    let stdin = stdin
        .as_fd()
        .try_clone_to_owned()
        .map_err(|e| Error::new(Kind::Unreachable, "cannot read stdin").because(e.to_string()))?;
    Ok((File::from(stdin), "stdin".to_owned()))
}
