//! `InterpreterLocal`: one value for each interpreter, behind one frozen object.
//!
//! The object itself only names the value. Values live in the state of their
//! interpreter, and end with it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::object::ffi;
use crate::object::header::Object;
use crate::object::memory::OutOfMemory;

/// The values of one interpreter, by number of the `InterpreterLocal`.
#[derive(Default)]
pub struct Locals {
    values: HashMap<u64, Object>,
}

/// A number that no other `InterpreterLocal` of this process has or had.
pub fn new_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    // Relaxed: only uniqueness matters.
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Locals {
    /// A new reference to the value, if there is one.
    ///
    /// # Safety
    /// The caller holds the GIL of the state's interpreter.
    pub unsafe fn get(&self, number: u64) -> Option<Object> {
        let value = *self.values.get(&number)?;
        // SAFETY: the table owns a reference.
        unsafe { ffi::Py_IncRef(value) };
        Some(value)
    }

    /// Stores a value, and takes over the caller's reference to it. Returns the
    /// previous value, now the caller's.
    ///
    /// # Errors
    /// [`OutOfMemory`]: the previous value stays, and the reference is still the caller's.
    pub fn set(&mut self, number: u64, value: Object) -> Result<Option<Object>, OutOfMemory> {
        self.values.try_reserve(1)?;
        Ok(self.values.insert(number, value))
    }

    /// Removes the value. Returns it, now the caller's.
    pub fn reset(&mut self, number: u64) -> Option<Object> {
        self.values.remove(&number)
    }

    /// Gives up every value.
    ///
    /// # Safety
    /// As [`Locals::get`].
    pub unsafe fn clear(&mut self) {
        for (_, value) in std::mem::take(&mut self.values) {
            // SAFETY: the table owned it.
            unsafe { ffi::Py_DecRef(value) };
        }
    }
}
