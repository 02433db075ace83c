//! A model heap: objects in one vector, edges in another, and the same search, plan and counting protocol as CPython's objects.
//!
//! An object has what a CPython object has for the runtime: a count word, flags, and a word that is the collector's
//! while the object is tracked and the mark's while it is not.
#![allow(dead_code)] // each test and bench uses its part

use std::ops::ControlFlow;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use immutable::freeze::heap::{Heap, Keep, Mark, Node, Path, Seen, prefetch_line};
use immutable::lifetime::count::{self, Shared};
use immutable::lifetime::record::Record;

/// An object's position in the heap.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Id(pub u32);

// SAFETY: the word is not zero, its three lowest bits are, and the way back is exact.
unsafe impl Node for Id {
    fn into_word(self) -> usize {
        (self.0 as usize + 1) << 3
    }

    unsafe fn from_word(word: usize) -> Self {
        Id(((word >> 3) - 1) as u32)
    }
}

pub const LEAF: u8 = 1;
pub const IMMORTAL: u8 = 2;
pub const REFUSES: u8 = 4;
pub const TRACKED: u8 = 8;
pub const VISITED: u8 = 16;
pub const FROZEN: u8 = 32;

/// What the collector's word holds while the object is tracked: nothing that a search could take for a mark.
const COLLECTOR: usize = usize::MAX;

/// An object. As large as a cache line, so that each costs a miss as a CPython object does.
#[repr(align(64))]
#[derive(Debug)]
pub struct Object {
    gc_word: usize,
    pub count: AtomicU32,
    pub flags: u8,
    pub freed: AtomicBool,
    first_edge: u32,
    edges: u32,
}

/// What a search must leave as it was when it fails.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot(Vec<(usize, u32, u8)>);

#[derive(Default)]
pub struct ModelHeap {
    pub objects: Vec<Object>,
    edges: Vec<Id>,
    /// Go on after a refusal, as `explain` does, and note the paths.
    pub collect_refusals: bool,
    pub refusals: Vec<Vec<Id>>,
}

impl ModelHeap {
    /// Returns a heap of mutable objects, each with its flags and its edges, and counts that are the edges to it.
    pub fn new(objects: impl IntoIterator<Item = (u8, Vec<Id>)>) -> Self {
        let mut heap = ModelHeap::default();
        for (flags, edges) in objects {
            heap.push(flags, edges);
        }
        heap.count_all_edges();
        heap
    }

    /// Adds an object. [`ModelHeap::count_all_edges`] follows when all are there.
    pub fn push(&mut self, flags: u8, edges: impl IntoIterator<Item = Id>) {
        let first_edge = self.edges.len() as u32;
        if flags & LEAF == 0 {
            self.edges.extend(edges);
        }
        let tracked = if flags & LEAF == 0 { TRACKED } else { 0 };
        self.objects.push(Object {
            gc_word: COLLECTOR,
            count: AtomicU32::new(if flags & IMMORTAL != 0 { count::IMMORTAL } else { 0 }),
            flags: flags | tracked,
            freed: AtomicBool::new(false),
            first_edge,
            edges: self.edges.len() as u32 - first_edge,
        });
    }

    pub fn count_all_edges(&mut self) {
        for edge in 0..self.edges.len() {
            self.hold(self.edges[edge]);
        }
    }

    /// Adds a reference from outside the heap to a mutable object.
    pub fn hold(&mut self, id: Id) {
        let object = &mut self.objects[id.0 as usize];
        if object.flags & IMMORTAL == 0 {
            *object.count.get_mut() += 1;
        }
    }

    pub fn len(&self) -> usize {
        self.objects.len()
    }

    pub fn ids(&self) -> impl Iterator<Item = Id> + use<> {
        (0..self.objects.len() as u32).map(Id)
    }

    pub fn object(&self, id: Id) -> &Object {
        &self.objects[id.0 as usize]
    }

    pub fn has(&self, id: Id, flag: u8) -> bool {
        self.object(id).flags & flag != 0
    }

    pub fn edges_of(&self, id: Id) -> &[Id] {
        let object = self.object(id);
        &self.edges[object.first_edge as usize..(object.first_edge + object.edges) as usize]
    }

    pub fn external_count(&self, id: Id) -> Option<u32> {
        count::count_of(self.object(id).count.load(Ordering::Relaxed))
    }

    pub fn snapshot(&self) -> Snapshot {
        let state = |object: &Object| (object.gc_word, object.count.load(Ordering::Relaxed), object.flags);
        Snapshot(self.objects.iter().map(state).collect())
    }

