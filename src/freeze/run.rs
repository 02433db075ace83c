//! A freeze from its roots to its commit, on CPython's heap.

use std::time::{Duration, Instant};

use super::explore::{Reason, Stopped, explore};
use super::graph::{self, Graph, Reach, Stop};
use super::plan::{Entry, Plan};
use super::{isolation, path};
use crate::lifetime::{release, site};
use crate::object::address::AddressSet;
use crate::object::edges;
use crate::object::ffi;
use crate::object::header::{self, Object, PROXY, PyNode, VISITED};
use crate::object::memory::{self, OutOfMemory, try_format};
use crate::object::raise::{self, Raised, Value};
use crate::policy::hook::{self, Hooks};
use crate::policy::{self, vital};
use crate::share::{c_type, exception, interpreter};

/// What else is asked of a freeze.
#[derive(Clone, Copy)]
pub struct Terms {
    /// Nothing outside the graph may refer into it: see `isolation`.
    pub isolated: bool,
    /// For some functions, names to capture beside those in their code: see `Prepared::new`. Borrowed, may be null.
    pub named: Object,
    /// A module that is frozen as a whole, whatever its policy. Borrowed, may be null.
    pub whole: Object,
    /// The objects are the runtime's own, and refer to nothing of the program's: it may freeze nothing, so its types of C
    /// modules and what belongs to its interpreter stay as they are.
    pub own: bool,
}

impl Terms {
    /// Nothing.
    pub const NONE: Terms =
        Terms { isolated: false, named: std::ptr::null_mut(), whole: std::ptr::null_mut(), own: false };
}

/// Freezes everything that `roots` reach, or nothing.
///
/// Hooks are called first, and whatever they leave is frozen (see `policy::hook`).
///
/// # Errors
/// [`Raised`]: `NotFreezableError`, MemoryError, or what a hook raised. Nothing was frozen.
///
/// # Safety
/// The caller holds a GIL and the roots alive. Python code may run before anything is frozen.
pub unsafe fn freeze(roots: &[Object], terms: Terms) -> Result<(), Raised> {
    // SAFETY: the caller's; nothing is marked yet.
    let site = match site::is_on().then(|| unsafe { site::here() }).transpose() {
        Ok(site) => site,
        // SAFETY: the caller's.
        Err(error) => return Err(unsafe { raise::no_memory(error) }),
    };
    let mut calls_hooks = false;
    // Of the second search, and those after it: what hooks have added may add more, an object at a time.
    let mut known = None;
    let mut inside = Known::default();
    let outcome = loop {
        // SAFETY: the caller's. The hooks' references are passed on.
        unsafe {
            match attempt(roots, terms, site.as_deref(), known.as_mut(), &inside) {
                Attempt::Ended(outcome) => break outcome,
                Attempt::Missed(objects) => {
                    if let Err(error) = inside.try_reserve(objects.len()) {
                        break Err(raise::no_memory(error.into()));
                    }
                    inside.extend(objects);
                }
                Attempt::Hooked(objects) => {
                    if !calls_hooks && hook::begin().is_err() {
                        objects.into_iter().for_each(|op| ffi::Py_DecRef(op));
                        return Err(Raised);
                    }
                    calls_hooks = true;
                    if let Err(raised) = call_hooks(objects, terms, known.as_mut()) {
                        break Err(raised);
                    }
                    known.get_or_insert_default();
                }
            }
        }
    };
    if calls_hooks {
        // SAFETY: begun above, on this thread.
        unsafe { hook::end() };
    }
    outcome
}

/// Containers that searches of one freeze have met; the addresses of some may be those of others by now, which are then
/// found by the next search from the roots.
type Known = AddressSet<Object>;

fn note(known: &mut Known, entries: impl Iterator<Item = Entry<PyNode>>) -> Result<(), OutOfMemory> {
    for entry in entries.filter(|entry| !entry.leaf) {
        known.try_reserve(1)?;
        known.insert(entry.node.0);
    }
    Ok(())
}

