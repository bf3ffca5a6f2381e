//! What later messages make of earlier ones: edited, deleted, marked.
//! Owns: the rule by which everybody comes to the same.
//! Must not know: rooms, keys, how anything is drawn.
//! Invariants: whatever order messages come in, the same are shown; nobody changes what another
//! wrote; a deletion is final.
//! Start reading at: [`Fold::take`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{About, MessageView};
use crate::ids::{MessageId, PeerId, Seq};

/// What is kept of messages about others that have not come; the oldest go first.
const EARLY_MAX: usize = 4_096;
/// Deletions that [`Deletions`] heeds; beyond it the oldest of them is forgotten.
const DELETIONS_MAX: usize = 100_000;
/// Different marks on one message, and members under one of them: more are not counted.
const MARKS_MAX: usize = 64;

/// A message as it stands now.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// The message; its text is the newest of its author's.
    pub view: MessageView,
    /// Whether its text was changed.
    pub is_edited: bool,
    /// Whether its author deleted it, or it has ended; the text is empty then.
    pub is_deleted: bool,
    /// Whether it has ended by itself.
    pub is_ended: bool,
    /// Who put which mark on it, by name.
    pub marks: BTreeMap<String, BTreeSet<String>>,
    edit: Option<Order>,
    marked: BTreeMap<(String, PeerId), (Order, bool)>,
}

/// Display order within a room.
type Order = (u64, PeerId, Seq);

fn order(view: &MessageView) -> Order {
    (view.lamport, view.peer, view.seq)
}

/// Messages of any rooms with what was said about them.
#[derive(Clone, Debug, Default)]
pub struct Fold {
    told: BTreeMap<MessageId, Told>,
    early: BTreeMap<MessageId, Vec<MessageView>>,
    /// The targets of `early`, in the order they came.
    waiting: VecDeque<MessageId>,
}

impl Fold {
    /// Takes a message in; the id of the one that is shown anew, if one is.
    pub fn take(&mut self, view: MessageView) -> Option<MessageId> {
        let target = match &view.about {
            About::Nothing | About::Reply(_) | About::Application(_) | About::File(_) => {
                let id = view.id;
                self.told.entry(id).or_insert_with(|| Told::of(view));
                for later in self.early.remove(&id).unwrap_or_default() {
                    self.apply(id, &later);
                }
                return Some(id);
            }
            About::Edit(of) | About::Deletion(of) => *of,
            About::Reaction { to, .. } => *to,
        };
        if self.told.contains_key(&target) {
            return self.apply(target, &view).then_some(target);
        }
        self.early.entry(target).or_default().push(view);
        self.waiting.push_back(target);
        while self.waiting.len() > EARLY_MAX {
            let Some(oldest) = self.waiting.pop_front() else { break };
            if let Some(views) = self.early.get_mut(&oldest) {
                views.drain(..1.min(views.len()));
                if views.is_empty() {
                    self.early.remove(&oldest);
                }
            }
        }
        None
    }

    /// A message as it stands now.
    pub fn told(&self, id: &MessageId) -> Option<&Told> {
        self.told.get(id)
    }

    /// A message has ended, which is as if its author had deleted it; the message, if it is here.
    pub fn end(&mut self, id: &MessageId) -> Option<&Told> {
        let told = self.told.get_mut(id)?;
        told.is_ended |= !told.is_deleted;
        told.is_deleted = true;
        told.view.text.clear();
        Some(told)
    }

    /// Forgets a message, to be taken in anew when it is needed.
    pub fn forget(&mut self, id: &MessageId) {
        self.told.remove(id);
    }

    fn apply(&mut self, target: MessageId, view: &MessageView) -> bool {
        self.told.get_mut(&target).is_some_and(|told| told.apply(view))
    }
}

impl Told {
    fn of(view: MessageView) -> Self {
        Self {
            view,
            is_edited: false,
            is_deleted: false,
            is_ended: false,
            marks: BTreeMap::new(),
            edit: None,
            marked: BTreeMap::new(),
        }
    }

