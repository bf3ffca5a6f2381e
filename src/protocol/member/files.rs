//! Files that were sent: which are known here, which are fetched, who may have them from us.
//! Owns: the list of files, when one is fetched by itself, how much of the disk files may take.
//! Must not know: how a file is carried, sealed, written.
//! Invariants: a file is given only to members of the room it was sent to; no more is fetched than
//! the quota holds, and what was fetched counts until it is dropped; what is fetched is known again
//! after a restart; no more are known than [`FILES_MAX`]; one whose message has ended is known no more,
//! and what was saved of it in the download directory stays.
//! Start reading at: [`Member::note_file`].
//!
//! ```text
//!  a message brings a file ──► offered ──(small, or /get)──► fetching ⇄ paused ──► complete
//!                                 ▲──────────(/drop)────────────┴┴────► failed ──(/get)───┘
//! ```

mod list;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

pub(super) use self::list::Files;
use self::list::{Key, Known, STANDS_STILL_AFTER, erase, known_view, write};
use super::expiry::{LOOK_EVERY, check_life};
use super::{Context, Member};
use crate::ids::{CommandId, FileId, MessageId, NetworkId, PeerId, RoomId};
use crate::limits::{FILES_FETCHED_MAX, FILES_MAX, FILES_PREPARED_MAX, FILES_STARTED_MAX};
use crate::protocol::room::Draft;
use crate::protocol::{
    About, Doing, FileCommand, FileOrder, FileReport, FileView, GivenFile, MessageView, Notice,
    Saying, Send,
};
use crate::refusal::{Refusal, Refused};
use crate::terms::{FileKey, FileState, FileTerms};
use crate::time::{Millis, Mono, Wall};
use crate::wire::file::StoredFile;

impl Member {
    /// A message is here: one that brings a file, or takes one back.
    pub(super) fn note_file(&mut self, room: RoomId, view: &MessageView, cx: &mut Context<'_>) {
        let terms = match &view.about {
            About::File(terms) => terms,
            About::Deletion(of) => return self.take_back(*of, view.peer, cx),
            _ => return,
        };
        let is_same = |it: &Known| it.file.terms == **terms;
        // Sent on in its room by somebody else: it stays the file of whom it came from first.
        if self.files.known.contains_key(&(terms.id, view.id))
            || self.files.of(&terms.id).any(|it| is_same(it) && it.file.room == room)
        {
            return;
        }
        let path = self.files.prepared.remove(&terms.id);
        let is_own = path.is_some();
        if !self.make_room_for_one(is_own, cx) {
            return;
        }
        let has = |it: &Known| is_same(it) || it.file.state == FileState::Complete;
        let is_known = self.files.of(&terms.id).any(has);
        let is_small = terms.size <= self.files.rule.accept;
        let state = match is_own {
            true => FileState::Complete,
            // What we sent in another life of this home is like anybody's.
            false if is_small && !view.is_own && !is_known => FileState::Fetching,
            false => FileState::Offered,
        };
        let file = StoredFile {
            terms: (**terms).clone(),
            name: view.text.clone(),
            room,
            author: view.peer,
            message: view.id,
            state,
            path: path.unwrap_or_default(),
            is_own,
            rename: String::new(),
            at: cx.now.wall,
            expires_at: view.expires_at,
        };
        cx.actions.writes.push(write(&file));
        self.files.next_end = [self.files.next_end, file.expires_at].into_iter().flatten().min();
        let have = if is_own { terms.size } else { 0 };
        let known = Known { file, have, reason: None, sources: None, moved: Mono(0) };
        let key = known.key();
        self.files.known.insert(key, known);
        if !is_own {
            self.tell_file(&key, None, cx);
        }
    }

    /// The list is bounded: what was offered first and nobody wanted goes. `false`: nothing may.
    fn make_room_for_one(&mut self, is_for_own: bool, cx: &mut Context<'_>) -> bool {
        if self.files.known.len() < FILES_MAX {
            return true;
        }
        if let Some(key) = self.files.least(is_for_own) {
            self.forget_file(&key, cx);
            return true;
        }
        if !std::mem::replace(&mut self.files.is_full_told, true) {
            let text = format!(
                "{FILES_MAX} files are known and here, so new ones cannot be fetched: /files, /drop"
            );
            cx.notice(Notice::Info { text });
        }
        false
    }

