//! What happened, as a hash for comparing runs and as lines for people.
//! Owns: both.
//! Must not know: what any of it means.
//! Invariants: the hash does not depend on whether lines are kept.
//! Start reading at: [`Trace::note`].

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use p2pgroup::wire::frame::Body;

pub struct Trace {
    hash: DefaultHasher,
    lines: Option<Vec<String>>,
    pub count: u64,
}

impl Trace {
    pub fn new(keeps_lines: bool) -> Self {
        Self { hash: DefaultHasher::new(), lines: keeps_lines.then(Vec::new), count: 0 }
    }

    /// Time, who, what; `text` is made only when lines are kept.
    pub fn note(&mut self, at: u64, who: &str, bytes: &[u8], text: impl FnOnce() -> String) {
        (at, who, bytes).hash(&mut self.hash);
        self.count += 1;
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>8}.{:03} {who:<10} {}", at / 1000, at % 1000, text()));
        }
    }

    pub fn hash(&self) -> u64 {
        self.hash.finish()
    }

    pub fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }
}

/// A frame in a few words.
pub fn short(body: &Body) -> String {
    use p2pgroup::protocol::control::Message;
    use p2pgroup::wire::sync::Sync;
    match body {
        Body::Hello(_) => "hello".to_owned(),
        Body::Control(Message::Append(it)) => format!(
            "append {} after {} with {} commit {}{}",
            it.ballot,
            it.prev.index,
            it.entries.len(),
            it.commit,
            if it.proof.is_some() { " proof" } else { "" }
        ),
        Body::Control(Message::AppendReply(it)) => format!("append? {:?}", it.verdict),
        Body::Control(Message::Vote(it)) => format!("vote {} at {}", it.ballot, it.last.index),
        Body::Control(Message::PreVote(it)) => {
            format!("pre-vote {} at {}", it.ballot, it.last.index)
        }
        Body::Control(Message::VoteReply(it)) => {
            format!("vote? {} {}", it.ballot, it.grant.is_some())
        }
        Body::Control(Message::PreVoteReply(it)) => {
            format!("pre-vote? {} {} promised {}", it.ballot, it.grant.is_some(), it.promised)
        }
        Body::Control(Message::LogPage(it)) => format!("log page of {}", it.entries.len()),
        Body::Control(Message::LogWant(it)) => format!("log want from {}", it.last.index),
        Body::Control(Message::HandOver(it)) => format!("hand over {}", it.ballot),
        Body::Control(Message::Leaving) => "leaving".to_owned(),
        Body::Sync(Sync::RoomAsk { .. }) => "asks for the room".to_owned(),
        Body::Sync(Sync::RoomInfo { info, index, .. }) => {
            format!("room info {} at {index}", info.is_some())
        }
        Body::Sync(Sync::RoomEpoch { epoch, .. }) => format!("holds epoch {epoch}"),
        Body::Sync(Sync::KeyWant { keys, .. }) => format!("wants {} keys", keys.len()),
        Body::Sync(Sync::KeyGrant { secrets, .. }) => format!("gives {} keys", secrets.len()),
        Body::Sync(Sync::Vector { heads, wants_answer, .. }) => {
            format!("vector {} {wants_answer}", heads_text(heads))
        }
        Body::Sync(Sync::Ack { heads, .. }) => format!("ack {}", heads_text(heads)),
        Body::Sync(Sync::Entries(page)) => format!(
            "entries of {} {} {}",
            page.log.author.short(),
            page.log.incarnation,
            page.envelopes.len()
        ),
        Body::Sync(Sync::Want { log, from, .. }) => {
            format!("want {} from {from}", log.author.short())
        }
        Body::Submit(_) => "submit".to_owned(),
        Body::Submitted(it) => format!("submitted {:?}", it.refused),
        Body::Presence { .. } => "presence".to_owned(),
        Body::Leads { statement, genesis, .. } => {
            format!("leads {} {}", statement.len(), genesis.len())
        }
        Body::Statement(_) => "statement".to_owned(),
        Body::Refused { refusal, detail } => format!("refused {} {detail}", refusal.code()),
        Body::WhoLeads => "who leads".to_owned(),
        Body::Goodbye => "goodbye".to_owned(),
        Body::Sync(Sync::Full { .. }) => "full".to_owned(),
        Body::Sync(Sync::Marks { marks, .. }) => format!("{} marks", marks.len()),
        Body::Evidence(_) => "evidence".to_owned(),
        Body::Keep(it) => format!("keep {it:?}"),
        Body::LinksAsk => "asks for links".to_owned(),
        Body::Links(links) => format!("{} links", links.len()),
    }
}

fn heads_text(heads: &[p2pgroup::wire::sync::Head]) -> String {
    let text: Vec<String> = heads
        .iter()
        .map(|head| format!("{}.{}:{}", head.log.author.short(), head.log.incarnation, head.seq))
        .collect();
    text.join(" ")
}
