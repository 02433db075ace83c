//! The end of frozen objects.
//!
//! An object that is its own component becomes an ordinary one again, and is
//! deallocated as such. A dead component becomes ordinary objects that the
//! running interpreter tracks, with the counts that its internal edges make;
//! then it goes the way of cyclic garbage (gc.c): finalizers, weak references,
//! `tp_clear`. A reference of our own to each member keeps the members in place
//! until the last step, so nothing here depends on the order of members.

use std::collections::HashMap;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::record::Record;
use super::{count, headless, references};
use crate::object::edges;
use crate::object::ffi;
use crate::object::header::{self, FROZEN, GC_FINALIZED, MEMBER, Object, PROXY, PyNode};
use crate::share::interpreter;

// Relaxed throughout: a statistic that orders nothing.
static FROZEN_OBJECTS: AtomicUsize = AtomicUsize::new(0);

/// Notes that `n` objects were frozen.
pub fn note_frozen(n: usize) {
    FROZEN_OBJECTS.fetch_add(n, Ordering::Relaxed);
}

/// How many frozen objects exist in this process.
pub fn frozen_objects() -> usize {
    FROZEN_OBJECTS.load(Ordering::Relaxed)
}

/// Releases an object whose last reference was given up.
///
/// # Safety
/// `op` is a trivial component (or a proxy), its count is zero, and the caller
/// holds the GIL of some interpreter.
#[inline]
pub unsafe fn object(op: Object) {
    // SAFETY: nobody else has a reference.
    unsafe {
        make_ordinary(op);
        ffi::_Py_Dealloc(op);
    }
}

/// Turns an object without references into an ordinary one, as CPython's
/// deallocation expects it.
#[inline]
unsafe fn make_ordinary(op: Object) {
    // SAFETY: nobody else has a reference.
    unsafe {
        let flags = header::flags(op);
        header::set_flags(op, flags & !(FROZEN | PROXY));
        header::set_refcnt(op, 0);
        if flags & FROZEN != 0 {
            FROZEN_OBJECTS.fetch_sub(1, Ordering::Relaxed);
            // Deallocators of collected types expect to be tracked.
            if header::has_gc_head(op) {
                ffi::PyObject_GC_Track(op.cast());
                forget_view(op);
            }
        }
    }
}

/// Ends the resurrection of an object that was frozen by its own finalizer
/// (`_PyObject_ResurrectEnd`), and gives up the reference that it consisted in.
///
/// Returns true if the object lives on. Otherwise it is ordinary again, with a
/// count of zero, and its deallocation goes on.
///
/// # Safety
/// `op` is frozen; the caller holds a GIL and is deallocating `op`.
pub unsafe fn end_resurrection(op: Object) -> bool {
    // SAFETY: with the last reference gone, nobody else has the object.
    unsafe {
        let word = header::count_word(op);
        let Some(record) = references::component(op) else {
            if !count::decrement(word) {
                return true;
            }
            make_ordinary(op);
            return false;
        };
        if !count::decrement_member(word, record.as_ref().live()) {
            return true;
        }
        // The cycle that it is part of is garbage for the collector now.
        thaw(record);
        for &PyNode(member) in Record::members(record) {
            if member != op {
                ffi::Py_DecRef(member);
            }
        }
        Record::release(record);
        header::set_refcnt(op, header::refcnt(op) - 1);
        header::refcnt(op) > 0
    }
}

/// The view of a frozen function goes with the function.
#[inline]
unsafe fn forget_view(op: Object) {
    // SAFETY: a GIL is held.
    unsafe {
        if header::type_of(op) == &raw mut ffi::PyFunction_Type
            && let Some(state) = interpreter::existing()
        {
            state.views.forget(op);
        }
    }
}

