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
//! members ([`increment_member`], [`decrement_member`]). Only the transitions of a member between 0 and 1
//! touch the record, so that hot members do not fight over one word. This is a one-level scalable non-zero
//! indicator (Ellen, Lev, Luchangco, Moir: "SNZI: Scalable NonZero Indicators", PODC 2007). Its invariant:
//!
//! > record >= number of live members, at every instant, and a record that reached zero stays there.
//!
//! It holds because a member goes from 0 to 1 only after a unit was added to the record for it, and that
//! unit is taken away only after the member went from 1 back to 0. A thread that added a unit and then finds
//! that somebody else made the member live first takes its reference as everybody does, and only then
//! gives the unit back: it holds the component alive by that reference, so giving back never reaches zero.
//!
//! All functions may be called from any thread, allocate nothing and do not panic. Except for the
//! `try_` functions, the caller must have seen the word in the frozen range while the object
//! could not die: it holds a reference to it, or, to increment a member, to any member of its component.
//! Breaking that rule cannot corrupt the word itself (an underflow becomes an immortal object), only the lifetime.
//!
//! Checked by loom in `tests/loom_count.rs`.

use crate::object::primitive::{AtomicU32, AtomicUsize, Ordering};

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
const SATURATION: u32 = 0xFF00_0000;

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
pub fn increment(word: &AtomicU32) {
    // Relaxed: a new reference is made from one that is held, and whatever hands it to another thread
    // synchronises with that thread. One instruction, which never waits for another thread; that it can pass
    // the saturation point is what the headroom is for.
    let before = word.fetch_add(1, Ordering::Relaxed);
    if before >= SATURATION {
        saturate(word);
    }
}

/// Takes `n` more references to an object that is a trivial component.
#[inline]
pub fn add(word: &AtomicU32, n: usize) {
    // A single large addition could use up the headroom, so this one is a loop that never goes past it.
    let mut seen = word.load(Ordering::Relaxed);
    while is_frozen_count(seen) {
        let next = encode((seen - FROZEN) as usize + n.min(MAX_COUNT as usize + 1));
        // Relaxed: as in `increment`.
        match word.compare_exchange_weak(seen, next, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return,
            Err(now) => seen = now,
        }
    }
}

/// Gives up one reference to an object that is a trivial component.
///
/// Returns whether it was the last one: then the object is the caller's alone, to be torn down. Otherwise the
/// object may be gone when this returns, and the caller must not touch it.
#[inline]
#[must_use]
pub fn decrement(word: &AtomicU32) -> bool {
    // Release: what this thread did with the object comes before its teardown by whichever thread is last.
    let before = word.fetch_sub(1, Ordering::Release);
    if before != FROZEN + 1 {
        return false;
    }
    // Acquire: pairs with the decrements of all others, whose release sequence this value ends. A load and not a
    // fence, since ThreadSanitizer does not understand fences.
    word.load(Ordering::Acquire);
    true
}

/// Takes a reference to an object that is a trivial component and that may be dying: the promotion of a weak reference.
///
/// Returns false, and takes nothing, if the object has no reference left, or is back in the hands of CPython's own
/// counting because its teardown began. The caller guarantees only that the word can be read.
#[inline]
#[must_use]
pub fn try_increment(word: &AtomicU32) -> bool {
    let mut seen = word.load(Ordering::Relaxed);
    // Relaxed: the weak reference that led here was itself got by synchronising with whoever made it, and
    // an object is not written between its freeze and its teardown.
    raise_from_above_zero(word, &mut seen, Ordering::Relaxed) == Raise::Done
}

/// Takes one more reference to a member of a non-trivial component.
///
/// `live` is the component's number of live members. The caller holds the component alive.
#[inline]
pub fn increment_member(word: &AtomicU32, live: &AtomicUsize) {
    let mut seen = word.load(Ordering::Relaxed);
    // Not a bare addition: it could pass through zero without having added to the record first.
    // Acquire: pairs with the Release of the increment from zero (`settle`). The unit that was added for this member
    // is then in the record before anything that this thread takes away from it later. No schedule that loom finds
    // goes wrong without it, but then the invariant would rest on what every other thread holds; on x86-64 it is free.
    if raise_from_above_zero(word, &mut seen, Ordering::Acquire) == Raise::AtZero {
        increment_member_from_zero(word, live);
    }
}

