//! Types of which the whole process has one, and whose instances are frozen from birth.
//!
//! The ends of a channel, shared fields and locals pass between interpreters, and must be the same kind of object in each:
//! `isinstance(x, Receiver)` is true wherever `x` was made. A heap type belongs to the interpreter whose module made
//! it. So these types are static, and managed as CPython manages those of `datetime`
//! (`_PyStaticType_InitForExtension` in typeobject.c): slots, bases and MRO are shared, written once, and never counted;
//! `__dict__` with its descriptors, subclasses and weak references are kept for each interpreter, and the version for
//! caches comes from a range of the process. What is known to be sound for `datetime.date` in interpreters with a GIL each
//! is then sound for them.
//!
//! CPython numbers such types in the first interpreter and looks their state up by that number in each later one. So the
//! first one makes it ([`_PyImmutable_InitTypes`]) before there is a second, and every other before it is handed an
//! instance: by an import of `_immutable`, an object that is passed, or a module that is shared.
//!
//! An instance is a trivial component that refers to no Python object as far as CPython's collector knows: what is in a
//! channel, or in a field, changes all the time, and such a reference may lead back to the instance. A cycle that runs
//! through one is not found, and lives until somebody takes the message, or sets the field.
//! The collector's header is there all the same, since CPython lets only objects that have one wait for a deep
//! deallocation to unwind (`_PyTrash_thread_deposit_object`).

use std::ffi::{CStr, c_int, c_void};
use std::ptr;

use super::{channel, interpreter_local, shared_field};
use crate::freeze::run::{self, Terms};
use crate::lifetime::{count, release};
use crate::object::ffi;
use crate::object::header::{self, FROZEN, Object, Type};
use crate::object::raise::{self, Raised};
use crate::share::{cfunction, logger, module_type};

/// An instance, as CPython sees it.
#[repr(C)]
struct Instance<T> {
    base: ffi::PyObject,
    value: T,
}

/// A type, but for its name, documentation, and what it can do. Its instances hold a `T`.
pub const fn prototype<T>() -> ffi::PyTypeObject {
    ffi::PyTypeObject {
        tp_basicsize: size_of::<Instance<T>>() as isize,
        tp_dealloc: Some(dealloc::<T>),
        tp_traverse: Some(traverse),
        tp_flags: (ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_HAVE_GC | ffi::Py_TPFLAGS_IMMUTABLETYPE)
            as std::ffi::c_ulong,
        // SAFETY: null pointers, absent functions and numbers.
        ..unsafe { std::mem::zeroed() }
    }
}

/// An entry of a method table.
pub const fn method(name: &'static CStr, address: *const c_void, flags: u32, doc: &'static CStr) -> ffi::PyMethodDef {
    ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        // SAFETY: CPython casts it back to the signature that ml_flags names.
        ml_meth: unsafe { std::mem::transmute::<*const c_void, ffi::PyCFunction>(address) },
        ml_flags: flags as c_int,
        ml_doc: doc.as_ptr(),
    }
}

/// The entry of a method table that makes a type generic.
pub const CLASS_GETITEM: ffi::PyMethodDef =
    method(c"__class_getitem__", ffi::Py_GenericAlias as *const c_void, ffi::METH_O | ffi::METH_CLASS, c"See PEP 585");

/// The entries of a method table by which copies of what refers to an instance share it: as it is the same for all
/// interpreters, so it is for a copy.
pub const COPY: ffi::PyMethodDef = method(c"__copy__", itself as *const c_void, ffi::METH_NOARGS, COPY_DOC);
/// See [`COPY`].
pub const DEEPCOPY: ffi::PyMethodDef = method(c"__deepcopy__", itself as *const c_void, ffi::METH_O, COPY_DOC);
/// The entry that has pickle refuse, and say why.
pub const REDUCE: ffi::PyMethodDef =
    method(c"__reduce__", refuse_to_reduce as *const c_void, ffi::METH_NOARGS, REDUCE_DOC);

const COPY_DOC: &CStr = c"Return the object itself.";
const REDUCE_DOC: &CStr = c"Raise TypeError: what the object stands for stays in this process.";

unsafe extern "C" fn itself(op: Object, _: Object) -> Object {
    // SAFETY: METH_NOARGS or METH_O.
    unsafe { ffi::Py_NewRef(op) }
}

unsafe extern "C" fn refuse_to_reduce(op: Object, _: Object) -> Object {
    // SAFETY: METH_NOARGS; a type has a name.
    unsafe {
        ffi::PyErr_Format(
            ffi::PyExc_TypeError,
            c"cannot pickle '%.200s' object: what it stands for stays in this process. Leave it out in __getstate__(), and \
              make another in __setstate__()"
                .as_ptr(),
            (*header::type_of(op)).tp_name,
        )
    }
}

