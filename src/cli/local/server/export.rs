//! An export over the socket: a room or all of them, in parts.
//! Owns: how a part is said.
//! Must not know: who asked, and what is done with a part.
//! Invariants: each part is a line; the last line says that it was all.
//! Start reading at: [`Reader::export`].

use tokio::sync::mpsc;

use super::{Reader, Said};
use crate::cli::args::Format;
use crate::cli::json;
use crate::cli::parts::{self, Taker};
use crate::refusal::Refused;

impl Reader<'_> {
    /// The whole of a room or of all rooms in parts, each a line; `None` as above.
    pub(super) async fn export(
        &self,
        room: Option<String>,
        format: Format,
        reference: Option<&str>,
    ) -> Result<Option<()>, Refused> {
        let lines = Lines { answers: &self.answers, reference };
        if parts::write(self.handle, room, format, &lines).await?.is_none() {
            return Ok(None);
        }
        let mut part = Vec::new();
        json::parted(reference, &mut part);
        Ok(self.answers.send(Said::Lines(part)).await.ok())
    }
}

/// Parts as lines.
struct Lines<'a> {
    answers: &'a mpsc::Sender<Said>,
    reference: Option<&'a str>,
}

impl Taker for Lines<'_> {
    async fn take(&self, part: String) -> Option<()> {
        let mut line = Vec::new();
        json::part(&part, self.reference, &mut line);
        self.answers.send(Said::Lines(line)).await.ok()
    }

    fn at(&self, done: u64, of: u64) {
        let mut line = Vec::new();
        json::share(done, of, self.reference, &mut line);
        // Where much waits already, whoever reads it knows that it goes on.
        self.answers.try_send(Said::Lines(line)).ok();
    }
}
