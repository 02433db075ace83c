//! Creation of the module, and its functions.

use std::ffi::{c_char, c_int, c_void};
use std::ptr;

use pyo3::ffi as py;

use super::{channel, extension, freezability, modules, static_type, testing};
use crate::capi;
use crate::foreign;
use crate::freeze::run::{self, Terms};
use crate::lifetime::{pinned, record, release};
use crate::object::answer::{none, or_null};
use crate::object::ffi;
use crate::object::header::{Object, Type};
use crate::object::raise::Raised;
use crate::policy::option;
use crate::share::{self, exception, interpreter};

/// Never changes after start-up: CPython only reads it.
#[repr(transparent)]
struct Shared<T>(T);
// SAFETY: the tables below hold pointers to statics and functions only, and
// CPython does not write to them after the first import, which the import lock
// of the first interpreter serialises.
unsafe impl<T> Sync for Shared<T> {}

const FREEZE_DOC: &std::ffi::CStr = c"freeze(*objs, isolated=False)
--

Make objs, and everything they reach, immutable in place; return the first.

All or nothing: if any object that is reached cannot be frozen, nothing has
changed and NotFreezableError says which one, and by which path. Freezing is
for ever. Functions are detached from their module: the globals that their code
names are frozen with them, and later rebinding in the module is not seen.
Methods __pre_freeze__ of what is reached are called before, once each.

isolated=True also demands that nothing outside the graph refers to what is in
it, except one reference to each of objs: the caller's own. Exempt are classes,
functions and modules, what can only be reached through them, and what can not
be changed anyway.";

const IS_FROZEN_DOC: &std::ffi::CStr = c"is_frozen(obj, /)
--

Return whether obj is deeply immutable.

An object that is immutable by nature, such as a tuple, counts when all of its
parts are frozen. Raises MemoryError if there is no memory to look at them.";

const REGISTER_DOC: &std::ffi::CStr = c"register_freezable(type, policy=FREEZABLE_YES)
--

Set whether instances of type, and of its subclasses, may be frozen; return type.

For a type made in C this is a promise that each of its writes asks
Py_CHECKWRITE. Raises TypeError if type is no type, ValueError if policy is none
of the FREEZABLE_ constants.";

const STATS_DOC: &std::ffi::CStr = c"_stats()
--

Return a dict of process-wide numbers: frozen_objects (live frozen objects),
components (live components with a cycle), record_bytes (memory of their
records), local_views (frozen functions linked in this interpreter), and
pinned_objects and pinned_bytes: what would have been released, and is kept
because a foreign extension module was loaded.";

unsafe extern "C" fn freeze(_: Object, args: *const Object, n: isize, names: Object) -> Object {
    // SAFETY: METH_FASTCALL | METH_KEYWORDS: the values of the keywords lie behind the n others.
    unsafe {
        let mut terms = Terms::NONE;
        for i in 0..if names.is_null() { 0 } else { ffi::PyTuple_Size(names) } {
            let name = ffi::PyTuple_GetItem(names, i);
            if ffi::PyUnicode_EqualToUTF8(name, c"isolated".as_ptr()) == 0 {
                ffi::PyErr_Format(
                    ffi::PyExc_TypeError,
                    c"freeze() got an unexpected keyword argument '%U'".as_ptr(),
                    name,
                );
                return ptr::null_mut();
            }
            let isolated = ffi::PyObject_IsTrue(*args.offset(n + i));
            if isolated < 0 {
                return ptr::null_mut();
            }
            terms.isolated = isolated != 0;
        }
        if n == 0 {
            ffi::PyErr_SetString(ffi::PyExc_TypeError, c"freeze() takes at least one object".as_ptr());
            return ptr::null_mut();
        }
        let roots = std::slice::from_raw_parts(args, n.unsigned_abs());
        if capi::freeze(roots, terms).is_err() {
            return ptr::null_mut();
        }
        ffi::Py_IncRef(*args);
        *args
    }
}

unsafe extern "C" fn is_frozen(_: Object, op: Object) -> Object {
    // SAFETY: METH_O.
    match unsafe { run::is_frozen(op) } {
        // SAFETY: the GIL is held.
        Ok(frozen) => unsafe { ffi::PyBool_FromLong(i64::from(frozen)) },
        Err(Raised) => ptr::null_mut(),
    }
}

unsafe extern "C" fn register_freezable(_: Object, args: Object, kwargs: Object) -> Object {
    // SAFETY: METH_VARARGS | METH_KEYWORDS.
    unsafe {
        let names: [*const c_char; 3] = [c"type".as_ptr(), c"policy".as_ptr(), ptr::null()];
        let mut ty: Object = ptr::null_mut();
        let mut policy: c_int = 0;
        let parsed = ffi::PyArg_ParseTupleAndKeywords(
            args,
            kwargs,
            c"O!|i:register_freezable".as_ptr(),
            names.as_ptr().cast(),
            &raw mut ffi::PyType_Type,
            &raw mut ty,
            &raw mut policy,
        );
        if parsed == 0 || capi::PyImmutable_RegisterFreezable(ty as Type, policy) < 0 {
            return ptr::null_mut();
        }
        ffi::Py_IncRef(ty);
        ty
    }
}

unsafe extern "C" fn stats(_: Object, _: Object) -> Object {
    // SAFETY: METH_NOARGS.
    unsafe {
        let Some(state) = interpreter::current() else {
            return ptr::null_mut();
        };
        let (components, bytes) = record::totals();
        let (pinned_objects, pinned_bytes) = pinned::totals();
        ffi::Py_BuildValue(
            c"{s:n,s:n,s:n,s:n,s:n,s:n}".as_ptr(),
            c"frozen_objects".as_ptr(),
            release::frozen_objects(),
            c"components".as_ptr(),
            components,
            c"record_bytes".as_ptr(),
            bytes,
            c"local_views".as_ptr(),
            state.views.count(),
            c"pinned_objects".as_ptr(),
            pinned_objects,
            c"pinned_bytes".as_ptr(),
            pinned_bytes,
        )
    }
}

