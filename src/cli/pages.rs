//! All of a room's messages, oldest first, of a member that only tells pages backwards.
//! Owns: where the pages begin, and what was deleted.
//! Must not know: what becomes of the messages, how a page is asked for.
//! Invariants: never more than a page is held, however much there is; what was there at the start is
//! given once and in its order, whatever comes in between.
//! Start reading at: [`Pages::new`].

use super::json::MAIN;
use crate::ids::{PeerId, Seq};
use crate::node::Handle;
use crate::protocol::fold::Deletions;
use crate::protocol::{Command, MessagePlace, MessageView, Notice};
use crate::refusal::{Refusal, Refused};

/// Whoever tells the newest messages of a room, or those before one, oldest first.
pub(super) trait Teller {
    /// At most so many of them.
    fn ask(
        &self,
        before: Option<MessagePlace>,
        last: usize,
    ) -> impl Future<Output = Result<Vec<MessageView>, Refused>> + Send;
}

/// A member that runs.
pub(super) struct Asked<'a> {
    pub(super) handle: &'a Handle,
    pub(super) room: &'a str,
}

impl Teller for Asked<'_> {
    async fn ask(
        &self,
        before: Option<MessagePlace>,
        last: usize,
    ) -> Result<Vec<MessageView>, Refused> {
        let room = self.room.to_owned();
        let command = match before {
            None => Command::History { room, last },
            Some(before) => Command::Earlier { room, before, last },
        };
        match self.handle.command(command).await? {
            Notice::History { messages, .. } => Ok(messages),
            _ => Err(Refusal::Internal.into()),
        }
    }
}

/// The rooms that the member of this handle is in, by name; the first one of all first.
///
/// # Errors
/// What keeps them from being told.
pub(super) async fn rooms(handle: &Handle) -> Result<Vec<String>, Refused> {
    let Notice::Rooms { rooms, .. } = handle.command(Command::Rooms).await? else {
        return Err(Refusal::Internal.into());
    };
    let mut names: Vec<String> =
        rooms.into_iter().filter(|room| room.is_in).map(|room| room.room).collect();
    names.sort_by_key(|name| (name != MAIN, name.clone()));
    Ok(names)
}

/// The pages of a room from the oldest on: they are walked back once, and only where each begins is
/// kept.
pub(super) struct Pages<T> {
    teller: T,
    page: usize,
    /// Where each page begins, the oldest last.
    starts: Vec<Start>,
    /// Seen on the way back.
    deletions: Deletions,
}

/// Where a page begins: how it is named, and how a room is ordered.
#[derive(Clone, Copy)]
struct Start {
    place: MessagePlace,
    order: (u64, PeerId, Seq),
}

fn order(message: &MessageView) -> (u64, PeerId, Seq) {
    (message.lamport, message.peer, message.seq)
}

impl<T: Teller> Pages<T> {
    /// Finds where the pages begin; `counted` hears how many there are so far.
    ///
    /// # Errors
    /// What keeps them from being told.
    pub(super) async fn new(
        teller: T,
        page: usize,
        mut counted: impl FnMut(usize),
    ) -> Result<Self, Refused> {
        let mut starts: Vec<Start> = Vec::new();
        let mut deletions = Deletions::default();
        loop {
            let messages = teller.ask(starts.last().map(|it| it.place), page).await?;
            let Some(first) = messages.first() else { break };
            messages.iter().rev().for_each(|message| deletions.note(message));
            starts.push(Start { place: first.place(), order: order(first) });
            counted(starts.len());
        }
        Ok(Self { teller, page, starts, deletions })
    }

    /// Which messages were deleted; to be taken once.
    pub(super) fn deletions(&mut self) -> Deletions {
        std::mem::take(&mut self.deletions)
    }

    /// How many pages are still to come.
    pub(super) fn left(&self) -> usize {
        self.starts.len()
    }

