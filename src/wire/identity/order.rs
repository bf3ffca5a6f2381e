//! What an operator, or a member that it entrusts, orders at the authority: bytes to values.
//! Owns: which fields an order must have and how long they may be.
//! Must not know: who may order what.
//! Invariants: a decoded order is complete and in range.
//! Start reading at: [`OrderIn`].

use bytes::Bytes;
use prost::Message;

use super::{decode, named, nonce, short, voucher};
use crate::ids::{DeviceKey, NetworkId, VoucherId};
use crate::limits::ORDER_BYTES_MAX;
use crate::refusal::Refusal;
use crate::time::{Millis, Wall};
use crate::wire::pb;

/// What an operator may order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderCommand {
    /// Certify a name that waits.
    Approve {
        /// The name.
        name: String,
    },
    /// Withdraw every certificate of a name, or turn down one that waits.
    Revoke {
        /// The name.
        name: String,
        /// Why, for people.
        reason: String,
    },
    /// List the register.
    List {
        /// From this number on.
        from: u64,
    },
    /// Sign a voucher.
    Invite {
        /// The voucher key, drawn by whoever orders: its secret half never comes here.
        key: DeviceKey,
        /// How many it admits.
        uses: u32,
        /// For how long.
        life: Millis,
        /// Whom alone; empty: anybody.
        name: String,
        /// Which room it leads to; empty: none.
        room: String,
    },
    /// List the vouchers.
    Vouchers {
        /// From this number on.
        from: u64,
    },
    /// Withdraw a voucher.
    RevokeVoucher {
        /// Which.
        id: VoucherId,
        /// Why, for people.
        reason: String,
        /// Whether those who came in with it are out again.
        with_members: bool,
    },
    /// List who waits for an approval.
    Waiting {
        /// From this number on.
        from: u64,
    },
    /// Turn down a name that waits.
    TurnDown {
        /// The name.
        name: String,
        /// Why, for people.
        reason: String,
    },
    /// Say what a member may order.
    Entrust {
        /// Its name.
        name: String,
        /// What.
        rights: Rights,
    },
}

/// What a member may order at the authority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// Make, list and withdraw its own invites.
    pub invites: bool,
    /// List who waits, approve, turn down.
    pub approvals: bool,
}

/// The body of an order, as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderIn {
    /// The network.
    pub network: NetworkId,
    /// When it was given.
    pub at: Wall,
    /// Never used before.
    pub nonce: [u8; 16],
    /// What.
    pub command: OrderCommand,
}

impl OrderIn {
    /// The bytes that get signed.
    pub fn encode(&self) -> Bytes {
        use pb::order_body::Command;
        let command = match self.command.clone() {
            OrderCommand::Approve { name } => Command::Approve(name),
            OrderCommand::Revoke { name, reason } => {
                Command::Revoke(pb::RevokeOrder { name, reason })
            }
            OrderCommand::List { from } => Command::ListFrom(from),
            OrderCommand::Invite { key, uses, life, name, room } => {
                let key = Bytes::copy_from_slice(key.as_bytes());
                Command::Invite(pb::InviteOrder { key, uses, life_ms: life.0, name, room })
            }
            OrderCommand::Vouchers { from } => Command::VouchersFrom(from),
            OrderCommand::RevokeVoucher { id, reason, with_members } => {
                let voucher = Bytes::copy_from_slice(id.as_bytes());
                Command::RevokeVoucher(pb::RevokeVoucherOrder { voucher, reason, with_members })
            }
            OrderCommand::Waiting { from } => Command::WaitingFrom(from),
            OrderCommand::TurnDown { name, reason } => {
                Command::TurnDown(pb::RevokeOrder { name, reason })
            }
            OrderCommand::Entrust { name, rights: Rights { invites, approvals } } => {
                Command::Entrust(pb::EntrustOrder { name, invites, approvals })
            }
        };
        let message = pb::OrderBody {
            network: Bytes::copy_from_slice(&self.network.0),
            at: self.at.0,
            nonce: Bytes::copy_from_slice(&self.nonce),
            command: Some(command),
        };
        message.encode_to_vec().into()
    }

    /// From received bytes.
    ///
    /// # Refusals
    /// [`Refusal::FrameTooLong`], [`Refusal::FrameBad`], [`Refusal::FieldBad`].
    pub fn decode(bytes: &Bytes) -> Result<Self, Refusal> {
        use pb::order_body::Command;
        let message: pb::OrderBody = decode(bytes, ORDER_BYTES_MAX)?;
        let command = match message.command.ok_or(Refusal::FieldBad)? {
            Command::Approve(name) => OrderCommand::Approve { name: named(name)? },
            Command::Revoke(order) => {
                OrderCommand::Revoke { name: named(order.name)?, reason: short(order.reason)? }
            }
            Command::ListFrom(from) => OrderCommand::List { from },
            Command::Invite(order) => OrderCommand::Invite {
                key: DeviceKey::from_bytes(&order.key).ok_or(Refusal::FieldBad)?,
                uses: voucher::uses(order.uses)?,
                life: Millis(order.life_ms),
                name: named(order.name)?,
                room: voucher::room(order.room)?,
            },
            Command::VouchersFrom(from) => OrderCommand::Vouchers { from },
            Command::RevokeVoucher(order) => OrderCommand::RevokeVoucher {
                id: VoucherId::from_bytes(&order.voucher).ok_or(Refusal::FieldBad)?,
                reason: short(order.reason)?,
                with_members: order.with_members,
            },
            Command::WaitingFrom(from) => OrderCommand::Waiting { from },
            Command::TurnDown(order) => {
                OrderCommand::TurnDown { name: named(order.name)?, reason: short(order.reason)? }
            }
            Command::Entrust(order) => OrderCommand::Entrust {
                name: named(order.name)?,
                rights: Rights { invites: order.invites, approvals: order.approvals },
            },
        };
        Ok(Self {
            network: NetworkId::from_bytes(&message.network).ok_or(Refusal::FieldBad)?,
            at: Wall(message.at),
            nonce: nonce(&message.nonce)?,
            command,
        })
    }
}
