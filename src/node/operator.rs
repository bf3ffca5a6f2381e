//! What the operator of a key authority orders, and what is exported for other programs.
//! Owns: the way from a command line to a running authority, or to its files.
//! Must not know: the terminal.
//! Invariants: an order changes nothing unless the authority's own key signed it.
//! Start reading at: [`order`].

pub mod invites;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use rand_chacha::ChaCha20Rng;
use rand_core::Rng as _;

use super::clock::{Clock, wall};
use super::mirror::{ADDRESSES_FILE, AUTHORITY_FILE, CERTIFICATE_FILE};
use super::{invited, keys, start};
use crate::config::Config;
use crate::identity::keys::{AuthorityKey, Device};
use crate::identity::{Issuer as _, Proofs as _, answer, certificate};
use crate::ids::{DeviceKey, PeerId, RequestId};
use crate::net::{self, NetConfig, NetEvent, NetHandle, TransportKey};
use crate::protocol::authority::AuthorityCore;
use crate::protocol::{CertificateRow, CertificateState, Core as _, Event, Send};
use crate::refusal::{Refusal, Refused};
use crate::store::{Home, Store, read_key_file};
use crate::wire::identity::{
    AuthorityReply, OrderCommand, OrderIn, RegisterRow, RegisterState, Rights,
};

/// What an operator wants of the running authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// The whole register.
    List,
    /// Certify a name that waits.
    Approve {
        /// The name.
        name: String,
    },
    /// Withdraw a certificate.
    Revoke {
        /// The name.
        name: String,
        /// Why; may be empty.
        reason: String,
    },
    /// Say what a member may order.
    Entrust {
        /// The name.
        name: String,
        /// Whether it may make invites.
        invites: bool,
        /// Whether it may approve.
        approvals: bool,
    },
}

/// What came of an order: the rows asked for, or the row that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderResult {
    /// Rows of the register, by serial number.
    pub rows: Vec<CertificateRow>,
}

/// What an export wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// SHA-256 of the certified public key, in hex.
    pub fingerprint: String,
}

/// Carries out an order at the authority of this home, whether it runs or not.
///
/// # Refusals
/// [`Refusal::NothingRunning`] if there is no authority in this home, [`Refusal::NameUnknown`],
/// whatever keeps the home from opening.
pub async fn order(config: &Config, order: Order) -> Result<OrderResult, Refused> {
    let mut desk = Desk::open(config).await?;
    let name = match &order {
        Order::List => None,
        Order::Approve { name } | Order::Revoke { name, .. } | Order::Entrust { name, .. } => {
            Some(crate::text::nfc(name))
        }
    };
    match order {
        Order::List => {}
        Order::Approve { name } => {
            desk.order(OrderCommand::Approve { name }).await?;
        }
        Order::Revoke { name, reason } => {
            desk.order(OrderCommand::Revoke { name, reason }).await?;
        }
        Order::Entrust { name, invites, approvals } => {
            let rights = Rights { invites, approvals };
            desk.order(OrderCommand::Entrust { name, rights }).await?;
        }
    }
    let mut rows = Vec::new();
    let mut from = Some(0);
    while let Some(first) = from {
        match desk.order(OrderCommand::List { from: first }).await? {
            AuthorityReply::Rows { rows: page, next } => {
                rows.extend(page.into_iter().map(row));
                from = next;
            }
            _ => return Err(Refusal::FrameUnexpected.into()),
        }
    }
    if let Some(name) = name {
        rows.retain(|row| row.name == name);
    }
    Ok(OrderResult { rows })
}

/// Where the operator gives orders: an authority's key, and the way to it.
struct Desk {
    key: AuthorityKey,
    line: Line,
    rng: ChaCha20Rng,
}

impl Desk {
    async fn open(config: &Config) -> Result<Self, Refused> {
        let home = authority_home(config)?;
        let mut rng = keys::fresh_rng()?;
        let stored = read_key_file(&home.join(keys::AUTHORITY_KEY))?.ok_or_else(|| {
            let detail = format!("{} holds no authority", home.display());
            Refused::new(Refusal::NothingRunning, detail)
        })?;
        let key = AuthorityKey::from_pkcs8_der(&keys::der_of(stored, &mut rng)?, &mut rng)?;
        let line = Line::open(config, &home, &mut rng).await?;
        Ok(Self { key, line, rng })
    }

    async fn order(&mut self, command: OrderCommand) -> Result<AuthorityReply, Refused> {
        self.line.order(&self.key, command, &mut self.rng).await
    }
}

/// The home of the authority meant: the one named; else that of `p2pgroup keyauth`; else the one
/// that members of this machine host.
fn authority_home(config: &Config) -> Result<PathBuf, Refused> {
    let home = config.member_home()?.to_owned();
    let embedded = config.embedded_home.join("keyauth");
    let is_there = |home: &Path| home.join(keys::AUTHORITY_KEY).exists();
    let is_named = !invited::is_default(config, "home.keyauth");
    Ok(if !is_named && !is_there(&home) && is_there(&embedded) { embedded } else { home })
}

