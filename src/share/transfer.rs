//! Passing frozen objects to other interpreters.
//!
//! A frozen object passes as a counted pointer through everything that 3.15 has to pass an object
//! (`_PyObject_GetXIData` in crossinterp.c) and through the channels of this runtime.

use std::ffi::CStr;

use crate::object::ffi;
use crate::object::header::{self, Object, STATIC};
use crate::object::raise::{self, Raised};

/// Whether `op` passes by reference. A plain constant of the builtin types, which CPython passes itself, does not.
///
/// # Errors
/// It is frozen, but a Python exception says why it cannot be passed.
///
/// # Safety
/// The caller holds a GIL and `op` alive.
pub unsafe fn is_shared(op: Object) -> Result<bool, Raised> {
    // SAFETY: the caller's.
    unsafe {
        if !passes(op) {
            return Ok(false);
        }
        require_shared_allocator()?;
        Ok(true)
    }
}

/// True for what is frozen, but for the static objects of builtin types, which CPython passes itself, or does not. Of
/// those of modules, such as `datetime.UTC`, it knows nothing.
///
/// # Safety
/// `op` is alive.
pub unsafe fn passes(op: Object) -> bool {
    // SAFETY: the caller's; a type has a name.
    unsafe {
        header::is_frozen(op)
            && (header::flags(op) & STATIC == 0 || header::type_name(header::type_of(op)).contains('.'))
    }
}

/// True for what passes by reference or not at all, and for tuples of tuples with such things: CPython, which passes a
/// tuple item by item, must not fall back on pickling it.
///
/// # Safety
/// `op` is alive.
pub unsafe fn must_share(op: Object) -> bool {
    /// Arguments of a call, in the arguments of a call that makes it, and something to spare.
    const DEPTH: u32 = 8;
    unsafe fn among(op: Object, depth: u32) -> bool {
        // SAFETY: a tuple keeps its items.
        unsafe {
            passes(op)
                || depth > 0
                    && header::type_of(op) == &raw mut ffi::PyTuple_Type
                    && (0..ffi::PyTuple_Size(op)).any(|i| among(ffi::PyTuple_GetItem(op, i), depth - 1))
        }
    }
    // SAFETY: the caller's.
    unsafe { among(op, DEPTH) }
}

/// For an object that CPython cannot pickle, a frozen one from which [`unpickled`] makes a copy that refers to the same
/// frozen objects. New reference; `None`, with no exception set, if that cannot be had.
///
/// # Safety
/// The caller holds a GIL and `op` alive. No exception is set. Python code runs.
pub unsafe fn pickled(op: Object) -> Option<Object> {
    // SAFETY: the caller's.
    unsafe {
        if ffi::imm_allocator_is_shared() == 0 {
            return None;
        }
        let made = call(c"dumps", op);
        if made.is_err() {
            ffi::PyErr_Clear();
        }
        made.ok()
    }
}

/// What [`pickled`] was given, copied as far as it was not frozen. New reference.
///
/// # Errors
/// A Python exception is set.
///
/// # Safety
/// The caller holds a GIL and `op` alive, which [`pickled`] has made. Python code runs.
pub unsafe fn unpickled(op: Object) -> Result<Object, Raised> {
    // SAFETY: the caller's.
    unsafe { call(c"loads", op) }
}

unsafe fn call(function: &CStr, op: Object) -> Result<Object, Raised> {
    // SAFETY: as `pickled`.
    unsafe {
        let module = raise::unless_null(ffi::PyImport_ImportModule(c"immutable._references".as_ptr()))?;
        let function = ffi::PyObject_GetAttrString(module, function.as_ptr());
        ffi::Py_DecRef(module);
        let answer = ffi::PyObject_CallOneArg(raise::unless_null(function)?, op);
        ffi::Py_DecRef(function);
        raise::unless_null(answer)
    }
}

/// Raises RuntimeError unless memory that one interpreter allocated may be released by another.
///
/// # Errors
/// A Python exception is set.
///
/// # Safety
/// The caller holds a GIL.
pub unsafe fn require_shared_allocator() -> Result<(), Raised> {
    // SAFETY: no conditions.
    if unsafe { ffi::imm_allocator_is_shared() } != 0 {
        return Ok(());
    }
    // SAFETY: the caller's.
    unsafe {
        ffi::PyErr_SetString(
            ffi::PyExc_RuntimeError,
            c"frozen objects cannot be passed to another interpreter under this memory allocator, whose memory belongs \
              to one interpreter: run with PYTHONMALLOC=mimalloc, mimalloc_debug, malloc or malloc_debug"
                .as_ptr(),
        );
    }
    Err(Raised)
}
