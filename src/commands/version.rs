use super::Verdict;
use crate::{
    context::Context,
    flags::{Format, OutputArgs},
    output::version,
};

/// Print the version, as `--version` does
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

pub(crate) fn run(context: &Context, args: &Args) -> Verdict {
    let console = &context.console;
    match args.output.output {
        Format::Table => console.composed(&format!("caravan {}", version::VERSION)),
        Format::Json => version::report(console),
    }
    Verdict::Right
}
