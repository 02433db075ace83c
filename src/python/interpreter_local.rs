//! The type `InterpreterLocal`.

use std::ffi::{CStr, c_void};
use std::ptr;

use super::static_type::{self, CLASS_GETITEM, COPY, DEEPCOPY, LAST_METHOD, REDUCE, method};
use crate::freeze::run;
use crate::object::answer::none;
use crate::object::ffi;
use crate::object::header::{Object, Type};
use crate::object::raise::{self, Raised};
use crate::share::interpreter;
use crate::share::local::Name;

/// What the object holds: never written after it was made.
struct InterpreterLocal {
    name: Name,
    /// Owned; frozen.
    initial: Object,
}

impl Drop for InterpreterLocal {
    fn drop(&mut self) {
        // SAFETY: tp_dealloc runs under a GIL. The values of other interpreters go when these next tidy up.
        unsafe {
            let value = interpreter::existing().and_then(|state| state.locals.reset(&self.name));
            ffi::Py_DecRef(self.initial);
            ffi::Py_DecRef(value.unwrap_or(ptr::null_mut()));
        }
    }
}

const DOC: &CStr = c"InterpreterLocal(initial, /)
--

One value for each interpreter, mutable or not, behind one frozen object.

initial must be frozen. If it is callable, it is called in each interpreter on
first use, and makes that interpreter's value; otherwise it is the value that
every interpreter begins with. A value ends with its interpreter, or some time
after the object itself is gone. Raises TypeError if initial is mutable.";

const GET_DOC: &CStr = c"get($self, /)
--

Return this interpreter's value. Raises what the factory raises.";

const SET_DOC: &CStr = c"set($self, value, /)
--

Set this interpreter's value.";

const RESET_DOC: &CStr = c"reset($self, /)
--

Forget this interpreter's value: the next get() begins anew.";

/// # Safety
/// `op` is an `InterpreterLocal` object that lives as long as the result is used.
unsafe fn local<'a>(op: Object) -> &'a InterpreterLocal {
    // SAFETY: the caller's.
    unsafe { static_type::value(op) }
}

unsafe extern "C" fn new(ty: Type, args: Object, kwargs: Object) -> Object {
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
        let name = match Name::new() {
            Ok(name) => name,
            Err(error) => {
                raise::no_memory(error);
                return ptr::null_mut();
            }
        };
        ffi::Py_IncRef(initial);
        static_type::new_instance(ty, InterpreterLocal { name, initial })
    }
}

unsafe extern "C" fn get(op: Object, _: Object) -> Object {
    // SAFETY: METH_NOARGS; the state is looked up again after the factory ran.
    unsafe {
        let InterpreterLocal { name, initial } = local(op);
        let Some(state) = interpreter::current() else {
            return ptr::null_mut();
        };
        if let Some(value) = state.locals.get(name) {
            return value;
        }
        if ffi::PyCallable_Check(*initial) == 0 {
            ffi::Py_IncRef(*initial);
            return *initial;
        }
        let value = ffi::PyObject_CallNoArgs(*initial);
        if value.is_null() {
            return value;
        }
        let Some(state) = interpreter::current() else {
            ffi::Py_DecRef(value);
            return ptr::null_mut();
        };
        // The factory may have set a value itself, or let another thread do so.
        if let Some(earlier) = state.locals.get(name) {
            ffi::Py_DecRef(value);
            return earlier;
        }
        if let Err(error) = state.locals.set(name, value) {
            raise::no_memory(error);
            ffi::Py_DecRef(value);
            return ptr::null_mut();
        }
        ffi::Py_IncRef(value);
        tidy();
        value
    }
}

/// Drops values that are left of others that other interpreters have released.
unsafe fn tidy() {
    // SAFETY: a GIL is held, and no reference to the state.
    unsafe {
        if let Some(state) = interpreter::existing()
            && state.locals.has_grown()
        {
            state.locals.drop_idle();
        }
    }
}

unsafe extern "C" fn set(op: Object, value: Object) -> Object {
    // SAFETY: METH_O. The old value goes last, since that may run Python code.
    unsafe {
        let Some(state) = interpreter::current() else {
            return ptr::null_mut();
        };
        match state.locals.set(&local(op).name, value) {
            Ok(old) => {
                ffi::Py_IncRef(value);
                ffi::Py_DecRef(old.unwrap_or(ptr::null_mut()));
                tidy();
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
        let old = state.locals.reset(&local(op).name);
        ffi::Py_DecRef(old.unwrap_or(ptr::null_mut()));
        none()
    }
}

/// The type `InterpreterLocal`.
pub fn interpreter_local_type() -> Type {
    static mut METHODS: [ffi::PyMethodDef; 8] = [
        method(c"get", get as *const c_void, ffi::METH_NOARGS, GET_DOC),
        method(c"set", set as *const c_void, ffi::METH_O, SET_DOC),
        method(c"reset", reset as *const c_void, ffi::METH_NOARGS, RESET_DOC),
        COPY,
        DEEPCOPY,
        REDUCE,
        CLASS_GETITEM,
        LAST_METHOD,
    ];
    static mut TYPE: ffi::PyTypeObject = ffi::PyTypeObject {
        tp_name: c"immutable.InterpreterLocal".as_ptr(),
        tp_doc: DOC.as_ptr(),
        tp_new: Some(new),
        tp_methods: (&raw mut METHODS).cast(),
        ..static_type::prototype::<InterpreterLocal>()
    };
    &raw mut TYPE
}
