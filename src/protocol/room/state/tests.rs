//! Who may order what in a room.
//! Owns: nothing.
//! Must not know: MLS, links.
//! Invariants: none.
//! Start reading at: the first test.

mod suspension;

use std::cell::RefCell;

use bytes::Bytes;

use super::*;
use crate::identity::keys::{AuthorityKey, Device};
use crate::identity::{Proofs as _, testkeys as stored};
use crate::ids::{Hash, Incarnation, IntentId};
use crate::wire::roster::{Wish, intent, intent_body};

/// Alice founded, bob, carol and dave are members.
struct Stage {
    roster: Roster,
    proofs: Device,
    index: u64,
    state: State,
    stamp: Wall,
    log: Log,
}

/// Who had which commit ordered, and when.
#[derive(Default)]
struct Log(RefCell<BTreeMap<Index, Made>>);

impl Commits for Log {
    fn commit(&self, _: RoomId, index: Index) -> Option<Made> {
        self.0.borrow().get(&index).copied()
    }
}

const GROUP: GroupId = GroupId([7; 16]);

fn peer(name: &str) -> PeerId {
    stored::member(name).peer()
}

fn admit(key: &AuthorityKey, name: &str, id: u8) -> Bytes {
    let device = stored::device(id);
    let credential = stored::credential(key, name, u64::from(id), &device);
    let body = intent_body(key.network(), IntentId([id; 16]), &Wish::Admit { credential });
    intent(peer(name), &body, &device.sign(Domain::Intent, &body))
}

impl Stage {
    fn new(kind: Kind) -> Self {
        let key = stored::authority_key();
        let authority = stored::authority(&key);
        let bytes = stored::credential(&key, "alice", 1, &stored::device(1));
        let alice = stored::device(8).credential(&authority, &bytes).unwrap();
        let mut roster = Roster::founded(authority, &alice);
        let proofs = stored::device(8);
        for (name, id) in [("bob", 2), ("carol", 3), ("dave", 4)] {
            let index = roster.applied().next();
            roster.apply(index, stored::NOW, Some(&admit(&key, name, id)), &proofs).unwrap();
        }
        let charter = Charter::new(kind, "ops".to_owned());
        let state = State::new(RoomId([9; 16]), charter.clone());
        let (stamp, log) = (stored::NOW, Log::default());
        let mut stage = Self { roster, proofs, index: 10, state, stamp, log };
        if kind == Kind::Main {
            stage.state = State::main(History::All);
            return stage;
        }
        stage.order("alice", &Order::Create { group: GROUP, charter: Box::new(charter) }).unwrap();
        stage
    }

    fn order(&mut self, by: &str, order: &Order) -> Result<Effect, Refusal> {
        self.index += 1;
        let index = Index(self.index);
        if matches!(order, Order::Commit { .. }) {
            self.log.0.borrow_mut().insert(index, Made { by: peer(by), at: self.stamp });
        }
        let scene = Scene {
            roster: &self.roster,
            index,
            proofs: &self.proofs,
            stamp: self.stamp,
            commits: &self.log,
            is_hasty: false,
        };
        let before = self.state.clone();
        let taken = self.state.apply(order, peer(by), &scene).map_err(|it| it.refusal);
        if taken.is_err() {
            assert_eq!(self.state, before, "what is void changes nothing");
        }
        taken
    }

    fn invite(&mut self, by: &str, whom: &str, role: Role) -> Result<Effect, Refusal> {
        self.order(by, &Order::Invite { peer: peer(whom), role })
    }

    fn role(&self, name: &str) -> Option<Role> {
        self.state.role_of(&peer(name), &self.roster)
    }
}

fn cut(name: &str) -> Cut {
    Cut { peer: peer(name), heads: vec![(Incarnation(1), Seq(5), Hash([1; 32]))] }
}

fn kick(name: &str) -> Order {
    Order::Kick { cut: cut(name), reason: String::new() }
}

fn log(name: &str, life: u64) -> LogId {
    LogId { room: RoomId([9; 16]), author: peer(name), incarnation: Incarnation(life) }
}

