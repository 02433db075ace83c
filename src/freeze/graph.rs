//! CPython's objects as a heap that the search can explore.
//!
//! ```text
//!   flags while exploring   VISITED            a leaf
//!                           VISITED | MEMBER   a container: it has a mark
//!   mark of a container     collector word `prev`, above its two flag bits; for
//!                           the few containers without that word, a side table
//!   kept with the object    bit 0: the collector tracked it; bit 1: a proxy
//! ```

use std::collections::{HashMap, TryReserveError};
use std::ops::ControlFlow;
use std::ptr::NonNull;

use super::heap::{Heap, Keep, Mark, Node, Seen, prefetch_line};
use super::prepare::{self, Preparation, Prepared};
use crate::lifetime::count;
use crate::lifetime::headless;
use crate::lifetime::record::Record;
use crate::object::edges;
use crate::object::ffi;
use crate::object::header::{self, FROZEN, GC_FINALIZED, GC_PREV_BITS, MEMBER, Object, PROXY, PyNode, Type, VISITED};
use crate::object::memory::OutOfMemory;
use crate::object::raise::Raised;
use crate::policy::{self, Refusal, Registry, Treatment};
use crate::share::{module, string};

// SAFETY: objects that are not statically allocated are 8-byte aligned at
// least; static ones are immortal, and never entered.
unsafe impl Node for PyNode {
    #[inline(always)]
    fn into_word(self) -> usize {
        self.0.expose_provenance()
    }

    #[inline(always)]
    unsafe fn from_word(word: usize) -> Self {
        PyNode(std::ptr::with_exposed_provenance_mut(word))
    }
}

const TRACKED: u8 = 1;
const AS_PROXY: u8 = 2;

/// Why the search stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The object refuses.
    Refused(Refusal),
    /// The object must be named as a root.
    NotARoot,
    /// A Python exception is set.
    Raised,
    /// There is no memory; no exception is set yet.
    OutOfMemory,
}

impl From<Raised> for Stop {
    fn from(_: Raised) -> Self {
        Stop::Raised
    }
}

impl From<OutOfMemory> for Stop {
    fn from(_: OutOfMemory) -> Self {
        Stop::OutOfMemory
    }
}

impl From<TryReserveError> for Stop {
    fn from(_: TryReserveError) -> Self {
        Stop::OutOfMemory
    }
}

/// What a search may enter.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Whatever policy allows.
    Freezable,
    /// Only objects that are immutable by nature, for `is_frozen`.
    ShallowImmutable,
}

/// What a freeze does with the objects of one type.
#[derive(Clone, Copy)]
struct Kind {
    treatment: Treatment,
    preparation: Preparation,
}

/// One freeze's view of the heap.
pub struct Graph<'a> {
    registry: &'a Registry,
    reach: Reach,
    kinds: HashMap<Type, Kind>,
    recent: (Type, Kind),
    marks: HashMap<Object, Mark>,
    prepared: Prepared,
    gc_heap_size: *mut isize,
    owner_mark: u16,
    /// A module that is frozen as a whole, whatever its policy; or null.
    whole: Object,
    frozen: usize,
    /// Found to refuse only after all was seen.
    denied: Option<Object>,
}

impl<'a> Graph<'a> {
    /// A heap for one freeze in the running interpreter.
    ///
    /// # Safety
    /// The caller holds the GIL, and keeps it until the graph is dropped.
    pub unsafe fn new(registry: &'a Registry, reach: Reach) -> Self {
        Graph {
            registry,
            reach,
            kinds: HashMap::new(),
            recent: (std::ptr::null_mut(), Kind { treatment: Treatment::Leaf, preparation: Preparation::None }),
            marks: HashMap::new(),
            // SAFETY: the caller's.
            prepared: unsafe { Prepared::new() },
            // SAFETY: the caller's.
            gc_heap_size: unsafe { ffi::imm_gc_heap_size() },
            // SAFETY: the caller's.
            owner_mark: unsafe { module::owner_mark() },
            whole: std::ptr::null_mut(),
            frozen: 0,
            denied: None,
        }
    }

    /// Has the search enter `module`, so that it is frozen as a whole.
    pub fn freeze_whole(&mut self, module: Object) {
        self.whole = module;
    }

