//! Raising Python exceptions that carry attributes.

use std::ffi::{CStr, CString};

use super::ffi;
use super::header::Object;

/// The value of an attribute of an exception.
pub enum Value<'a> {
    /// A borrowed reference.
    Object(Object),
    /// Text.
    Text(&'a str),
}

/// Raises an instance of `error` with a message and attributes.
///
/// # Safety
/// The caller holds a GIL.
pub unsafe fn with_attributes(error: Object, text: &str, attributes: &[(&CStr, Value<'_>)]) {
    // SAFETY: new references are given back; an exception set meanwhile, for
    // want of memory, stays.
    unsafe {
        let message = new_text(text);
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

unsafe fn new_text(text: &str) -> Object {
    let text = CString::new(text.replace('\0', "\\0")).unwrap_or_default();
    // SAFETY: a GIL is held.
    unsafe { ffi::PyUnicode_DecodeUTF8(text.as_ptr(), text.as_bytes().len() as isize, c"replace".as_ptr()) }
}