fn copy_of(known: &Known) -> Result<Known, OutOfMemory> {
    let mut copy = Known::default();
    copy.try_reserve(known.len())?;
    copy.extend(known);
    Ok(copy)
}

/// Calls the hooks of these objects, whose references are used up; from the second search on also the hooks of what those
/// have added, and so on, so that the whole graph is not searched again for each.
unsafe fn call_hooks(mut objects: Vec<Object>, terms: Terms, mut known: Option<&mut Known>) -> Result<(), Raised> {
    // SAFETY: the caller's: a GIL is held, and nothing is marked.
    unsafe {
        loop {
            let Some(known) = known.as_deref_mut() else { return hook::call(objects) };
            let called = memory::collect(objects.iter().copied());
            let called = called.inspect(|called| called.iter().for_each(|op| ffi::Py_IncRef(*op)));
            let outcome = hook::call(objects);
            let called = called.map_err(|error| raise::no_memory(error))?;
            let found = outcome.and_then(|()| find_hooked(&called, terms, known));
            let error = ffi::PyErr_GetRaisedException();
            called.into_iter().for_each(|op| ffi::Py_DecRef(op));
            ffi::PyErr_SetRaisedException(error);
            objects = found?;
            if objects.is_empty() {
                return Ok(());
            }
        }
    }
}

/// References to the objects that want their hooks called, and that `roots` reach by way of nothing known.
unsafe fn find_hooked(roots: &[Object], terms: Terms, known: &mut Known) -> Result<Vec<Object>, Raised> {
    // SAFETY: as `attempt`.
    unsafe {
        c_type::settle();
        let mut graph = Graph::new(interpreter::current().ok_or(Raised)?, Reach::Freezable, terms.named);
        graph.freeze_whole(terms.whole);
        // What a hook adds to its object may go into a dict of it.
        for &root in roots {
            edges::for_each(root, &mut |part| {
                if header::type_of(part) == &raw mut ffi::PyDict_Type {
                    known.remove(&part);
                }
            });
        }
        graph.pass_over(std::mem::take(known));
        let (noted, reason) = match explore(&mut graph, PyNode::slice(roots)) {
            Ok(plan) => {
                *known = graph.take_known();
                let noted = note(known, plan.entries());
                plan.rollback(&mut graph);
                (noted, None)
            }
            Err(stopped) => {
                *known = graph.take_known();
                (note(known, stopped.entries()), Some(stopped.rollback(&mut graph)))
            }
        };
        let found = match (noted, reason) {
            (Err(error), _) => Err(raise::no_memory(error)),
            (_, Some(Reason::Refused(Stop::Raised))) => Err(Raised),
            (_, Some(Reason::OutOfMemory | Reason::Refused(Stop::OutOfMemory))) => Err(raise::no_memory(OutOfMemory)),
            // A refusal is for the search from the roots to report.
            _ => owned(graph.hooked()),
        };
        end(graph);
        found
    }
}

/// What came of one search.
enum Attempt {
    Ended(Result<(), Raised>),
    /// Nothing has changed, and these objects want their hooks called; owned references.
    Hooked(Vec<Object>),
    /// Nothing has changed, and annotations refer to these objects, which were found after those.
    Missed(Vec<Object>),
}