/// The way to the authority: through its socket while it runs, else straight to its core.
enum Line {
    Running { net: NetHandle, events: tokio::sync::mpsc::Receiver<NetEvent>, at: Vec<String> },
    Resting { core: Box<AuthorityCore>, store: Box<Store>, clock: Clock },
}

impl Line {
    async fn open(config: &Config, home: &Path, rng: &mut ChaCha20Rng) -> Result<Self, Refused> {
        match Home::open(home) {
            Ok(locked) => Self::rest(config, &locked, rng),
            Err(refused) if refused.refusal == Refusal::HomeInUse => {
                let known = std::fs::read_to_string(home.join(ADDRESSES_FILE)).unwrap_or_default();
                let at: Vec<String> = known.lines().map(str::to_owned).collect();
                let mut secret = [0; 32];
                rng.fill_bytes(&mut secret);
                let net = NetConfig::new(TransportKey::Ed25519 { secret }, Vec::new());
                let (net, _, events) = net::start(net)
                    .await
                    .map_err(|error| Refused::new(error.refusal(), error.to_string()))?;
                Ok(Self::Running { net, events, at })
            }
            Err(refused) => Err(refused),
        }
    }

    fn rest(config: &Config, home: &Home, rng: &mut ChaCha20Rng) -> Result<Self, Refused> {
        let store = Store::open(home)?;
        let core = start::authority_core(config, home, &store, rng)?;
        Ok(Self::Resting { core: Box::new(core), store: Box::new(store), clock: Clock::start() })
    }

    async fn order(
        &mut self,
        key: &AuthorityKey,
        command: OrderCommand,
        rng: &mut ChaCha20Rng,
    ) -> Result<AuthorityReply, Refused> {
        let mut nonce = [0; 16];
        rng.fill_bytes(&mut nonce);
        let order = OrderIn { network: key.network(), at: wall(), nonce, command };
        let question = answer::make_order(key, &order)?.encode();
        let bytes = self.ask(question.clone()).await?;
        // Any device can check; this one is thrown away.
        let proofs = Device::create(rng);
        let authority = proofs.authority(&key.authority(wall())?)?;
        answer::open(&proofs, &authority, &question, &bytes)
    }

    async fn ask(&mut self, question: Bytes) -> Result<Bytes, Refused> {
        match self {
            Self::Running { net, events, at } => {
                net.ask(RequestId(1), None, at.clone(), question);
                while let Some(event) = events.recv().await {
                    if let NetEvent::Answered { result, .. } = event {
                        return match result {
                            Ok((_, bytes)) => Ok(bytes),
                            Err(why) => Err(Refused::new(Refusal::NothingRunning, why)),
                        };
                    }
                }
                Err(Refusal::NothingRunning.into())
            }
            Self::Resting { core, store, clock } => {
                let from = PeerId::of_ed25519(&DeviceKey([0; 32]));
                let mut answer = None;
                for event in
                    [Event::Started, Event::Asked { from, id: RequestId(1), bytes: question }]
                {
                    let actions = core.handle(event, clock.now(), &**store);
                    start::commit(store, actions.writes)?;
                    for send in actions.sends {
                        if let Send::Answer { bytes, .. } = send {
                            answer = Some(bytes);
                        }
                    }
                }
                answer.ok_or_else(|| Refused::new(Refusal::Internal, "no answer"))
            }
        }
    }
}

fn row(row: RegisterRow) -> CertificateRow {
    CertificateRow {
        serial: row.serial,
        skeleton: crate::identity::name::skeleton_of(&row.name),
        name: row.name,
        peer: row.peer,
        spki: Vec::new(),
        state: match row.state {
            RegisterState::Waiting => CertificateState::Waiting,
            RegisterState::Valid => CertificateState::Valid,
            RegisterState::Revoked => CertificateState::Revoked,
        },
        der: row.certificate.to_vec(),
        asked_at: row.asked_at,
        revoked_at: row.revoked_at,
        reason: row.reason,
    }
}

/// Writes the authority's certificate as PEM.
///
/// # Refusals
/// [`Refusal::NothingRunning`] if this home holds none, [`Refusal::HomeUnusable`].
pub fn export_authority(config: &Config, file: &Path) -> Result<Exported, Refused> {
    export(&authority_home(config)?.join(AUTHORITY_FILE), file)
}

/// Writes one's own certificate as PEM.
///
/// # Refusals
/// [`Refusal::NothingRunning`] if this home holds none, [`Refusal::HomeUnusable`].
pub fn export_id(config: &Config, file: &Path) -> Result<Exported, Refused> {
    export(&config.member_home()?.join(CERTIFICATE_FILE), file)
}

fn export(from: &Path, to: &Path) -> Result<Exported, Refused> {
    let unusable = |path: &Path, error: std::io::Error| {
        Refused::new(Refusal::HomeUnusable, format!("{}: {error}", path.display()))
    };
    let pem = std::fs::read(from).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            let detail = format!("{} is not there yet; start the process once", from.display());
            Refused::new(Refusal::NothingRunning, detail)
        }
        _ => unusable(from, error),
    })?;
    let der = certificate::from_pem(&pem)?;
    std::fs::write(to, &pem).map_err(|error| unusable(to, error))?;
    Ok(Exported { fingerprint: certificate::key_fingerprint(&der)? })
}
