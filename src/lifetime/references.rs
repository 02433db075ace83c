//! References to frozen Python objects: what the out-of-line halves of
//! `Py_INCREF` and `Py_DECREF` do.

use std::ptr::NonNull;

use super::record::Record;
use super::{count, headless, release};
use crate::object::header::{self, GC_PREV_BITS, MEMBER, Object, PyNode};

/// The component of a frozen object, or `None` if it is a trivial one.
///
/// # Safety
/// `op` is frozen and alive.
#[inline]
pub unsafe fn component(op: Object) -> Option<NonNull<Record<PyNode>>> {
    // SAFETY: the member flag and the collector word of a frozen object do not
    // change while it lives.
    unsafe {
        if header::flags(op) & MEMBER == 0 {
            None
        } else if header::has_gc_head(op) {
            let address = (*header::gc_head(op)).prev & !GC_PREV_BITS;
            NonNull::new(std::ptr::with_exposed_provenance_mut(address))
        } else {
            headless::find(op)
        }
    }
}

/// Takes a reference.
///
/// # Safety
/// `op` has a frozen count, and the caller holds it alive.
#[inline]
pub unsafe fn take(op: Object) {
    // SAFETY: a record lives as long as its component.
    unsafe {
        match component(op) {
            None => count::increment(header::count_word(op)),
            Some(record) => count::increment_member(header::count_word(op), record.as_ref().live()),
        }
    }
}

/// Takes `n` references.
///
/// # Safety
/// As [`take`].
pub unsafe fn take_many(op: Object, n: usize) {
    // SAFETY: as `take`. With one reference taken the member is above zero, and
    // the others are as those of a trivial component.
    unsafe {
        if n > 0 {
            take(op);
            count::add(header::count_word(op), n - 1);
        }
    }
}

/// Gives up a reference, and releases the object, or its component, with the last.
///
/// # Safety
/// `op` has a frozen count, and the reference is the caller's. The caller holds
/// the GIL of some interpreter; Python code may run (finalizers).
#[inline]
pub unsafe fn give_up(op: Object) {
    // SAFETY: with the last reference the object is ours alone.
    unsafe {
        match component(op) {
            None => {
                if count::decrement(header::count_word(op)) {
                    release::object(op);
                }
            }
            Some(record) => {
                if count::decrement_member(header::count_word(op), record.as_ref().live()) {
                    release::component(record);
                }
            }
        }
    }
}