    /// Ends the use of the graph. Returns what the search has prepared, and the commit did not use.
    pub fn into_prepared(self) -> Prepared {
        self.prepared
    }

    /// The number of objects that a commit froze.
    pub fn frozen(&self) -> usize {
        self.frozen
    }

    /// What the commit needs beside the plan, and may fail. Must follow a search that has found everything.
    ///
    /// # Errors
    /// There is no memory, or an object refuses after all: another search refuses it too, and so finds the path.
    pub fn ready_to_commit(&mut self) -> Result<(), Stop> {
        if let Some(exported) = self.prepared.exported_outside()? {
            self.denied = Some(exported);
            return Err(Stop::Refused(Refusal::Stateful(prepare::EXPORTED)));
        }
        headless::insert(self.marks.iter().filter_map(|(&op, mark)| Some((op, mark.record()?))))?;
        Ok(())
    }

    /// What must follow a commit before any Python code runs again.
    pub fn finish(&mut self) {
        self.prepared.finish();
    }

    #[inline]
    fn kind(&mut self, ty: Type) -> Result<Kind, Stop> {
        if self.recent.0 != ty {
            self.recent = (ty, self.kind_of_other(ty)?);
        }
        Ok(self.recent.1)
    }

    fn kind_of_other(&mut self, ty: Type) -> Result<Kind, Stop> {
        if let Some(&kind) = self.kinds.get(&ty) {
            return Ok(kind);
        }
        self.kinds.try_reserve(1)?;
        // SAFETY: the type of a live object.
        let kind =
            unsafe { Kind { treatment: policy::treatment(self.registry, ty), preparation: Preparation::of(ty) } };
        self.kinds.insert(ty, kind);
        Ok(kind)
    }

    #[inline]
    fn classify_as(&mut self, op: Object, is_root: bool) -> Result<Seen, Stop> {
        // SAFETY: the search only passes objects that live roots own.
        unsafe {
            if header::is_immortal_or_shared(op) {
                string::keep_immortal(op);
                return Ok(Seen::Outside);
            }
            let flags = header::flags(op);
            if flags & VISITED != 0 {
                return Ok(if flags & MEMBER != 0 { Seen::Visited } else { Seen::Outside });
            }
            let ty = header::type_of(op);
            if is_common_leaf(ty) {
                header::set_flags(op, flags | VISITED);
                return Ok(Seen::Leaf(Keep::default()));
            }
            if self.reach == Reach::ShallowImmutable && !is_shallow_immutable(ty) {
                return Err(Stop::NotARoot);
            }
            if self.denied == Some(op) {
                return Err(Stop::Refused(Refusal::Stateful(prepare::EXPORTED)));
            }
            let mut kind = self.kind(ty)?;
            if op == self.whole {
                kind.treatment = Treatment::Container;
            }
            let is_module_proxy = matches!(kind.treatment, Treatment::Proxy) && module::is_module(op);
            if is_module_proxy || !matches!(kind.treatment, Treatment::Proxy | Treatment::Refused(_)) {
                self.prepared.weak.enter_referenced(op)?;
            }
            match kind.treatment {
                Treatment::Leaf => {
                    self.prepared.prepare(op, kind.preparation)?;
                    header::set_flags(op, flags | VISITED);
                    Ok(Seen::Leaf(Keep::default()))
                }
                Treatment::Proxy => {
                    if is_module_proxy {
                        self.prepared.prepare_module(op)?;
                    }
                    self.prepared.prepare_proxy(op)?;
                    header::set_flags(op, flags | VISITED);
                    Ok(Seen::Leaf(Keep::new(AS_PROXY)))
                }
                Treatment::Function => {
                    self.prepared.prepare_function(op)?;
                    self.enter(op)
                }
                Treatment::Explicit if !is_root => Err(Stop::NotARoot),
                Treatment::Container | Treatment::Explicit => {
                    self.prepared.prepare(op, kind.preparation)?;
                    self.enter(op)
                }
                Treatment::Refused(refusal) => Err(Stop::Refused(refusal)),
            }
        }
    }

