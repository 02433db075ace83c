//! The C interface of the immutable runtime, where the interpreter has it.
//!
//! The functions are looked up in the running process, so that one binary serves stock CPython too: there every object may
//! be written, and registration does nothing. Each of them needs the GIL, which [`Python`] and [`Bound`] prove.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem;
use std::sync::OnceLock;

use pyo3::ffi::{PyObject, PyTypeObject, visitproc};
use pyo3::prelude::*;
use pyo3::types::PyType;

/// Visits references that an object owns, as `tp_traverse` does.
pub type Traverse = unsafe extern "C" fn(*mut PyObject, visitproc, *mut c_void) -> c_int;

/// `PyImmutable_FREEZABLE_YES`
const FREEZABLE_YES: c_int = 0;

struct Runtime {
    check_write: unsafe extern "C" fn(*mut PyObject) -> c_int,
    write_to_immutable: unsafe extern "C" fn(*mut PyObject) -> c_int,
    freeze: unsafe extern "C" fn(*const *mut PyObject, isize) -> c_int,
    register_freezable: unsafe extern "C" fn(*mut PyTypeObject, c_int) -> c_int,
    register_shallow_immutable: unsafe extern "C" fn(*mut PyTypeObject) -> c_int,
    register_reachable: unsafe extern "C" fn(*mut PyTypeObject, Traverse) -> c_int,
}

unsafe extern "C" {
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
}

/// The runtime of this process, if its interpreter has one.
fn runtime() -> Option<&'static Runtime> {
    static FOUND: OnceLock<Option<Runtime>> = OnceLock::new();

    /// SAFETY: `F` is the type of the function that `immutability.h` declares by that name.
    unsafe fn find<F: Copy>(name: &CStr) -> Option<F> {
        const { assert!(size_of::<F>() == size_of::<*mut c_void>()) };
        // SAFETY: the null handle stands for the whole process (RTLD_DEFAULT); F is a function pointer.
        unsafe {
            let address = dlsym(std::ptr::null_mut(), name.as_ptr());
            (!address.is_null()).then(|| mem::transmute_copy(&address))
        }
    }

    FOUND
        .get_or_init(|| {
            // SAFETY: the types of the fields are those of immutability.h.
            unsafe {
                Some(Runtime {
                    check_write: find(c"PyImmutable_CheckWrite")?,
                    write_to_immutable: find(c"PyErr_WriteToImmutable")?,
                    freeze: find(c"PyImmutable_Freeze")?,
                    register_freezable: find(c"PyImmutable_RegisterFreezable")?,
                    register_shallow_immutable: find(c"PyImmutable_RegisterShallowImmutable")?,
                    register_reachable: find(c"PyImmutable_RegisterReachable")?,
                })
            }
        })
        .as_ref()
}

fn result(py: Python<'_>, answer: c_int) -> PyResult<()> {
    if answer < 0 { Err(PyErr::fetch(py)) } else { Ok(()) }
}

/// Raises `MutationError` if `object` is frozen. Ask before every write to its state.
pub fn require_write<T>(object: &Bound<'_, T>) -> PyResult<()> {
    let Some(runtime) = runtime() else { return Ok(()) };
    // SAFETY: a live object, and the GIL.
    unsafe {
        if (runtime.check_write)(object.as_ptr()) != 0 {
            return Ok(());
        }
        result(object.py(), (runtime.write_to_immutable)(object.as_ptr()))
    }
}

/// Freezes an object and all that it reaches.
pub fn freeze(object: &Bound<'_, PyAny>) -> PyResult<()> {
    let Some(runtime) = runtime() else { return Ok(()) };
    // SAFETY: one live object, and the GIL.
    unsafe { result(object.py(), (runtime.freeze)(&object.as_ptr(), 1)) }
}

/// Promises that every write to an instance of `class` asks [`require_write`] first.
pub fn register_freezable(class: &Bound<'_, PyType>) -> PyResult<()> {
    let Some(runtime) = runtime() else { return Ok(()) };
    // SAFETY: a live type, and the GIL.
    unsafe { result(class.py(), (runtime.register_freezable)(class.as_type_ptr(), FREEZABLE_YES)) }
}

/// Promises that instances of `class` never change.
pub fn register_shallow_immutable(class: &Bound<'_, PyType>) -> PyResult<()> {
    let Some(runtime) = runtime() else { return Ok(()) };
    // SAFETY: a live type, and the GIL.
    unsafe { result(class.py(), (runtime.register_shallow_immutable)(class.as_type_ptr())) }
}

/// Tells of references that the class's `__traverse__` does not report.
///
/// # Safety
/// `traverse` keeps the promises that `immutability.h` asks for.
pub unsafe fn register_reachable(class: &Bound<'_, PyType>, traverse: Traverse) -> PyResult<()> {
    let Some(runtime) = runtime() else { return Ok(()) };
    // SAFETY: a live type, and the GIL.
    unsafe { result(class.py(), (runtime.register_reachable)(class.as_type_ptr(), traverse)) }
}
