//! Counts steps of work in tests, and costs nothing elsewhere.
//!
//! Every loop of the engine whose length is not given by the bytes or frames at hand
//! counts its rounds here, so that a test can show that none grows with the number of
//! live things.

#[cfg(test)]
pub(crate) use counting::step;

#[cfg(not(test))]
#[inline(always)]
pub(crate) fn step() {}

#[cfg(test)]
pub(crate) mod counting {
    extern crate std;
    use core::cell::Cell;

    std::thread_local!(static STEPS: Cell<u64> = const { Cell::new(0) });

    pub(crate) fn step() {
        STEPS.set(STEPS.get() + 1);
    }

    /// Steps that `work` takes.
    pub(crate) fn of(work: impl FnOnce()) -> u64 {
        STEPS.set(0);
        work();
        STEPS.get()
    }
}
