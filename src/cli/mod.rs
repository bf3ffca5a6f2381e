//! The door: a command line becomes settings, a role to run or an order to carry out.
//! Owns: the tree of commands and flags, and all printing.
//! Must not know: how anything is done.
//! Invariants: nothing starts before every setting is checked; the exit codes are those of `report`.
//! Start reading at: [`run`].

mod args;
mod backup;
mod console;
mod input;
mod invite;
mod json;
mod network;
mod offline;
mod operator;
mod report;
pub(crate) mod screen;
mod secret;
mod serve;
mod slash;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

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
    match &args.verb {
        args::Verb::Join(join) => {
            let passphrase = join.lock.passphrase(&config)?;
            serve::member(config, invite, passphrase, &args.globals)
        }
        args::Verb::Bootstrap(_) => serve::bootstrap(config, &args.globals),
        args::Verb::Keyauth(keyauth) => match &keyauth.order {
            None => serve::keyauth(config, &args.globals),
            Some(order) => operator::order(&config, order, args.globals.json),
        },
        args::Verb::History { whose, last } => {
            let store = offline::open(&config, &whose.named)?;
            offline::history(store, &whose.room, *last, &config, &args.globals)
        }
        args::Verb::Search { whose, words, last } => {
            let typed = words.join(" ");
            let words = Words::parse(&typed)?;
            let store = offline::open(&config, &whose.named)?;
            let asked = Question::Search { room: whose.room.clone(), words: typed };
            let surroundings = (&config, &args.globals);
            offline::search(store, (&whose.room, asked), &words, *last, surroundings)
        }
        args::Verb::Export { whose, format, output } => {
            let store = offline::open(&config, &whose.named)?;
            offline::export(store, &whose.room, *format, output.as_deref())
        }
        args::Verb::Verify { member } => offline::verify(&config, member, args.globals.json),
        args::Verb::Audit { member } => {
            offline::audit(&offline::open(&config, member)?, args.globals.json)
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
            Ok(operator::show(&config, args.globals.json))
        }
    }
}

/// What a line of input asks for: something of the node, something answered here, both or neither.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wish {
    command: Option<(Command, Option<Asked>)>,
    answer: Option<Answer>,
}

impl Wish {
    fn command(command: Command, asked: Option<Asked>) -> Self {
        Self { command: Some((command, asked)), answer: None }
    }
    fn failed(refused: Refused, reference: Option<String>) -> Self {
        Self { command: None, answer: Some(Answer::Failed { refused, reference }) }
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
    /// For the history of this room.
    History {
        /// The room.
        room: String,
    },
    /// For messages of this room that hold these words.
    Search {
        /// The room.
        room: String,
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
    /// What commands there are.
    Helped { line: String, reference: Option<String>, entries: Vec<slash::Entry> },
    /// The node is told to leave.
    Leaving { line: String, reference: Option<String> },
}
