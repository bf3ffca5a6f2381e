//! The door: a command line becomes settings, a role to run or an order to carry out.
//! Owns: the tree of commands and flags, and all printing.
//! Must not know: how anything is done.
//! Invariants: nothing starts before every setting is checked; the exit codes are those of `report`.
//! Start reading at: [`run`].

mod alias;
mod args;
mod backup;
mod beside;
mod catch_up;
mod columns;
mod console;
#[cfg(unix)]
mod contract;
mod demo;
mod export;
mod input;
mod invite;
mod json;
#[cfg(unix)]
mod local;
mod manual;
mod network;
mod offline;
mod operator;
mod pages;
mod parts;
mod progress;
mod report;
pub(crate) mod screen;
mod secret;
mod serve;
mod shown;
mod slash;
mod whole;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use self::args::Globals;
use crate::config::Config;
use crate::protocol::{Command, Words};
use crate::refusal::Refused;

/// Runs the program with the arguments of this process.
pub fn run() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    // Known before the arguments are understood, for the answer to wrong ones.
    let is_json =
        arguments.iter().skip(1).take_while(|one| *one != "--").any(|one| one == "--json");
    let args = match args::Args::try_parse_from(arguments) {
        Ok(args) => args,
        Err(error) => return report::usage(&error, is_json),
    };
    match start(&args) {
        Ok(code) => code,
        Err(refused) => report::end(&refused, args.globals.json),
    }
}

fn start(args: &args::Args) -> Result<ExitCode, Refused> {
    let invite = args.invite()?;
    let config = args.config(invite.as_ref())?;
    report::log(&config)?;
    // What is wrong in the settings is said by every command, also by one that needs none of it.
    alias::Aliases::of(&config)?;
    match &args.verb {
        args::Verb::Join(join) => {
            let passphrase = join.lock.passphrase(&config)?;
            serve::member(config, invite, passphrase, join.daemon, &args.globals)
        }
        args::Verb::Bootstrap(_) => serve::bootstrap(config, &args.globals),
        args::Verb::Keyauth(keyauth) => match &keyauth.order {
            None => serve::keyauth(config, &args.globals),
            Some(order) => operator::order(&config, order, args.globals.json),
        },
        args::Verb::Demo => demo::run(&config, &args.globals),
        args::Verb::Local(verb) => {
            ask(verb, &config, &args.globals).map_err(|no| invite::naming(no, &config))
        }
        args::Verb::History { .. }
        | args::Verb::Search { .. }
        | args::Verb::Export { .. }
        | args::Verb::Verify { .. }
        | args::Verb::Audit { .. } => {
            stored(&args.verb, &config, &args.globals).map_err(|no| invite::naming(no, &config))
        }
        args::Verb::Invite { verb } => invite::run(&config, verb, args.globals.json),
        args::Verb::Id { verb: args::IdVerb::Export { file } } => {
            operator::export_id(&config, file, args.globals.json)
        }
        args::Verb::Id { verb: args::IdVerb::Passphrase(change) } => {
            secret::change(&config, change, args.globals.json)
        }
        args::Verb::Backup { verb } => backup::run(&config, verb, args.globals.json),
        args::Verb::Config { verb: args::ConfigVerb::Show } => {
            beside::check(&config)?;
            operator::show(&config, args.globals.json)
        }
    }
}

/// What the running member of this home answers.
#[cfg(unix)]
fn ask(verb: &args::LocalVerb, config: &Config, globals: &Globals) -> Result<ExitCode, Refused> {
    use args::LocalVerb as Verb;
    use local::verbs::{self, slash};
    // Both forms ask for the same; scripts get the plain one.
    let plain = |cmd: &str, line: &str| match globals.json {
        true => serde_json::json!({ "cmd": cmd }),
        false => slash(line),
    };
    match verb {
        Verb::Send { what, lines, file, expires, wait, timeout, .. } => {
            let path = file.as_deref().map(std::path::absolute).transpose().map_err(|error| {
                Refused::new(crate::refusal::Refusal::FileUnread, error.to_string())
            })?;
            let (room, text) = match what.as_slice() {
                [_, _] if path.is_some() => {
                    let what = "with --file there is a room and no text";
                    return Err(Refused::new(crate::refusal::Refusal::CommandBad, what));
                }
                room if path.is_some() => (room.first().map_or(json::MAIN, String::as_str), ""),
                [room, text] => (room.as_str(), text.as_str()),
                one => (json::MAIN, one.first().map_or("", String::as_str)),
            };
            let (room, text, expires) = (room.to_owned(), text.to_owned(), expires.clone());
            let (has_lines, wait, timeout) = (*lines, *wait, *timeout);
            let sending = verbs::Sending { room, text, path, expires, has_lines, wait, timeout };
            verbs::send(config, &sending, globals)
        }
        Verb::Tail { since, room, .. } => verbs::tail(config, *since, room.as_deref(), globals),
        Verb::Members(_) => verbs::ask(config, plain("members", "/who"), globals),
        Verb::Rooms(_) => verbs::ask(config, plain("rooms", "/rooms"), globals),
        Verb::Status(_) => verbs::ask(config, plain("status", "/status"), globals),
        Verb::Leader(_) => verbs::ask(config, slash("/leader"), globals),
        Verb::Links(_) => verbs::ask(config, plain("links", "/links"), globals),
        Verb::Room { what, .. } => {
            let line = format!("/room {}", what.join(" "));
            verbs::ask(config, slash(line.trim_end()), globals)
        }
        Verb::Do { line, .. } => verbs::ask(config, slash(line), globals),
        Verb::Rpc(_) => local::rpc::run(config),
        Verb::Doctor(_) => local::doctor::run(config, globals.json),
        Verb::Api { verb } => local::tokens::run(verb, config, globals.json),
        Verb::Web { scope, .. } => local::tokens::web(scope, config, globals.json),
        Verb::Completions { shell } => manual::completions(*shell),
        Verb::Man { directory } => manual::pages(directory.as_deref()),
    }
}

