//! What was told of links between others, without a member around it.
//! Owns: nothing but its cases.
//! Must not know: how a frame travels.
//! Invariants: see each test's name.
//! Start reading at: the first test.

use proptest::prelude::*;

use super::*;

fn peer(name: &str) -> PeerId {
    PeerId::of_rsa_spki(name.as_bytes())
}

fn link(name: &str, is_relayed: bool, rtt_micros: Option<u32>) -> Neighbour {
    Neighbour { peer: peer(name), is_relayed, rtt_micros }
}

fn told(hearsay: &mut Hearsay, by: &str, links: &[Neighbour], at: u64) {
    assert!(hearsay.asks(peer(by), Mono(at)), "{by} is asked");
    hearsay.hear(peer(by), links.to_vec(), Mono(at));
}

fn heard(hearsay: &Hearsay) -> Vec<([PeerId; 2], Heard)> {
    hearsay.heard(&peer("me"), |it| *it != peer("stranger"))
}

fn only(hearsay: &Hearsay) -> Heard {
    let mut heard = heard(hearsay);
    assert_eq!(heard.len(), 1, "{heard:?}");
    heard.remove(0).1
}

#[test]
fn two_ends_that_differ_show_as_who_told_last_and_the_one_that_measured() {
    let mut hearsay = Hearsay::default();
    told(&mut hearsay, "bob", &[link("carol", false, Some(300))], 1_000);
    let heard = only(&hearsay);
    assert_eq!((heard.link.is_relayed, heard.link.rtt_micros), (false, Some(300)));
    assert_eq!(heard.told_by, [peer("bob")]);
    // Whichever of the two comes first in the order of peers.
    for (later, earlier, at) in [("carol", "bob", 2_000), ("bob", "carol", 9_000)] {
        told(&mut hearsay, later, &[link(earlier, true, None)], at);
        let heard = only(&hearsay);
        assert_eq!((heard.link.is_relayed, heard.told_by.len()), (true, 2), "{later}");
    }
    told(&mut hearsay, "carol", &[link("bob", true, Some(70))], 14_000);
    assert_eq!(only(&hearsay).link.rtt_micros, Some(70));
    told(&mut hearsay, "bob", &[link("carol", true, None)], 15_000);
    assert_eq!(only(&hearsay).link.rtt_micros, Some(70), "only one of them has measured");
    // What one says no more is the other's word alone.
    told(&mut hearsay, "bob", &[], 20_000);
    assert_eq!(only(&hearsay).told_by, [peer("carol")]);
}

#[test]
fn of_oneself_of_strangers_and_unasked_nothing_is_heard() {
    let mut hearsay = Hearsay::default();
    let links =
        [link("me", true, Some(1)), link("stranger", true, Some(1)), link("bob", true, None)];
    told(&mut hearsay, "bob", &links, 1_000);
    assert!(heard(&hearsay).is_empty());
    hearsay.hear(peer("carol"), vec![link("bob", false, None)], Mono(1_000));
    assert!(heard(&hearsay).is_empty(), "carol was not asked");
    told(&mut hearsay, "carol", &[link("bob", false, None)], 1_000);
    hearsay.hear(peer("carol"), Vec::new(), Mono(1_001));
    assert_eq!(heard(&hearsay).len(), 1, "one question, one answer");
    told(&mut hearsay, "stranger", &[link("bob", false, None)], 1_000);
    assert_eq!(heard(&hearsay).len(), 1);
}

#[test]
fn what_was_told_is_forgotten_with_the_link_and_with_time() {
    let mut hearsay = Hearsay::default();
    told(&mut hearsay, "bob", &[link("carol", false, None)], 1_000);
    told(&mut hearsay, "dave", &[link("erin", false, None)], 2_000);
    hearsay.on_unlink(&peer("bob"));
    assert_eq!(only(&hearsay).told_by, [peer("dave")]);
    assert!(hearsay.asks(peer("bob"), Mono(2_001)), "linked anew it is asked anew");
    hearsay.forget(Mono(31_999));
    assert_eq!(heard(&hearsay).len(), 1);
    hearsay.forget(Mono(32_000));
    assert!(hearsay.told.is_empty());
}

