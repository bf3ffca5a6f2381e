//! Events as bytes.
//! Owns: which fields an event has.
//! Must not know: which event follows from what.
//! Invariants: one line an event.
//! Start reading at: [`Pen`].

use std::collections::BTreeMap;

use serde::Serialize;

use super::compare::Compared;
use super::data::{
    Epoch, Everything, Helped, LeaderAnswer, Members, MessageData, Room, SinceData, Talk, What,
    WrittenOut,
};
use super::data::{app, is_removed, kind, of};
use super::delivery::DeliveryData;
use super::files::{Brought, FileData, FilesData};
use super::invites::Invite;
use super::line::line;
use super::links::Links;
use super::network::{Invites, Request, Requests, Wish};
use super::people::{Alarms, Verify, Whois};
use super::rooms::{ChangeData, CodeData, ReceiptData, ReceiptsData, RoomData, RoomsData};
use super::shapes::{
    Answered, Asks, Changed, Delivered, Ended, Exported, Failed, Gap, Hex, Leader, Leads, Message,
    Nothing, Outcome, Row, Sent, Set, Started, Told,
};
use super::stamp::Stamp;
use super::stored::Audit;
use crate::cli::export::Written;
use crate::cli::slash::{Entry, Slash};
use crate::config::Shown;
use crate::ids::PeerId;
use crate::protocol::{
    CertificateRow, CertificateState, EpochView, LeaderView, MemberView, MessageId, MessageView,
    Notice, Ready, ReceiptView, RoomView, SinceView, Status,
};
use crate::refusal::{Refusal, Refused};
use crate::time::Wall;

/// Writes events, and remembers what is dear to spell.
#[derive(Debug, Default)]
pub(super) struct Pen {
    peers: BTreeMap<PeerId, String>,
    sent_at: Stamp,
}

/// More peers than any network has: past it the cache starts again.
const PEERS_MAX: usize = crate::limits::MEMBERS_MAX * 2;

fn peer_text<'a>(peers: &'a mut BTreeMap<PeerId, String>, peer: &PeerId) -> &'a str {
    if peers.len() > PEERS_MAX {
        peers.clear();
    }
    peers.entry(*peer).or_insert_with(|| peer.to_string())
}

impl Pen {
    pub(super) fn message(
        &mut self,
        at: &str,
        view: &MessageView,
        history: bool,
        reference: Option<&str>,
        out: &mut Vec<u8>,
    ) {
        if view.missing > 0 {
            let (room, from, missing) = (&view.room, &view.from, view.missing);
            let peer_id = peer_text(&mut self.peers, &view.peer);
            let before = view.seq.0;
            let event = "gap";
            line(&Gap { event, at, room, from, peer_id, missing, before, reference }, out);
        }
        let id = Hex::of(view.id);
        let event = Message {
            event: "message",
            at,
            id: id.text(),
            room: &view.room,
            from: &view.from,
            peer_id: peer_text(&mut self.peers, &view.peer),
            seq: view.seq.0,
            lamport: view.lamport,
            text: &view.text,
            sent_at: self.sent_at.of(view.sent_at),
            expires_at: view.expires_at.map(Wall::rfc3339),
            kind: kind(&view.about),
            of: of(&view.about),
            removed: is_removed(&view.about),
            app: app(&view.about),
            file: Brought::of(&view.about, &view.text),
            history,
            fork: view.is_fork,
            ignored: view.is_ignored,
            reference,
        };
        line(&event, out);
    }

    pub(super) fn since(
        &mut self,
        at: &str,
        page: &SinceView,
        reference: Option<&str>,
        out: &mut Vec<u8>,
    ) {
        let data = SinceData::of(page);
        line(&Answered { event: "since", at, data, reference }, out);
    }

