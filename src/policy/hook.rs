//! `__pre_freeze__`: what an object does before it is frozen.
//!
//! A search that meets an object whose type has the hook, and whose hook was not called in this freeze, notes it. When the
//! search has ended it is rolled back, the hooks are called, with no mark anywhere, and the graph is searched
//! again: whatever they have changed or added is found then, with the hooks of its own. If those add more, it is first looked
//! for from the objects whose hooks were called, and the whole graph is searched again when there is none left.
//!
//! A hook may freeze something itself. What a thread has called in a freeze counts as called for the freezes nested in it,
//! and the other way round, so that each hook is called once, also where a hook freezes the very graph that its object is in.

use std::collections::{HashMap, HashSet};
use std::ffi::c_ulong;

use super::{Names, declared};
use crate::object::ffi;
use crate::object::header::{self, FROZEN, Object, Type};
use crate::object::memory::OutOfMemory;
use crate::object::raise::{self, Raised};
use crate::share::interpreter;

/// The freezes of one interpreter that have called hooks, by thread.
#[derive(Default)]
pub struct Hooks {
    sessions: HashMap<c_ulong, Session>,
}

/// One outermost freeze of a thread, with those nested in it.
#[derive(Default)]
struct Session {
    depth: usize,
    /// The objects whose hook was called, owned.
    called: HashSet<Object>,
}

impl Hooks {
    /// Whether the running thread has called the hook of `op` in the freeze that it is in.
    ///
    /// # Safety
    /// The caller holds the interpreter's GIL.
    pub unsafe fn is_called(&self, op: Object) -> bool {
        // SAFETY: no conditions.
        let thread = unsafe { ffi::PyThread_get_thread_ident() };
        self.sessions.get(&thread).is_some_and(|session| session.called.contains(&op))
    }

    /// How many references to `op` are held here.
    pub fn references(&self, op: Object) -> usize {
        self.sessions.values().filter(|session| session.called.contains(&op)).count()
    }
}

/// True if instances of `ty` have a hook.
///
/// # Safety
/// `ty` is a live type.
pub unsafe fn is_defined(ty: Type, names: &Names) -> bool {
    // SAFETY: the caller's. None switches an inherited hook off, as for __hash__.
    unsafe { declared::find_in_mro(ty, names.pre_freeze).is_some_and(|hook| hook != &raw mut ffi::_Py_NoneStruct) }
}

/// Calls the hook of each object that it was not yet called for in this freeze, and is not frozen meanwhile.
///
/// # Errors
/// [`Raised`]: what the first hook that failed has raised, or MemoryError. The other hooks are not called.
///
/// # Safety
/// The caller holds a GIL and is inside [`begin`] and [`end`]. The references are used up. Python code runs.
pub unsafe fn call(objects: Vec<Object>) -> Result<(), Raised> {
    let mut outcome = Ok(());
    for op in objects {
        // SAFETY: the caller's.
        unsafe {
            if outcome.is_ok() && header::flags(op) & FROZEN == 0 {
                outcome = call_once(op);
            }
            let error = ffi::PyErr_GetRaisedException();
            ffi::Py_DecRef(op);
            ffi::PyErr_SetRaisedException(error);
        }
    }
    outcome
}

unsafe fn call_once(op: Object) -> Result<(), Raised> {
    // SAFETY: as `call`. The state is not used across the call of the hook.
    unsafe {
        let state = interpreter::current().ok_or(Raised)?;
        let name = state.names.pre_freeze;
        let thread = ffi::PyThread_get_thread_ident();
        let session = state.hooks.sessions.get_mut(&thread).ok_or(Raised)?;
        session.called.try_reserve(1).map_err(|error| raise::no_memory(error.into()))?;
        if !session.called.insert(op) {
            return Ok(());
        }
        ffi::Py_IncRef(op);
        let hook = ffi::_PyObject_LookupSpecial(op, name);
        if hook.is_null() {
            // Gone since the search, which is no error.
            return if ffi::PyErr_Occurred().is_null() { Ok(()) } else { Err(Raised) };
        }
        let answer = ffi::PyObject_CallNoArgs(hook);
        ffi::Py_DecRef(hook);
        if answer.is_null() && header::flags(op) & FROZEN != 0 {
            // Another thread has frozen it meanwhile, as was asked for, and the hook could not write any more.
            let mutation = interpreter::current().ok_or(Raised)?.exceptions.mutation;
            if ffi::PyErr_ExceptionMatches(mutation) != 0 {
                ffi::PyErr_Clear();
                return Ok(());
            }
        }
        ffi::Py_DecRef(raise::unless_null(answer)?);
        Ok(())
    }
}

/// Begins a freeze of the running thread that calls hooks.
///
/// # Errors
/// [`Raised`]: MemoryError.
///
/// # Safety
/// The caller holds a GIL.
pub unsafe fn begin() -> Result<(), Raised> {
    // SAFETY: the caller's.
    unsafe {
        let sessions = &mut interpreter::current().ok_or(Raised)?.hooks.sessions;
        sessions.try_reserve(1).map_err(|error| raise::no_memory(OutOfMemory::from(error)))?;
        sessions.entry(ffi::PyThread_get_thread_ident()).or_default().depth += 1;
        Ok(())
    }
}

/// Ends it. An exception that is set stays.
///
/// # Safety
/// The caller holds a GIL, and has called [`begin`] with success on this thread. Python code may run.
pub unsafe fn end() {
    // SAFETY: the caller's. The references are given up when the table no longer has them.
    unsafe {
        let Some(state) = interpreter::existing() else { return };
        let thread = ffi::PyThread_get_thread_ident();
        if let Some(session) = state.hooks.sessions.get_mut(&thread) {
            session.depth -= 1;
            if session.depth == 0 {
                let called = state.hooks.sessions.remove(&thread).map(|session| session.called);
                let error = ffi::PyErr_GetRaisedException();
                called.into_iter().flatten().for_each(|op| ffi::Py_DecRef(op));
                ffi::PyErr_SetRaisedException(error);
            }
        }
    }
}
