//! A reference to a frozen object, on its way between interpreters.

use std::ffi::CStr;
use std::sync::atomic::Ordering;

use super::{c_type, transfer};
use crate::freeze::run;
use crate::lifetime::{count, references};
use crate::object::ffi;
use crate::object::header::{self, Object, PROXY};
use crate::object::raise::Raised;

/// An owned, counted reference to an object that any interpreter may use.
///
/// Whoever clones or drops one holds a GIL, whichever it is; dropping the last reference to an
/// object may run Python code.
pub struct Reference(Object);

// SAFETY: what `require_sharable` lets pass does not change, and is counted atomically.
unsafe impl Send for Reference {}
// SAFETY: as above.
unsafe impl Sync for Reference {}

impl Reference {
    /// A new reference to `op`.
    ///
    /// # Errors
    /// A Python exception is set: `op` may not be passed to another interpreter. `taker` names in it what was asked to take
    /// it.
    ///
    /// # Safety
    /// The caller holds a GIL and `op` alive.
    #[inline]
    pub unsafe fn new(op: Object, taker: &CStr) -> Result<Self, Raised> {
        // SAFETY: the caller's.
        unsafe {
            require_sharable(op, taker)?;
            take(op);
        }
        Ok(Reference(op))
    }

    /// The object, whose reference is now the caller's to give up.
    #[inline]
    #[must_use]
    pub fn into_raw(self) -> Object {
        let op = self.0;
        std::mem::forget(self);
        op
    }

    /// The object, for Python code of the running interpreter, or null with an exception: what it contains needs a
    /// module that cannot be imported here. The reference is the caller's.
    ///
    /// # Safety
    /// The caller holds a GIL. Python code may run.
    #[inline]
    #[must_use]
    pub unsafe fn into_object(self) -> Object {
        // SAFETY: the caller's.
        match unsafe { c_type::link() } {
            Ok(()) => self.into_raw(),
            Err(Raised) => std::ptr::null_mut(),
        }
    }

    /// The object, borrowed.
    #[inline]
    #[must_use]
    pub fn as_ptr(&self) -> Object {
        self.0
    }
}

impl Clone for Reference {
    #[inline]
    fn clone(&self) -> Self {
        // SAFETY: a GIL is held, by the type's contract.
        unsafe { take(self.0) };
        Reference(self.0)
    }
}

impl Drop for Reference {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the reference is ours, and a GIL is held, by the type's contract.
        unsafe { ffi::Py_DecRef(self.0) };
    }
}

/// `Py_INCREF`, without the way through CPython that a frozen object takes.
#[inline]
unsafe fn take(op: Object) {
    // SAFETY: a GIL is held and `op` alive. Relaxed: the word of a frozen object stays in the range of frozen or
    // immortal ones.
    unsafe {
        if count::is_frozen_count(header::count_word(op).load(Ordering::Relaxed)) {
            references::take(op);
        } else {
            ffi::Py_IncRef(op);
        }
    }
}

/// Raises unless `op` may be used by any interpreter, and released by it.
#[inline]
unsafe fn require_sharable(op: Object, taker: &CStr) -> Result<(), Raised> {
    // SAFETY: a GIL is held and `op` alive.
    unsafe {
        transfer::require_shared_allocator()?;
        if header::is_frozen(op) || header::flags(op) & PROXY == 0 && run::is_frozen(op)? {
            return Ok(());
        }
        refuse(op, taker);
    }
    Err(Raised)
}

#[cold]
unsafe fn refuse(op: Object, taker: &CStr) {
    // SAFETY: a GIL is held and `op` alive.
    unsafe {
        let reason = if header::flags(op) & PROXY == 0 {
            c"is mutable: freeze() it first"
        } else {
            c"stays with the interpreter that made it"
        };
        ffi::PyErr_Format(
            ffi::PyExc_TypeError,
            c"%s takes frozen objects only, and this '%.200s' object %s".as_ptr(),
            taker.as_ptr(),
            (*header::type_of(op)).tp_name,
            reason.as_ptr(),
        );
    }
}