unsafe fn attempt(
    roots: &[Object],
    terms: Terms,
    site: Option<&str>,
    known: Option<&mut Known>,
    inside: &Known,
) -> Attempt {
    // SAFETY: nothing between the search and the last use of the graph runs
    // Python code; references are given up after that.
    unsafe {
        let state = if terms.own {
            interpreter::current().ok_or(Raised)
        } else {
            c_type::settle();
            vital::marked()
        };
        let Ok(state) = state else { return Attempt::Ended(Err(Raised)) };
        let mut graph = Graph::new(state, Reach::Freezable, terms.named);
        graph.freeze_whole(terms.whole);
        match copy_of(inside) {
            Ok(inside) => graph.expect(inside),
            Err(error) => return Attempt::Ended(Err(raise::no_memory(error))),
        }
        let attempt = match find(&mut graph, roots) {
            Ok(plan) if graph.hooked().is_empty() => match graph.prepared().missed() {
                Ok(missed) if missed.iter().all(|op| inside.contains(op)) => {
                    Attempt::Ended(conclude(&mut graph, plan, roots, terms, (&state.hooks, site)))
                }
                missed => {
                    plan.rollback(&mut graph);
                    missed.map_or_else(|error| Attempt::Ended(Err(raise::no_memory(error))), Attempt::Missed)
                }
            },
            Ok(plan) => {
                let noted = known.map_or(Ok(()), |known| note(known, plan.entries()));
                plan.rollback(&mut graph);
                take_hooked(&graph, noted)
            }
            // A hook may make it willing. Otherwise the next search refuses it again.
            Err(stopped)
                if !graph.hooked().is_empty()
                    && matches!(stopped.reason(), Reason::Refused(Stop::Refused(_) | Stop::NotARoot)) =>
            {
                let noted = known.map_or(Ok(()), |known| note(known, stopped.entries()));
                stopped.rollback(&mut graph);
                take_hooked(&graph, noted)
            }
            // The route to a culprit may lead through what was detached: it is
            // described before that is given up.
            Err(stopped) => Attempt::Ended(Err(report(&mut graph, roots, stopped))),
        };
        end(graph);
        attempt
    }
}

/// Freezes what was found, if the terms permit.
unsafe fn conclude(
    graph: &mut Graph<'_>,
    plan: Plan<PyNode>,
    roots: &[Object],
    terms: Terms,
    (hooks, site): (&Hooks, Option<&str>),
) -> Result<(), Raised> {
    if terms.isolated {
        // SAFETY: the plan is that of a search of this graph from these roots.
        let shared = unsafe { isolation::find_shared(graph, &plan, roots, hooks) };
        if !matches!(shared, Ok(None)) {
            plan.rollback(graph);
            let outcome = match shared {
                // SAFETY: nothing is marked any more, and all on the route are alive.
                Ok(Some(route)) => unsafe { raise_not_freezable(&route, roots, isolation::SHARED) },
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
            // SAFETY: a GIL is held.
            return Err(outcome.map_or_else(|error| unsafe { raise::no_memory(error) }, |()| Raised));
        }
    }
    let traced = site.map(|site| Ok((memory::collect(traceable(&plan))?, try_format!("{site}")?))).transpose();
    match traced {
        Ok(traced) => {
            commit(graph, plan);
            if let Some((objects, site)) = traced {
                site::note(&objects, site);
            }
            Ok(())
        }
        Err(error) => {
            plan.rollback(graph);
            // SAFETY: a GIL is held.
            Err(unsafe { raise::no_memory(error) })
        }
    }
}

/// What can be written into as long as it is not frozen.
fn traceable(plan: &Plan<PyNode>) -> impl Iterator<Item = Object> {
    // SAFETY: what was entered is live.
    let is_bytearray = |op: Object| unsafe { header::type_of(op) } == &raw mut ffi::PyByteArray_Type;
    plan.entries().filter(move |entry| !entry.leaf || is_bytearray(entry.node.0)).map(|entry| entry.node.0)
}

unsafe fn take_hooked(graph: &Graph<'_>, noted: Result<(), OutOfMemory>) -> Attempt {
    // SAFETY: a GIL is held, and the objects are alive.
    unsafe {
        let taken = noted.map_err(|error| raise::no_memory(error)).and_then(|()| owned(graph.hooked()));
        taken.map_or_else(|raised| Attempt::Ended(Err(raised)), Attempt::Hooked)
    }
}

/// References to these objects.
unsafe fn owned(objects: &[Object]) -> Result<Vec<Object>, Raised> {
    // SAFETY: the caller's: a GIL is held, and the objects are alive.
    unsafe {
        let objects = memory::collect(objects.iter().copied()).map_err(|error| raise::no_memory(error))?;
        objects.iter().for_each(|op| ffi::Py_IncRef(*op));
        Ok(objects)
    }
}

/// Freezes a module as a whole, whatever its policy, with everything that it reaches, or nothing.
///
/// # Errors
/// As [`freeze`].
///
/// # Safety
/// As [`freeze`]; `module` is a module that is not frozen.
pub unsafe fn freeze_whole_module(module: Object) -> Result<(), Raised> {
    // SAFETY: the caller's.
    unsafe { freeze(&[module], Terms { whole: module, ..Terms::NONE }) }
}

/// Raises `NotFreezableError` for an object that refuses as a root.
///
/// # Safety
/// As [`freeze`].
pub unsafe fn refuse(op: Object, reason: &str) -> Raised {
    // SAFETY: the caller's.
    unsafe { raise_not_freezable(&[op], &[op], reason).map_or_else(|error| raise::no_memory(error), |()| Raised) }
}

/// Searches, and makes ready to commit.
#[expect(clippy::result_large_err, reason = "as for `explore`")]
fn find<'a>(graph: &mut Graph<'a>, roots: &[Object]) -> Result<Plan<PyNode>, Stopped<Graph<'a>>> {
    let roots = PyNode::slice(roots);
    let plan = explore(graph, roots)?;
    match graph.ready_to_commit(roots) {
        Ok(()) => Ok(plan),
        Err(Stop::OutOfMemory) => Err(Stopped::after(plan, Reason::OutOfMemory)),
        // The object is known only now: a search that refuses it finds the path.
        Err(_) => {
            plan.rollback(graph);
            explore(graph, roots)
        }
    }
}

