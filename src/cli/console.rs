//! Line mode: what a person types and reads.
//! Owns: the form of every line that is not JSON.
//! Must not know: where lines come from and go to.
//! Invariants: what other people wrote moves no cursor, starts no line of ours, fills no screen.
//! Start reading at: [`Face::notice`], [`read`].

mod compare;
mod delivery;
pub(super) mod files;
pub(super) mod invites;
mod links;
mod people;
pub(super) mod recent;
mod rooms;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Write;

use unicode_width::UnicodeWidthStr;

use self::recent::Recent;
use super::invite;
use super::json::{MAIN, check_text};
use super::network;
use super::report;
use super::slash::{self, Slash};
use super::{Answer, Asked, Question, Wish};
use crate::ids::{NetworkRole, PeerId};
use crate::limits::SHOWN_LINES_MAX;
use crate::protocol::{
    AlarmView, AuditView, Command, FileView, LeaderView, MemberState, MemberView, MessageView,
    Notice, Ready, RoomAction, SinceView, Status, WishState, WishView,
};
use crate::refusal::{Refusal, Refused};
use crate::text::{on_their_way, one_line};
use crate::time::Wall;

/// Understands a typed line; `is_asking` while a yes or no is waited for.
///
/// `here` is the room that lines without another go to; `/go` changes it.
pub(super) fn read(line: &[u8], is_asking: bool, here: &mut String) -> Wish {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let Ok(line) = std::str::from_utf8(line) else {
        return Wish::failed(Refused::new(Refusal::CommandBad, "the line is not UTF-8"), None);
    };
    if is_asking {
        return match line.trim().to_lowercase().as_str() {
            "yes" => Wish::command(Command::TrustAuthority { is_trusted: true }, None),
            "no" => Wish::command(Command::TrustAuthority { is_trusted: false }, None),
            _ => Wish::failed(Refused::new(Refusal::CommandBad, "type yes or no"), None),
        };
    }
    if line.is_empty() {
        return Wish::default();
    }
    let slash = match slash::parse(line, here) {
        Ok(slash) => slash,
        Err(refused) => return Wish::failed(refused, None),
    };
    let command = match &slash {
        Slash::Say { room, text } => {
            return match check_text(text) {
                Err(refused) => Wish::failed(refused, None),
                Ok(()) => {
                    Wish::command(Command::Send { room: room.clone(), text: text.clone() }, None)
                }
            };
        }
        // How it stands is shown, or that there is none of this name.
        Slash::Go(room) => {
            here.clone_from(room);
            Command::Room { room: room.clone() }
        }
        Slash::Help(topic) => {
            return match slash::help(topic.as_deref()) {
                Ok(entries) => {
                    let (line, is_brief) = (String::new(), topic.is_none());
                    Wish::answered(Answer::Helped { line, reference: None, entries, is_brief })
                }
                Err(refused) => Wish::failed(refused, None),
            };
        }
        Slash::Leader => Command::Status,
        Slash::Do(command) => {
            // Whoever makes a room goes there; into one of others one may have to be let first.
            if let Command::Act { room, action: RoomAction::Create { .. } } = command {
                here.clone_from(room);
            }
            command.clone()
        }
        Slash::Export(export) => return Wish::export(export.clone(), line.to_owned(), None),
        Slash::Exit => return Wish::command(Command::Exit, None),
    };
    let question = Question::Slash { line: line.to_owned(), slash };
    Wish::command(command, Some(Asked { reference: None, question }))
}

/// The time of day as a person has it on the wall.
#[derive(Clone, Copy, Debug)]
pub(super) enum Clock {
    /// This machine's time zone.
    Local,
    /// UTC, so that tests read the same everywhere.
    #[cfg(test)]
    Utc,
}

impl Clock {
    pub(super) fn at(self, wall: Wall) -> Option<time::OffsetDateTime> {
        let seconds = i64::try_from(wall.0 / 1_000).ok()?;
        let utc = time::OffsetDateTime::from_unix_timestamp(seconds).ok()?;
        match self {
            Self::Local => match time::UtcOffset::local_offset_at(utc) {
                Ok(offset) => utc.checked_to_offset(offset),
                Err(_) => Some(utc),
            },
            #[cfg(test)]
            Self::Utc => Some(utc),
        }
    }
}

/// How line mode shows things.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    /// Whether to use colours.
    pub(super) is_colored: bool,
    /// Whether notices are dropped.
    pub(super) is_quiet: bool,
    /// The time of day.
    pub(super) clock: Clock,
}

