//! Frozen strings in several interpreters.
//!
//! A string computes its hash on demand, and may be *interned*: each interpreter has a table of its own, that holds its
//! strings without a reference, so that a string takes itself out when it is deallocated. Only the
//! interpreter that made a string could do that, and it may not be the one that releases it: a string that is
//! frozen leaves the table. Interned strings that are immortal stay; no interpreter releases them once frozen.

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
