//! Attributes by a name that is known when this is compiled.

use std::ffi::CStr;

use crate::object::header::Object;
use crate::object::{ffi, raise};

/// The attribute of that name, a new reference, or null with the exception that the lookup raised.
///
/// CPython's method cache finds a name by its address, so that a string made for one lookup takes the place of another
/// name there and is never found again: the name is interned, and the cache keeps it alive.
///
/// # Safety
/// The caller holds a GIL, and a reference to the object.
pub unsafe fn get(op: Object, name: &CStr) -> Object {
    // SAFETY: a GIL is held.
    unsafe {
        let Ok(name) = raise::unless_null(ffi::PyUnicode_InternFromString(name.as_ptr())) else {
            return std::ptr::null_mut();
        };
        let value = ffi::PyObject_GetAttr(op, name);
        ffi::Py_DecRef(name);
        value
    }
}
