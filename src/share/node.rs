//! Frozen syntax trees in several interpreters.
//!
//! Each interpreter makes the classes of `ast` nodes for itself, and programs may write into them; so they cannot exist
//! once in the process, as the types of other C modules do (see [`super::c_type`]). A frozen node keeps the class of the
//! interpreter that made it, and answers with the running interpreter's class of the same name when it is asked for its
//! `__class__`. That is what `isinstance`, patterns and the compiler go by.

use std::ffi::CStr;
use std::ptr;

use crate::object::ffi;
use crate::object::header::{self, Object, Type};

/// The full name of the class that all others derive from.
const ROOT: &CStr = c"ast.AST";

/// True for `ast.AST`, of any interpreter, and every class that derives from it.
///
/// # Safety
/// `ty` is a live type.
pub unsafe fn is_node_class(mut ty: Type) -> bool {
    // SAFETY: the caller's; the bases of a type live as long as it does.
    unsafe {
        while header::has_feature(ty, ffi::Py_TPFLAGS_HEAPTYPE) {
            if CStr::from_ptr((*ty).tp_name) == ROOT {
                return true;
            }
            ty = (*ty).tp_base;
        }
        false
    }
}

/// What instances of a frozen class give as their `__class__` here. New reference; never fails.
///
/// # Safety
/// `ty` is alive; the caller holds a GIL. Python code may run.
pub unsafe fn class_here(ty: Type) -> Object {
    // SAFETY: the caller's.
    unsafe {
        if is_node_class(ty)
            && let Some(found) = namesake(ty)
        {
            return found;
        }
        ffi::Py_IncRef(ty.cast());
        ty.cast()
    }
}

/// The running interpreter's class of that name, if `ty` is one that each interpreter makes for itself.
unsafe fn namesake(ty: Type) -> Option<Object> {
    // SAFETY: as `class_here`; an exception that is set stays.
    unsafe {
        let error = ffi::PyErr_GetRaisedException();
        let found = if is_made_by_c(ty) { look_up(ty) } else { ptr::null_mut() };
        if found.is_null() {
            ffi::PyErr_Clear();
        }
        ffi::PyErr_SetRaisedException(error);
        if found.is_null() {
            return None;
        }
        if header::has_feature(header::type_of(found), ffi::Py_TPFLAGS_TYPE_SUBCLASS) && is_node_class(found.cast()) {
            return Some(found);
        }
        ffi::Py_DecRef(found);
        None
    }
}

/// True unless a program has derived the class: it names its own module.
unsafe fn is_made_by_c(ty: Type) -> bool {
    // SAFETY: as `class_here`.
    unsafe {
        let module = ffi::PyObject_GetAttrString(ty.cast(), c"__module__".as_ptr());
        if module.is_null() {
            return false;
        }
        let same = header::has_feature(header::type_of(module), ffi::Py_TPFLAGS_UNICODE_SUBCLASS)
            && ffi::PyUnicode_EqualToUTF8(module, c"ast".as_ptr()) != 0;
        ffi::Py_DecRef(module);
        same
    }
}

/// The class of that name in the C module `_ast`, or null with an exception. New reference.
unsafe fn look_up(ty: Type) -> Object {
    // SAFETY: as `class_here`.
    unsafe {
        let module = ffi::PyImport_ImportModule(c"_ast".as_ptr());
        if module.is_null() {
            return module;
        }
        let found = ffi::PyObject_GetAttr(module, (*ty.cast::<ffi::PyHeapTypeObject>()).ht_name);
        ffi::Py_DecRef(module);
        found
    }
}
