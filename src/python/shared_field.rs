//! The type `SharedField`.

use std::ffi::{CStr, c_void};
use std::ptr;

use super::static_type::{self, CLASS_GETITEM, COPY, DEEPCOPY, LAST_METHOD, REDUCE, method};
use crate::object::ffi;
use crate::object::header::{Object, Type};
use crate::share::field::Field;
use crate::share::reference::Reference;

const DOC: &CStr = c"SharedField(value, /)
--

One cell for all interpreters, which holds a frozen object.

Frozen itself, so that it may stand in frozen objects; its value can be replaced
all the same. Each method is atomic, from any thread of any interpreter. Raises
TypeError for a value that is mutable.";

const GET_DOC: &CStr = c"get($self, /)
--

Return the value.";

const SET_DOC: &CStr = c"set($self, value, /)
--

Set the value, which must be frozen.";

const SWAP_DOC: &CStr = c"swap($self, value, /)
--

Set the value, which must be frozen, and return the one that it replaces.";

const COMPARE_AND_SWAP_DOC: &CStr = c"compare_and_swap($self, expected, new, /)
--

Set the value to new, which must be frozen, if it is expected, by identity as with
the operator is; return whether it was.";

/// # Safety
/// `op` is a `SharedField` object that lives as long as the result is used.
unsafe fn field<'a>(op: Object) -> &'a Field<Reference> {
    // SAFETY: the caller's.
    unsafe { static_type::value(op) }
}

unsafe extern "C" fn new(ty: Type, args: Object, kwargs: Object) -> Object {
    // SAFETY: tp_new.
    unsafe {
        if (!kwargs.is_null() && ffi::PyDict_Size(kwargs) > 0) || ffi::PyTuple_Size(args) != 1 {
            ffi::PyErr_SetString(ffi::PyExc_TypeError, c"SharedField() takes exactly one positional argument".as_ptr());
            return ptr::null_mut();
        }
        match Reference::new(ffi::PyTuple_GetItem(args, 0), c"SharedField()") {
            Ok(value) => static_type::new_instance(ty, Field::new(value)),
            Err(_) => ptr::null_mut(),
        }
    }
}

unsafe extern "C" fn get(op: Object, _: Object) -> Object {
    // SAFETY: METH_NOARGS.
    unsafe { field(op).get().into_object() }
}

unsafe extern "C" fn set(op: Object, value: Object) -> Object {
    // SAFETY: METH_O. The old value is given up when nothing is left to do: that may run Python code.
    unsafe {
        let Ok(value) = Reference::new(value, c"SharedField.set()") else {
            return ptr::null_mut();
        };
        drop(field(op).swap(value));
        let none = &raw mut ffi::_Py_NoneStruct;
        ffi::Py_IncRef(none);
        none
    }
}

unsafe extern "C" fn swap(op: Object, value: Object) -> Object {
    // SAFETY: METH_O.
    unsafe {
        match Reference::new(value, c"SharedField.swap()") {
            Ok(value) => field(op).swap(value).into_object(),
            Err(_) => ptr::null_mut(),
        }
    }
}

unsafe extern "C" fn compare_and_swap(op: Object, args: *const Object, n: isize) -> Object {
    // SAFETY: METH_FASTCALL.
    unsafe {
        if n != 2 {
            ffi::PyErr_Format(
                ffi::PyExc_TypeError,
                c"SharedField.compare_and_swap() takes exactly 2 arguments (%zd given)".as_ptr(),
                n,
            );
            return ptr::null_mut();
        }
        let Ok(new) = Reference::new(*args.add(1), c"SharedField.compare_and_swap()") else {
            return ptr::null_mut();
        };
        let expected = *args;
        let swapped = field(op).compare_and_swap(|value| value.as_ptr() == expected, new);
        ffi::PyBool_FromLong(i64::from(swapped.is_ok()))
    }
}

unsafe extern "C" fn repr(op: Object) -> Object {
    // SAFETY: tp_repr. A field may lead back to itself.
    unsafe {
        let entered = ffi::Py_ReprEnter(op);
        if entered != 0 {
            return if entered > 0 { ffi::PyUnicode_FromString(c"SharedField(...)".as_ptr()) } else { ptr::null_mut() };
        }
        let value = field(op).get();
        let text = ffi::PyUnicode_FromFormat(c"SharedField(%R)".as_ptr(), value.as_ptr());
        ffi::Py_ReprLeave(op);
        text
    }
}

/// The type `SharedField`.
pub fn shared_field_type() -> Type {
    static mut METHODS: [ffi::PyMethodDef; 9] = [
        method(c"get", get as *const c_void, ffi::METH_NOARGS, GET_DOC),
        method(c"set", set as *const c_void, ffi::METH_O, SET_DOC),
        method(c"swap", swap as *const c_void, ffi::METH_O, SWAP_DOC),
        method(c"compare_and_swap", compare_and_swap as *const c_void, ffi::METH_FASTCALL, COMPARE_AND_SWAP_DOC),
        COPY,
        DEEPCOPY,
        REDUCE,
        CLASS_GETITEM,
        LAST_METHOD,
    ];
    static mut TYPE: ffi::PyTypeObject = ffi::PyTypeObject {
        tp_name: c"immutable.SharedField".as_ptr(),
        tp_doc: DOC.as_ptr(),
        tp_new: Some(new),
        tp_repr: Some(repr),
        tp_methods: (&raw mut METHODS).cast(),
        ..static_type::prototype::<Field<Reference>>()
    };
    &raw mut TYPE
}