    /// The next page, oldest first; `None` after the last.
    ///
    /// # Errors
    /// As above.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<MessageView>>, Refused> {
        let Some(start) = self.starts.pop() else { return Ok(None) };
        let end = self.starts.last().map(|it| it.place);
        let mut count = self.page;
        loop {
            let mut messages = self.teller.ask(end, count).await?;
            // What came meanwhile may stand in between, so that the page begins further back.
            let is_whole = messages.len() < count
                || messages.first().is_some_and(|first| order(first) <= start.order);
            if is_whole {
                messages.retain(|it| order(it) >= start.order);
                return Ok(Some(messages));
            }
            count = count.saturating_mul(2);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::ids::{DeviceKey, MessageId};
    use crate::protocol::About;
    use crate::time::Wall;

    fn message(number: u64) -> MessageView {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&number.to_be_bytes());
        MessageView {
            id: MessageId(id),
            room: "main".to_owned(),
            from: "bob".to_owned(),
            peer: PeerId::of_ed25519(&DeviceKey([1; 32])),
            seq: Seq(number),
            lamport: number,
            text: number.to_string(),
            about: About::Nothing,
            sent_at: Wall(0),
            expires_at: None,
            is_own: false,
            is_fork: false,
            missing: 0,
            is_ignored: false,
        }
    }

    /// A talk that becomes another after so many questions.
    struct Talk {
        now: Mutex<(Vec<u64>, usize)>,
        then: (usize, Vec<u64>),
    }

    impl Teller for Talk {
        async fn ask(
            &self,
            before: Option<MessagePlace>,
            last: usize,
        ) -> Result<Vec<MessageView>, Refused> {
            let mut now = self.now.lock().unwrap();
            now.1 += 1;
            if now.1 == self.then.0 {
                now.0.clone_from(&self.then.1);
            }
            assert!(last < 100);
            let end = before.map(|before| before.seq.0);
            let is_meant = |it: &u64| end.is_none_or(|end| *it < end);
            let before: Vec<u64> = now.0.iter().copied().filter(is_meant).collect();
            let first = before.len().saturating_sub(last);
            Ok(before[first..].iter().map(|number| message(*number)).collect())
        }
    }

    async fn exported(talk: Vec<u64>, then: (usize, Vec<u64>), page: usize) -> Vec<u64> {
        let talk = Talk { now: Mutex::new((talk, 0)), then };
        let mut pages = Pages::new(talk, page, |_| {}).await.unwrap();
        let mut all = Vec::new();
        while let Some(messages) = pages.next().await.unwrap() {
            all.extend(messages.iter().map(|it| it.seq.0));
        }
        all
    }

    #[tokio::test]
    async fn every_message_is_given_once_in_order_whatever_the_size_of_a_page() {
        let talk: Vec<u64> = (1..=20).map(|number| number * 10).collect();
        for page in [1, 3, 7, 20, 50] {
            assert_eq!(exported(talk.clone(), (0, Vec::new()), page).await, talk, "{page}");
        }
        assert!(exported(Vec::new(), (0, Vec::new()), 3).await.is_empty());
    }

    #[tokio::test]
    async fn what_comes_or_goes_meanwhile_costs_nothing_of_what_was_there() {
        let talk: Vec<u64> = (1..=20).map(|number| number * 10).collect();
        let more: Vec<u64> = (1..=20).flat_map(|number| [number * 10 - 5, number * 10]).collect();
        for after in 1..14 {
            let all = exported(talk.clone(), (after, more.clone()), 3).await;
            assert!(all.is_sorted_by(|one, next| one < next), "{all:?}");
            let kept: Vec<u64> = all.into_iter().filter(|it| it % 10 == 0).collect();
            assert_eq!(kept, talk, "{after}");
        }
        let fewer: Vec<u64> = talk[8..].to_vec();
        for after in 9..14 {
            let all = exported(talk.clone(), (after, fewer.clone()), 3).await;
            assert!(all.ends_with(&fewer[4..]) && all.is_sorted_by(|a, b| a < b), "{all:?}");
        }
    }
}
