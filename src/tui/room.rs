//! One room on the screen: its messages as far as they are here, and where one stands in them.
//! Owns: the window on its messages, scrolling, the counts of what was not read.
//! Must not know: commands, keys.
//! Invariants: no message twice; the window is bounded, and what was left out of it is known; what
//! one looks at stays where it is while others talk.
//! Start reading at: [`Room`].

mod choice;
mod out;

use std::collections::{BTreeMap, VecDeque};

use super::look::{Mark, Row, Said, Tone, news_rows, ruler};
use crate::ids::CommandId;
use crate::protocol::{MessageId, MessagePlace, RoomView, fold};

/// Messages kept while one reads along; the store has the rest.
const FOLLOWED_MAX: usize = 5_000;
/// A message that comes late is put between so many others at most.
const NEAR: usize = 64;
/// Messages kept while one scrolls back.
const WINDOW_MAX: usize = 20_000;

/// Something in a room.
#[derive(Clone, Debug)]
pub enum Item {
    /// A message.
    Said(Box<Said>),
    /// News, or an answer; whether it is a no.
    News(String, bool),
}

/// Where one looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scroll {
    /// At the newest, whatever comes.
    #[default]
    Bottom,
    /// This item is the last in sight, and so many of its rows are below.
    At(i64, usize),
}

/// A room.
#[derive(Debug, Default)]
pub struct Room {
    /// Its name.
    pub name: String,
    /// How it stands, once that is known.
    pub view: Option<RoomView>,
    items: VecDeque<Item>,
    /// The number of the first item; numbers go on in both directions.
    first: i64,
    ids: BTreeMap<MessageId, i64>,
    /// Where one looks.
    pub scroll: Scroll,
    /// Messages not read.
    pub unread: usize,
    /// Those of them that name us.
    pub mentions: usize,
    /// Whether there are more unread ones than were counted.
    pub is_uncounted: bool,
    /// Messages that came while one looked elsewhere in the room.
    pub below: usize,
    /// Where one had stopped reading when one came in.
    pub marker: Option<MessageId>,
    /// Up to where one has read.
    pub seen: Option<MessageId>,
    /// Up to where that is noted.
    pub noted: Option<MessageId>,
    /// Whether the first message of all is in the window.
    pub is_whole: bool,
    /// Whether the newest messages are not in the window.
    pub is_detached: bool,
    /// The oldest that the store gave, whether it is shown or not.
    pub oldest: Option<MessagePlace>,
    /// Messages that left the window.
    pub dropped: Vec<MessageId>,
    /// A page that was asked for.
    pub asked: Option<CommandId>,
    /// Whether what came since one read last was counted.
    pub is_counted: bool,
    /// Whether the newest page was ever asked for.
    pub is_opened: bool,
    /// Whether messages came in another order than they are shown in.
    pub is_rough: bool,
    /// What was being typed here.
    pub draft: String,
    /// The message that is chosen.
    pub chosen: Option<i64>,
    /// The newest message when the view was cleared.
    cleared: Option<MessageId>,
}

impl Room {
    /// A room of which nothing is known.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// How many should have one's own messages.
    pub fn others(&self) -> usize {
        self.view.as_ref().map_or(0, |view| view.members.len().saturating_sub(1))
    }

    fn end(&self) -> i64 {
        self.first.saturating_add(i64::try_from(self.items.len()).unwrap_or(i64::MAX))
    }

    fn item(&self, key: i64) -> Option<&Item> {
        self.items.get(usize::try_from(key.checked_sub(self.first)?).ok()?)
    }

    fn said_mut(&mut self, key: i64) -> Option<&mut Said> {
        let at = usize::try_from(key.checked_sub(self.first)?).ok()?;
        match self.items.get_mut(at)? {
            Item::Said(said) => Some(said),
            Item::News(..) => None,
        }
    }

    /// The message of this number.
    pub fn said(&self, key: i64) -> Option<&Said> {
        match self.item(key)? {
            Item::Said(said) => Some(said),
            Item::News(..) => None,
        }
    }

    /// The items in the window.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// All in the window, oldest first.
    pub fn items(&self) -> impl DoubleEndedIterator<Item = &Item> {
        self.items.iter()
    }

    /// Messages in the window, oldest first.
    pub fn messages(&self) -> impl DoubleEndedIterator<Item = &Said> {
        self.items.iter().filter_map(|item| match item {
            Item::Said(said) => Some(said.as_ref()),
            Item::News(..) => None,
        })
    }

