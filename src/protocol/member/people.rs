//! Members as people: whose key was compared word by word, and what does not fit together.
//! Owns: the marks of who was verified; alarms, each once, with what proves it.
//! Must not know: how words are shown, who may be a member.
//! Invariants: a mark holds for one key; an alarm rests on two credentials of the network's own
//! authority, and two entries signed under them where it is about a leader, all checked here; what was
//! told once is stored and not told again.
//! Start reading at: [`Member::on_people`], [`Member::compare`].

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::contradictions::is_of_orders;
use super::{Context, Member};
use crate::identity::{Credential, words};
use crate::ids::{CommandId, Hash, Index, PeerId};
use crate::limits::ALARMS_MAX;
use crate::protocol::control::Payload;
use crate::protocol::ledger::Ledger;
use crate::protocol::{
    AlarmView, EvidenceView, Notice, PeopleCommand, Reads, RoomView, VerifyView, WhoisView, Write,
};
use crate::refusal::{Refusal, Refused};
use crate::time::Wall;
use crate::wire::frame::{Body, Evidence};
use crate::wire::roster::{IntentIn, Wish};

/// Whose key a person compared: by peer id, since when (milliseconds).
const VERIFIED: &str = "verified/";
/// When the last link with a member began or ended: by peer id (milliseconds).
const LAST_SEEN: &str = "last_seen/";
/// What was told, by what it is about.
pub(super) const ALARM: &str = "alarm/";

/// What is known of members as people.
#[derive(Debug, Default)]
pub(super) struct People {
    verified: BTreeMap<PeerId, Wall>,
    /// By what they are about: when told, and what proves them.
    alarms: BTreeMap<String, (Wall, Evidence)>,
    /// Linked members that have all of these from us.
    told: BTreeSet<PeerId>,
    /// When the last link with somebody began or ended.
    seen: BTreeMap<PeerId, Wall>,
    /// Void control entries up to here were looked at.
    looked: Index,
}

/// What two credentials that do not fit together show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clash {
    /// One name, two keys.
    Name,
    /// One key, two names.
    Key,
    /// One number, two certificates.
    Serial,
}

impl Clash {
    fn of(one: &Credential, other: &Credential) -> Option<Self> {
        // By a voucher somebody gives itself a name: that one is taken shows nothing.
        if one.serial == 0 || other.serial == 0 {
            return None;
        }
        match (one.peer == other.peer, one.skeleton == other.skeleton) {
            (false, true) => Some(Self::Name),
            (true, false) => Some(Self::Key),
            (false, false) if one.serial == other.serial => Some(Self::Serial),
            _ => None,
        }
    }

    const fn code(self) -> &'static str {
        match self {
            Self::Name => "second_certificate",
            Self::Key => "second_name",
            Self::Serial => "serial_twice",
        }
    }

    /// What is the same for every pair of credentials about the same thing.
    fn subject(self, one: &Credential, other: &Credential) -> String {
        let mut both = [one, other].map(|it| (it.peer, it.skeleton.clone()));
        both.sort();
        let [(a, b), (c, d)] = &both;
        let parts = [a.as_bytes(), b.as_bytes(), c.as_bytes(), d.as_bytes()];
        format!("{ALARM}{}/{}", self.code(), Hash::of("p2pgroup/1 alarm", &parts))
    }
}

impl People {
    pub(super) fn load(reads: &dyn Reads) -> Self {
        let rows = |prefix: &str| reads.settings(prefix).into_iter();
        let verified = rows(VERIFIED).filter_map(|(key, value)| {
            Some((PeerId::parse(key.strip_prefix(VERIFIED)?)?, wall(&value)?))
        });
        let alarms = rows(ALARM).filter_map(|(key, value)| {
            let kept = decode(&key, &value)?;
            Some((key, kept))
        });
        let seen = rows(LAST_SEEN).filter_map(|(key, value)| {
            Some((PeerId::parse(key.strip_prefix(LAST_SEEN)?)?, wall(&value)?))
        });
        let seen = seen.collect();
        Self { verified: verified.collect(), alarms: alarms.collect(), seen, ..Self::default() }
    }

