use super::world::*;
#[test]
fn probe() {
    let mut world = World::of(&[A, B, C]);
    for _ in 0..8 {
        world.run(500);
        eprintln!(
            "{} leaders {:?} voters {:?} W {:?}",
            world.now,
            world.leaders(),
            world.core(A).voters().as_slice().iter().map(|v| v.peer.short()).collect::<Vec<_>>(),
            world.core(W).last()
        );
    }
}
