//! Functions about extension modules and the types that they make.

use std::ffi::{CStr, c_void};
use std::ptr;

use pyo3::ffi as py;

use super::module::method;
use crate::foreign::{self, file};
use crate::object::answer::text_or_none;
use crate::object::ffi;
use crate::object::header::{self, Object, Type};
use crate::object::raise;
use crate::policy::{self, Treatment};
use crate::share::{c_type, interpreter};

const FOREIGN_EXTENSIONS_DOC: &CStr = c"_foreign_extensions()
--

Return a list of (name, path, reason), all str, for the foreign extension modules
that this process has loaded, in order.";

const REASON_NOT_TO_COUNT_DOC: &CStr = c"_reason_not_to_count(path, /)
--

Return why an extension module in the file path would not count its references to
frozen objects, or None if it would. Nothing is loaded.";

const TREATMENT_DOC: &CStr = c"_treatment(type, /)
--

Return what a freeze does with instances of type, as far as the type decides:
(treatment, reason, made_in_c, one_for_all).

The treatment is 'freezable', 'explicit', 'proxy' or 'refused'; the reason is that
of a refusal, else None; made_in_c tells whether C code made the type, and
one_for_all whether all interpreters share it.";

/// The functions, for the method table of the module.
pub const METHODS: [py::PyMethodDef; 3] = [
    method(c"_foreign_extensions", foreign_extensions as *const c_void, py::METH_NOARGS, FOREIGN_EXTENSIONS_DOC),
    method(c"_reason_not_to_count", reason_not_to_count as *const c_void, py::METH_O, REASON_NOT_TO_COUNT_DOC),
    method(c"_treatment", treatment as *const c_void, py::METH_O, TREATMENT_DOC),
];

unsafe extern "C" fn foreign_extensions(_: Object, _: Object) -> Object {
    // SAFETY: METH_NOARGS. A list of tuples of strings: making them runs no Python code, while the table is locked.
    unsafe {
        let list = ffi::PyList_New(0);
        if list.is_null() {
            return list;
        }
        let complete = foreign::for_each(|module| {
            let path = ffi::PyUnicode_DecodeFSDefaultAndSize(module.path.as_ptr().cast(), length(&module.path));
            // N takes over the reference, and passes on the exception of a null one.
            let entry = raise::unless_null(ffi::Py_BuildValue(
                c"(s#Ns#)".as_ptr(),
                module.name.as_ptr(),
                length(&module.name),
                path,
                module.reason.as_ptr(),
                length(module.reason),
            ))?;
            let appended = ffi::PyList_Append(list, entry);
            ffi::Py_DecRef(entry);
            raise::unless_negative(appended)
        });
        if complete.is_err() {
            ffi::Py_DecRef(list);
            return ptr::null_mut();
        }
        list
    }
}

fn length(bytes: impl AsRef<[u8]>) -> isize {
    bytes.as_ref().len().cast_signed()
}

unsafe extern "C" fn reason_not_to_count(_: Object, path: Object) -> Object {
    // SAFETY: METH_O.
    unsafe {
        let mut bytes: Object = ptr::null_mut();
        if ffi::PyUnicode_FSConverter(path, (&raw mut bytes).cast()) == 0 {
            return ptr::null_mut();
        }
        let reason = file::reason_not_to_count(CStr::from_ptr(ffi::PyBytes_AsString(bytes)));
        ffi::Py_DecRef(bytes);
        text_or_none(reason)
    }
}

unsafe extern "C" fn treatment(_: Object, ty: Object) -> Object {
    // SAFETY: METH_O.
    unsafe {
        if !header::has_feature(header::type_of(ty), ffi::Py_TPFLAGS_TYPE_SUBCLASS) {
            ffi::PyErr_SetString(ffi::PyExc_TypeError, c"_treatment() takes a type".as_ptr());
            return ptr::null_mut();
        }
        let ty: Type = ty.cast();
        c_type::settle();
        let Some(state) = interpreter::current() else {
            return ptr::null_mut();
        };
        let decision = policy::for_instances(&state.registry, &state.names, ty);
        let (treatment, reason) = match decision.treatment {
            Treatment::Refused(refusal) => (c"refused", Some(refusal.reason())),
            _ if decision.explicit => (c"explicit", None),
            Treatment::Leaf | Treatment::Container | Treatment::Function => (c"freezable", None),
            Treatment::Proxy => (c"proxy", None),
        };
        let is_static = !header::has_feature(ty, ffi::Py_TPFLAGS_HEAPTYPE);
        ffi::Py_BuildValue(
            c"(sNNN)".as_ptr(),
            treatment.as_ptr(),
            text_or_none(reason),
            ffi::PyBool_FromLong((!header::is_python_class(ty)).into()),
            ffi::PyBool_FromLong((is_static || c_type::is_shared(ty)).into()),
        )
    }
}
