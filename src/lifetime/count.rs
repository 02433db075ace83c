//! The counting protocol of frozen objects.
//!
//! A frozen object keeps its reference count in the top of the 32-bit field that CPython uses anyway:
//!
//! | word                         | meaning                                                       |
//! | ---------------------------- | ------------------------------------------------------------- |
//! | `0x0000_0001 ..= 0x7FFF_FFFF` | mutable: CPython's own count, never touched here              |
//! | `0x8000_0000 ..= 0xDFFF_FFFF` | immortal: not counted                                         |
//! | `0xE000_0000 ..= 0xFEFF_FFFF` | frozen: [`FROZEN`] + count                                     |
//! | `0xFF00_0000 ..= 0xFFFF_FFFF` | frozen and too many: whoever sees it makes the object immortal |
//!
//! **A trivial component** is one object. Its count is the whole truth ([`increment`], [`decrement`]).
//!
//! **A non-trivial component** lives and dies as one. Every member counts the references that come from
//! outside the component; a member with a count above zero is *live*; the component's record counts live
//! members, a *unit* for each ([`increment_member`], [`decrement_member`]). Only the transitions of a member between
//! 0 and 1 touch the record, so that hot members do not fight over one word. This is a one-level scalable non-zero
//! indicator (Ellen, Lev, Luchangco, Moir: "SNZI: Scalable NonZero Indicators", PODC 2007). Its invariant:
//!
//! > While a member is live the record is above zero, and a record that reached zero stays there.
//!
//! - A decrement lowers the member first and takes its unit away after that.
//! - An increment raises the member first; if it was at zero, it *owes* the record a unit until it has added that.
//!   Meanwhile the member stays live by the new reference, so there is one debtor for a member at most, and
//!   no unit of that member is taken away before it was added. And the debtor holds the component alive: until it has
//!   paid, some other member is live by a reference that was taken before the debt was made. Either the unit of that
//!   member is in the record, or somebody owes it, whose debt is older. The oldest debtor of all holds a member
//!   whose unit is there.
//! - A promotion holds nothing, so it takes its unit in advance, and only from a record above zero. If
//!   it then finds that somebody else made the member live, it takes its reference as everybody does, and only
//!   then gives the unit back: that leaves the record above zero, since a member is live.
//!
//! *Older* has a meaning because an increment synchronises with the one that left zero: each debt happens before the
//! next that rests on it.
//!
//! Except for the `try_` functions, the caller must have seen the word in the frozen range while the object
//! could not die, and until the function returns it, or somebody on its behalf, holds a reference to the object, or, to
//! increment a member, to any member of its component. Breaking that rule cannot corrupt the word itself (an underflow
//! becomes an immortal object), only the lifetime. No function allocates, panics, or waits for another thread.
//!
//! # Modes
//!
//! Every operation is generic over a [`Mode`]. [`Shared`] changes a word by atomic read-modify-writes: it may be used
//! by any thread at any time. [`Alone`] changes it by a load and a store, as CPython changes its own counts.
//!
//! Alone is sound while there is one lock that every counting thread holds from before it chose the mode until the
//! operation is over: the GIL of the only interpreter that the process has had. Then no two operations overlap, and each
//! happens before those that follow under the lock, whatever they do; so their loads and stores need no order of
//! their own.
//!
//! The process goes over to Shared once and for ever, in a thread that holds this GIL, before a second interpreter
//! is created. That is sound because all operations in mode Alone happen before the change, by the GIL, and the change
//! happens before all later operations: those of the first interpreter's threads by the same GIL, those of others by the
//! creation of their interpreter. So nobody chooses Alone afterwards, no operation of one mode meets one of the
//! other, and the plain stores, which are not part of any release sequence, are followed by such sequences but never
//! interrupt one.
//!
//! Checked by loom in `tests/loom_count.rs` and on random schedules in `tests/shuttle_count.rs`.

use crate::object::primitive::{AtomicU32, AtomicUsize, Ordering};

/// How a word is changed: see [the module](self#modes).
pub trait Mode: Change<AtomicU32, u32> + Change<AtomicUsize, usize> {}

