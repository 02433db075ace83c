//! The end of frozen objects.
//!
//! An object that is its own component becomes an ordinary one again, and is
//! deallocated as such. A dead component becomes ordinary objects that the
//! running interpreter tracks, with the counts that its internal edges make;
//! then it goes the way of cyclic garbage (gc.c): finalizers, weak references,
//! `tp_clear`. A reference of our own to each member keeps the members in place
//! until the last step, so nothing here depends on the order of members.

use std::cell::Cell;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::record::Record;
use super::references::{self, Dead};
use super::{count, headless, pinned, site, weak};
use crate::object::edges;
use crate::object::ffi;
use crate::object::header::{self, FROZEN, GC_FINALIZED, MEMBER, Object, PARTED, PROXY, PyNode};
use crate::share::{cfunction, class, interpreter, module, module_type, part};

// Relaxed throughout: a statistic that orders nothing. With one interpreter only, its GIL makes every change whole.
static FROZEN_OBJECTS: AtomicUsize = AtomicUsize::new(0);

/// Notes that `n` objects were frozen.
pub fn note_frozen(n: usize) {
    if references::is_shared() {
        FROZEN_OBJECTS.fetch_add(n, Ordering::Relaxed);
    } else {
        FROZEN_OBJECTS.store(frozen_objects() + n, Ordering::Relaxed);
    }
}

#[inline]
fn note_released(n: usize) {
    if references::is_shared() {
        FROZEN_OBJECTS.fetch_sub(n, Ordering::Relaxed);
    } else {
        FROZEN_OBJECTS.store(frozen_objects() - n, Ordering::Relaxed);
    }
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
        if header::flags(op) & PROXY != 0 {
            if module::send_home(op) {
                return;
            }
            module::Modules::drop_twin(op);
        }
        let referent = if edges::is_weak_reference(header::type_of(op)) { weak::take_referent(op) } else { None };
        make_ordinary(op);
        ffi::imm_dealloc(op);
        if let Some(referent) = referent {
            ffi::Py_DecRef(referent);
        }
    }
}

/// Turns an object without references into an ordinary one, as CPython's
/// deallocation expects it.
#[inline]
unsafe fn make_ordinary(op: Object) {
    // SAFETY: nobody else has a reference.
    unsafe {
        let flags = header::flags(op);
        if flags & FROZEN != 0 {
            weak::detach(op);
        }
        header::set_flags(op, flags & !(FROZEN | PROXY));
        header::set_owner(op, 0);
        header::set_refcnt(op, 0);
        if flags & PROXY != 0 {
            if header::has_gc_head(op) {
                ffi::PyObject_GC_Track(op.cast());
            }
        } else if flags & FROZEN != 0 {
            if header::type_of(op) == cfunction::frozen_type() {
                cfunction::unsettle(op);
            } else if header::type_of(op) == module_type::module_type() {
                module::unsettle(op);
            }
            note_released(1);
            site::forget(op);
            // Deallocators of collected types expect to be tracked.
            if header::has_gc_head(op) {
                ffi::PyObject_GC_Track(op.cast());
                forget_view(op);
            }
            if flags & PARTED != 0 {
                part::unsettle(op);
            }
            if (*header::type_of(op)).tp_finalize.is_some() {
                make_dict_ordinary(op);
            }
        }
    }
}

