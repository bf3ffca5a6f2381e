//! A node starts: its core as its disk has it.
//! Owns: the settings of every role.
//! Must not know: when a node starts.
//! Invariants: never twice under one salt, nor from one seed.
//! Start reading at: [`World::start`].

use std::rc::Rc;
use std::sync::Arc;

use p2pgroup::identity::Proofs;
use p2pgroup::ids::{Incarnation, SessionSalt};
use p2pgroup::protocol::authority::{AuthorityCore, AuthoritySetup};
use p2pgroup::protocol::bootstrap::{self, Bootstrap};
use p2pgroup::protocol::control::Mistakes;
use p2pgroup::protocol::member::{self, Member, Trust};
use p2pgroup::protocol::room::keys::KeyAgreements;
use p2pgroup::protocol::room::keys::mls::Mls;
use p2pgroup::protocol::room::keys::toy::Toy as ToyKeys;
use p2pgroup::protocol::{Event, Reads, Timers, Unanswered};
use p2pgroup::terms::KeeperRule;
use p2pgroup::time::Millis;
use p2pgroup::wire::identity::Admission;

use crate::checks::Seen;
use crate::node::{Kind, Once, Running};
use crate::poison::Poison;
use crate::proofs::{Toy, ToyHolder, ToyIssuer, network};
use crate::world::{BOOTSTRAP, KEYAUTH, World};

/// What a keeper takes.
const SHELVES: KeeperRule = KeeperRule { quota: 64 << 20, age: Millis(600_000) };

impl World {
    pub fn start(&mut self, node: usize) {
        let is_off = self.nodes[node].stays_off || self.oracle.fatal.contains_key(&node);
        if self.nodes[node].is_up() || is_off {
            return;
        }
        let once = Once { salt: SessionSalt(self.dice.bytes()), seed: self.dice.bytes() };
        let life = Incarnation(u64::from_be_bytes(self.dice.bytes()));
        let now = self.now;
        let it = &mut self.nodes[node];
        if std::mem::take(&mut it.has_lost_power) && matches!(it.kind, Kind::Member) {
            it.disk.apply(member::fresh_log(life));
            it.disk.commit(true);
        }
        it.boot += 1;
        it.booted_at = now;
        it.stood_still = 0;
        it.inbox.clear();
        it.acks.clear();
        it.sync_at = None;
        it.late.clear();
        it.true_late = 0;
        it.has_sent = false;
        it.shown.clear();
        it.shown_before.clear();
        it.unanswered = Unanswered::default();
        it.waiting.clear();
        it.full_until = 0;
        it.has_turn = false;
        it.busy_until = 0;
        it.asleep_until = 0;
        (it.is_ready, it.is_over, it.asked_to_exit_at) = (false, false, None);
        if let Err(why) = self.load(node, once) {
            return self.fail("every_disk_loads", why);
        }
        let addresses = vec![self.nodes[node].address()];
        self.say(node, "starts");
        self.push(node, Event::Started);
        self.push(node, Event::Listening { addresses });
        self.see(&Seen::Started { node });
    }

    /// The core as its disk has it; never twice under one salt, nor from one seed.
    pub fn load(&mut self, node: usize, once: Once) -> Result<(), String> {
        let (now, broken) = (self.now, self.broken);
        let Once { salt, seed } = once;
        let it = &mut self.nodes[node];
        let time = it.time(now);
        let spoils = it.spoils && !it.is_mended;
        let proofs: Rc<dyn Proofs> = Rc::new(Toy(it.device, it.leaf.clone()));
        let agreements: &'static dyn KeyAgreements = match (it.leaf.is_some(), spoils) {
            (true, true) => &Poison,
            (true, false) => &Mls,
            (false, true) => &ToyKeys::SPOILING,
            (false, false) => &ToyKeys::SOUND,
        };
        let loaded = match it.kind {
            Kind::Member => {
                let setup = member::Setup {
                    name: it.name.clone(),
                    bootstrap: vec![BOOTSTRAP.to_owned()],
                    keyauth: vec![KEYAUTH.to_owned()],
                    reach: Default::default(),
                    trust: if it.is_invited { Trust::Pinned(network()) } else { Trust::First },
                    incarnation: it.incarnation,
                    salt,
                    agreements,
                    history: p2pgroup::terms::History::All,
                    // What waits for a yes is not taken without bounds: nobody says yes here.
                    direct: p2pgroup::terms::Direct::Everyone,
                    quota: member::Quota::default(),
                    files: Default::default(),
                    keep: it.is_keeper.then_some(SHELVES),
                    max_links: self.max_links,
                    punches: true,
                    timers: Timers::LAN,
                    seed,
                    mistakes: Mistakes {
                        early_newest: it.id.is_multiple_of(2),
                        suspension_unheeded: it.is_stubborn || broken.control.suspension_unheeded,
                        claims_falsely: it.lies,
                        ..broken.control
                    },
                };
                // Who has used it once does not bring it again.
                let is_new = Reads::setting(&it.disk, "identity/vouched").is_none();
                let uses = (it.is_invited && is_new).then_some(self.invited);
                let holder = ToyHolder { spki: it.spki.clone(), device: it.device, uses };
                Member::load(setup, proofs, Rc::new(holder), &it.disk, time)
                    .map(|core| Running::Member(Box::new(core)))
            }
            Kind::Bootstrap => {
                let setup = bootstrap::Setup {
                    me: it.peer,
                    incarnation: it.incarnation,
                    timers: Timers::LAN,
                    seed,
                    networks_max: 16,
                    mistakes: broken.control,
                };
                Bootstrap::load(setup, proofs, &it.disk, time)
                    .map(|core| Running::Bootstrap(Box::new(core)))
            }
            Kind::Authority => {
                let setup = AuthoritySetup {
                    issuer: Arc::new(ToyIssuer),
                    proofs: Arc::new(Toy::of(it.device)),
                    admission: Admission::Open,
                    work_bits: 0,
                    peer: it.peer,
                    seed,
                };
                AuthorityCore::load(setup, &it.disk).map(|core| Running::Authority(Box::new(core)))
            }
        };
        match loaded {
            Ok(core) => it.running = Some(core),
            Err(refused) => return Err(format!("{} does not load: {refused}", it.label)),
        }
        Ok(())
    }
}
