//! A cell that threads of any interpreter read and replace.
//!
//! To read is to load the value and to take a reference to it. Between the two another thread may replace the value
//! and give up the last reference. Ways to prevent that without a lock keep replaced values alive for a while (hazard
//! pointers, epochs), or count the readers of the cell beside the pointer (split counts, which need a double-word
//! compare-and-swap and a second count per value). Values here are reclaimed when their last reference goes and run
//! finalizers in the thread that drops it, so nothing may be kept longer or elsewhere. The cell therefore is a lock of
//! one byte around the value. It is held for the handful of instructions that copy the value, and take a reference to
//! it, or exchange it; nothing is released and no foreign code runs under it, so a caller may hold the GIL of its
//! interpreter while it waits.
//!
//! Checked by loom in `tests/loom_field.rs`.

use crate::object::primitive::Mutex;

/// A cell with one value. Every operation is atomic, and all of them are in one order.
///
/// `T` is a reference: [`Clone`] takes another one to the same value, and must not run foreign code.
pub struct Field<T>(Mutex<T>);

impl<T: Clone> Field<T> {
    /// A cell with that value.
    pub fn new(value: T) -> Self {
        Field(Mutex::new(value))
    }

    /// Returns the value.
    pub fn get(&self) -> T {
        self.0.lock().clone()
    }

    /// Stores a value, and returns the one that it replaced.
    pub fn swap(&self, new: T) -> T {
        std::mem::replace(&mut *self.0.lock(), new)
    }

    /// Stores a value if the current one is as expected, and returns the one that it replaced.
    ///
    /// `is_expected` compares addresses, or something as short: it runs under the lock.
    ///
    /// # Errors
    /// The current value is another one. Nothing was stored, and `new` is the caller's again.
    pub fn compare_and_swap(&self, is_expected: impl FnOnce(&T) -> bool, new: T) -> Result<T, T> {
        let mut value = self.0.lock();
        if is_expected(&value) { Ok(std::mem::replace(&mut *value, new)) } else { Err(new) }
    }
}