    /// When the last link with somebody began or ended.
    pub(super) fn last_seen(&self, peer: &PeerId) -> Option<Wall> {
        self.seen.get(peer).copied()
    }

    pub(super) fn is_verified(&self, peer: &PeerId) -> bool {
        self.verified.contains_key(peer)
    }

    /// The link is gone; who comes back may have missed something. `seen`: the time now, if it showed
    /// a certificate; strangers are not remembered, for there may be any number of them.
    pub(super) fn unlinked(&mut self, peer: &PeerId, seen: Option<Wall>) {
        self.told.remove(peer);
        self.seen.extend(seen.map(|at| (*peer, at)));
    }

    /// A member is linked now; what is noted of it is softly written: a loss of power may take the
    /// last of it.
    fn seen_at(&mut self, peer: PeerId, now: Wall) -> Write {
        self.seen.insert(peer, now);
        let value = Some(now.0.to_be_bytes().to_vec().into());
        Write::Setting { key: format!("{LAST_SEEN}{peer}"), value }
    }
}

impl Member {
    pub(super) fn on_people(&mut self, id: CommandId, asked: PeopleCommand, cx: &mut Context<'_>) {
        match asked {
            PeopleCommand::Verify { name, is_verified } => {
                match self.verify(&name, is_verified, cx) {
                    Ok(verify) => cx.notice(Notice::Verify { command: id, verify }),
                    Err(refused) => cx.fail(id, refused),
                }
            }
            PeopleCommand::Alarms => {
                let stored = self.people.alarms.values();
                let mut alarms: Vec<_> =
                    stored.filter_map(|(at, it)| self.alarm_of(*at, it)).collect();
                alarms.extend(self.suspended_alarms(cx.now.wall));
                cx.notice(Notice::Alarms { command: id, alarms });
            }
            PeopleCommand::Whois { name } => match self.whois(&name) {
                Ok(whois) => cx.notice(Notice::Whois { command: id, whois: Box::new(whois) }),
                Err(refused) => cx.fail(id, refused),
            },
            PeopleCommand::Ignore { name, is_ignored } => {
                match self.ignore(&name, is_ignored, cx) {
                    Ok(()) => cx.notice(Notice::Ignored { command: id, members: self.ignored() }),
                    Err(refused) => cx.fail(id, refused),
                }
            }
            PeopleCommand::Ignored => {
                cx.notice(Notice::Ignored { command: id, members: self.ignored() });
            }
        }
    }

    /// Somebody of this name, removed ones included: those who belong come first.
    ///
    /// # Refusals
    /// [`Refusal::NameUnknown`], [`Refusal::NotAMember`].
    pub(super) fn person_named(&self, name: &str) -> Result<PeerId, Refused> {
        let roster = self.ledger.as_ref().map(Ledger::roster).ok_or(Refusal::NotAMember)?;
        let known = crate::text::nfc(name.strip_prefix('@').unwrap_or(name));
        let removed = || roster.members().find(|member| member.name == known);
        self.member_named(name).or_else(|no| removed().map(|member| member.peer).ok_or(no))
    }

    /// All that is known of a member.
    fn whois(&self, name: &str) -> Result<WhoisView, Refused> {
        let peer = self.person_named(name)?;
        let roster = self.ledger.as_ref().map(Ledger::roster).ok_or(Refusal::NotAMember)?;
        let unknown = || Refused::new(Refusal::NameUnknown, name);
        let known = roster.member(&peer).ok_or_else(unknown)?;
        let member = self.member_views().into_iter().find(|member| member.peer == peer);
        let both = |view: &RoomView| {
            view.is_in && view.kind != "direct" && view.members.iter().any(|it| it.peer == peer)
        };
        let rooms = self.room_views().into_iter().filter(both).map(|view| view.room).collect();
        Ok(WhoisView {
            member: member.ok_or_else(unknown)?,
            serial: known.serial,
            not_after: known.not_after,
            removed_at: known.removed_at,
            verified_at: self.people.verified.get(&peer).copied(),
            link: self.link_view(&peer),
            rooms,
        })
    }

