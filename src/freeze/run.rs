//! A freeze from its roots to its commit, on CPython's heap.

use super::explore::{Reason, Stopped, explore};
use super::graph::{Graph, Reach, Stop};
use super::path;
use super::plan::Plan;
use crate::lifetime::release;
use crate::object::ffi;
use crate::object::header::{self, FROZEN, Object, PROXY, PyNode};
use crate::object::memory::{self, OutOfMemory};
use crate::object::raise::{self, Raised, Value};
use crate::policy::Refusal;
use crate::share::interpreter;

/// Freezes everything that `roots` reach, or nothing.
///
/// # Errors
/// [`Raised`]: `NotFreezableError`, or MemoryError. Nothing has changed.
///
/// # Safety
/// The caller holds a GIL and the roots alive.
pub unsafe fn freeze(roots: &[Object]) -> Result<(), Raised> {
    // SAFETY: nothing between the search and the last use of the graph runs
    // Python code; references are given up after that.
    unsafe {
        let state = interpreter::current().ok_or(Raised)?;
        complete(Graph::new(&state.registry, Reach::Freezable), roots)
    }
}

/// From the search to the end of the graph.
unsafe fn complete(mut graph: Graph<'_>, roots: &[Object]) -> Result<(), Raised> {
    // SAFETY: as `freeze`.
    unsafe {
        let outcome = match find(&mut graph, roots) {
            Ok(plan) => {
                commit(&mut graph, plan);
                Ok(())
            }
            // The route to a culprit may lead through what was detached: it is
            // described before that is given up.
            Err(stopped) => Err(report(&mut graph, stopped)),
        };
        end(graph);
        outcome
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
    // SAFETY: as `freeze`.
    unsafe {
        let state = interpreter::current().ok_or(Raised)?;
        let mut graph = Graph::new(&state.registry, Reach::Freezable);
        graph.freeze_whole(module);
        complete(graph, &[module])
    }
}

/// Searches, and makes ready to commit.
#[expect(clippy::result_large_err, reason = "as for `explore`")]
fn find<'a>(graph: &mut Graph<'a>, roots: &[Object]) -> Result<Plan<PyNode>, Stopped<Graph<'a>>> {
    let roots = PyNode::slice(roots);
    let plan = explore(graph, roots)?;
    match graph.ready_to_commit() {
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
unsafe fn end(graph: Graph<'_>) {
    // SAFETY: a GIL is held. Python code may run, and change the registry: the graph is gone by then.
    unsafe {
        let prepared = graph.into_prepared();
        let error = ffi::PyErr_GetRaisedException();
        prepared.give_up();
        ffi::PyErr_SetRaisedException(error);
    }
}

/// Rolls back, and raises what the search stopped for.
unsafe fn report<'a>(graph: &mut Graph<'a>, stopped: Stopped<Graph<'a>>) -> Raised {
    // SAFETY: a GIL is held, and the graph's objects are alive: see `freeze`.
    unsafe {
        let route = memory::collect(stopped.path().map(|node| node.0));
        let reason = match stopped.rollback(graph) {
            Reason::Refused(Stop::Raised) => return Raised,
            Reason::Refused(Stop::Refused(refusal)) => Ok(explain(refusal)),
            Reason::Refused(Stop::NotARoot) => Ok("its policy is FREEZABLE_EXPLICIT: pass it to freeze() by name"),
            Reason::Refused(Stop::OutOfMemory) | Reason::OutOfMemory => Err(OutOfMemory),
        };
        match reason.and_then(|reason| raise_not_freezable(&route?, reason)) {
            Ok(()) => Raised,
            Err(error) => raise::no_memory(error),
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
        if header::flags(op) & (FROZEN | PROXY) != 0 {
            return Ok(true);
        }
        let state = interpreter::current().ok_or(Raised)?;
        let mut graph = Graph::new(&state.registry, Reach::ShallowImmutable);
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

fn explain(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Policy => "its policy is FREEZABLE_NO",
        Refusal::Unregistered => {
            "it is made in C and nobody said that its writes respect freezing: \
             immutable.register_freezable(type) says so"
        }
        Refusal::Stateful(advice) => advice,
    }
}

/// Raises `NotFreezableError` for the last object of `route`.
unsafe fn raise_not_freezable(route: &[Object], reason: &str) -> Result<(), OutOfMemory> {
    // SAFETY: as `report`.
    unsafe {
        let Some(&culprit) = route.last() else { return Ok(()) };
        let Some(error) = interpreter::current().map(|state| state.not_freezable_error) else {
            return Ok(());
        };
        let path = path::describe(route)?;
        let type_name = header::type_name(header::type_of(culprit));
        raise::with_attributes(
            error,
            format_args!("cannot freeze '{type_name}' object at {path}: {reason}"),
            &[(c"obj", Value::Object(culprit)), (c"path", Value::Text(&path)), (c"reason", Value::Text(reason))],
        );
        Ok(())
    }
}
