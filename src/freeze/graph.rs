//! CPython's objects as a heap that the search can explore.
//!
//! ```text
//!   flags while exploring   VISITED            a leaf
//!                           VISITED | MEMBER   a container: it has a mark
//!   mark of a container     collector word `prev`, above its two flag bits; for
//!                           the few containers without that word, a side table
//!   kept with the object    bit 0: the collector tracked it; bit 1: a proxy;
//!                           both: a leaf that is frozen already
//! ```

use std::collections::{HashMap, TryReserveError};
use std::ops::ControlFlow;
use std::ptr::NonNull;

use super::heap::{Heap, Keep, Mark, Node, Path, Seen, prefetch_line};
use super::prepare::{self, Preparation, Prepared};
use crate::lifetime::count;
use crate::lifetime::headless;
use crate::lifetime::record::Record;
use crate::object::address::{AddressMap, AddressSet};
use crate::object::edges;
use crate::object::ffi;
use crate::object::header::{
    self, FROZEN, GC_FINALIZED, GC_PREV_BITS, MEMBER, OWN_POLICY, Object, PROXY, PyNode, Type, VISITED,
};
use crate::object::memory::OutOfMemory;
use crate::object::raise::Raised;
use crate::policy::declared::{self, Place};
use crate::policy::{self, Decision, Names, Policy, Refusal, Registry, Treatment, Word, hook};
use crate::share::interpreter::{self, Interpreter};
use crate::share::{c_type, module, string};

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
    /// As that, but nothing will be frozen, and a refusal does not end the search if all are to be found.
    DryRun {
        /// Go on after a refusal.
        to_the_end: bool,
    },
    /// Only objects that are immutable by nature, for `is_frozen`.
    ShallowImmutable,
}

/// What a freeze does with the objects of one type that say nothing for themselves.
#[derive(Clone, Copy)]
struct Kind {
    action: Action,
    /// Only if named as a root.
    explicit: bool,
    has_hook: bool,
    preparation: Preparation,
    place: Place,
}

/// [`Treatment`] without the reason, to be small.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    Leaf,
    Container,
    Function,
    Proxy,
    Refuse,
}

impl From<Treatment> for Action {
    fn from(treatment: Treatment) -> Self {
        match treatment {
            Treatment::Leaf => Action::Leaf,
            Treatment::Container => Action::Container,
            Treatment::Function => Action::Function,
            Treatment::Proxy => Action::Proxy,
            Treatment::Refused(_) => Action::Refuse,
        }
    }
}

/// A class that was entered although its own policy forbids it, or wants it named: a class goes with what it is the
/// class, or a base, of. Whether there is such a thing is known when all was seen.
#[derive(Clone, Copy)]
struct Suspect {
    class: Type,
    refusal: Option<Refusal>,
}

/// One freeze's view of the heap.
pub struct Graph<'a> {
    registry: &'a Registry,
    names: Names,
    reach: Reach,
    kinds: AddressMap<Type, Kind>,
    recent: (Type, Kind),
    marks: AddressMap<Object, Mark>,
    prepared: Prepared,
    gc_heap_size: *mut isize,
    owner_mark: u16,
    /// A module that is frozen as a whole, whatever its policy; or null.
    whole: Object,
    frozen: usize,
    /// Found to refuse only after all was seen.
    denied: Vec<(Object, Stop)>,
    suspects: Vec<Suspect>,
    /// Types of objects that are frozen for what was said of them, and not of their type.
    vouched: Vec<Type>,
    /// Objects whose hook is to be called before.
    hooked: Vec<Object>,
    /// What refused while the search went on.
    refusals: HashMap<Object, Stop>,
    /// What is not entered, roots aside: see [`Graph::pass_over`].
    known: AddressSet<Object>,
}