    /// The author does not want a file to be had any more.
    fn take_back(&mut self, message: MessageId, by: PeerId, cx: &mut Context<'_>) {
        let is_meant = |it: &&Known| it.file.message == message && it.file.author == by;
        if let Some(key) = self.files.known.values().find(is_meant).map(Known::key) {
            self.forget_file(&key, cx);
        }
    }

    fn forget_file(&mut self, key: &Key, cx: &mut Context<'_>) {
        self.let_go(key, cx);
        self.files.known.remove(key);
        self.files.is_full_told = false;
        cx.actions.writes.extend(erase(key));
    }

    /// What has ended goes: its key, what came of it so far, and the bytes that lay here to be given to
    /// others.
    pub(super) fn end_files(&mut self, cx: &mut Context<'_>) {
        let Some(next) = self.files.next_end else { return };
        if next > cx.now.wall {
            let left = next.since(cx.now.wall).min(LOOK_EVERY);
            return cx.actions.wake_by(Some(cx.now.mono.after(left)));
        }
        for key in self.files.ended(cx.now.wall) {
            self.forget_file(&key, cx);
        }
        let ends = self.files.known.values().filter_map(|it| it.file.expires_at);
        self.files.next_end = ends.min();
        if let Some(next) = self.files.next_end {
            let left = next.since(cx.now.wall).min(LOOK_EVERY);
            cx.actions.wake_by(Some(cx.now.mono.after(left)));
        }
    }

    /// It is fetched no further, and given to nobody any more.
    fn let_go(&mut self, key: &Key, cx: &mut Context<'_>) {
        let is_needed = self.files.is_needed(key);
        let Some(known) = self.files.known.get_mut(key) else { return };
        let path = std::mem::take(&mut known.file.path);
        let order = match known.file.state {
            FileState::Complete => FileOrder::Forget { id: key.0, path },
            _ => FileOrder::Stop { id: key.0 },
        };
        // What the hand keeps under this id may be another's by now.
        if known.is_running() || !is_needed {
            cx.actions.sends.push(Send::File(order));
        }
        known.file.state = FileState::Offered;
        known.file.is_own = false;
        known.file.rename.clear();
        (known.have, known.reason, known.sources) = (0, None, None);
    }

    pub(super) fn on_files(&mut self, id: CommandId, asked: FileCommand, cx: &mut Context<'_>) {
        let answer = match asked {
            FileCommand::Send { room, path, name, life } => {
                self.prepare(id, (room, life), (path, name), cx)
            }
            FileCommand::List => {
                let mut files: Vec<&Known> = self.files.known.values().collect();
                files.sort_by_key(|it| (it.file.at, it.file.terms.id));
                let files = files.into_iter().map(|it| self.file_view(it)).collect();
                cx.notice(Notice::Files { command: id, files });
                Ok(())
            }
            FileCommand::Get { id: file, name } => self.get_file(id, &file, &name, cx),
            FileCommand::Drop { id: file } => self.drop_file(id, &file, cx),
        };
        if let Err(refused) = answer {
            cx.fail(id, refused);
        }
    }

    fn prepare(
        &mut self,
        command: CommandId,
        (room, life): (String, Option<Millis>),
        (path, name): (String, String),
        cx: &mut Context<'_>,
    ) -> Result<(), Refused> {
        life.map_or(Ok(()), check_life)?;
        if self.talks.is_open {
            match room.strip_prefix('@') {
                // The room of the two may have to be made, which is done once there is a file.
                Some(name) => drop(self.member_named(name)?),
                None => self.may_write(&room)?,
            }
        }
        if self.files.preparing.len() >= FILES_PREPARED_MAX {
            return Err(Refused::new(Refusal::TooMany, "files are being read already"));
        }
        let coming = self.files.preparing.len().saturating_add(self.files.prepared.len());
        let known = self.files.known.len().saturating_add(coming);
        if known >= FILES_MAX && self.files.least(true).is_none() {
            let why = format!("{FILES_MAX} files are known and here; /drop some first");
            return Err(Refused::new(Refusal::TooMany, why));
        }
        self.files.preparing.insert(command, (room, life));
        let key = FileKey(self.chance.bytes());
        cx.actions.sends.push(Send::File(FileOrder::Prepare { command, path, name, key }));
        Ok(())
    }

