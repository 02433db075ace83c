//! The type `InterpreterLocal`.

use std::ffi::{c_int, c_void};
use std::ptr;

use crate::freeze::run;
use crate::object::ffi;
use crate::object::header::{self, Object};
use crate::object::raise::{self, Raised};
use crate::share::{interpreter, local};

#[repr(C)]
struct InterpreterLocal {
    base: ffi::PyObject,
    number: u64,
    /// Owned; frozen.
    initial: Object,
}

const DOC: &std::ffi::CStr = c"InterpreterLocal(initial, /)
--

One value for each interpreter, mutable or not, behind one frozen object.

initial must be frozen. If it is callable, it is called in each interpreter on
first use, and makes that interpreter's value; otherwise it is the value that
every interpreter begins with. Values end with their interpreter.";

unsafe extern "C" fn new(ty: *mut ffi::PyTypeObject, args: Object, kwargs: Object) -> Object {
    // SAFETY: tp_new.
    unsafe {
        if (!kwargs.is_null() && ffi::PyDict_Size(kwargs) > 0) || ffi::PyTuple_Size(args) != 1 {
            ffi::PyErr_SetString(
                ffi::PyExc_TypeError,
                c"InterpreterLocal() takes exactly one positional argument".as_ptr(),
            );
            return ptr::null_mut();
        }
        let initial = ffi::PyTuple_GetItem(args, 0);
        match run::is_frozen(initial) {
            Ok(true) => {}
            Ok(false) => {
                ffi::PyErr_SetString(
                    ffi::PyExc_TypeError,
                    c"InterpreterLocal() needs a frozen value or factory: freeze() it first".as_ptr(),
                );
                return ptr::null_mut();
            }
            Err(Raised) => return ptr::null_mut(),
        }
        let op = ffi::PyType_GenericAlloc(ty, 0);
        if !op.is_null() {
            let this = op.cast::<InterpreterLocal>();
            ffi::Py_IncRef(initial);
            (*this).number = local::new_number();
            (*this).initial = initial;
        }
        op
    }
}

unsafe extern "C" fn dealloc(op: Object) {
    // SAFETY: tp_dealloc of a collected heap type.
    unsafe {
        ffi::PyObject_GC_UnTrack(op.cast());
        let this = op.cast::<InterpreterLocal>();
        let value = interpreter::existing().and_then(|state| state.locals.reset((*this).number));
        ffi::Py_DecRef((*this).initial);
        let ty = header::type_of(op);
        if let Some(free) = (*ty).tp_free {
            free(op.cast());
        }
        ffi::Py_DecRef(ty.cast());
        ffi::Py_DecRef(value.unwrap_or(ptr::null_mut()));
    }
}

unsafe extern "C" fn traverse(op: Object, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: tp_traverse.
    unsafe {
        let Some(visit) = visit else { return 0 };
        match visit(header::type_of(op).cast(), arg) {
            0 => visit((*op.cast::<InterpreterLocal>()).initial, arg),
            stopped => stopped,
        }
    }
}

unsafe extern "C" fn get(op: Object, _: Object) -> Object {
    // SAFETY: METH_NOARGS; the state is looked up again after the factory ran.
    unsafe {
        let this = op.cast::<InterpreterLocal>();
        let Some(state) = interpreter::current() else {
            return ptr::null_mut();
        };
        if let Some(value) = state.locals.get((*this).number) {
            return value;
        }
        let initial = (*this).initial;
        if ffi::PyCallable_Check(initial) == 0 {
            ffi::Py_IncRef(initial);
            return initial;
        }
        let value = ffi::PyObject_CallNoArgs(initial);
        if value.is_null() {
            return value;
        }
        let Some(state) = interpreter::current() else {
            ffi::Py_DecRef(value);
            return ptr::null_mut();
        };
        // The factory may have set a value itself, or let another thread do so.
        if let Some(earlier) = state.locals.get((*this).number) {
            ffi::Py_DecRef(value);
            return earlier;
        }
        if let Err(error) = state.locals.set((*this).number, value) {
            raise::no_memory(error);
            ffi::Py_DecRef(value);
            return ptr::null_mut();
        }
        ffi::Py_IncRef(value);
        value
    }
}