    /// Makes everything mutable again and releases the records, as no real heap could.
    pub fn thaw(&mut self, before: &Snapshot) {
        let mut records: Vec<usize> = Vec::new();
        for (object, (gc_word, count, flags)) in self.objects.iter_mut().zip(&before.0) {
            if object.flags & (FROZEN | LEAF | IMMORTAL) == FROZEN
                && let Some(record) = Mark::from_bits(object.gc_word).record::<Id>()
            {
                records.push(record.as_ptr().expose_provenance());
            }
            (object.gc_word, *object.count.get_mut(), object.flags) = (*gc_word, *count, *flags);
        }
        records.sort_unstable();
        records.dedup();
        for record in records {
            // SAFETY: the record of a committed component, and no object points at it any more.
            unsafe { Record::<Id>::release(NonNull::new(std::ptr::with_exposed_provenance_mut(record)).unwrap()) };
        }
    }

    /// Returns the record of the non-trivial component that a frozen object belongs to.
    pub fn record(&self, id: Id) -> Option<NonNull<Record<Id>>> {
        let object = self.object(id);
        if object.flags & (FROZEN | LEAF | IMMORTAL) == FROZEN {
            Mark::from_bits(object.gc_word).record()
        } else {
            None
        }
    }

    /// Takes a reference to a frozen object whose component is held.
    pub fn take(&self, id: Id) {
        let word = &self.object(id).count;
        match self.record(id) {
            _ if self.has(id, IMMORTAL) => {}
            None => count::increment::<Shared>(word),
            // SAFETY: the component is held, so its record is there.
            Some(record) => count::increment_member::<Shared>(word, unsafe { record.as_ref() }.live()),
        }
    }

    /// Takes a reference to a frozen object unless it is dying. Its record must not be released meanwhile, which is for
    /// the caller to see to, as weak references do with a lock.
    pub fn promote(&self, id: Id) -> bool {
        let word = &self.object(id).count;
        match self.record(id) {
            _ if self.has(id, IMMORTAL) => true,
            None => count::try_increment::<Shared>(word),
            // SAFETY: by the caller.
            Some(record) => count::try_increment_member::<Shared>(word, unsafe { record.as_ref() }.live()),
        }
    }

    /// Gives up a reference to a frozen object, and frees everything that dies of it. Every object must die only once.
    ///
    /// `retired` gets the records of components that died.
    pub fn give_up(&self, id: Id, retired: &mut Vec<NonNull<Record<Id>>>) {
        let mut to_give_up = vec![id];
        while let Some(id) = to_give_up.pop() {
            assert!(self.has(id, FROZEN), "{id:?} is referenced from a frozen object and is not frozen");
            if self.has(id, IMMORTAL) {
                continue;
            }
            assert!(!self.object(id).freed.load(Ordering::Relaxed), "{id:?} freed while referenced");
            let word = &self.object(id).count;
            match self.record(id) {
                None => {
                    if count::decrement::<Shared>(word) {
                        self.free(id);
                        to_give_up.extend(self.edges_of(id));
                    }
                }
                Some(record) => {
                    // SAFETY: a reference to a member is held, so the record is there; when it was the last one, it is ours.
                    if count::decrement_member::<Shared>(word, unsafe { record.as_ref() }.live()) {
                        // SAFETY: as above.
                        for &member in unsafe { Record::members(record) } {
                            self.free(member);
                            let outside = |target: &Id| self.record(*target) != Some(record);
                            to_give_up.extend(self.edges_of(member).iter().copied().filter(outside));
                        }
                        retired.push(record);
                    }
                }
            }
        }
    }

    fn free(&self, id: Id) {
        assert!(!self.object(id).freed.swap(true, Ordering::Relaxed), "{id:?} freed twice");
    }
}

/// Releases the records of components that died.
pub fn release_records(retired: Vec<NonNull<Record<Id>>>) {
    for record in retired {
        // SAFETY: `give_up` handed it over, and by now no thread promotes a weak reference to its members.
        unsafe { Record::release(record) };
    }
}

impl Heap for ModelHeap {
    type Node = Id;
    type Refusal = Id;

    #[inline]
    fn classify(&mut self, id: Id) -> Result<Seen, Id> {
        let object = &mut self.objects[id.0 as usize];
        if object.flags & (FROZEN | IMMORTAL) != 0 {
            return Ok(Seen::Outside);
        }
        if object.flags & VISITED != 0 {
            return Ok(if object.flags & LEAF != 0 { Seen::Outside } else { Seen::Visited });
        }
        if object.flags & REFUSES != 0 {
            return Err(id);
        }
        let keep = Keep::new(u8::from(object.flags & TRACKED != 0));
        object.flags = (object.flags | VISITED) & !TRACKED;
        if object.flags & LEAF != 0 {
            return Ok(Seen::Leaf(keep));
        }
        object.gc_word = Mark::PENDING.bits();
        Ok(Seen::Container(keep))
    }

    fn refuse(&mut self, id: Id, refusal: Id, path: Path<'_, Id>) -> ControlFlow<Id> {
        if self.collect_refusals {
            let path: Vec<Id> = path.collect();
            assert_eq!(path.last(), Some(&id));
            self.refusals.push(path);
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(refusal)
        }
    }