/// The entry that ends a method table.
pub const LAST_METHOD: ffi::PyMethodDef =
    ffi::PyMethodDef { ml_name: ptr::null(), ml_meth: None, ml_flags: 0, ml_doc: ptr::null() };

/// A new instance, frozen. Null with MemoryError.
///
/// # Safety
/// A GIL is held; `ty` is a ready type made from [`prototype::<T>`](prototype).
pub unsafe fn new_instance<T>(ty: Type, value: T) -> Object {
    // SAFETY: the memory is as large as the type says. Nobody else has seen the object, so it can be marked like a
    // trivial component, which is what it is.
    unsafe {
        let op = ffi::PyType_GenericAlloc(ty, 0);
        if op.is_null() {
            return op;
        }
        (&raw mut (*op.cast::<Instance<T>>()).value).write(value);
        ffi::PyObject_GC_UnTrack(op.cast());
        header::set_flags(op, header::flags(op) | FROZEN);
        header::set_refcnt(op, count::encode(1));
        release::note_frozen(1);
        op
    }
}

/// What an instance holds.
///
/// # Safety
/// `op` was made by [`new_instance::<T>`](new_instance), and lives as long as the result is used.
pub unsafe fn value<'a, T>(op: Object) -> &'a T {
    // SAFETY: the caller's; never written after it was made.
    unsafe { &(*op.cast::<Instance<T>>()).value }
}

unsafe extern "C" fn dealloc<T>(op: Object) {
    // SAFETY: tp_dealloc; the value was written when the object was made. Dropping it may run Python code, which
    // cannot reach the object any more.
    unsafe {
        ffi::PyObject_GC_UnTrack(op.cast());
        ptr::drop_in_place(&raw mut (*op.cast::<Instance<T>>()).value);
        if let Some(free) = (*header::type_of(op)).tp_free {
            free(op.cast());
        }
    }
}

unsafe extern "C" fn traverse(_: Object, _: ffi::visitproc, _: *mut c_void) -> c_int {
    0
}

fn types() -> [Type; 4] {
    [
        channel::sender_type(),
        channel::receiver_type(),
        shared_field::shared_field_type(),
        interpreter_local::interpreter_local_type(),
    ]
}

/// The types that a freeze gives to modules and to functions of C modules, and that of what stands for a logger.
///
/// CPython has room for few types of the kind above. Nobody subclasses these, and their namespace never changes: so
/// they are static types with one namespace for the process, which is frozen.
unsafe fn ready_frozen_types() -> Result<(), Raised> {
    // SAFETY: a GIL is held; the first call returns before a second interpreter begins.
    unsafe {
        module_type::set_base();
        cfunction::set_base();
        for ty in [module_type::module_type(), cfunction::frozen_type(), logger::captured_type()] {
            let made = ffi::imm_ready_frozen_type(ty);
            raise::unless_negative(made)?;
            if made > 0 {
                run::freeze(&[(*ty).tp_dict, (*ty).tp_bases, (*ty).tp_mro], Terms { own: true, ..Terms::NONE })?;
            }
        }
        module_type::hide_namespace();
        Ok(())
    }
}

/// Makes the types ready in the running interpreter, unless they are. Returns 0, or -1 with a Python exception.
///
/// # Safety
/// The caller holds the GIL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyImmutable_InitTypes() -> c_int {
    // SAFETY: the caller's. The main interpreter is the first, and makes them ready before there is another.
    unsafe {
        let of_main = ffi::PyInterpreterState_Get() == ffi::PyInterpreterState_Main();
        if !of_main && !header::has_feature(channel::sender_type(), ffi::Py_TPFLAGS_READY) {
            ffi::PyErr_NoMemory(); // for want of which that failed
            return -1;
        }
        let ready = types().into_iter().all(|ty| ffi::imm_init_static_type(ty) == 0) && ready_frozen_types().is_ok();
        if ready { 0 } else { -1 }
    }
}

/// Adds the types to the module. False with a Python exception.
///
/// # Safety
/// The caller holds the GIL; `module` is the `_immutable` module being made.
pub unsafe fn add_types(module: Object) -> bool {
    // SAFETY: the caller's.
    unsafe {
        let shown = types().into_iter().chain([module_type::module_type()]);
        _PyImmutable_InitTypes() == 0 && shown.into_iter().all(|ty| ffi::PyModule_AddType(module, ty) == 0)
    }
}
