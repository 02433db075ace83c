//! The record of a non-trivial component: its members, and how many of them are live.
//!
//! One block of memory: the number of live members, the number of members, the members. It is made
//! while the graph is explored, belongs to the component from the commit on, and is released by whoever tears the
//! component down, on whatever thread that is.

use core::alloc::Layout;
use core::ptr::NonNull;
use core::slice;

use crate::object::memory;
use crate::object::primitive::{AtomicUsize, Ordering};

/// What the members of a non-trivial component share. `N` is a reference to an object (a pointer for CPython).
#[repr(C)]
pub struct Record<N: Copy> {
    live: AtomicUsize,
    len: usize,
    members: [N; 0],
}

// How many records exist, and their bytes: process-wide, since a record may be released by another thread.
// Never loom's: these are statistics and order nothing.
static RECORDS: core::sync::atomic::AtomicUsize = core::sync::atomic::AtomicUsize::new(0);
static RECORD_BYTES: core::sync::atomic::AtomicUsize = core::sync::atomic::AtomicUsize::new(0);

/// Returns how many component records exist in this process, and how many bytes they take.
///
/// Each number is exact when no thread is making or releasing records.
#[must_use]
pub fn totals() -> (usize, usize) {
    (RECORDS.load(core::sync::atomic::Ordering::Relaxed), RECORD_BYTES.load(core::sync::atomic::Ordering::Relaxed))
}

impl<N: Copy> Record<N> {
    fn layout(len: usize) -> Option<Layout> {
        let (layout, _) = Layout::new::<Self>().extend(Layout::array::<N>(len).ok()?).ok()?;
        Some(layout.pad_to_align())
    }

    /// Returns a new record of `len` members that are yet to be written, none of them live, or `None` if there is
    /// no memory.
    ///
    /// The caller owns it, and writes every member with [`Record::write_member`] before anybody reads them.
    #[must_use]
    pub fn allocate(len: usize) -> Option<NonNull<Self>> {
        let layout = Self::layout(len)?;
        let record = memory::allocate(layout)?.cast::<Self>();
        // SAFETY: `record` is fresh memory of the layout of `Self`, owned by us alone.
        unsafe {
            (&raw mut (*record.as_ptr()).live).write(AtomicUsize::new(0));
            (&raw mut (*record.as_ptr()).len).write(len);
        }
        RECORDS.fetch_add(1, core::sync::atomic::Ordering::Relaxed);
        RECORD_BYTES.fetch_add(layout.size(), core::sync::atomic::Ordering::Relaxed);
        Some(record)
    }

    /// Releases a record.
    ///
    /// # Safety
    /// `record` came from [`Record::allocate`] and nobody uses it any more.
    pub unsafe fn release(record: NonNull<Self>) {
        // SAFETY: by the caller the record is valid until the end of this function.
        let len = unsafe { record.as_ref().len };
        let Some(layout) = Self::layout(len) else {
            return; // not reached: the same layout was computed when the record was made
        };
        RECORDS.fetch_sub(1, core::sync::atomic::Ordering::Relaxed);
        RECORD_BYTES.fetch_sub(layout.size(), core::sync::atomic::Ordering::Relaxed);
        // SAFETY: `live` was initialised by `allocate` (it owns memory under loom), and `layout` is that of the allocation.
        unsafe {
            (&raw mut (*record.as_ptr()).live).drop_in_place();
            memory::release(record.cast(), layout);
        }
    }

    /// Writes member number `index`.
    ///
    /// # Safety
    /// `record` came from [`Record::allocate`], `index` is below its number of members, and no other thread has it yet.
    #[inline]
    pub unsafe fn write_member(record: NonNull<Self>, index: usize, member: N) {
        // SAFETY: by the caller the slot lies in the allocation. The array of length zero only marks where the
        // members begin, so the pointer is derived from the whole record and not from a reference to that field.
        unsafe { (&raw mut (*record.as_ptr()).members).cast::<N>().add(index).write(member) }
    }

    /// Returns the members, in the order in which the search closed them, the component's first visited member first.
    ///
    /// # Safety
    /// `record` is valid for `'a`, and every member was written.
    #[must_use]
    pub unsafe fn members<'a>(record: NonNull<Self>) -> &'a [N] {
        // SAFETY: by the caller; the members follow the header in the same allocation.
        unsafe { slice::from_raw_parts((&raw const (*record.as_ptr()).members).cast::<N>(), (*record.as_ptr()).len) }
    }

    /// The number of live members: the word that the counting protocol works on.
    #[inline]
    #[must_use]
    pub fn live(&self) -> &AtomicUsize {
        &self.live
    }

    /// Puts the record of a dead component in front of another one: the word that counted live members is free now.
    #[inline]
    pub fn link(&self, next: Option<NonNull<Self>>) {
        // Relaxed: the component belongs to one thread.
        self.live.store(next.map_or(0, |next| next.as_ptr().expose_provenance()), Ordering::Relaxed);
    }

    /// Returns what [`Record::link`] has put behind this record.
    #[inline]
    #[must_use]
    pub fn linked(&self) -> Option<NonNull<Self>> {
        // Relaxed: as there.
        NonNull::new(core::ptr::with_exposed_provenance_mut(self.live.load(Ordering::Relaxed)))
    }

    /// Adds one live member to a record that no other thread has yet.
    #[inline]
    pub fn add_live(&self) {
        // Relaxed, and no read-modify-write: the graph is not published before its commit is over.
        let live = self.live.load(Ordering::Relaxed);
        self.live.store(live + 1, Ordering::Relaxed);
    }
}
