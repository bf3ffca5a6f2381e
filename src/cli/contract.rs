//! The `--json` contract, given to the local API.
//! Owns: nothing: what a line means stands in `json`.
//! Must not know: HTTP.
//! Invariants: the API takes what a line of `--json` takes, and answers with its events.
//! Start reading at: [`Json`].

use futures::future::BoxFuture;
use tokio::sync::mpsc;

use super::args::Format;
use super::parts::{self, Taker};
use super::{Answer, json};
use crate::api::{Asking, Contract, Written};
use crate::node::{self, Handle};
use crate::protocol::Notice;
use crate::refusal::{Refusal, Refused};

/// As lines of `--json`.
#[derive(Debug)]
pub(super) struct Json;

impl Contract for Json {
    fn understand(&self, line: &[u8]) -> Result<Asking, Refused> {
        let wish = json::read(line);
        if let Some(Answer::Failed { refused, .. } | Answer::SlashFailed { refused, .. }) =
            wish.answer
        {
            return Err(refused);
        }
        let Some((command, asked)) = wish.command else {
            return Err(Refused::new(Refusal::CommandBad, "nothing of the member is asked for"));
        };
        let answer = move |notice| {
            let mut out = Vec::new();
            json::Face::new(node::wall).notice(notice, asked, &mut out);
            out
        };
        Ok(Asking { command, answer: Box::new(answer) })
    }

    fn event(&self, notice: Notice) -> Vec<u8> {
        let mut out = Vec::new();
        json::Face::new(node::wall).notice(notice, None, &mut out);
        out
    }

    fn export(&self, handle: Handle, what: Written) -> BoxFuture<'static, Result<(), Refused>> {
        Box::pin(async move {
            let Written { room, format, give } = what;
            let format = Format::named(&format).ok_or(Refusal::CommandBad)?;
            parts::write(&handle, room, format, &Given(give)).await.map(drop)
        })
    }
}

/// Parts as they are.
struct Given(mpsc::Sender<Result<String, Refused>>);

impl Taker for Given {
    async fn take(&self, part: String) -> Option<()> {
        self.0.send(Ok(part)).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::json;

    /// What a program does with the member it does over HTTP: what typed lines are for has no path,
    /// and who leaves does it by `/v1/commands`.
    #[test]
    fn every_command_has_a_path() {
        let served: Vec<&str> = crate::api::commands().collect();
        let is_missing = |cmd: &&str| !served.contains(cmd) && !["slash", "exit"].contains(cmd);
        let missing: Vec<&str> = json::commands().filter(is_missing).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