    fn get_file(
        &mut self,
        command: CommandId,
        id: &str,
        name: &str,
        cx: &mut Context<'_>,
    ) -> Result<(), Refused> {
        let key = self.files.called(id)?;
        let key = self.files.whole(&key.0).unwrap_or(key);
        let is_allowed = self.files.rule.quota;
        let used = self.files.used();
        let Some(known) = self.files.known.get(&key) else { return Ok(()) };
        let state = known.state();
        if !name.is_empty() && (state == FileState::Complete || known.is_running()) {
            let place = match &known.file.path {
                path if !path.is_empty() => path,
                _ if known.file.rename.is_empty() => &known.file.name,
                _ => &known.file.rename,
            };
            let why = format!("it has a name here already, {place}; /drop it first");
            return Err(Refused::new(Refusal::CommandBad, why));
        }
        if state == FileState::Failed && known.file.state == FileState::Complete {
            // What is here is not what was sent: it is fetched from those who have that.
            self.let_go(&key, cx);
        }
        let Some(known) = self.files.known.get_mut(&key) else { return Ok(()) };
        if !name.is_empty() {
            known.file.rename = crate::text::file_name(name);
            cx.actions.writes.push(write(&known.file));
        }
        if matches!(known.file.state, FileState::Offered | FileState::Failed) {
            let size = known.file.terms.size;
            if is_allowed.is_some_and(|quota| size > quota) {
                let detail = format!("it has {size} bytes, {used} are used");
                return Err(Refused::new(Refusal::FilesQuota, detail));
            }
            known.file.state = FileState::Fetching;
            known.reason = None;
            cx.actions.writes.push(write(&known.file));
            self.go_on_fetching(cx);
        }
        self.tell_file(&key, Some(command), cx);
        Ok(())
    }

    fn drop_file(
        &mut self,
        command: CommandId,
        id: &str,
        cx: &mut Context<'_>,
    ) -> Result<(), Refused> {
        let key = self.files.called(id)?;
        // What is here stays where it is; others have it from us no more, and it counts no more. What
        // was sent from here is then like anybody's: to be had from those who have it.
        self.let_go(&key, cx);
        self.files.is_full_told = false;
        if let Some(known) = self.files.known.get(&key) {
            cx.actions.writes.push(write(&known.file));
        }
        // The answer is for who asked alone, and other faces show the file, too.
        self.tell_file(&key, None, cx);
        self.tell_file(&key, Some(command), cx);
        Ok(())
    }

    pub(super) fn on_file(&mut self, report: FileReport, cx: &mut Context<'_>) {
        match report {
            FileReport::Prepared { command, terms, name, path } => {
                let Some((room, life)) = self.files.preparing.remove(&command) else { return };
                self.files.prepared.insert(terms.id, path);
                let saying = Saying { text: name, about: About::File(Box::new(terms)) };
                self.on_posts(&room, vec![(command, Draft { life, ..saying.into() })], cx);
            }
            FileReport::Reading { command, done, of } => {
                if self.files.preparing.contains_key(&command) {
                    cx.notice(Notice::Progress { command, doing: Doing::Reading, done, of });
                }
            }
            FileReport::NotPrepared { command, refused } => {
                if self.files.preparing.remove(&command).is_some() {
                    cx.fail(command, refused);
                }
            }
            FileReport::Asked { from, network, id, ticket } => {
                let given = self.given_file(from, network, &id, cx.now.wall);
                cx.actions.sends.push(Send::File(FileOrder::Answer { ticket, given }));
            }
            FileReport::Progress { id, have } => {
                let Some((key, known)) = self.fetched(&id) else { return };
                if have > known.have {
                    known.moved = cx.now.mono;
                }
                (known.have, known.reason) = (have, None);
                self.tell_file(&key, None, cx);
            }
            FileReport::Paused { id, refused } => {
                let Some((key, known)) = self.fetched(&id) else { return };
                if known.reason.as_ref() != Some(&refused) {
                    known.reason = Some(refused);
                    self.tell_file(&key, None, cx);
                }
            }
            FileReport::Completed { id, path } => {
                let Some((key, known)) = self.fetched(&id) else { return };
                known.file.state = FileState::Complete;
                known.file.path = path;
                (known.have, known.reason) = (known.file.terms.size, None);
                known.sources = None;
                cx.actions.writes.push(write(&known.file));
                self.tell_file(&key, None, cx);
                // What else is wanted under this id is the same, or was never what was sent.
                for other in self.files.wanted(&id) {
                    self.let_go(&other, cx);
                    if let Some(known) = self.files.known.get(&other) {
                        cx.actions.writes.push(write(&known.file));
                    }
                    self.tell_file(&other, None, cx);
                }
            }
            FileReport::Failed { id, refused } => {
                let Some((key, known)) = self.fetched(&id) else { return };
                known.file.state = FileState::Failed;
                (known.reason, known.sources) = (Some(refused), None);
                cx.actions.writes.push(write(&known.file));
                self.tell_file(&key, None, cx);
            }
            FileReport::Changed { id } => self.file_changed(&id, cx),
        }
    }

