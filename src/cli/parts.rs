//! All messages of a room or of all rooms of a member that runs, written down in parts.
//! Owns: in which order, and how large a part is.
//! Must not know: who asked, and where a part goes.
//! Invariants: never more than a page is held; a room that cannot be read is left out only where
//! all were asked for; all parts together are what the store alone would have given.
//! Start reading at: [`write()`].

use super::args::Format;
use super::offline::Pen;
use super::pages::{self, Asked, Pages};
use crate::node::Handle;
use crate::refusal::{Refusal, Refused};

/// Messages in a page: few enough that nobody else waits long for the member.
const PAGE: usize = 2_000;
/// A part is given at the latest when so much has gathered.
const PART_BYTES: usize = 64 << 10;

/// Whoever takes the parts, each a text of its own.
pub(super) trait Taker {
    /// Takes one; `None`: there is nobody left to take any.
    fn take(&self, part: String) -> impl Future<Output = Option<()>> + Send;

    /// Hears how far it is: so much of all, which is 0 while nobody knows.
    fn at(&self, _done: u64, _of: u64) {}
}

/// How far it is where so many pages of a room, one of so many, are still to come.
fn share(rooms: (usize, usize), pages: (usize, usize)) -> (u64, u64) {
    let long = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let ((before, rooms), (left, pages)) = (rooms, pages);
    let done = long(pages.saturating_sub(left)).saturating_mul(100);
    let done = done.checked_div(long(pages)).unwrap_or(100);
    (long(before).saturating_mul(100).saturating_add(done), long(rooms).saturating_mul(100))
}

/// Writes it all down; `None`: nobody took the rest.
///
/// # Errors
/// What keeps the messages from being told.
pub(super) async fn write(
    handle: &Handle,
    room: Option<String>,
    format: Format,
    taker: &(impl Taker + Sync),
) -> Result<Option<()>, Refused> {
    let is_one = room.is_some();
    let rooms = match room {
        Some(room) => vec![room],
        None => pages::rooms(handle).await?,
    };
    for (at, room) in rooms.iter().enumerate() {
        // Whoever waits hears that it goes on.
        let counted = |_| taker.at(0, 0);
        let mut pages = match Pages::new(Asked { handle, room }, PAGE, counted).await {
            // Somebody waits there for a yes, or it was left just now.
            Err(no) if !is_one && is_closed(no.refusal) => continue,
            pages => pages?,
        };
        let mut pen = Pen::new(format, pages.deletions());
        let mut text = Vec::new();
        let all = pages.left();
        if !is_one {
            pen.heading(room, at == 0, &mut text);
        }
        while let Some(messages) = pages.next().await? {
            pen.note(&messages);
            for message in &messages {
                pen.write(message, &mut text);
                if text.len() >= PART_BYTES && give(&mut text, taker).await.is_none() {
                    return Ok(None);
                }
            }
            let (done, of) = share((at, rooms.len()), (pages.left(), all));
            taker.at(done, of);
        }
        if give(&mut text, taker).await.is_none() {
            return Ok(None);
        }
    }
    Ok(Some(()))
}

async fn give(text: &mut Vec<u8>, taker: &(impl Taker + Sync)) -> Option<()> {
    if text.is_empty() {
        return Some(());
    }
    let part = String::from_utf8_lossy(text).into_owned();
    text.clear();
    taker.take(part).await
}

/// Whether a room cannot be read just now, which says nothing of others.
fn is_closed(refusal: Refusal) -> bool {
    matches!(refusal, Refusal::RequestWaiting | Refusal::NotInRoom | Refusal::RoomUnknown)
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn a_share_is_of_all_rooms() {
        assert_eq!(share((0, 1), (4, 4)), (0, 100));
        assert_eq!(share((0, 1), (1, 4)), (75, 100));
        assert_eq!(share((2, 4), (1, 2)), (250, 400));
        assert_eq!(share((3, 4), (0, 0)), (400, 400), "an empty one");
    }
}
