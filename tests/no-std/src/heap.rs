//! An allocator over a static array that never frees: enough for a few echoes.

use core::{
    alloc::{GlobalAlloc, Layout},
    cell::UnsafeCell,
    ptr,
    sync::atomic::{AtomicUsize, Ordering},
};

/// The read buffer takes 256 KiB, everything else a few.
const SIZE: usize = 1024 * 1024;

#[global_allocator]
static HEAP: Heap = Heap {
    bytes: UnsafeCell::new([0; SIZE]),
    used: AtomicUsize::new(0),
};

struct Heap {
    bytes: UnsafeCell<[u8; SIZE]>,
    used: AtomicUsize,
}

// SAFETY: `bytes` is only reached through allocations, and `used` never hands out a byte
// twice, whichever thread asks.
unsafe impl Sync for Heap {}

// SAFETY: what `alloc` returns is aligned, inside of `bytes`, large enough, and given to
// nobody else, as nothing is ever freed.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let base = self.bytes.get().cast::<u8>();
        let mut start = 0;
        let place = |used: usize| {
            let address = (base as usize).checked_add(used)?;
            let gap = address.wrapping_neg() & (layout.align() - 1);
            start = used.checked_add(gap)?;
            let end = start.checked_add(layout.size())?;
            (end <= SIZE).then_some(end)
        };
        match self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, place)
        {
            // SAFETY: `start` is at most SIZE.
            Ok(_) => unsafe { base.add(start) },
            Err(_) => ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}
