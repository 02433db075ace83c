//! Functions of `_immutable` about modules.

use std::ffi::{CStr, c_int, c_void};
use std::{ptr, slice, str};

use pyo3::ffi as py;

use super::module::method;
use super::static_type::_PyImmutable_InitTypes;
use crate::freeze::prepare;
use crate::freeze::run::{self, Terms};
use crate::object::answer::{none, or_null};
use crate::object::ffi;
use crate::object::header::{self, FROZEN, Object, PROXY};
use crate::object::raise::{self, Raised};
use crate::policy;
use crate::share::reference::Reference;
use crate::share::shared_module::{self, Claim, Denied};
use crate::share::{interpreter, module, namesake, transfer, view};

const SHARE_DOC: &CStr = c"_share_module(module, name, /)
--

Freeze module as a whole, and have every interpreter's import of name find it.

All or nothing, as freeze(). Its namespace must hold nothing that belongs to an
interpreter: see immutable.share_module, which sees to that.";

const OWN_DOC: &CStr = c"_own_module(module, /)
--

Return the module that module, any object, stands for in this interpreter.";

const OWN_FUNCTION_DOC: &CStr = c"_own_function(function, /)
--

Return the ordinary function that this interpreter runs in the place of a frozen
one; any other object as it is.";

const OWN_GLOBALS_DOC: &CStr = c"_own_globals(globals, /)
--

Return the namespace of this interpreter's module from which globals, those of a
frozen function, were captured, importing it if need be; any other object, and
globals of a module that is not to be had, as they are.";

const HERE_DOC: &CStr = c"_here(object, /)
--

Return what stands in this interpreter for a class of the library, or for a form
of typing such as Literal, that was frozen by another; for a tuple, one with what
stands for its items; any other object as it is.";

/// The functions, for the method table of the module.
pub const METHODS: [py::PyMethodDef; 5] = [
    method(c"_here", here as *const c_void, py::METH_O, HERE_DOC),
    method(c"_share_module", share as *const c_void, py::METH_FASTCALL, SHARE_DOC),
    method(c"_own_module", own as *const c_void, py::METH_O, OWN_DOC),
    method(c"_own_function", own_function as *const c_void, py::METH_O, OWN_FUNCTION_DOC),
    method(c"_own_globals", own_globals as *const c_void, py::METH_O, OWN_GLOBALS_DOC),
];

/// The text of a string, which lives as long as that is not released.
unsafe fn text<'a>(name: Object) -> Result<&'a str, Raised> {
    // SAFETY: a GIL is held; CPython's UTF-8 is valid.
    unsafe {
        let mut length = 0;
        let text = ffi::PyUnicode_AsUTF8AndSize(name, &raw mut length);
        if text.is_null() {
            return Err(Raised);
        }
        Ok(str::from_utf8_unchecked(slice::from_raw_parts(text.cast(), length as usize)))
    }
}

unsafe extern "C" fn share(_: Object, args: *const Object, n: isize) -> Object {
    // SAFETY: METH_FASTCALL.
    unsafe {
        if n != 2 || !module::is_module(*args) {
            ffi::PyErr_SetString(ffi::PyExc_TypeError, c"_share_module() takes a module and its name".as_ptr());
            return ptr::null_mut();
        }
        or_null(text(*args.add(1)).and_then(|name| share_as(*args, name)).map(|()| none()))
    }
}

unsafe fn share_as(module: Object, name: &str) -> Result<(), Raised> {
    // SAFETY: a GIL is held and the module alive.
    unsafe {
        transfer::require_shared_allocator()?;
        let claim = match Claim::new(name, module) {
            Ok(claim) => claim,
            Err(Denied::Done) => return Ok(()),
            Err(Denied::OutOfMemory) => return Err(raise::no_memory(crate::object::memory::OutOfMemory)),
            Err(Denied::Taken) => {
                ffi::PyErr_SetString(
                    ffi::PyExc_ValueError,
                    c"another module of this name is shared already, or is being shared".as_ptr(),
                );
                return Err(Raised);
            }
        };
        freeze_whole(module)?;
        claim.publish(Reference::new(module, c"share_module()")?);
        Ok(())
    }
}

