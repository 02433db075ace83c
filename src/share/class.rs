//! Frozen classes in several interpreters.
//!
//! CPython writes into a class long after it was made: it gives it a version for its caches, counts and extends
//! the key table that the instances share, and notes its subclasses. A frozen class has all of that settled when it is
//! frozen, or kept apart for each interpreter.

use std::collections::HashMap;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{idle, interpreter, namesake};
use crate::object::ffi;
use crate::object::header::{Object, Type};
use crate::object::raise::{self, Raised};

/// The subclasses that one interpreter has of frozen classes: a dict for each, as in `tp_subclasses`, owned.
///
/// An entry may outlive its class, which another interpreter released. Its weak references are dead then.
#[derive(Default)]
pub struct Subclasses {
    dicts: HashMap<Type, Object>,
}

impl Subclasses {
    /// The dict for `class`, borrowed, or null.
    pub fn get(&self, class: Type) -> Object {
        self.dicts.get(&class).copied().unwrap_or(ptr::null_mut())
    }

    /// Makes room for `n` more entries.
    ///
    /// # Errors
    /// MemoryError is set.
    ///
    /// # Safety
    /// The caller holds the GIL.
    pub unsafe fn reserve(&mut self, n: usize) -> Result<(), Raised> {
        // SAFETY: the caller's.
        self.dicts.try_reserve(n).map_err(|error| unsafe { raise::no_memory(error.into()) })
    }

    /// Sets the dict for `class`, and takes over the reference; null removes it. Returns the one before, or null.
    ///
    /// For a new entry there is room: see [`Subclasses::reserve`].
    pub fn set(&mut self, class: Type, dict: Object) -> Object {
        let before = if dict.is_null() { self.dicts.remove(&class) } else { self.dicts.insert(class, dict) };
        before.unwrap_or(ptr::null_mut())
    }

    /// Drops the dicts without a living subclass, those of classes that are gone among them.
    ///
    /// # Safety
    /// The caller holds the interpreter's GIL; `self` may have changed on return.
    pub unsafe fn drop_idle(&mut self) {
        // SAFETY: the dicts hold weak references.
        let is_idle = |_: &_, dict: &mut Object| unsafe { !has_living_value(*dict) };
        // SAFETY: owned by the entry, which is gone.
        idle::take_idle(&mut self.dicts, is_idle).into_iter().for_each(|dict| unsafe { ffi::Py_DecRef(dict) });
    }

    /// Drops every dict. True if there was one.
    ///
    /// # Safety
    /// As [`Subclasses::drop_idle`].
    pub unsafe fn clear(&mut self) -> bool {
        // SAFETY: as there.
        idle::release_all(&mut self.dicts, |_, dict| unsafe { ffi::Py_DecRef(dict) })
    }
}

unsafe fn has_living_value(dict: Object) -> bool {
    // SAFETY: an exact dict of weak references, which nothing changes meanwhile.
    unsafe {
        let mut position = 0;
        let mut reference = ptr::null_mut();
        while ffi::PyDict_Next(dict, &raw mut position, ptr::null_mut(), &raw mut reference) != 0 {
            if ffi::PyWeakref_IsDead(reference) == 0 {
                return true;
            }
        }
        false
    }
}

/// Settles what CPython would write later into a class that was just frozen.
///
/// # Safety
/// `class` is a heap type, frozen and seen by nobody else yet; the GIL of its interpreter is held, and its
/// [`Subclasses`] have room.
pub unsafe fn settle(class: Type) {
    // SAFETY: the caller's.
    unsafe {
        // Drops what caches hold for the class: call sites that were specialised for it would run its functions
        // directly, and not their views.
        ffi::PyType_Modified(class);
        (*class).tp_version_tag = new_version();
        (*class).tp_watched = 0;
        seal_shared_keys(class);
        namesake::mark(class);
        let subclasses = ptr::replace(&raw mut (*class).tp_subclasses, ptr::null_mut()).cast::<ffi::PyObject>();
        if !subclasses.is_null()
            && let Some(state) = interpreter::existing()
        {
            state.subclasses.set(class, subclasses);
        }
    }
}

/// Gives a class that is no longer frozen its subclasses back.
///
/// # Safety
/// `class` is an ordinary heap type again; a GIL is held.
pub unsafe fn unsettle(class: Type) {
    // SAFETY: the running interpreter's.
    unsafe {
        if let Some(state) = interpreter::existing() {
            (*class).tp_subclasses = state.subclasses.set(class, ptr::null_mut()).cast();
        }
        namesake::unmark(class);
        // Its version is of the frozen range, in which no other class will have it.
        ffi::PyType_Modified(class);
    }
}

/// A version that no other type, and no other function, of this process has or had; 0, none, when they have run out.
///
/// Each interpreter numbers its own classes from the same start, so two of them may have different classes with one
/// number. Caches must not take one for the other. So it is with functions.
pub fn new_version() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(ffi::_Py_FROZEN_VERSION);
    // Relaxed: only uniqueness matters.
    NEXT.fetch_update(
        Ordering::Relaxed,
        Ordering::Relaxed,
        |next| if next == 0 { None } else { Some(next.wrapping_add(1)) },
    )
    .unwrap_or(0)
}

/// A version for the keys of dicts, from the upper half, which no interpreter's own numbers reach in practice.
pub fn new_keys_version() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1 << 31);
    // Relaxed: as above.
    NEXT.fetch_update(
        Ordering::Relaxed,
        Ordering::Relaxed,
        |next| if next == 0 { None } else { Some(next.wrapping_add(1)) },
    )
    .unwrap_or(0)
}

/// The names that instances share are settled: no more are added, and their table is counted atomically.
unsafe fn seal_shared_keys(class: Type) {
    // SAFETY: the caller's: nobody else uses the table yet.
    unsafe {
        let keys = ffi::imm_shared_keys(class);
        if !keys.is_null() && ffi::imm_keys_are_sealed(keys) == 0 {
            ffi::imm_seal_keys(keys);
            (*keys).dk_version = new_keys_version();
        }
    }
}
