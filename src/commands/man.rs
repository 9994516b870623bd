use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::{Command, CommandFactory};
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};

use super::Verdict;
use crate::{cli::Cli, context::Context, help, state};
use diagnostics::{Error, Kind, Result};

/// Write the manual pages, one for each command
///
/// `man` finds them in /usr/local/share/man and, if ~/.local/bin is in PATH, in ~/.local/share/man.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Directory for manuals; the pages are written to man1 in it
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// A manual page: the name of its file, and its text.
struct Page {
    file: String,
    text: Vec<u8>,
}

pub(crate) fn run(context: &Context, args: &Args) -> Result<Verdict> {
    let pages = pages().map_err(|error| Error::new(Kind::Defect, error.to_string()))?;
    let directory = context.path(&args.directory).join("man1");
    write(&directory, &pages).map_err(|error| {
        let what = format!("cannot write the pages to {}", directory.display());
        Error::new(Kind::Unreachable, what).because(error.to_string())
    })?;
    let written = format!("wrote {} pages to {}", pages.len(), directory.display());
    context.console.note(&written);
    Ok(Verdict::Right)
}

fn write(directory: &Path, pages: &[Page]) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    for Page { file, text } in pages {
        let text = str::from_utf8(text).map_err(io::Error::other)?;
        state::replace_file(&directory.join(file), text, 0o644)?;
    }
    Ok(())
}

/// caravan(1), with the options of all commands, then a page for each command and each verb.
fn pages() -> io::Result<Vec<Page>> {
    fn below(command: &Command, pages: &mut Vec<Page>) -> io::Result<()> {
        for command in command.get_subcommands().filter(|c| !c.is_hide_set()) {
            pages.push(page(command)?);
            below(command, pages)?;
        }
        Ok(())
    }
    let built = |command: Command| {
        let mut command = command.disable_help_subcommand(true);
        command.build();
        command
    };
    let mut pages = vec![page(&built(Cli::command()))?];
    below(&built(help::command()), &mut pages)?;
    Ok(pages)
}

fn page(command: &Command) -> io::Result<Page> {
    let is_main = command.get_name() == "caravan";
    let version = command.get_version().unwrap_or_default();
    let man = Man::new(command.clone())
        .source(format!("caravan {version}"))
        .manual("Caravan");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if command.get_subcommands().any(|c| !c.is_hide_set()) {
        man.render_subcommands_section(&mut text)?;
    }
    let mut more = Roff::new();
    if is_main {
        more.control("SH", ["EXIT STATUS"]);
        for (code, meaning) in help::EXIT_CODES {
            more.control("TP", []);
            more.text([bold(*code)]).text([roman(*meaning)]);
        }
    }
    let path = command.get_bin_name().unwrap_or_default();
    let examples = help::examples(path.trim_start_matches("caravan "));
    if !examples.is_empty() {
        more.control("SH", ["EXAMPLES"]).control("nf", []);
        for line in examples {
            more.text([roman(*line)]);
        }
        more.control("fi", []);
    }
    if !is_main {
        more.control("SH", ["SEE ALSO"]);
        more.text([bold("caravan"), roman("(1): the options of all commands")]);
    }
    more.to_writer(&mut text)?;
    let file = man.get_filename();
    Ok(Page { file, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let pages = pages().expect("pages");
        let text = |file: &str| {
            let page = pages.iter().find(|page| page.file == file);
            String::from_utf8(page.expect("pages").text.clone()).expect("pages")
        };
        let visible = Cli::command();
        for command in visible.get_subcommands().filter(|c| !c.is_hide_set()) {
            let page = text(&format!("caravan-{}.1", command.get_name()));
            for section in ["NAME", "SYNOPSIS", "OPTIONS", "SEE ALSO"] {
                assert!(page.contains(section), "{section} in {page}");
            }
            // Options of all commands are in caravan(1) alone.
            assert!(!page.contains("no\\-progress"), "{page}");
        }
        assert!(text("caravan-dlq-replay.1").contains("SEE ALSO"));
        let main = text("caravan.1");
        for part in ["no\\-progress", "EXIT STATUS", "caravan\\-verify(1)"] {
            assert!(main.contains(part), "{part} in {main}");
        }
    }
}