unsafe fn freeze_whole(module: Object) -> Result<(), Raised> {
    // SAFETY: as `share_as`.
    unsafe {
        if module::is_frozen_whole(module) {
            return Ok(());
        }
        if header::flags(module) & PROXY == 0 {
            return run::freeze_whole_module(module);
        }
        if module::is_foreign(module) || module::has_twin(module) {
            ffi::PyErr_SetString(
                ffi::PyExc_TypeError,
                c"this is a proxy of another module: share that module, in the interpreter that it belongs to".as_ptr(),
            );
            return Err(Raised);
        }
        if module::has_state(module) {
            return Err(run::refuse(module, prepare::MODULE_STATE));
        }
        let names = interpreter::current().ok_or(Raised)?.names;
        if let Some(refusal) = policy::refusal_of_whole(None, module, &names) {
            return Err(run::refuse(module, refusal.reason()));
        }
        // A freeze has reached it before. What it is counted by stays, so only its namespace is left to freeze.
        run::freeze(&[(*module.cast::<ffi::PyModuleObject>()).md_dict], Terms::NONE)?;
        module::become_whole(module);
        Ok(())
    }
}

/// `_PyImmutable_SharedModule`
///
/// # Safety
/// The caller holds a GIL; `name` is an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyImmutable_SharedModule(name: Object) -> Object {
    // SAFETY: the caller's.
    unsafe {
        match text(name) {
            // What it refers to may be of a type of the runtime.
            Ok(name) => match shared_module::find(name) {
                Some(module) if _PyImmutable_InitTypes() == 0 => module.into_raw(),
                Some(_) => ptr::null_mut(),
                None => none(),
            },
            // A name with surrogates, which no shared module has.
            Err(Raised) if ffi::PyErr_ExceptionMatches(ffi::PyExc_UnicodeEncodeError) != 0 => {
                ffi::PyErr_Clear();
                none()
            }
            Err(Raised) => ptr::null_mut(),
        }
    }
}

/// `_PyImmutable_AdoptSharedModules`
///
/// # Safety
/// The caller holds a GIL. Python code may run.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyImmutable_AdoptSharedModules() -> c_int {
    // SAFETY: the caller's.
    if unsafe { _PyImmutable_InitTypes() == 0 && shared_module::adopt().is_ok() } { 0 } else { -1 }
}

unsafe extern "C" fn own(_: Object, op: Object) -> Object {
    // SAFETY: METH_O.
    unsafe { if module::is_module(op) { module::own(op).unwrap_or(ptr::null_mut()) } else { ffi::Py_NewRef(op) } }
}

unsafe extern "C" fn here(_: Object, op: Object) -> Object {
    // SAFETY: METH_O; PyTuple_SetItem takes over the new references.
    unsafe {
        if header::type_of(op) != &raw mut ffi::PyTuple_Type {
            return namesake::object_here(op);
        }
        let n = ffi::PyTuple_Size(op);
        let tuple = ffi::PyTuple_New(n);
        let mut same = true;
        for i in 0..if tuple.is_null() { 0 } else { n } {
            let item = ffi::PyTuple_GetItem(op, i);
            let here = namesake::object_here(item);
            same &= here == item;
            ffi::PyTuple_SetItem(tuple, i, here);
        }
        if tuple.is_null() || !same {
            return tuple;
        }
        ffi::Py_DecRef(tuple);
        ffi::Py_NewRef(op)
    }
}

unsafe extern "C" fn own_function(_: Object, op: Object) -> Object {
    // SAFETY: METH_O.
    unsafe {
        if header::type_of(op) == &raw mut ffi::PyFunction_Type && header::flags(op) & FROZEN != 0 {
            view::own(op).unwrap_or(ptr::null_mut())
        } else {
            ffi::Py_NewRef(op)
        }
    }
}

unsafe extern "C" fn own_globals(_: Object, op: Object) -> Object {
    // SAFETY: METH_O.
    unsafe {
        if header::type_of(op) == &raw mut ffi::PyDict_Type && header::flags(op) & FROZEN != 0 {
            or_null(view::module_globals(op).map(|globals| globals.unwrap_or_else(|| ffi::Py_NewRef(op))))
        } else {
            ffi::Py_NewRef(op)
        }
    }
}
