//! The search: everything that the roots reach, and its strongly connected components.
//!
//! Pearce's one-word variant of Tarjan's algorithm ("A space-efficient algorithm for finding strongly connected
//! components", Information Processing Letters 116, 2016), made iterative over edges that come from a callback and cannot
//! be resumed. Each container carries one word, its [`Mark`]; nothing else is kept per object but:
//!
//! - `order`: every object entered, a word each. What commit and rollback walk. Leaves that the heap has frozen at sight
//!   are apart, in `leaves`: a commit need not look at them again.
//! - `work`: the frames of the containers on the current path. A frame is the children that are still to be
//!   explored, and above them, once a deeper frame is on top, the marker of the container itself:
//!
//!   ```text
//!     [marker of ground] roots...  ->  r1 r2 | ground   c1 c2 c3 | r2 ...     bottom to top
//!   ```
//!
//!   The frame on top has no marker yet: its container is in a variable. To explore a child is to put that marker into the
//!   slot that the child leaves, so that the marker of the parent always lies right below the frame of the child. When the
//!   next word is a marker, the container in the variable is done, and the marker says who its parent was. The path from the
//!   root is thus the markers of the stack, which is all that the report of a refusal needs.
//! - `held`: containers that are done but belong to the component of one that is still on the path.
//!
//! A container is in `work` (as marker), in `held`, or in a record, never in two of them: with `order` that is 16 bytes
//! per object, and 24 while a component's record is written. Children that are leaves, or were immutable before, never
//! touch `work`. One that waits in several frames takes a slot in each, 8 bytes for the 8 bytes that the edge
//! itself takes in the object. A container without children to explore is finished where it stands, with a single write of
//! its mark.
//!
//! Nothing here recurses, hashes, or calls through a pointer.

use core::marker::PhantomData;
use core::ops::ControlFlow;

use super::heap::{Heap, Keep, Mark, Node, Path, Seen, TAG_BITS};
use super::plan::{Entry, Plan};
use super::work::WordStack;
use crate::lifetime::record::Record;
use crate::object::memory::OutOfMemory;

// Tags of a word in `work`.
/// The word is a container on the path, not a child to explore.
pub(super) const MARKER: usize = 1;
/// The container reaches one that is below it on the path: it is not the first of its component.
const NOT_FIRST: usize = 2;
/// The container has an edge to itself.
const SELF_EDGE: usize = 4;

/// The frame below all others, whose children are the roots.
const GROUND: usize = MARKER;

/// How many children ahead of the one being explored are prefetched.
const AHEAD: usize = 4;

/// Returns the object of a word in `work` or `order`, or `None` for the ground.
#[inline]
pub(super) fn node_of<N: Node>(word: usize) -> Option<N> {
    let bare = word & !((1 << TAG_BITS) - 1);
    // SAFETY: all words in these stacks are nodes' words with tags, or tags alone.
    if bare == 0 { None } else { Some(unsafe { N::from_word(bare) }) }
}

/// Why a search ended early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason<R> {
    /// An object cannot be frozen.
    Refused(R),
    /// There was no memory for the search's own bookkeeping.
    OutOfMemory,
}

impl<R> From<OutOfMemory> for Reason<R> {
    fn from(_: OutOfMemory) -> Self {
        Reason::OutOfMemory
    }
}

/// A search that ended early. Objects are still marked: [`Stopped::rollback`] restores them.
#[must_use = "objects stay marked until the rollback"]
pub struct Stopped<H: Heap> {
    reason: Reason<H::Refusal>,
    plan: Plan<H::Node>,
    work: WordStack,
    last: [usize; 2],
}

impl<H: Heap> Stopped<H> {
    /// Returns a search that had found everything, but whose plan cannot be committed.
    pub fn after(plan: Plan<H::Node>, reason: Reason<H::Refusal>) -> Self {
        Stopped { reason, plan, work: WordStack::new(), last: [0; 2] }
    }

    /// Returns why the search ended.
    pub fn reason(&self) -> &Reason<H::Refusal> {
        &self.reason
    }

