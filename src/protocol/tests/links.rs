//! What members tell each other of their links, with real keys and no network.
//! Owns: nothing but its cases.
//! Must not know: how a link is shown.
//! Invariants: see each test's name.
//! Start reading at: the first test.

use super::people::Logged;
use super::*;
use crate::ids::{DeviceKey, Hash, Signature};
use crate::protocol::{ClockView, SeenAt, SeenView, Vantage};
use crate::wire::control::{Ballot, Entry, Payload};
use crate::wire::links::Neighbour;

const MEMBERS: [(&str, u8); 3] = [("alice", 1), ("bob", 2), ("carol", 3)];

/// Carol, in a group with alice and bob, and her disk.
pub(super) struct Carol {
    pub(super) member: Member,
    disk: Logged,
    pub(super) at: u64,
}

pub(super) fn id(name: &str) -> PeerId {
    stored::member(name).peer()
}

impl Carol {
    pub(super) fn new() -> Self {
        Self::with(setup("carol", 3))
    }

    pub(super) fn with(setup: member::Setup) -> Self {
        let key = stored::authority_key();
        let mut disk = disk_of("carol", 3, Some(&genesis_of(&key)));
        let admissions = [("bob", 2_u8), ("carol", 3)].into_iter().enumerate();
        let mut previous = Hash::ZERO;
        let entries: Vec<Bytes> = admissions
            .map(|(at, (name, serial))| {
                let device = stored::device(serial);
                let credential = stored::credential(&key, name, u64::from(serial), &device);
                let id = IntentId([serial; 16]);
                let body = intent_body(key.network(), id, &Wish::Admit { credential });
                let peer = Some(stored::member("alice").peer());
                let bytes =
                    intent(stored::member(name).peer(), &body, &device.sign(Domain::Intent, &body));
                let entry = Entry {
                    ballot: Ballot { generation: 0, term: 1, rank: [1; 4], peer },
                    index: Index(u64::try_from(at).unwrap() + 1),
                    stamp: stored::NOW,
                    previous,
                    payload: Payload::Intent { id, bytes },
                    signer: DeviceKey([0; 32]),
                    votes: Vec::new(),
                    signature: Signature([0; 64]),
                };
                previous = entry.digest();
                entry.encode()
            })
            .collect();
        disk.0
            .insert("control/main/commit".to_owned(), Bytes::copy_from_slice(&2_u64.to_be_bytes()));
        let disk = Logged(disk, entries);
        let device = stored::device(3);
        let holder = Keys { member: stored::member("carol"), device: device.device() };
        let member = Member::load(setup, Rc::new(device), Rc::new(holder), &disk, NOW).unwrap();
        let mut carol = Self { member, disk, at: NOW.mono.0 };
        let _ = carol.tell(Event::Started);
        let roster = carol.member.ledger().unwrap().roster();
        assert!(MEMBERS.iter().all(|(name, _)| roster.is_in(&id(name))));
        carol
    }

    pub(super) fn tell(&mut self, event: Event) -> Actions {
        let now = Now { mono: Mono(self.at), wall: stored::NOW };
        self.member.handle(event, now, &self.disk)
    }

    pub(super) fn link(&mut self, name: &str, serial: u8, transport: Transport, tells_links: bool) {
        let key = stored::authority_key();
        let link =
            Link { transport, address: "/ip4/192.0.2.9/tcp/9".to_owned(), is_outbound: false };
        let _ = self.tell(Event::LinkUp { peer: id(name), link });
        let said = hello(&key, name, serial.into(), &stored::device(serial), Bytes::new());
        let Body::Hello(hello) = said else { panic!("a hello") };
        let actions = self.says(name, Body::Hello(Hello { tells_links, ..hello }));
        assert_eq!(a_no(&actions), None, "{name}");
    }

    pub(super) fn says(&mut self, name: &str, body: Body) -> Actions {
        let bytes = Frame { network: stored::authority_key().network(), body }.encode();
        self.tell(Event::Frame { from: id(name), bytes })
    }

    fn looks(&mut self) -> Actions {
        self.tell(Event::Command { id: CommandId(5), command: Command::Links })
    }
}