unsafe extern "C" fn set(op: Object, value: Object) -> Object {
    // SAFETY: METH_O. The old value goes last, since that may run Python code.
    unsafe {
        let Some(state) = interpreter::current() else {
            return ptr::null_mut();
        };
        match state.locals.set((*op.cast::<InterpreterLocal>()).number, value) {
            Ok(old) => {
                ffi::Py_IncRef(value);
                ffi::Py_DecRef(old.unwrap_or(ptr::null_mut()));
                none()
            }
            Err(error) => {
                raise::no_memory(error);
                ptr::null_mut()
            }
        }
    }
}

unsafe extern "C" fn reset(op: Object, _: Object) -> Object {
    // SAFETY: METH_NOARGS; as `set`.
    unsafe {
        let Some(state) = interpreter::current() else {
            return ptr::null_mut();
        };
        let old = state.locals.reset((*op.cast::<InterpreterLocal>()).number);
        ffi::Py_DecRef(old.unwrap_or(ptr::null_mut()));
        none()
    }
}

unsafe fn none() -> Object {
    let none = &raw mut ffi::_Py_NoneStruct;
    // SAFETY: a GIL is held.
    unsafe { ffi::Py_IncRef(none) };
    none
}

/// Adds the type to the module. False with a Python exception.
///
/// # Safety
/// The caller holds the GIL; `module` is the `_immutable` module being made.
pub unsafe fn add_type(module: Object) -> bool {
    const fn method(
        name: &std::ffi::CStr,
        address: *const c_void,
        flags: u32,
        doc: &std::ffi::CStr,
    ) -> ffi::PyMethodDef {
        ffi::PyMethodDef {
            ml_name: name.as_ptr(),
            // SAFETY: CPython casts it back to the signature that ml_flags names.
            ml_meth: unsafe { std::mem::transmute::<*const c_void, ffi::PyCFunction>(address) },
            ml_flags: flags as c_int,
            ml_doc: doc.as_ptr(),
        }
    }
    // The type keeps pointers into the method table: one for the whole process.
    static mut METHODS: [ffi::PyMethodDef; 4] = [
        method(c"get", get as *const c_void, ffi::METH_NOARGS, c"get()\n--\n\nReturn this interpreter's value."),
        method(c"set", set as *const c_void, ffi::METH_O, c"set(value, /)\n--\n\nSet this interpreter's value."),
        method(
            c"reset",
            reset as *const c_void,
            ffi::METH_NOARGS,
            c"reset()\n--\n\nForget this interpreter's value: the next get() begins anew.",
        ),
        ffi::PyMethodDef { ml_name: ptr::null(), ml_meth: None, ml_flags: 0, ml_doc: ptr::null() },
    ];
    // SAFETY: the spec is read during the call only; CPython does not write to
    // the method table.
    unsafe {
        let slot = |slot: u32, pfunc: *mut c_void| ffi::PyType_Slot { slot: slot as c_int, pfunc };
        let mut slots = [
            slot(ffi::Py_tp_doc, DOC.as_ptr().cast_mut().cast()),
            slot(ffi::Py_tp_new, new as *mut c_void),
            slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
            slot(ffi::Py_tp_traverse, traverse as *mut c_void),
            slot(ffi::Py_tp_methods, (&raw mut METHODS).cast()),
            slot(0, ptr::null_mut()),
        ];
        let mut spec = ffi::PyType_Spec {
            name: c"_immutable.InterpreterLocal".as_ptr(),
            basicsize: size_of::<InterpreterLocal>() as c_int,
            itemsize: 0,
            flags: ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_HAVE_GC | ffi::Py_TPFLAGS_IMMUTABLETYPE,
            slots: slots.as_mut_ptr(),
        };
        let ty = ffi::PyType_FromModuleAndSpec(module, &raw mut spec, ptr::null_mut());
        if ty.is_null() {
            return false;
        }
        let added = ffi::PyModule_AddType(module, ty.cast()) == 0;
        ffi::Py_DecRef(ty);
        added
    }
}