/// Releases a component whose last live member died.
///
/// # Safety
/// The component is dead, so the caller alone has it; it holds the GIL of some
/// interpreter.
#[cold]
pub unsafe fn component(record: NonNull<Record<PyNode>>) {
    // SAFETY: as the caller says; each step says what it relies on.
    unsafe {
        let error = ffi::PyErr_GetRaisedException();
        thaw(record);
        let members = Record::members(record);
        if !finalize(members) || !is_resurrected(members) {
            clear_weak_references(members);
            for &PyNode(member) in members {
                forget_view(member);
                if header::has_gc_head(member)
                    && let Some(clear) = (*header::type_of(member)).tp_clear
                {
                    clear(member);
                    // As gc.c: a tp_clear that fails must not stop the others.
                    if !ffi::PyErr_Occurred().is_null() {
                        ffi::PyErr_WriteUnraisable(header::type_of(member).cast());
                    }
                }
            }
        }
        for &PyNode(member) in members {
            ffi::Py_DecRef(member);
        }
        Record::release(record);
        ffi::PyErr_SetRaisedException(error);
    }
}

/// Turns the members into ordinary objects, each with one reference of ours.
unsafe fn thaw(record: NonNull<Record<PyNode>>) {
    // SAFETY: nobody else sees the members, whose edges are as they were counted.
    unsafe {
        let members = Record::members(record);
        for &PyNode(member) in members {
            header::set_refcnt(member, 1);
        }
        let is_member = |op: Object| header::flags(op) & MEMBER != 0 && references::component(op) == Some(record);
        for &PyNode(member) in members {
            edges::for_each(member, &mut |target| {
                if is_member(target) {
                    header::set_refcnt(target, header::refcnt(target) + 1);
                }
            });
        }
        for &PyNode(member) in members {
            header::set_flags(member, header::flags(member) & !(FROZEN | MEMBER));
            if header::has_gc_head(member) {
                (*header::gc_head(member)).prev &= GC_FINALIZED;
                ffi::PyObject_GC_Track(member.cast());
            } else {
                headless::remove(member);
            }
        }
        FROZEN_OBJECTS.fetch_sub(members.len(), Ordering::Relaxed);
    }
}

/// Runs finalizers, each once. Returns whether there were any.
unsafe fn finalize(members: &[PyNode]) -> bool {
    let mut any = false;
    for &PyNode(member) in members {
        // SAFETY: our reference keeps the member alive.
        unsafe {
            if (*header::type_of(member)).tp_finalize.is_some() {
                any = true;
                ffi::PyObject_CallFinalizer(member);
            }
        }
    }
    any
}

/// True if a member has references other than ours and those of other members.
unsafe fn is_resurrected(members: &[PyNode]) -> bool {
    let mut outside: HashMap<Object, usize> = members
        .iter()
        // SAFETY: our reference keeps the member alive.
        .map(|node| (node.0, unsafe { header::refcnt(node.0) } as usize - 1))
        .collect();
    for &PyNode(member) in members {
        // SAFETY: as above. An immortal member counts as resurrected anyway.
        unsafe {
            edges::for_each(member, &mut |target| {
                if let Some(n) = outside.get_mut(&target) {
                    *n = n.saturating_sub(1);
                }
            });
        }
    }
    outside.into_values().any(|n| n > 0)
}

/// Clears all weak references to the members, and only then calls callbacks, so
/// that no callback can reach a member.
unsafe fn clear_weak_references(members: &[PyNode]) {
    let mut to_call = Vec::new();
    // SAFETY: our references keep the members alive; a weak reference leaves
    // the list when it is cleared.
    unsafe {
        for &PyNode(member) in members {
            let list = ffi::imm_weakrefs(member);
            if list.is_null() {
                continue;
            }
            while !(*list).is_null() {
                let weak: *mut ffi::PyWeakReference = (*list).cast();
                if !(*weak).wr_callback.is_null() {
                    ffi::Py_IncRef(weak.cast());
                    to_call.push(weak);
                }
                ffi::_PyWeakref_ClearRef(weak);
            }
        }
        for weak in to_call {
            let callback = (*weak).wr_callback;
            let result = ffi::PyObject_CallOneArg(callback, weak.cast());
            if result.is_null() {
                ffi::PyErr_WriteUnraisable(callback);
            }
            ffi::Py_DecRef(result);
            ffi::Py_DecRef(weak.cast());
        }
    }
}
