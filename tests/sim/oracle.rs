//! What is known from outside: what was told to people, what was written by whom, what committed.
//! Owns: the facts that several checks compare with.
//! Must not know: what follows from them.
//! Invariants: only grows, but for what a lost or older disk takes away.
//! Start reading at: [`Oracle`].

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use p2pgroup::ids::{CommandId, Hash, Index, LogId, PeerId, RoomId, Seq};
use p2pgroup::protocol::control::{Append, Ballot, Entry, LogPage, Message, Payload};
use p2pgroup::protocol::{MessageId, Notice, Reads, ReceiptView, Saying, Write};
use p2pgroup::time::Wall;
use p2pgroup::wire::frame::{Body, Frame};
use p2pgroup::wire::sealed::{Body as Says, Sealed};
use p2pgroup::wire::sync::{Head, Sync};

use crate::dice::Dice;
use crate::disk::Disk;
use crate::node::Node;
use crate::world::World;

/// A message handed in.
#[derive(Clone, Debug)]
pub struct Post {
    pub node: usize,
    pub boot: u64,
    pub at: u64,
    /// In which room, as it was typed.
    pub room: String,
    pub text: String,
    pub was_ready: bool,
    pub is_answered: bool,
}

/// An entry as its author stored it.
#[derive(Clone, Debug)]
pub struct Authored {
    pub node: usize,
    pub log: LogId,
    pub seq: Seq,
    /// As it was told to its author; unknown if its process ended before.
    pub text: Option<String>,
    /// When it says that it was sent; unknown with the text.
    pub sent_at: Option<Wall>,
}

#[derive(Default)]
pub struct Oracle {
    pub posts: BTreeMap<CommandId, Post>,
    pub authored: BTreeMap<MessageId, Authored>,
    pub hashes: BTreeMap<(LogId, Seq), BTreeSet<Hash>>,
    /// Told "stored" to a person.
    pub sent: BTreeMap<MessageId, usize>,
    /// Told "delivered": which message, to whom by name.
    pub delivered: BTreeSet<(MessageId, String)>,
    /// What was shown, in order: by which node, in which of its processes, its place in its log.
    pub shown: Vec<(usize, u64, Seq)>,
    /// What was shown to whom.
    pub read: BTreeSet<(usize, MessageId)>,
    /// By which process of a node what others said was first stored.
    pub came: BTreeMap<(usize, LogId, Seq), u64>,
    /// What was last told of removals, where it was asked for.
    pub receipts: BTreeMap<usize, Vec<ReceiptView>>,
    /// How often entries of pages came, where that is counted: to which node, its place in its log.
    pub brought: BTreeMap<(usize, Seq), u32>,
    pub counts_pages: bool,
    /// How often somebody asked for keys, where that is counted.
    pub key_wants: Option<BTreeMap<usize, u32>>,
    /// Committed entries in order, and the ballot under which that was first seen.
    pub history: Vec<(Entry, Ballot)>,
    /// Nodes whose talk is that of an older copy or of a new database, by the boot that began so.
    pub lost: BTreeSet<usize>,
    pub fatal: BTreeMap<usize, String>,
    /// Who was told that somebody led and contradicted itself, or made keys of no use.
    pub accused: BTreeSet<(usize, usize)>,
    /// Who was told of which room that it cannot follow keys there, and whose.
    pub cut_off: BTreeSet<(usize, RoomId, PeerId)>,
}

impl Oracle {
    pub fn posted(&mut self, (id, saying): (CommandId, &Saying), node: &Node, room: &str, at: u64) {
        let (boot, was_ready) = (node.boot, node.is_ready && node.has_key_of(room));
        let room = room.to_owned();
        // The beginning tells long ones apart.
        let text = saying.text.chars().take(64).collect();
        let post = Post { node: node.id, boot, at, room, text, was_ready, is_answered: false };
        self.posts.insert(id, post);
    }

    pub fn told(&mut self, node: usize, notice: &Notice) {
        match notice {
            Notice::Sent { command, message } => {
                if let Some(post) = self.posts.get_mut(command) {
                    post.is_answered = true;
                }
                self.sent.insert(message.id, node);
                if let Some(authored) = self.authored.get_mut(&message.id) {
                    authored.text = Some(message.text.clone());
                    authored.sent_at = Some(message.sent_at);
                }
            }
            Notice::Failed { command, refused, is_fatal } => {
                if let Some(post) = command.and_then(|command| self.posts.get_mut(&command)) {
                    post.is_answered = true;
                }
                if *is_fatal {
                    self.fatal.insert(node, refused.to_string());
                }
            }
            Notice::Message(message) => {
                self.read.insert((node, message.id));
            }
            Notice::Receipts { receipts, .. } => {
                self.receipts.insert(node, receipts.clone());
            }
            Notice::Delivered { id, to } => {
                self.delivered.insert((*id, to.clone()));
            }
            _ => {}
        }
    }

    /// What an author stored is what it wrote.
    pub fn stored(&mut self, world: &World, node: usize, writes: &[Write]) {
        let peer = world.nodes[node].peer;
        for write in writes {
            let (Write::Entry(entry) | Write::Received(entry)) = write else { continue };
            self.hashes.entry((entry.log, entry.seq)).or_default();
            if entry.log.author != peer {
                let boot = world.nodes[node].boot;
                self.came.entry((node, entry.log, entry.seq)).or_insert(boot);
                continue;
            }
            let id = MessageId::of(&entry.hash);
            if let Some(hashes) = self.hashes.get_mut(&(entry.log, entry.seq)) {
                hashes.insert(entry.hash);
            }
            self.authored.entry(id).or_insert(Authored {
                node,
                log: entry.log,
                seq: entry.seq,
                text: None,
                sent_at: None,
            });
        }
    }

