//! Sync between one author and its peers, frame by frame.
//! Owns: nothing.
//! Must not know: what entries say.
//! Invariants: none.
//! Start reading at: the first test.

use super::*;
use crate::protocol::room::tests::{Writer, writer};

fn peer(number: u8) -> PeerId {
    PeerId::of_rsa_spki(&[number, number])
}

fn sync_of(alice: &Writer) -> Sync {
    Sync::new(RoomId::MAIN, alice.room.own())
}

fn own(alice: &Writer) -> (Seq, Hash) {
    let head = alice.room.head(&alice.room.own());
    (head.seq, head.hash)
}

fn post(alice: &mut Writer, sync: &mut Sync, count: usize) {
    let entries = alice.post(&vec!["x"; count]);
    sync.on_posted(&entries);
}

fn link(sync: &mut Sync, alice: &Writer, to: PeerId, held: &[Head]) -> Told {
    drop(sync.on_link(to, Mono(10), 1, alice.room.vector()));
    sync.on_vector(to, held, own(alice), Mono(10), &alice.shelf)
}

fn pushed(sends: &Sends) -> Vec<(PeerId, usize)> {
    let size = |frame: &Frame| match frame {
        Frame::Entries(page) => page.envelopes.len(),
        other => panic!("{other:?}"),
    };
    sends.iter().map(|(to, frame)| (*to, size(frame))).collect()
}

#[test]
fn a_peer_gets_nothing_before_its_vector_and_then_all_it_lacks() {
    let mut alice = writer(1);
    let mut sync = sync_of(&alice);
    post(&mut alice, &mut sync, 3);
    drop(sync.on_link(peer(2), Mono(10), 1, alice.room.vector()));
    assert!(sync.push(Seq(3), Mono(10), &alice.shelf).is_empty());
    sync.on_vector(peer(2), &[], own(&alice), Mono(10), &alice.shelf);
    assert_eq!(pushed(&sync.push(Seq(3), Mono(10), &alice.shelf)), [(peer(2), 3)]);
    assert!(sync.push(Seq(3), Mono(10), &alice.shelf).is_empty(), "not twice");
}

#[test]
fn one_page_serves_all_who_lack_the_same() {
    let mut alice = writer(1);
    let mut sync = sync_of(&alice);
    link(&mut sync, &alice, peer(2), &[]);
    link(&mut sync, &alice, peer(3), &[]);
    post(&mut alice, &mut sync, 2);
    let sends = sync.push(Seq(2), Mono(10), &alice.shelf);
    assert_eq!(sends.len(), 2);
    assert_eq!(sends[0].1, sends[1].1);
}

#[test]
fn an_acknowledgement_tells_which_messages_are_delivered() {
    let mut alice = writer(1);
    let mut sync = sync_of(&alice);
    link(&mut sync, &alice, peer(2), &[]);
    post(&mut alice, &mut sync, 5);
    drop(sync.push(Seq(5), Mono(10), &alice.shelf));
    let (seq, hash) = own(&alice);
    let head = Head { log: alice.room.own(), seq, hash };
    let told = sync.on_ack(peer(2), &[head], Seq(5), Mono(11));
    assert_eq!(told.delivered, Some((Seq(0), Seq(5))));
    assert_eq!(sync.ids_between(Seq(0), Seq(5), &alice.shelf).len(), 5);
    assert_eq!(sync.on_ack(peer(2), &[head], Seq(5), Mono(11)).delivered, None, "once");
    let lie = Head { seq: Seq(99), ..head };
    assert_eq!(sync.on_ack(peer(2), &[lie], Seq(5), Mono(11)).delivered, None);
}

