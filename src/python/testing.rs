//! Functions of `_immutable` for tests only: they bring about what cannot be waited for.

use std::ffi::{CStr, c_void};
use std::ptr;
use std::sync::atomic::Ordering;

use pyo3::ffi as py;

use super::module::method;
use crate::freeze::run;
use crate::lifetime::{count, site};
use crate::object::answer::none;
use crate::object::fault;
use crate::object::ffi;
use crate::object::header::{self, FROZEN, Object};
use crate::object::raise::Raised;

const FAIL_ALLOCATIONS_DOC: &CStr = c"_fail_allocations(start, stop=0, /)
--

For tests: make allocations of the Rust core fail, of the calling thread only.

Its allocations from number start to number stop fail, the next one being number
1; all from start on if stop is 0. A start of 0 ends it. Returns how many have
failed since the call before. Allocations of CPython itself are not counted:
_testcapi.set_nomemory() makes those fail.";

const SET_REFERENCE_COUNT_DOC: &CStr = c"_set_reference_count(obj, n, /)
--

For tests: make n the reference count of a frozen object, as if sys.getrefcount(obj)
had returned n just now.

For a member of a cycle that is the count of references from outside. With a
count above the true one the object is never released; with one below, it is
released while it is in use, and the process crashes. An object that became
immortal because its count grew too large is counted again, but not references
that the interpreter's stack took meanwhile; one that always was immortal must
be left alone. Raises TypeError unless obj is frozen, ValueError unless n is in
range(1, 2**29 - 2**24).";

const HEADER_WALK_SECONDS_DOC: &CStr = c"_header_walk_seconds(obj, /)
--

For benchmarks: the time of the least that freeze(obj) must do.

That is to read and write the header of every object once, in the order in which
a freeze enters them. Raises ValueError if freeze(obj) would be refused; changes
nothing.";

const TRACED_OBJECTS_DOC: &CStr = c"_traced_objects()
--

For tests: return how many objects -X immutable_trace remembers the place of.";

const NUMBER_INTERPRETERS_FROM_DOC: &CStr = c"_number_interpreters_from(n, /)
--

For tests: make n the id of the next interpreter, as if so many had been made.
Raises ValueError if that id, or a later one, was given before.";

/// The functions, for the method table of the module.
pub const METHODS: [py::PyMethodDef; 5] = [
    method(c"_fail_allocations", fail_allocations as *const c_void, py::METH_FASTCALL, FAIL_ALLOCATIONS_DOC),
    method(c"_set_reference_count", set_reference_count as *const c_void, py::METH_FASTCALL, SET_REFERENCE_COUNT_DOC),
    method(c"_header_walk_seconds", header_walk_seconds as *const c_void, py::METH_O, HEADER_WALK_SECONDS_DOC),
    method(c"_traced_objects", traced_objects as *const c_void, py::METH_NOARGS, TRACED_OBJECTS_DOC),
    method(
        c"_number_interpreters_from",
        number_interpreters_from as *const c_void,
        py::METH_FASTCALL,
        NUMBER_INTERPRETERS_FROM_DOC,
    ),
];

/// The `index`-th of `n` arguments as a number of at least zero; `None` with an exception.
unsafe fn number(args: *const Object, n: isize, index: isize) -> Option<usize> {
    // SAFETY: METH_FASTCALL.
    unsafe {
        if index >= n {
            ffi::PyErr_SetString(ffi::PyExc_TypeError, c"too few arguments".as_ptr());
            return None;
        }
        let number = ffi::PyLong_AsSize_t(*args.offset(index));
        ffi::PyErr_Occurred().is_null().then_some(number)
    }
}

unsafe extern "C" fn traced_objects(_: Object, _: Object) -> Object {
    // SAFETY: METH_NOARGS.
    unsafe { ffi::PyLong_FromSize_t(site::count()) }
}

unsafe extern "C" fn number_interpreters_from(_: Object, args: *const Object, n: isize) -> Object {
    // SAFETY: METH_FASTCALL.
    unsafe {
        let Some(number) = number(args, n, 0) else {
            return ptr::null_mut();
        };
        if i64::try_from(number).map_or(0, |number| ffi::imm_number_interpreters_from(number)) == 0 {
            ffi::PyErr_SetString(ffi::PyExc_ValueError, c"that id was given before".as_ptr());
            return ptr::null_mut();
        }
        ffi::Py_NewRef(&raw mut ffi::_Py_NoneStruct)
    }
}

unsafe extern "C" fn fail_allocations(_: Object, args: *const Object, n: isize) -> Object {
    // SAFETY: METH_FASTCALL.
    unsafe {
        let Some(start) = number(args, n, 0) else {
            return ptr::null_mut();
        };
        let Some(stop) = (if n > 1 { number(args, n, 1) } else { Some(0) }) else {
            return ptr::null_mut();
        };
        let failed = fault::end();
        if start > 0 {
            fault::begin(start, if stop == 0 { usize::MAX } else { stop });
        }
        ffi::PyLong_FromSize_t(failed)
    }
}

unsafe extern "C" fn set_reference_count(_: Object, args: *const Object, n: isize) -> Object {
    // SAFETY: METH_FASTCALL. What the caller breaks with a wrong number is the caller's.
    unsafe {
        let Some(references) = number(args, n, 1) else {
            return ptr::null_mut();
        };
        if !(1..=count::MAX_COUNT as usize).contains(&references) {
            ffi::PyErr_SetString(ffi::PyExc_ValueError, c"n must be in range(1, 2**29 - 2**24)".as_ptr());
            return ptr::null_mut();
        }
        if header::flags(*args) & FROZEN == 0 {
            ffi::PyErr_SetString(ffi::PyExc_TypeError, c"obj must be frozen".as_ptr());
            return ptr::null_mut();
        }
        // Relaxed: whoever lets threads race with this gets the wrong count anyway. A member is live before, since the
        // caller holds it, and after.
        header::count_word(*args).swap(count::encode(references), Ordering::Relaxed);
        none()
    }
}

unsafe extern "C" fn header_walk_seconds(_: Object, root: Object) -> Object {
    // SAFETY: METH_O.
    match unsafe { run::time_header_walk(root) } {
        // SAFETY: the GIL is held.
        Ok(Some(taken)) => unsafe { ffi::PyFloat_FromDouble(taken.as_secs_f64()) },
        // SAFETY: the GIL is held.
        Ok(None) => unsafe {
            ffi::PyErr_SetString(ffi::PyExc_ValueError, c"obj cannot be frozen".as_ptr());
            ptr::null_mut()
        },
        Err(Raised) => ptr::null_mut(),
    }
}