    /// Returns the way from a root to the object that was refused, both included. For
    /// [`Reason::OutOfMemory`] it leads to the object that was being walked.
    #[must_use]
    pub fn path(&self) -> Path<'_, H::Node> {
        Path { ancestors: self.work.iter(), last: self.last, node: PhantomData }
    }

    /// Returns every object that the search entered, as [`Plan::entries`] does.
    pub fn entries(&self) -> impl Iterator<Item = Entry<H::Node>> {
        self.plan.entries()
    }

    /// Restores every object that the search entered, and returns why it ended.
    pub fn rollback(self, heap: &mut H) -> Reason<H::Refusal> {
        self.plan.rollback(heap);
        self.reason
    }
}

/// Explores everything that `roots` reach, and returns the plan to freeze it.
///
/// Takes time in O(objects + edges). Every object that is reached and not outside is in the plan once; every component
/// that is not trivial has its record. The objects are marked until the plan is committed or rolled back.
///
/// # Errors
/// [`Stopped`]: an object refused, or there was no memory. The objects reached so far are marked until its rollback.
#[expect(clippy::result_large_err, reason = "the error may say that there is no memory, so it cannot be boxed")]
pub fn explore<H: Heap>(heap: &mut H, roots: &[H::Node]) -> Result<Plan<H::Node>, Stopped<H>> {
    let mut search = Search {
        plan: Plan::new(),
        work: WordStack::new(),
        held: WordStack::new(),
        next_index: 1,
        last: [0; 2],
        node: PhantomData,
    };
    match search.run(heap, roots) {
        Ok(()) => {
            search.plan.note_bookkeeping(search.work.peak_bytes() + search.held.peak_bytes());
            Ok(search.plan)
        }
        Err(reason) => Err(Stopped { reason, plan: search.plan, work: search.work, last: search.last }),
    }
}

struct Search<H: Heap> {
    plan: Plan<H::Node>,
    work: WordStack,
    held: WordStack,
    next_index: usize,
    /// When the search ends early: the container being walked and the culprit, zero for none.
    last: [usize; 2],
    node: PhantomData<H>,
}

/// What the walk over the edges of one container found.
struct Walk<R> {
    /// The lowest index among the container's own and those of the active containers it has an edge to.
    low: usize,
    self_edge: bool,
    /// Children were pushed.
    pending: bool,
    /// The last of them, or 0: a list that holds one object many times pushes it once.
    pushed: usize,
    /// Why the walk ended early.
    stop: Option<Reason<R>>,
}

impl<H: Heap> Search<H> {
    fn run(&mut self, heap: &mut H, roots: &[H::Node]) -> Result<(), Reason<H::Refusal>> {
        for &root in roots {
            self.enter_root(heap, root)?;
        }
        // The container whose children are on top of `work`, with its tags.
        let mut frame = GROUND;
        while let Some(word) = self.work.pop() {
            if word & MARKER == 0 {
                self.prefetch_ahead(heap);
                // SAFETY: a word without marker is a child's.
                let child = unsafe { H::Node::from_word(word) };
                let mark = heap.mark(child);
                if mark == Mark::PENDING {
                    frame = self.explore_child(heap, frame, child)?;
                } else if mark.is_active() {
                    // Pending when it was pushed, explored from a deeper frame since.
                    frame = Self::reach(heap, frame, mark);
                }
            } else {
                frame = self.leave(heap, frame, word)?;
            }
        }
        Ok(())
    }

    fn enter_root(&mut self, heap: &mut H, root: H::Node) -> Result<(), Reason<H::Refusal>> {
        match heap.classify_root(root) {
            Ok(Seen::Outside | Seen::Visited) => {}
            Ok(Seen::Leaf(keep)) => self.plan.enter_leaf(heap, root, keep)?,
            Ok(Seen::Container(keep)) => {
                self.plan.enter_container(heap, root, keep)?;
                self.work.push(root.into_word())?;
            }
            Err(refusal) => {
                self.last = [0, root.into_word()];
                let path = Path { ancestors: self.work.iter(), last: self.last, node: PhantomData };
                if let ControlFlow::Break(refusal) = heap.refuse(root, refusal, path) {
                    return Err(Reason::Refused(refusal));
                }
            }
        }
        Ok(())
    }

