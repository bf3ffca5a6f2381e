//! History, search, export, audit and verify, answered by the member that runs.
//! Owns: when it is asked and not its store.
//! Must not know: how a store is read.
//! Invariants: what is printed is what the store alone would have given.
//! Start reading at: [`of_running`].

use std::process::ExitCode;

use serde_json::{Value, json};

use super::client::Heard;
use super::verbs;
use crate::cli::args::{Globals, Verb};
use crate::cli::offline;
use crate::cli::progress::Progress;
use crate::config::Config;
use crate::refusal::{Refusal, Refused};

/// The answer of the running member; `None`: none runs, so its store can be asked.
///
/// # Errors
/// What the member says.
pub(in crate::cli) fn of_running(
    verb: &Verb,
    config: &Config,
    globals: &Globals,
) -> Result<Option<ExitCode>, Refused> {
    let question = match verb {
        Verb::History { whose, last } => {
            json!({ "cmd": "history", "room": whose.room, "last": last })
        }
        Verb::Search { whose, words, last } => {
            json!({ "cmd": "search", "room": whose.room, "words": words.join(" "), "last": last })
        }
        Verb::Export { whose, format, output } => {
            let format = format.name();
            let question = json!({ "cmd": "export", "room": whose.room, "format": format });
            let parts = match verbs::parts(config, question) {
                Ok(parts) => parts,
                Err(refused) if refused.refusal == Refusal::NothingRunning => return Ok(None),
                Err(refused) => return Err(refused),
            };
            let parts = parts.map(|part| part.map(|it| (it.text, it.share)));
            return offline::exported(parts, output.as_deref()).map(Some);
        }
        Verb::Audit { .. } if globals.json => json!({ "cmd": "audit" }),
        Verb::Audit { .. } => verbs::slash("/audit"),
        Verb::Verify { other: Some(name), mark, .. } => {
            let name = name.strip_prefix('@').unwrap_or(name);
            let mark = mark.as_deref().map(|mark| mark == "ok");
            json!({ "cmd": "verify", "name": name, "verified": mark })
        }
        Verb::Verify { .. } => json!({ "cmd": "compare" }),
        _ => return Ok(None),
    };
    // It may take a while; nothing is shown in the first second.
    let asked = match verb {
        Verb::Verify { other: None, .. } => compared(config, &question),
        _ => verbs::asked(config, question),
    };
    let heard = match asked {
        Ok(heard) => heard,
        Err(refused) if refused.refusal == Refusal::NothingRunning => return Ok(None),
        Err(refused) => return Err(refused),
    };
    match verb {
        Verb::Verify { other: None, .. } => {
            verbs::print(&heard, globals.json)?;
            let is_same = heard.last()["ok"] == Value::Bool(true);
            Ok(Some(if is_same { ExitCode::SUCCESS } else { ExitCode::FAILURE }))
        }
        _ => {
            verbs::print(&heard, globals.json)?;
            Ok(Some(ExitCode::SUCCESS))
        }
    }
}

/// What was just said may be on its way, or told about only in a moment: members tell each other
/// what they hold every half second.
const ROUNDS: u32 = 10;
const ROUND: std::time::Duration = std::time::Duration::from_millis(500);

fn compared(config: &Config, question: &Value) -> Result<Heard, Refused> {
    let _progress = Progress::start("comparing with those who are linked");
    let mut rounds = ROUNDS;
    loop {
        let heard = verbs::asked(config, question.clone())?;
        rounds = rounds.saturating_sub(1);
        if heard.last()["ok"] == Value::Bool(true) || rounds == 0 {
            return Ok(heard);
        }
        std::thread::sleep(ROUND);
    }
}