/// Writes lines for a person.
pub(super) struct Face {
    style: Style,
    states: BTreeMap<PeerId, (MemberState, NetworkRole)>,
    /// The role that was told last of all.
    news: Option<(PeerId, NetworkRole)>,
    /// The last line about the leader, so that no news is no line.
    leader: Option<String>,
    /// The last minute shown, and its text.
    minute: (u64, String),
    /// Our own name.
    me: String,
    recent: Recent,
    files: files::Progress,
    window: invites::Window,
}

/// A length of time as people type it.
fn span_text(span: crate::time::Millis) -> String {
    let seconds = span.0 / 1_000;
    let units = [(24 * 3_600, 'd'), (3_600, 'h'), (60, 'm')];
    let fits = |(size, _): &(u64, char)| seconds >= *size && seconds.is_multiple_of(*size);
    units.into_iter().find(fits).map_or_else(
        || format!("{seconds}s"),
        |(size, unit)| format!("{}{unit}", seconds.checked_div(size).unwrap_or_default()),
    )
}

/// Columns of a command in the list of them.
const USAGE_COLUMNS: usize = 18;
/// Columns of what commands are about.
const TOPIC_COLUMNS: usize = 7;
const OTHER_LINES: &str = "any other line is a message; //x sends /x";
const DIM: &str = "\u{1b}[2m";
const PLAIN: &str = "\u{1b}[0m";

impl Face {
    pub(super) fn new(style: Style) -> Self {
        Self {
            style,
            states: BTreeMap::new(),
            news: None,
            leader: None,
            minute: (u64::MAX, String::new()),
            me: String::new(),
            recent: Recent::default(),
            files: files::Progress::default(),
            window: invites::Window::default(),
        }
    }

    /// A notice as lines; `asked` is what the command it answers was about.
    pub(super) fn notice(
        &mut self,
        notice: Notice,
        asked: Option<&Asked>,
        out: &mut String,
        err: &mut String,
    ) {
        let news = self.news.take();
        match notice {
            Notice::Ready(ready) => self.ready(&ready, out),
            Notice::Leader(leader) => self.leader(leader.as_ref(), out),
            Notice::Member(member) => self.member(&member, out),
            Notice::Message(message) => self.message(&message, out),
            // The line stands where it was typed; and who has it is for `/status`.
            Notice::Sent { message, .. } => self.recent.note(&message),
            Notice::Delivered { .. }
            | Notice::Deliveries { .. }
            // It has a line of its own, where there is one.
            | Notice::Progress { .. }
            | Notice::Seen { .. }
            | Notice::Exited => {}
            Notice::Status { status, .. } => match asked.map(|asked| &asked.question) {
                Some(Question::Slash { slash: Slash::Leader, .. }) => {
                    self.answer_line(&leader_line(status.leader.as_ref()), out);
                }
                _ => self.status(&status, out),
            },
            Notice::Members { members, .. } => {
                self.answer_lines(members.iter().map(people::member_line), "nobody is here", out);
            }
            Notice::History { messages, .. } => self.history(&messages, out),
            Notice::Since { page, .. } => self.arrived(*page, out),
            Notice::Found { messages, .. } if messages.iter().all(|it| it.is_ignored) => {
                self.answer_line("nothing was found", out);
            }
            Notice::Found { messages, .. } => self.history(&messages, out),
            Notice::Delivery { delivery, .. } => {
                for line in delivery::lines(&delivery, self.style.clock) {
                    self.answer_line(&line, out);
                }
            }
            Notice::Audit { records, .. } => {
                self.answer_lines(records.iter().map(audit_line), "nothing was changed", out);
            }
            Notice::Compared { compared, .. } => {
                self.answer_lines(compare::lines(&compared), "", out);
            }
            Notice::Links { links, .. } => self.answer_lines(links::lines(&links), "", out),
            notice @ (Notice::Verify { .. }
            | Notice::Alarm(_)
            | Notice::Alarms { .. }
            | Notice::Whois { .. }
            | Notice::Ignored { .. }) => self.about_people(notice, out),
            // Told on demand: who comes and goes has lines of its own.
            Notice::Epoch(_) => {}
            Notice::Room { room, .. } => self.answer_lines(rooms::answer(&room, asked), "", out),
            Notice::Invite { invite, text, .. } => self.invite(&invite, text.as_ref(), out),
            Notice::Invites { invites, .. } => {
                let line = |row| invite::row_line(row).trim_end().to_owned();
                self.answer_lines(invites.iter().map(line), "no invite was made here", out);
            }
            Notice::Code { code, .. } => self.answer_lines(network::code_lines(&code), "", out),
            Notice::Request { request, .. } => {
                self.answer_line(&network::request_line(&request), out);
            }
            Notice::Requests { requests, .. } => {
                self.answer_lines(requests.iter().map(network::request_line), "nobody waits", out);
            }
            Notice::File { command, file } => self.file(&file, command.is_some(), out),
            Notice::Files { files: list, .. } => self.listed_files(&list, out),
            Notice::Wish { wish, .. } => self.wish(&wish, news, out),
            Notice::Rooms { rooms, .. } => {
                self.answer_lines(rooms.iter().map(rooms::summary), "no room", out);
            }
            // How it began and that it is done; between them there is /receipts.
            Notice::Receipt(view) if view.done > 1 && view.done_at.is_none() => {}
            Notice::Receipt(view) => self.note(&rooms::receipt(&view, self.style.clock), out),
            Notice::Receipts { receipts, .. } => {
                let line = |view| rooms::receipt(view, self.style.clock);
                self.answer_lines(receipts.iter().map(line), "nobody was put out", out);
            }
            Notice::RoomChanged(change) => self.note(&rooms::news(&change, &self.me), out),
            Notice::Rekeying { .. } => self.answer_line("new keys are on their way", out),
            Notice::ConfirmAuthority { fingerprint, address } => {
                let _ = write!(
                    out,
                    "-- the key authority at {} is not known here yet; its fingerprint is\n\
                     --   {}\n\
                     -- compare it with its operator's. Is it the same? (yes/no)\n",
                    one_line(&address),
                    one_line(&fingerprint)
                );
            }
            Notice::Waiting { text } | Notice::Info { text } => self.note(&one_line(&text), out),
            Notice::Failed { refused, is_fatal, .. } => {
                err.push_str(&report::person(&refused, is_fatal));
            }
        }
    }