    pub(super) fn sent(
        &mut self,
        at: &str,
        view: &MessageView,
        reference: Option<&str>,
        out: &mut Vec<u8>,
    ) {
        let id = Hex::of(view.id);
        let event = Sent {
            event: "sent",
            at,
            id: id.text(),
            room: &view.room,
            seq: view.seq.0,
            text: &view.text,
            expires_at: view.expires_at.map(Wall::rfc3339),
            kind: kind(&view.about),
            of: of(&view.about),
            removed: is_removed(&view.about),
            app: app(&view.about),
            file: Brought::of(&view.about, &view.text),
            reference,
        };
        line(&event, out);
    }

    pub(super) fn delivered(&mut self, at: &str, id: MessageId, to: &str, out: &mut Vec<u8>) {
        line(&Delivered { event: "delivered", at, id: Hex::of(id).text(), to }, out);
    }

    pub(super) fn ready(&mut self, at: &str, ready: &Ready, out: &mut Vec<u8>) {
        let is_member = ready.role == "member";
        let leads = Leads {
            leader: ready.leader.as_ref().map(|leader| leader.name.as_str()),
            term: ready.leader.as_ref().map(|leader| leader.term),
        };
        let event = Started {
            event: "ready",
            at,
            role: ready.role,
            name: is_member.then_some(ready.name.as_str()),
            peer_id: ready.peer.to_string(),
            network: &ready.network,
            listen: &ready.listen,
            leader: is_member.then_some(leads),
        };
        line(&event, out);
    }

    pub(super) fn leader(
        &mut self,
        at: &str,
        leader: Option<&LeaderView>,
        reference: Option<&str>,
        out: &mut Vec<u8>,
    ) {
        let event = Leader {
            event: "leader",
            at,
            name: leader.map(|leader| leader.name.as_str()),
            peer_id: leader.map(|leader| leader.peer.to_string()),
            generation: leader.map(|leader| leader.generation),
            term: leader.map(|leader| leader.term),
            reference,
        };
        line(&event, out);
    }

    pub(super) fn member(&mut self, at: &str, member: &MemberView, out: &mut Vec<u8>) {
        let event = Changed {
            event: "member",
            at,
            name: &member.name,
            peer_id: member.peer.to_string(),
            state: member.state.name(),
            role: member.role.name(),
            verified: member.is_verified,
            ignored: member.is_ignored,
        };
        line(&event, out);
    }

    pub(super) fn status(
        &mut self,
        at: &str,
        status: &Status,
        reference: Option<&str>,
        out: &mut Vec<u8>,
    ) {
        line(&Answered { event: "status", at, reference, data: Everything::of(status) }, out);
    }

    pub(super) fn members(
        &mut self,
        at: &str,
        members: &[MemberView],
        reference: Option<&str>,
        out: &mut Vec<u8>,
    ) {
        let data = Members::of(members);
        line(&Answered { event: "members", at, reference, data }, out);
    }

    pub(super) fn history(
        &mut self,
        at: &str,
        room: &str,
        count: usize,
        reference: Option<&str>,
        out: &mut Vec<u8>,
    ) {
        line(&Answered { event: "history", at, reference, data: Room { room, count } }, out);
    }

    pub(super) fn epoch(
        &mut self,
        at: &str,
        epoch: &EpochView,
        reference: Option<&str>,
        out: &mut Vec<u8>,
    ) {
        line(&Answered { event: "epoch", at, reference, data: Epoch::of(epoch) }, out);
    }

    pub(super) fn confirm(
        &mut self,
        at: &str,
        fingerprint: &str,
        address: &str,
        out: &mut Vec<u8>,
    ) {
        line(&Asks { event: "confirm_authority", at, fingerprint, address }, out);
    }

    pub(super) fn text(&mut self, at: &str, event: &'static str, text: &str, out: &mut Vec<u8>) {
        line(&Told { event, at, text }, out);
    }

    pub(super) fn error(
        &mut self,
        at: &str,
        refused: &Refused,
        reference: Option<&str>,
        fatal: bool,
        out: &mut Vec<u8>,
    ) {
        line(&Failed { event: "error", at, what: What::of(refused), fatal, reference }, out);
    }

