//! The type `ImmutableModule`, of modules that several interpreters may hold.
//!
//! Two kinds of module have it: proxies, whose attributes are those of the module that they stand for in the running
//! interpreter, and modules that are frozen as a whole, which are the same for everybody.
//!
//! The type has no `tp_dictoffset`, so that nothing in CPython finds the namespace of a module by way of the generic
//! machinery: who reads it has asked first whose it is.

use std::ffi::{CStr, c_int, c_void};
use std::ptr;

use super::module;
use crate::object::header::{self, Object, Type};
use crate::object::raise::Raised;
use crate::object::{attribute, ffi};

unsafe extern "C" {
    fn PyErr_WriteToImmutable(op: Object) -> c_int;
}

const DOC: &CStr = c"The type of a module that a freeze has reached.

A module is not frozen with what refers to it, unless its policy says so: the
object can be shared, and stands in each interpreter for that interpreter's own
module of the same name, which sys.mut_modules holds.";

/// The type.
pub fn module_type() -> Type {
    &raw mut _PyImmutable_ModuleType
}

static mut METHODS: [ffi::PyMethodDef; 3] = [
    ffi::PyMethodDef {
        ml_name: c"__dir__".as_ptr(),
        ml_meth: Some(dir),
        ml_flags: ffi::METH_NOARGS as c_int,
        ml_doc: c"__dir__($self, /)\n--\n\nThe names that the module shows here.".as_ptr(),
    },
    ffi::PyMethodDef {
        ml_name: c"__reduce__".as_ptr(),
        ml_meth: Some(reduce),
        ml_flags: ffi::METH_NOARGS as c_int,
        ml_doc: c"__reduce__()\n--\n\nPickle the module by its name.".as_ptr(),
    },
    ffi::PyMethodDef { ml_name: ptr::null(), ml_meth: None, ml_flags: 0, ml_doc: ptr::null() },
];

static mut ATTRIBUTES: [ffi::PyGetSetDef; 2] = [
    ffi::PyGetSetDef {
        name: c"__dict__".as_ptr(),
        get: Some(namespace),
        set: None,
        doc: ptr::null(),
        closure: ptr::null_mut(),
    },
    ffi::PyGetSetDef { name: ptr::null(), get: None, set: None, doc: ptr::null(), closure: ptr::null_mut() },
];

/// `_PyImmutable_ModuleType`: known to specialised bytecode.
#[unsafe(no_mangle)]
pub static mut _PyImmutable_ModuleType: ffi::PyTypeObject = ffi::PyTypeObject {
    tp_name: c"immutable.ImmutableModule".as_ptr(),
    tp_basicsize: size_of::<ffi::PyModuleObject>() as isize,
    tp_doc: DOC.as_ptr(),
    tp_repr: Some(repr),
    tp_getattro: Some(get_attribute),
    tp_setattro: Some(set_attribute),
    tp_methods: (&raw mut METHODS).cast(),
    tp_getset: (&raw mut ATTRIBUTES).cast(),
    tp_new: Some(new),
    tp_flags: (ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_IMMUTABLETYPE) as std::ffi::c_ulong,
    // SAFETY: null pointers, absent functions and numbers. The base is set when the type is made ready.
    ..unsafe { std::mem::zeroed() }
};

/// Sets what cannot be written into a static, before the type is made ready.
///
/// # Safety
/// A GIL is held; the first call returns before a second interpreter begins.
pub unsafe fn set_base() {
    // SAFETY: nobody reads the type yet.
    unsafe {
        if _PyImmutable_ModuleType.tp_base.is_null() {
            _PyImmutable_ModuleType.tp_base = &raw mut ffi::PyModule_Type;
        }
    }
}

/// Takes away what the type has inherited and must not have. After it was made ready.
///
/// # Safety
/// A GIL is held. Every call after the first writes what is there already, and so none does.
pub unsafe fn hide_namespace() {
    // SAFETY: the first call returns before a second interpreter begins.
    unsafe {
        if _PyImmutable_ModuleType.tp_dictoffset != 0 {
            _PyImmutable_ModuleType.tp_dictoffset = 0;
        }
    }
}

/// `type(sys)(name)` is how code gets at the type of modules without an import (importlib does): it makes an ordinary
/// module.
unsafe extern "C" fn new(_: Type, args: Object, kwargs: Object) -> Object {
    // SAFETY: tp_new.
    unsafe { ffi::PyObject_Call((&raw mut ffi::PyModule_Type).cast(), args, kwargs) }
}

unsafe extern "C" fn get_attribute(op: Object, name: Object) -> Object {
    // SAFETY: tp_getattro.
    unsafe {
        if is_pickling(name) {
            return ffi::PyObject_GenericGetAttr(op, name);
        }
        match module::target(op) {
            Ok(None) => own_attribute(op, name),
            Ok(Some(target)) => {
                let value = attribute_of(op, target, name);
                ffi::Py_DecRef(target);
                value
            }
            Err(Raised) => ptr::null_mut(),
        }
    }
}

/// The names by which pickle finds out how: a module knows it by its type, whatever it stands for.
unsafe fn is_pickling(name: Object) -> bool {
    // SAFETY: an attribute's name is a string, or the lookup raises.
    unsafe {
        header::has_feature(header::type_of(name), ffi::Py_TPFLAGS_UNICODE_SUBCLASS)
            && (ffi::PyUnicode_EqualToUTF8(name, c"__reduce_ex__".as_ptr()) != 0
                || ffi::PyUnicode_EqualToUTF8(name, c"__reduce__".as_ptr()) != 0)
    }
}