    /// Marks a container, and takes it away from the collector.
    #[inline]
    unsafe fn enter(&mut self, op: Object) -> Result<Seen, Stop> {
        // SAFETY: the caller's: op is live and not yet entered.
        unsafe {
            let flags = header::flags(op) | VISITED | MEMBER;
            if !header::has_gc_head(op) {
                self.marks.try_reserve(1)?;
                self.marks.insert(op, Mark::PENDING);
                header::set_flags(op, flags);
                return Ok(Seen::Container(Keep::default()));
            }
            header::set_flags(op, flags);
            Ok(Seen::Container(if self.untrack(op) { Keep::new(TRACKED) } else { Keep::default() }))
        }
    }

    /// Takes an object away from the collector. Returns whether it was tracked.
    #[inline]
    unsafe fn untrack(&mut self, op: Object) -> bool {
        // SAFETY: the caller's: op has a collector header.
        unsafe {
            let head = header::gc_head(op);
            let next = (*head).next;
            if next == 0 {
                (*head).prev &= GC_FINALIZED;
                return false;
            }
            // _PyObject_GC_UNTRACK: out of the list of its generation.
            let prev = (*head).prev & !GC_PREV_BITS;
            let next_head = next as *mut header::GcHead;
            (*(prev as *mut header::GcHead)).next = next;
            (*next_head).prev = (*next_head).prev & GC_PREV_BITS | prev;
            (*head).next = 0;
            (*head).prev &= GC_FINALIZED;
            *self.gc_heap_size -= 1;
            true
        }
    }
}

#[inline(always)]
fn is_common_leaf(ty: Type) -> bool {
    ty == &raw mut ffi::PyUnicode_Type
        || ty == &raw mut ffi::PyLong_Type
        || ty == &raw mut ffi::PyFloat_Type
        || ty == &raw mut ffi::PyBytes_Type
}

fn is_shallow_immutable(ty: Type) -> bool {
    let types: [Type; 6] = [
        &raw mut ffi::PyTuple_Type,
        &raw mut ffi::PyFrozenSet_Type,
        &raw mut ffi::PyFrozenDict_Type,
        &raw mut ffi::PyRange_Type,
        &raw mut ffi::PySlice_Type,
        &raw mut ffi::PyCode_Type,
    ];
    types.contains(&ty) || ty == &raw mut ffi::PyComplex_Type
}

