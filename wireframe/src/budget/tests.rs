//! Exact sums, and who is chosen.

use std::num::NonZeroUsize;

use wireframe_proto::{ConnectionId, LimitExceeded, Peer};

use super::{Holding, MemoryBudget, NAME};
use crate::{push::Control, sync::Arc};

fn budget(limit: usize) -> MemoryBudget {
    MemoryBudget::new(NonZeroUsize::new(limit).unwrap())
}

fn control(id: u64) -> Arc<Control> {
    Arc::new(Control::new(&Peer::client_of(ConnectionId(id))))
}

/// A connection as its budget sees it.
struct One {
    control: Arc<Control>,
    holding: Holding,
}

impl One {
    fn new(budget: &MemoryBudget, id: u64, held: usize) -> Self {
        let control = control(id);
        let holding = Holding::new(budget, &control);
        holding.set(held);
        Self { control, holding }
    }

    /// Whether it has been told to close.
    fn is_condemned(&self) -> bool {
        self.control.take_asked().is_condemned()
    }
}

/// Those that have been told to close since this was last asked.
fn condemned(ones: &[One]) -> Vec<u64> {
    let condemned = ones.iter().filter(|one| one.is_condemned());
    condemned.map(|one| one.control.id().0).collect()
}

#[test]
fn what_is_used_is_what_all_hold() {
    // rule: LIM-6
    let budget = budget(100);
    assert_eq!(MemoryBudget::default().limit(), 512 << 20);
    let (one, two) = (One::new(&budget, 1, 30), One::new(&budget.clone(), 2, 40));
    assert_eq!(budget.used(), 70);
    one.holding.set(10);
    two.holding.set(41);
    assert_eq!(budget.used(), 51);
    drop(one);
    assert_eq!(budget.used(), 41);
    drop(two);
    assert_eq!((budget.used(), budget.limit()), (0, 100));
}

#[test]
fn it_is_exhausted_at_its_limit_and_exceeded_beyond_it() {
    // rule: LIM-6
    let budget = budget(100);
    let one = One::new(&budget, 1, 99);
    assert!(!budget.is_exhausted());
    one.holding.set(100);
    assert!(budget.is_exhausted() && !budget.is_over());
    budget.close_largest();
    assert!(!one.is_condemned());
    one.holding.set(101);
    assert!(budget.is_exhausted() && budget.is_over());
}

#[test]
fn who_waits_is_told_once_when_there_is_memory_again() {
    // rule: LIM-6
    let budget = budget(100);
    let waits = control(7);
    let has_memory = || waits.take_asked().has_memory();
    assert!(!budget.wait_to_push(&waits), "there is memory");
    let (one, two) = (One::new(&budget, 1, 80), One::new(&budget, 2, 80));
    assert!(budget.wait_to_push(&waits) && budget.wait_to_push(&waits));
    one.holding.set(21);
    assert!(!has_memory(), "101 are used");
    two.holding.set(78);
    assert!(has_memory());
    // Nobody was entered since.
    one.holding.set(100);
    drop(one);
    assert!(!has_memory());

    two.holding.set(100);
    assert!(budget.wait_to_push(&waits));
    budget.stop_waiting(waits.id());
    drop(two);
    assert!(!has_memory(), "it does not wait any more");
}

#[test]
fn who_does_not_read_is_told_when_no_more_is_used_than_may_be() {
    // rule: LIM-6
    let budget = budget(100);
    let (reads, pushes) = (control(7), control(8));
    let one = One::new(&budget, 1, 100);
    assert!(!budget.wait_to_read(&reads), "it is not passed");
    one.holding.set(101);
    assert!(budget.wait_to_read(&reads) && budget.wait_to_push(&pushes));
    one.holding.set(100);
    assert!(reads.take_asked().has_memory());
    // Told too, it finds that there is none, and waits again.
    assert!(pushes.take_asked().has_memory());
    assert!(budget.wait_to_push(&pushes));
    one.holding.set(99);
    assert!(pushes.take_asked().has_memory() && !reads.take_asked().has_memory());
}

#[test]
fn an_excess_that_a_victim_leaves_behind_is_somebody_elses_to_see_to() {
    // rule: LIM-6
    let budget = budget(100);
    let waiting = [7, 8].map(control);
    let ones = [60, 50].map(|held| One::new(&budget, held as u64, held));
    let victim = One::new(&budget, 1, 70);
    budget.close_largest();
    assert!(victim.is_condemned() && budget.is_over());
    for control in &waiting {
        assert!(budget.wait_to_read(control));
    }
    drop(victim);
    let told = waiting.each_ref().map(|one| one.take_asked().has_memory());
    assert_eq!(told, [true, false]);
    drop(ones);
    assert!(waiting[1].take_asked().has_memory());
}