    /// Explores a child of the container in `frame`. Returns the frame to go on with: that of the child if it has children of
    /// its own to explore, otherwise the same, with what was learned from the child.
    #[inline]
    fn explore_child(&mut self, heap: &mut H, frame: usize, child: H::Node) -> Result<usize, Reason<H::Refusal>> {
        self.work.push(frame)?;
        let index = self.next_index;
        let walk = self.walk(heap, child, index)?;
        let mut tags = MARKER;
        if walk.low < index {
            tags |= NOT_FIRST;
        }
        if walk.self_edge {
            tags |= SELF_EDGE;
        }
        if walk.pending {
            self.next_index += 1;
            heap.set_mark(child, Mark::active(walk.low));
            return Ok(child.into_word() | tags);
        }
        self.work.pop();
        if walk.low < index {
            let low = Mark::active(walk.low);
            heap.set_mark(child, low);
            self.held.push(child.into_word())?;
            return Ok(Self::reach(heap, frame, low));
        }
        // What is held belongs to containers below on the path: nothing was pushed since.
        if walk.self_edge {
            self.close(heap, child, 0)?;
        } else {
            heap.set_mark(child, Mark::TRIVIAL);
        }
        Ok(frame)
    }

    /// Enters the children of a container, and pushes those that have to be explored.
    #[inline]
    fn walk(&mut self, heap: &mut H, node: H::Node, index: usize) -> Result<Walk<H::Refusal>, Reason<H::Refusal>> {
        let mut walk = Walk { low: index, self_edge: false, pending: false, pushed: 0, stop: None };
        let flow = heap.for_each_edge(node, &mut |heap: &mut H, child| match heap.classify(child) {
            // Most edges lead there: nothing else is done in place.
            Ok(Seen::Outside) => ControlFlow::Continue(()),
            Ok(Seen::Leaf(Keep::DONE)) if self.plan.leaves.push_if_room(child.into_word()) => ControlFlow::Continue(()),
            seen => self.meet(heap, &mut walk, node, child, seen),
        });
        match (flow, walk.stop.take()) {
            (_, Some(reason)) => Err(reason),
            (ControlFlow::Continue(()), None) => Ok(walk),
            // The heap gave up by itself, which its contract does not allow; nothing that was found can be trusted.
            (ControlFlow::Break(()), None) => Err(Reason::OutOfMemory),
        }
    }