#[test]
fn only_admins_invite_and_only_up_to_their_own_role() {
    let mut stage = Stage::new(Kind::Private);
    assert_eq!(stage.role("alice"), Some(Role::Owner));
    assert_eq!(stage.invite("bob", "carol", Role::Member), Err(Refusal::NotInRoom));
    let entered = Ok(Effect::Entered(peer("bob")));
    assert_eq!(stage.invite("alice", "bob", Role::Member), entered);
    assert_eq!(stage.invite("bob", "carol", Role::Member), Err(Refusal::NotAllowed));
    assert_eq!(stage.invite("alice", "bob", Role::Member), Err(Refusal::AlreadyInRoom));
    stage.invite("alice", "carol", Role::Admin).unwrap();
    assert_eq!(stage.invite("carol", "dave", Role::Owner), Err(Refusal::NotAllowed));
    stage.invite("carol", "dave", Role::Admin).unwrap();
    let charter = Box::new(Charter::new(Kind::Private, "ops".to_owned()));
    let again = Order::Create { group: GROUP, charter };
    assert_eq!(stage.order("alice", &again), Err(Refusal::RoomExists));
}

#[test]
fn who_is_put_out_wrote_nothing_past_the_cut_and_comes_back_by_invitation_alone() {
    let mut stage = Stage::new(Kind::Listed);
    let join = Order::Join { proof: None };
    stage.order("bob", &join).unwrap();
    stage.order("carol", &join).unwrap();
    assert_eq!(stage.order("bob", &kick("carol")), Err(Refusal::NotAllowed));
    assert_eq!(stage.order("alice", &kick("alice")), Err(Refusal::NotAllowed));
    assert_eq!(stage.state.end_of(&log("bob", 1)), None);
    stage.order("alice", &kick("bob")).unwrap();
    assert_eq!(stage.role("bob"), None);
    assert_eq!(stage.state.end_of(&log("bob", 1)), Some(Seq(5)));
    assert_eq!(stage.state.end_of(&log("bob", 2)), Some(Seq(0)), "no other log counts");
    assert_eq!(stage.order("bob", &join), Err(Refusal::NotAllowed));
    stage.invite("alice", "bob", Role::Member).unwrap();
    assert_eq!(stage.state.end_of(&log("bob", 1)), Some(Seq(5)), "the old log stays closed");
    assert_eq!(stage.state.end_of(&log("bob", 2)), None);
    stage.order("carol", &Order::Leave { cut: cut("carol") }).unwrap();
    stage.order("carol", &join).unwrap();
    assert_eq!(stage.order("carol", &Order::Leave { cut: cut("bob") }), Err(Refusal::NotAllowed));
}

#[test]
fn a_reader_writes_nothing_until_it_is_a_member_again() {
    let mut stage = Stage::new(Kind::Private);
    stage.invite("alice", "bob", Role::Reader).unwrap();
    assert_eq!(stage.state.end_of(&log("bob", 1)), Some(Seq(0)));
    assert!(!stage.state.may_write(&peer("bob"), &stage.roster));
    let set = |role, cut| Order::Role { peer: peer("bob"), role, cut };
    assert_eq!(stage.order("bob", &set(Role::Admin, None)), Err(Refusal::NotAllowed));
    stage.order("alice", &set(Role::Member, None)).unwrap();
    assert_eq!(stage.state.end_of(&log("bob", 1)), None);
    assert_eq!(stage.order("alice", &set(Role::Reader, None)), Err(Refusal::FieldBad));
    stage.order("alice", &set(Role::Reader, Some(cut("bob")))).unwrap();
    assert_eq!(stage.state.end_of(&log("bob", 1)), Some(Seq(5)));
    let own = Order::Role { peer: peer("alice"), role: Role::Member, cut: None };
    assert_eq!(stage.order("alice", &own), Err(Refusal::NotAllowed), "the last owner");
    let leave = Order::Leave { cut: cut("alice") };
    assert_eq!(stage.order("alice", &leave), Err(Refusal::NotAllowed), "the last owner");
}

#[test]
fn a_room_is_joined_as_its_entry_says_and_holds_no_more_than_it_may() {
    let mut stage = Stage::new(Kind::Listed);
    let set = |entry| Order::Set(Setting::Entry(entry));
    let join = Order::Join { proof: None };
    stage.order("alice", &set(Entry::Invited)).unwrap();
    assert_eq!(stage.order("bob", &join), Err(Refusal::NotAllowed));
    stage.order("alice", &set(Entry::Approval)).unwrap();
    assert_eq!(stage.order("bob", &join), Ok(Effect::Asked(peer("bob"))));
    assert_eq!(stage.role("bob"), None);
    stage.invite("alice", "bob", Role::Member).unwrap();
    let code = stage.proofs.code_key("correct horse").unwrap();
    stage.order("alice", &set(Entry::Code(code))).unwrap();
    assert_eq!(stage.order("carol", &join), Err(Refusal::CodeWrong));
    let room = RoomId([9; 16]);
    let proof = |code: &str, of: &str| Order::Join {
        proof: stored::device(3).code_proof(code, &join_body(room, &peer(of))),
    };
    assert_eq!(stage.order("carol", &proof("wrong horse", "carol")), Err(Refusal::CodeWrong));
    let others = proof("correct horse", "dave");
    assert_eq!(stage.order("carol", &others), Err(Refusal::CodeWrong), "another's proof");
    stage.order("alice", &Order::Set(Setting::Capacity(Some(2)))).unwrap();
    assert_eq!(stage.order("carol", &proof("correct horse", "carol")), Err(Refusal::RoomFull));
    stage.order("alice", &Order::Set(Setting::Capacity(None))).unwrap();
    stage.order("carol", &proof("correct horse", "carol")).unwrap();
    assert_eq!(stage.order("carol", &join), Err(Refusal::AlreadyInRoom));
}

