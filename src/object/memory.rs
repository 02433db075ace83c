//! Memory of the runtime itself: the bookkeeping of a freeze, and component records.
//!
//! Everything is fallible, since a freeze that finds no memory must leave all objects mutable. [`fail_after`] makes
//! the n-th allocation of a thread fail, so that tests can try every one in turn.

use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::NonNull;
use std::alloc;

/// There was no memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory;

thread_local! {
    /// How many more allocations of this thread succeed; `usize::MAX` for all of them.
    static GRANTED: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Lets the next `successes` allocations of this thread succeed and all later ones fail; `None` ends that.
pub fn fail_after(successes: Option<usize>) {
    GRANTED.set(successes.unwrap_or(usize::MAX));
}

/// Returns uninitialised memory of the given layout, or `None` if there is none. The size must not be zero.
#[must_use]
pub fn allocate(layout: Layout) -> Option<NonNull<u8>> {
    debug_assert!(layout.size() > 0);
    let granted = GRANTED.get();
    if granted != usize::MAX {
        GRANTED.set(granted.checked_sub(1)?);
    }
    // SAFETY: the layout has a size above zero.
    NonNull::new(unsafe { alloc::alloc(layout) })
}

/// Gives memory back.
///
/// # Safety
/// `block` came from [`allocate`] with the same layout, on any thread, and nobody uses it any more.
pub unsafe fn release(block: NonNull<u8>, layout: Layout) {
    // SAFETY: by the caller.
    unsafe { alloc::dealloc(block.as_ptr(), layout) }
}
