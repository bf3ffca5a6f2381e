//! What others may try, and what may break.

use super::*;

#[test]
fn a_replayed_commit_and_one_of_a_past_epoch_are_skipped_by_all() {
    for kind in both() {
        let mut world = World::full(kind, 3);
        let mut past = Vec::new();
        for who in [0, 1, 2] {
            let pending = world.stage(who, &[], &[]);
            world.order(&pending.commit, &[0, 1, 2]);
            past.push(pending.commit);
        }
        for commit in &past {
            for who in 0..3 {
                let verdict = world.order_at(who, commit).unwrap();
                assert_eq!(verdict, Verdict::BadPublic("of another epoch"));
            }
        }
        world.agree(&[0, 1, 2]);
    }
}

#[test]
fn a_changed_byte_of_a_commit_never_divides_the_room() {
    for kind in both() {
        let mut world = World::full(kind, 3);
        let pending = world.stage(0, &[], &[]);
        let mut skipped = 0;
        for at in (0..pending.commit.len()).step_by(7) {
            let mut bytes = pending.commit.to_vec();
            bytes[at] ^= 0x10;
            let changed = Bytes::from(bytes);
            let (mut one, mut other) = (world.load(1), world.load(2));
            let one = one.ordered(&changed, &world.roster).unwrap().0;
            let other = other.ordered(&changed, &world.roster).unwrap().0;
            match (&one, &other) {
                (Verdict::BadPublic(_), Verdict::BadPublic(_)) => skipped += 1,
                // The toy's commits are not signed: a broken share is its poisoned path.
                (Verdict::BadPublic(_), _) | (_, Verdict::BadPublic(_)) => {
                    panic!("byte {at}: {one:?} here, {other:?} there")
                }
                _ if format!("{kind:?}").starts_with("Toy") => {}
                _ => panic!("byte {at}: {one:?} here, {other:?} there"),
            }
        }
        assert!(skipped > 10, "{skipped}");
        world.order(&pending.commit, &[0, 1, 2]);
        world.agree(&[0, 1, 2]);
    }
}

#[test]
fn who_cannot_follow_a_valid_commit_comes_back_by_external_commit() {
    let mut world = World::full(&Mls, 4);
    let first = world.stage(2, &[], &[]);
    world.order(&first.commit, &[0, 1, 2, 3]);
    // The keys of its leaf are lost: all that the others see is in order.
    let lost = |key: &Bytes| key.windows(13).any(|part| part == b"EpochKeyPairs");
    assert!(world.members[1].rows.keys().any(lost));
    world.members[1].rows.retain(|key, _| !lost(key));
    let pending = world.stage(0, &[], &[]);
    world.order(&pending.commit, &[0, 2, 3]);
    let verdict = world.order_at(1, &pending.commit).unwrap();
    assert!(matches!(verdict, Verdict::BadPrivate(_)), "{verdict:?}");
    let commit = world.try_rejoin(1, 3).unwrap();
    world.order(&commit, &[0, 1, 2, 3]);
    world.agree(&[0, 1, 2, 3]);
}

#[test]
fn who_does_not_belong_is_not_let_in_by_anybody() {
    for kind in both() {
        let mut world = World::full(kind, 3);
        // Removed from the network, still in the tree: neither renews nor comes back.
        let gone = world.members[2].leaf();
        let renewal = world.stage(2, &[], &[]);
        let back = world.try_rejoin(2, 0).unwrap();
        world.roster.belong.remove(&gone);
        for commit in [&renewal.commit, &back] {
            for who in 0..2 {
                let verdict = world.order_at(who, commit).unwrap();
                let rule = "its maker does not belong to the room";
                assert_eq!(verdict, Verdict::BadPublic(rule));
            }
        }
        // Its own joining is refused to itself as well.
        let verdict = world.order_at(2, &back).unwrap();
        assert_eq!(verdict, Verdict::BadPublic("its maker does not belong to the room"));
        assert!(!world.load(2).is_member());

        let stranger = world.enter(5, 5);
        let leaf = world.members[stranger].leaf();
        world.roster.belong.remove(&leaf);
        let add = vec![world.package(stranger)];
        let rule = Error::Refused("somebody added does not belong to the room");
        assert_eq!(world.try_stage(0, &Wish { add, remove: Vec::new() }), Err(rule));
        assert_eq!(world.load(0).pending(), None);
    }
}

#[test]
fn one_member_has_one_leaf_and_a_foreign_leaf_is_nobodys_to_remove_from_outside() {
    for kind in both() {
        let mut world = World::full(kind, 3);
        let add = vec![world.package(1)];
        let staged = world.try_stage(0, &Wish { add, remove: Vec::new() });
        assert!(matches!(staged, Err(Error::Refused(_))), "{staged:?}");
        let twin = world.enter(2, 50);
        let add = vec![world.package(twin)];
        let rule = Error::Refused("a member with two leaves");
        assert_eq!(world.try_stage(0, &Wish { add, remove: Vec::new() }), Err(rule));
        let missing = Wish { add: Vec::new(), remove: vec![peer(40)] };
        assert_eq!(world.try_stage(0, &missing), Err(Error::Refused("not in the room")));
    }
}