const BEGIN_DOC: &std::ffi::CStr = c"_begin()
--

Called by the package immutable when it is imported: the library imports this
module too, in every program.

Raises ValueError for an option that means nothing; warns of foreign extension
modules that were loaded before.";

unsafe extern "C" fn begin(_: Object, _: Object) -> Object {
    // SAFETY: METH_NOARGS.
    unsafe {
        if let Err(option::Meaningless(advice)) = option::read() {
            ffi::PyErr_SetString(ffi::PyExc_ValueError, advice.as_ptr());
            return ptr::null_mut();
        }
        // Now and not at the first freeze, which may run short of memory.
        share::begin_sharing();
        or_null(foreign::begin_to_warn().map(|()| none()))
    }
}

/// A `PyCFunction` of any signature: `PyMethodDef.ml_meth` is untyped in truth.
const fn function(address: *const c_void) -> py::PyMethodDefPointer {
    // SAFETY: CPython casts it back to the signature that ml_flags names.
    unsafe { std::mem::transmute::<*const c_void, py::PyMethodDefPointer>(address) }
}

/// An entry of the method table.
pub(super) const fn method(
    name: &'static std::ffi::CStr,
    address: *const c_void,
    flags: c_int,
    doc: &'static std::ffi::CStr,
) -> py::PyMethodDef {
    py::PyMethodDef { ml_name: name.as_ptr(), ml_meth: function(address), ml_flags: flags, ml_doc: doc.as_ptr() }
}

static METHODS: Shared<[py::PyMethodDef; 19]> = Shared([
    method(c"freeze", freeze as *const c_void, py::METH_FASTCALL | py::METH_KEYWORDS, FREEZE_DOC),
    method(c"is_frozen", is_frozen as *const c_void, py::METH_O, IS_FROZEN_DOC),
    method(
        c"register_freezable",
        register_freezable as *const c_void,
        py::METH_VARARGS | py::METH_KEYWORDS,
        REGISTER_DOC,
    ),
    method(c"_stats", stats as *const c_void, py::METH_NOARGS, STATS_DOC),
    method(c"_begin", begin as *const c_void, py::METH_NOARGS, BEGIN_DOC),
    extension::METHODS[0],
    extension::METHODS[1],
    extension::METHODS[2],
    modules::METHODS[0],
    modules::METHODS[1],
    modules::METHODS[2],
    modules::METHODS[3],
    modules::METHODS[4],
    testing::METHODS[0],
    testing::METHODS[1],
    testing::METHODS[2],
    testing::METHODS[3],
    testing::METHODS[4],
    py::PyMethodDef::zeroed(),
]);

unsafe extern "C" fn execute(module: *mut py::PyObject) -> c_int {
    // SAFETY: called by CPython with a new module, under the GIL.
    unsafe {
        let module: Object = module.cast();
        let Ok(_) = exception::class(|exceptions| exceptions.mutation) else {
            return -1;
        };
        let Some(state) = interpreter::current() else {
            return -1;
        };
        // `sys.mut_modules` is there as soon as this module is.
        if state.modules.table().is_err() {
            return -1;
        }
        let added = [
            (c"MutationError", state.exceptions.mutation),
            (c"NotFreezableError", state.exceptions.not_freezable),
            (c"ChannelClosed", state.exceptions.channel_closed),
            (c"ForeignExtensionWarning", state.exceptions.foreign_extension),
        ]
        .into_iter()
        .all(|(name, class)| ffi::PyModule_AddObjectRef(module, name.as_ptr(), class) == 0)
            && ffi::PyModule_AddIntConstant(module, c"FREEZABLE_YES".as_ptr(), 0) == 0
            && ffi::PyModule_AddIntConstant(module, c"FREEZABLE_NO".as_ptr(), 1) == 0
            && ffi::PyModule_AddIntConstant(module, c"FREEZABLE_EXPLICIT".as_ptr(), 2) == 0
            && ffi::PyModule_AddIntConstant(module, c"FREEZABLE_PROXY".as_ptr(), 3) == 0
            && channel::add_functions(module)
            && freezability::add_functions(module)
            && static_type::add_types(module);
        if added { 0 } else { -1 }
    }
}

static SLOTS: Shared<[py::PyModuleDef_Slot; 3]> = Shared([
    py::PyModuleDef_Slot { slot: py::Py_mod_exec, value: execute as *mut c_void },
    py::PyModuleDef_Slot { slot: py::Py_mod_multiple_interpreters, value: py::Py_MOD_PER_INTERPRETER_GIL_SUPPORTED },
    py::PyModuleDef_Slot { slot: 0, value: ptr::null_mut() },
]);

/// The entry in `_PyImport_Inittab`.
///
/// # Safety
/// Called by CPython's import machinery, under a GIL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyInit__immutable() -> *mut py::PyObject {
    static mut DEFINITION: py::PyModuleDef = py::PyModuleDef {
        m_base: py::PyModuleDef_HEAD_INIT,
        m_name: c"_immutable".as_ptr(),
        m_doc: c"The core of the immutable runtime: use the package immutable.".as_ptr(),
        m_size: 0,
        m_methods: (&raw const METHODS).cast_mut().cast(),
        m_slots: (&raw const SLOTS).cast_mut().cast(),
        m_traverse: None,
        m_clear: None,
        m_free: None,
    };
    // SAFETY: CPython serialises the initialisation of a definition itself.
    unsafe { py::PyModuleDef_Init(&raw mut DEFINITION) }
}
