use proptest::prelude::*;

use super::*;
use crate::ids::{DeviceKey, Index, RoomId, RoomOrigin};
use crate::limits::{COMMITS_MAX, TOPIC_BYTES_MAX};
use crate::terms::{History, Keep};
use crate::time::Millis;

fn peer_of(number: u8) -> PeerId {
    PeerId::of_ed25519(&DeviceKey([number; 32]))
}

fn cut(number: u8) -> Cut {
    let head = |life: u64| (Incarnation(life), Seq(7), Hash([number; 32]));
    Cut { peer: peer_of(number), heads: vec![head(1), head(5)] }
}

fn charter() -> Charter {
    Charter {
        topic: "now".to_owned(),
        description: "what for".to_owned(),
        entry: Entry::Code(DeviceKey([3; 32])),
        capacity: Some(9),
        history: History::Last(20),
        keep: Keep { age: Some(Millis(5)), bytes: Some(6) },
        is_archived: true,
        with: Some(peer_of(4)),
        ..Charter::new(Kind::Listed, "ops".to_owned())
    }
}

fn orders() -> Vec<Order> {
    let group = GroupId([1; 16]);
    let mut orders = vec![
        Order::Group { group, replaces: None },
        Order::Group { group, replaces: Some(GroupId([2; 16])) },
        Order::Commit { group, commit: Bytes::from_static(b"mls"), cuts: vec![cut(1), cut(2)] },
        Order::Create { group, charter: Box::new(charter()) },
        Order::Join { proof: None },
        Order::Join { proof: Some(Signature([8; 64])) },
        Order::Leave { cut: cut(4) },
        Order::Kick { cut: cut(3), reason: "why".to_owned() },
        Order::Role { peer: peer_of(1), role: Role::Reader, cut: Some(cut(1)) },
        Order::Delete,
        Order::Stranded { commit: Index(1 << 40) },
        Order::Forgive { peer: peer_of(6) },
    ];
    orders.extend(Role::ALL.map(|role| Order::Invite { peer: peer_of(1), role }));
    let settings = [
        Setting::Name("x".to_owned()),
        Setting::Topic("y".to_owned()),
        Setting::Description("z".to_owned()),
        Setting::Entry(Entry::Approval),
        Setting::Entry(Entry::Free),
        Setting::Entry(Entry::Invited),
        Setting::Capacity(None),
        Setting::Capacity(Some(3)),
        Setting::History(History::None),
        Setting::History(History::SinceJoin),
        Setting::History(History::All),
        Setting::Keep(Keep::default()),
        Setting::Archived(false),
    ];
    orders.extend(settings.map(Order::Set));
    orders
}

#[test]
fn every_order_survives_its_bytes() {
    for order in orders() {
        assert_eq!(Order::decode(&order.encode()), Ok(order.clone()));
        let plain = RoomOrder::Plain(order.encode());
        assert_eq!(RoomOrder::decode(&plain.encode()), Ok(plain));
    }
    let ciphertext = Bytes::from_static(b"sealed");
    let sealed = SealedOrder { key: KeyId([1; 32]), nonce: [2; 12], ciphertext };
    let sealed = RoomOrder::Sealed(sealed);
    assert_eq!(RoomOrder::decode(&sealed.encode()), Ok(sealed));
}

#[test]
fn a_room_survives_its_bytes() {
    let seat = Seat { role: Role::Admin, since: Index(4) };
    let heads = [(Incarnation(1), (Seq(2), Hash([3; 32])))].into();
    let stranded = Stranded { by: peer_of(6), said: [peer_of(1), peer_of(7)].into() };
    let (commit, since, at) = (Index(9), Index(11), crate::time::Wall(1 << 41));
    let suspension = Suspension { commit, since, at, is_forgiven: true };
    let snapshot = Snapshot {
        charter: charter(),
        members: [(peer_of(1), seat)].into(),
        waiting: [peer_of(2)].into(),
        kicked: [peer_of(5)].into(),
        cuts: [(peer_of(3), Barrier { heads, is_barred: true })].into(),
        group: Some(GroupId([7; 16])),
        moved_at: Index(5),
        handled: Index(6),
        created_at: Index(2),
        is_deleted: false,
        was_kept: true,
        stranded: [(Index(9), stranded)].into(),
        suspended: [(peer_of(6), suspension)].into(),
        commits: [(commit, Made { by: peer_of(6), at })].into(),
        origin: Some(RoomOrigin([4; 32])),
    };
    assert_eq!(Snapshot::decode(&snapshot.encode()), Ok(snapshot.clone()));
    let made = |place: usize| (Index(u64::try_from(place).unwrap()), Made { by: peer_of(6), at });
    let long = Snapshot { commits: (0..=COMMITS_MAX).map(made).collect(), ..snapshot };
    assert_eq!(Snapshot::decode(&long.encode()), Err(Refusal::FieldBad));
}

#[test]
fn a_room_is_told_of_by_who_knows_what_its_id_is_the_hash_of() {
    let origin = RoomOrigin([4; 32]);
    let room = RoomId::of(&origin);
    let told = |origin| Snapshot { origin, ..Snapshot::new(charter()) };
    assert!(told(Some(origin)).is_genuine(&room));
    assert!(!told(Some(origin)).is_genuine(&RoomId([4; 16])));
    assert!(!told(Some(RoomOrigin([5; 32]))).is_genuine(&room) && !told(None).is_genuine(&room));
}

#[test]
fn what_is_out_of_bounds_is_refused() {
    let long = "x".repeat(TOPIC_BYTES_MAX + 1);
    for order in [
        Order::Set(Setting::Topic(long.clone())),
        Order::Set(Setting::Name(long.clone())),
        Order::Kick { cut: cut(1), reason: long },
        Order::Commit {
            group: GroupId([1; 16]),
            commit: Bytes::from(vec![0; COMMIT_BYTES_MAX + 1]),
            cuts: Vec::new(),
        },
    ] {
        assert_eq!(Order::decode(&order.encode()), Err(Refusal::FieldBad));
    }
    let mut twice = cut(1);
    twice.heads.reverse();
    let order = Order::Kick { cut: twice, reason: String::new() };
    assert_eq!(Order::decode(&order.encode()), Err(Refusal::FieldBad));
    assert_eq!(Order::decode(&[]), Err(Refusal::VersionOther));
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Order::decode(&bytes);
        let _ = Snapshot::decode(&bytes);
        let _ = RoomOrder::decode(&Bytes::from(bytes));
    }
}
