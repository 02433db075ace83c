//! Where objects were frozen, under `-X immutable_trace`.
//!
//! One table for the process: a write may be refused in another interpreter than the one that froze the object. An entry
//! goes when its object is released. Leaves are left out, since nothing can be written into them anyway, save
//! bytearrays. With the option off, a release costs the test of a flag.

use std::collections::HashMap;
use std::ffi::CStr;

use parking_lot::Mutex;

use crate::object::ffi;
use crate::object::header::Object;
use crate::object::memory::{OutOfMemory, try_format};
use crate::policy::{declared, option};

#[derive(Default)]
struct Sites {
    /// By address, the place in `texts`.
    objects: HashMap<usize, usize>,
    /// "file:line" each; as many as there are lines that freeze.
    texts: Vec<String>,
    places: HashMap<String, usize>,
}

static SITES: Mutex<Option<Sites>> = Mutex::new(None);

/// Whether sites are remembered.
#[inline]
pub fn is_on() -> bool {
    option::traces()
}

/// The file and line of the Python code that is running, past the frames of this package: "file:line".
///
/// # Errors
/// [`OutOfMemory`]; no exception is set.
///
/// # Safety
/// The caller holds a GIL. Nothing may be marked: frames are made into objects.
pub unsafe fn here() -> Result<String, OutOfMemory> {
    // SAFETY: the caller's; every new reference is given back.
    unsafe {
        let mut frame = ffi::PyThreadState_GetFrame(ffi::PyThreadState_Get());
        while !frame.is_null() && is_ours(frame) {
            let back = ffi::PyFrame_GetBack(frame);
            ffi::Py_DecRef(frame.cast());
            frame = back;
        }
        if frame.is_null() {
            return try_format!("no Python code");
        }
        let code = ffi::PyFrame_GetCode(frame);
        let line = ffi::PyFrame_GetLineNumber(frame);
        let utf8 = ffi::PyUnicode_AsUTF8((*code).co_filename);
        let text = if utf8.is_null() {
            ffi::PyErr_Clear();
            try_format!("?:{line}")
        } else {
            try_format!("{}:{line}", CStr::from_ptr(utf8).to_str().unwrap_or("?"))
        };
        ffi::Py_DecRef(code.cast());
        ffi::Py_DecRef(frame.cast());
        text
    }
}

/// True for a frame of the package `immutable`.
unsafe fn is_ours(frame: *mut ffi::PyFrameObject) -> bool {
    // SAFETY: as `here`; borrowed references are used at once.
    unsafe {
        let globals = ffi::PyFrame_GetGlobals(frame);
        let name = declared::find(globals, ffi::imm_name_name);
        let ours = name.is_some_and(|name| {
            let utf8 = ffi::PyUnicode_AsUTF8(name);
            ffi::PyErr_Clear();
            !utf8.is_null() && CStr::from_ptr(utf8).to_bytes().starts_with(b"immutable._")
        });
        ffi::Py_DecRef(globals);
        ours
    }
}

/// Notes that these objects were frozen there. Those for which there is no memory are left out.
pub fn note(objects: &[Object], site: String) {
    let mut sites = SITES.lock();
    let sites = sites.get_or_insert_default();
    let place = match sites.places.get(&site) {
        Some(&place) => place,
        None => {
            let Ok(copy) = try_format!("{site}") else { return };
            if sites.texts.try_reserve(1).is_err() || sites.places.try_reserve(1).is_err() {
                return;
            }
            sites.places.insert(copy, sites.texts.len());
            sites.texts.push(site);
            sites.texts.len() - 1
        }
    };
    if sites.objects.try_reserve(objects.len()).is_ok() {
        sites.objects.extend(objects.iter().map(|op| (op.addr(), place)));
    }
}

/// Forgets an object that is frozen no more.
#[inline]
pub fn forget(op: Object) {
    if is_on() {
        forget_noted(op);
    }
}

#[cold]
fn forget_noted(op: Object) {
    if let Some(sites) = SITES.lock().as_mut() {
        sites.objects.remove(&op.addr());
    }
}

/// ", frozen at file:line", or nothing if that is not known.
///
/// # Errors
/// [`OutOfMemory`].
pub fn describe(op: Object) -> Result<String, OutOfMemory> {
    if !is_on() {
        return Ok(String::new());
    }
    let sites = SITES.lock();
    let text = sites.as_ref().and_then(|sites| sites.texts.get(*sites.objects.get(&op.addr())?));
    text.map_or(Ok(String::new()), |text| try_format!(", frozen at {text}"))
}

/// How many objects are noted, for tests.
pub fn count() -> usize {
    SITES.lock().as_ref().map_or(0, |sites| sites.objects.len())
}