    /// The one that the hand fetches under this id.
    fn fetched(&mut self, id: &FileId) -> Option<(Key, &mut Known)> {
        let key = self.files.running(id)?;
        self.files.known.get_mut(&key).map(|known| (key, known))
    }

    /// What lies here is not what was sent. That is not stored: a disk that was only away is asked again
    /// after a restart.
    fn file_changed(&mut self, id: &FileId, cx: &mut Context<'_>) {
        let is_here = |it: &&Known| it.file.state == FileState::Complete;
        let keys: Vec<Key> = self.files.of(id).filter(is_here).map(Known::key).collect();
        for key in keys {
            let Some(known) = self.files.known.get_mut(&key) else { continue };
            known.reason = Some(Refusal::FileChanged.into());
            let text = format!(
                "{} is not any more what was sent, so nobody can have it from here: {}",
                known.file.name, known.file.path
            );
            cx.notice(Notice::Info { text });
            self.tell_file(&key, None, cx);
        }
    }

    /// What of a file somebody may have from us.
    fn given_file(
        &self,
        to: PeerId,
        network: NetworkId,
        id: &FileId,
        now: Wall,
    ) -> Option<GivenFile> {
        let ours = self.authority.as_ref()?.network;
        // Whoever talks with us in this room is a member of it by what we both applied.
        let may = |it: &&Known| {
            let talk = self.talks.rooms.get(&it.file.room);
            network == ours && talk.is_some_and(|talk| talk.sync.is_linked(&to))
        };
        let has = |it: &&Known| {
            (it.is_running() || it.file.state == FileState::Complete) && !it.has_ended(now)
        };
        let whole = |it: &&Known| it.file.state == FileState::Complete;
        let known = self.files.of(id).filter(|it| has(it) && may(it)).max_by_key(whole)?;
        // Of what is not whole there is no path.
        Some(GivenFile { terms: known.file.terms.clone(), path: known.file.path.clone() })
    }

    /// Who may have a file: all who are linked in a room to which just this was sent.
    fn sources_of(&self, terms: &FileTerms) -> Vec<PeerId> {
        let rooms = self.files.of(&terms.id).filter(|it| it.file.terms == *terms);
        let talks = rooms.filter_map(|it| self.talks.rooms.get(&it.file.room));
        let linked: BTreeSet<PeerId> = talks.flat_map(super::talks::Talk::linked).collect();
        linked.into_iter().collect()
    }