#[cfg(not(unix))]
fn ask(verb: &args::LocalVerb, _: &Config, _: &Globals) -> Result<ExitCode, Refused> {
    match verb {
        args::LocalVerb::Completions { shell } => manual::completions(*shell),
        args::LocalVerb::Man { directory } => manual::pages(directory.as_deref()),
        _ => {
            let detail = "a running member is reached by a Unix socket, which this system lacks";
            Err(Refused::new(crate::refusal::Refusal::NothingRunning, detail))
        }
    }
}

/// What a member has stored: the member says it while it runs, else its store.
fn stored(verb: &args::Verb, config: &Config, globals: &Globals) -> Result<ExitCode, Refused> {
    #[cfg(unix)]
    if let Some(code) = local::stored::of_running(verb, config, globals)? {
        return Ok(code);
    }
    match verb {
        args::Verb::History { whose, last } => {
            let store = offline::open(config, &whose.named)?;
            offline::history(store, &whose.room, *last, config, globals)
        }
        args::Verb::Search { whose, words, last } => {
            let typed = words.join(" ");
            let words = Words::parse(&typed)?;
            let store = offline::open(config, &whose.named)?;
            let room = whose.room.as_deref();
            let asked = Question::Search { room: whose.room.clone(), words: typed };
            offline::search(store, (room, asked), &words, *last, (config, globals))
        }
        args::Verb::Export { whose, format, output } => {
            let store = offline::open(config, &whose.named)?;
            offline::export(store, whose.room.as_deref(), *format, output.as_deref())
        }
        args::Verb::Audit { member } => {
            offline::audit(&offline::open(config, member)?, globals.json)
        }
        args::Verb::Verify { other: Some(_), .. } => {
            let what = "safety words are asked of a member that runs; start it first";
            Err(Refused::new(crate::refusal::Refusal::NothingRunning, what))
        }
        args::Verb::Verify { member, .. } => offline::verify(config, member, globals.json),
        _ => Err(crate::refusal::Refusal::Internal.into()),
    }
}

/// What a line of input asks for: something of the node, something answered here, both or neither;
/// or an export, which takes many questions.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wish {
    command: Option<(Command, Option<Asked>)>,
    answer: Option<Answer>,
    export: Option<export::Order>,
}

impl Wish {
    fn command(command: Command, asked: Option<Asked>) -> Self {
        Self { command: Some((command, asked)), ..Self::default() }
    }
    fn failed(refused: Refused, reference: Option<String>) -> Self {
        Self::answered(Answer::Failed { refused, reference })
    }
    fn answered(answer: Answer) -> Self {
        Self { answer: Some(answer), ..Self::default() }
    }
    fn export(export: export::Export, line: String, reference: Option<String>) -> Self {
        let order = export::Order { export, line, reference };
        Self { export: Some(order), ..Self::default() }
    }
}

/// What a face must know to show the answer to a command.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    /// What the program called the command.
    reference: Option<String>,
    /// In which form it asked.
    question: Question,
}

/// In which form something was asked.
#[derive(Debug, PartialEq, Eq)]
enum Question {
    /// As a command of its own.
    Plain,
    /// For who leads.
    Leader,
    /// For the history of this room.
    History {
        /// The room.
        room: String,
    },
    /// For messages that hold these words.
    Search {
        /// The room; `None`: all.
        room: Option<String>,
        /// As typed.
        words: String,
    },
    /// By a slash command.
    Slash {
        /// As typed.
        line: String,
        /// As understood.
        slash: slash::Slash,
    },
}

/// An answer that needs no node.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// The line is refused.
    Failed { refused: Refused, reference: Option<String> },
    /// The slash command in a line of JSON is refused.
    SlashFailed { line: String, reference: Option<String>, refused: Refused },
    /// What commands there are; in brief their names alone, for a person.
    Helped { line: String, reference: Option<String>, entries: Vec<slash::Entry>, is_brief: bool },
    /// The node is told to leave.
    Leaving { line: String, reference: Option<String> },
    /// A room is written out.
    Exported { line: String, reference: Option<String>, exported: export::Written },
}