    fn verify(
        &mut self,
        name: &str,
        mark: Option<bool>,
        cx: &mut Context<'_>,
    ) -> Result<VerifyView, Refused> {
        let name = crate::text::nfc(name);
        let ledger = self.ledger.as_ref().ok_or(Refusal::NotAMember)?;
        let member = ledger.roster().members().find(|member| member.name == name);
        let peer = member.ok_or_else(|| Refused::new(Refusal::NameUnknown, &name))?.peer;
        if peer == self.me {
            return Err(Refused::new(Refusal::NameUnknown, "that is you"));
        }
        let network = ledger.roster().authority().network;
        if let Some(is_verified) = mark {
            let value = is_verified.then(|| cx.now.wall.0.to_be_bytes().to_vec().into());
            let key = format!("{VERIFIED}{peer}");
            cx.actions.writes.push(Write::Setting { key, value });
            match is_verified {
                true => self.people.verified.insert(peer, cx.now.wall),
                false => self.people.verified.remove(&peer),
            };
        }
        if mark == Some(true) {
            // No stranger any more: what waited comes now.
            self.settle_request(&peer, cx);
        }
        let words = words::safety(&network, (&self.me, &self.name), (&peer, &name));
        let verified_at = self.people.verified.get(&peer).copied();
        Ok(VerifyView { name, peer, words, verified_at })
    }

    /// Somebody shows a credential: does it fit what the group knows?
    pub(super) fn compare(&mut self, shown: &Credential, cx: &mut Context<'_>) {
        let Some(ledger) = &self.ledger else { return };
        let clashing: Vec<Bytes> = ledger
            .roster()
            .members()
            .filter(|member| {
                let (is_key, is_name) =
                    (member.peer == shown.peer, member.skeleton == shown.skeleton);
                is_key != is_name || !is_key && member.serial == shown.serial && shown.serial > 0
            })
            .map(|member| member.credential.clone())
            .collect();
        for known in clashing {
            let credentials = [known, shown.bytes.clone()];
            self.take_evidence(Evidence { credentials, entries: None }, cx);
        }
    }

    /// What the leader ordered and the roster refused may hold a certificate to be wondered at.
    pub(super) fn look_at_void(&mut self, cx: &mut Context<'_>) {
        let Some(ledger) = &self.ledger else { return };
        let from = self.people.looked;
        if from >= ledger.applied() {
            return;
        }
        let void: Vec<Index> = ledger
            .history()
            .iter()
            .filter(|(index, result)| *index > from && result.is_err())
            .map(|(index, _)| *index)
            .collect();
        self.people.looked = ledger.applied();
        for index in void {
            let Some(ledger) = &self.ledger else { return };
            let Some(entry) = ledger.control().entry(index) else { continue };
            let Payload::Intent { bytes, .. } = &entry.payload else { continue };
            let Ok(IntentIn { wish: Wish::Admit { credential }, .. }) = IntentIn::decode(bytes)
            else {
                continue;
            };
            let authority = ledger.roster().authority();
            if let Ok(shown) = self.proofs.credential(authority, &credential) {
                self.compare(&shown, cx);
            }
        }
    }

    /// A linked member says that something does not fit together.
    pub(super) fn on_evidence(&mut self, from: PeerId, it: Evidence, cx: &mut Context<'_>) {
        if !self.take_evidence(it, cx) {
            self.refuse(from, Refusal::FieldBad, cx);
        }
    }

    /// Tells of what does not fit together, here and to everybody linked, once. `false`: it proves
    /// nothing.
    pub(super) fn take_evidence(&mut self, it: Evidence, cx: &mut Context<'_>) -> bool {
        let Some(subject) = self.subject_of(&it) else { return false };
        if self.people.alarms.contains_key(&subject) || self.people.alarms.len() >= ALARMS_MAX {
            return true;
        }
        let value = encode(cx.now.wall, &it);
        cx.actions.writes.push(Write::Setting { key: subject.clone(), value: Some(value) });
        let alarm = self.alarm_of(cx.now.wall, &it).map(Box::new);
        cx.actions.notices.extend(alarm.map(Notice::Alarm));
        self.people.alarms.insert(subject, (cx.now.wall, it.clone()));
        let roster = self.ledger.as_ref().map(Ledger::roster);
        let is_in = |peer: &PeerId| roster.is_some_and(|roster| roster.is_in(peer));
        let members = self.links.iter().filter(|(peer, link)| link.is_member() && is_in(peer));
        for (peer, _) in members {
            self.send(*peer, Body::Evidence(it.clone()), cx);
        }
        true
    }

