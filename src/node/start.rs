//! From settings to a running role: home, keys, store, net, and the thread that drives the core.
//! Owns: what is opened before what, and what a core is set up with.
//! Must not know: what the cores decide.
//! Invariants: keys are 0600 before they are used; nothing listens before the store is open.
//! Start reading at: [`start`].

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use rand_chacha::ChaCha20Rng;
use rand_core::Rng as _;
use tokio::sync::{Notify, mpsc};
use zeroize::Zeroizing;

use super::clock::Clock;
use super::driver::{Driver, Load};
use super::files::{Files, Places};
use super::hub::{Hub, Life, Voice};
use super::keys::{
    AUTHORITY_KEY, Keys, MEMBER_KEY, der_of, fresh_rng, incarnation, node_key, rsa_key,
    secret_setting,
};
use super::mirror::Mirror;
use super::quick::Quick;
use super::{Batch, Input, Invite, Node, Role, invited, unsynced::Unsynced};
use crate::config::Config;
use crate::identity::answer::Pin;
use crate::identity::keys::{AuthorityKey, Device, MemberKey};
use crate::identity::{Proofs, name};
use crate::ids::{Incarnation, PeerId, SessionSalt};
use crate::limits::{NOTICES_MAX, WORK_BITS_MAX};
use crate::net::{self, NetConfig, TransportKey};
use crate::protocol::authority::{AuthorityCore, AuthoritySetup};
use crate::protocol::bootstrap::{self, Bootstrap};
use crate::protocol::control::Mistakes;
use crate::protocol::member::{self, Holder, Member, Reach, Trust};
use crate::protocol::{Actions, Core, Notice, Reads, Unanswered, Write};
use crate::refusal::{Refusal, Refused};
use crate::store::{Home, Store, Sync};
use crate::time::Now;
use crate::wire::identity::voucher::InviteIn;

/// The work asked of newcomers unless the settings say otherwise: a third of a second of a core.
const WORK_BITS: u32 = 20;

/// What a role needs on the thread that runs it.
enum Plan {
    Member {
        setup: member::Setup,
        key: Zeroizing<Vec<u8>>,
        device: Zeroizing<[u8; 32]>,
        invite: Option<InviteIn>,
    },
    Bootstrap {
        setup: bootstrap::Setup,
        secret: Zeroizing<[u8; 32]>,
    },
    Authority {
        key: Zeroizing<Vec<u8>>,
        secret: Zeroizing<[u8; 32]>,
        config: Config,
        peer: PeerId,
    },
}

/// Starts a role.
///
/// # Refusals
/// Whatever keeps the home, the store or the sockets from opening.
pub(super) async fn start(role: Role, config: Config) -> Result<Node, Refused> {
    if let Role::Member { name: given, .. } = &role
        && !given.is_empty()
    {
        // Before a home is made that would carry the name.
        name::check(given)?;
    }
    let path = config.member_home()?.to_owned();
    let home = Home::open(&path)?;
    let mut store = Store::open_with(&home, role.passphrase())?;
    let mut rng = fresh_rng()?;
    let (plan, mut net_config) = prepare(role, &config, &home, &mut store, &mut rng)?;
    net_config.has_mdns = config.mdns && matches!(plan, Plan::Member { .. });
    let places =
        matches!(plan, Plan::Member { .. }).then(|| Places::of(&config, &path, rng.next_u32()));
    let (input, commands, leave) = Input::new();
    let hub = Hub::default();
    let (notices, told) = mpsc::channel(NOTICES_MAX);
    let quick = Arc::new(Quick::default());
    let shared = Arc::clone(&quick);
    let (failed, started) = tokio::sync::oneshot::channel();
    let (open, closed) = tokio::sync::oneshot::channel::<()>();
    let (halt, halted) = tokio::sync::oneshot::channel::<()>();
    let told_by = hub.clone();
    let run = move || {
        // Dropped after everything else of this thread.
        let _open = open;
        let _voice = Voice(told_by.clone());
        // Net and core share one thread: a message passes from one to the other without waking
        // anybody, which on a quiet machine costs more than all that is done with it.
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                let refused = Refused::new(Refusal::Internal, error.to_string());
                return drop(failed.send(Err(refused)));
            }
        };
        let faces = Faces { commands, leave, notices, quick: shared, hub: told_by };
        runtime.block_on(async {
            match driver(home, store, plan, net_config, places, faces).await {
                Ok(driver) => {
                    drop(failed.send(Ok(())));
                    tokio::select! {
                        () = driver.run() => {}
                        // A handle that is merely dropped halts nothing.
                        Ok(()) = halted => {}
                    }
                }
                Err(refused) => drop(failed.send(Err(refused))),
            }
        });
    };
    let thread = std::thread::Builder::new().name("node".to_owned()).spawn(run);
    thread.map_err(|error| Refused::new(Refusal::Internal, error.to_string()))?;
    started.await.map_err(|_| Refused::new(Refusal::Internal, "the core did not start"))??;
    let life = Life(hub);
    Ok(Node {
        input,
        life,
        notices: told,
        quick,
        given: 0,
        closed: Some(closed),
        halt,
        last: None,
        embedded: None,
    })
}