impl<'a> Graph<'a> {
    /// A heap for one freeze in the running interpreter. For `named` see [`Prepared::new`].
    ///
    /// # Safety
    /// The caller holds the GIL, and keeps it, and `named`, until the graph is dropped.
    pub unsafe fn new(state: &'a Interpreter, reach: Reach, named: Object) -> Self {
        let leaf = Kind {
            action: Action::Leaf,
            explicit: false,
            has_hook: false,
            preparation: Preparation::None,
            place: Place::None,
        };
        Graph {
            registry: &state.registry,
            names: state.names,
            reach,
            kinds: AddressMap::default(),
            recent: (std::ptr::null_mut(), leaf),
            marks: AddressMap::default(),
            // SAFETY: the caller's.
            prepared: unsafe { Prepared::new(matches!(reach, Reach::DryRun { .. }), named) },
            // SAFETY: the caller's.
            gc_heap_size: unsafe { ffi::imm_gc_heap_size() },
            // SAFETY: the caller's.
            owner_mark: unsafe { module::owner_mark() },
            whole: std::ptr::null_mut(),
            frozen: 0,
            denied: Vec::new(),
            suspects: Vec::new(),
            vouched: Vec::new(),
            hooked: Vec::new(),
            refusals: HashMap::new(),
            known: AddressSet::default(),
        }
    }

    /// The same for another search, which refuses what this one has found to refuse only after all was seen.
    ///
    /// # Safety
    /// As [`Graph::new`].
    pub unsafe fn again(state: &'a Interpreter, reach: Reach, denied: Vec<(Object, Stop)>) -> Self {
        // SAFETY: the caller's.
        Graph { denied, ..unsafe { Graph::new(state, reach, std::ptr::null_mut()) } }
    }

    /// What was found to refuse only after all was seen.
    pub fn take_denied(&mut self) -> Vec<(Object, Stop)> {
        std::mem::take(&mut self.denied)
    }

    /// What refused while the search went on.
    pub fn refusals(&self) -> &HashMap<Object, Stop> {
        &self.refusals
    }

    /// What was prepared.
    pub fn prepared(&self) -> &Prepared {
        &self.prepared
    }

    /// Has the search enter `module`, so that it is frozen as a whole.
    pub fn freeze_whole(&mut self, module: Object) {
        self.whole = module;
    }

    /// See [`Prepared::expect`].
    pub fn expect(&mut self, inside: AddressSet<Object>) {
        self.prepared.expect(inside);
    }

    /// Has the search enter none of these containers, unless it is a root: earlier ones have met them.
    pub fn pass_over(&mut self, known: AddressSet<Object>) {
        self.known = known;
    }

    /// What [`Graph::pass_over`] was given.
    pub fn take_known(&mut self) -> AddressSet<Object> {
        std::mem::take(&mut self.known)
    }

    /// Ends the use of the graph. Returns what the search has prepared, and the commit did not use.
    pub fn into_prepared(self) -> Prepared {
        self.prepared
    }

    /// The number of objects that a commit froze.
    pub fn frozen(&self) -> usize {
        self.frozen
    }

    /// The objects that the search has met, and whose hook is to be called before they are frozen; borrowed.
    pub fn hooked(&self) -> &[Object] {
        &self.hooked
    }

    /// What the commit needs beside the plan, and may fail. Must follow a search that has found everything.
    ///
    /// # Errors
    /// There is no memory, or an object refuses after all: another search refuses it too, and so finds the path.
    pub fn ready_to_commit(&mut self, roots: &[PyNode]) -> Result<(), Stop> {
        self.decide_late(roots)?;
        headless::insert(self.marks.iter().filter_map(|(&op, mark)| Some((op, mark.record()?))))?;
        Ok(())
    }

    /// Decides what can only be decided when everything was found.
    ///
    /// # Errors
    /// As [`Graph::ready_to_commit`].
    pub fn decide_late(&mut self, roots: &[PyNode]) -> Result<(), Stop> {
        self.denied.try_reserve(self.suspects.len() + 1)?;
        let denied = self.denied.len();
        for &suspect in &self.suspects {
            // SAFETY: classes that were entered, and live roots.
            if unsafe { !self.is_permitted(suspect, roots) } {
                let stop = suspect.refusal.map_or(Stop::NotARoot, Stop::Refused);
                self.denied.push((suspect.class.cast(), stop));
            }
        }
        if let Some(exported) = self.prepared.exported_outside()? {
            self.denied.push((exported, Stop::Refused(Refusal::Stateful(prepare::EXPORTED))));
        }
        self.denied.get(denied).map_or(Ok(()), |(_, stop)| Err(*stop))
    }

