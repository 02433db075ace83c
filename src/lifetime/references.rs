//! References to frozen Python objects: what the out-of-line halves of
//! `Py_INCREF` and `Py_DECREF` do.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};

use super::count::{Alone, Mode, Shared};
use super::record::Record;
use super::{count, headless, pinned, release};
use crate::object::header::{self, GC_PREV_BITS, MEMBER, Object, PyNode};

/// Whether counts may change in several interpreters at once.
///
/// False while the process has had one interpreter only: then every thread that counts holds the one GIL, and plain
/// loads and stores do. It never becomes false again.
pub(crate) static SHARED: AtomicBool = AtomicBool::new(false);

/// Makes counts change atomically from now on.
///
/// Called with the GIL of the first interpreter held, before there is a second: a thread that counts plainly just then would
/// hold it. An embedder that makes an interpreter without any GIL has no other thread that counts.
pub fn share() {
    // Relaxed: a thread that counts holds a GIL. If it is this one, it synchronises with us by that; if it is one of a
    // later interpreter, by the creation of that interpreter.
    SHARED.store(true, Ordering::Relaxed);
}

/// Whether the process has, or had, a second interpreter.
#[inline(always)]
pub fn is_shared() -> bool {
    // Relaxed: as in `share`.
    SHARED.load(Ordering::Relaxed)
}

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

/// A frozen object, or a component, that has lost its last reference, and is the finder's alone.
pub enum Dead {
    /// A trivial component.
    Object(Object),
    /// Another one.
    Component(NonNull<Record<PyNode>>),
}

/// Runs a counting operation in the mode that this process is in.
macro_rules! in_mode {
    ($operation:ident($($argument:expr),*)) => {
        if is_shared() { $operation::<Shared>($($argument),*) } else { $operation::<Alone>($($argument),*) }
    };
}

/// Takes a reference.
///
/// # Safety
/// `op` has a frozen count, and the caller holds it alive, and a GIL.
#[inline]
pub unsafe fn take(op: Object) {
    debug::note_taken(1);
    // SAFETY: the caller's.
    unsafe { in_mode!(raise(op)) }
}

#[inline(always)]
unsafe fn raise<M: Mode>(op: Object) {
    // SAFETY: the caller's.
    unsafe {
        if header::flags(op) & MEMBER == 0 {
            count::increment::<M>(header::count_word(op));
        } else {
            raise_member::<M>(op);
        }
    }
}

/// Apart, so that the others need no frame on the stack.
#[inline(never)]
unsafe fn raise_member<M: Mode>(op: Object) {
    // SAFETY: a record lives as long as its component.
    unsafe {
        match component(op) {
            None => count::increment::<M>(header::count_word(op)),
            Some(record) => count::increment_member::<M>(header::count_word(op), record.as_ref().live()),
        }
    }
}

/// Takes a reference to an object that may be dying. Returns false, and takes nothing, if it is.
///
/// # Safety
/// The memory of `op`, which was frozen, cannot be released meanwhile; a GIL is held.
pub unsafe fn try_take(op: Object) -> bool {
    // SAFETY: the caller's. Relaxed: what is immortal stays so.
    unsafe {
        let taken = in_mode!(try_raise(op));
        if taken && !count::is_immortal(header::count_word(op).load(Ordering::Relaxed)) {
            debug::note_taken(1);
        }
        taken
    }
}

unsafe fn try_raise<M: Mode>(op: Object) -> bool {
    // SAFETY: a record lives as long as the memory of its members.
    unsafe {
        match component(op) {
            None => count::try_increment::<M>(header::count_word(op)),
            Some(record) => count::try_increment_member::<M>(header::count_word(op), record.as_ref().live()),
        }
    }
}

/// True if somebody holds a reference to `op`, or to its component.
///
/// # Safety
/// As [`try_take`].
pub unsafe fn is_alive(op: Object) -> bool {
    // SAFETY: as `try_take`. Relaxed: the answer may be out of date as soon as it is given.
    unsafe {
        match component(op) {
            Some(record) => record.as_ref().live().load(Ordering::Relaxed) > 0,
            None => {
                let word = header::count_word(op).load(Ordering::Relaxed);
                count::count_of(word).map_or(count::is_immortal(word), |references| references > 0)
            }
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
            debug::note_taken(n - 1);
            let (word, more) = (header::count_word(op), n - 1);
            if is_shared() { count::add::<Shared>(word, more) } else { count::add::<Alone>(word, more) }
        }
    }
}

/// Gives up a reference, and releases the object, or its component, with the last, unless the process is pinned.
///
/// # Safety
/// `op` has a frozen count, and the reference is the caller's. The caller holds
/// the GIL of some interpreter; Python code may run (finalizers).
#[inline]
pub unsafe fn give_up(op: Object) {
    debug::note_given_up();
    // SAFETY: with the last reference the object is ours alone.
    unsafe {
        if header::flags(op) & MEMBER != 0 {
            give_up_member(op);
        } else if in_mode!(lower_trivial(op)) {
            bury(Dead::Object(op));
        }
    }
}

/// Apart, as [`raise_member`].
#[inline(never)]
unsafe fn give_up_member(op: Object) {
    // SAFETY: as `give_up`.
    unsafe {
        if let Some(dead) = lower(op) {
            bury(dead);
        }
    }
}

/// Releases what has lost its last reference, unless the process is pinned.
#[cold]
#[inline(never)]
unsafe fn bury(dead: Dead) {
    // SAFETY: as `give_up`.
    unsafe {
        match dead {
            dead if pinned::is_pinned() => pinned::keep(dead),
            Dead::Object(op) => release::object(op),
            Dead::Component(record) => release::component(record),
        }
    }
}

/// Gives up a reference, and returns what lost its last one by that.
///
/// # Safety
/// As [`give_up`]; no Python code runs.
#[inline]
pub unsafe fn lower(op: Object) -> Option<Dead> {
    // SAFETY: the caller's.
    unsafe { in_mode!(lower_in(op)) }
}

#[inline(always)]
unsafe fn lower_in<M: Mode>(op: Object) -> Option<Dead> {
    // SAFETY: the reference holds the record until it is given up, and so does the component while it lives.
    unsafe {
        match component(op) {
            None => lower_trivial::<M>(op).then_some(Dead::Object(op)),
            Some(record) => count::decrement_member::<M>(header::count_word(op), record.as_ref().live())
                .then_some(Dead::Component(record)),
        }
    }
}

#[inline(always)]
unsafe fn lower_trivial<M: Mode>(op: Object) -> bool {
    // SAFETY: the caller's.
    unsafe { count::decrement::<M>(header::count_word(op)) }
}

/// What `sys.gettotalrefcount()` counts in a debug build: `Py_INCREF` and `Py_DECREF` leave it to us for frozen objects.
pub mod debug {
    #[cfg(py_ref_debug)]
    use crate::object::ffi;

    /// Notes references taken by the running interpreter.
    #[inline(always)]
    pub fn note_taken(_n: usize) {
        #[cfg(py_ref_debug)]
        for _ in 0.._n {
            // SAFETY: a GIL is held.
            unsafe { ffi::_Py_INCREF_IncRefTotal() };
        }
    }

    /// Notes a reference given up by the running interpreter.
    #[inline(always)]
    pub fn note_given_up() {
        #[cfg(py_ref_debug)]
        // SAFETY: a GIL is held.
        unsafe {
            ffi::_Py_DECREF_DecRefTotal();
        }
    }
}