#[test]
fn who_has_ended_is_not_remembered() {
    // rule: LIM-6
    let budget = budget(100);
    let _other = One::new(&budget, 1, 101);
    let One { control, holding } = One::new(&budget, 2, 5);
    assert!(budget.wait_to_read(&control));
    drop(holding);
    assert_eq!(Arc::strong_count(&control), 1);
}

#[test]
fn one_excess_costs_the_largest_holder_and_nobody_else() {
    // rule: LIM-6
    let budget = budget(100);
    let ones = [(1, 10), (2, 30), (3, 50), (4, 20)].map(|(id, held)| One::new(&budget, id, held));
    for _ in 0..4 {
        budget.close_largest();
    }
    assert_eq!(condemned(&ones), [3]);
    let limit = LimitExceeded {
        limit: NAME,
        value: 100,
        got: 110,
    };
    assert_eq!(ones[2].holding.sentence(), Some(limit));
    assert_eq!(ones[1].holding.sentence(), None);
    assert!(budget.is_exhausted() && !budget.is_over());

    // It does not come to run, and the others have grown by what it is about to give back.
    ones[0].holding.set(60);
    assert_eq!(budget.used(), 160);
    assert!(budget.is_over());
    budget.close_largest();
    assert_eq!(condemned(&ones), [1]);
    assert!(!budget.is_over());
}

#[test]
fn a_larger_excess_costs_as_many_as_it_takes() {
    // rule: LIM-6
    let budget = budget(100);
    let ones: Vec<_> = (1..=9).map(|id| One::new(&budget, id, 40)).collect();
    while budget.is_over() {
        budget.close_largest();
    }
    // Of equals it is those who came first. The last two would use 80.
    assert_eq!(condemned(&ones), [1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn what_is_condemned_follows_what_its_holder_gives_back() {
    // rule: LIM-6
    let budget = budget(100);
    let (victim, other) = (One::new(&budget, 1, 90), One::new(&budget, 2, 60));
    budget.close_largest();
    assert!(victim.is_condemned());
    // It gives most of that back as it closes, and what others take on counts again.
    victim.holding.set(5);
    other.holding.set(100);
    assert!(!budget.is_over());
    other.holding.set(101);
    assert!(budget.is_over());
    victim.holding.set(7);
    assert!(budget.is_over());
    drop(victim);
    assert_eq!(budget.used(), 101);
    budget.close_largest();
    assert!(other.is_condemned() && !budget.is_over());
    drop(other);
    assert_eq!(budget.used(), 0);
    // Nothing of them is left to count for others.
    let next = One::new(&budget, 3, 101);
    assert!(budget.is_over());
    budget.close_largest();
    assert!(next.is_condemned());
}

#[test]
fn each_search_looks_at_sixty_four_others() {
    // rule: LIM-6
    let budget = budget(100);
    // The largest is the last.
    let ones: Vec<_> = (1..=200)
        .zip(1..)
        .map(|(id, held)| One::new(&budget, id, held))
        .collect();
    budget.close_largest();
    assert_eq!(condemned(&ones), [64]);
    budget.close_largest();
    assert_eq!(condemned(&ones), [128]);
    budget.close_largest();
    assert_eq!(condemned(&ones), [192]);
    // The last eight, and the first of those that were looked at before.
    budget.close_largest();
    assert_eq!(condemned(&ones), [200]);
    budget.close_largest();
    assert_eq!(condemned(&ones), [120]);
}

#[test]
fn who_holds_nothing_is_not_closed() {
    // rule: LIM-6
    let budget = budget(100);
    let mut ones: Vec<_> = (1..=64).map(|id| One::new(&budget, id, 0)).collect();
    ones.push(One::new(&budget, 65, 101));
    budget.close_largest();
    assert_eq!(condemned(&ones), []);
    budget.close_largest();
    assert_eq!(condemned(&ones), [65]);
}

#[test]
fn sums_are_exact_whatever_several_threads_do() {
    // rule: LIM-6
    let budget = budget(1_000);
    let rounds = if cfg!(miri) { 20 } else { 5_000 };
    std::thread::scope(|scope| {
        for (id, offset) in [(0, 0), (1, 131), (2, 262), (3, 393)] {
            let budget = &budget;
            scope.spawn(move || {
                let mut one = One::new(budget, id, 0);
                for n in 0..rounds {
                    one.holding.set((n * 7 + offset) % 900);
                    if budget.is_over() {
                        budget.close_largest();
                    }
                    if one.is_condemned() {
                        assert!(one.holding.sentence().is_some());
                        one.holding.set(3);
                        drop(one);
                        one = One::new(budget, id, 0);
                    }
                }
            });
        }
    });
    assert_eq!(budget.used(), 0);
    // Nor is anything left condemned: one byte too many is seen.
    let one = One::new(&budget, 9, 1_001);
    assert!(budget.is_over());
    budget.close_largest();
    assert!(one.is_condemned());
}