    /// Whether a suspect goes with something that is frozen for what was said of it.
    unsafe fn is_permitted(&self, suspect: Suspect, roots: &[PyNode]) -> bool {
        let class = suspect.class;
        // SAFETY: the caller's.
        unsafe {
            let is_of = |ty: Type| ffi::PyType_IsSubtype(ty, class) != 0;
            let named = |root: &PyNode| {
                let is_class = header::has_feature(header::type_of(root.0), ffi::Py_TPFLAGS_TYPE_SUBCLASS);
                is_of(header::type_of(root.0)) || is_class && is_of(root.0.cast())
            };
            let says_yes = |op: &Object| {
                let other: Type = op.cast();
                let says = || declared::word_for_class(self.registry, other, &self.names);
                other != class && is_of(other) && says() == Some(Ok(Policy::Yes))
            };
            suspect.refusal.is_none() && roots.iter().any(named)
                || self.vouched.iter().any(|ty| is_of(*ty))
                || self.prepared.classes().iter().any(says_yes)
        }
    }

    /// Whether what was kept with an object says that it would become a proxy.
    pub fn becomes_proxy(keep: Keep) -> bool {
        keep.bits() == AS_PROXY
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
        let kind = unsafe {
            let decision = self.decision_for_instances(ty);
            c_type::need(header::solid_c_base(ty));
            Kind {
                action: decision.treatment.into(),
                explicit: decision.explicit,
                has_hook: hook::is_defined(ty, &self.names),
                preparation: Preparation::of(ty),
                place: Place::of(ty, &self.names),
            }
        };
        self.kinds.insert(ty, kind);
        Ok(kind)
    }

    /// What may be done with instances of `ty` that say nothing for themselves.
    unsafe fn decision_for_instances(&self, ty: Type) -> Decision {
        // SAFETY: the caller's: a live type.
        unsafe {
            let decision = policy::for_instances(self.registry, &self.names, ty);
            match decision.treatment {
                Treatment::Leaf | Treatment::Container if c_type::is_twin(header::solid_c_base(ty)) => {
                    Decision { treatment: Treatment::Refused(Refusal::Stateful(prepare::TWIN)), explicit: false }
                }
                _ => decision,
            }
        }
    }

    /// Whether instances of exactly this type never change, whatever they refer to.
    ///
    /// # Safety
    /// `ty` is a live type.
    pub unsafe fn is_immutable_by_nature(&self, ty: Type) -> bool {
        // SAFETY: the caller's.
        is_shallow_immutable(ty) || unsafe { self.registry.is_shallow_immutable(ty) }
    }

    /// What the object says for itself.
    #[inline]
    unsafe fn own_word(&self, op: Object, flags: u16, place: Place) -> Option<Word> {
        // SAFETY: op is live, and its type has that place.
        unsafe {
            if flags & OWN_POLICY != 0
                && let Some(word) = self.registry.of_object(op)
            {
                return Some(word);
            }
            match place {
                Place::Class => declared::word_for_class(self.registry, op.cast(), &self.names),
                Place::Function => declared::word_for_function(op, &self.names),
                other => other.read(op, &self.names),
            }
        }
    }

    /// What is done with an object that says something for itself.
    #[cold]
    unsafe fn action_by_word(&mut self, op: Object, kind: Kind, word: Word, is_root: bool) -> Result<Action, Stop> {
        // SAFETY: as `own_word`.
        unsafe {
            let ty = header::type_of(op);
            let decision = policy::by_nature(ty).under(Some(word), policy::is_absolute(ty));
            let refusal = match decision.treatment {
                Treatment::Refused(refusal) => Some(refusal),
                _ => None,
            };
            if kind.place == Place::Class {
                if refusal.is_some() || decision.explicit {
                    self.suspects.try_reserve(1)?;
                    self.suspects.push(Suspect { class: op.cast(), refusal });
                    return Ok(Action::Container);
                }
            } else if let Some(refusal) = refusal {
                return Err(Stop::Refused(refusal));
            } else if decision.explicit && !is_root {
                return Err(Stop::NotARoot);
            }
            if kind.action == Action::Refuse || kind.explicit {
                self.vouched.try_reserve(1)?;
                self.vouched.push(ty);
            }
            Ok(decision.treatment.into())
        }
    }