/// The changes that the protocol makes to a word of type `A`, an atomic `V`. The orderings are those of [`Shared`].
pub trait Change<A, V> {
    /// Adds `n` and returns the value before.
    fn fetch_add(word: &A, n: V, order: Ordering) -> V;
    /// Subtracts `n` and returns the value before.
    fn fetch_sub(word: &A, n: V, order: Ordering) -> V;
    /// Writes `new` whatever the value is, with no ordering.
    fn replace(word: &A, new: V);
    /// Writes `new` if the value is `seen`, which the caller has read in the same operation, and returns true. Else, or
    /// for no reason, leaves the word alone, updates `seen` and returns false.
    fn exchange(word: &A, seen: &mut V, new: V, order: Ordering) -> bool;
    /// Acquires what those threads released that have changed the word so far.
    fn acquire(word: &A);
}

/// Counting by any number of threads at once.
pub struct Shared;

/// Counting by one thread at a time, under one lock for all of them.
pub struct Alone;

impl Mode for Shared {}
impl Mode for Alone {}

macro_rules! implement_change {
    ($atomic:ty, $value:ty) => {
        impl Change<$atomic, $value> for Shared {
            #[inline(always)]
            fn fetch_add(word: &$atomic, n: $value, order: Ordering) -> $value {
                word.fetch_add(n, order)
            }
            #[inline(always)]
            fn fetch_sub(word: &$atomic, n: $value, order: Ordering) -> $value {
                word.fetch_sub(n, order)
            }
            #[inline(always)]
            fn replace(word: &$atomic, new: $value) {
                // A swap and not a store, so that every write to the word of a frozen object is a read-modify-write:
                // they are in one order, and none breaks a release sequence.
                word.swap(new, Ordering::Relaxed);
            }
            #[inline(always)]
            fn exchange(word: &$atomic, seen: &mut $value, new: $value, order: Ordering) -> bool {
                // Relaxed on failure: the value is only used to try again.
                match word.compare_exchange_weak(*seen, new, order, Ordering::Relaxed) {
                    Ok(_) => true,
                    Err(now) => {
                        *seen = now;
                        false
                    }
                }
            }
            #[inline(always)]
            fn acquire(word: &$atomic) {
                // A load and not a fence, since ThreadSanitizer does not understand fences.
                word.load(Ordering::Acquire);
            }
        }

        // Relaxed throughout: the lock orders each operation after the other.
        impl Change<$atomic, $value> for Alone {
            #[inline(always)]
            fn fetch_add(word: &$atomic, n: $value, _: Ordering) -> $value {
                let before = word.load(Ordering::Relaxed);
                word.store(before.wrapping_add(n), Ordering::Relaxed);
                before
            }
            #[inline(always)]
            fn fetch_sub(word: &$atomic, n: $value, _: Ordering) -> $value {
                let before = word.load(Ordering::Relaxed);
                word.store(before.wrapping_sub(n), Ordering::Relaxed);
                before
            }
            #[inline(always)]
            fn replace(word: &$atomic, new: $value) {
                word.store(new, Ordering::Relaxed);
            }
            #[inline(always)]
            fn exchange(word: &$atomic, seen: &mut $value, new: $value, _: Ordering) -> bool {
                debug_assert_eq!(word.load(Ordering::Relaxed), *seen, "somebody else counts");
                word.store(new, Ordering::Relaxed);
                true
            }
            #[inline(always)]
            fn acquire(_: &$atomic) {}
        }
    };
}

implement_change!(AtomicU32, u32);
implement_change!(AtomicUsize, usize);

/// The word of a frozen object whose count is zero.
pub const FROZEN: u32 = 0xE000_0000;

/// The word of an immortal object, as CPython writes it (`_Py_IMMORTAL_INITIAL_REFCNT` in `refcount.h`).
pub const IMMORTAL: u32 = 0xC000_0000;

/// The lowest word of an immortal object: CPython tests the sign bit.
const IMMORTAL_LOWEST: u32 = 0x8000_0000;

/// From this word on an object is made immortal.
///
/// The headroom above is what increments that are under way at the same moment may use up before the first
/// of them has stored [`IMMORTAL`]: at most one per thread, and Linux has at most 2^22 threads
/// (`PID_MAX_LIMIT`). It is 2^24.
pub(crate) const SATURATION: u32 = 0xFF00_0000;

/// The most threads that Linux has: [`SATURATION`].
#[cfg(feature = "cpython")]
const MOST_THREADS: u32 = 1 << 22;

// The test for negative words in `immutability.h` is right for every word there is, and the header knows the encoding.
#[cfg(feature = "cpython")]
const _: () = {
    use crate::object::ffi;
    assert!(ffi::_Py_FROZEN_REFCNT == FROZEN);
    assert!(SATURATION + MOST_THREADS < ffi::_Py_BEYOND_REFCNT);
};

