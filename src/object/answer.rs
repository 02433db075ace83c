//! What functions of C answer to Python.

use std::ptr;

use super::ffi;
use super::header::Object;
use super::raise::Raised;

/// None. It is immortal: no reference to it needs to be counted.
#[inline]
pub fn none() -> Object {
    &raw mut ffi::_Py_NoneStruct
}

/// The object, or the null pointer that tells of an exception.
#[inline]
pub fn or_null(result: Result<Object, Raised>) -> Object {
    result.unwrap_or(ptr::null_mut())
}

/// A new string, or None. Null with MemoryError.
///
/// # Safety
/// The caller holds a GIL.
pub unsafe fn text_or_none(text: Option<&str>) -> Object {
    text.map_or_else(none, |text| {
        // SAFETY: the caller's.
        unsafe { ffi::PyUnicode_FromStringAndSize(text.as_ptr().cast(), text.len().cast_signed()) }
    })
}
