//! A freeze from its roots to its commit, on CPython's heap.

use std::ffi::CStr;

use super::explore::{Reason, explore};
use super::graph::{Graph, Reach, Stop};
use super::path;
use super::plan::Plan;
use crate::lifetime::release;
use crate::object::ffi;
use crate::object::header::{self, FROZEN, Object, PROXY, PyNode};
use crate::object::raise::{self, Value};
use crate::policy::Refusal;
use crate::share::interpreter;

/// A Python exception is set.
#[derive(Debug)]
pub struct Raised;

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
        let mut graph = Graph::new(&state.registry, Reach::Freezable);
        let nodes: Vec<PyNode> = roots.iter().copied().map(PyNode).collect();
        let mut abandoned = Vec::new();
        let mut found = explore(&mut graph, &nodes);
        if let Ok(plan) = found {
            found = match graph.prepared().exported_outside() {
                None => Ok(plan),
                Some(exported) => {
                    plan.rollback(&mut graph);
                    abandoned = graph.prepared().abandon();
                    graph.deny(exported);
                    explore(&mut graph, &nodes)
                }
            };
        }
        match found {
            Ok(plan) => {
                give_up(commit(&mut graph, plan));
                Ok(())
            }
            Err(stopped) => {
                let route: Vec<Object> = stopped.path().map(|node| node.0).collect();
                let reason = stopped.rollback(&mut graph);
                // The route may lead through what was detached: it is described
                // before that is given up.
                match reason {
                    Reason::Refused(Stop::Refused(refusal)) => {
                        raise_not_freezable(&route, &explain(refusal));
                    }
                    Reason::Refused(Stop::NotARoot) => {
                        raise_not_freezable(&route, "its policy is FREEZABLE_EXPLICIT: pass it to freeze() by name")
                    }
                    Reason::Refused(Stop::Raised) => {}
                    Reason::OutOfMemory => {
                        ffi::PyErr_NoMemory();
                    }
                }
                let error = ffi::PyErr_GetRaisedException();
                abandoned.extend(graph.prepared().abandon());
                give_up(abandoned);
                ffi::PyErr_SetRaisedException(error);
                Err(Raised)
            }
        }
    }
}

/// Freezes what was found. Returns the references to give up when the graph is
/// no longer used.
fn commit(graph: &mut Graph<'_>, mut plan: Plan<PyNode>) -> Vec<Object> {
    plan.count_internal_edges(graph);
    plan.commit(graph);
    let dropped = graph.prepared().finish();
    release::note_frozen(graph.frozen());
    dropped
}

unsafe fn give_up(references: Vec<Object>) {
    for reference in references {
        // SAFETY: they were owned by the freeze.
        unsafe { ffi::Py_DecRef(reference) };
    }
}

/// True if `op` can never change any more, nor anything it refers to.
///
/// An object that is immutable by nature, as a tuple is, counts when all it
/// refers to is frozen; it is marked then.
///
/// # Safety
/// The caller holds a GIL and `op` alive.
pub unsafe fn is_frozen(op: Object) -> bool {
    // SAFETY: as `freeze`. An error set by the search is no answer of ours.
    unsafe {
        if header::flags(op) & (FROZEN | PROXY) != 0 {
            return true;
        }
        let error = ffi::PyErr_GetRaisedException();
        let Some(state) = interpreter::current() else {
            ffi::PyErr_SetRaisedException(error);
            return false;
        };
        let mut graph = Graph::new(&state.registry, Reach::ShallowImmutable);
        let frozen = match explore(&mut graph, &[PyNode(op)]) {
            Ok(plan) => {
                give_up(commit(&mut graph, plan));
                // An immortal object is not entered; only the builtin types have such.
                true
            }
            Err(stopped) => {
                let _ = stopped.rollback(&mut graph);
                false
            }
        };
        give_up(graph.prepared().abandon());
        ffi::PyErr_SetRaisedException(error);
        frozen
    }
}

fn explain(refusal: Refusal) -> String {
    match refusal {
        Refusal::Policy => "its policy is FREEZABLE_NO".into(),
        Refusal::Unregistered => "it is made in C and nobody said that its writes respect freezing: \
             immutable.register_freezable(type) says so"
            .into(),
        Refusal::Stateful(advice) => advice.into(),
    }
}

unsafe fn raise_not_freezable(route: &[Object], reason: &str) {
    // SAFETY: the route's objects are alive: see `freeze`.
    unsafe {
        let Some(&culprit) = route.last() else { return };
        let Some(error) = interpreter::current().map(|state| state.not_freezable_error) else {
            return;
        };
        let type_name = CStr::from_ptr((*header::type_of(culprit)).tp_name).to_string_lossy();
        let path = path::describe(route);
        let text = format!("cannot freeze '{type_name}' object at {path}: {reason}");
        raise::with_attributes(
            error,
            &text,
            &[(c"obj", Value::Object(culprit)), (c"path", Value::Text(&path)), (c"reason", Value::Text(reason))],
        );
    }
}
