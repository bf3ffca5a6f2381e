//! Files that were sent: which are known here, which are fetched, who may have them from us.
//! Owns: the list of files, when one is fetched by itself, how much of the disk files may take.
//! Must not know: how a file is carried, sealed, written.
//! Invariants: a file is given only to members of the room it was sent to; no more is fetched than
//! the quota holds; what is fetched is known again after a restart.
//! Start reading at: [`Member::note_file`].
//!
//! ```text
//!  a message brings a file ──► offered ──(small, or /get)──► fetching ⇄ paused ──► complete
//!                                 ▲──────────(/drop)────────────┴┴────► failed ──(/get)───┘
//! ```

use std::collections::BTreeMap;

use super::{Context, Member};
use crate::ids::{CommandId, FileId, MessageId, NetworkId, PeerId, RoomId};
use crate::limits::{FILES_FETCHED_MAX, FILES_MAX, FILES_PREPARED_MAX, FILES_STARTED_MAX};
use crate::protocol::{
    About, FileCommand, FileOrder, FileReport, FileView, GivenFile, MessageView, Notice, Reads,
    Saying, Send, Write,
};
use crate::refusal::{Refusal, Refused};
use crate::terms::{FileKey, FileState, FileTerms, FilesRule};
use crate::time::{Millis, Mono};
use crate::wire::file::StoredFile;

/// Known files, by their ids.
const STORED: &str = "files/";
/// Digits that name a file at the least.
const ID_DIGITS_MIN: usize = 4;

/// A file of which nothing came for so long makes way for another one.
const STANDS_STILL_AFTER: Millis = Millis(10_000);

/// A file, and what is known of it beside what is stored.
#[derive(Debug)]
struct Known {
    file: StoredFile,
    /// Bytes that are here.
    have: u64,
    /// What keeps it back, or why it failed.
    reason: Option<Refused>,
    /// Who was named as its sources; `None`: it was not ordered to be fetched.
    sources: Option<Vec<PeerId>>,
    /// When it was ordered, or something of it came last.
    moved: Mono,
}

impl Known {
    fn is_running(&self) -> bool {
        self.sources.is_some()
    }

    /// What it takes of the quota.
    fn takes(&self) -> u64 {
        let is_here = self.file.state == FileState::Complete || self.is_running();
        if is_here && !self.file.is_own { self.file.terms.size } else { 0 }
    }