#[test]
fn nobody_is_asked_or_answered_again_too_soon_and_who_asks_in_time_is_answered() {
    let (mut hearsay, mut other) = (Hearsay::default(), Hearsay::default());
    let (mut asked, mut answered) = (0, 0);
    for at in 0..60 {
        if hearsay.asks(peer("bob"), Mono(at * 500)) {
            asked += 1;
            // On its way a little shorter or longer.
            answered += usize::from(other.answers(peer("me"), Mono(at * 500 + (at % 3) * 400)));
        }
    }
    assert_eq!((asked, answered), (8, 8), "every four seconds of thirty");
    let mut hearsay = Hearsay::default();
    let answers = (0..300).filter(|at| hearsay.answers(peer("bob"), Mono(at * 100))).count();
    assert_eq!(answers, 15, "every two seconds of thirty, whoever asks how often");
}

#[test]
fn who_looks_waits_for_those_asked_and_not_for_who_is_silent() {
    let mut hearsay = Hearsay::default();
    let command = CommandId(7);
    hearsay.asks(peer("bob"), Mono(1_000));
    hearsay.asks(peer("carol"), Mono(1_000));
    hearsay.waiting.push((command, Mono(2_000)));
    hearsay.hear(peer("bob"), Vec::new(), Mono(1_100));
    assert!(hearsay.ready(Mono(1_100)).is_empty(), "carol may answer yet");
    hearsay.hear(peer("carol"), Vec::new(), Mono(1_200));
    assert_eq!(hearsay.ready(Mono(1_200)), [command]);
    assert!(hearsay.ready(Mono(9_999)).is_empty(), "answered once");
    // Nobody answers.
    hearsay.asks(peer("bob"), Mono(6_000));
    hearsay.waiting.push((command, Mono(7_000)));
    assert!(hearsay.ready(Mono(6_999)).is_empty());
    assert_eq!(hearsay.ready(Mono(7_000)), [command]);
    // Who comes then does not wait for who is silent.
    hearsay.waiting.push((command, Mono(8_500)));
    assert_eq!(hearsay.ready(Mono(7_500)), [command]);
    // Who is gone is not waited for.
    hearsay.asks(peer("bob"), Mono(11_000));
    hearsay.waiting.push((command, Mono(12_000)));
    assert!(hearsay.ready(Mono(11_000)).is_empty());
    hearsay.on_unlink(&peer("bob"));
    assert_eq!(hearsay.ready(Mono(11_000)), [command]);
}

#[test]
fn what_is_held_of_others_is_bounded_and_who_was_cut_off_is_known() {
    let mut hearsay = Hearsay::default();
    let many: Vec<Neighbour> = (0..HEARSAY_MAX / 4 - 1)
        .map(|at| Neighbour {
            peer: PeerId::of_rsa_spki(&at.to_be_bytes()),
            is_relayed: false,
            rtt_micros: None,
        })
        .collect();
    for by in ["a", "b", "c", "d", "e", "f"] {
        told(&mut hearsay, by, &many, 1_000);
    }
    let held: usize = hearsay.told.values().map(|told| told.links.len()).sum();
    assert_eq!(held, HEARSAY_MAX);
    let whole = |by| hearsay.told[&peer(by)].is_whole;
    assert_eq!(["a", "d", "e", "f"].map(whole), [true, true, false, false]);
    // What replaces one's own word needs no more room than there was.
    told(&mut hearsay, "a", &many, 9_000);
    assert!(hearsay.told[&peer("a")].is_whole);
}

proptest! {
    #[test]
    fn whatever_is_told_names_each_link_once_and_only_members_and_never_oneself(
        words in prop::collection::vec(
            (0_u8..6, prop::collection::vec((0_u8..6, any::<bool>(), any::<Option<u32>>()), 0..6)),
            0..12,
        )
    ) {
        let of = |at: u8| peer(["me", "stranger", "a", "b", "c", "d"][usize::from(at)]);
        let mut hearsay = Hearsay::default();
        for (at, (by, links)) in words.iter().enumerate() {
            let now = Mono(u64::try_from(at).unwrap() * ASK_EVERY.0);
            hearsay.asks(of(*by), now);
            let links = links.iter().map(|(it, is_relayed, rtt_micros)| Neighbour {
                peer: of(*it), is_relayed: *is_relayed, rtt_micros: *rtt_micros,
            });
            hearsay.hear(of(*by), links.collect(), now);
        }
        let heard = hearsay.heard(&peer("me"), |it| *it != peer("stranger"));
        for ([one, other], heard) in &heard {
            prop_assert!(one < other);
            for end in [one, other] {
                prop_assert!(*end != peer("stranger") && *end != peer("me"));
            }
            prop_assert!(!heard.told_by.is_empty());
            prop_assert!(heard.told_by.iter().all(|by| by == one || by == other));
        }
        prop_assert!(heard.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