    fn about_people(&self, notice: Notice, out: &mut String) {
        match notice {
            Notice::Verify { verify, .. } => {
                self.answer_lines(people::verify_lines(&verify), "", out);
            }
            // Never quiet: somebody may be posing as somebody.
            Notice::Alarm(alarm) => self.answer_line(&people::alarm_line(&alarm), out),
            Notice::Alarms { alarms, .. } => {
                let line = |it: &AlarmView| format!("{}  {}", it.at, people::alarm_line(it));
                let none = "all keys and names fit together";
                self.answer_lines(alarms.iter().map(line), none, out);
            }
            Notice::Whois { whois, .. } => {
                self.answer_lines(people::whois_lines(&whois, self.style.clock), "", out);
            }
            Notice::Ignored { members, .. } => {
                self.answer_line(&people::ignored_line(&members), out);
            }
            _ => {}
        }
    }

    /// An answer that did not need the node.
    pub(super) fn answer(&mut self, answer: &Answer, out: &mut String, err: &mut String) {
        match answer {
            Answer::Failed { refused, .. } | Answer::SlashFailed { refused, .. } => {
                err.push_str(&report::person(refused, false));
            }
            Answer::Helped { is_brief: true, .. } => {
                for (about, names) in slash::TOPICS {
                    let names: Vec<String> = names.iter().map(|name| format!("/{name}")).collect();
                    self.answer_line(&format!("{about:<TOPIC_COLUMNS$}  {}", names.join(" ")), out);
                }
                self.answer_line("/help NAME explains one, /help all each of them", out);
                self.answer_line(OTHER_LINES, out);
            }
            Answer::Helped { entries, .. } => {
                for entry in entries {
                    let mut usage = entry.usage;
                    if usage.chars().count() > USAGE_COLUMNS {
                        // Else one could not see where the command ends.
                        self.answer_line(usage, out);
                        usage = "";
                    }
                    self.answer_line(&format!("{usage:<USAGE_COLUMNS$}  {}", entry.about), out);
                }
                if entries.len() > 1 {
                    self.answer_line(OTHER_LINES, out);
                }
            }
            Answer::Exported { exported, .. } => self.answer_line(&exported.line(), out),
            Answer::Leaving { .. } => {}
        }
    }

    fn arrived(&mut self, page: SinceView, out: &mut String) {
        let messages: Vec<_> = page.messages.into_iter().map(|(_, it)| it).collect();
        self.history(&messages, out);
    }

    fn file(&mut self, view: &FileView, is_asked: bool, out: &mut String) {
        if let Some(line) = self.files.line(view, is_asked) {
            self.answer_line(&line, out);
        }
    }

    fn listed_files(&self, views: &[FileView], out: &mut String) {
        self.answer_lines(views.iter().map(files::line), "no file was sent", out);
    }

