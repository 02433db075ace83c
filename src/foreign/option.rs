//! Options of the command line and the environment.

use std::env;
use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::ptr;

use crate::object::ffi;
use crate::object::header;
use crate::object::memory::try_format;
use crate::object::raise::{self, Raised};

/// The value of `-X name=value`, or else of an environment variable that is not empty, unless the interpreter ignores
/// the environment (`-E`, `-I`). `-X name` alone has the value "".
///
/// # Errors
/// A Python exception is set.
///
/// # Safety
/// The caller holds a GIL.
pub unsafe fn value(name: &CStr, variable: &CStr) -> Result<Option<String>, Raised> {
    // SAFETY: the caller's; borrowed references are used at once, new ones given back.
    unsafe {
        let mut set = ptr::null_mut();
        let options = raise::unless_null(ffi::PySys_GetXOptions())?;
        raise::unless_negative(ffi::PyDict_GetItemStringRef(options, name.as_ptr(), &raw mut set))?;
        if !set.is_null() {
            let mut length = 0;
            let text = if header::has_feature(header::type_of(set), ffi::Py_TPFLAGS_UNICODE_SUBCLASS) {
                ffi::PyUnicode_AsUTF8AndSize(set, &raw mut length)
            } else {
                c"".as_ptr() // True
            };
            let bytes = if text.is_null() {
                Err(Raised)
            } else {
                let bytes = std::slice::from_raw_parts(text.cast::<u8>(), length.unsigned_abs());
                owned(bytes).map(Some)
            };
            ffi::Py_DecRef(set);
            return bytes;
        }
        let mut uses_environment = 0;
        raise::unless_negative(ffi::PyConfig_GetInt(c"use_environment".as_ptr(), &raw mut uses_environment))?;
        if uses_environment == 0 {
            return Ok(None);
        }
        match env::var_os(OsStr::from_bytes(variable.to_bytes())) {
            Some(set) if !set.is_empty() => owned(set.as_bytes()).map(Some),
            _ => Ok(None),
        }
    }
}

unsafe fn owned(bytes: &[u8]) -> Result<String, Raised> {
    let text = std::str::from_utf8(bytes).unwrap_or("\u{fffd}");
    // SAFETY: a GIL is held.
    try_format!("{text}").map_err(|error| unsafe { raise::no_memory(error) })
}