/// Freezes what was found.
fn commit(graph: &mut Graph<'_>, mut plan: Plan<PyNode>) {
    plan.count_internal_edges(graph);
    plan.commit(graph);
    graph.finish();
    release::note_frozen(graph.frozen());
}

/// Gives up what was prepared and is not used. An exception that is set stays.
pub(super) unsafe fn end(graph: Graph<'_>) {
    // SAFETY: a GIL is held. Python code may run, and change the registry: the graph is gone by then.
    unsafe {
        let prepared = graph.into_prepared();
        let error = ffi::PyErr_GetRaisedException();
        prepared.give_up();
        ffi::PyErr_SetRaisedException(error);
    }
}

/// Rolls back, and raises what the search stopped for.
unsafe fn report<'a>(graph: &mut Graph<'a>, roots: &[Object], stopped: Stopped<Graph<'a>>) -> Raised {
    // SAFETY: a GIL is held, and the graph's objects are alive: see `freeze`.
    unsafe {
        let route = memory::collect(stopped.path().map(|node| node.0));
        let reason = match stopped.rollback(graph) {
            Reason::Refused(Stop::Raised) => return Raised,
            Reason::Refused(Stop::Refused(refusal)) => Ok(refusal.reason()),
            Reason::Refused(Stop::NotARoot) => Ok(policy::NOT_A_ROOT),
            Reason::Refused(Stop::OutOfMemory) | Reason::OutOfMemory => Err(OutOfMemory),
        };
        match reason.and_then(|reason| raise_not_freezable(&route?, roots, reason)) {
            Ok(()) => Raised,
            Err(error) => raise::no_memory(error),
        }
    }
}

/// Times the least that a freeze of `root` must do: to read and write the header of every object once, in the order in which
/// a freeze enters them. `None` if it would be refused.
///
/// # Errors
/// [`Raised`]: MemoryError.
///
/// # Safety
/// As [`freeze`].
pub unsafe fn time_header_walk(root: Object) -> Result<Option<Duration>, Raised> {
    // SAFETY: as `freeze`. The objects stay alive, since the root is and nothing else runs.
    unsafe {
        let state = interpreter::current().ok_or(Raised)?;
        let mut graph = Graph::new(state, Reach::DryRun { to_the_end: false }, std::ptr::null_mut());
        let order = match explore(&mut graph, PyNode::slice(&[root])) {
            Ok(plan) => {
                let order = memory::collect(plan.entries().map(|entry| entry.node.0));
                plan.rollback(&mut graph);
                order.map(Some)
            }
            Err(stopped) => match stopped.rollback(&mut graph) {
                Reason::Refused(_) => Ok(None),
                Reason::OutOfMemory => Err(OutOfMemory),
            },
        };
        let order = order.map_err(|error| raise::no_memory(error));
        let taken = order.map(|order| {
            order.map(|order| {
                let toggle = || order.iter().for_each(|&op| header::set_flags(op, header::flags(op) ^ VISITED));
                let start = Instant::now();
                toggle();
                let taken = start.elapsed();
                toggle();
                taken
            })
        });
        end(graph);
        taken
    }
}