/// The ends of the faces' queues that the driver holds.
struct Faces {
    commands: mpsc::Receiver<Batch>,
    leave: Arc<Notify>,
    notices: mpsc::Sender<Notice>,
    quick: Arc<Quick>,
    hub: Hub,
}

async fn driver(
    home: Home,
    mut store: Store,
    plan: Plan,
    net_config: NetConfig,
    places: Option<Places>,
    faces: Faces,
) -> Result<Driver, Refused> {
    let (net, _, net_events) = net::start(net_config)
        .await
        .map_err(|error| Refused::new(error.refusal(), error.to_string()))?;
    let last_writes = match plan {
        Plan::Member { .. } => begin_session(&mut store)?,
        _ => Vec::new(),
    };
    let clock = Clock::start();
    let files = places.map_or_else(Files::default, |it| Files::start(it, &net, clock));
    let mut mirror = Mirror::new(home);
    mirror.catch_up(&store);
    let mut load = loader(plan)?;
    let core = load(&store, clock.now())?;
    Ok(Driver {
        core,
        load,
        store,
        net,
        net_events,
        files,
        commands: faces.commands,
        leave: faces.leave,
        notices: faces.notices,
        quick: faces.quick,
        hub: faces.hub,
        clock,
        outgoing: Actions::default(),
        unsynced: Unsynced::default(),
        backlog: VecDeque::new(),
        links: BTreeMap::new(),
        listening: Vec::new(),
        wake_at: None,
        unanswered: Unanswered::default(),
        is_over: false,
        is_alone: false,
        mirror,
        last_writes,
    })
}

/// What the boot of the machine is noted under, or that the process ended in good order.
pub(super) const BOOT_KEY: &str = "identity/boot";
const ENDED_WELL: &[u8] = b"ended well";

/// Own entries leave before they are synced, so the loss of power may take some that others hold.
/// A process that begins after one (another boot, and the last process did not end in good order)
/// writes into a new log, and no two entries are ever signed for one place. Gives what to write at
/// a good end.
fn begin_session(store: &mut Store) -> Result<Vec<Write>, Refused> {
    let boot = super::clock::boot().unwrap_or_else(|| Bytes::from_static(b"unknown"));
    let note = |value: Bytes| Write::Setting { key: BOOT_KEY.to_owned(), value: Some(value) };
    let may_lack_some = store
        .setting(BOOT_KEY)
        .is_some_and(|last| last != ENDED_WELL && (last != boot || boot == b"unknown"[..]));
    let mut writes = vec![note(boot)];
    if may_lack_some {
        tracing::info!("the machine went down without warning; writing goes on in a new log");
        writes.push(member::fresh_log(Incarnation(fresh_rng()?.next_u64())));
    }
    commit(store, writes)?;
    Ok(vec![note(Bytes::from_static(ENDED_WELL))])
}

