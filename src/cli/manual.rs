//! What is printed of the program itself: completions and manual pages.
//! Owns: nothing; they come from the tree of commands, the table of settings and that of paths.
//! Must not know: what a command does.
//! Invariants: every command of `--help` has its page.
//! Start reading at: [`pages`].

use std::path::Path;
use std::process::ExitCode;

use clap::CommandFactory;

use super::args::Args;
use super::report;
use crate::config::SETTINGS;
use crate::node::offline;
use crate::refusal::{Refusal, Refused};

const NAME: &str = "p2pgroup";

/// Prints completions.
///
/// # Errors
/// [`Refusal::FileUnwritable`].
pub(super) fn completions(shell: clap_complete::Shell) -> Result<ExitCode, Refused> {
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), NAME, &mut out);
    report::print(&out)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the manual page; with a directory writes the pages of all commands there.
///
/// # Errors
/// [`Refusal::FileUnwritable`].
pub(super) fn pages(directory: Option<&Path>) -> Result<ExitCode, Refused> {
    let mut command = Args::command();
    command.build();
    let Some(directory) = directory else {
        report::print(&page(&command)?)?;
        return Ok(ExitCode::SUCCESS);
    };
    std::fs::create_dir_all(directory).map_err(|error| offline::unwritable(directory, &error))?;
    write(&command, NAME, directory)?;
    let version = command.get_version().unwrap_or_default();
    beside(directory, "5", NAME, &settings_page(version))?;
    #[cfg(unix)]
    beside(directory, "7", &format!("{NAME}-api"), &api_page(version))?;
    Ok(ExitCode::SUCCESS)
}

/// A page of another section: where pages lie in `man1`, in the directory beside it that `man` looks
/// into, else with the others.
fn beside(directory: &Path, section: &str, name: &str, text: &str) -> Result<(), Refused> {
    let is_first = directory.file_name().is_some_and(|it| it == "man1");
    let directory = match directory.parent().filter(|_| is_first) {
        Some(parent) => parent.join(format!("man{section}")),
        None => directory.to_owned(),
    };
    std::fs::create_dir_all(&directory).map_err(|error| offline::unwritable(&directory, &error))?;
    let path = directory.join(format!("{name}.{section}"));
    std::fs::write(&path, text).map_err(|error| offline::unwritable(&path, &error))
}

/// A line that no formatter takes for an order.
fn plain(line: &str) -> String {
    format!("\\&{}", line.replace('\\', "\\\\").replace('-', "\\-"))
}

/// p2pgroup(5): every setting, and the file with their defaults.
fn settings_page(version: &str) -> String {
    let mut out = format!(
        ".TH p2pgroup 5 \"\" \"p2pgroup {version}\"\n.SH NAME\np2pgroup \\- settings\n\
         .SH DESCRIPTION\nThe file of settings is the one of \\-\\-config, else of \
         P2PGROUP_CONFIG, else p2pgroup/config.yml in your configuration directory. The environment \
         beats the file, flags beat both. p2pgroup config show prints each value and where it came \
         from.\n.SH SETTINGS\n"
    );
    for setting in SETTINGS {
        let preset = setting.preset.value().to_string();
        out.push_str(&format!(
            ".TP\n.B {}\n{}; default: {}\n",
            plain(setting.path),
            plain(setting.env),
            plain(&preset)
        ));
    }
    out.push_str(".SH \"THE FILE WITH ALL DEFAULTS\"\n.nf\n");
    for line in include_str!("../../config.yml").lines() {
        out.push_str(&plain(line));
        out.push('\n');
    }
    out.push_str(".fi\n.SH \"SEE ALSO\"\np2pgroup(1), p2pgroup\\-api(7)\n");
    out
}

/// p2pgroup-api(7): every path of the local API.
#[cfg(unix)]
fn api_page(version: &str) -> String {
    let mut out = format!(
        ".TH p2pgroup\\-api 7 \"\" \"p2pgroup {version}\"\n.SH NAME\np2pgroup\\-api \\- the \
         local API of a member\n.SH EXAMPLES\n.nf\n{}\n{}\n{}\n.fi\n.SH DESCRIPTION\nA member \
         that is joined with \\-\\-api 127.0.0.1:PORT, [::1]:PORT or unix:PATH serves HTTP to \
         programs of its person on this machine. Requests carry a token (p2pgroup api token) in the \
         header Authorization: Bearer. Fields are those of \\-\\-json; a no is a problem of RFC \
         9457 with a stable code. The same is described at /v1/openapi.json.\n.SH PATHS\n",
        plain("p2pgroup join --name alice --daemon --api 127.0.0.1:8700"),
        plain("TOKEN=$(p2pgroup api token --scope send --name alice)"),
        plain("curl -H \"Authorization: Bearer $TOKEN\" 127.0.0.1:8700/v1/status"),
    );
    for path in crate::api::paths() {
        let scope = path.scope.map_or("no token".to_owned(), |scope| format!("scope {scope}"));
        let fields = match path.fields.is_empty() {
            true => String::new(),
            false => format!(" Fields: {}.", path.fields.join(", ")),
        };
        let told = format!("{}{fields} ({scope})", path.about);
        out.push_str(&format!(
            ".TP\n.B {}\n{}\n",
            plain(&format!("{} {}", path.method, path.path)),
            plain(&told)
        ));
    }
    out.push_str(".SH \"SEE ALSO\"\np2pgroup(1), p2pgroup(5)\n");
    out
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
        let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
        let (settings, api) = (read("p2pgroup.5"), read("p2pgroup-api.7"));
        for setting in SETTINGS {
            let path = format!(".B {}\n", plain(setting.path));
            assert!(settings.contains(&path) && settings.contains(&plain(setting.env)), "{path}");
        }
        for path in crate::api::paths() {
            let told = plain(&format!("{} {}", path.method, path.path));
            assert!(api.contains(&format!(".B {told}\n")), "{told}");
        }
        let man1 = directory.path().join("man1");
        pages(Some(&man1)).unwrap();
        assert!(directory.path().join("man7/p2pgroup-api.7").is_file());
        assert!(
            directory.path().join("man5/p2pgroup.5").is_file() && !man1.join("p2pgroup.5").exists()
        );
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
            for (name, _) in commands.iter().filter(|(name, _)| name.contains('-')) {
                // A verb may be a part of other words; bash's way to it is not.
                let told = match shell {
                    clap_complete::Shell::Bash => {
                        format!("cmd=\"{}\"", name.replace('-', "__subcmd__"))
                    }
                    _ => name.rsplit('-').next().unwrap_or_default().to_owned(),
                };
                assert!(text.contains(&told), "{shell} completes no {name}");
            }
        }
    }
}