    /// Who sent what is to be fetched, by room: perhaps nobody else has it.
    pub(super) fn files_wait_for(&self) -> impl Iterator<Item = (RoomId, PeerId)> + '_ {
        let files = self.files.known.values().map(|it| &it.file);
        files.filter(|it| it.state == FileState::Fetching).map(|it| (it.room, it.author))
    }

    /// Orders what is due, and tells who may have it now.
    pub(super) fn go_on_fetching(&mut self, cx: &mut Context<'_>) {
        let is_wanted = |it: &Known| it.file.state == FileState::Fetching;
        if !self.files.known.values().any(is_wanted) {
            return;
        }
        let Some(network) = self.authority.as_ref().map(|it| it.network) else { return };
        // Those of which nothing comes keep nobody waiting.
        let now = cx.now.mono;
        let is_moving = |it: &&Known| it.is_running() && !it.is_still(now);
        let mut running = self.files.known.values().filter(is_moving).count();
        let mut started = self.files.known.values().filter(|it| it.is_running()).count();
        let mut used = self.files.used();
        let quota = self.files.rule.quota.unwrap_or(u64::MAX);
        let mut changed = Vec::new();
        let wanted = self.files.known.values().filter(|it| is_wanted(it));
        let mut wanted: Vec<(Wall, Key)> = wanted.map(|it| (it.file.at, it.key())).collect();
        wanted.sort_unstable();
        for (_, key) in wanted {
            let Some(known) = self.files.known.get(&key) else { continue };
            let (id, size) = (key.0, known.file.terms.size);
            if known.is_running() {
                self.name_sources(&key, cx);
                continue;
            }
            if running >= FILES_FETCHED_MAX || started >= FILES_STARTED_MAX {
                continue;
            }
            let in_its_way = self.files.running(&id).and_then(|it| self.files.known.get(&it));
            if in_its_way.is_some_and(|it| it.have > 0 || !it.is_still(now)) {
                continue;
            }
            if used.saturating_add(size) > quota {
                let refused = Refused::new(Refusal::FilesQuota, format!("{used} bytes are used"));
                if known.reason.as_ref().is_none_or(|it| it.refusal != Refusal::FilesQuota)
                    && let Some(known) = self.files.known.get_mut(&key)
                {
                    known.reason = Some(refused);
                    changed.push(key);
                }
                continue;
            }
            if let Some(other) = self.files.running(&id)
                && let Some(other) = self.files.known.get_mut(&other)
            {
                // Under this id nothing came of the other's terms: these have their turn.
                other.sources = None;
                started = started.saturating_sub(1);
                used = used.saturating_sub(other.file.terms.size);
                cx.actions.sends.push(Send::File(FileOrder::Stop { id }));
            }
            self.order_fetch(network, &key, cx);
            started = started.saturating_add(1);
            (running, used) = (running.saturating_add(1), used.saturating_add(size));
            changed.push(key);
        }
        let moved = self.files.known.values().filter(is_moving).map(|it| it.moved);
        if let Some(first) = moved.min() {
            // Then the next one may have its place.
            cx.actions.wake_by(Some(first.after(STANDS_STILL_AFTER)));
        }
        for key in changed {
            self.tell_file(&key, None, cx);
        }
    }

    fn order_fetch(&mut self, network: NetworkId, key: &Key, cx: &mut Context<'_>) {
        let Some(known) = self.files.known.get(key) else { return };
        let terms = known.file.terms.clone();
        let sources = self.sources_of(&terms);
        let Some(known) = self.files.known.get_mut(key) else { return };
        let name = match known.file.rename.as_str() {
            "" => known.file.name.clone(),
            other => other.to_owned(),
        };
        let order = FileOrder::Fetch { network, terms, name, sources: sources.clone() };
        cx.actions.sends.push(Send::File(order));
        (known.sources, known.reason, known.moved) = (Some(sources), None, cx.now.mono);
    }

    /// Tells the hand who may have a file that it fetches, if that changed.
    fn name_sources(&mut self, key: &Key, cx: &mut Context<'_>) {
        let Some(known) = self.files.known.get(key) else { return };
        let sources = self.sources_of(&known.file.terms);
        if known.sources.as_ref() == Some(&sources) {
            return;
        }
        let order = FileOrder::Sources { id: key.0, sources: sources.clone() };
        cx.actions.sends.push(Send::File(order));
        if let Some(known) = self.files.known.get_mut(key) {
            known.sources = Some(sources);
        }
    }

    fn tell_file(&self, key: &Key, command: Option<CommandId>, cx: &mut Context<'_>) {
        if let Some(known) = self.files.known.get(key) {
            cx.notice(Notice::File { command, file: Box::new(self.file_view(known)) });
        }
    }

    fn file_view(&self, known: &Known) -> FileView {
        let (room, author, view) = known_view(known);
        FileView { room: self.room_label(&room), from: self.label(&author), ..view }
    }
}