fn prepare(
    role: Role,
    config: &Config,
    home: &Home,
    store: &mut Store,
    rng: &mut ChaCha20Rng,
) -> Result<(Plan, NetConfig), Refused> {
    let incarnation = incarnation(store, rng)?;
    match role {
        Role::Member { name: given, can_ask, invite, .. } => {
            if given.is_empty() && store.setting("identity/name").is_none() {
                return Err(Refusal::NameMissing.into());
            }
            let create = |rng: &mut ChaCha20Rng| MemberKey::create(rng)?.to_pkcs8_der();
            let key = rsa_key((home, store), MEMBER_KEY, rng, create)?;
            let setup = member::Setup {
                trust: trust(config, can_ask, invite.as_ref())?,
                ..member_setup(config, given, incarnation, rng)
            };
            let device = secret_setting(store, "identity/device", rng)?;
            let transport = TransportKey::Rsa { pkcs8_der: key.to_vec() };
            let net = NetConfig::new(transport, config.listen.clone());
            if let Some(invite) = &invite {
                invited::remember(home, invite)?;
            }
            let invite = invite.map(Invite::into_inner);
            Ok((Plan::Member { setup, key, device, invite }, net))
        }
        Role::Bootstrap => {
            let secret = node_key(home, rng)?;
            let me = PeerId::of_ed25519(&Device::from_secret(&secret).device());
            let mut seed = [0; 32];
            rng.fill_bytes(&mut seed);
            let setup = bootstrap::Setup {
                me,
                incarnation,
                timers: config.timers.into(),
                seed,
                networks_max: config.max_networks,
                mistakes: Mistakes::default(),
            };
            let transport = TransportKey::Ed25519 { secret: *secret };
            let mut net = NetConfig::new(transport, config.listen.clone());
            net.relay_server = Some((&config.relay).into());
            Ok((Plan::Bootstrap { setup, secret }, net))
        }
        Role::Authority => {
            let create = |rng: &mut ChaCha20Rng| AuthorityKey::create(rng)?.to_pkcs8_der();
            let key = rsa_key((home, store), AUTHORITY_KEY, rng, create)?;
            let secret = node_key(home, rng)?;
            let peer = PeerId::of_ed25519(&Device::from_secret(&secret).device());
            let transport = TransportKey::Ed25519 { secret: *secret };
            let net = NetConfig::new(transport, config.listen.clone());
            Ok((Plan::Authority { key, secret, config: config.clone(), peer }, net))
        }
    }
}

/// The authority believed when none is pinned in the home.
fn trust(config: &Config, can_ask: bool, invite: Option<&Invite>) -> Result<Trust, Refused> {
    if let Some(argument) = &config.authority {
        let pin = Pin::parse(argument, |path| std::fs::read(path))?;
        if let Some(invite) = invite.filter(|invite| invite.network() != pin.network) {
            let detail = format!("the invite is from {}", invite.fingerprint());
            return Err(Refused::new(Refusal::AuthorityChanged, detail));
        }
        return Ok(Trust::Pinned(pin.network));
    }
    Ok(match (is_loopback(&config.keyauth), can_ask) {
        (true, _) => Trust::First,
        (false, true) => Trust::Ask,
        (false, false) => Trust::Refuse,
    })
}