    /// News nobody asked for.
    fn note(&self, text: &str, out: &mut String) {
        if !self.style.is_quiet {
            self.answer_line(text, out);
        }
    }

    /// Line after line, or what stands for none.
    fn answer_lines(&self, lines: impl IntoIterator<Item = String>, none: &str, out: &mut String) {
        let mut lines = lines.into_iter().peekable();
        if lines.peek().is_none() {
            self.answer_line(none, out);
        }
        for line in lines {
            self.answer_line(&line, out);
        }
    }

    fn answer_line(&self, text: &str, out: &mut String) {
        let (on, off) = if self.style.is_colored { (DIM, PLAIN) } else { ("", "") };
        // Writing into a String cannot fail, here and below.
        let _ = writeln!(out, "{on}-- {text}{off}");
    }

    fn ready(&mut self, ready: &Ready, out: &mut String) {
        if ready.role == "member" {
            let network: String = ready.network.chars().take(8).collect();
            let name = one_line(&ready.name);
            self.me.clone_from(&ready.name);
            self.note(&format!("you are {name} in network {network}; /help lists commands"), out);
            if ready.leader.is_some() {
                self.leader(ready.leader.as_ref(), out);
            }
        } else {
            self.note(&format!("{} {} is ready", ready.role, ready.peer), out);
        }
        // A person at a chat wants to talk; who runs a server wants to know where it is.
        if ready.role != "member" {
            for address in &ready.listen {
                self.note(&format!("listening on {}", one_line(address)), out);
            }
        }
    }

    fn leader(&mut self, leader: Option<&LeaderView>, out: &mut String) {
        let line = leader_line(leader);
        if self.leader.as_ref() != Some(&line) {
            self.note(&line, out);
            self.leader = Some(line);
        }
    }

    fn member(&mut self, member: &MemberView, out: &mut String) {
        let now = (member.state, member.role);
        let before = self.states.insert(member.peer, now);
        let role = before.map_or(NetworkRole::Member, |(_, role)| role);
        if role != member.role && (before.is_some() || member.is_self) {
            let whose =
                if member.is_self { "you are" } else { &format!("{} is", one_line(&member.name)) };
            self.note(&format!("{whose} now: {}", member.role.name()), out);
            self.news = Some((member.peer, member.role));
        }
        let before = before.map(|(state, _)| state);
        if member.is_self || before == Some(member.state) {
            return;
        }
        let what = match (member.state, before) {
            (MemberState::Active, None) if member.was_before => "is here",
            (MemberState::Left | MemberState::Removed, None) if member.was_before => return,
            (MemberState::Active, Some(MemberState::Away | MemberState::Left)) => "is back",
            // Who left is gone already.
            (MemberState::Away, Some(MemberState::Left)) => return,
            (MemberState::Active, _) => "joined",
            (MemberState::Away, _) => "is away",
            (MemberState::Left, _) => "left",
            (MemberState::Removed, _) => "was removed",
        };
        self.note(&format!("{} {what}", one_line(&member.name)), out);
    }

    /// A role that is in force is told once: as the answer, or as the news right before it.
    fn wish(&mut self, wish: &WishView, news: Option<(PeerId, NetworkRole)>, out: &mut String) {
        if let (Some(role), WishState::Ordered) = (wish.role, &wish.state) {
            if news == Some((wish.peer, role)) && !self.style.is_quiet {
                return;
            }
            if let Some((_, known)) = self.states.get_mut(&wish.peer) {
                *known = role;
            }
        }
        self.answer_line(&network::wish_line(wish), out);
    }

    fn history(&mut self, messages: &[MessageView], out: &mut String) {
        let mut shown = messages.iter().filter(|it| !it.is_ignored).peekable();
        if shown.peek().is_none() {
            self.answer_line("nothing was said yet", out);
        }
        let mut day = None;
        for message in shown {
            let date = self.style.clock.at(message.sent_at).map(time::OffsetDateTime::date);
            if date != day {
                day = date;
                if let Some(date) = date {
                    self.answer_line(&date.to_string(), out);
                }
            }
            self.message(message, out);
        }
    }