unsafe fn own_attribute(op: Object, name: Object) -> Object {
    // SAFETY: as `get_attribute`. The exception is set again if no submodule takes its place.
    unsafe {
        let Some(get) = ffi::PyModule_Type.tp_getattro else { return ptr::null_mut() };
        if module::namespace(op).is_err() {
            return ptr::null_mut();
        }
        let value = get(op, name);
        if !value.is_null()
            || !module::is_frozen_whole(op)
            || ffi::PyErr_ExceptionMatches(ffi::PyExc_AttributeError) == 0
        {
            return value;
        }
        let error = ffi::PyErr_GetRaisedException();
        match module::imported_submodule(op, name) {
            Ok(submodule) if submodule.is_null() => {
                ffi::PyErr_SetRaisedException(error);
                submodule
            }
            found => {
                ffi::Py_DecRef(error);
                found.unwrap_or(ptr::null_mut())
            }
        }
    }
}

unsafe fn attribute_of(op: Object, target: Object, name: Object) -> Object {
    // SAFETY: as `get_attribute`. The exception is set again if no submodule takes its place.
    unsafe {
        let value = ffi::PyObject_GetAttr(target, name);
        if !value.is_null() || ffi::PyErr_ExceptionMatches(ffi::PyExc_AttributeError) == 0 || !module::is_foreign(op) {
            return value;
        }
        let error = ffi::PyErr_GetRaisedException();
        match module::import_submodule(target, name) {
            Ok(Some(submodule)) => {
                ffi::Py_DecRef(error);
                submodule
            }
            Ok(None) => {
                ffi::PyErr_SetRaisedException(error);
                ptr::null_mut()
            }
            Err(Raised) => {
                ffi::Py_DecRef(error);
                ptr::null_mut()
            }
        }
    }
}

unsafe extern "C" fn set_attribute(op: Object, name: Object, value: Object) -> c_int {
    // SAFETY: tp_setattro; a null value deletes.
    unsafe {
        match module::target(op) {
            Ok(None) if module::is_frozen_whole(op) => {
                // Importing a submodule sets it on the package, which shows it anyway.
                match module::imported_submodule(op, name) {
                    Ok(submodule) => {
                        ffi::Py_DecRef(submodule);
                        if !value.is_null() && submodule == value { 0 } else { PyErr_WriteToImmutable(op) }
                    }
                    Err(Raised) => -1,
                }
            }
            Ok(None) => match module::namespace(op) {
                Ok(namespace) => ffi::_PyObject_GenericSetAttrWithDict(op, name, value, namespace),
                Err(Raised) => -1,
            },
            Ok(Some(target)) => {
                let stored = ffi::PyObject_SetAttr(target, name, value);
                ffi::Py_DecRef(target);
                stored
            }
            Err(Raised) => -1,
        }
    }
}

unsafe extern "C" fn namespace(op: Object, _: *mut c_void) -> Object {
    // SAFETY: a getter; the namespace is that of the module which the running interpreter may read.
    unsafe {
        match module::target(op) {
            Ok(None) => match module::namespace(op) {
                Ok(namespace) => {
                    ffi::Py_IncRef(namespace);
                    namespace
                }
                Err(Raised) => ptr::null_mut(),
            },
            Ok(Some(target)) => {
                let namespace = attribute::get(target, c"__dict__");
                ffi::Py_DecRef(target);
                namespace
            }
            Err(Raised) => ptr::null_mut(),
        }
    }
}

unsafe extern "C" fn repr(op: Object) -> Object {
    // SAFETY: tp_repr. A class of modules may define its own.
    unsafe {
        if !module::is_foreign(op)
            && let Some(twin) = module::twin(op)
        {
            return ffi::PyObject_Repr(twin);
        }
        ffi::PyModule_Type.tp_repr.map_or(ptr::null_mut(), |plain| plain(op))
    }
}

unsafe extern "C" fn dir(op: Object, _: Object) -> Object {
    // SAFETY: METH_NOARGS; new references are given back or passed on.
    unsafe {
        match module::target(op) {
            Ok(Some(target)) => {
                let names = ffi::PyObject_Dir(target);
                ffi::Py_DecRef(target);
                names
            }
            Ok(None) => {
                ffi::PyObject_CallMethod((&raw mut ffi::PyModule_Type).cast(), c"__dir__".as_ptr(), c"O".as_ptr(), op)
            }
            Err(Raised) => ptr::null_mut(),
        }
    }
}

unsafe extern "C" fn reduce(op: Object, _: Object) -> Object {
    // SAFETY: METH_NOARGS; new references are given back or passed on.
    unsafe {
        let importlib = ffi::PyImport_ImportModule(c"importlib".as_ptr());
        if importlib.is_null() {
            return importlib;
        }
        let import = attribute::get(importlib, c"import_module");
        ffi::Py_DecRef(importlib);
        if import.is_null() {
            return import;
        }
        let name = ffi::PyModule_GetNameObject(op);
        if name.is_null() {
            ffi::Py_DecRef(import);
            return name;
        }
        ffi::Py_BuildValue(c"N(N)".as_ptr(), import, name)
    }
}