/// Gives up one reference to a member of a non-trivial component.
///
/// Returns whether that left no live member: then the whole component is the caller's alone, to be torn down.
/// Otherwise the component may be gone when this returns, and the caller must not touch it.
#[inline]
#[must_use]
pub fn decrement_member(word: &AtomicU32, live: &AtomicUsize) -> bool {
    // Release: what this thread did with the component comes before its teardown.
    let before = word.fetch_sub(1, Ordering::Release);
    if before != FROZEN + 1 {
        return false;
    }
    lower_record(word, live)
}

/// Takes a reference to a member of a non-trivial component that may be dying: the promotion of a weak reference.
///
/// Returns false, and takes nothing, if the component is dead or its teardown began. A member without references
/// from outside is alive as long as another one has some. The caller guarantees only that both words can be read.
#[inline]
#[must_use]
pub fn try_increment_member(word: &AtomicU32, live: &AtomicUsize) -> bool {
    let mut seen = word.load(Ordering::Relaxed);
    // A member above zero proves the component alive, by the invariant. Acquire: as in `increment_member`.
    match raise_from_above_zero(word, &mut seen, Ordering::Acquire) {
        Raise::Done => true,
        Raise::NotFrozen => false,
        Raise::AtZero => try_increment_member_from_zero(word, live),
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
fn raise_from_above_zero(word: &AtomicU32, seen: &mut u32, success: Ordering) -> Raise {
    while *seen > FROZEN {
        let next = if *seen >= SATURATION { IMMORTAL } else { *seen + 1 };
        // Relaxed on failure: the value is only tried again.
        match word.compare_exchange_weak(*seen, next, success, Ordering::Relaxed) {
            Ok(_) => return Raise::Done,
            Err(now) => *seen = now,
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

#[cold]
fn increment_member_from_zero(word: &AtomicU32, live: &AtomicUsize) {
    // Relaxed: `settle` publishes the unit together with the member's count.
    live.fetch_add(1, Ordering::Relaxed);
    settle(word, live);
}

#[cold]
fn try_increment_member_from_zero(word: &AtomicU32, live: &AtomicUsize) -> bool {
    // Zero is final, so the unit may only be added to something.
    let mut units = live.load(Ordering::Relaxed);
    loop {
        if units == 0 {
            return false;
        }
        // Relaxed: as in `increment_member_from_zero`.
        match live.compare_exchange_weak(units, units + 1, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => break,
            Err(now) => units = now,
        }
    }
    settle(word, live);
    true
}

/// Turns a unit of the record, which the caller has just added, into a reference to the member.
fn settle(word: &AtomicU32, live: &AtomicUsize) {
    loop {
        // Release: whoever sees this member live also sees the unit in the record. Relaxed on failure: tried again.
        let Err(mut seen) = word.compare_exchange(FROZEN, FROZEN + 1, Ordering::Release, Ordering::Relaxed) else {
            return;
        };
        // Somebody else made it live. Acquire: that one's unit is in the record before ours leaves it.
        if raise_from_above_zero(word, &mut seen, Ordering::Acquire) != Raise::AtZero {
            // Relaxed: it cannot be the last unit, so nobody tears down after reading it, and as a
            // read-modify-write it keeps the release sequence of `lower_record` whole.
            live.fetch_sub(1, Ordering::Relaxed);
            return;
        }
    }
}

/// Takes away the unit of a member that has just gone from 1 to 0. Returns whether the component is dead.
#[cold]
fn lower_record(word: &AtomicU32, live: &AtomicUsize) -> bool {
    // Until the unit is gone the component is alive, so both words may be read.
    // Acquire: pairs with the decrements of the other holders of this member.
    word.load(Ordering::Acquire);
    // Release: passes them, and what this thread did, on to whoever takes the last unit.
    if live.fetch_sub(1, Ordering::Release) != 1 {
        return false;
    }
    // Acquire: pairs with everybody's Release above. A load for the reason given in `decrement`.
    live.load(Ordering::Acquire);
    true
}

#[cold]
fn saturate(word: &AtomicU32) {
    // Relaxed: an immortal object is never torn down, so there is nothing to order. Additions and subtractions
    // that were under way land on top of it; they move the word by less than the headroom, within the immortal range.
    // A swap and not a store, so that every write to the word of a frozen object is a read-modify-write: they are
    // in one order, and none breaks a release sequence.
    word.swap(IMMORTAL, Ordering::Relaxed);
}