/// The attributes of an object whose finalizer will run are its own, and so mutable with it, also where they are in a
/// dict that is a component of its own.
unsafe fn make_dict_ordinary(op: Object) {
    // SAFETY: a dict with one reference, which is that of op, is nobody else's.
    unsafe {
        let slot = ffi::imm_dict_slot(op);
        if slot.is_null() || (*slot).is_null() {
            return;
        }
        let dict = *slot;
        let word = header::count_word(dict).load(Ordering::Acquire);
        if header::flags(dict) & (FROZEN | MEMBER) == FROZEN && count::count_of(word) == Some(1) {
            header::set_flags(dict, header::flags(dict) & !FROZEN);
            header::set_refcnt(dict, 1);
            note_released(1);
            site::forget(dict);
            ffi::PyObject_GC_Track(dict.cast());
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
        let record = match references::lower(op) {
            None => return true,
            Some(dead) if pinned::is_pinned() => {
                pinned::keep(dead);
                return true;
            }
            Some(Dead::Object(op)) => {
                make_ordinary(op);
                return false;
            }
            Some(Dead::Component(record)) => record,
        };
        // The cycle that it is part of is garbage for the collector now.
        thaw(record);
        for &PyNode(member) in Record::members(record) {
            if member != op {
                ffi::Py_DecRef(member);
            }
        }
        Record::release(record);
        header::set_refcnt(op, header::refcnt(op) - 1);
        references::debug::note_given_up();
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
    let level = LEVEL.get();
    if level == MOST_LEVELS {
        // SAFETY: the record of a dead component is ours.
        unsafe { record.as_ref().link(PENDING.replace(Some(record))) };
        return;
    }
    LEVEL.set(level + 1);
    // SAFETY: the caller's; what is pending is dead.
    unsafe {
        tear_down(record);
        while level + 1 == MOST_LEVELS
            && let Some(pending) = PENDING.get()
        {
            PENDING.set(pending.as_ref().linked());
            tear_down(pending);
        }
    }
    LEVEL.set(level);
}

/// How many teardowns may be nested in one thread: that of a component by the last step of another. Deeper ones wait
/// for the deepest, so that a long chain of components does not overflow the stack.
const MOST_LEVELS: u32 = 16;

thread_local! {
    static LEVEL: Cell<u32> = const { Cell::new(0) };
    /// Dead components whose teardown waits, linked through their records.
    static PENDING: Cell<Option<NonNull<Record<PyNode>>>> = const { Cell::new(None) };
}

unsafe fn tear_down(record: NonNull<Record<PyNode>>) {
    // SAFETY: the component is dead, and so ours; each step says what it relies on.
    unsafe {
        let error = ffi::PyErr_GetRaisedException();
        thaw(record);
        let members = Record::members(record);
        finalize(members);
        if !is_resurrected(members) {
            weak::clear_all(members.iter().map(|node| node.0));
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
///
/// Python code may run at the end: what only a frozen weak reference kept alive dies.
unsafe fn thaw(record: NonNull<Record<PyNode>>) {
    // SAFETY: nobody else sees the members, whose edges are as they were counted.
    unsafe {
        let members = Record::members(record);
        for &PyNode(member) in members {
            // First, while weak references of other interpreters can still tell that the component is dead.
            weak::detach(member);
        }
        for &PyNode(member) in members {
            header::set_refcnt(member, 1);
        }
        references::debug::note_taken(members.len());
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
            site::forget(member);
            if header::has_gc_head(member) {
                (*header::gc_head(member)).prev &= GC_FINALIZED;
                ffi::PyObject_GC_Track(member.cast());
            } else {
                headless::remove(member);
            }
        }
        note_released(members.len());
        for &PyNode(member) in members {
            let ty = header::type_of(member);
            if edges::is_weak_reference(ty) {
                weak::weaken(member);
            } else if header::flags(member) & PARTED != 0 {
                part::unsettle(member);
            } else if header::has_feature(ty, ffi::Py_TPFLAGS_TYPE_SUBCLASS) {
                class::unsettle(member.cast());
            } else if ty == cfunction::frozen_type() {
                cfunction::unsettle(member);
            } else if ty == module_type::module_type() {
                module::unsettle(member);
            }
        }
    }
}

/// Runs finalizers, each once.
unsafe fn finalize(members: &[PyNode]) {
    for &PyNode(member) in members {
        // SAFETY: our reference keeps the member alive.
        unsafe {
            if (*header::type_of(member)).tp_finalize.is_some() {
                ffi::PyObject_CallFinalizer(member);
            }
        }
    }
}

/// True if a member has references other than ours and those of other members.
///
/// As the collector does, the internal references are subtracted from the counts, and then given back.
unsafe fn is_resurrected(members: &[PyNode]) -> bool {
    // SAFETY: our references keep the members alive, and nothing runs meanwhile. The flag is free: they are not frozen.
    unsafe {
        // Frozen once more, or made immortal.
        if members.iter().any(|node| header::is_immortal_or_shared(node.0)) {
            return true;
        }
        for &PyNode(member) in members {
            header::set_flags(member, header::flags(member) | MEMBER);
        }
        for_each_internal_edge(members, |target| header::set_refcnt(target, header::refcnt(target) - 1));
        let resurrected = members.iter().any(|node| header::refcnt(node.0) > 1);
        for_each_internal_edge(members, |target| header::set_refcnt(target, header::refcnt(target) + 1));
        for &PyNode(member) in members {
            header::set_flags(member, header::flags(member) & !MEMBER);
        }
        resurrected
    }
}

/// Calls `act` with the end of each edge between members, all of which are marked.
unsafe fn for_each_internal_edge(members: &[PyNode], act: impl Fn(Object)) {
    for &PyNode(member) in members {
        // SAFETY: the members are alive, and the edges do not change.
        unsafe {
            edges::for_each(member, &mut |target| {
                // A frozen one is a member of another component, which others are counting.
                if header::flags(target) & (MEMBER | FROZEN) == MEMBER {
                    act(target);
                }
            });
        }
    }
}
