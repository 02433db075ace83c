//! `InterpreterLocal`: one value for each interpreter, behind one frozen object.
//!
//! The object itself only names the value. Values live in the state of their
//! interpreter, and end with it. Whoever releases the object drops the value of its own interpreter; each of the others
//! drops its own when it next tidies up.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};

use super::idle;
use crate::object::ffi;
use crate::object::header::Object;
use crate::object::memory::OutOfMemory;

/// What an `InterpreterLocal` is known by: no other one of this process has or had the same number.
#[derive(Debug)]
pub struct Name(u64);

/// The numbers in use.
static LIVE: Mutex<Option<HashSet<u64>>> = Mutex::new(None);

fn live() -> MutexGuard<'static, Option<HashSet<u64>>> {
    LIVE.lock()
}

impl Name {
    /// A new name.
    ///
    /// # Errors
    /// There is no memory.
    pub fn new() -> Result<Self, OutOfMemory> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let mut live = live();
        let live = live.get_or_insert_default();
        live.try_reserve(1)?;
        // Relaxed: only uniqueness matters.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        live.insert(number);
        Ok(Name(number))
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        if let Some(live) = live().as_mut() {
            live.remove(&self.0);
        }
    }
}

/// The values of one interpreter.
#[derive(Default)]
pub struct Locals {
    values: HashMap<u64, Object>,
    /// How many values were left when it was last tidied.
    tidied: usize,
}

impl Locals {
    /// A new reference to the value, if there is one.
    ///
    /// # Safety
    /// The caller holds the GIL of the state's interpreter.
    pub unsafe fn get(&self, name: &Name) -> Option<Object> {
        let value = *self.values.get(&name.0)?;
        // SAFETY: the table owns a reference.
        unsafe { ffi::Py_IncRef(value) };
        Some(value)
    }

    /// Stores a value, and takes over the caller's reference to it. Returns the
    /// previous value, now the caller's.
    ///
    /// # Errors
    /// [`OutOfMemory`]: the previous value stays, and the reference is still the caller's.
    pub fn set(&mut self, name: &Name, value: Object) -> Result<Option<Object>, OutOfMemory> {
        self.values.try_reserve(1)?;
        Ok(self.values.insert(name.0, value))
    }

    /// Removes the value. Returns it, now the caller's.
    pub fn reset(&mut self, name: &Name) -> Option<Object> {
        self.values.remove(&name.0)
    }

    /// Whether the values have grown so much that it is worth looking for those whose `InterpreterLocal` is gone.
    pub fn has_grown(&self) -> bool {
        self.values.len() > 2 * self.tidied + 64
    }

    /// Drops the values whose `InterpreterLocal` is gone.
    ///
    /// # Safety
    /// The caller holds the interpreter's GIL; `self` may have changed on return.
    pub unsafe fn drop_idle(&mut self) {
        let mut idle = Vec::new();
        if idle.try_reserve_exact(self.values.len()).is_err() {
            return; // the next collection comes
        }
        {
            let live = live();
            let is_live = |number: &u64| live.as_ref().is_some_and(|live| live.contains(number));
            idle.extend(self.values.extract_if(|number, _| !is_live(number)).map(|(_, value)| value));
        }
        self.tidied = self.values.len();
        for value in idle {
            // SAFETY: owned by the entry, which is gone.
            unsafe { ffi::Py_DecRef(value) };
        }
    }

    /// Gives up every value. True if there was one.
    ///
    /// # Safety
    /// As [`Locals::get`].
    pub unsafe fn clear(&mut self) -> bool {
        // SAFETY: the table owned it.
        idle::release_all(&mut self.values, |_, value| unsafe { ffi::Py_DecRef(value) })
    }
}