    /// Notes what the edge from `node` to `child` leads to.
    fn meet(
        &mut self,
        heap: &mut H,
        walk: &mut Walk<H::Refusal>,
        node: H::Node,
        child: H::Node,
        seen: Result<Seen, H::Refusal>,
    ) -> ControlFlow<()> {
        let Self { plan, work, last, .. } = self;
        let noted = match seen {
            Ok(Seen::Outside) => Ok(()),
            Ok(Seen::Leaf(keep)) => plan.enter_leaf(heap, child, keep),
            Ok(Seen::Container(keep)) => {
                walk.pushed = child.into_word();
                walk.pending = true;
                plan.enter_container(heap, child, keep).and_then(|()| work.push(walk.pushed))
            }
            Ok(Seen::Visited) if child == node => {
                walk.self_edge = true;
                Ok(())
            }
            Ok(Seen::Visited) => match heap.mark(child) {
                Mark::PENDING if walk.pushed == child.into_word() => Ok(()),
                Mark::PENDING => {
                    walk.pushed = child.into_word();
                    walk.pending = true;
                    work.push(walk.pushed)
                }
                mark => {
                    // The marks of containers that are done are above every index.
                    walk.low = walk.low.min(mark.bits());
                    Ok(())
                }
            },
            Err(refusal) => {
                *last = [node.into_word(), child.into_word()];
                let path = Path { ancestors: work.iter(), last: *last, node: PhantomData };
                if let ControlFlow::Break(refusal) = heap.refuse(child, refusal, path) {
                    walk.stop = Some(Reason::Refused(refusal));
                    return ControlFlow::Break(());
                }
                Ok(())
            }
        };
        if noted.is_err() {
            *last = [node.into_word(), 0];
            walk.stop = Some(Reason::OutOfMemory);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    /// Leaves the container in `frame`, all of whose children are done. Returns its parent's frame.
    fn leave(&mut self, heap: &mut H, frame: usize, parent: usize) -> Result<usize, Reason<H::Refusal>> {
        let Some(node) = node_of::<H::Node>(frame) else { return Ok(parent) };
        let mark = heap.mark(node);
        if frame & NOT_FIRST != 0 {
            self.held.push(node.into_word())?;
            return Ok(Self::reach(heap, parent, mark));
        }
        // The containers held since this one was entered are its component, and reach no lower index than its own.
        let others = if self.held.is_empty() {
            0
        } else {
            self.held.count_last_while(|word| node_of(word).is_some_and(|held| heap.mark(held) >= mark))
        };
        if others > 0 || frame & SELF_EDGE != 0 {
            self.close(heap, node, others)?;
        } else {
            heap.set_mark(node, Mark::TRIVIAL);
        }
        Ok(parent)
    }

    /// Writes the record of a non-trivial component: its first container, and the last `others` ones held.
    fn close(&mut self, heap: &mut H, first: H::Node, others: usize) -> Result<(), Reason<H::Refusal>> {
        self.plan.records.reserve()?;
        let record = Record::allocate(others + 1).ok_or(OutOfMemory)?;
        // SAFETY: reserved above.
        unsafe { self.plan.records.push_reserved(record.as_ptr().expose_provenance()) };
        let mark = Mark::member(record);
        let mut member = first;
        for index in 0..=others {
            // SAFETY: the record is ours, and has `others + 1` members.
            unsafe { Record::write_member(record, index, member) };
            heap.set_mark(member, mark);
            if index < others {
                match self.held.pop().and_then(node_of) {
                    Some(held) => member = held,
                    None => return Err(Reason::OutOfMemory), // not reached: `others` were counted
                }
                if let Some(ahead) = self.held.peek(AHEAD).and_then(node_of) {
                    heap.prefetch(ahead);
                }
            }
        }
        Ok(())
    }

    /// Notes in the frame of a container on the path that it reaches an active one. Returns the frame.
    #[inline]
    fn reach(heap: &mut H, frame: usize, mark: Mark) -> usize {
        match node_of::<H::Node>(frame) {
            Some(node) if mark < heap.mark(node) => {
                heap.set_mark(node, mark);
                frame | NOT_FIRST
            }
            _ => frame,
        }
    }

    #[inline]
    fn prefetch_ahead(&self, heap: &H) {
        if let Some(node) = self.work.peek(AHEAD).and_then(node_of) {
            heap.prefetch(node);
        }
    }
}

impl<N: Node> Plan<N> {
    /// Notes a leaf that the heap has entered. Without memory for that, the heap takes it back.
    #[inline]
    fn enter_leaf<H: Heap<Node = N>>(&mut self, heap: &mut H, node: N, keep: Keep) -> Result<(), OutOfMemory> {
        let noted = if keep == Keep::DONE {
            self.leaves.push(node.into_word())
        } else {
            self.order.push(word_of(node, true, keep))
        };
        noted.inspect_err(|_| heap.restore(node, keep))
    }

    /// As [`Plan::enter_leaf`], for a container.
    #[inline]
    fn enter_container<H: Heap<Node = N>>(&mut self, heap: &mut H, node: N, keep: Keep) -> Result<(), OutOfMemory> {
        self.order.push(word_of(node, false, keep)).inspect_err(|_| heap.restore(node, keep))
    }
}

/// A word of the order.
#[inline]
fn word_of<N: Node>(node: N, leaf: bool, keep: Keep) -> usize {
    node.into_word() | usize::from(leaf) | usize::from(keep.bits()) << 1
}
