//! Allocations that fail on purpose, so that a test can try every one in turn.
//!
//! A thread names the range of its own coming allocations that are to fail. With the feature `cpython` the global
//! allocator asks, so that no allocation of the core is left out; without it the program that links the core has its
//! own allocator, and [`memory::allocate`](super::memory::allocate) asks.

use core::cell::Cell;
use core::sync::atomic::{AtomicUsize, Ordering};

/// How many threads have named a range. Asked first, so that allocating costs one load while there is none.
///
/// Never loom's, and relaxed: a thread reads it for what it has itself written.
static THREADS: AtomicUsize = AtomicUsize::new(0);

#[derive(Clone, Copy)]
struct Range {
    first: usize,
    last: usize,
    /// Allocations since the range was named, and how many of them failed.
    asked: usize,
    failed: usize,
}

impl Range {
    const NONE: Range = Range { first: usize::MAX, last: 0, asked: 0, failed: 0 };

    fn is_none(self) -> bool {
        self.first > self.last
    }
}

thread_local! {
    static RANGE: Cell<Range> = const { Cell::new(Range::NONE) };
}

/// Makes this thread's allocations number `first` to `last` from now on fail, the next one being number 1.
///
/// It ends an earlier range of this thread.
pub fn begin(first: usize, last: usize) {
    end();
    let range = Range { first, last, ..Range::NONE };
    if !range.is_none() {
        THREADS.fetch_add(1, Ordering::Relaxed);
        RANGE.set(range);
    }
}

/// Lets all allocations of this thread succeed again. Returns how many have failed since [`begin`].
pub fn end() -> usize {
    let range = RANGE.replace(Range::NONE);
    if !range.is_none() {
        THREADS.fetch_sub(1, Ordering::Relaxed);
    }
    range.failed
}

/// Counts an allocation, and returns whether it must fail.
#[inline]
#[must_use]
pub fn fails() -> bool {
    THREADS.load(Ordering::Relaxed) != 0 && fails_in_range()
}

#[cold]
fn fails_in_range() -> bool {
    let mut range = RANGE.get();
    if range.is_none() {
        return false;
    }
    range.asked += 1;
    let fails = range.first <= range.asked && range.asked <= range.last;
    range.failed += usize::from(fails);
    RANGE.set(range);
    fails
}

#[cfg(feature = "cpython")]
mod allocator {
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::ptr;

    struct Allocator;

    // SAFETY: all is passed on to the system's allocator; a null pointer says that there is no memory, and leaves a
    // block that was to be resized as it was.
    unsafe impl GlobalAlloc for Allocator {
        #[inline]
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            // SAFETY: by the caller.
            if super::fails() { ptr::null_mut() } else { unsafe { System.alloc(layout) } }
        }

        #[inline]
        unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
            // SAFETY: by the caller.
            if super::fails() { ptr::null_mut() } else { unsafe { System.alloc_zeroed(layout) } }
        }

        #[inline]
        unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
            // SAFETY: by the caller.
            if super::fails() { ptr::null_mut() } else { unsafe { System.realloc(block, layout, size) } }
        }

        #[inline]
        unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
            // SAFETY: by the caller.
            unsafe { System.dealloc(block, layout) }
        }
    }

    #[global_allocator]
    static ALLOCATOR: Allocator = Allocator;
}