    pub(super) fn room(
        &mut self,
        at: &str,
        data: &ChangeData<'_>,
        reference: Option<&str>,
        out: &mut Vec<u8>,
    ) {
        line(&Answered { event: "room", at, reference, data }, out);
    }

    pub(super) fn rooms(
        &mut self,
        at: &str,
        rooms: &[RoomView],
        reference: Option<&str>,
        out: &mut Vec<u8>,
    ) {
        line(&Answered { event: "rooms", at, reference, data: RoomsData::of(rooms) }, out);
    }

    pub(super) fn receipt(&mut self, at: &str, view: &ReceiptView, out: &mut Vec<u8>) {
        let data = ReceiptData::of(view);
        line(&Answered { event: "receipt", at, reference: None, data }, out);
    }

    pub(super) fn receipts(
        &mut self,
        at: &str,
        views: &[ReceiptView],
        reference: Option<&str>,
        out: &mut Vec<u8>,
    ) {
        let data = ReceiptsData::of(views);
        line(&Answered { event: "receipts", at, reference, data }, out);
    }

    pub(super) fn exited(&mut self, at: &str, out: &mut Vec<u8>) {
        line(&Ended { event: "exited", at }, out);
    }

    /// The answer to a slash command that the node carried out.
    pub(super) fn result(
        &mut self,
        at: &str,
        notice: Notice,
        asked: &str,
        slash: &Slash,
        reference: Option<&str>,
        out: &mut Vec<u8>,
    ) {
        match notice {
            Notice::Members { members, .. } => {
                outcome(at, asked, reference, Members::of(&members), out);
            }
            Notice::Status { status, .. } if *slash == Slash::Leader => {
                outcome(at, asked, reference, LeaderAnswer::of(&status), out);
            }
            Notice::Status { status, .. } => {
                outcome(at, asked, reference, Everything::of(&status), out);
            }
            Notice::History { messages, .. } => {
                outcome(at, asked, reference, Talk::of(&messages), out);
            }
            Notice::Found { messages, .. } => {
                outcome(at, asked, reference, Talk::of(&messages), out);
            }
            Notice::Delivery { delivery, .. } => {
                outcome(at, asked, reference, DeliveryData::of(&delivery), out);
            }
            Notice::Audit { records, .. } => {
                outcome(at, asked, reference, Audit::of(&records), out);
            }
            Notice::Compared { compared, .. } => {
                outcome(at, asked, reference, Compared::of(&compared), out);
            }
            Notice::Links { links, .. } => {
                outcome(at, asked, reference, Links::of(&links), out);
            }
            Notice::Verify { verify, .. } => {
                outcome(at, asked, reference, Verify::of(&verify), out);
            }
            Notice::Alarms { alarms, .. } => {
                outcome(at, asked, reference, Alarms::of(&alarms), out);
            }
            Notice::Whois { whois, .. } => {
                outcome(at, asked, reference, Whois::of(&whois), out);
            }
            Notice::Ignored { members, .. } => {
                outcome(at, asked, reference, Members::of(&members), out);
            }
            Notice::Room { room, .. } => {
                outcome(at, asked, reference, RoomData::of(&room), out);
            }
            Notice::Receipts { receipts, .. } => {
                outcome(at, asked, reference, ReceiptsData::of(&receipts), out);
            }
            Notice::Rooms { rooms, .. } => {
                outcome(at, asked, reference, RoomsData::of(&rooms), out);
            }
            Notice::Invite { invite, text, .. } => {
                let text = text.as_ref().map(|it| it.text.as_str());
                outcome(at, asked, reference, Invite::of(&invite, text), out);
            }
            Notice::Invites { invites, .. } => {
                outcome(at, asked, reference, Invites::of(&invites), out);
            }
            Notice::Code { code, since, .. } => {
                outcome(at, asked, reference, CodeData::of(&code, since), out);
            }
            Notice::Request { request, .. } => {
                outcome(at, asked, reference, Request::of(&request), out);
            }
            Notice::Requests { requests, .. } => {
                outcome(at, asked, reference, Requests::of(&requests), out);
            }
            Notice::Wish { wish, .. } => outcome(at, asked, reference, Wish::of(&wish), out),
            Notice::File { file, .. } => {
                outcome(at, asked, reference, FileData::of(&file), out);
            }
            Notice::Files { files, .. } => {
                outcome(at, asked, reference, FilesData::of(&files), out);
            }
            // The `epoch` event follows when it is done.
            Notice::Rekeying { .. } => outcome(at, asked, reference, Nothing {}, out),
            Notice::Sent { message, .. } => {
                // Scripts count what they sent by `sent`, however it was typed.
                self.sent(at, &message, reference, out);
                outcome(at, asked, reference, MessageData::of(&message), out);
            }
            Notice::Failed { refused, .. } => {
                self.result_failed(at, asked, reference, &refused, out);
            }
            // Nothing else answers a command.
            _ => self.result_failed(at, asked, reference, &Refusal::Internal.into(), out),
        }
    }

