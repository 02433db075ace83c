//! Frozen strings in several interpreters.
//!
//! A string computes its hash on demand, and may be *interned*: each interpreter has a table of its own, that holds its
//! strings without a reference, so that a string takes itself out when it is deallocated. Only the
//! interpreter that made a string could do that, and it may not be the one that releases it: a string that is
//! frozen leaves the table. Interned strings that are immortal stay; no interpreter releases them once frozen, since
//! nobody counts who holds them. Those of interpreters that are gone are *kept*, and interned again by any interpreter
//! that would make an equal one: code that runs in one interpreter after the other adds nothing.

use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicI32, Ordering};

use parking_lot::RwLock;

use crate::object::ffi;
use crate::object::header::{self, FROZEN, Object};

/// Whether a table of its interpreter holds the string.
///
/// # Safety
/// `op` is a live, exact string.
#[inline]
pub unsafe fn is_interned(op: Object) -> bool {
    // SAFETY: the caller's.
    unsafe { (*op.cast::<ffi::PyASCIIObject>()).state.interned() != 0 }
}

/// Settles what CPython would write later into a string that is being frozen.
///
/// # Safety
/// `op` is an exact string with a mutable count, of the running interpreter; a GIL is held. No Python code runs.
#[inline]
pub unsafe fn settle(op: Object) {
    // SAFETY: the caller's.
    unsafe {
        let string = op.cast::<ffi::PyASCIIObject>();
        if (*string).hash == -1 {
            ffi::PyObject_Hash(op);
        }
        if is_interned(op) {
            ffi::imm_unintern(op);
        }
    }
}

/// Notes that a frozen graph may hold an immortal object, so that the end of its interpreter does not release it.
///
/// # Safety
/// `op` is immortal and alive, and of the running interpreter, or frozen.
#[inline]
pub unsafe fn keep_immortal(op: Object) {
    // SAFETY: the caller's. A string does not change anyway.
    unsafe {
        let flags = header::flags(op);
        if flags & FROZEN == 0 && header::type_of(op) == &raw mut ffi::PyUnicode_Type {
            header::set_flags(op, flags | FROZEN);
        }
    }
}

/// An exact string, compared by value.
struct ByValue(Object);

// SAFETY: only read, which any thread may do once the hash is known.
unsafe impl Send for ByValue {}
// SAFETY: as for `Send`.
unsafe impl Sync for ByValue {}

impl Hash for ByValue {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // SAFETY: an exact string has a hash, the same one in all interpreters of a process.
        state.write_isize(unsafe { ffi::PyObject_Hash(self.0) });
    }
}

impl PartialEq for ByValue {
    fn eq(&self, other: &Self) -> bool {
        // SAFETY: exact strings compare without Python code.
        unsafe { ffi::PyUnicode_Equal(self.0, other.0) == 1 }
    }
}

impl Eq for ByValue {}

static KEPT: RwLock<Option<HashSet<ByValue>>> = RwLock::new(None);
/// Whether there may be any, to be asked without a lock.
#[unsafe(no_mangle)]
pub static _PyImmutable_KeepsStrings: AtomicI32 = AtomicI32::new(0);

/// Keeps an immortal string that frozen graphs may hold, and whose interpreter ends.
///
/// # Safety
/// `op` is an exact string, interned and immortal; nobody will release it before [`forget`].
pub unsafe fn keep(op: Object) {
    let mut kept = KEPT.write();
    let kept = kept.get_or_insert_default();
    // Without memory it is not found again, and that is all.
    if kept.try_reserve(1).is_ok() {
        kept.insert(ByValue(op));
        // Relaxed: whoever misses it makes another string, as if this came a moment later.
        _PyImmutable_KeepsStrings.store(1, Ordering::Relaxed);
    }
}

/// What an interpreter interns in place of `op`, whose reference is used up: the string that is kept and equal, which is
/// frozen and immortal, or a copy of a frozen string, which cannot tell in which interpreters it is interned, or `op`.
/// `None` without memory: `op` is still the caller's, and no exception is set.
///
/// # Safety
/// `op` is an exact string that nobody interned, of the running interpreter, or frozen; a GIL is held.
pub unsafe fn intern_instead(op: Object) -> Option<Object> {
    // SAFETY: the caller's.
    unsafe {
        let kept = KEPT.read().as_ref().and_then(|strings| strings.get(&ByValue(op)).map(|found| found.0));
        let instead = match kept {
            Some(kept) => kept,
            None if header::is_frozen(op) => {
                let (kind, data) = (ffi::PyUnicode_KIND(op), ffi::PyUnicode_DATA(op));
                let copy = ffi::PyUnicode_FromKindAndData(kind, data, ffi::PyUnicode_GetLength(op));
                if copy.is_null() {
                    ffi::PyErr_Clear();
                    return None;
                }
                copy
            }
            None => return Some(op),
        };
        ffi::Py_DecRef(op);
        Some(instead)
    }
}

/// Keeps nothing any more: the main interpreter ends, which releases what it has interned, and is the last.
pub fn forget() {
    *KEPT.write() = None;
    _PyImmutable_KeepsStrings.store(0, Ordering::Relaxed);
}