/// Whether an address, as `host:port` or multiaddr, is on this machine.
pub(super) fn is_loopback(address: &str) -> bool {
    let host = match address.strip_prefix('/') {
        Some(multiaddr) => multiaddr.split('/').nth(1).unwrap_or_default(),
        None => address.rsplit_once(':').map_or(address, |(host, _)| host),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// How much work an authority asks of newcomers. Whom only this machine's own can reach needs none,
/// so that the first start is quick.
fn work_bits(config: &Config) -> u32 {
    let is_local = config.listen.iter().all(|address| is_loopback(address));
    let preset = if is_local { 0 } else { WORK_BITS };
    config.work_bits.map_or(preset, |bits| u32::try_from(bits).unwrap_or(WORK_BITS_MAX))
}

fn loader(plan: Plan) -> Result<Load, Refused> {
    let mut rng = fresh_rng()?;
    Ok(match plan {
        Plan::Member { setup, key, device, invite } => {
            let device = Device::from_secret(&device);
            let holder: Rc<dyn Holder> = Rc::new(Keys {
                member: MemberKey::from_pkcs8_der(&key, &mut rng)?,
                device: device.device(),
                invite,
            });
            let proofs: Rc<dyn Proofs> = Rc::new(device);
            Box::new(move |reads, now| {
                let (proofs, holder) = (Rc::clone(&proofs), Rc::clone(&holder));
                // A failed transaction gives seqs and epochs away a second time: never twice under
                // one salt, nor from one seed.
                let mut setup = setup.clone();
                rng.fill_bytes(&mut setup.salt.0);
                rng.fill_bytes(&mut setup.seed);
                let member = Member::load(setup, proofs, holder, reads, now)?;
                let core: Box<dyn Core> = Box::new(member);
                Ok(core)
            })
        }
        Plan::Bootstrap { setup, secret } => {
            let proofs: Rc<dyn Proofs> = Rc::new(Device::from_secret(&secret));
            Box::new(move |reads, now| {
                let core = Bootstrap::load(setup.clone(), Rc::clone(&proofs), reads, now)?;
                let core: Box<dyn Core> = Box::new(core);
                Ok(core)
            })
        }
        Plan::Authority { key, secret, config, peer } => {
            let issuer = Arc::new(AuthorityKey::from_pkcs8_der(&key, &mut rng)?);
            let proofs = Arc::new(Device::from_secret(&secret));
            Box::new(move |reads, _| {
                let mut seed = [0; 32];
                rng.fill_bytes(&mut seed);
                let setup = AuthoritySetup {
                    issuer: issuer.clone(),
                    proofs: proofs.clone(),
                    admission: config.admission.into(),
                    work_bits: work_bits(&config),
                    peer,
                    seed,
                };
                let core: Box<dyn Core> = Box::new(AuthorityCore::load(setup, reads)?);
                Ok(core)
            })
        }
    })
}

/// What a member is started with, but for the authority it believes.
fn member_setup(
    config: &Config,
    name: String,
    incarnation: Incarnation,
    rng: &mut ChaCha20Rng,
) -> member::Setup {
    let (mut seed, mut salt) = ([0; 32], [0; 16]);
    rng.fill_bytes(&mut seed);
    rng.fill_bytes(&mut salt);
    member::Setup {
        name,
        bootstrap: config.bootstrap.clone(),
        keyauth: vec![config.keyauth.clone()],
        reach: reach(config),
        trust: Trust::Refuse,
        incarnation,
        salt: SessionSalt(salt),
        agreements: member::MLS,
        history: crate::terms::History::DEFAULT,
        direct: config.direct,
        files: config.files,
        quota: member::Quota { bytes: config.quota_bytes, rate: config.quota_rate },
        keep: config.keep,
        max_links: config.max_links,
        punches: config.hole_punching,
        timers: config.timers.into(),
        seed,
        mistakes: Mistakes::default(),
    }
}

/// How invites made here lead to the key authority: an address of this machine is of use to others
/// only where the bootstrap's is, too.
pub(super) fn reach(config: &Config) -> Reach {
    let is_local = config.bootstrap.iter().all(|address| is_loopback(address));
    let is_reachable = is_local || !is_loopback(&config.keyauth);
    let keyauth = if is_reachable { config.keyauth.clone() } else { String::new() };
    Reach { keyauth, is_local }
}

/// The core of a member that is not running, to be asked what it has stored.
pub(super) fn member_core(
    config: &Config,
    home: &Home,
    store: &mut Store,
    now: Now,
) -> Result<Member, Refused> {
    let mut rng = fresh_rng()?;
    let stored = store.key_file(home, MEMBER_KEY)?.ok_or(Refusal::NotAMember)?;
    let incarnation = incarnation(store, &mut rng)?;
    let device = Device::from_secret(&*secret_setting(store, "identity/device", &mut rng)?);
    let holder: Rc<dyn Holder> = Rc::new(Keys {
        member: MemberKey::from_pkcs8_der(&der_of(stored, &mut rng)?, &mut rng)?,
        device: device.device(),
        invite: None,
    });
    let proofs: Rc<dyn Proofs> = Rc::new(device);
    // The stored name: what was given only led to the home.
    let setup = member_setup(config, String::new(), incarnation, &mut rng);
    Member::load(setup, proofs, holder, &*store, now)
}

/// The core of an authority that is not running, for an operator's order.
pub(super) fn authority_core(
    config: &Config,
    home: &Home,
    store: &Store,
    rng: &mut ChaCha20Rng,
) -> Result<AuthorityCore, Refused> {
    let stored = home.key_file(AUTHORITY_KEY)?.ok_or(Refusal::NothingRunning)?;
    let issuer = Arc::new(AuthorityKey::from_pkcs8_der(&der_of(stored, rng)?, rng)?);
    let device = Device::from_secret(&*node_key(home, rng)?);
    let mut seed = [0; 32];
    rng.fill_bytes(&mut seed);
    let setup = AuthoritySetup {
        issuer,
        peer: PeerId::of_ed25519(&device.device()),
        proofs: Arc::new(device),
        admission: config.admission.into(),
        work_bits: work_bits(config),
        seed,
    };
    AuthorityCore::load(setup, store)
}

/// Writes outside the driver: before it runs, or where none does.
pub(super) fn commit(store: &mut Store, writes: Vec<Write>) -> Result<(), Refused> {
    store.begin();
    store
        .apply(writes)
        .and_then(|()| store.commit(Sync::Full))
        .map_err(|error| Refused::new(Refusal::DatabaseFailed, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::keys::save;

    /// Whether a process that finds this note writes into a new log; gives its own note at the end.
    fn begins_anew(note: Option<&'static [u8]>) -> (bool, Vec<Write>) {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(&Home::open(&dir.path().join("home")).unwrap()).unwrap();
        if let Some(note) = note {
            save(&mut store, BOOT_KEY, Bytes::from_static(note)).unwrap();
        }
        let last = begin_session(&mut store).unwrap();
        assert_ne!(store.setting(BOOT_KEY).unwrap(), ENDED_WELL, "the end is noted at the end");
        (store.setting("room/main/incarnation").is_some(), last)
    }

    #[test]
    fn after_a_loss_of_power_writing_goes_on_in_a_new_log() {
        assert!(begins_anew(Some(b"another boot")).0);
        assert!(begins_anew(Some(b"unknown")).0);
        assert!(!begins_anew(None).0, "the first start has nothing to doubt");
        let (is_anew, last) = begins_anew(Some(ENDED_WELL));
        assert!(!is_anew);
        let noted = Write::Setting {
            key: BOOT_KEY.to_owned(),
            value: Some(Bytes::from_static(ENDED_WELL)),
        };
        assert_eq!(last, [noted]);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_killed_since_the_machine_started_has_lost_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(&Home::open(&dir.path().join("home")).unwrap()).unwrap();
        for _ in 0..2 {
            begin_session(&mut store).unwrap();
        }
        assert!(store.setting("room/main/incarnation").is_none());
    }

    #[test]
    fn only_addresses_of_this_machine_are_loopback() {
        for near in ["127.0.0.1:8999", "localhost:1", "[::1]:9", "/ip4/127.0.0.1/tcp/8999"] {
            assert!(is_loopback(near), "{near}");
        }
        for far in ["192.0.2.1:8999", "127.example.org:1", "/dns4/localhost.example/tcp/1", ""] {
            assert!(!is_loopback(far), "{far}");
        }
    }
}
