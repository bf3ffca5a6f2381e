//! What honest members do: add, remove, renew, restart, come back.

use super::*;

#[test]
fn members_added_by_welcome_share_the_room_and_a_removed_one_does_not() {
    for kind in both() {
        let mut world = World::full(kind, 4);
        world.agree(&[0, 1, 2, 3]);
        let before = world.secret(0);

        let gone = world.members[3].leaf();
        world.roster.belong.remove(&gone);
        let pending = world.stage(1, &[], &[3]);
        assert_eq!(pending.welcome, None);
        world.order(&pending.commit, &[1, 0, 2]);
        world.agree(&[0, 1, 2]);
        assert_ne!(world.secret(0), before);

        let verdict = world.order_at(3, &pending.commit).unwrap();
        assert!(matches!(verdict, Verdict::Merged { is_out: true, .. }), "{verdict:?}");
        let out = world.load(3);
        assert_eq!((out.is_member(), out.secret()), (false, Err(Error::NotMember)));
        let device = Device::from_secret(&[4; 32]);
        assert_eq!(out.group_info(&device), Err(Error::NotMember));
        assert_eq!(world.order_at(3, &pending.commit), Err(Error::NotMember));
    }
}

#[test]
fn whoever_renews_the_keys_changes_them_for_all() {
    for kind in both() {
        let mut world = World::full(kind, 3);
        let mut seen = vec![world.secret(0)];
        for who in [0, 2, 1, 1] {
            let pending = world.stage(who, &[], &[]);
            assert_eq!(world.secret(who), *seen.last().unwrap(), "not before it is ordered");
            world.order(&pending.commit, &[0, 1, 2]);
            world.agree(&[0, 1, 2]);
            let secret = world.secret(0);
            assert!(!seen.contains(&secret));
            seen.push(secret);
        }
        assert_eq!(world.load(0).epoch(), 5);
    }
}

#[test]
fn of_two_commits_the_first_wins_and_the_loser_stages_again() {
    for kind in both() {
        let mut world = World::full(kind, 4);
        let first = world.stage(1, &[], &[]);
        let second = world.stage(2, &[], &[3]);
        world.order(&first.commit, &[0, 1, 2, 3]);
        assert_eq!(world.load(2).pending(), None);
        for who in 0..4 {
            let verdict = world.order_at(who, &second.commit).unwrap();
            assert_eq!(verdict, Verdict::BadPublic("of another epoch"));
        }
        let again = world.stage(2, &[], &[3]);
        world.order(&again.commit, &[0, 1, 2]);
        world.agree(&[0, 1, 2]);
    }
}

#[test]
fn a_pending_commit_waits_and_can_be_given_up() {
    for kind in both() {
        let mut world = World::full(kind, 3);
        let first = world.stage(0, &[], &[]);
        assert_eq!(world.try_stage(0, &Wish::default()), Err(Error::Pending));
        let mut group = world.load(0);
        let changes = group.clear().unwrap();
        world.members[0].store(changes);
        assert_eq!(world.load(0).pending(), None);
        let second = world.stage(0, &[], &[]);
        assert_ne!(first.hash, second.hash);
        world.order(&second.commit, &[0, 1, 2]);
        world.agree(&[0, 1, 2]);
    }
}

#[test]
fn a_lost_pending_commit_ends_in_a_rejoin_by_external_commit() {
    for kind in both() {
        let mut world = World::full(kind, 3);
        let before = world.members[0].rows.clone();
        let pending = world.stage(0, &[], &[]);
        world.members[0].rows = before;
        world.order(&pending.commit, &[1, 2]);
        let verdict = world.order_at(0, &pending.commit).unwrap();
        assert!(matches!(verdict, Verdict::BadPrivate(_)), "{verdict:?}");

        let commit = world.try_rejoin(0, 2).unwrap();
        let joining = world.load(0);
        assert_eq!((joining.is_member(), joining.secret()), (false, Err(Error::NotMember)));
        world.order(&commit, &[0, 1, 2]);
        world.agree(&[0, 1, 2]);
        assert_eq!(world.load(0).leaves().len(), 3);
    }
}

#[test]
fn one_who_never_got_the_welcome_joins_by_external_commit() {
    for kind in both() {
        let mut world = World::new(kind, 3);
        let pending = world.stage(0, &[1, 2], &[]);
        world.order(&pending.commit, &[0]);
        world.welcome(1, pending.welcome.as_ref().unwrap()).unwrap();
        let commit = world.try_rejoin(2, 1).unwrap();
        world.order(&commit, &[2, 1, 0]);
        world.agree(&[0, 1, 2]);
    }
}

#[test]
fn a_joiner_overtaken_by_another_commit_joins_again() {
    for kind in both() {
        let mut world = World::full(kind, 3);
        let late = world.enter(3, 3);
        let commit = world.try_rejoin(late, 0).unwrap();
        let other = world.stage(1, &[], &[]);
        world.order(&other.commit, &[0, 1, 2]);
        let verdict = world.order_at(late, &other.commit).unwrap();
        assert_eq!(verdict, Verdict::BadPrivate("another commit came first"));
        assert_eq!(world.order_at(late, &commit), Err(Error::NotMember));
        assert_eq!(world.order_at(0, &commit), Ok(Verdict::BadPublic("of another epoch")));

        let commit = world.try_rejoin(late, 0).unwrap();
        // What was ordered before the group info was made is skipped.
        let verdict = world.order_at(late, &other.commit).unwrap();
        assert_eq!(verdict, Verdict::BadPublic("of another epoch"));
        world.order(&commit, &[late, 0, 1, 2]);
        world.agree(&[0, 1, 2, late]);
    }
}

#[test]
fn a_member_in_a_new_life_is_replaced_by_another_member() {
    for kind in both() {
        let mut world = World::full(kind, 3);
        let old = world.members[2].leaf();
        world.roster.belong.remove(&old);
        let new = world.enter(2, 77);
        assert_eq!(world.try_rejoin(new, 0), Err(Error::OldLeaf));
        let pending = world.stage(0, &[new], &[2]);
        world.order(&pending.commit, &[0, 1]);
        world.welcome(new, pending.welcome.as_ref().unwrap()).unwrap();
        world.agree(&[0, 1, new]);
        let verdict = world.order_at(2, &pending.commit).unwrap();
        assert!(matches!(verdict, Verdict::Merged { is_out: true, .. }), "{verdict:?}");
    }
}

#[test]
fn a_copy_that_joins_again_puts_the_other_out() {
    for kind in both() {
        let mut world = World::full(kind, 3);
        let copy = world.enter(1, 1);
        let commit = world.try_rejoin(copy, 0).unwrap();
        world.order(&commit, &[0, 2, copy]);
        world.agree(&[0, 2, copy]);
        let verdict = world.order_at(1, &commit).unwrap();
        assert!(matches!(verdict, Verdict::Merged { is_out: true, .. }), "{verdict:?}");
    }
}

#[test]
fn the_toy_replays_byte_for_byte() {
    let run = || {
        let mut world = World::full(&Toy::SOUND, 5);
        let pending = world.stage(3, &[], &[1]);
        world.order(&pending.commit, &[0, 2, 3, 4]);
        let commit = world.try_rejoin(4, 0).unwrap();
        world.order(&commit, &[0, 2, 3, 4]);
        world.agree(&[0, 2, 3, 4]);
        world.members.into_iter().map(|member| member.rows).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}