    /// Notes that a member is here: when its link begins and ends, and for all when we leave, so that a
    /// kill loses no more than how long it stayed. Of who is no member nothing is written.
    pub(super) fn note_seen_member(&mut self, peer: PeerId, cx: &mut Context<'_>) {
        let roster = self.ledger.as_ref().map(Ledger::roster);
        if roster.is_some_and(|roster| roster.is_in(&peer)) {
            cx.actions.writes.push(self.people.seen_at(peer, cx.now.wall));
        }
    }

    /// Tells a member that is linked anew what it may have missed.
    pub(super) fn tell_evidence(&mut self, to: PeerId, cx: &mut Context<'_>) {
        if self.people.told.insert(to) {
            let all: Vec<_> = self.people.alarms.values().map(|(_, it)| it.clone()).collect();
            for it in all {
                self.send(to, Body::Evidence(it), cx);
            }
        }
    }

    fn subject_of(&self, it: &Evidence) -> Option<String> {
        if it.entries.is_some() {
            return self.two_orders(it).map(|orders| orders.subject());
        }
        let (clash, one, other) = self.checked(&it.credentials)?;
        Some(clash.subject(&one, &other))
    }

    fn alarm_of(&self, at: Wall, it: &Evidence) -> Option<AlarmView> {
        match it.entries {
            Some(_) => self.two_orders(it).map(|orders| self.orders_view(at, it, &orders)),
            None => self.view(at, &it.credentials),
        }
    }

    fn checked(&self, pair: &[Bytes; 2]) -> Option<(Clash, Credential, Credential)> {
        let authority = self.authority.as_ref()?;
        let [one, other] = pair;
        let one = self.proofs.credential(authority, one).ok()?;
        let other = self.proofs.credential(authority, other).ok()?;
        Some((Clash::of(&one, &other)?, one, other))
    }

    fn view(&self, at: Wall, pair: &[Bytes; 2]) -> Option<AlarmView> {
        let (clash, one, other) = self.checked(pair)?;
        let roster = self.ledger.as_ref().map(Ledger::roster);
        let is_known = |it: &Credential| {
            let member = roster.and_then(|roster| roster.member(&it.peer));
            member.is_some_and(|member| member.skeleton == it.skeleton)
        };
        // The one that the group has is what the other is held against.
        let (known, strange) = match (is_known(&one), is_known(&other)) {
            (false, true) => (other, one),
            _ => (one, other),
        };
        let is_verified = self.people.is_verified(&known.peer);
        let whose = match (known.peer == self.me, is_verified) {
            (true, _) => format!("{}, which is you", known.name),
            (_, true) => format!("{}, whom you verified", known.name),
            _ => known.name.clone(),
        };
        let message = match clash {
            Clash::Name => format!(
                "the authority certified a second key for the name of {whose}: {} beside {}; it \
                 does not get in by itself, so ask {} and the operator before you trust it",
                strange.peer, known.peer, known.name
            ),
            Clash::Key => format!(
                "the authority certified the key of {whose} under a second name, {}; ask {} and \
                 the operator what it is for",
                strange.name, known.name
            ),
            Clash::Serial => format!(
                "the authority gave number {} to two certificates, of {whose} and of {}: it does \
                 not account for all that it signs; ask its operator",
                known.serial, strange.name
            ),
        };
        let evidence = [&known, &strange].into_iter().map(|it| EvidenceView {
            name: it.name.clone(),
            peer: it.peer,
            serial: it.serial,
            credential: it.bytes.clone(),
        });
        let evidence = evidence.collect();
        let name = known.name;
        let entries = Vec::new();
        Some(AlarmView { code: clash.code(), name, message, is_verified, at, evidence, entries })
    }
}

fn wall(bytes: &[u8]) -> Option<Wall> {
    Some(Wall(u64::from_be_bytes(bytes.try_into().ok()?)))
}

