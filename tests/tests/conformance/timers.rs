//! What timers owe each other.

use wireframe::rt::Runtime;

scenarios! {
    timers_that_are_made_apart_tell_the_same_time
}

async fn timers_that_are_made_apart_tell_the_same_time<R: Runtime>() {
    // rule: OBS-3
    let first = R::environment().clock;
    // Ever more time lies between the two: one that counts from its own beginning is behind.
    for _ in 0..1000 {
        let before = first.now();
        let now = R::environment().clock.now();
        assert!(before <= now, "{now:?} comes after {before:?}");
        assert!(now <= first.now());
    }
}
