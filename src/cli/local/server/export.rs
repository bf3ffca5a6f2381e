//! An export over the socket: a room or all of them, in parts.
//! Owns: in which order, and how large a part is.
//! Must not know: who asked, and what is done with a part.
//! Invariants: never more than a page is held; a room that cannot be read is left out only where
//! all were asked for.
//! Start reading at: [`Reader::export`].

use super::{OUTPUT_BYTES, Reader, Said};
use crate::cli::args::Format;
use crate::cli::pages::{self, Pages};
use crate::cli::{json, offline};
use crate::refusal::{Refusal, Refused};

/// Messages in a page: few enough that nobody else waits long for the member.
const PAGE: usize = 2_000;

impl Reader<'_> {
    /// The whole of a room or of all rooms in parts, each a line; `None` as above.
    pub(super) async fn export(
        &self,
        room: Option<String>,
        format: Format,
        reference: Option<&str>,
    ) -> Result<Option<()>, Refused> {
        let is_one = room.is_some();
        let rooms = match room {
            Some(room) => vec![room],
            None => pages::rooms(self.handle).await?,
        };
        for (at, room) in rooms.iter().enumerate() {
            let teller = pages::Asked { handle: self.handle, room };
            let mut pages = match Pages::new(teller, PAGE, |_| {}).await {
                // Somebody waits there for a yes, or it was left just now.
                Err(no) if !is_one && is_closed(no.refusal) => continue,
                pages => pages?,
            };
            let mut pen = offline::Pen::new(format, pages.deletions());
            let mut text = Vec::new();
            if !is_one {
                pen.heading(room, at == 0, &mut text);
            }
            if self.parts(&mut pages, &mut pen, text, reference).await?.is_none() {
                return Ok(None);
            }
        }
        let mut part = Vec::new();
        json::parted(reference, &mut part);
        Ok(self.answers.send(Said::Lines(part)).await.ok())
    }

    /// The pages of a room after what is written already; `None` as above.
    async fn parts(
        &self,
        pages: &mut Pages<pages::Asked<'_>>,
        pen: &mut offline::Pen,
        mut text: Vec<u8>,
        reference: Option<&str>,
    ) -> Result<Option<()>, Refused> {
        while let Some(messages) = pages.next().await? {
            pen.note(&messages);
            for message in &messages {
                pen.write(message, &mut text);
                if text.len() >= OUTPUT_BYTES && self.part(&mut text, reference).await.is_none() {
                    return Ok(None);
                }
            }
        }
        Ok(match text.is_empty() {
            true => Some(()),
            false => self.part(&mut text, reference).await,
        })
    }

    async fn part(&self, text: &mut Vec<u8>, reference: Option<&str>) -> Option<()> {
        let mut part = Vec::new();
        json::part(&String::from_utf8_lossy(text), reference, &mut part);
        text.clear();
        self.answers.send(Said::Lines(part)).await.ok()
    }
}

/// Whether a room cannot be read just now, which says nothing of others.
fn is_closed(refusal: Refusal) -> bool {
    matches!(refusal, Refusal::RequestWaiting | Refusal::NotInRoom | Refusal::RoomUnknown)
}
