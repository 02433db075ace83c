//! The plan of a freeze: what was found, to be counted and committed, or rolled back.

use core::marker::PhantomData;
use core::ops::ControlFlow;
use core::ptr::NonNull;

use super::explore::node_of;
use super::heap::{Heap, Keep, Mark, Node};
use super::work::WordStack;
use crate::lifetime::record::Record;

/// Everything that one search found.
///
/// `order` has a word per object: the node, whether it is a leaf (bit 0), what the heap keeps (bits 1 and 2). `records` has
/// the address of each record. The records belong to the plan until the commit. `leaves` has the leaves that are
/// [`Keep::DONE`].
#[must_use = "objects stay marked until the plan is committed or rolled back"]
pub struct Plan<N: Node> {
    pub(super) order: WordStack,
    pub(super) leaves: WordStack,
    pub(super) records: WordStack,
    search_bytes: usize,
    node: PhantomData<N>,
}

/// An object of a plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry<N> {
    /// The object.
    pub node: N,
    /// Whether it is a leaf: then it has no mark.
    pub leaf: bool,
    /// What the heap wanted kept with it.
    pub keep: Keep,
}

/// How far ahead of the object at hand the walks over the order prefetch.
const AHEAD: usize = 8;

impl<N: Node> Plan<N> {
    pub(super) fn new() -> Self {
        let [order, leaves, records] = [const { WordStack::new() }; 3];
        Plan { order, leaves, records, search_bytes: 0, node: PhantomData }
    }

    pub(super) fn note_bookkeeping(&mut self, bytes: usize) {
        self.search_bytes = bytes;
    }

    /// Returns the number of objects.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len() + self.leaves.len()
    }

    /// Returns whether there is nothing to freeze.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty() && self.leaves.is_empty()
    }

    /// Returns an upper bound of the bytes that the search and the plan took at any one time, the records aside.
    #[must_use]
    pub fn bookkeeping_bytes(&self) -> usize {
        self.search_bytes + self.order.peak_bytes() + self.leaves.peak_bytes() + self.records.peak_bytes()
    }

    /// Returns every object once, in the order in which they were entered, but [`Keep::DONE`] leaves last.
    pub fn entries(&self) -> impl Iterator<Item = Entry<N>> {
        self.order.iter().filter_map(entry).chain(self.done())
    }

    fn done(&self) -> impl Iterator<Item = Entry<N>> {
        self.leaves.iter().filter_map(node_of).map(|node| Entry { node, leaf: true, keep: Keep::DONE })
    }

    /// Returns the record of every non-trivial component, those that are reached from others before those.
    pub fn records(&self) -> impl Iterator<Item = NonNull<Record<N>>> {
        self.records.iter().filter_map(|address| NonNull::new(core::ptr::with_exposed_provenance_mut(address)))
    }

    /// Returns the members of every non-trivial component, in the order of [`Plan::records`].
    pub fn components(&self) -> impl Iterator<Item = &[N]> {
        // SAFETY: the plan owns the records, and the search has written all members.
        self.records().map(|record| unsafe { Record::members(record) })
    }

    /// Takes the internal edges off the counts of the members of all non-trivial components.
    ///
    /// From here on the plan must be committed: nothing puts the edges back. Allocates nothing and cannot fail.
    pub fn count_internal_edges<H: Heap<Node = N>>(&mut self, heap: &mut H) {
        for record in self.records() {
            let mark = Mark::member(record);
            // SAFETY: the plan owns the records, and the search has written all members.
            let members = unsafe { Record::members(record) };
            for (position, &member) in members.iter().enumerate() {
                if let Some(&ahead) = members.get(position + AHEAD) {
                    heap.prefetch(ahead);
                }
                // The visitor never breaks off, so neither does the walk.
                let _ = heap.for_each_edge(member, &mut |heap: &mut H, target| {
                    if heap.mark_if_entered(target) == Some(mark) {
                        heap.subtract_edge(target);
                    }
                    ControlFlow::Continue(())
                });
            }
        }
    }

    /// Freezes every object. Needs [`Plan::count_internal_edges`] first. Allocates nothing and cannot fail.
    ///
    /// The records belong to their components from now on.
    pub fn commit<H: Heap<Node = N>>(mut self, heap: &mut H) {
        heap.commit_done(self.leaves.len());
        Self::walk_order(&self.order, heap, |heap, entry| {
            let record = if entry.leaf { None } else { heap.mark(entry.node).record::<N>() };
            match record {
                None => heap.commit(entry.node, entry.keep),
                Some(record) => {
                    if heap.commit_member(entry.node, entry.keep, record) {
                        // SAFETY: a record is released with its component, which is not published yet.
                        unsafe { record.as_ref() }.add_live();
                    }
                }
            }
        });
        self.records = WordStack::new();
    }

    /// Restores every object. Must not be called after [`Plan::count_internal_edges`].
    pub fn rollback<H: Heap<Node = N>>(self, heap: &mut H) {
        Self::walk_order(&self.order, heap, |heap, entry| heap.restore(entry.node, entry.keep));
        self.done().for_each(|entry| heap.restore(entry.node, entry.keep));
    }

    /// Passes every object of the order to `each`, and has its memory fetched before.
    #[inline]
    fn walk_order<H: Heap<Node = N>>(order: &WordStack, heap: &mut H, mut each: impl FnMut(&mut H, Entry<N>)) {
        let mut words = order.iter();
        while let Some(word) = words.next() {
            if let Some(ahead) = words.peek(AHEAD).and_then(node_of) {
                heap.prefetch(ahead);
            }
            if let Some(entry) = entry(word) {
                each(heap, entry);
            }
        }
    }
}

impl<N: Node> Drop for Plan<N> {
    fn drop(&mut self) {
        for record in self.records() {
            // SAFETY: these are records whose components were not committed, so nobody else has them.
            unsafe { Record::release(record) };
        }
    }
}

#[inline]
fn entry<N: Node>(word: usize) -> Option<Entry<N>> {
    node_of(word).map(|node| Entry { node, leaf: word & 1 != 0, keep: Keep::new((word >> 1) as u8) })
}
