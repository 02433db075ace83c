//! Frozen objects in a process that has a foreign extension: dead by their count, and kept all the same.
//!
//! A foreign extension takes frozen objects for immortal ones, so references that it holds are in no count. From
//! the moment that the process is *pinned*, an object whose count falls to zero is not released but made immortal: nobody
//! counts it any more, and it stays as it is, whoever may still use it. Its finalizer does not run, and weak
//! references go on finding it.
//!
//! The references that it holds are given up all the same, so that what only it referred to is pinned with it. That changes
//! no object, only counts, which release nothing any more: it tells how much would have been released.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::count;
use super::record::Record;
use super::references::{self, Dead};
use crate::object::edges;
use crate::object::ffi;
use crate::object::header::{self, FROZEN, Object, PyNode};

static PINNED: AtomicBool = AtomicBool::new(false);

// Relaxed: statistics that order nothing.
static OBJECTS: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(0);

/// Releases nothing frozen from now on.
pub fn pin() {
    // Relaxed. This thread runs foreign code afterwards. It can only take an uncounted reference to what a counted one
    // holds: one that it had before, or one that it got later from another thread, from a channel, say, or a shared
    // field. Getting it synchronises with that thread, so whatever the other one gives up after that, it gives up
    // with the process pinned.
    PINNED.store(true, Ordering::Relaxed);
}

/// Whether nothing frozen is released.
#[inline]
pub fn is_pinned() -> bool {
    // Relaxed: as in `pin`.
    PINNED.load(Ordering::Relaxed)
}

/// How many objects were kept that would have been released, and their size in bytes.
pub fn totals() -> (usize, usize) {
    (OBJECTS.load(Ordering::Relaxed), BYTES.load(Ordering::Relaxed))
}

/// Keeps what its count says is dead.
///
/// # Safety
/// As for [`references::give_up`], which found it; the process is pinned.
#[cold]
pub unsafe fn keep(dead: Dead) {
    let mut pending = Vec::new();
    let mut next = Some(dead);
    // SAFETY: nothing frozen is released, so all of it may be read.
    unsafe {
        let error = ffi::PyErr_GetRaisedException();
        while let Some(dead) = next {
            match dead {
                Dead::Object(op) => keep_object(op, &mut pending),
                Dead::Component(record) => {
                    for &PyNode(member) in Record::members(record) {
                        keep_object(member, &mut pending);
                    }
                }
            }
            next = pending.pop();
        }
        ffi::PyErr_SetRaisedException(error);
    }
}

/// Makes an object immortal, and gives up its references.
unsafe fn keep_object(op: Object, pending: &mut Vec<Dead>) {
    // SAFETY: op is frozen, or a proxy, and stays.
    unsafe {
        // Relaxed: as `count::saturate`. Somebody may have come by a reference that nobody counted, and taken another; then
        // the object goes on being counted.
        let count = header::count_word(op);
        if count.compare_exchange(count::FROZEN, count::IMMORTAL, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        // A proxy is mutable, and belongs to another interpreter perhaps.
        if header::flags(op) & FROZEN == 0 {
            return;
        }
        OBJECTS.fetch_add(1, Ordering::Relaxed);
        BYTES.fetch_add(ffi::imm_size(op), Ordering::Relaxed);
        let component = references::component(op);
        edges::for_each(op, &mut |target| {
            let is_counted = count::is_frozen_count(header::refcnt(target));
            let is_internal = || component.is_some() && references::component(target) == component;
            // Without memory to note what died, it stays as it is, and is missing from the totals.
            if is_counted && !is_internal() && pending.try_reserve(1).is_ok() {
                pending.extend(references::lower(target));
            }
        });
    }
}