/// The highest count that a frozen object can have.
pub const MAX_COUNT: u32 = SATURATION - FROZEN - 1;

/// Returns the word of a frozen object with `count` references: [`IMMORTAL`] if `count` is above [`MAX_COUNT`].
#[inline]
#[must_use]
pub const fn encode(count: usize) -> u32 {
    if count > MAX_COUNT as usize { IMMORTAL } else { FROZEN + count as u32 }
}

/// Returns the count that a frozen object's word stands for, or `None` if the word is not a frozen object's.
#[inline]
#[must_use]
pub const fn count_of(word: u32) -> Option<u32> {
    if is_frozen_count(word) { Some(word - FROZEN) } else { None }
}

/// Returns whether the word is that of a frozen, counted object. Immortal objects may be frozen too: they are not counted.
#[inline]
#[must_use]
pub const fn is_frozen_count(word: u32) -> bool {
    word >= FROZEN
}

/// Returns whether the word is that of an immortal object.
#[inline]
#[must_use]
pub const fn is_immortal(word: u32) -> bool {
    word >= IMMORTAL_LOWEST && word < FROZEN
}

/// Takes one more reference to an object that is a trivial component.
#[inline]
pub fn increment<M: Mode>(word: &AtomicU32) {
    // Relaxed: a new reference is made from one that is held, and whatever hands it to another thread
    // synchronises with that thread. One instruction, which never waits for another thread; that it can pass
    // the saturation point is what the headroom is for.
    let before = M::fetch_add(word, 1, Ordering::Relaxed);
    if before >= SATURATION {
        saturate::<M>(word);
    }
}

/// Takes `n` more references to an object that is a trivial component.
#[inline]
pub fn add<M: Mode>(word: &AtomicU32, n: usize) {
    // A single large addition could use up the headroom, so this one is a loop that never goes past it.
    let mut seen = word.load(Ordering::Relaxed);
    while is_frozen_count(seen) {
        let next = encode((seen - FROZEN) as usize + n.min(MAX_COUNT as usize + 1));
        // Relaxed: as in `increment`.
        if M::exchange(word, &mut seen, next, Ordering::Relaxed) {
            return;
        }
    }
}

/// Gives up one reference to an object that is a trivial component.
///
/// Returns whether it was the last one: then the object is the caller's alone, to be torn down. Otherwise the
/// object may be gone when this returns, and the caller must not touch it.
#[inline]
#[must_use]
pub fn decrement<M: Mode>(word: &AtomicU32) -> bool {
    // Release: what this thread did with the object comes before its teardown by whichever thread is last.
    let before = M::fetch_sub(word, 1, Ordering::Release);
    if before != FROZEN + 1 {
        return false;
    }
    // Pairs with the decrements of all others, whose release sequence this value ends.
    M::acquire(word);
    true
}

/// Takes a reference to an object that is a trivial component and that may be dying: the promotion of a weak reference.
///
/// Returns false, and takes nothing, if the object has no reference left, or is back in the hands of CPython's own
/// counting because its teardown began. The caller guarantees only that the word can be read.
#[inline]
#[must_use]
pub fn try_increment<M: Mode>(word: &AtomicU32) -> bool {
    let mut seen = word.load(Ordering::Relaxed);
    // Relaxed: the weak reference that led here was itself got by synchronising with whoever made it, and
    // an object is not written between its freeze and its teardown.
    raise_from_above_zero::<M>(word, &mut seen, Ordering::Relaxed) == Raise::Done
}

/// Takes one more reference to a member of a non-trivial component.
///
/// `live` is the component's number of live members. The caller holds the component alive.
#[inline]
pub fn increment_member<M: Mode>(word: &AtomicU32, live: &AtomicUsize) {
    // Acquire and Release: each debt happens before those that rest on it. With less, two threads could each rest a debt
    // on the member that the other one raises, as if each had raised its own before it took what it holds.
    let before = M::fetch_add(word, 1, Ordering::AcqRel);
    if before == FROZEN {
        pay_unit::<M>(live);
    } else if before >= SATURATION {
        saturate::<M>(word);
    }
}

/// Gives up one reference to a member of a non-trivial component.
///
/// Returns whether that left no live member: then the whole component is the caller's alone, to be torn down.
/// Otherwise the component may be gone when this returns, and the caller must not touch it.
#[inline]
#[must_use]
pub fn decrement_member<M: Mode>(word: &AtomicU32, live: &AtomicUsize) -> bool {
    // Release: what this thread did with the component comes before its teardown, and a debt that it paid before
    // the unit of this member is taken away.
    let before = M::fetch_sub(word, 1, Ordering::Release);
    if before != FROZEN + 1 {
        return false;
    }
    lower_record::<M>(word, live)
}