#[test]
fn what_is_still_to_come_is_the_most_that_any_peer_holds_of_each_log_beyond_ours() {
    let alice = writer(1);
    let mut sync = sync_of(&alice);
    let head = |author, seq| {
        let log = LogId { author: peer(author), ..alice.room.own() };
        Head { log, seq: Seq(seq), hash: Hash([1; 32]) }
    };
    let ours = |log: &LogId| match log.author {
        it if it == peer(5) => Some((Seq(30), Hash::ZERO)),
        // Of whom no more is taken.
        it if it == peer(6) => None,
        _ => Some((Seq(0), Hash::ZERO)),
    };
    assert_eq!(sync.behind(ours), 0);
    // What somebody holds of our own log is no news to come.
    let own = Head { log: alice.room.own(), seq: Seq(9), hash: Hash([1; 32]) };
    link(&mut sync, &alice, peer(2), &[head(5, 100), head(6, 50), head(7, 7), own]);
    assert_eq!(sync.behind(ours), 77);
    link(&mut sync, &alice, peer(3), &[head(5, 130), head(7, 5)]);
    assert_eq!(sync.behind(ours), 107, "two that hold the same count once");
    sync.on_unlink(&peer(3));
    assert_eq!(sync.behind(ours), 77);
    assert_eq!(sync.behind(|_| Some((Seq(500), Hash::ZERO))), 0);
}

#[test]
fn a_peer_that_holds_more_of_our_log_means_that_we_are_an_old_copy() {
    let mut alice = writer(1);
    let mut sync = sync_of(&alice);
    post(&mut alice, &mut sync, 1);
    let ahead = Head { log: alice.room.own(), seq: Seq(7), hash: Hash([1; 32]) };
    assert_eq!(link(&mut sync, &alice, peer(2), &[ahead]).ahead, Some(ahead));
    let other = Head { log: alice.room.own(), seq: Seq(1), hash: Hash([1; 32]) };
    assert_eq!(link(&mut sync, &alice, peer(3), &[other]).ahead, Some(other));
}

#[test]
fn a_window_bounds_what_is_under_way_and_input_stops_behind_it() {
    let mut alice = writer(1);
    let mut sync = sync_of(&alice);
    link(&mut sync, &alice, peer(2), &[]);
    let total = usize::try_from(flow::AHEAD_MOST).unwrap() + 64;
    for _ in 0..total / 64 {
        post(&mut alice, &mut sync, 64);
    }
    let head = own(&alice).0;
    let sent: usize =
        pushed(&sync.push(head, Mono(10), &alice.shelf)).iter().map(|(_, size)| size).sum();
    assert!(sent >= usize::try_from(WINDOW_ENTRIES).unwrap(), "{sent}");
    assert!(sent < total, "{sent}");
    assert!(!sync.takes_input(head, Mono(11)));
    assert!(sync.takes_input(head, Mono(11).after(STALLED_AFTER)), "a stalled peer stops nobody");
    assert_eq!(sync.stalled(Mono(10).after(STALLED_AFTER.times(3))), [peer(2)]);
}

#[test]
fn what_a_vector_shows_is_asked_for_from_one_peer_at_a_time() {
    let alice = writer(1);
    let mut carol = writer(3);
    carol.post(&["a", "b"]);
    let mut sync = sync_of(&alice);
    let theirs = carol.room.vector();
    link(&mut sync, &alice, peer(2), &theirs);
    link(&mut sync, &alice, peer(4), &theirs);
    let head = |_: &LogId| Some((Seq(0), Hash::ZERO));
    let wants = sync.wants(head, Mono(11));
    assert_eq!(wants.len(), 1);
    assert!(sync.wants(head, Mono(12)).is_empty(), "under way");
    let late = Mono(11).after(FETCH_DEADLINE);
    assert!(sync.wants_due(late));
    assert_eq!(sync.wants(head, late).len(), 1, "asked for again");
    sync.on_unlink(&wants[0].0);
    assert_eq!(sync.wants(head, late.after(FETCH_DEADLINE)).len(), 1, "elsewhere");
}

#[test]
fn news_is_offered_to_one_peer_after_another_and_then_to_nobody() {
    let alice = writer(1);
    let mut sync = sync_of(&alice);
    link(&mut sync, &alice, peer(2), &[]);
    link(&mut sync, &alice, peer(3), &[]);
    let mut now = Mono(1_000);
    let mut told = Vec::new();
    for _ in 0..4 {
        told.extend(sync.offer(now, 2, || alice.room.vector()).into_iter().map(|(to, _)| to));
        now = now.after(OFFER_EVERY);
    }
    told.sort();
    let mut both = [peer(2), peer(3)];
    both.sort();
    assert_eq!(told, both);
    assert_eq!(sync.wake_at(2), None);
}