    /// A page arrives; counted only where a plan asks for it.
    pub fn brings(&mut self, node: usize, bytes: &Bytes) {
        if !self.counts_pages {
            return;
        }
        let Ok(Frame { body: Body::Sync(Sync::Entries(page)), .. }) = Frame::decode(bytes) else {
            return;
        };
        for sealed in page.envelopes.iter().filter_map(|it| Sealed::decode(it).ok()) {
            *self.brought.entry((node, sealed.header.seq)).or_default() += 1;
        }
    }

    /// A frame leaves a node; looked at only where a plan asks for it.
    pub fn asks(&mut self, node: usize, bytes: &Bytes) {
        let Some(wants) = &mut self.key_wants else { return };
        if let Ok(Frame { body: Body::Sync(Sync::KeyWant { .. }), .. }) = Frame::decode(bytes) {
            *wants.entry(node).or_default() += 1;
        }
    }

    /// Takes note of what a node holds for committed. An error if it contradicts another.
    pub fn commits(&mut self, world: &World, node: usize) -> Result<(), String> {
        let it = &world.nodes[node];
        let Some(control) = it.ledger().map(|ledger| ledger.control()) else { return Ok(()) };
        let commit = control.commit().0 as usize;
        let ballot = control.leader().map_or(control.promised(), |(_, ballot)| ballot);
        for index in self.history.len()..commit {
            let Some(entry) = control.entry(Index(index as u64 + 1)) else {
                return Err(format!("{} commits {commit} beyond its log", it.label));
            };
            self.history.push((entry.clone(), ballot));
        }
        // The newest is enough: equal there means equal before (4), checked on its own.
        if commit > 0 {
            let (ours, _) = &self.history[commit - 1];
            if control.entry(Index(commit as u64)) != Some(ours) {
                return Err(format!("{} holds another entry at {commit} for committed", it.label));
            }
        }
        Ok(())
    }
}

/// As if a vector held no hashes: the receiver finds its own everywhere.
pub fn strip_hashes(body: &mut Body, receiver: &Disk) {
    let (Body::Sync(Sync::Vector { heads, .. }) | Body::Sync(Sync::Ack { heads, .. })) = body
    else {
        return;
    };
    for Head { log, seq, hash } in heads {
        let held = receiver.entries(*log, *seq, 1);
        if let Some(entry) = held.first().filter(|entry| entry.seq == *seq) {
            *hash = entry.hash;
        }
    }
}

/// As if nobody told what it keeps of forked logs.
pub fn strip_forks(body: &mut Body, sender: &Disk) {
    if let Body::Sync(Sync::Vector { heads, .. } | Sync::Ack { heads, .. }) = body {
        heads.retain(|head| sender.forks(head.log).is_empty());
    }
}

/// Changes what a peer passes on; says whether it did.
pub fn falsify(body: &mut Body, dice: &mut Dice) -> bool {
    if let Body::Sync(Sync::Marks { marks, .. }) = body {
        let at = dice.below(marks.len());
        match dice.below(3) {
            // More than who signed it holds, or as if somebody else held it.
            0 => marks[at].head.seq = marks[at].head.seq.next(),
            1 => marks[at].by = marks[dice.below(marks.len())].head.log.author,
            _ => marks[at].signature.0[0] ^= 1,
        }
        return true;
    }
    if let Body::Control(Message::Append(Append { entries, .. }))
    | Body::Control(Message::LogPage(LogPage { entries, .. })) = body
    {
        let Some(entry) = entries.last_mut() else { return false };
        match (dice.below(3), &entry.payload) {
            (0, Payload::Intent { .. }) => entry.payload = Payload::Empty,
            (1, _) => entry.signature.0[0] ^= 1,
            _ => entry.stamp.0 += 1,
        }
        return true;
    }
    let Body::Sync(Sync::Entries(page)) = body else { return false };
    match dice.below(4) {
        0 => {
            let at = dice.below(page.envelopes.len());
            let Ok(mut sealed) = Sealed::decode(&page.envelopes[at]) else { return false };
            let Says::Ciphertext(ciphertext) = &sealed.body else { return false };
            let mut other = ciphertext.to_vec();
            other[0] ^= 1;
            sealed.body = Says::Ciphertext(other.into());
            page.envelopes[at] = sealed.encode();
        }
        1 => {
            let at = dice.below(page.signatures.len());
            page.signatures[at].1.0[0] ^= 1;
        }
        2 if page.envelopes.len() > 1 => {
            let at = dice.below(page.envelopes.len() - 1);
            page.envelopes.swap(at, at + 1);
        }
        _ => {
            let Some(last) = page.envelopes.last() else { return false };
            let Ok(sealed) = Sealed::decode(last) else { return false };
            let Says::Ciphertext(ciphertext) = &sealed.body else { return false };
            let mut header = sealed.header.clone();
            header.previous = sealed.hash();
            header.seq = header.seq.next();
            header.lamport += 1;
            let forged: Bytes = Sealed::new(header, ciphertext.clone()).encode();
            if page.envelopes.len() >= 512 {
                return false;
            }
            page.envelopes.push(forged);
        }
    }
    true
}
