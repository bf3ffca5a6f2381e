//! Real MLS, and commits of it that are in order for all to see and of use to nobody else.
//! Owns: how a commit is forged by who holds the epoch and its own leaf's key.
//! Must not know: who makes such commits when, what becomes of them.
//! Invariants: a forged commit has its maker's signature and the epoch's membership tag; its maker
//! alone is in the epoch it makes.
//! Start reading at: [`Poison`], [`forge`].

use std::collections::BTreeMap;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use p2pgroup::identity::Proofs;
use p2pgroup::ids::{GroupId, Hash, PeerId, RoomId};
use p2pgroup::protocol::room::keys::mls::Mls;
use p2pgroup::protocol::room::keys::schedule::RoomSecret;
use p2pgroup::protocol::room::keys::{
    Begun, Changes, Error, Judge, KeyAgreement, KeyAgreements, KeyPackage, Leaf, Pending, Verdict,
    Wish,
};
use serde_json::Value;
use sha2::Sha256;

/// A row of our own beside those of the real group.
const ROW: &[u8] = b"forged";

/// MLS as a member with a program of its own does it.
#[derive(Clone, Copy, Debug)]
pub struct Poison;

/// A real group, of whose maker's commits others see a forged one.
#[derive(Debug)]
struct Group {
    real: Box<dyn KeyAgreement>,
    rows: BTreeMap<Bytes, Bytes>,
    forged: Option<Pending>,
}

impl Group {
    fn begin((real, changes): Begun) -> Begun {
        let mut group = Self { real, rows: BTreeMap::new(), forged: None };
        group.note(&changes);
        (Box::new(group), changes)
    }

    fn note(&mut self, changes: &Changes) {
        for (name, value) in changes {
            match value {
                Some(value) => self.rows.insert(name.clone(), value.clone()),
                None => self.rows.remove(name),
            };
        }
    }

    fn keep(&mut self, forged: Option<Pending>, mut changes: Changes) -> Changes {
        self.note(&changes);
        self.forged = forged;
        let row = self.forged.as_ref().map(|it| it.commit.clone());
        changes.push((Bytes::from_static(ROW), row));
        changes
    }

    /// The key of the epoch's membership tags.
    fn membership_key(&self) -> Option<Vec<u8>> {
        let mut rows = self.rows.iter();
        let (_, row) = rows.find(|(name, _)| name.starts_with(b"MessageSecrets"))?;
        let row: Value = serde_json::from_slice(row).ok()?;
        bytes_in(find(&row, "membership_key")?)
    }
}

fn find<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    match value {
        Value::Object(map) => map.get(name).or_else(|| map.values().find_map(|it| find(it, name))),
        Value::Array(list) => list.iter().find_map(|it| find(it, name)),
        _ => None,
    }
}

fn bytes_in(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::Array(list) => list.iter().map(|it| u8::try_from(it.as_u64()?).ok()).collect(),
        Value::Object(map) => map.values().find_map(bytes_in),
        _ => None,
    }
}

impl KeyAgreements for Poison {
    fn key_package(
        &self,
        me: PeerId,
        proofs: &dyn Proofs,
        seed: [u8; 32],
    ) -> Result<KeyPackage, Error> {
        Mls.key_package(me, proofs, seed)
    }

    fn create(
        &self,
        room: RoomId,
        group: GroupId,
        me: PeerId,
        proofs: &dyn Proofs,
        seed: [u8; 32],
    ) -> Result<Begun, Error> {
        Mls.create(room, group, me, proofs, seed).map(Group::begin)
    }

    fn load(
        &self,
        room: RoomId,
        me: PeerId,
        rows: &[(Bytes, Bytes)],
        seed: [u8; 32],
    ) -> Result<Box<dyn KeyAgreement>, Error> {
        let is_ours = |it: &&(Bytes, Bytes)| it.0 == ROW;
        let forged =
            rows.iter().find(is_ours).map(|(_, commit)| Pending::new(commit.clone(), None));
        let theirs: Vec<_> = rows.iter().filter(|it| !is_ours(it)).cloned().collect();
        let real = Mls.load(room, me, &theirs, seed)?;
        Ok(Box::new(Group { real, rows: theirs.into_iter().collect(), forged }))
    }

    fn join_external(
        &self,
        room: RoomId,
        me: PeerId,
        info: &Bytes,
        judge: &dyn Judge,
        proofs: &dyn Proofs,
        seed: [u8; 32],
    ) -> Result<Begun, Error> {
        Mls.join_external(room, me, info, judge, proofs, seed).map(Group::begin)
    }

    fn join_welcome(
        &self,
        room: RoomId,
        me: PeerId,
        welcome: &Bytes,
        private: &Bytes,
        judge: &dyn Judge,
        seed: [u8; 32],
    ) -> Result<Begun, Error> {
        Mls.join_welcome(room, me, welcome, private, judge, seed).map(Group::begin)
    }
}

impl KeyAgreement for Group {
    fn group(&self) -> GroupId {
        self.real.group()
    }
    fn epoch(&self) -> u64 {
        self.real.epoch()
    }
    fn authenticator(&self) -> Hash {
        self.real.authenticator()
    }
    fn leaves(&self) -> Vec<Leaf> {
        self.real.leaves()
    }
    fn is_member(&self) -> bool {
        self.real.is_member()
    }
    fn secret(&self) -> Result<RoomSecret, Error> {
        self.real.secret()
    }
    fn group_info(&self, proofs: &dyn Proofs) -> Result<Bytes, Error> {
        self.real.group_info(proofs)
    }
    fn pending(&self) -> Option<&Pending> {
        self.forged.as_ref().or_else(|| self.real.pending())
    }

