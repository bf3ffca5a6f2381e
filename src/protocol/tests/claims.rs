//! What others claim about logs, with real keys and no network: what it changes, and what not.
//! Owns: nothing but its cases.
//! Must not know: how it is shown.
//! Invariants: see each test's name.
//! Start reading at: the first test.

use super::links::{Carol, id};
use super::*;
use crate::ids::KeyId;
use crate::limits::{ASKS_BURST, PENDING_LOGS_MAX};
use crate::protocol::room::tests::{Writer, writer_of};
use crate::wire::sync::{Head, Mark, Sync as Frames, mark_bytes};

fn log(author: &str, life: u64) -> LogId {
    LogId { room: RoomId::MAIN, author: id(author), incarnation: Incarnation(life) }
}

/// Alice says that she holds so much of a log, in words that this device signed.
fn mark(log: LogId, seq: u64, device: u8) -> Body {
    let head = Head { log, seq: Seq(seq), hash: Hash([9; 32]) };
    let (network, by) = (stored::authority_key().network(), id("alice"));
    let signature = stored::device(device).sign(Domain::Mark, &mark_bytes(&network, &by, &head));
    let marks = vec![Mark { by, life: LIFE, head, signature }];
    Body::Sync(Frames::Marks { room: RoomId::MAIN, marks })
}

fn has_marks(actions: &Actions) -> bool {
    let is_mark = |body: &Body| matches!(body, Body::Sync(Frames::Marks { .. }));
    let acks = Actions { sends: actions.acks.clone(), ..Actions::default() };
    answers(actions).iter().chain(&answers(&acks)).any(is_mark)
}

#[test]
fn a_mark_is_passed_on_in_large_groups_alone_and_of_logs_that_are_there() {
    for max_links in [32, 1] {
        let mut carol = Carol::with(member::Setup { max_links, ..setup("carol", 3) });
        carol.link("alice", 1, Transport::Tcp, true);
        carol.link("bob", 2, Transport::Tcp, true);
        let actions = carol.says("alice", mark(log("bob", LIFE.0), 5, 1));
        assert_eq!(a_no(&actions), None);
        assert!(!has_marks(&actions), "{max_links}: {:?}", answers(&actions));
        // Once there is such a log, the large group passes it on to its author.
        let mut bob = writer(LIFE.0);
        bob.post(&["x"; 5]);
        let page = Body::Sync(Frames::Entries(page_of(&bob, 1)));
        let actions = carol.says("bob", page);
        assert_eq!(a_no(&actions), None);
        let actions = carol.says("alice", mark(log("bob", LIFE.0), 5, 1));
        assert_eq!(has_marks(&actions), max_links == 1, "{max_links}: {:?}", answers(&actions));
    }
}

#[test]
fn a_claim_from_afar_about_ones_own_log_opens_no_new_one() {
    let mut carol = Carol::new();
    carol.link("alice", 1, Transport::Tcp, true);
    let opens = |actions: &Actions| {
        let is_life = |write: &Write| matches!(write, Write::Setting { key, .. } if key.ends_with("/incarnation"));
        actions.writes.iter().any(is_life)
    };
    // A word that is not hers is refused: so it is looked at.
    let forged = carol.says("alice", mark(log("carol", LIFE.0), 7, 2));
    assert_eq!(a_no(&forged), Some(Refusal::SignatureBad));
    carol.link("alice", 1, Transport::Tcp, true);
    let claimed = carol.says("alice", mark(log("carol", LIFE.0), 7, 1));
    assert_eq!(a_no(&claimed), None);
    assert!(!opens(&claimed) && claimed.notices.is_empty(), "{:?}", claimed.notices);
    // What her vector says over her own link decides.
    let head = Head { log: log("carol", LIFE.0), seq: Seq(7), hash: Hash([9; 32]) };
    let vector = Frames::Vector {
        room: RoomId::MAIN,
        heads: vec![head],
        wants_answer: false,
        pending: Vec::new(),
    };
    assert!(opens(&carol.says("alice", Body::Sync(vector))));
}

#[test]
fn who_says_again_and_again_that_it_holds_more_of_ones_log_opens_few_new_ones() {
    let mut carol = Carol::new();
    carol.link("alice", 1, Transport::Tcp, true);
    let (mut life, mut opened) = (LIFE.0, 0);
    for _ in 0..40 {
        let head = Head { log: log("carol", life), seq: Seq(7), hash: Hash([9; 32]) };
        let vector = Frames::Vector {
            room: RoomId::MAIN,
            heads: vec![head],
            wants_answer: false,
            pending: Vec::new(),
        };
        let actions = carol.says("alice", Body::Sync(vector));
        let new = actions.writes.iter().find_map(|write| match write {
            Write::Setting { key, value: Some(value) } if key.ends_with("/incarnation") => {
                Some(u64::from_be_bytes(value.as_ref().try_into().unwrap()))
            }
            _ => None,
        });
        opened += usize::from(new.is_some());
        life = new.unwrap_or(life);
    }
    assert_eq!(opened, 8);
}

fn writer(life: u64) -> Writer {
    writer_of(stored::authority_key().network(), id("bob"), Incarnation(life), 2)
}

fn page_of(writer: &Writer, from: u64) -> crate::wire::sync::Page {
    let own = writer.room.own();
    sync::page(own, writer.shelf.entries(own, Seq(from), 512)).unwrap()
}

