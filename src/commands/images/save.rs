use std::{
    fs::{self, File},
    io::{self, IsTerminal},
    os::fd::AsFd,
    path::PathBuf,
};

use super::pipeline;
use crate::{
    commands::Verdict,
    context::Context,
    flags::{Format, OutputArgs},
    output::{Progress, images, listing},
};
use declaration::{Pipeline, units};
use diagnostics::{Error, Kind, Result, quote};
use docker::{Engine, images::Unfinished};

/// Write all images into one file, for a host without a network
///
/// Missing images are pulled or built first. After `caravan images load FILE` on the other host,
/// `caravan up` needs no network there.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The file; `-` is stdout
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Verdict> {
    let pipeline = pipeline(context)?;
    let json = args.output.output == Format::Json;
    if json && args.file.as_os_str() == "-" {
        let what = "stdout is for the images: -o json needs a file";
        return Err(Error::new(Kind::Usage, what).hint("caravan images save images.tar -o json"));
    }
    let engine = context.engine().await?;
    let progress = Progress::start(&context.console);
    let saved = if args.file.as_os_str() == "-" {
        to_stdout(&engine, &pipeline, &progress).await
    } else {
        to_file(&engine, &pipeline, &progress, args).await
    };
    progress.finish().await;
    let (count, size) = saved?;
    if json {
        let needed = engine.needed_images(&pipeline).await?;
        images::report(&context.console, &needed, Some(size), false);
    }
    let load = format!("images load {}", quote(&args.file.to_string_lossy()));
    context.console.note(&format!(
        "\n{}, {}. Next, on the other host: {}",
        listing::count(count, "image"),
        units::size(size),
        context.invocation.command(&load),
    ));
    Ok(Verdict::Right)
}

/// The number of images, and the size of the file in bytes.
async fn to_file(
    engine: &Engine,
    pipeline: &Pipeline,
    progress: &Progress,
    args: &Args,
) -> Result<(usize, u64)> {
    let name = args.file.display().to_string();
    let failed = |e: io::Error| {
        Error::new(Kind::Unreachable, format!("cannot write {name}")).because(e.to_string())
    };
    // A device or a pipe is written to; renaming a file over it would remove it.
    if fs::metadata(&args.file).is_ok_and(|there| !there.is_file() && !there.is_dir()) {
        let mut options = tokio::fs::File::options();
        let opened = options.write(true).open(&args.file).await;
        let file = opened.map_err(failed)?.into_std().await;
        return save(engine, pipeline, progress, file, &name).await;
    }
    let unfinished = Unfinished::create(&args.file)?;
    let file = unfinished.file().map_err(failed)?;
    let saved = save(engine, pipeline, progress, file, &name).await?;
    unfinished.finish().map_err(failed)?;
    Ok(saved)
}

async fn to_stdout(
    engine: &Engine,
    pipeline: &Pipeline,
    progress: &Progress,
) -> Result<(usize, u64)> {
    let stdout = io::stdout();
    if stdout.is_terminal() {
        let what = "images cannot be written to a terminal";
        return Err(Error::new(Kind::Usage, what).hint("caravan images save images.tar"));
    }
    let stdout = stdout.as_fd().try_clone_to_owned().map_err(|e| {
        Error::new(Kind::Unreachable, "cannot write to stdout").because(e.to_string())
    })?;
    save(engine, pipeline, progress, File::from(stdout), "stdout").await
}

async fn save(
    engine: &Engine,
    pipeline: &Pipeline,
    progress: &Progress,
    file: File,
    name: &str,
) -> Result<(usize, u64)> {
    let images = engine.make_images(pipeline, progress.events()).await?;
    let references: Vec<_> = images.into_iter().map(|image| image.reference).collect();
    let size = engine
        .export_images(&references, file, name, progress.events())
        .await?;
    Ok((references.len(), size))
}