    /// The newest message that is stored.
    pub fn newest(&self) -> Option<&Said> {
        self.messages().rev().find(|said| said.place.is_some())
    }

    fn push(&mut self, item: Item) {
        if let Item::Said(said) = &item
            && let Some(id) = said.id()
        {
            self.ids.insert(id, self.end());
        }
        self.items.push_back(item);
        if self.scroll == Scroll::Bottom && self.items.len() > FOLLOWED_MAX {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        if let Some(Item::Said(said)) = self.items.pop_front()
            && let Some(id) = said.id()
        {
            self.ids.remove(&id);
            self.dropped.push(id);
        }
        self.first = self.first.saturating_add(1);
        self.is_whole = false;
        let oldest = self.messages().find_map(|said| said.place);
        self.oldest = oldest;
    }

    /// News or an answer.
    pub fn news(&mut self, text: &str, is_bad: bool) {
        self.push(Item::News(text.to_owned(), is_bad));
    }

    /// A message that was just typed.
    pub fn typed(&mut self, said: Said) {
        self.push(Item::Said(Box::new(said)));
    }

    /// A message that came. `false`: it is here, or belongs below the window.
    pub fn came(&mut self, said: Said) -> bool {
        let Some(id) = said.id() else { return false };
        if self.ids.contains_key(&id) {
            return false;
        }
        if self.is_detached {
            self.below += 1;
            return false;
        }
        if self.scroll != Scroll::Bottom {
            self.below += 1;
        }
        // What comes late goes where it belongs if that is near; else all is read anew.
        if self.newest().is_none_or(|last| last.order < said.order) {
            self.push(Item::Said(Box::new(said)));
            return true;
        }
        let behind = self.items.iter().rev().take(NEAR + 1).take_while(|it| is_behind(it, &said));
        match behind.count() {
            near if near <= NEAR => self.insert(self.items.len() - near, said),
            _ => {
                self.is_rough = true;
                self.push(Item::Said(Box::new(said)));
            }
        }
        true
    }

    fn take_out(&mut self, key: i64) {
        let at = key.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        if let Some(at) = at.filter(|at| *at < self.items.len()) {
            self.items.remove(at);
            self.number(at);
        }
    }

    fn insert(&mut self, at: usize, said: Said) {
        let key = self.first.saturating_add(i64::try_from(at).unwrap_or(i64::MAX));
        self.items.insert(at, Item::Said(Box::new(said)));
        self.number(at);
        if let Scroll::At(bottom, hidden) = self.scroll
            && bottom >= key
        {
            self.scroll = Scroll::At(bottom + 1, hidden);
        }
        self.chosen = self.chosen.map(|chosen| if chosen >= key { chosen + 1 } else { chosen });
    }

    /// Numbers the items from here on anew, after one came between them or left.
    fn number(&mut self, at: usize) {
        let key = self.first.saturating_add(i64::try_from(at).unwrap_or(i64::MAX));
        for (n, item) in (key..).zip(self.items.iter().skip(at)) {
            if let Item::Said(said) = item
                && let Some(id) = said.id()
            {
                self.ids.insert(id, n);
            }
        }
    }

    /// What later messages made of one that is here.
    pub fn changed(&mut self, told: &fold::Told, me: &str) {
        let Some(key) = self.ids.get(&told.view.id).copied() else { return };
        if let Some(said) = self.said_mut(key) {
            said.stands(told, me);
        }
    }

    fn typed_at(&self, command: CommandId) -> Option<i64> {
        let from_end = self.items.iter().rev().position(
            |item| matches!(item, Item::Said(said) if said.mark == Mark::Typed(command)),
        )?;
        self.end().checked_sub(i64::try_from(from_end).ok()?)?.checked_sub(1)
    }

    /// What was typed is stored. `false`: it was not typed here.
    pub fn stored(&mut self, command: CommandId, stored: Said) -> bool {
        let Some(key) = self.typed_at(command) else { return false };
        if let Some(id) = stored.id() {
            if self.ids.contains_key(&id) {
                // A page of the store was quicker.
                self.take_out(key);
                return true;
            }
            self.ids.insert(id, key);
        }
        if let Some(said) = self.said_mut(key) {
            *said = stored;
        }
        true
    }

    /// What was typed is refused. `false`: it was not typed here.
    pub fn refused(&mut self, command: CommandId, why: &str) -> bool {
        let Some(key) = self.typed_at(command) else { return false };
        if let Some(said) = self.said_mut(key) {
            said.mark = Mark::Failed(why.to_owned());
        }
        true
    }

    /// Somebody holds one's own message. `false`: it is not in this window.
    pub fn held(&mut self, id: &MessageId, by: &str) -> bool {
        let Some(key) = self.ids.get(id).copied() else { return false };
        let Some(said) = self.said_mut(key) else { return false };
        match &mut said.mark {
            Mark::Sent(to) => {
                to.insert(by.to_owned());
            }
            mark => *mark = Mark::Sent([by.to_owned()].into()),
        }
        true
    }

    /// These hold one's own message, as it is stored.
    pub fn delivered(&mut self, id: &MessageId, to: &[String]) {
        let Some(key) = self.ids.get(id).copied() else { return };
        let Some(said) = self.said_mut(key) else { return };
        match &mut said.mark {
            // What came meanwhile counts, too.
            Mark::Sent(known) => known.extend(to.iter().cloned()),
            mark => *mark = Mark::Sent(to.iter().cloned().collect()),
        }
    }

    /// Messages before the oldest here, oldest first.
    pub fn prepend(&mut self, page: Vec<Said>) {
        for said in page.into_iter().rev() {
            let Some(id) = said.id() else { continue };
            if self.ids.contains_key(&id) {
                continue;
            }
            self.first = self.first.saturating_sub(1);
            self.ids.insert(id, self.first);
            self.items.push_front(Item::Said(Box::new(said)));
        }
        while self.items.len() > WINDOW_MAX && self.scroll != Scroll::Bottom {
            if let Some(Item::Said(said)) = self.items.pop_back()
                && let Some(id) = said.id()
            {
                self.ids.remove(&id);
                self.dropped.push(id);
            }
            self.is_detached = true;
        }
    }

    /// The newest page of the store takes the place of the window; what is not stored keeps its
    /// place between the messages.
    pub fn replace(&mut self, page: Vec<Said>, is_newest: bool) {
        let known: BTreeMap<MessageId, usize> =
            page.iter().enumerate().filter_map(|(at, said)| Some((said.id()?, at))).collect();
        let looked_at = match self.scroll {
            Scroll::Bottom => None,
            Scroll::At(key, hidden) => self.said(key).and_then(Said::id).map(|id| (id, hidden)),
        };
        let mut before: Vec<Item> = Vec::new();
        let mut after: BTreeMap<usize, Vec<Item>> = BTreeMap::new();
        let mut marks: BTreeMap<MessageId, Mark> = BTreeMap::new();
        let mut newer: Vec<Item> = Vec::new();
        let mut at: Option<usize> = None;
        for item in std::mem::take(&mut self.items) {
            if let Item::Said(said) = &item
                && let Some(id) = said.id()
            {
                if let Some(found) = known.get(&id) {
                    at = Some(*found);
                    marks.insert(id, said.mark.clone());
                } else if is_newest && page.last().is_none_or(|last| said.order > last.order) {
                    // It came while the page was on its way.
                    newer.push(item);
                }
                continue;
            }
            match at {
                Some(at) => after.entry(at).or_default().push(item),
                None => before.push(item),
            }
        }
        self.ids.clear();
        self.chosen = None;
        let mut items = before;
        for (at, mut said) in page.into_iter().enumerate() {
            if let Some(mark) = said.id().and_then(|id| marks.remove(&id)) {
                said.mark = mark;
            }
            items.push(Item::Said(Box::new(said)));
            items.extend(after.remove(&at).unwrap_or_default());
        }
        self.is_detached = !is_newest;
        self.is_rough = false;
        self.scroll = Scroll::Bottom;
        for item in items.into_iter().chain(newer) {
            self.push(item);
        }
        match looked_at.and_then(|(id, hidden)| Some((*self.ids.get(&id)?, hidden))) {
            Some((key, hidden)) => self.scroll = Scroll::At(key, hidden),
            None => self.below = 0,
        }
    }

    /// Puts what was typed last, or this message, in sight. `false`: it is not in the window.
    pub fn go_to(&mut self, id: &MessageId) -> bool {
        let Some(key) = self.ids.get(id).copied() else { return false };
        self.cleared = None;
        self.scroll = Scroll::At(key, 0);
        self.chosen = Some(key);
        true
    }

    /// To the newest.
    pub fn to_bottom(&mut self) {
        self.scroll = Scroll::Bottom;
        self.below = 0;
        self.chosen = None;
    }

    /// All rows of an item, with what stands before it.
    fn rows(&self, key: i64, max: usize) -> Vec<Row> {
        let mut rows = Vec::new();
        match self.item(key) {
            None => {}
            Some(Item::News(text, is_bad)) => rows.extend(news_rows(text, *is_bad, max)),
            Some(Item::Said(said)) => {
                let mut earlier = key;
                let before = loop {
                    earlier -= 1;
                    match self.item(earlier) {
                        Some(Item::News(..)) => {}
                        Some(Item::Said(before)) => break Some(before),
                        None => break None,
                    }
                };
                if before.is_none_or(|before| before.moment.day != said.moment.day) {
                    rows.push(ruler(Tone::Day, &said.moment.day.to_string(), max));
                }
                if self.marker.is_some() && before.and_then(|it| it.id()) == self.marker {
                    rows.push(ruler(Tone::Marker, "new", max));
                }
                let quote =
                    said.reply_to.map(|to| match self.ids.get(&to).and_then(|it| self.said(*it)) {
                        Some(answered) => answered.quote(),
                        None => to.to_string().chars().take(8).collect(),
                    });
                let is_chosen = self.chosen == Some(key);
                rows.extend(said.rows(max, self.others(), quote.as_deref(), is_chosen));
            }
        }
        rows
    }

    /// The rows in sight, so many at most, the last one lowest; and whether the oldest item in the
    /// window is in sight or near.
    pub fn sight(&self, max: usize, height: usize) -> (Vec<Row>, bool) {
        let (mut key, hidden) = match self.scroll {
            Scroll::Bottom => (self.end() - 1, 0),
            Scroll::At(key, hidden) => (key, hidden),
        };
        let mut rows: VecDeque<Row> = VecDeque::new();
        let mut skip = hidden;
        let top = self.top();
        while rows.len() < height && key >= top {
            for row in self.rows(key, max).into_iter().rev() {
                if skip > 0 {
                    skip -= 1;
                } else if rows.len() < height {
                    rows.push_front(row);
                }
            }
            key -= 1;
        }
        let above = key.saturating_sub(self.first);
        let is_near = above < i64::try_from(height * 2).unwrap_or(i64::MAX);
        (rows.into(), is_near)
    }

    /// Scrolls back by so many rows.
    pub fn up(&mut self, by: usize, max: usize, height: usize) {
        let (mut key, mut hidden) = match self.scroll {
            Scroll::Bottom => (self.end() - 1, 0),
            Scroll::At(key, hidden) => (key, hidden),
        };
        if self.top() > self.first {
            // What was cleared comes back from below: first the rows that stand empty.
            let empty = height.saturating_sub(self.sight(max, height).0.len());
            hidden += by.saturating_sub(empty);
        } else {
            hidden += by;
        }
        self.cleared = None;
        while key > self.first {
            let count = self.rows(key, max).len();
            if hidden < count {
                break;
            }
            hidden -= count;
            key -= 1;
        }
        // The first row of all goes no lower than the top.
        let (mut top, mut rows) = (self.first, 0);
        while top < self.end() && rows < height {
            rows += self.rows(top, max).len();
            top += 1;
        }
        let lowest = (top - 1, rows.saturating_sub(height));
        let is_above = key < lowest.0 || (key == lowest.0 && hidden > lowest.1);
        let (key, hidden) = if is_above { lowest } else { (key, hidden) };
        self.scroll = Scroll::At(key, hidden);
        if key + 1 >= self.end() && hidden == 0 && !self.is_detached {
            self.to_bottom();
        }
    }

    /// Scrolls on by so many rows. `false`: the end of the window is reached.
    pub fn down(&mut self, mut by: usize, max: usize) -> bool {
        let Scroll::At(mut key, mut hidden) = self.scroll else { return false };
        while by > 0 {
            if by <= hidden {
                hidden -= by;
                break;
            }
            by -= hidden + 1;
            key += 1;
            if key >= self.end() {
                self.scroll = Scroll::At(self.end() - 1, 0);
                return false;
            }
            hidden = self.rows(key, max).len().saturating_sub(1);
        }
        self.scroll = Scroll::At(key, hidden);
        key + 1 < self.end() || hidden > 0
    }
}

/// Whether an item stands behind a message: what is not stored and news stay with what follows.
fn is_behind(item: &Item, said: &Said) -> bool {
    match item {
        Item::Said(other) => other.place.is_none() || other.order > said.order,
        Item::News(..) => true,
    }
}