    fn stage(
        &mut self,
        wish: &Wish,
        judge: &dyn Judge,
        proofs: &dyn Proofs,
    ) -> Result<Changes, Error> {
        let info = self.real.group_info(proofs)?;
        let key = self.membership_key().ok_or(Error::Internal("no membership key"))?;
        let changes = self.real.stage(wish, judge, proofs)?;
        let commit = self.real.pending().ok_or(Error::Internal("nothing is staged"))?;
        let forged = forge(&commit.commit, &info, &key, proofs);
        let forged = forged.ok_or(Error::Internal("a commit cannot be forged"))?;
        Ok(self.keep(Some(Pending::new(forged, None)), changes))
    }

    fn clear(&mut self) -> Result<Changes, Error> {
        let changes = self.real.clear()?;
        Ok(self.keep(None, changes))
    }

    fn ordered(&mut self, commit: &Bytes, judge: &dyn Judge) -> Result<(Verdict, Changes), Error> {
        let is_ours = self.forged.as_ref().is_some_and(|it| it.commit == *commit);
        let real = self.real.pending().map(|it| it.commit.clone());
        let meant = real.filter(|_| is_ours).unwrap_or_else(|| commit.clone());
        let (verdict, changes) = self.real.ordered(&meant, judge)?;
        let forged = self.forged.take().filter(|_| self.real.pending().is_some());
        Ok((verdict, self.keep(forged, changes)))
    }
}

/// The same commit with path secrets that open nowhere, signed and tagged as the real one is.
///
/// ```text
/// version, form, content … path nodes │ signature (64) │ confirmation tag (32) │ membership tag (32)
/// ```
fn forge(commit: &Bytes, info: &Bytes, key: &[u8], proofs: &dyn Proofs) -> Option<Bytes> {
    let end = commit.len().checked_sub(66 + 33 + 33)?;
    let confirmation = commit.get(end + 66..end + 99)?;
    let is_so = commit.get(end..end + 2)? == [0x40, 64]
        && confirmation.first() == Some(&32)
        && commit.get(end + 99) == Some(&32);
    let content = commit.get(..end).filter(|_| is_so)?;
    let secrets = (0..content.len()).find_map(|at| path_secrets(content, at))?;
    let mut bytes = content.to_vec();
    for at in secrets {
        *bytes.get_mut(at)? ^= 1;
    }
    let signed = [&bytes[..], context(info)?].concat();
    let mut to_sign = Vec::new();
    put(&mut to_sign, b"MLS 1.0 FramedContentTBS");
    put(&mut to_sign, &signed);
    let mut proof = Vec::new();
    put(&mut proof, proofs.sign_mls(&to_sign)?.as_bytes());
    proof.extend_from_slice(confirmation);
    let mut tag = Hmac::<Sha256>::new_from_slice(key).ok()?;
    tag.update(&signed);
    tag.update(&proof);
    bytes.extend_from_slice(&proof);
    put(&mut bytes, &tag.finalize().into_bytes());
    Some(bytes.into())
}

/// Where the first bytes of the sealed path secrets stand, if the nodes of a path begin here and go on
/// to the end.
fn path_secrets(content: &[u8], at: usize) -> Option<Vec<usize>> {
    let (start, len) = length(content, at)?;
    if len == 0 || start + len != content.len() {
        return None;
    }
    let (mut at, mut found) = (start, Vec::new());
    while at < content.len() {
        let (key, 32) = length(content, at)? else { return None };
        let (first, len) = length(content, key + 32)?;
        let end = first + len;
        at = first;
        while at < end {
            let (kem, 32) = length(content, at)? else { return None };
            let (sealed, 48) = length(content, kem + 32)? else { return None };
            found.push(sealed);
            at = sealed + 48;
        }
        if at != end || end > content.len() {
            return None;
        }
    }
    (!found.is_empty()).then_some(found)
}

/// What a group info says of its epoch: it begins with it.
fn context(info: &Bytes) -> Option<&[u8]> {
    // Version and form of the message; version and suite.
    let mut at = 4 + 4;
    for is_number in [false, true, false, false, false] {
        at = match is_number {
            true => at + 8,
            false => length(info, at).map(|(start, len)| start + len)?,
        };
    }
    info.get(4..at)
}

/// A length as RFC 9420 2.1.2 writes it: where what it is of begins, and the length.
fn length(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let first = *bytes.get(at)?;
    let size = 1_usize << (first >> 6);
    let rest = bytes.get(at + 1..at + size).filter(|_| size < 8)?;
    let add = |sum: usize, byte: &u8| sum << 8 | usize::from(*byte);
    Some((at + size, rest.iter().fold(usize::from(first & 0x3f), add)))
}

fn put(to: &mut Vec<u8>, bytes: &[u8]) {
    let len = u16::try_from(bytes.len()).unwrap_or(0);
    match len {
        0..64 => to.push(len as u8),
        _ => to.extend_from_slice(&(len | 0x4000).to_be_bytes()),
    }
    to.extend_from_slice(bytes);
}