/// When (8 bytes); both credentials, or two pairs: these and both entries.
fn encode(at: Wall, it: &Evidence) -> Bytes {
    let credentials = pack(&it.credentials);
    let packed = match &it.entries {
        Some(entries) => pack(&[credentials, pack(entries)]),
        None => credentials,
    };
    [at.0.to_be_bytes().as_slice(), &packed].concat().into()
}

fn decode(key: &str, bytes: &Bytes) -> Option<(Wall, Evidence)> {
    let at = wall(bytes.get(..8)?)?;
    let [one, other] = unpack(&bytes.slice(8..))?;
    let it = match is_of_orders(key) {
        true => Evidence { credentials: unpack(&one)?, entries: Some(unpack(&other)?) },
        false => Evidence { credentials: [one, other], entries: None },
    };
    Some((at, it))
}

/// The length of the first (4 bytes), both.
fn pack([one, other]: &[Bytes; 2]) -> Bytes {
    let len = u32::try_from(one.len()).unwrap_or(u32::MAX);
    [len.to_be_bytes().as_slice(), one, other].concat().into()
}

fn unpack(bytes: &Bytes) -> Option<[Bytes; 2]> {
    let len = u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?);
    let split = usize::try_from(len).ok()?.checked_add(4)?;
    bytes.get(split..)?;
    Some([bytes.slice(4..split), bytes.slice(split..)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{DeviceKey, Incarnation};

    fn credential(peer: u8, skeleton: &str, serial: u64) -> Credential {
        Credential {
            peer: PeerId::of_rsa_spki(&[peer; 422]),
            name: skeleton.to_owned(),
            skeleton: skeleton.to_owned(),
            serial,
            not_before: Wall(0),
            not_after: Wall(u64::MAX),
            device: DeviceKey([0; 32]),
            incarnation: Incarnation(1),
            voucher: None,
            bytes: Bytes::new(),
        }
    }

    #[test]
    fn two_certificates_clash_by_name_by_key_or_by_number() {
        let bob = credential(1, "bob", 3);
        for (other, clash) in [
            (credential(2, "bob", 7), Some(Clash::Name)),
            (credential(2, "bob", 3), Some(Clash::Name)),
            (credential(1, "robert", 7), Some(Clash::Key)),
            (credential(2, "carol", 3), Some(Clash::Serial)),
            (credential(2, "carol", 7), None),
            // Renewed, or the same again.
            (credential(1, "bob", 7), None),
            (bob.clone(), None),
            // By a voucher: the name is what its user typed.
            (credential(2, "bob", 0), None),
        ] {
            assert_eq!(Clash::of(&bob, &other), clash, "{other:?}");
            assert_eq!(Clash::of(&other, &bob), clash, "{other:?}");
        }
    }

    #[test]
    fn what_an_alarm_is_about_does_not_hang_on_order_or_number() {
        let (one, other) = (credential(1, "bob", 3), credential(2, "bob", 7));
        let subject = Clash::Name.subject(&one, &other);
        assert_eq!(subject, Clash::Name.subject(&other, &one));
        assert_eq!(subject, Clash::Name.subject(&one, &credential(2, "bob", 8)));
        assert_ne!(subject, Clash::Name.subject(&one, &credential(3, "bob", 7)));
        assert_ne!(subject, Clash::Key.subject(&one, &other));
    }

    #[test]
    fn stored_evidence_survives_its_bytes_and_damage_is_left_out() {
        let pair = [Bytes::from_static(b"one"), Bytes::from_static(b"other")];
        let it = Evidence { credentials: pair.clone(), entries: None };
        let bytes = encode(Wall(5), &it);
        assert_eq!(decode("alarm/second_name/1", &bytes), Some((Wall(5), it)));
        assert_eq!(decode("alarm/second_name/1", &bytes.slice(..14)), None);
        assert_eq!(decode("alarm/second_name/1", &Bytes::new()), None);
        let it = Evidence { credentials: pair.clone(), entries: Some(pair) };
        let bytes = encode(Wall(5), &it);
        assert_eq!(decode("alarm/two_orders/1", &bytes), Some((Wall(5), it)));
        assert_eq!(decode("alarm/two_orders/1", &bytes.slice(..22)), None);
    }
}