#[test]
fn one_author_takes_a_quarter_of_the_places_for_ends_of_logs_and_leaves_the_rest() {
    let mut carol = Carol::new();
    carol.link("bob", 2, Transport::Tcp, true);
    let mut kept = 0;
    let each = u64::try_from(PENDING_LOGS_MAX).unwrap();
    for life in 100..100 + each {
        let mut bob = writer(life);
        bob.post(&["before"]);
        bob.post(&["end"; 3]);
        // What is before it lacks: an end that its author sends unasked.
        let actions = carol.says("bob", Body::Sync(Frames::Entries(page_of(&bob, 2))));
        assert_eq!(a_no(&actions), None);
        kept += usize::from(actions.writes.iter().any(|it| matches!(it, Write::Pending(_))));
    }
    assert_eq!(kept, PENDING_LOGS_MAX / 4);
    // Others find a place.
    carol.link("alice", 1, Transport::Tcp, true);
    let network = stored::authority_key().network();
    let mut alice = writer_of(network, id("alice"), Incarnation(100), 1);
    alice.post(&["before"]);
    alice.post(&["end"; 3]);
    let actions = carol.says("alice", Body::Sync(Frames::Entries(page_of(&alice, 2))));
    assert!(actions.writes.iter().any(|it| matches!(it, Write::Pending(_))), "{actions:?}");
}

#[test]
fn the_end_of_a_log_is_asked_of_others_only_if_its_author_is_not_linked() {
    for is_linked in [false, true] {
        let mut carol = Carol::new();
        carol.link("alice", 1, Transport::Tcp, true);
        if is_linked {
            carol.link("bob", 2, Transport::Tcp, true);
        }
        // Much of what bob says is on its way here, and alice holds it already.
        let head = Head { log: log("bob", LIFE.0), seq: Seq(6_000), hash: Hash([9; 32]) };
        let vector = Frames::Vector {
            room: RoomId::MAIN,
            heads: vec![head],
            wants_answer: false,
            pending: Vec::new(),
        };
        let actions = carol.says("alice", Body::Sync(vector));
        assert_eq!(a_no(&actions), None);
        let wants_end =
            |body: &Body| matches!(body, Body::Sync(Frames::Want { from, .. }) if *from > Seq(1));
        assert_eq!(answers(&actions).iter().any(wants_end), !is_linked, "{:?}", answers(&actions));
    }
}

#[test]
fn who_asks_for_ways_in_and_keys_without_end_is_not_answered_without_end() {
    let mut carol = Carol::new();
    carol.link("alice", 1, Transport::Tcp, true);
    carol.link("bob", 2, Transport::Tcp, true);
    let ask = || Body::Sync(Frames::RoomAsk { room: RoomId::MAIN });
    let is_answered = |actions: &Actions| {
        let is_info = |body: &Body| matches!(body, Body::Sync(Frames::RoomInfo { .. }));
        answers(actions).iter().any(is_info)
    };
    let answered = (0..ASKS_BURST * 4).filter(|_| is_answered(&carol.says("alice", ask()))).count();
    assert_eq!(u64::try_from(answered), Ok(ASKS_BURST));
    assert!(is_answered(&carol.says("bob", ask())), "others have their share");
    // It is one share for both: what bob asks of keys leaves nothing of it.
    let keys = vec![KeyId([7; 32])];
    for _ in 0..ASKS_BURST {
        let want = Frames::KeyWant { room: RoomId::MAIN, keys: keys.clone() };
        assert_eq!(a_no(&carol.says("bob", Body::Sync(want))), None);
    }
    assert!(!is_answered(&carol.says("bob", ask())), "after so many that want keys");
}

#[test]
fn who_hands_over_nothing_again_and_again_keeps_nobody_from_asking_for_keys() {
    let mut carol = Carol::new();
    carol.link("alice", 1, Transport::Tcp, true);
    carol.link("bob", 2, Transport::Tcp, true);
    let mut bob = writer(LIFE.0);
    bob.post(&["under a key that she lacks"]);
    let wants = |actions: &Actions| {
        let is_want = |body: &Body| matches!(body, Body::Sync(Frames::KeyWant { .. }));
        answers(actions).iter().any(is_want)
    };
    assert!(wants(&carol.says("bob", Body::Sync(Frames::Entries(page_of(&bob, 1))))));
    let nothing = Frames::KeyGrant {
        room: RoomId::MAIN,
        secrets: Vec::new(),
        index: Index(0),
        chunks: Vec::new(),
        withheld: Vec::new(),
    };
    let mut asked = 0;
    for _ in 0..100 {
        carol.at += 100;
        asked += usize::from(wants(&carol.says("alice", Body::Sync(nothing.clone()))));
    }
    assert!(asked > 10, "in ten seconds: {asked}");
}

#[test]
fn rooms_that_wait_to_be_made_are_bounded_and_the_others_are_refused() {
    let mut carol = Carol::new();
    let mut create = |number: u64| {
        let (entry, description) = (RoomEntry::Invited, String::new());
        let action = RoomAction::Create { entry, is_listed: false, description };
        let command = Command::Act { room: format!("room{number}"), action };
        let actions = carol.tell(Event::Command { id: CommandId(number), command });
        actions.notices.into_iter().find_map(|notice| match notice {
            Notice::Failed { command, refused, .. } => Some((command, refused.refusal)),
            _ => None,
        })
    };
    assert_eq!((1..=256).find_map(&mut create), None);
    assert_eq!(create(257), Some((Some(CommandId(257)), Refusal::TooMany)));
}