    fn message(&mut self, message: &MessageView, out: &mut String) {
        if message.is_ignored {
            return;
        }
        let minute = message.sent_at.0 / 60_000;
        if self.minute.0 != minute {
            let text = match self.style.clock.at(message.sent_at) {
                Some(at) => format!("{:02}:{:02}", at.hour(), at.minute()),
                None => "--:--".to_owned(),
            };
            self.minute = (minute, text);
        }
        let name = one_line(&message.from);
        if message.missing > 0 {
            self.answer_line(&on_their_way(message.missing, &name), out);
        }
        let text = self.recent.text(message);
        self.recent.note(message);
        let room = match message.room.as_str() {
            MAIN => String::new(),
            other => format!("[{}] ", one_line(other)),
        };
        let (action, (open, close)) = match crate::text::action(&text) {
            Some(action) if message.about.is_said() => (Some(action), ("* ", "")),
            _ => (None, ("<", ">")),
        };
        let head = format!("{} {room}{open}{name}{close} ", self.minute.1);
        if self.style.is_colored {
            let (minute, hue) = (&self.minute.1, people::hue(&message.peer));
            let _ = write!(out, "{minute} {room}{open}\u{1b}[{hue}m{name}{PLAIN}{close} ");
        } else {
            out.push_str(&head);
        }
        if let Some(left) = message.expires_at.map(|at| at.since(message.sent_at)) {
            let _ = write!(out, "[gone after {}] ", span_text(left));
        }
        if message.is_fork {
            out.push_str("[one of several at its place] ");
        }
        // Further lines are indented, so that none of them can pass for a line of ours.
        let indent = " ".repeat(head.width());
        let mut parts = action.unwrap_or(&text).split('\n');
        out.push_str(parts.next().unwrap_or_default());
        out.push('\n');
        for part in parts.by_ref().take(SHOWN_LINES_MAX) {
            let _ = writeln!(out, "{indent}{part}");
        }
        match parts.count() {
            0 => {}
            more => {
                let _ = writeln!(out, "{indent}({more} more lines)");
            }
        }
    }

    fn status(&self, status: &Status, out: &mut String) {
        let mut line = |text: String| self.answer_line(&text, out);
        let network: String = status.network.chars().take(8).collect();
        line(format!("{} in network {network}, {}", one_line(&status.name), status.role));
        line(leader_line(status.leader.as_ref()));
        line(format!("ballot {}", one_line(&status.ballot)));
        let voters: Vec<String> = status.voters.iter().map(|voter| one_line(voter)).collect();
        line(format!("voters: {}", voters.join(", ")));
        if status.has_quorum {
            line("quorum: yes".to_owned());
        } else {
            line(format!("quorum: no, membership is frozen: {}", one_line(&status.frozen_because)));
        }
        line(format!(
            "control log: {} entries, {} committed",
            status.control_last, status.control_commit
        ));
        for member in &status.members {
            line(people::member_line(member));
        }
        for link in &status.links {
            let rtt = links::rtt(link.rtt_micros);
            line(format!(
                "link to {}: {}, {}, round trip {rtt}, {} not yet acknowledged",
                one_line(&link.name),
                link.transport.name(),
                one_line(&link.address),
                link.unacknowledged
            ));
        }
        links::seen(&status.vantage).into_iter().for_each(&mut line);
        line(format!("links wanted with {} members", status.links_wanted));
        line(format!("bootstrap: {}", if status.bootstrap { "linked" } else { "not linked" }));
        line(format!("own messages not yet held by everyone: {}", status.queued));
        line(format!("messages that others hold and this member not yet: {}", status.behind));
        for (from, incarnation, seq, hash) in &status.vector {
            let hash: String = hash.to_string().chars().take(8).collect();
            line(format!("holds {} of {} ({incarnation}) {hash}", seq, one_line(from)));
        }
        if let Some(it) = status.keeping {
            let (count, bytes, quota) = (it.deposits, it.bytes, it.quota);
            line(format!("keeps {count} deposits for others, {bytes} of {quota} bytes"));
        }
    }
}

fn leader_line(leader: Option<&LeaderView>) -> String {
    match leader {
        None => "no leader: messages are sent all the same, changes of membership wait".to_owned(),
        Some(leader) if leader.generation > 0 => format!(
            "leader: {} (term {}, generation {})",
            one_line(&leader.name),
            leader.term,
            leader.generation
        ),
        Some(leader) => format!("leader: {} (term {})", one_line(&leader.name), leader.term),
    }
}

/// A change of the control log: where, when, what, under whom.
pub(super) fn audit_line(record: &AuditView) -> String {
    let mut line = format!("{}\t{}\t{}\t", record.index, record.at, record.what);
    line.push_str(&one_line(&record.name));
    // Writing into a String cannot fail.
    let _ = match record.leader_peer {
        Some(_) => write!(line, "\tleader {} (term {})", one_line(&record.leader), record.term),
        None => write!(line, "\tby the authority"),
    };
    if !record.detail.is_empty() {
        let _ = write!(line, "\t{}", one_line(&record.detail));
    }
    line
}