    /// Whether it changed anything.
    fn apply(&mut self, later: &MessageView) -> bool {
        let is_author = later.peer == self.view.peer && later.room == self.view.room;
        let at = order(later);
        match &later.about {
            About::Edit(_) if is_author && !self.is_deleted => {
                if self.edit.is_some_and(|edit| edit >= at) {
                    return false;
                }
                self.edit = Some(at);
                self.is_edited = true;
                self.view.text.clone_from(&later.text);
                true
            }
            About::Deletion(_) if is_author => {
                self.is_deleted = true;
                self.view.text.clear();
                true
            }
            About::Reaction { is_removed, .. } if later.room == self.view.room => {
                self.mark(later, at, *is_removed)
            }
            _ => false,
        }
    }

    fn mark(&mut self, later: &MessageView, at: Order, is_removed: bool) -> bool {
        let key = (later.text.clone(), later.peer);
        let is_newer = self.marked.get(&key).is_none_or(|(before, _)| *before < at);
        let is_full = self.marked.len() >= MARKS_MAX * MARKS_MAX
            || (self.marks.len() >= MARKS_MAX && !self.marks.contains_key(&later.text));
        if !is_newer || (is_full && !self.marked.contains_key(&key)) {
            return false;
        }
        self.marked.insert(key, (at, is_removed));
        let names = self.marks.entry(later.text.clone()).or_default();
        let is_changed =
            if is_removed { names.remove(&later.from) } else { names.insert(later.from.clone()) };
        if names.is_empty() {
            self.marks.remove(&later.text);
        }
        is_changed
    }
}

/// Which messages of a room their authors deleted, for who reads them once through.
#[derive(Debug, Default)]
pub struct Deletions {
    of: BTreeSet<(PeerId, MessageId)>,
    order: VecDeque<(Order, PeerId, MessageId)>,
}

impl Deletions {
    /// Looks whether a message deletes one.
    pub fn note(&mut self, view: &MessageView) {
        let About::Deletion(of) = view.about else { return };
        if !self.of.insert((view.peer, of)) {
            return;
        }
        let item = (order(view), view.peer, of);
        // Rooms are read from one end or from the other.
        match self.order.back().is_none_or(|newest| *newest < item) {
            true => self.order.push_back(item),
            false => self.order.push_front(item),
        }
        if self.order.len() > DELETIONS_MAX
            && let Some((_, peer, id)) = self.order.pop_front()
        {
            self.of.remove(&(peer, id));
        }
    }

