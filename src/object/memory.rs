//! Memory of the runtime itself: the bookkeeping of a freeze, component records, texts of errors.
//!
//! Everything is fallible, since a freeze that finds no memory must leave all objects mutable, and Rust's own
//! collections abort the process. They serve all the same: `try_reserve` comes before whatever makes one grow, and
//! what the standard library can only do by aborting is here.

use core::alloc::Layout;
use core::fmt::{self, Write};
use core::ptr::NonNull;
use std::alloc;
use std::collections::TryReserveError;

use super::fault;

/// There was no memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory;

impl From<TryReserveError> for OutOfMemory {
    fn from(_: TryReserveError) -> Self {
        OutOfMemory
    }
}

/// Returns uninitialised memory of the given layout, or `None` if there is none. The size must not be zero.
#[must_use]
pub fn allocate(layout: Layout) -> Option<NonNull<u8>> {
    debug_assert!(layout.size() > 0);
    // The allocator of the feature `cpython` asks by itself.
    if cfg!(not(feature = "cpython")) && fault::fails() {
        return None;
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

/// Returns `value` in a block of its own.
///
/// # Errors
/// [`OutOfMemory`]; the value is dropped.
pub fn boxed<T>(value: T) -> Result<Box<T>, OutOfMemory> {
    const { assert!(size_of::<T>() > 0) };
    let block = allocate(Layout::new::<T>()).ok_or(OutOfMemory)?.cast::<T>();
    // SAFETY: fresh memory of the layout of `T`, from the allocator that a box gives it back to.
    unsafe {
        block.write(value);
        Ok(Box::from_raw(block.as_ptr()))
    }
}

/// Returns all items.
///
/// # Errors
/// [`OutOfMemory`].
pub fn collect<T>(items: impl IntoIterator<Item = T>) -> Result<Vec<T>, OutOfMemory> {
    let mut collected = Vec::new();
    for item in items {
        collected.try_reserve(1)?;
        collected.push(item);
    }
    Ok(collected)
}

/// Returns the text that `format_args!` describes, which holds nothing whose formatting allocates or fails by itself.
///
/// # Errors
/// [`OutOfMemory`].
pub fn text(arguments: fmt::Arguments<'_>) -> Result<String, OutOfMemory> {
    struct Fallible(String);
    impl Write for Fallible {
        fn write_str(&mut self, part: &str) -> fmt::Result {
            self.0.try_reserve(part.len()).map_err(|_| fmt::Error)?;
            self.0.push_str(part);
            Ok(())
        }
    }
    let mut text = Fallible(String::new());
    text.write_fmt(arguments).map_err(|_| OutOfMemory)?;
    Ok(text.0)
}

/// As `format!`, but returns a `Result`: see [`text`].
#[cfg(feature = "cpython")]
macro_rules! try_format {
    ($($argument:tt)*) => { $crate::object::memory::text(format_args!($($argument)*)) };
}
#[cfg(feature = "cpython")]
pub(crate) use try_format;
