//! What the search needs to know of a heap.
//!
//! The search owns the algorithm, the heap owns the objects: how an edge is found, where a mark is kept, what
//! may be frozen. CPython's objects are one heap; the tests and benches have a model.

use core::marker::PhantomData;
use core::ops::ControlFlow;
use core::ptr::NonNull;

use crate::lifetime::record::Record;

/// A reference to an object, small enough to be kept as one word with three bits to spare.
///
/// # Safety
/// `into_word` returns a word that is not zero and whose [`TAG_BITS`] lowest bits are zero, equal for equal objects only,
/// and `from_word` returns the same object again.
pub unsafe trait Node: Copy + Eq {
    /// Returns the word that stands for this object.
    fn into_word(self) -> usize;

    /// Returns the object that a word stands for.
    ///
    /// # Safety
    /// `word` came from `into_word`, of this type.
    unsafe fn from_word(word: usize) -> Self;
}

/// How many of the lowest bits of a [`Node`]'s word the search keeps tags in.
pub const TAG_BITS: u32 = 3;

/// What the search writes on a container while it runs.
///
/// ```text
///   0                   pending   reached, its own edges not yet walked
///   1 ..                active    walked, component not yet known: the lowest index it reaches
///   2^60                trivial   done: a component of its own, without a self-edge
///   2^60 + (addr >> 3)  member    done: member of the non-trivial component with the record at addr
/// ```
///
/// A heap finds room for [`MARK_BITS`] bits in each container, and for none in a leaf. For CPython that is the `_gc_prev`
/// word of an untracked object, whose two lowest bits mean something else. A mark of an earlier search must
/// not be seen by a later one: [`Heap::classify`] sets it to [`Mark::PENDING`] when it first enters a container.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Mark(usize);

/// How many bits a mark has.
pub const MARK_BITS: u32 = 61;

impl Mark {
    /// The mark of a container that was entered and is not yet walked.
    pub const PENDING: Mark = Mark(0);
    /// The mark of a container that is a trivial component.
    pub const TRIVIAL: Mark = Mark(1 << (MARK_BITS - 1));

    /// Returns the mark with the given bits, as [`Mark::bits`] gave them.
    #[inline]
    #[must_use]
    pub const fn from_bits(bits: usize) -> Self {
        Mark(bits)
    }

    /// Returns the bits, below 2^[`MARK_BITS`].
    #[inline]
    #[must_use]
    pub const fn bits(self) -> usize {
        self.0
    }

    #[inline]
    pub(super) const fn active(index: usize) -> Self {
        Mark(index)
    }

    /// Returns whether the object's component is not yet known, although its edges were walked.
    #[inline]
    #[must_use]
    pub const fn is_active(self) -> bool {
        self.0 != 0 && self.0 < Self::TRIVIAL.0
    }

    /// Returns the mark of the members of a component.
    #[inline]
    #[must_use]
    pub fn member<N: Copy>(record: NonNull<Record<N>>) -> Self {
        // User addresses of x86-64 and aarch64 have at most 56 bits, so this stays below 2^61. The record is found
        // again from the address alone, hence exposed.
        Mark(Self::TRIVIAL.0 + (record.as_ptr().expose_provenance() >> 3))
    }

    /// Returns the record of the component that the object is a member of, or `None` for every other mark.
    ///
    /// `N` is the type with which [`Mark::member`] was called.
    #[inline]
    #[must_use]
    pub fn record<N: Copy>(self) -> Option<NonNull<Record<N>>> {
        if self.0 > Self::TRIVIAL.0 {
            NonNull::new(core::ptr::with_exposed_provenance_mut((self.0 - Self::TRIVIAL.0) << 3))
        } else {
            None
        }
    }
}

/// Two bits that a heap asks the search to keep for it with an object: "was tracked by the collector", say.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Keep(u8);

impl Keep {
    /// Both bits. On a leaf they say that the heap has frozen it when it entered it: a commit only counts it, and does not
    /// touch its memory again.
    pub const DONE: Keep = Keep(3);

    /// Returns the two lowest bits of `bits`.
    #[inline]
    #[must_use]
    pub const fn new(bits: u8) -> Self {
        Keep(bits & 3)
    }

    /// Returns the bits.
    #[inline]
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }
}

/// What a heap says of the object at the end of an edge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seen {
    /// Nothing to do: immutable before this search began, or a leaf that this search has entered already.
    Outside,
    /// Entered just now, and has no edges of interest.
    Leaf(Keep),
    /// Entered just now; its edges are to be walked, and its mark is [`Mark::PENDING`].
    Container(Keep),
    /// A container that this search has entered already: it has a mark.
    Visited,
}