/// Takes a reference to a member of a non-trivial component that may be dying: the promotion of a weak reference.
///
/// Returns false, and takes nothing, if the component is dead or its teardown began. A member without references
/// from outside is alive as long as another one has some. The caller guarantees only that both words can be read.
#[inline]
#[must_use]
pub fn try_increment_member<M: Mode>(word: &AtomicU32, live: &AtomicUsize) -> bool {
    let mut seen = word.load(Ordering::Relaxed);
    // A member above zero proves the component alive, by the invariant. Acquire: as in `increment_member`, where the
    // Release serves the increments from zero, which this one is not.
    match raise_from_above_zero::<M>(word, &mut seen, Ordering::Acquire) {
        Raise::Done => true,
        Raise::NotFrozen => false,
        Raise::AtZero => try_increment_member_from_zero::<M>(word, live),
    }
}

/// What became of an attempt to add one to a count that is above zero.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Raise {
    /// Added, or the object is immortal and needs no count.
    Done,
    /// The count is zero; nothing was added.
    AtZero,
    /// The word is that of a mutable object; nothing was added.
    NotFrozen,
}

/// Adds one unless the count is zero. `seen` is the last value read, and is kept up to date.
#[inline]
fn raise_from_above_zero<M: Mode>(word: &AtomicU32, seen: &mut u32, order: Ordering) -> Raise {
    while *seen > FROZEN {
        let next = if *seen >= SATURATION { IMMORTAL } else { *seen + 1 };
        if M::exchange(word, seen, next, order) {
            return Raise::Done;
        }
    }
    if *seen == FROZEN {
        Raise::AtZero
    } else if is_immortal(*seen) {
        Raise::Done
    } else {
        Raise::NotFrozen
    }
}

/// Adds the unit of a member that the caller has just raised from zero.
#[cold]
fn pay_unit<M: Mode>(live: &AtomicUsize) {
    // Relaxed: the caller still holds the member that it rests on. Whoever takes the unit of that one away has acquired
    // the decrement by which the caller gives it up, so finds this unit in the record.
    M::fetch_add(live, 1, Ordering::Relaxed);
}

#[cold]
fn try_increment_member_from_zero<M: Mode>(word: &AtomicU32, live: &AtomicUsize) -> bool {
    // Zero is final, so the unit may only be added to something.
    let mut units = live.load(Ordering::Relaxed);
    loop {
        if units == 0 {
            return false;
        }
        // Relaxed: `settle` publishes the unit together with the member's count.
        let next = units + 1;
        if M::exchange(live, &mut units, next, Ordering::Relaxed) {
            break;
        }
    }
    settle::<M>(word, live);
    true
}

/// Turns a unit of the record, which the caller has just added, into a reference to the member.
fn settle<M: Mode>(word: &AtomicU32, live: &AtomicUsize) {
    let mut seen = FROZEN;
    loop {
        // Release: whoever sees this member live also sees the unit in the record.
        if M::exchange(word, &mut seen, FROZEN + 1, Ordering::Release) {
            return;
        }
        // Somebody else made it live. Acquire: as in `try_increment_member`.
        if raise_from_above_zero::<M>(word, &mut seen, Ordering::Acquire) != Raise::AtZero {
            // Relaxed: it cannot be the last unit, so nobody tears down after reading it, and as a
            // read-modify-write it keeps the release sequence of `lower_record` whole.
            M::fetch_sub(live, 1, Ordering::Relaxed);
            return;
        }
    }
}

/// Takes away the unit of a member that has just gone from 1 to 0. Returns whether the component is dead.
#[cold]
fn lower_record<M: Mode>(word: &AtomicU32, live: &AtomicUsize) -> bool {
    // Until the unit is gone the component is alive, so both words may be read.
    // Pairs with the decrements of the other holders of this member.
    M::acquire(word);
    // Release: passes them, and what this thread did, on to whoever takes the last unit.
    if M::fetch_sub(live, 1, Ordering::Release) != 1 {
        return false;
    }
    // Pairs with everybody's Release above.
    M::acquire(live);
    true
}

#[cold]
fn saturate<M: Mode>(word: &AtomicU32) {
    // No ordering: an immortal object is never torn down. Additions and subtractions that were under way land on top
    // of it; they move the word by less than the headroom, within the immortal range.
    M::replace(word, IMMORTAL);
}