    /// The message as it may be shown: without what its author deleted, if it did.
    pub fn shown(&self, view: &MessageView) -> Option<MessageView> {
        let of = if let About::Edit(of) = view.about { of } else { view.id };
        let is_deleted = self.of.contains(&(view.peer, of));
        let about = match &view.about {
            // What a file is called is part of what was said.
            About::File(_) => About::Nothing,
            about => about.clone(),
        };
        is_deleted.then(|| MessageView { text: String::new(), about, ..view.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::DeviceKey;
    use crate::time::Wall;

    fn said(n: u8, by: u8, text: &str, about: About) -> MessageView {
        MessageView {
            id: MessageId([n; 16]),
            room: "main".to_owned(),
            from: format!("member {by}"),
            peer: PeerId::of_ed25519(&DeviceKey([by; 32])),
            seq: Seq(u64::from(n)),
            lamport: u64::from(n),
            text: text.to_owned(),
            about,
            sent_at: Wall(u64::from(n)),
            expires_at: None,
            is_own: false,
            is_fork: false,
            missing: 0,
            is_ignored: false,
        }
    }

    #[test]
    fn a_deletion_hides_a_message_and_its_edits_of_its_author_alone() {
        let deletion = |n, by, of| said(n, by, "", About::Deletion(MessageId([of; 16])));
        let later = said(2, 1, "still secret", About::Edit(MessageId([1; 16])));
        for is_backwards in [false, true] {
            let mut deletions = Deletions::default();
            let mut all = [deletion(3, 1, 1), deletion(4, 1, 9), deletion(5, 2, 7)];
            if is_backwards {
                all.reverse();
            }
            all.iter().for_each(|view| deletions.note(view));
            for hidden in [said(1, 1, "secret", About::Nothing), later.clone()] {
                let shown = deletions.shown(&hidden).unwrap();
                assert_eq!((shown.text.as_str(), shown.id), ("", hidden.id));
            }
            assert_eq!(deletions.shown(&said(7, 1, "of another", About::Nothing)), None);
            assert_eq!(deletions.shown(&said(8, 1, "kept", About::Nothing)), None);
            let oldest = deletions.order.front().unwrap();
            assert_eq!(oldest.2, MessageId([1; 16]), "the oldest is forgotten first");
        }
    }

    fn mark(n: u8, by: u8, mark: &str, is_removed: bool) -> MessageView {
        said(n, by, mark, About::Reaction { to: MessageId([1; 16]), is_removed })
    }

    #[test]
    fn what_has_ended_says_nothing_whatever_comes_later() {
        let mut fold = Fold::default();
        let first = MessageId([1; 16]);
        assert_eq!(fold.end(&first), None);
        fold.take(said(1, 1, "for a minute", About::Nothing));
        assert!(fold.end(&first).is_some_and(|told| told.is_deleted && told.view.text.is_empty()));
        assert_eq!(fold.take(said(2, 1, "once more", About::Edit(first))), None);
        assert_eq!(fold.told(&first).unwrap().view.text, "");
    }

    #[test]
    fn the_same_is_shown_in_whatever_order_it_comes() {
        let first = MessageId([1; 16]);
        let all = [
            said(1, 1, "hello", About::Nothing),
            said(2, 1, "hello, all", About::Edit(first)),
            said(3, 2, "not yours", About::Edit(first)),
            mark(4, 2, "+1", false),
            mark(5, 3, "+1", false),
            mark(6, 2, "+1", true),
            said(7, 1, "hello, everybody", About::Edit(first)),
        ];
        // Every rotation, forwards and backwards.
        for turn in 0..all.len() {
            for is_backwards in [false, true] {
                let mut order: Vec<_> = all.iter().cycle().skip(turn).take(all.len()).collect();
                if is_backwards {
                    order.reverse();
                }
                let mut fold = Fold::default();
                for view in order {
                    fold.take(view.clone());
                }
                let told = fold.told(&first).unwrap();
                assert_eq!(told.view.text, "hello, everybody", "{turn} {is_backwards}");
                assert!(told.is_edited && !told.is_deleted);
                let marks: Vec<_> = told.marks.iter().collect();
                assert_eq!(marks.len(), 1);
                assert_eq!(marks[0].1, &BTreeSet::from(["member 3".to_owned()]));
            }
        }
    }

    #[test]
    fn a_deletion_is_final_and_of_one_s_own() {
        let first = MessageId([1; 16]);
        let mut fold = Fold::default();
        assert_eq!(fold.take(said(1, 1, "secret", About::Nothing)), Some(first));
        assert_eq!(fold.take(said(2, 2, "", About::Deletion(first))), None);
        assert!(!fold.told(&first).unwrap().is_deleted);
        assert_eq!(fold.take(said(3, 1, "", About::Deletion(first))), Some(first));
        assert_eq!(fold.take(said(4, 1, "back", About::Edit(first))), None);
        let told = fold.told(&first).unwrap();
        assert!(told.is_deleted && told.view.text.is_empty());
        // In another room the same id means nothing.
        let elsewhere = MessageView { room: "ops".to_owned(), ..mark(5, 2, "+1", false) };
        assert_eq!(fold.take(elsewhere), None);
    }

    #[test]
    fn what_waits_and_what_is_marked_is_bounded() {
        let mut fold = Fold::default();
        for n in 0..=EARLY_MAX + 9 {
            let mut target = [0; 16];
            for (to, from) in target.iter_mut().zip(n.to_be_bytes()) {
                *to = from;
            }
            fold.take(said(9, 2, "x", About::Edit(MessageId(target))));
        }
        assert_eq!((fold.waiting.len(), fold.early.len()), (EARLY_MAX, EARLY_MAX));
        fold.take(said(1, 1, "hello", About::Nothing));
        for n in 0..200 {
            fold.take(mark(9, 2, &format!("{n}"), false));
        }
        assert_eq!(fold.told(&MessageId([1; 16])).unwrap().marks.len(), MARKS_MAX);
    }
}
