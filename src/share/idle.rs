//! What is only kept to be found again goes when it is idle: not used between two full collections.
//!
//! The collector of each interpreter says when: the first thing that is kept so puts a function into `gc.callbacks`.

use std::collections::HashMap;
use std::ffi::c_int;
use std::ptr;

use super::interpreter;
use crate::object::answer::none;
use crate::object::ffi;
use crate::object::header::Object;
use crate::object::raise::{self, Raised};

/// Empties a table, and then releases what was in it, which may run Python code that uses the table. True if there was
/// anything.
pub fn release_all<K, V, S: Default>(table: &mut HashMap<K, V, S>, mut release: impl FnMut(K, V)) -> bool {
    let entries = std::mem::take(table);
    let had_some = !entries.is_empty();
    entries.into_iter().for_each(|(key, value)| release(key, value));
    had_some
}

/// Takes the entries that are idle out of a table, to be released when nothing of it is used any more. Without memory they
/// stay until the next collection.
pub fn take_idle<K, V, S>(table: &mut HashMap<K, V, S>, is_idle: impl FnMut(&K, &mut V) -> bool) -> Vec<V> {
    let mut idle = Vec::new();
    if idle.try_reserve_exact(table.len()).is_ok() {
        idle.extend(table.extract_if(is_idle).map(|(_, value)| value));
    }
    idle
}

static mut CALLBACK: ffi::PyMethodDef = ffi::PyMethodDef {
    ml_name: c"drop_idle_views".as_ptr(),
    ml_meth: Some(drop_idle),
    ml_flags: ffi::METH_VARARGS as c_int,
    ml_doc: c"drop_idle_views(phase, info, /)\n--\n
When a full collection begins, drop the local views of frozen functions, and the
like, that were not used since the one before."
        .as_ptr(),
};

/// Has the collector of the running interpreter call back. Imports nothing: the interpreter may be about to end.
///
/// # Errors
/// A Python exception is set.
///
/// # Safety
/// A GIL is held.
pub unsafe fn watch_collector() -> Result<(), Raised> {
    // SAFETY: the caller's; appending to a list runs no Python code.
    unsafe {
        let state = interpreter::current().ok_or(Raised)?;
        let callbacks = ffi::imm_gc_callbacks();
        if state.collector_watched || callbacks.is_null() {
            return Ok(());
        }
        let no_module = ptr::null_mut();
        let callback =
            raise::unless_null(ffi::PyCMethod_New(&raw mut CALLBACK, no_module, no_module, ptr::null_mut()))?;
        let appended = ffi::PyList_Append(callbacks, callback);
        ffi::Py_DecRef(callback);
        raise::unless_negative(appended)?;
        // Looked up again: making the function may have run a collection.
        interpreter::current().ok_or(Raised)?.collector_watched = true;
        Ok(())
    }
}

unsafe extern "C" fn drop_idle(_: Object, args: Object) -> Object {
    // SAFETY: METH_VARARGS; gc calls with a phase and a dict. What is borrowed is used at once.
    unsafe {
        let (mut phase, mut info) = (ptr::null_mut::<ffi::PyObject>(), ptr::null_mut::<ffi::PyObject>());
        if ffi::PyArg_ParseTuple(
            args,
            c"UO!:drop_idle_views".as_ptr(),
            &raw mut phase,
            &raw mut ffi::PyDict_Type,
            &raw mut info,
        ) == 0
        {
            return ptr::null_mut();
        }
        let mut generation = ptr::null_mut();
        if ffi::PyDict_GetItemStringRef(info, c"generation".as_ptr(), &raw mut generation) < 0 {
            return ptr::null_mut();
        }
        let is_full = !generation.is_null() && ffi::PyLong_AsLong(generation) == 2;
        ffi::Py_DecRef(generation);
        if is_full
            && ffi::PyUnicode_EqualToUTF8(phase, c"start".as_ptr()) != 0
            && let Some(state) = interpreter::existing()
        {
            state.drop_idle();
        }
        if ffi::PyErr_Occurred().is_null() { none() } else { ptr::null_mut() }
    }
}
