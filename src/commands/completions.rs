use clap_complete::Shell;

use super::Verdict;
use crate::context::Context;

/// Print completions for a shell
///
/// For bash: caravan completions bash > ~/.local/share/bash-completion/completions/caravan
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which one
    shell: Shell,
}

/// Completions of `caravan`, whose command tree is `cli`.
pub(crate) fn run(context: &Context, args: &Args, mut cli: clap::Command) -> Verdict {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut cli, "caravan", &mut script);
    let script = String::from_utf8_lossy(&script);
    context.console.composed(script.trim_end());
    Verdict::Right
}
