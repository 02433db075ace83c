//! Extension modules that were not built for this runtime.
//!
//! A module compiled with the headers of stock CPython takes a frozen object for an immortal one, and does not count the
//! references that it takes and gives up. So a count says too little from then on, and an object whose count falls to
//! zero may be in use. When the first such module is loaded, the process is *pinned*: nothing frozen is
//! released any more (`lifetime::pinned`). All that happened before was counted exactly, since no code of the
//! module has run; all that happens later in the thread that loads it comes after the change.

pub mod file;

use std::ffi::CStr;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::lifetime::pinned;
use crate::object::ffi;
use crate::object::header::Object;
use crate::object::memory::{OutOfMemory, try_format};
use crate::object::option::{self, Value};
use crate::object::raise::{self, Raised};
use crate::share::{exception, interpreter};

/// A foreign extension module that was loaded.
pub struct Foreign {
    /// Its full name.
    pub name: String,
    /// Its file, in the encoding of the file system.
    pub path: Vec<u8>,
    /// Why it is foreign.
    pub reason: &'static str,
}

/// All that were loaded, in order, each file once.
static LOADED: Mutex<Vec<Foreign>> = Mutex::new(Vec::new());

/// Whether the user has been told. Relaxed: it orders nothing.
static WARNED: AtomicBool = AtomicBool::new(false);

const ADVICE: &str = "build it from source for this interpreter (pip install --no-binary), or in the stable ABI of \
    Python 3.12 or later";

/// Decides about a module that was loaded, none of whose code has run. A foreign one pins the process.
///
/// # Errors
/// [`Raised`]: ImportError if foreign modules are refused (`-X immutable_foreign=error`), what a filter turns
/// the warning into, ValueError for another value of the option, or MemoryError. The module must not be used.
///
/// # Safety
/// The caller holds a GIL; `name` is a str and `path` a bytes object.
pub unsafe fn load(name: Object, path: Object) -> Result<(), Raised> {
    // SAFETY: a bytes object keeps its bytes while the caller holds it.
    unsafe {
        let file = CStr::from_ptr(ffi::PyBytes_AsString(path));
        let Some(reason) = file::reason_not_to_count(file) else {
            return Ok(());
        };
        let bytes = file.to_bytes();
        if LOADED.lock().iter().any(|known| known.path == bytes) {
            return Ok(());
        }
        let mut length = 0;
        let text = ffi::PyUnicode_AsUTF8AndSize(name, &raw mut length);
        if text.is_null() {
            return Err(Raised);
        }
        let name_bytes = std::slice::from_raw_parts(text.cast::<u8>(), length.unsigned_abs());
        let text = std::str::from_utf8(name_bytes).unwrap_or("?");
        if is_refused()? {
            return Err(refuse(text, reason, name, path));
        }
        warn(text)?;
        note(text, bytes, reason).map_err(|error| raise::no_memory(error))?;
        pinned::pin();
        Ok(())
    }
}

fn note(name: &str, path: &[u8], reason: &'static str) -> Result<(), OutOfMemory> {
    let mut entry = Foreign { name: try_format!("{name}")?, path: Vec::new(), reason };
    entry.path.try_reserve_exact(path.len())?;
    entry.path.extend_from_slice(path);
    let mut loaded = LOADED.lock();
    if !loaded.iter().any(|known| known.path == path) {
        loaded.try_reserve(1)?;
        loaded.push(entry);
    }
    Ok(())
}

/// Calls `act` with each foreign module that was loaded, until it returns an error.
///
/// # Errors
/// That of `act`, which must not run Python code.
pub fn for_each<E>(act: impl FnMut(&Foreign) -> Result<(), E>) -> Result<(), E> {
    LOADED.lock().iter().try_for_each(act)
}

/// From now on the running interpreter is told of foreign modules; now of those that were loaded before, unless somebody was
/// told.
///
/// # Errors
/// [`Raised`], by the filter of warnings, or for want of memory.
///
/// # Safety
/// The caller holds a GIL.
pub unsafe fn begin_to_warn() -> Result<(), Raised> {
    // SAFETY: the caller's.
    unsafe { interpreter::current().ok_or(Raised)?.uses_runtime = true };
    let name = match LOADED.lock().first() {
        Some(first) => try_format!("{}", first.name),
        None => return Ok(()),
    };
    // SAFETY: the caller's.
    unsafe { warn(&name.map_err(|error| raise::no_memory(error))?) }
}

/// Warns once in a process, and only who has imported the runtime: to others it makes no difference.
unsafe fn warn(name: &str) -> Result<(), Raised> {
    // SAFETY: a GIL is held.
    unsafe {
        let Some(state) = interpreter::existing() else { return Ok(()) };
        if !state.uses_runtime || WARNED.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let told = try_format!(
            "'{name}' was built for stock CPython and does not count its references to frozen objects, so no frozen \
             memory is released in this process any more: {ADVICE}. immutable.foreign_extensions() lists all such \
             modules\0"
        )
        .map_err(|error| raise::no_memory(error))
        .and_then(|text| {
            let category = exception::class(|exceptions| exceptions.foreign_extension)?;
            raise::unless_negative(ffi::PyErr_WarnEx(category, text.as_ptr().cast(), 1))
        });
        if told.is_err() {
            WARNED.store(false, Ordering::Relaxed);
        }
        told
    }
}

/// Whether the user wants foreign modules refused.
unsafe fn is_refused() -> Result<bool, Raised> {
    // SAFETY: a GIL is held.
    unsafe {
        match option::value(c"immutable_foreign", c"PYTHONIMMUTABLE_FOREIGN").as_ref().map(Value::as_bytes) {
            None | Some(b"pin") => Ok(false),
            Some(b"error") => Ok(true),
            Some(_) => {
                let message: &CStr = c"-X immutable_foreign and PYTHONIMMUTABLE_FOREIGN take 'pin' or 'error'";
                ffi::PyErr_SetString(ffi::PyExc_ValueError, message.as_ptr());
                Err(Raised)
            }
        }
    }
}

/// Raises ImportError.
unsafe fn refuse(text: &str, reason: &str, name: Object, path: Object) -> Raised {
    // SAFETY: a GIL is held; the new references are given back.
    unsafe {
        let message = match try_format!(
            "'{text}' is a foreign extension module, and these are refused (immutable_foreign=error): {reason}. To use it, \
             {ADVICE}"
        ) {
            Ok(message) => message,
            Err(error) => return raise::no_memory(error),
        };
        let message = ffi::PyUnicode_FromStringAndSize(message.as_ptr().cast(), message.len().cast_signed());
        let path = ffi::PyUnicode_DecodeFSDefaultAndSize(ffi::PyBytes_AsString(path), ffi::PyBytes_Size(path));
        if !message.is_null() && !path.is_null() {
            ffi::PyErr_SetImportError(message, name, path);
        }
        ffi::Py_DecRef(message);
        ffi::Py_DecRef(path);
        Raised
    }
}
