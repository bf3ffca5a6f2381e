//! What is printed of the program itself: completions and manual pages.
//! Owns: nothing; both come from the tree of commands.
//! Must not know: what a command does.
//! Invariants: every command of `--help` has its page.
//! Start reading at: [`pages`].

use std::path::Path;
use std::process::ExitCode;

use clap::CommandFactory;

use super::args::Args;
use super::report;
use crate::node::offline;
use crate::refusal::{Refusal, Refused};

const NAME: &str = "p2pgroup";

/// Prints completions.
pub(super) fn completions(shell: clap_complete::Shell) -> ExitCode {
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), NAME, &mut out);
    report::print(&out);
    ExitCode::SUCCESS
}

/// Prints the manual page; with a directory writes the pages of all commands there.
///
/// # Errors
/// [`Refusal::FileUnwritable`].
pub(super) fn pages(directory: Option<&Path>) -> Result<ExitCode, Refused> {
    let mut command = Args::command();
    command.build();
    let Some(directory) = directory else {
        report::print(&page(&command)?);
        return Ok(ExitCode::SUCCESS);
    };
    std::fs::create_dir_all(directory).map_err(|error| offline::unwritable(directory, &error))?;
    write(&command, NAME, directory)?;
    Ok(ExitCode::SUCCESS)
}

fn write(command: &clap::Command, name: &str, directory: &Path) -> Result<(), Refused> {
    let path = directory.join(format!("{name}.1"));
    std::fs::write(&path, page(command)?).map_err(|error| offline::unwritable(&path, &error))?;
    for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
        write(verb, &format!("{name}-{}", verb.get_name()), directory)?;
    }
    Ok(())
}

/// A page; the examples, which come first in `--help`, too.
fn page(command: &clap::Command) -> Result<Vec<u8>, Refused> {
    let mut out = Vec::new();
    let internal =
        |error: std::io::Error| Refused::new(Refusal::Internal, format!("a page: {error}"));
    let page = clap_mangen::Man::new(command.clone());
    page.render_title(&mut out).map_err(internal)?;
    page.render_name_section(&mut out).map_err(internal)?;
    page.render_synopsis_section(&mut out).map_err(internal)?;
    if let Some(examples) = command.get_before_help() {
        out.extend_from_slice(b".SH EXAMPLES\n.nf\n");
        for line in examples.to_string().lines().filter(|line| *line != "Examples:") {
            let line = line.replace('\\', "\\\\").replace('-', "\\-");
            // A line that begins with a dot or an apostrophe would be an order.
            out.extend_from_slice(b"\\&");
            out.extend_from_slice(line.trim_start().as_bytes());
            out.push(b'\n');
        }
        out.extend_from_slice(b".fi\n");
    }
    page.render_description_section(&mut out).map_err(internal)?;
    page.render_options_section(&mut out).map_err(internal)?;
    page.render_subcommands_section(&mut out).map_err(internal)?;
    if command.get_after_help().is_some() {
        page.render_extra_section(&mut out).map_err(internal)?;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(command: &clap::Command, name: &str, found: &mut Vec<(String, clap::Command)>) {
        found.push((name.to_owned(), command.clone()));
        for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
            all(verb, &format!("{name}-{}", verb.get_name()), found);
        }
    }

    #[test]
    fn every_command_has_help_a_page_and_completions_and_examples_come_first() {
        let mut root = Args::command();
        root.build();
        let mut commands = Vec::new();
        all(&root, NAME, &mut commands);
        assert!(commands.len() > 30, "{}", commands.len());
        let directory = tempfile::tempdir().unwrap();
        pages(Some(directory.path())).unwrap();
        for (name, command) in &commands {
            assert!(command.get_about().is_some(), "{name} says nothing about itself");
            for argument in command.get_arguments() {
                let is_told = argument.get_help().is_some() || argument.is_hide_set();
                assert!(is_told, "{name} {} has no help", argument.get_id());
            }
            let path = directory.path().join(format!("{name}.1"));
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.contains(".SH NAME") && text.contains(".SH SYNOPSIS"), "{name}");
            // Those below `invite`, `keyauth` and the like are shown with their parents.
            if name.matches('-').count() <= 1 {
                let help = command.clone().render_help().to_string();
                assert!(help.starts_with("Examples:"), "{name}: {help}");
                assert!(text.contains(".SH EXAMPLES"), "{name}");
            }
        }
        for shell in [
            clap_complete::Shell::Bash,
            clap_complete::Shell::Zsh,
            clap_complete::Shell::Fish,
            clap_complete::Shell::Elvish,
            clap_complete::Shell::PowerShell,
        ] {
            let mut out = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), NAME, &mut out);
            let text = String::from_utf8(out).unwrap();
            for (name, _) in commands.iter().filter(|(name, _)| name.matches('-').count() == 1) {
                let verb = name.strip_prefix("p2pgroup-").unwrap();
                assert!(text.contains(verb), "{shell} completes no {verb}");
            }
        }
    }
}