/// The way from a root to the object in question, each object holding an edge to the next.
pub struct Path<'a, N> {
    pub(super) ancestors: super::work::Words<'a>,
    pub(super) last: [usize; 2],
    pub(super) node: PhantomData<N>,
}

impl<N: Node> Iterator for Path<'_, N> {
    type Item = N;

    fn next(&mut self) -> Option<N> {
        use super::explore::{MARKER, node_of};
        let ancestor = self.ancestors.by_ref().find(|word| word & MARKER != 0 && node_of::<N>(*word).is_some());
        ancestor
            .or_else(|| self.last.iter_mut().find(|word| **word != 0).map(core::mem::take))
            .and_then(|word| node_of(word))
    }
}

/// A heap whose objects can be explored, frozen and restored.
///
/// All functions are called on the thread that freezes, and none of them may run foreign code: between the
/// first [`Heap::classify`] and the commit the objects are in no state to be looked at.
pub trait Heap {
    /// A reference to an object.
    type Node: Node;
    /// Why an object cannot be frozen.
    type Refusal;

    /// Looks at the object at the end of an edge, and enters it if this search sees it for the first time.
    ///
    /// To enter is to check the policy, set the visited flag, take the object away from the collector and, for a
    /// container, set its mark to [`Mark::PENDING`]; [`Heap::restore`] must be able to undo it. An error
    /// leaves the object as it was.
    ///
    /// # Errors
    /// The reason why this object cannot be frozen. It is handed to [`Heap::refuse`].
    fn classify(&mut self, node: Self::Node) -> Result<Seen, Self::Refusal>;

    /// As [`Heap::classify`], for an object that the caller of the freeze named as a root.
    ///
    /// All roots are classified before the first edge is walked.
    ///
    /// # Errors
    /// As [`Heap::classify`].
    #[inline]
    fn classify_root(&mut self, node: Self::Node) -> Result<Seen, Self::Refusal> {
        self.classify(node)
    }

    /// Decides what a refusal means: `Break` ends the search with it, `Continue` treats the object as outside.
    ///
    /// `path` leads from a root to `node`, both included. Only a search that merely reports may continue.
    #[inline]
    fn refuse(
        &mut self,
        node: Self::Node,
        refusal: Self::Refusal,
        path: Path<'_, Self::Node>,
    ) -> ControlFlow<Self::Refusal> {
        let _ = (node, path);
        ControlFlow::Break(refusal)
    }

    /// Calls `visit` with the object at the end of every edge of a container, once per edge.
    ///
    /// The edges must be the same each time, in any order. Stops early, and returns `Break`, when `visit` returns `Break`.
    fn for_each_edge<F>(&mut self, node: Self::Node, visit: &mut F) -> ControlFlow<()>
    where
        F: FnMut(&mut Self, Self::Node) -> ControlFlow<()>;

    /// Returns the mark of a container that this search has entered.
    fn mark(&self, node: Self::Node) -> Mark;

    /// Sets the mark of a container that this search has entered.
    fn set_mark(&mut self, node: Self::Node, mark: Mark);

    /// Returns the mark of any object: `None` unless it is a container that this search has entered.
    fn mark_if_entered(&self, node: Self::Node) -> Option<Mark>;

    /// Asks the processor to fetch what [`Heap::classify`] and [`Heap::mark`] will read of this object.
    #[inline]
    fn prefetch(&self, node: Self::Node) {
        let _ = node;
    }

    /// Takes one edge from inside its component off an object's count. Never called before the search has succeeded.
    fn subtract_edge(&mut self, node: Self::Node);

    /// Counts the leaves that were [`Keep::DONE`]: they need nothing more. Cannot fail.
    #[inline]
    fn commit_done(&mut self, leaves: usize) {
        let _ = leaves;
    }

    /// Freezes a leaf that was not [`Keep::DONE`], or a trivial component. Cannot fail.
    fn commit(&mut self, node: Self::Node, keep: Keep);

    /// Freezes a member of a non-trivial component, whose count is without internal edges by now. Cannot fail.
    ///
    /// Returns whether the member is live. An immortal member is.
    fn commit_member(&mut self, node: Self::Node, keep: Keep, record: NonNull<Record<Self::Node>>) -> bool;

    /// Undoes [`Heap::classify`] of an object that was entered, whatever its mark is by now, even if it was
    /// [`Keep::DONE`].
    fn restore(&mut self, node: Self::Node, keep: Keep);
}

/// Asks the processor to fetch the cache line of an address, which may be any.
#[inline]
pub fn prefetch_line(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch never faults and changes nothing but caches.
    unsafe {
        core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a prefetch never faults and changes nothing but caches.
    unsafe {
        core::arch::asm!("prfm pldl1keep, [{0}]", in(reg) address, options(nostack, readonly, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = address;
}