    fn state(&self) -> FileState {
        match (self.file.state, &self.reason) {
            (FileState::Fetching, Some(_)) => FileState::Paused,
            (state, _) => state,
        }
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Files {
    rule: FilesRule,
    known: BTreeMap<FileId, Known>,
    /// Being read, so that they can be sent: to which room.
    preparing: BTreeMap<CommandId, String>,
    /// Read, and not yet in a message of ours: where they lie.
    prepared: BTreeMap<FileId, String>,
}

impl Files {
    pub(super) fn load(rule: FilesRule, reads: &dyn Reads) -> Self {
        let rows = reads.settings(STORED).into_iter();
        let files = rows.filter_map(|(_, bytes)| StoredFile::decode(&bytes));
        let known = files.map(|file| {
            let have = if file.state == FileState::Complete { file.terms.size } else { 0 };
            (file.terms.id, Known { file, have, reason: None, sources: None, moved: Mono(0) })
        });
        Self { rule, known: known.collect(), ..Self::default() }
    }

    fn used(&self) -> u64 {
        self.known.values().map(Known::takes).fold(0, u64::saturating_add)
    }

    /// The file whose id, or whose message's id, begins so.
    fn called(&self, id: &str) -> Result<FileId, Refused> {
        let digits = id.to_ascii_lowercase();
        let is_id =
            digits.len() >= ID_DIGITS_MIN && digits.bytes().all(|it| it.is_ascii_hexdigit());
        if !is_id {
            let why = format!("a file is named by {ID_DIGITS_MIN} or more hex digits of its id");
            return Err(Refused::new(Refusal::CommandBad, why));
        }
        let is_meant = |it: &&Known| {
            it.file.terms.id.to_string().starts_with(&digits)
                || it.file.message.to_string().starts_with(&digits)
        };
        let mut found = self.known.values().filter(is_meant).map(|it| it.file.terms.id);
        match (found.next(), found.next()) {
            (Some(_), Some(_)) => Err(Refused::new(Refusal::MessageAmbiguous, digits)),
            (Some(one), None) => Ok(one),
            (None, _) => Err(Refused::new(Refusal::FileUnknown, digits)),
        }
    }
}

fn write(file: &StoredFile) -> Write {
    Write::Setting { key: format!("{STORED}{}", file.terms.id), value: Some(file.encode()) }
}

fn erase(id: &FileId) -> Write {
    Write::Setting { key: format!("{STORED}{id}"), value: None }
}

impl Member {
    /// A message is here: one that brings a file, or takes one back.
    pub(super) fn note_file(&mut self, room: RoomId, view: &MessageView, cx: &mut Context<'_>) {
        let terms = match &view.about {
            About::File(terms) => terms,
            About::Deletion(of) => return self.take_back(*of, view.peer, cx),
            _ => return,
        };
        if self.files.known.contains_key(&terms.id) {
            // Sent on by somebody else: it stays the file of whom it came from first.
            return;
        }
        self.make_room_for_one(cx);
        let path = self.files.prepared.remove(&terms.id);
        let is_own = path.is_some();
        let state = match is_own {
            true => FileState::Complete,
            // What we sent in another life of this home is like anybody's.
            false if terms.size <= self.files.rule.accept && !view.is_own => FileState::Fetching,
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
        };
        cx.actions.writes.push(write(&file));
        let have = if is_own { terms.size } else { 0 };
        let known = Known { file, have, reason: None, sources: None, moved: Mono(0) };
        self.files.known.insert(terms.id, known);
        if !is_own {
            self.tell_file(&terms.id, None, cx);
        }
    }

    /// The list is bounded: what was offered first and nobody wanted goes.
    fn make_room_for_one(&mut self, cx: &mut Context<'_>) {
        if self.files.known.len() < FILES_MAX {
            return;
        }
        let is_free = |it: &&Known| !it.is_running() && it.file.state != FileState::Fetching;
        let oldest =
            self.files.known.values().filter(is_free).min_by_key(|it| {
                (it.file.state == FileState::Complete, it.file.at, it.file.terms.id)
            });
        if let Some(id) = oldest.map(|it| it.file.terms.id) {
            self.forget_file(id, cx);
        }
    }

    /// The author does not want a file to be had any more.
    fn take_back(&mut self, message: MessageId, by: PeerId, cx: &mut Context<'_>) {
        let is_meant = |it: &&Known| it.file.message == message && it.file.author == by;
        if let Some(id) = self.files.known.values().find(is_meant).map(|it| it.file.terms.id) {
            self.forget_file(id, cx);
        }
    }

    fn forget_file(&mut self, id: FileId, cx: &mut Context<'_>) {
        let Some(known) = self.files.known.remove(&id) else { return };
        let order = match known.file.state {
            FileState::Complete => FileOrder::Forget { id, path: known.file.path },
            _ => FileOrder::Stop { id },
        };
        cx.actions.sends.push(Send::File(order));
        cx.actions.writes.push(erase(&id));
    }

    pub(super) fn on_files(&mut self, id: CommandId, asked: FileCommand, cx: &mut Context<'_>) {
        let answer = match asked {
            FileCommand::Send { room, path, name } => self.prepare(id, room, (path, name), cx),
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
        room: String,
        (path, name): (String, String),
        cx: &mut Context<'_>,
    ) -> Result<(), Refused> {
        if self.talks.is_open {
            self.may_write(&room)?;
        }
        if self.files.preparing.len() >= FILES_PREPARED_MAX {
            return Err(Refused::new(Refusal::TooMany, "files are being read already"));
        }
        self.files.preparing.insert(command, room);
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
        let id = self.files.called(id)?;
        let is_allowed = self.files.rule.quota;
        let used = self.files.used();
        let Some(known) = self.files.known.get_mut(&id) else { return Ok(()) };
        if matches!(known.file.state, FileState::Offered | FileState::Failed) {
            let size = known.file.terms.size;
            if is_allowed.is_some_and(|quota| size > quota) {
                let detail = format!("it has {size} bytes, {used} are used");
                return Err(Refused::new(Refusal::FilesQuota, detail));
            }
            known.file.state = FileState::Fetching;
            known.reason = None;
            if !name.is_empty() {
                known.file.rename = crate::text::file_name(name);
            }
            cx.actions.writes.push(write(&known.file));
            self.go_on_fetching(cx);
        }
        self.tell_file(&id, Some(command), cx);
        Ok(())
    }

    fn drop_file(
        &mut self,
        command: CommandId,
        id: &str,
        cx: &mut Context<'_>,
    ) -> Result<(), Refused> {
        let id = self.files.called(id)?;
        let Some(known) = self.files.known.get_mut(&id) else { return Ok(()) };
        if known.file.is_own {
            let view = known_view(known);
            self.tell_view(view, Some(command), cx);
            self.forget_file(id, cx);
            return Ok(());
        }
        // What is here stays where it is; others have it from us no more, and it counts no more.
        let order = match known.file.state {
            FileState::Complete => {
                FileOrder::Forget { id, path: std::mem::take(&mut known.file.path) }
            }
            _ => FileOrder::Stop { id },
        };
        cx.actions.sends.push(Send::File(order));
        known.file.state = FileState::Offered;
        (known.have, known.reason, known.sources) = (0, None, None);
        cx.actions.writes.push(write(&known.file));
        self.tell_file(&id, Some(command), cx);
        Ok(())
    }

    pub(super) fn on_file(&mut self, report: FileReport, cx: &mut Context<'_>) {
        match report {
            FileReport::Prepared { command, terms, name, path } => {
                let Some(room) = self.files.preparing.remove(&command) else { return };
                self.files.prepared.insert(terms.id, path);
                let saying = Saying { text: name, about: About::File(Box::new(terms)) };
                self.on_posts(&room, vec![(command, saying.into())], cx);
            }
            FileReport::NotPrepared { command, refused } => {
                if self.files.preparing.remove(&command).is_some() {
                    cx.fail(command, refused);
                }
            }
            FileReport::Asked { from, network, id, ticket } => {
                let given = self.given_file(from, network, &id);
                cx.actions.sends.push(Send::File(FileOrder::Answer { ticket, given }));
            }
            FileReport::Progress { id, have } => {
                let Some(known) = self.files.known.get_mut(&id) else { return };
                if known.is_running() {
                    if have > known.have {
                        known.moved = cx.now.mono;
                    }
                    (known.have, known.reason) = (have, None);
                    self.tell_file(&id, None, cx);
                }
            }
            FileReport::Paused { id, refused } => {
                let Some(known) = self.files.known.get_mut(&id) else { return };
                if known.is_running() && known.reason.as_ref() != Some(&refused) {
                    known.reason = Some(refused);
                    self.tell_file(&id, None, cx);
                }
            }
            FileReport::Completed { id, path } => {
                let Some(known) = self.files.known.get_mut(&id) else { return };
                known.file.state = FileState::Complete;
                known.file.path = path;
                (known.have, known.reason) = (known.file.terms.size, None);
                known.sources = None;
                cx.actions.writes.push(write(&known.file));
                self.tell_file(&id, None, cx);
            }
            FileReport::Failed { id, refused } => {
                let Some(known) = self.files.known.get_mut(&id) else { return };
                known.file.state = FileState::Failed;
                (known.reason, known.sources) = (Some(refused), None);
                cx.actions.writes.push(write(&known.file));
                self.tell_file(&id, None, cx);
            }
            FileReport::Changed { id } => {
                let Some(known) = self.files.known.get(&id) else { return };
                let text = format!(
                    "{} is not any more what was sent, so nobody can have it from here: {}",
                    known.file.name, known.file.path
                );
                cx.notice(Notice::Info { text });
            }
        }
    }

    /// What of a file somebody may have from us.
    fn given_file(&self, to: PeerId, network: NetworkId, id: &FileId) -> Option<GivenFile> {
        let known = self.files.known.get(id)?;
        let ours = self.authority.as_ref()?.network;
        let talk = self.talks.rooms.get(&known.file.room)?;
        // Whoever talks with us in this room is a member of it by what we both applied.
        let may = network == ours && talk.sync.is_linked(&to);
        let path = match known.file.state {
            FileState::Complete => known.file.path.clone(),
            _ if known.is_running() => String::new(),
            _ => return None,
        };
        may.then(|| GivenFile { terms: known.file.terms.clone(), path })
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
        let is_moving = |it: &&Known| it.is_running() && now.since(it.moved) < STANDS_STILL_AFTER;
        let mut running = self.files.known.values().filter(is_moving).count();
        let mut started = self.files.known.values().filter(|it| it.is_running()).count();
        let mut used = self.files.used();
        let quota = self.files.rule.quota.unwrap_or(u64::MAX);
        let (rooms, mut changed) = (&self.talks.rooms, Vec::new());
        let mut wanted: Vec<&mut Known> =
            self.files.known.values_mut().filter(|it| is_wanted(it)).collect();
        wanted.sort_by_key(|it| it.file.at);
        for known in wanted {
            let linked = || {
                let talk = rooms.get(&known.file.room);
                talk.map(super::talks::Talk::linked).unwrap_or_default()
            };
            let (id, size) = (known.file.terms.id, known.file.terms.size);
            if let Some(told) = &known.sources {
                let sources = linked();
                if *told != sources {
                    let order = FileOrder::Sources { id, sources: sources.clone() };
                    known.sources = Some(sources);
                    cx.actions.sends.push(Send::File(order));
                }
                continue;
            }
            if running >= FILES_FETCHED_MAX || started >= FILES_STARTED_MAX {
                continue;
            }
            if used.saturating_add(size) > quota {
                let refused = Refused::new(Refusal::FilesQuota, format!("{used} bytes are used"));
                if known.reason.as_ref().is_none_or(|it| it.refusal != Refusal::FilesQuota) {
                    known.reason = Some(refused);
                    changed.push(id);
                }
                continue;
            }
            let sources = linked();
            let name = match known.file.rename.as_str() {
                "" => known.file.name.clone(),
                other => other.to_owned(),
            };
            let terms = known.file.terms.clone();
            let order = FileOrder::Fetch { network, terms, name, sources: sources.clone() };
            cx.actions.sends.push(Send::File(order));
            (known.sources, known.reason) = (Some(sources), None);
            (known.moved, started) = (now, started.saturating_add(1));
            (running, used) = (running.saturating_add(1), used.saturating_add(size));
            changed.push(id);
        }
        for id in changed {
            self.tell_file(&id, None, cx);
        }
    }

    fn tell_file(&self, id: &FileId, command: Option<CommandId>, cx: &mut Context<'_>) {
        if let Some(known) = self.files.known.get(id) {
            self.tell_view(known_view(known), command, cx);
        }
    }

    fn tell_view(
        &self,
        (room, author, view): (RoomId, PeerId, FileView),
        command: Option<CommandId>,
        cx: &mut Context<'_>,
    ) {
        let file = FileView { room: self.room_label(&room), from: self.label(&author), ..view };
        cx.notice(Notice::File { command, file: Box::new(file) });
    }

    fn file_view(&self, known: &Known) -> FileView {
        let (room, author, view) = known_view(known);
        FileView { room: self.room_label(&room), from: self.label(&author), ..view }
    }
}

/// As shown, but for the names of its room and of who sent it.
fn known_view(known: &Known) -> (RoomId, PeerId, FileView) {
    let file = &known.file;
    let FileTerms { id, size, .. } = file.terms;
    let view = FileView {
        id,
        room: String::new(),
        message: file.message,
        name: file.name.clone(),
        size,
        from: String::new(),
        is_own: file.is_own,
        have: known.have,
        state: known.state(),
        reason: known.reason.clone(),
        path: (!file.path.is_empty()).then(|| file.path.clone()),
    };
    (file.room, file.author, view)
}