impl Heap for Graph<'_> {
    type Node = PyNode;
    type Refusal = Stop;

    #[inline]
    fn classify(&mut self, node: PyNode) -> Result<Seen, Stop> {
        self.classify_as(node.0, false)
    }

    fn classify_root(&mut self, node: PyNode) -> Result<Seen, Stop> {
        self.classify_as(node.0, true)
    }

    #[inline]
    fn for_each_edge<F>(&mut self, node: PyNode, visit: &mut F) -> ControlFlow<()>
    where
        F: FnMut(&mut Self, PyNode) -> ControlFlow<()>,
    {
        let op = node.0;
        let mut flow = ControlFlow::Continue(());
        // SAFETY: op was entered, so it is live.
        unsafe {
            if header::type_of(op) == &raw mut ffi::PyFunction_Type
                && let Some(targets) = self.prepared.detached_edges(op)
            {
                return targets
                    .into_iter()
                    .filter(|target| !target.is_null())
                    .try_for_each(|target| visit(self, PyNode(target)));
            }
            edges::for_each(op, &mut |target| {
                if flow.is_continue() {
                    flow = visit(self, PyNode(target));
                }
            });
        }
        flow
    }

    #[inline]
    fn mark(&self, node: PyNode) -> Mark {
        // SAFETY: a container that was entered.
        unsafe {
            if header::has_gc_head(node.0) {
                Mark::from_bits((*header::gc_head(node.0)).prev >> 2)
            } else {
                self.marks.get(&node.0).copied().unwrap_or(Mark::TRIVIAL)
            }
        }
    }

    #[inline]
    fn set_mark(&mut self, node: PyNode, mark: Mark) {
        // SAFETY: a container that was entered.
        unsafe {
            if header::has_gc_head(node.0) {
                let prev = &raw mut (*header::gc_head(node.0)).prev;
                *prev = *prev & GC_PREV_BITS | mark.bits() << 2;
            } else if let Some(known) = self.marks.get_mut(&node.0) {
                *known = mark;
            }
        }
    }

    #[inline]
    fn mark_if_entered(&self, node: PyNode) -> Option<Mark> {
        const CONTAINER: u16 = VISITED | MEMBER;
        // SAFETY: the end of an edge is live.
        let flags = unsafe { header::flags(node.0) };
        (flags & CONTAINER == CONTAINER).then(|| self.mark(node))
    }

    #[inline]
    fn prefetch(&self, node: PyNode) {
        prefetch_line(node.0.cast());
    }

    #[inline]
    fn subtract_edge(&mut self, node: PyNode) {
        // SAFETY: the edge is a reference that the count holds.
        unsafe { header::set_refcnt(node.0, header::refcnt(node.0) - 1) };
    }

    #[inline]
    fn commit(&mut self, node: PyNode, keep: Keep) {
        let op = node.0;
        // SAFETY: op was entered; nobody else sees it before the freeze ends.
        unsafe {
            if header::type_of(op) == &raw mut ffi::PyUnicode_Type {
                string::settle(op);
            }
            let flags = header::flags(op);
            header::set_refcnt(op, count::encode(header::refcnt(op) as usize));
            if keep.bits() & AS_PROXY != 0 {
                header::set_owner(op, self.owner_mark);
                // A module is frozen for everybody but the interpreter that it belongs to.
                let frozen = if module::is_module(op) { FROZEN } else { 0 };
                header::set_flags(op, flags & !VISITED | PROXY | frozen);
                // The collector of another interpreter, which meets it in some container, would read the marks of
                // this one's.
                if header::has_gc_head(op) {
                    self.untrack(op);
                }
                return;
            }
            self.frozen += 1;
            header::set_flags(op, flags & !(VISITED | MEMBER) | FROZEN);
            if flags & MEMBER != 0 {
                settle(op);
                if header::has_gc_head(op) {
                    (*header::gc_head(op)).prev &= GC_FINALIZED;
                }
            }
        }
    }

    fn commit_member(&mut self, node: PyNode, _: Keep, record: NonNull<Record<PyNode>>) -> bool {
        let op = node.0;
        // SAFETY: as `commit`.
        unsafe {
            let external = header::refcnt(op);
            header::set_refcnt(op, count::encode(external as usize));
            header::set_flags(op, header::flags(op) & !VISITED | FROZEN);
            self.frozen += 1;
            settle(op);
            if header::has_gc_head(op) {
                let head = header::gc_head(op);
                (*head).prev = (*head).prev & GC_FINALIZED | record.as_ptr().expose_provenance();
            } // else it is in the table: see `ready_to_commit`
            external > 0
        }
    }

    fn restore(&mut self, node: PyNode, keep: Keep) {
        let op = node.0;
        // SAFETY: op was entered. A container without collector word was only
        // in the side table, which goes with `self`.
        unsafe {
            let flags = header::flags(op);
            header::set_flags(op, flags & !(VISITED | MEMBER));
            if flags & MEMBER != 0 && header::has_gc_head(op) {
                (*header::gc_head(op)).prev &= GC_FINALIZED;
                if keep.bits() & TRACKED != 0 {
                    ffi::PyObject_GC_Track(op.cast());
                }
            }
        }
    }
}

/// What a container needs besides its header.
unsafe fn settle(op: Object) {
    // SAFETY: the type says which layout op has.
    unsafe {
        let ty = header::type_of(op);
        if header::has_feature(ty, ffi::Py_TPFLAGS_LIST_SUBCLASS) {
            // No spare capacity, so that appending must resize, where the barrier is.
            let list = op.cast::<ffi::PyListObject>();
            (*list).allocated = (*list).ob_base.ob_size;
        } else if ty == &raw mut ffi::PyDict_Type {
            // Other interpreters have keys of their own with the version that this one gave.
            let dict = op.cast::<ffi::PyDictObject>();
            if (*dict).ma_values.is_null() && (*(*dict).ma_keys).dk_version != 0 {
                (*(*dict).ma_keys).dk_version = 0;
            }
        } else if ty == &raw mut ffi::PyCode_Type {
            ffi::imm_forget_code_version(op.cast());
        }
    }
}