    #[inline]
    fn for_each_edge<F>(&mut self, id: Id, visit: &mut F) -> ControlFlow<()>
    where
        F: FnMut(&mut Self, Id) -> ControlFlow<()>,
    {
        let object = &self.objects[id.0 as usize];
        let (first, last) = (object.first_edge as usize, (object.first_edge + object.edges) as usize);
        for edge in first..last {
            let target = self.edges[edge];
            visit(self, target)?;
        }
        ControlFlow::Continue(())
    }

    #[inline]
    fn mark(&self, id: Id) -> Mark {
        Mark::from_bits(self.objects[id.0 as usize].gc_word)
    }

    #[inline]
    fn set_mark(&mut self, id: Id, mark: Mark) {
        self.objects[id.0 as usize].gc_word = mark.bits();
    }

    #[inline]
    fn mark_if_entered(&self, id: Id) -> Option<Mark> {
        let object = &self.objects[id.0 as usize];
        (object.flags & (VISITED | LEAF) == VISITED).then(|| Mark::from_bits(object.gc_word))
    }

    #[inline]
    fn prefetch(&self, id: Id) {
        prefetch_line(self.objects.as_ptr().wrapping_add(id.0 as usize).cast());
    }

    #[inline]
    fn subtract_edge(&mut self, id: Id) {
        *self.objects[id.0 as usize].count.get_mut() -= 1;
    }

    #[inline]
    fn commit(&mut self, id: Id, _: Keep) {
        let object = &mut self.objects[id.0 as usize];
        object.flags = (object.flags & !VISITED) | FROZEN;
        let count = object.count.get_mut();
        *count = count::encode(*count as usize);
    }

    #[inline]
    fn commit_member(&mut self, id: Id, keep: Keep, _: NonNull<Record<Id>>) -> bool {
        let live = *self.objects[id.0 as usize].count.get_mut() > 0;
        self.commit(id, keep);
        live
    }

    #[inline]
    fn restore(&mut self, id: Id, keep: Keep) {
        let object = &mut self.objects[id.0 as usize];
        object.flags &= !VISITED;
        object.gc_word = COLLECTOR;
        if keep.bits() & 1 != 0 {
            object.flags |= TRACKED;
        }
    }
}

/// A small fast generator of pseudo-random numbers (Vigna's xorshift64*).
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize) % bound
    }
}

/// The shapes of large graphs. The root is always the first object of [`Shape::build`]'s order.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// A list of records with two leaves each: what parsed data looks like.
    Records,
    /// A binary tree of containers.
    Tree,
    /// A list nested as deep as it has objects.
    Chain,
    /// One cycle through all objects.
    Cycle,
    /// A binary tree with one more edge from each object to any other: one giant component, and small ones.
    Random,
    /// A list of containers that are all empty.
    Wide,
}

impl Shape {
    /// Returns a heap of `size` objects and its root, which is held once.
    ///
    /// With `scattered` the objects lie in memory in no order that a walk could follow.
    pub fn build(self, size: usize, scattered: bool) -> (ModelHeap, Id) {
        let mut random = Random(0x9E37_79B9_7F4A_7C15);
        let mut place: Vec<u32> = (0..size as u32).collect();
        if scattered {
            for position in (1..size).rev() {
                place.swap(position, random.below(position + 1));
            }
        }
        let mut object_at = vec![0_u32; size];
        for (object, &position) in place.iter().enumerate() {
            object_at[position as usize] = object as u32;
        }
        let mut heap = ModelHeap::default();
        heap.objects.reserve_exact(size);
        for &object in &object_at {
            let object = object as usize;
            let at = |other: usize| Id(place[other]);
            match self {
                Shape::Records if object == 0 => heap.push(0, (1..size).step_by(3).map(at)),
                Shape::Records if object % 3 == 1 => heap.push(0, (object + 1..size.min(object + 3)).map(at)),
                Shape::Records => heap.push(LEAF, []),
                Shape::Tree => heap.push(0, (object * 2 + 1..=object * 2 + 2).filter(|child| *child < size).map(at)),
                Shape::Chain => heap.push(0, (object + 1..size.min(object + 2)).map(at)),
                Shape::Cycle => heap.push(0, [at((object + 1) % size)]),
                Shape::Random => {
                    let children = (object * 2 + 1..=object * 2 + 2).filter(|child| *child < size);
                    heap.push(0, children.chain([random.below(size)]).map(at));
                }
                Shape::Wide if object == 0 => heap.push(0, (1..size).map(at)),
                Shape::Wide => heap.push(0, []),
            }
        }
        heap.count_all_edges();
        let root = Id(place[0]);
        heap.hold(root);
        (heap, root)
    }
}