    pub(super) fn result_failed(
        &mut self,
        at: &str,
        asked: &str,
        reference: Option<&str>,
        refused: &Refused,
        out: &mut Vec<u8>,
    ) {
        let event: Outcome<'_, Nothing> = Outcome {
            event: "result",
            at,
            line: asked,
            reference,
            ok: false,
            data: None,
            error: Some(What::of(refused)),
        };
        line(&event, out);
    }

    pub(super) fn helped(
        &mut self,
        at: &str,
        asked: &str,
        reference: Option<&str>,
        entries: &[Entry],
        out: &mut Vec<u8>,
    ) {
        outcome(at, asked, reference, Helped::of(entries), out);
    }

    pub(super) fn written_out(
        &mut self,
        at: &str,
        asked: &str,
        reference: Option<&str>,
        written: &Written,
        out: &mut Vec<u8>,
    ) {
        outcome(at, asked, reference, WrittenOut::of(written), out);
    }

    pub(super) fn leaving(
        &mut self,
        at: &str,
        asked: &str,
        reference: Option<&str>,
        out: &mut Vec<u8>,
    ) {
        outcome(at, asked, reference, Nothing {}, out);
    }

    pub(super) fn certificate(&mut self, at: &str, row: &CertificateRow, out: &mut Vec<u8>) {
        let event = Row {
            event: "certificate",
            at,
            serial: row.serial,
            name: &row.name,
            peer_id: row.peer.to_string(),
            state: state_name(row.state),
            asked_at: row.asked_at.rfc3339(),
            revoked_at: row.revoked_at.map(Wall::rfc3339),
            reason: &row.reason,
        };
        line(&event, out);
    }

    pub(super) fn exported(&mut self, at: &str, file: &str, fingerprint: &str, out: &mut Vec<u8>) {
        line(&Exported { event: "exported", at, file, fingerprint }, out);
    }

    pub(super) fn setting(&mut self, at: &str, shown: &Shown, out: &mut Vec<u8>) {
        let event = Set {
            event: "setting",
            at,
            setting: shown.path,
            value: &shown.value,
            from: shown.origin.to_string(),
        };
        line(&event, out);
    }
}

/// A certificate's state as printed.
pub(in crate::cli) fn state_name(state: CertificateState) -> &'static str {
    match state {
        CertificateState::Waiting => "waiting",
        CertificateState::Valid => "valid",
        CertificateState::Revoked => "revoked",
    }
}

pub(super) fn outcome<T: Serialize>(
    at: &str,
    asked: &str,
    reference: Option<&str>,
    data: T,
    out: &mut Vec<u8>,
) {
    let event = Outcome {
        event: "result",
        at,
        line: asked,
        reference,
        ok: true,
        data: Some(data),
        error: None,
    };
    line(&event, out);
}
