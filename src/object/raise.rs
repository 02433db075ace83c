//! Raising Python exceptions.

use std::ffi::{CStr, c_int};
use std::fmt;

use super::ffi;
use super::header::Object;
use super::memory::{self, OutOfMemory};

/// A Python exception is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raised;

/// The answer of a function of the C API that returns a negative number when it has raised.
#[inline]
pub fn unless_negative(answer: c_int) -> Result<(), Raised> {
    if answer < 0 { Err(Raised) } else { Ok(()) }
}

/// The answer of a function of the C API that returns null when it has raised.
#[inline]
pub fn unless_null(answer: Object) -> Result<Object, Raised> {
    if answer.is_null() { Err(Raised) } else { Ok(answer) }
}

/// Takes back an exception by which something has failed that can be done without. Want of memory, and what is no
/// `Exception`, such as an interrupt, stays set.
///
/// # Errors
/// The exception that is set stays.
///
/// # Safety
/// The caller holds a GIL, and an exception is set.
pub unsafe fn suppress_failure() -> Result<(), Raised> {
    // SAFETY: the caller's.
    unsafe {
        if ffi::PyErr_ExceptionMatches(ffi::PyExc_Exception) == 0
            || ffi::PyErr_ExceptionMatches(ffi::PyExc_MemoryError) != 0
        {
            return Err(Raised);
        }
        ffi::PyErr_Clear();
        Ok(())
    }
}

/// Raises MemoryError. Returns [`Raised`], for `map_err`.
///
/// # Safety
/// The caller holds a GIL.
#[cold]
pub unsafe fn no_memory(_: OutOfMemory) -> Raised {
    // SAFETY: the caller's.
    unsafe { ffi::PyErr_NoMemory() };
    Raised
}

/// The value of an attribute of an exception.
pub enum Value<'a> {
    /// A borrowed reference.
    Object(Object),
    /// Text.
    Text(&'a str),
}

/// Raises an instance of `error` with a message and attributes, or MemoryError.
///
/// # Safety
/// The caller holds a GIL.
pub unsafe fn with_attributes(error: Object, message: fmt::Arguments<'_>, attributes: &[(&CStr, Value<'_>)]) {
    // SAFETY: new references are given back; an exception set meanwhile, for
    // want of memory, stays.
    unsafe {
        let message = match memory::text(message) {
            Ok(text) => new_text(&text),
            Err(error) => {
                no_memory(error);
                return;
            }
        };
        if message.is_null() {
            return;
        }
        let instance = ffi::PyObject_CallOneArg(error, message);
        ffi::Py_DecRef(message);
        if instance.is_null() {
            return;
        }
        let complete = attributes.iter().all(|(name, value)| {
            let value = match value {
                Value::Object(op) => {
                    ffi::Py_IncRef(*op);
                    *op
                }
                Value::Text(text) => new_text(text),
            };
            let stored = !value.is_null() && ffi::PyObject_SetAttrString(instance, name.as_ptr(), value) == 0;
            ffi::Py_DecRef(value);
            stored
        });
        if complete {
            ffi::PyErr_SetObject(error, instance);
        }
        ffi::Py_DecRef(instance);
    }
}

/// A new reference to a string, or null with MemoryError.
///
/// # Safety
/// The caller holds a GIL.
pub unsafe fn new_text(text: &str) -> Object {
    // SAFETY: a GIL is held.
    unsafe { ffi::PyUnicode_DecodeUTF8(text.as_ptr().cast(), text.len() as isize, c"replace".as_ptr()) }
}