#[test]
fn pages_end_at_a_signature() {
    let mut alice = writer(1);
    alice.post(&["a", "b"]);
    alice.post(&["c", "d"]);
    let own = alice.room.own();
    let entries = alice.shelf.entries(own, Seq(1), 3);
    let made = page(own, entries).unwrap();
    assert_eq!(made.envelopes.len(), 2, "the third has no signature after it");
    let unsigned = alice.shelf.entries(own, Seq(1), 1);
    assert_eq!(page(own, unsigned), None);
}

#[test]
fn after_a_page_only_its_own_log_is_asked_for() {
    let (alice, bob, carol) = (writer(1), writer(2), writer(3));
    let mut sync = sync_of(&alice);
    let head = |of: &Writer, seq: u64| Head {
        log: of.room.own(),
        seq: Seq(seq),
        hash: Hash::of("somewhere", &[&seq.to_be_bytes()]),
    };
    link(&mut sync, &alice, peer(7), &[head(&bob, 9), head(&carol, 9)]);
    let want = |seq: u64| Frame::Want {
        log: bob.room.own(),
        from: Seq(seq).next(),
        previous: head(&bob, seq).hash,
    };
    let of = |sync: &mut Sync, seq, now| {
        let held = head(&bob, seq);
        sync.wants_of(&held.log, (held.seq, held.hash), now)
    };
    assert_eq!(of(&mut sync, 4, Mono(20)), [(peer(7), want(4))]);
    assert!(of(&mut sync, 4, Mono(21)).is_empty(), "asked for already");
    assert_eq!(of(&mut sync, 4, Mono(21).after(FETCH_DEADLINE)), [(peer(7), want(4))], "overdue");
    sync.on_page(peer(7), &bob.room.own(), Mono(30));
    assert_eq!(of(&mut sync, 6, Mono(30)), [(peer(7), want(6))]);
    sync.on_page(peer(7), &bob.room.own(), Mono(31));
    assert!(of(&mut sync, 9, Mono(31)).is_empty(), "nobody has more");
}

#[test]
fn an_author_that_had_to_be_asked_is_asked_on_and_one_that_pushes_is_not() {
    let (alice, bob) = (writer(1), writer(2));
    let log = bob.room.own();
    let head = |seq: u64| Head { log, seq: Seq(seq), hash: Hash::of("n", &[&seq.to_be_bytes()]) };
    let mut sync = sync_of(&alice);
    link(&mut sync, &alice, log.author, &[head(99)]);
    let wants = |sync: &mut Sync, seq, now| {
        let held = head(seq);
        sync.wants_of(&log, (held.seq, held.hash), now).len()
    };
    // It was linked this moment, and pushes by itself.
    let start = Mono(100);
    sync.on_page(log.author, &log, start);
    assert_eq!(wants(&mut sync, 10, start.after(NEXT_WITHIN)), 0);
    let late = start.after(FETCH_DEADLINE);
    assert_eq!(wants(&mut sync, 10, late), 1);
    sync.on_page(log.author, &log, late);
    assert_eq!(wants(&mut sync, 20, late), 0, "it may push on");
    let next = late.after(NEXT_WITHIN);
    assert!(sync.wants_due(next) && sync.wake_at(0).is_some_and(|at| at <= next));
    assert_eq!(wants(&mut sync, 20, next), 1);
}

#[test]
fn own_entries_are_compared_with_an_acknowledgement_from_memory() {
    let mut alice = writer(1);
    let mut sync = sync_of(&alice);
    post(&mut alice, &mut sync, 3);
    let (seq, hash) = own(&alice);
    assert_eq!(sync.recent_hash(&alice.room.own(), seq), Some(hash));
    assert_eq!(sync.recent_hash(&alice.room.own(), seq.next()), None);
    assert_eq!(sync.recent_hash(&writer(2).room.own(), seq), None);
}