#[test]
fn only_those_with_the_right_change_who_is_in() {
    for kind in both() {
        let mut world = World::full(kind, 4);
        let pending = world.stage(2, &[], &[3]);
        world.roster.admins.insert(peer(0));
        for who in [0, 1, 2] {
            let verdict = world.order_at(who, &pending.commit).unwrap();
            assert_eq!(verdict, Verdict::BadPublic("its maker may not make this change"));
        }
        assert_eq!(world.load(2).pending(), None, "its maker gives it up too");
        let renewal = world.stage(2, &[], &[]);
        world.order(&renewal.commit, &[0, 1, 2, 3]);
        world.agree(&[0, 1, 2, 3]);
    }
}

#[test]
fn a_group_with_a_leaf_that_no_admission_binds_is_not_joined() {
    for kind in both() {
        let mut world = World::full(kind, 3);
        let leaf = world.members[1].leaf();
        world.roster.bound.remove(&leaf);
        let late = world.enter(3, 3);
        let rule = Error::Refused("a leaf that no admission binds");
        assert_eq!(world.try_rejoin(late, 0), Err(rule));
        let pending = world.stage(0, &[late], &[]);
        assert_eq!(world.welcome(late, pending.welcome.as_ref().unwrap()), Err(rule));
    }
}

#[test]
fn a_welcome_is_for_one_key_package_and_opens_once() {
    for kind in both() {
        let mut world = World::new(kind, 3);
        let pending = world.stage(0, &[1], &[]);
        let welcome = pending.welcome.clone().unwrap();
        world.order(&pending.commit, &[0]);
        world.package(2);
        assert_eq!(world.welcome(2, &welcome), Err(Error::NotForUs));
        world.welcome(1, &welcome).unwrap();
        world.agree(&[0, 1]);
        // Its private half is deleted with the joining.
        assert!(world.members[1].packages.is_empty());
        world.package(1);
        assert_eq!(world.welcome(1, &welcome), Err(Error::NotForUs));
    }
}

#[test]
fn what_is_malformed_is_refused_everywhere() {
    for kind in both() {
        let mut world = World::full(kind, 2);
        for bytes in [&b""[..], b"\0", &[0xff; 300]] {
            let bytes = Bytes::copy_from_slice(bytes);
            let wish = Wish { add: vec![bytes.clone()], remove: Vec::new() };
            assert_eq!(world.try_stage(0, &wish), Err(Error::Malformed));
            let verdict = world.order_at(0, &bytes).unwrap();
            assert_eq!(verdict, Verdict::BadPublic("malformed"));
            let (device, judge) = (Device::from_secret(&[8; 32]), &world.roster);
            let joined = kind.join_external(ROOM, peer(7), &bytes, judge, &device, [1; 32]);
            assert!(matches!(joined, Err(Error::Malformed)));
            let joined = kind.join_welcome(ROOM, peer(7), &bytes, &bytes, judge, [1; 32]);
            assert!(matches!(joined, Err(Error::Malformed)));
            let loaded = kind.load(ROOM, peer(7), &[(bytes.clone(), bytes)], [1; 32]);
            assert!(matches!(loaded, Err(Error::Malformed)));
        }
        let mut long = world.package(1).to_vec();
        long.push(0);
        let wish = Wish { add: vec![long.into()], remove: Vec::new() };
        assert_eq!(world.try_stage(0, &wish), Err(Error::Malformed));
    }
}

#[test]
fn a_removed_member_opens_nothing_later_with_all_it_held() {
    let mut world = World::full(&Mls, 4);
    let renewal = world.stage(0, &[], &[]);
    world.order(&renewal.commit, &[0, 1, 2, 3]);
    let held = world.members[3].rows.clone();
    let gone = world.members[3].leaf();
    world.roster.belong.remove(&gone);
    let removal = world.stage(1, &[], &[3]);
    world.order(&removal.commit, &[0, 1, 2]);
    let later = world.stage(2, &[], &[]);
    world.order(&later.commit, &[0, 1, 2]);
    let secret = world.secret(0);

    // Every order of what it can still apply, with a judge that allows everything.
    world.roster.belong.insert(gone);
    for commits in [&[&removal.commit][..], &[&later.commit], &[&removal.commit, &later.commit]] {
        world.members[3].rows = held.clone();
        for commit in commits {
            let _ = world.order_at(3, commit);
            assert_ne!(world.load(3).secret().ok(), Some(secret.clone()));
        }
    }
    // Nor is the secret, or the tag of the epoch, among the bytes it stores.
    let has = |needle: &[u8]| {
        let rows = held.values().chain(world.members[3].rows.values());
        rows.into_iter().any(|row| row.windows(needle.len()).any(|part| part == needle))
    };
    assert!(!has(secret.expose()));
}
