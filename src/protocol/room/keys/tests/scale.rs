//! A hundred members: sizes and times, printed with `--nocapture`.

use std::time::Duration;

use super::*;

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

pub(super) fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    #[expect(clippy::disallowed_methods, reason = "a measurement")]
    let start = std::time::Instant::now();
    let value = work();
    (value, millis(start.elapsed()))
}

#[test]
fn a_hundred_members_agree_in_small_messages() {
    let mut world = World::new(&Mls, 101);
    let rest: Vec<usize> = (1..100).collect();
    let (first, took) = timed(|| world.stage(0, &rest, &[]));
    let welcome = first.welcome.clone().unwrap();
    println!("add 99: {took:.1} ms, commit {} B, welcome {} B", first.commit.len(), welcome.len());
    world.order(&first.commit, &[0]);
    let (_, took) = timed(|| world.welcome(1, &welcome).unwrap());
    println!("join by welcome: {took:.1} ms");
    for who in &rest[1..] {
        world.welcome(*who, &welcome).unwrap();
    }
    println!("key package {} B", world.package(1).len());

    let rows = world.members[5].rows.iter();
    let bytes: usize = rows.map(|(key, value)| key.len() + value.len()).sum();
    println!("stored by one: {bytes} B in {} rows", world.members[5].rows.len());
    let (_, took) = timed(|| world.load(5));
    println!("load: {took:.1} ms");

    let mut groups: Vec<_> = (0..100).map(|who| world.load(who)).collect();
    let mut sizes = |world: &mut World, label: &str, add: &[usize], remove: &[usize]| {
        let add = add.iter().map(|who| world.package(*who)).collect();
        let remove = remove.iter().map(|who| world.members[*who].peer).collect();
        let (wish, judge) = (Wish { add, remove }, &world.roster);
        let device = &world.members[7].device;
        let (_, took) = timed(|| groups[7].stage(&wish, judge, device).unwrap());
        let staged = groups[7].pending().unwrap().clone();
        let welcome = staged.welcome.as_ref().map_or(0, Bytes::len);
        println!("{label}: {took:.1} ms, commit {} B, welcome {welcome} B", staged.commit.len());
        assert!(staged.commit.len() < 10_000, "{}", staged.commit.len());
        for (who, group) in groups.iter_mut().enumerate().filter(|(_, group)| group.is_member()) {
            let ((verdict, changes), took) =
                timed(|| group.ordered(&staged.commit, judge).unwrap());
            assert!(matches!(verdict, Verdict::Merged { .. }), "{who}: {verdict:?}");
            let rows: usize = changes.iter().map(|(_, it)| it.as_ref().map_or(0, Bytes::len)).sum();
            match who {
                5 => println!("  followed: {took:.1} ms, {rows} B in {} rows", changes.len()),
                7 => println!("  merged by its maker: {took:.1} ms"),
                _ => {}
            }
            world.members[who].store(changes);
        }
    };
    sizes(&mut world, "renew, blank tree", &[], &[]);
    sizes(&mut world, "add the 101st", &[100], &[]);
    sizes(&mut world, "remove one", &[], &[99]);
    sizes(&mut world, "renew, own path known", &[], &[]);
    let less: Vec<usize> = (0..99).collect();

    let device = Device::from_secret(&[1; 32]);
    let group = world.load(0);
    let (info, took) = timed(|| group.group_info(&device).unwrap());
    println!("group info: {took:.1} ms, {} B", info.len());
    let (commit, took) = timed(|| world.try_rejoin(98, 0).unwrap());
    println!("external commit: {took:.1} ms, {} B", commit.len());
    let (_, took) = timed(|| world.order_at(98, &commit).unwrap());
    println!("  merged by its maker in {took:.1} ms (and stored, and loaded twice)");
    world.order(&commit, &less[..98]);
    world.agree(&less);
}