#[test]
fn who_catches_up_holds_up_nobody_until_it_is_in_step() {
    let mut alice = writer(1);
    let mut sync = sync_of(&alice);
    let share = usize::try_from(flow::AHEAD_MOST).unwrap();
    for _ in 0..=share / 64 {
        post(&mut alice, &mut sync, 64);
    }
    link(&mut sync, &alice, peer(2), &[]);
    let (head, hash) = own(&alice);
    assert!(sync.takes_input(head, Mono(11)), "it lacks all of a long history");
    let log = alice.room.own();
    drop(sync.push(head, Mono(11), &alice.shelf));
    sync.on_ack(peer(2), &[Head { log, seq: head, hash }], head, Mono(12));
    assert!(sync.takes_input(head, Mono(12)));
    for _ in 0..=share / 64 {
        post(&mut alice, &mut sync, 64);
    }
    let head = own(&alice).0;
    assert!(!sync.takes_input(head, Mono(13)), "it was in step");
    assert!(sync.takes_input(head, Mono(12).after(STALLED_AFTER)), "and stalls");
    let upto = Seq(head.0 - flow::AHEAD_MOST - 1);
    let hash = sync.recent_hash(&log, upto).unwrap();
    let again = Mono(13).after(STALLED_AFTER);
    sync.on_ack(peer(2), &[Head { log, seq: upto, hash }], head, again);
    assert!(sync.takes_input(head, again), "it catches up again");
}

#[test]
fn who_stores_no_more_gets_nothing_until_it_asks_or_is_asked() {
    let mut alice = writer(1);
    let mut sync = sync_of(&alice);
    link(&mut sync, &alice, peer(2), &[]);
    link(&mut sync, &alice, peer(3), &[]);
    assert!(sync.on_full(&peer(2), Mono(20)));
    assert!(!sync.on_full(&peer(2), Mono(20)), "told once");
    post(&mut alice, &mut sync, 2);
    assert_eq!(pushed(&sync.push(Seq(2), Mono(20), &alice.shelf)), [(peer(3), 2)]);
    assert!(!sync.stalled(Mono(20 + 60_000)).contains(&peer(2)), "nobody waits for it");
    // News of others does not open it.
    sync.on_vector(peer(2), &[], own(&alice), Mono(30), &alice.shelf);
    assert!(sync.push(Seq(2), Mono(30), &alice.shelf).is_empty());
    assert!(sync.ask_full(Mono(30), Vec::new).is_empty());
    let asked = sync.ask_full(Mono(20).after(FULL_PAUSE), Vec::new);
    assert!(
        matches!(&asked[..], [(to, Frame::Vector { wants_answer: true, .. })] if *to == peer(2))
    );
    sync.on_vector(peer(2), &[], own(&alice), Mono(60_040), &alice.shelf);
    assert_eq!(pushed(&sync.push(Seq(2), Mono(60_040), &alice.shelf)), [(peer(2), 2)]);
    // It asks by itself.
    assert!(sync.on_full(&peer(2), Mono(60_050)));
    sync.on_open(&peer(2));
    sync.on_vector(peer(2), &[], own(&alice), Mono(60_060), &alice.shelf);
    assert_eq!(pushed(&sync.push(Seq(2), Mono(60_060), &alice.shelf)), [(peer(2), 2)]);
}

#[test]
fn an_authors_entries_are_fresh_beyond_what_it_held_when_it_was_linked() {
    let alice = writer(1);
    let mut sync = sync_of(&alice);
    let log =
        LogId { room: RoomId::MAIN, author: peer(2), incarnation: crate::ids::Incarnation(1) };
    assert_eq!(sync.fresh_after(&log, Millis(100), Mono(10)), None);
    let head = |seq| Head { log, seq: Seq(seq), hash: Hash([1; 32]) };
    link(&mut sync, &alice, peer(2), &[head(7)]);
    sync.on_vector(peer(2), &[head(9)], own(&alice), Mono(20), &alice.shelf);
    assert_eq!(sync.fresh_after(&log, Millis(100), Mono(50)), Some(Seq(7)));
    assert_eq!(sync.fresh_after(&log, Millis(100), Mono(110)), None, "that is too long ago");
    assert!(!sync.others_have(&peer(2), &log, Seq(8)));
    link(&mut sync, &alice, peer(3), &[head(9)]);
    assert!(sync.others_have(&peer(2), &log, Seq(8)) && !sync.others_have(&peer(2), &log, Seq(9)));
    sync.on_lacking(&peer(3), &log);
    assert!(!sync.others_have(&peer(2), &log, Seq(8)));
}