    /// Why instances of a type refuse.
    #[cold]
    unsafe fn refusal(&self, ty: Type) -> Refusal {
        // SAFETY: the caller's: a live type, whose instances refuse.
        match unsafe { self.decision_for_instances(ty) }.treatment {
            Treatment::Refused(refusal) => refusal,
            _ => Refusal::Policy,
        }
    }

    /// Notes an object whose hook was not called yet.
    #[cold]
    unsafe fn note_hook(&mut self, op: Object) -> Result<(), Stop> {
        // SAFETY: a GIL is held.
        unsafe {
            if !interpreter::current().ok_or(Stop::Raised)?.hooks.is_called(op) {
                self.hooked.try_reserve(1)?;
                self.hooked.push(op);
            }
            Ok(())
        }
    }

    /// What most edges of most graphs lead to: a small decision for each, made in place.
    #[inline(always)]
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
                if self.reach == Reach::Freezable && freeze_leaf(op, ty, flags) {
                    return Ok(Seen::Leaf(Keep::DONE));
                }
                header::set_flags(op, flags | VISITED);
                return Ok(Seen::Leaf(Keep::default()));
            }
            self.classify_other(op, is_root)
        }
    }

    /// As [`Graph::classify_as`], for an object that is no common leaf, nor seen before.
    unsafe fn classify_other(&mut self, op: Object, is_root: bool) -> Result<Seen, Stop> {
        // SAFETY: the caller's.
        unsafe {
            let (ty, flags) = (header::type_of(op), header::flags(op));
            if self.reach == Reach::ShallowImmutable && !self.is_immutable_by_nature(ty) {
                return Err(Stop::NotARoot);
            }
            if !self.denied.is_empty()
                && let Some((_, stop)) = self.denied.iter().find(|(denied, _)| *denied == op)
            {
                return Err(*stop);
            }
            if !self.known.is_empty() && !is_root && self.known.contains(&op) {
                return Ok(Seen::Outside);
            }
            let kind = self.kind(ty)?;
            let action = match self.own_word(op, flags, kind.place) {
                word if op == self.whole => match policy::refusal_of_whole(word, op, &self.names) {
                    Some(refusal) => return Err(Stop::Refused(refusal)),
                    None => Action::Container,
                },
                Some(word) => self.action_by_word(op, kind, word, is_root)?,
                None if kind.action == Action::Refuse => return Err(Stop::Refused(self.refusal(ty))),
                None if kind.explicit && !is_root => return Err(Stop::NotARoot),
                None => kind.action,
            };
            let is_module_proxy = action == Action::Proxy && module::is_module(op);
            if is_module_proxy || action != Action::Proxy {
                self.prepared.weak.enter_referenced(op)?;
                if kind.has_hook {
                    self.note_hook(op)?;
                }
            }
            match action {
                Action::Leaf => {
                    self.prepared.prepare(op, kind.preparation)?;
                    header::set_flags(op, flags | VISITED);
                    Ok(Seen::Leaf(Keep::default()))
                }
                Action::Proxy => {
                    if is_module_proxy {
                        self.prepared.prepare_module(op)?;
                    }
                    self.prepared.prepare_proxy(op)?;
                    header::set_flags(op, flags | VISITED);
                    Ok(Seen::Leaf(Keep::new(AS_PROXY)))
                }
                Action::Function => {
                    self.prepared.prepare_function(op)?;
                    self.enter(op)
                }
                Action::Container => {
                    self.prepared.prepare(op, kind.preparation)?;
                    self.enter(op)
                }
                Action::Refuse => Err(Stop::Refused(Refusal::Policy)),
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

/// Freezes a leaf while it is in the processor's cache, so that the commit need not fetch it again. False, and nothing is
/// changed, if there is more to do at the commit, or that a rollback could not undo.
///
/// # Safety
/// `op` is a common leaf of type `ty`, not yet entered, with these flags; a GIL is held.
#[inline(always)]
unsafe fn freeze_leaf(op: Object, ty: Type, flags: u16) -> bool {
    // SAFETY: the caller's.
    unsafe {
        let references = header::refcnt(op);
        if references > count::MAX_COUNT || flags & OWN_POLICY != 0 {
            return false;
        }
        if ty == &raw mut ffi::PyUnicode_Type {
            if string::is_interned(op) {
                return false;
            }
            string::settle(op);
        }
        header::set_refcnt(op, count::encode(references as usize));
        header::set_flags(op, flags | FROZEN);
        true
    }
}

/// False if `op`, which is not frozen, is of a class whose instances are frozen by name only: one written in Python.
///
/// # Safety
/// `op` is alive.
#[inline]
pub unsafe fn may_be_immutable_by_nature(op: Object) -> bool {
    // SAFETY: the caller's.
    unsafe { !header::is_python_class(header::type_of(op)) || header::is_immortal_or_shared(op) }
}

/// False if `op`, which is not frozen, is nothing that `is_frozen` would look into.
///
/// # Safety
/// A GIL is held and `op` alive.
pub unsafe fn may_be_immutable(registry: &Registry, op: Object) -> bool {
    // SAFETY: the caller's.
    unsafe {
        let ty = header::type_of(op);
        is_common_leaf(ty)
            || is_shallow_immutable(ty)
            || header::is_immortal_or_shared(op)
            || registry.is_shallow_immutable(ty)
    }
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

    #[inline(always)]
    fn classify(&mut self, node: PyNode) -> Result<Seen, Stop> {
        self.classify_as(node.0, false)
    }

    fn classify_root(&mut self, node: PyNode) -> Result<Seen, Stop> {
        self.classify_as(node.0, true)
    }

    fn refuse(&mut self, node: PyNode, refusal: Stop, _: Path<'_, PyNode>) -> ControlFlow<Stop> {
        let goes_on = self.reach == (Reach::DryRun { to_the_end: true });
        match refusal {
            Stop::Refused(_) | Stop::NotARoot if goes_on => match self.refusals.try_reserve(1) {
                Ok(()) => {
                    self.refusals.insert(node.0, refusal);
                    ControlFlow::Continue(())
                }
                Err(_) => ControlFlow::Break(Stop::OutOfMemory),
            },
            other => ControlFlow::Break(other),
        }
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
            // A freeze gives such a dict a table of its own first.
            if self.prepared.is_dry_run()
                && edges::for_each_shared_item(op, &mut |target| {
                    if flow.is_continue() {
                        flow = visit(self, PyNode(target));
                    }
                })
            {
                return flow;
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
    fn commit_done(&mut self, leaves: usize) {
        self.frozen += leaves;
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
            if Self::becomes_proxy(keep) {
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
            header::set_flags(op, flags & !(VISITED | MEMBER | OWN_POLICY) | FROZEN);
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
            header::set_flags(op, header::flags(op) & !(VISITED | OWN_POLICY) | FROZEN);
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
            if keep == Keep::DONE {
                if let Some(count) = count::count_of(header::refcnt(op)) {
                    header::set_refcnt(op, count);
                    header::set_flags(op, flags & !FROZEN);
                }
                return;
            }
            header::set_flags(op, flags & !(VISITED | MEMBER));
            if header::type_of(op) == &raw mut ffi::PyLazyImport_Type {
                self.prepared.put_back_lazy_import(op);
            }
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
        } else if header::has_feature(ty, ffi::Py_TPFLAGS_DICT_SUBCLASS) {
            // Other interpreters have keys of their own with the version that this one gave, and other watchers with the
            // numbers of this one's.
            let dict = op.cast::<ffi::PyDictObject>();
            if (*dict).ma_values.is_null() && (*(*dict).ma_keys).dk_version != 0 {
                (*(*dict).ma_keys).dk_version = 0;
            }
            if (*dict)._ma_watcher_tag != 0 {
                (*dict)._ma_watcher_tag = 0;
            }
        } else if ty == &raw mut ffi::PyCode_Type {
            ffi::imm_retire_code(op.cast());
        }
    }
}
