//! What concerns people and their keys, as events: passphrases, safety words, alarms,
//! backups.
//! Owns: their field names and order.
//! Must not know: how keys are kept and compared.
//! Invariants: no event holds a secret.
//! Start reading at: [`Face::passphrase`].

use std::path::Path;

use serde::Serialize;

use super::Face;
use super::data::{Link, Member, Members};
use super::line::line;
use super::shapes::Answered;
use crate::protocol::{AlarmView, EvidenceView, MemberView, VerifyView, WhoisView};
use crate::time::Wall;

#[derive(Serialize)]
struct Passphrase<'a> {
    event: &'static str,
    at: &'a str,
    state: &'static str,
}

/// Two keys as words.
#[derive(Serialize)]
pub(super) struct Verify<'a> {
    name: &'a str,
    peer_id: String,
    words: &'a [String],
    verified: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    verified_at: Option<String>,
}

impl<'a> Verify<'a> {
    pub(super) fn of(view: &'a VerifyView) -> Self {
        Self {
            name: &view.name,
            peer_id: view.peer.to_string(),
            words: &view.words,
            verified: view.verified_at.is_some(),
            verified_at: view.verified_at.map(Wall::rfc3339),
        }
    }
}

/// All that is known of a member.
#[derive(Serialize)]
pub(super) struct Whois<'a> {
    #[serde(flatten)]
    member: Member<'a>,
    serial: u64,
    not_after: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    removed_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verified_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<Link<'a>>,
    rooms: &'a [String],
}

impl<'a> Whois<'a> {
    pub(super) fn of(view: &'a WhoisView) -> Self {
        let text = |at: Option<Wall>| at.map(Wall::rfc3339);
        Self {
            member: Member::of(&view.member),
            serial: view.serial,
            not_after: view.not_after.rfc3339(),
            removed_at: text(view.removed_at),
            verified_at: text(view.verified_at),
            link: view.link.as_ref().map(Link::of),
            rooms: &view.rooms,
        }
    }
}

/// Every alarm there was.
#[derive(Serialize)]
pub(super) struct Alarms<'a> {
    alarms: Vec<Alarm<'a>>,
}

#[derive(Serialize)]
struct Alarm<'a> {
    code: &'static str,
    name: &'a str,
    message: &'a str,
    verified: bool,
    since: String,
    evidence: Vec<Evidence<'a>>,
    /// In hex, as credentials are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    entries: Vec<String>,
}

#[derive(Serialize)]
struct Evidence<'a> {
    name: &'a str,
    peer_id: String,
    serial: u64,
    /// As it was received, in hex: anybody can check it against the authority's certificate.
    credential: String,
}

impl<'a> Alarms<'a> {
    pub(super) fn of(alarms: &'a [AlarmView]) -> Self {
        Self { alarms: alarms.iter().map(Alarm::of).collect() }
    }
}

impl<'a> Alarm<'a> {
    fn of(view: &'a AlarmView) -> Self {
        Self {
            code: view.code,
            name: &view.name,
            message: &view.message,
            verified: view.is_verified,
            since: view.at.rfc3339(),
            evidence: view.evidence.iter().map(Evidence::of).collect(),
            entries: view.entries.iter().map(|it| hex(it)).collect(),
        }
    }
}

impl<'a> Evidence<'a> {
    fn of(view: &'a EvidenceView) -> Self {
        Self {
            name: &view.name,
            peer_id: view.peer.to_string(),
            serial: view.serial,
            credential: hex(&view.credential),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn verify(at: &str, view: &VerifyView, reference: Option<&str>, out: &mut Vec<u8>) {
    line(&Answered { event: "verify", at, reference, data: Verify::of(view) }, out);
}

pub(super) fn alarm(at: &str, view: &AlarmView, out: &mut Vec<u8>) {
    line(&Answered { event: "alarm", at, reference: None, data: Alarm::of(view) }, out);
}

pub(super) fn alarms(at: &str, views: &[AlarmView], reference: Option<&str>, out: &mut Vec<u8>) {
    line(&Answered { event: "alarms", at, reference, data: Alarms::of(views) }, out);
}

pub(super) fn whois(at: &str, view: &WhoisView, reference: Option<&str>, out: &mut Vec<u8>) {
    line(&Answered { event: "whois", at, reference, data: Whois::of(view) }, out);
}

pub(super) fn ignored(at: &str, views: &[MemberView], reference: Option<&str>, out: &mut Vec<u8>) {
    line(&Answered { event: "ignored", at, reference, data: Members::of(views) }, out);
}

#[derive(Serialize)]
struct Backup<'a> {
    event: &'static str,
    at: &'a str,
    state: &'static str,
    file: String,
    name: &'a str,
    made_at: &'a str,
    bytes: u64,
}

impl Face {
    /// What became of a backup: `created`, `verified` or `restored`.
    pub(in crate::cli) fn backup(
        &mut self,
        state: &'static str,
        file: &Path,
        it: &crate::node::backup::Backup,
        out: &mut Vec<u8>,
    ) {
        let at = self.at.of((self.now)());
        let (file, name, made_at) = (file.display().to_string(), &*it.name, &*it.made_at);
        let bytes = it.bytes;
        line(&Backup { event: "backup", at, state, file, name, made_at, bytes }, out);
    }

    /// What became of the passphrase of a home: `set`, `changed` or `removed`.
    pub(in crate::cli) fn passphrase(&mut self, state: &'static str, out: &mut Vec<u8>) {
        let at = self.at.of((self.now)());
        line(&Passphrase { event: "passphrase", at, state }, out);
    }
}
