//! What was said, from a place on and without an end: each message once, in the order of arrival.
//! Owns: the place up to which a follower has read.
//! Must not know: who follows, how it is shown.
//! Invariants: what is told comes from the store, so a follower that lags, or comes again with the
//! place it had, misses nothing and is told nothing twice; never more than a page is held.
//! Start reading at: [`Follow::next`].

use std::collections::VecDeque;

use super::hub::{Events, Handle, Told};
use crate::protocol::{Command, MessageView, Notice, SinceView};
use crate::refusal::{Refusal, Refused};

/// Entries read at a time: a slow follower holds so many.
const PAGE: usize = 128;

/// What a follower is told.
#[derive(Debug)]
pub enum Followed {
    /// A message and its place; whoever comes again goes on after it.
    Message(u64, Box<MessageView>),
    /// What was said up to this place was deleted before it was read: the messages that are left
    /// follow.
    Gap(u64),
    /// Everything there is was told; what follows is new.
    CaughtUp(u64),
    /// Something else that happened just now. It is kept nowhere.
    Live(Box<Notice>),
}

/// Follows what is said. See [`Handle::follow`].
#[derive(Debug)]
pub struct Follow {
    handle: Handle,
    events: Events,
    /// Up to where was asked.
    asked: u64,
    page: VecDeque<(u64, MessageView)>,
    gap: Option<u64>,
    live: VecDeque<Notice>,
    must_read: bool,
    is_behind: bool,
}

/// Other notices kept while pages are read; the oldest go first.
const LIVE_MAX: usize = 1_024;

impl Handle {
    /// Follows what is said in all rooms from after a place on; `None`: from now on. 0 is before
    /// everything.
    ///
    /// # Refusals
    /// As [`Handle::command`]; [`Refusal::CursorUnknown`] for a place that is not reached yet: it is
    /// another member's, or from another life of this one.
    pub async fn follow(&self, after: Option<u64>) -> Result<Follow, Refused> {
        // First, so that nothing falls between.
        let events = self.news()?;
        let end = self.since(u64::MAX, 0).await?.last;
        if let Some(after) = after.filter(|after| *after > end) {
            let detail = format!("{after}; the newest is {end}");
            return Err(Refused::new(Refusal::CursorUnknown, detail));
        }
        Ok(Follow {
            handle: self.clone(),
            events,
            asked: after.unwrap_or(end),
            page: VecDeque::new(),
            gap: None,
            live: VecDeque::new(),
            must_read: true,
            is_behind: true,
        })
    }

    /// What arrived after a place.
    ///
    /// # Refusals
    /// As [`Handle::command`].
    pub async fn since(&self, after: u64, count: usize) -> Result<SinceView, Refused> {
        match self.command(Command::Since { after, count }).await? {
            Notice::Since { page, .. } => Ok(*page),
            _ => Err(Refusal::Internal.into()),
        }
    }
}

impl Follow {
    /// The next thing; `None` once the node has ended. Cancel safe.
    ///
    /// # Refusals
    /// What keeps the store from being read.
    pub async fn next(&mut self) -> Result<Option<Followed>, Refused> {
        loop {
            if let Some(upto) = self.gap.take() {
                return Ok(Some(Followed::Gap(upto)));
            }
            if let Some((number, message)) = self.page.pop_front() {
                return Ok(Some(Followed::Message(number, Box::new(message))));
            }
            if self.must_read {
                self.read().await?;
                continue;
            }
            if std::mem::take(&mut self.is_behind) {
                return Ok(Some(Followed::CaughtUp(self.asked)));
            }
            if let Some(notice) = self.live.pop_front() {
                return Ok(Some(Followed::Live(Box::new(notice))));
            }
            let Some(told) = self.events.next().await else { return Ok(None) };
            self.hear(told);
            // Of many messages at once the store is asked once.
            while let Some(told) = self.events.try_next() {
                self.hear(told);
            }
        }
    }

    fn hear(&mut self, told: Told) {
        match told {
            Ok(Notice::Message(_) | Notice::Sent { .. }) | Err(_) => self.must_read = true,
            Ok(notice) => {
                if self.live.len() >= LIVE_MAX {
                    self.live.pop_front();
                }
                self.live.push_back(notice);
            }
        }
    }

    async fn read(&mut self) -> Result<(), Refused> {
        let page = self.handle.since(self.asked, PAGE).await?;
        self.must_read = page.upto < page.last;
        // From the very beginning nobody expects what is gone.
        self.gap = page.deleted_upto.filter(|_| self.asked > 0);
        self.asked = page.upto.max(self.asked);
        self.page = page.messages.into();
        Ok(())
    }
}
