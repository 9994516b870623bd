//! `caravan images`: a file per verb.

use super::Verdict;
use crate::{context::Context, flags::Format};
use declaration::Pipeline;
use diagnostics::Result;

mod build;
mod list;
mod load;
mod save;

/// List and build the pipeline's images, and transfer them to a host without a network
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    #[command(visible_alias = "ls")]
    List(list::Args),
    Build(build::Args),
    Save(save::Args),
    Load(load::Args),
}

impl Args {
    pub(crate) fn format(&self) -> Format {
        match &self.verb {
            Verb::List(args) => args.output.output,
            Verb::Build(args) => args.output.output,
            Verb::Save(args) => args.output.output,
            Verb::Load(args) => args.output.output,
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match &self.verb {
            Verb::List(_) => "images list",
            Verb::Build(_) => "images build",
            Verb::Save(_) => "images save",
            Verb::Load(_) => "images load",
        }
    }
}

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Verdict> {
    match &args.verb {
        Verb::List(args) => list::run(context, args).await,
        Verb::Build(args) => build::run(context, args).await,
        Verb::Save(args) => Box::pin(save::run(context, args)).await,
        Verb::Load(args) => Box::pin(load::run(context, args)).await,
    }
}

/// The pipeline, possibly without secrets: images do not depend on them.
fn pipeline(context: &Context) -> Result<Pipeline> {
    context.resolve_without_secrets(context.source()?)
}