/// Who is asked.
fn asked(actions: &Actions) -> Vec<PeerId> {
    let frames = actions.sends.iter().filter_map(|send| match send {
        Send::Frame { to, bytes } => Some((*to, Frame::decode(bytes).unwrap().body)),
        _ => None,
    });
    frames.filter(|(_, body)| *body == Body::LinksAsk).map(|(to, _)| to).collect()
}

fn answer(actions: &Actions) -> Option<LinksView> {
    actions.notices.iter().find_map(|notice| match notice {
        Notice::Links { command: CommandId(5), links } => Some((**links).clone()),
        _ => None,
    })
}

fn told(actions: &Actions) -> Option<Vec<Neighbour>> {
    answers(actions).into_iter().find_map(|body| match body {
        Body::Links(links) => Some(links),
        _ => None,
    })
}

#[test]
fn a_member_that_asks_is_told_the_links_with_members_and_nobody_else_is() {
    let mut carol = Carol::new();
    carol.link("alice", 1, Transport::Tcp, true);
    carol.link("bob", 2, Transport::Relay, true);
    carol.link("dave", 4, Transport::Quic, true);
    let _ = carol.tell(Event::RoundTrip { peer: id("bob"), micros: 412 });
    let bob = Neighbour { peer: id("bob"), is_relayed: true, rtt_micros: Some(412) };
    // Dave is certified, and no member.
    assert_eq!(told(&carol.says("alice", Body::LinksAsk)), Some(vec![bob]));
    let refused = carol.says("dave", Body::LinksAsk);
    assert_eq!((told(&refused), a_no(&refused)), (None, None));
    // Again, too soon: no answer, and no reason to hang up either.
    carol.at += 1_999;
    let again = carol.says("alice", Body::LinksAsk);
    assert_eq!((told(&again), a_no(&again)), (None, None));
    carol.at += 1;
    assert!(told(&carol.says("alice", Body::LinksAsk)).is_some());
}

#[test]
fn who_looks_hears_of_others_links_from_those_who_tell_and_only_of_members() {
    let mut carol = Carol::new();
    carol.link("alice", 1, Transport::Tcp, true);
    carol.link("bob", 2, Transport::Tcp, false);
    carol.link("dave", 4, Transport::Tcp, true);
    let actions = carol.looks();
    // Bob's version does not know the question, dave does not belong.
    assert_eq!((asked(&actions), answer(&actions)), (vec![id("alice")], None));
    let links = |name: &[&str]| {
        let link = |it: &&str| Neighbour { peer: id(it), is_relayed: false, rtt_micros: Some(9) };
        let mut links: Vec<Neighbour> = name.iter().map(link).collect();
        links.sort_by_key(|it| it.peer);
        Body::Links(links)
    };
    // What was not asked for counts for nothing, and harms nothing.
    let unasked = carol.says("bob", links(&["alice"]));
    assert_eq!((answer(&unasked), a_no(&unasked)), (None, None));
    let view = answer(&carol.says("alice", links(&["bob", "carol", "dave"]))).unwrap();
    let others = ToldLink {
        between: ["alice".to_owned(), "bob".to_owned()],
        is_relayed: false,
        rtt_micros: Some(9),
        told_by: vec!["alice".to_owned()],
    };
    assert_eq!((view.others, view.untold), (vec![others.clone()], vec!["bob".to_owned()]));
    assert_eq!(view.own.len(), 3, "one's own are shown as ever");
    // Looking again at once asks nobody, and is answered at once.
    let actions = carol.looks();
    assert_eq!(asked(&actions), []);
    assert_eq!(answer(&actions).unwrap().others, std::slice::from_ref(&others));
    // Then they are asked anew; who is silent is waited for a second.
    carol.at += 4_000;
    let actions = carol.looks();
    assert_eq!((asked(&actions), answer(&actions)), (vec![id("alice")], None));
    assert!(actions.wake_at <= Some(Mono(carol.at + 1_000)), "{:?}", actions.wake_at);
    carol.at += 1_000;
    assert_eq!(answer(&carol.tell(Event::Woke)).unwrap().others, [others]);
    // Nobody is asked unless somebody looks, and what was told is forgotten.
    for _ in 0..60 {
        carol.at += 1_000;
        assert_eq!(asked(&carol.tell(Event::Woke)), []);
    }
    let _ = carol.tell(Event::LinkDown { peer: id("alice") });
    let view = answer(&carol.looks()).unwrap();
    assert_eq!((view.others, view.untold), (vec![], vec!["alice".to_owned(), "bob".to_owned()]));
}