#[test]
fn a_private_room_is_not_joined_and_a_deleted_one_is_none() {
    let mut stage = Stage::new(Kind::Private);
    assert_eq!(stage.order("bob", &Order::Join { proof: None }), Err(Refusal::RoomUnknown));
    stage.invite("alice", "bob", Role::Admin).unwrap();
    assert_eq!(stage.order("bob", &Order::Delete), Err(Refusal::NotAllowed));
    let rename = Order::Set(Setting::Name("works".to_owned()));
    assert_eq!(stage.order("bob", &rename), Err(Refusal::NotAllowed));
    stage.order("bob", &Order::Set(Setting::Topic("tea".to_owned()))).unwrap();
    stage.order("alice", &rename).unwrap();
    let bad = Order::Set(Setting::Name("all".to_owned()));
    assert_eq!(stage.order("alice", &bad), Err(Refusal::NameBad));
    assert_eq!(stage.order("alice", &Order::Delete), Ok(Effect::Deleted));
    assert_eq!(stage.role("alice"), None);
    let topic = Order::Set(Setting::Topic(String::new()));
    assert_eq!(stage.order("alice", &topic), Err(Refusal::RoomUnknown));
}

#[test]
fn a_group_takes_the_place_of_the_one_it_names_alone() {
    let mut stage = Stage::new(Kind::Private);
    let (one, other) = (GroupId([1; 16]), GroupId([2; 16]));
    let group = |group, replaces| Order::Group { group, replaces };
    assert_eq!(stage.order("alice", &group(one, None)), Err(Refusal::RoomMoved));
    assert_eq!(stage.order("bob", &group(one, Some(GROUP))), Err(Refusal::NotInRoom));
    assert_eq!(stage.order("alice", &group(one, Some(GROUP))), Ok(Effect::Grouped));
    assert_eq!(stage.order("alice", &group(other, Some(GROUP))), Err(Refusal::RoomMoved));
    let commit = Bytes::from_static(b"commit");
    let order = |group| Order::Commit { group, commit: commit.clone(), cuts: vec![cut("bob")] };
    assert_eq!(stage.order("alice", &order(GROUP)), Err(Refusal::RoomMoved));
    let taken = stage.order("alice", &order(one));
    assert_eq!(taken, Ok(Effect::Commit { group: one, commit: commit.clone() }));
    assert_eq!(stage.state.end_of(&log("bob", 1)), None, "who belongs is not cut by a commit");
}

#[test]
fn a_room_of_two_stays_one_of_two() {
    let mut stage = Stage::new(Kind::Private);
    stage.state = State::new(RoomId([5; 16]), Charter::new(Kind::Direct, String::new()));
    let with = |with| Charter { with, ..Charter::new(Kind::Direct, String::new()) };
    let create =
        |with_: Option<PeerId>| Order::Create { group: GROUP, charter: Box::new(with(with_)) };
    assert_eq!(stage.order("alice", &create(None)), Err(Refusal::FieldBad));
    assert_eq!(stage.order("alice", &create(Some(peer("alice")))), Err(Refusal::FieldBad));
    stage.order("alice", &create(Some(peer("bob")))).unwrap();
    assert_eq!((stage.role("alice"), stage.role("bob")), (Some(Role::Member), Some(Role::Member)));
    assert_eq!(stage.invite("alice", "carol", Role::Member), Err(Refusal::NotAllowed));
    assert_eq!(stage.order("alice", &kick("bob")), Err(Refusal::NotAllowed));
    let name = Order::Set(Setting::Name("x".to_owned()));
    assert_eq!(stage.order("alice", &name), Err(Refusal::NotAllowed));
}