/// True if `freeze` of these roots would succeed now, hooks aside, which are not called.
///
/// # Errors
/// [`Raised`]: MemoryError.
///
/// # Safety
/// As [`freeze`].
pub unsafe fn is_freezable(roots: &[Object]) -> Result<bool, Raised> {
    // SAFETY: as `freeze`.
    unsafe {
        let state = vital::marked()?;
        let mut graph = Graph::new(state, Reach::DryRun { to_the_end: false }, std::ptr::null_mut());
        let outcome = match explore(&mut graph, PyNode::slice(roots)) {
            Ok(plan) => {
                let decided = graph.decide_late(PyNode::slice(roots));
                plan.rollback(&mut graph);
                decided
            }
            Err(stopped) => match stopped.rollback(&mut graph) {
                Reason::Refused(stop) => Err(stop),
                Reason::OutOfMemory => Err(Stop::OutOfMemory),
            },
        };
        end(graph);
        match outcome {
            Ok(()) => Ok(true),
            Err(Stop::Refused(_) | Stop::NotARoot) => Ok(false),
            Err(Stop::Raised) => Err(Raised),
            Err(Stop::OutOfMemory) => Err(raise::no_memory(OutOfMemory)),
        }
    }
}

/// True if `op` can never change any more, nor anything it refers to.
///
/// An object that is immutable by nature, as a tuple is, counts when all it
/// refers to is frozen; it is marked then.
///
/// # Errors
/// [`Raised`]: MemoryError.
///
/// # Safety
/// The caller holds a GIL and `op` alive. No exception is set.
pub unsafe fn is_frozen(op: Object) -> Result<bool, Raised> {
    // SAFETY: as `freeze`.
    unsafe {
        if header::is_frozen(op) || header::flags(op) & PROXY != 0 {
            return Ok(true);
        }
        if !graph::may_be_immutable_by_nature(op) {
            return Ok(false);
        }
        let state = interpreter::current().ok_or(Raised)?;
        if !graph::may_be_immutable(&state.registry, op) {
            return Ok(false);
        }
        let mut graph = Graph::new(state, Reach::ShallowImmutable, std::ptr::null_mut());
        let outcome = match find(&mut graph, &[op]) {
            Ok(plan) => {
                commit(&mut graph, plan);
                // An immortal object is not entered; only the builtin types have such.
                Ok(true)
            }
            Err(stopped) => match stopped.rollback(&mut graph) {
                Reason::Refused(Stop::Refused(_) | Stop::NotARoot) => Ok(false),
                Reason::Refused(Stop::Raised) => Err(Raised),
                Reason::Refused(Stop::OutOfMemory) | Reason::OutOfMemory => Err(raise::no_memory(OutOfMemory)),
            },
        };
        end(graph);
        outcome
    }
}

/// Raises `NotFreezableError` for the last object of `route`, which begins at one of `roots`.
unsafe fn raise_not_freezable(route: &[Object], roots: &[Object], reason: &str) -> Result<(), OutOfMemory> {
    // SAFETY: as `report`.
    unsafe {
        let Some(&culprit) = route.last() else { return Ok(()) };
        let Ok(error) = exception::class(|exceptions| exceptions.not_freezable) else {
            return Ok(());
        };
        let path = path::describe(route, roots)?;
        let type_name = header::type_name(header::type_of(culprit));
        raise::with_attributes(
            error,
            format_args!("cannot freeze '{type_name}' object at {path}: {reason}"),
            &[(c"obj", Value::Object(culprit)), (c"path", Value::Text(&path)), (c"reason", Value::Text(reason))],
        );
        Ok(())
    }
}