#[test]
fn what_others_see_of_this_machine_is_told_as_long_as_they_are_linked() {
    let status = |carol: &mut Carol| {
        let actions = carol.tell(Event::Command { id: CommandId(5), command: Command::Status });
        let told = actions.notices.into_iter().find_map(|notice| match notice {
            Notice::Status { status, .. } => Some(status.vantage),
            _ => None,
        });
        told.unwrap()
    };
    let mut carol = Carol::new();
    let seen = |at: &str| SeenAt { address: at.to_owned(), is_outbound: true };
    // Before its link, as may be; and of somebody who never comes.
    let _ = carol.tell(Event::SeenAt { peer: id("alice"), seen: seen("/ip4/192.0.2.7/tcp/1") });
    let _ = carol.tell(Event::SeenAt { peer: id("dave"), seen: seen("/ip4/192.0.2.7/tcp/2") });
    assert_eq!(status(&mut carol), Vantage::default());
    carol.link("alice", 1, Transport::Tcp, true);
    let (at, seen_by) = (seen("/ip4/192.0.2.7/tcp/1"), "alice".to_owned());
    assert_eq!(status(&mut carol).seen_at, [SeenView { by: seen_by, seen: at }]);
    assert!(status(&mut carol).clocks.is_empty(), "an older version tells no time");
    let key = stored::authority_key();
    let said = hello(&key, "alice", 1, &stored::device(1), Bytes::new());
    let Body::Hello(hello) = said else { panic!("a hello") };
    let at = Some(Wall(stored::NOW.0 - 61_000));
    let _ = carol.says("alice", Body::Hello(Hello { at, ..hello }));
    let behind = ClockView { name: "alice".to_owned(), ahead: -61_000 };
    assert_eq!(status(&mut carol).clocks, [behind]);
    let _ = carol.tell(Event::LinkDown { peer: id("alice") });
    assert_eq!(status(&mut carol), Vantage::default());
}

fn punches(actions: &Actions) -> Vec<(PeerId, bool)> {
    let punched = actions.sends.iter().filter_map(|send| match send {
        Send::Punch { peer, leads } => Some((*peer, *leads)),
        _ => None,
    });
    punched.collect()
}

#[test]
fn relayed_links_with_members_are_tried_to_be_direct_and_no_others() {
    let mut carol = Carol::new();
    carol.link("alice", 1, Transport::Tcp, true);
    carol.link("bob", 2, Transport::Relay, true);
    // Dave is certified, and no member.
    carol.link("dave", 4, Transport::Relay, true);
    let leads = id("carol") < id("bob");
    let is_allowed = |actions: &Actions| punches(actions) == [(id("bob"), leads)];
    if leads {
        assert_eq!(punches(&carol.tell(Event::Woke)), []);
        carol.at += 1_000;
        assert!(is_allowed(&carol.tell(Event::Woke)));
        carol.at += 5_000;
        let failed = carol.tell(Event::Punched { peer: id("bob"), moved: None });
        assert_eq!(punches(&failed), [], "not at once");
        carol.at += 9_999;
        assert_eq!(punches(&carol.tell(Event::Woke)), []);
        carol.at += 1;
        assert!(is_allowed(&carol.tell(Event::Woke)));
    }
    let at = "/ip4/203.0.113.7/udp/1/quic-v1".to_owned();
    let moved = Some((Transport::Quic, at.clone()));
    let _ = carol.tell(Event::Punched { peer: id("bob"), moved });
    carol.at += 4_000_000;
    assert_eq!(punches(&carol.tell(Event::Woke)), []);
    let bob = Neighbour { peer: id("bob"), is_relayed: false, rtt_micros: None };
    let told = told(&carol.says("alice", Body::LinksAsk)).unwrap();
    assert!(told.contains(&bob), "{told:?}");
}

#[test]
fn nothing_is_punched_where_that_is_turned_off() {
    let mut carol = Carol::with(member::Setup { punches: false, ..setup("carol", 3) });
    carol.link("bob", 2, Transport::Relay, true);
    carol.at += 4_000_000;
    assert_eq!(punches(&carol.tell(Event::Woke)), []);
}
