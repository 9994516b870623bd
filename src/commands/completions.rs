use clap::CommandFactory;
use clap_complete::Shell;

use super::Verdict;
use crate::{cli::Cli, context::Context};

/// Print completions for a shell
///
/// For bash: caravan completions bash > ~/.local/share/bash-completion/completions/caravan
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which one
    shell: Shell,
}

pub(crate) fn run(context: &Context, args: &Args) -> Verdict {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "caravan", &mut script);
    let script = String::from_utf8_lossy(&script);
    context.console.composed(script.trim_end());
    Verdict::Right
}
