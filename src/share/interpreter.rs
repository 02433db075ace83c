//! What the runtime keeps for one interpreter.
//!
//! Owned by a capsule in the interpreter's own dict, so that it ends with its
//! interpreter; found again through a per-thread cache. It is only ever touched
//! under that interpreter's GIL, which is why a plain pointer to it is enough.

use std::cell::Cell;
use std::ffi::CStr;
use std::ptr;

use super::local::Locals;
use super::view::Views;
use crate::object::ffi;
use crate::object::header::Object;
use crate::policy::Registry;

const KEY: &CStr = c"_immutable.interpreter";

/// The runtime's state for one interpreter.
pub struct Interpreter {
    /// Types registered as freezable, or not.
    pub registry: Registry,
    /// Local views of the frozen functions that were called here.
    pub views: Views,
    /// Values of `InterpreterLocal` objects.
    pub locals: Locals,
    /// `immutable.MutationError`, owned; null until the module is initialised.
    pub mutation_error: Object,
    /// `immutable.NotFreezableError`, owned; null until the module is initialised.
    pub not_freezable_error: Object,
}

thread_local! {
    static CACHED: Cell<(i64, *mut Interpreter)> = const { Cell::new((-1, ptr::null_mut())) };
}

/// The state of the running interpreter, made if need be.
///
/// `None` with a Python exception set: no memory, or the interpreter is so far
/// gone that it has no dict any more.
///
/// # Safety
/// The caller holds a GIL, and does not keep the reference across a call that
/// may run Python code.
#[inline]
pub unsafe fn current<'a>() -> Option<&'a mut Interpreter> {
    // SAFETY: interpreter ids are never used twice, so a cached pointer with
    // the right id is that of the running, hence living, interpreter.
    unsafe {
        let id = ffi::PyInterpreterState_GetID(ffi::PyInterpreterState_Get());
        let (cached_id, cached) = CACHED.get();
        if cached_id == id {
            return Some(&mut *cached);
        }
        let found = find_or_create()?;
        CACHED.set((id, found));
        Some(&mut *found)
    }
}

/// The state of the running interpreter, if this thread has used it.
///
/// For deallocation, which must not create anything.
///
/// # Safety
/// As [`current`].
#[inline]
pub unsafe fn existing<'a>() -> Option<&'a mut Interpreter> {
    // SAFETY: as `current`.
    unsafe {
        let id = ffi::PyInterpreterState_GetID(ffi::PyInterpreterState_Get());
        let (cached_id, cached) = CACHED.get();
        (cached_id == id).then(|| &mut *cached)
    }
}

#[cold]
unsafe fn find_or_create() -> Option<*mut Interpreter> {
    // SAFETY: a GIL is held; the dict reference is borrowed.
    unsafe {
        let dict = ffi::PyInterpreterState_GetDict(ffi::PyInterpreterState_Get());
        if dict.is_null() {
            if ffi::PyErr_Occurred().is_null() {
                ffi::PyErr_SetString(ffi::PyExc_RuntimeError, c"the interpreter is shutting down".as_ptr());
            }
            return None;
        }
        let capsule = ffi::PyDict_GetItemString(dict, KEY.as_ptr());
        if !capsule.is_null() {
            let found = ffi::PyCapsule_GetPointer(capsule, KEY.as_ptr());
            return (!found.is_null()).then(|| found.cast());
        }
        let state = Box::into_raw(Box::new(Interpreter {
            registry: Registry::default(),
            views: Views::default(),
            locals: Locals::default(),
            mutation_error: ptr::null_mut(),
            not_freezable_error: ptr::null_mut(),
        }));
        let capsule = ffi::PyCapsule_New(state.cast(), KEY.as_ptr(), Some(release));
        if capsule.is_null() {
            drop(Box::from_raw(state));
            return None;
        }
        let stored = ffi::PyDict_SetItemString(dict, KEY.as_ptr(), capsule);
        ffi::Py_DecRef(capsule);
        (stored == 0).then_some(state)
    }
}

/// Runs when the interpreter clears its dict, at its end.
unsafe extern "C" fn release(capsule: Object) {
    // SAFETY: the pointer is the one that `find_or_create` boxed, and the
    // interpreter's GIL is held. The cache is emptied first, so that Python
    // code run by the releases below cannot find a state half gone.
    unsafe {
        let state: *mut Interpreter = ffi::PyCapsule_GetPointer(capsule, KEY.as_ptr()).cast();
        CACHED.set((-1, ptr::null_mut()));
        let mut state = Box::from_raw(state);
        state.views.clear();
        state.locals.clear();
        state.registry.clear();
        ffi::Py_DecRef(state.mutation_error);
        ffi::Py_DecRef(state.not_freezable_error);
    }
}
