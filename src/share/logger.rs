//! Loggers that frozen functions name.
//!
//! A logger refuses: it is part of the tree of its interpreter, and its handlers are open files. But a function that names
//! one (`log = logging.getLogger(__name__)`), as a global or in a cell, only needs the logger of that name, as code that
//! says `import logging` needs the module. So that module and the name are captured, in an object of [`captured_type`], and
//! each view of the function gets the logger that `logging.getLogger` gives where it runs.
//!
//! At home that must be the very same one: so only a logger passes that is in the tree under its name.

use std::ffi::{CStr, c_int, c_void};
use std::ptr;

use super::{interpreter, module};
use crate::object::header::{self, FROZEN, OWN_POLICY, Object, PROXY, Type};
use crate::object::raise::{self, Raised};
use crate::object::{attribute, ffi};
use crate::policy::{self, Refusal, Treatment, declared};

/// What stands for a logger in what a frozen function has captured.
#[repr(C)]
struct Captured {
    base: ffi::PyObject,
    /// `logging`, owned: a proxy once it is frozen.
    module: Object,
    /// Owned: an exact string; null for the root of the tree, which may be renamed.
    name: Object,
}

const DOC: &CStr = c"What a frozen function has captured of a logger: its name.

Where the function runs, logging.getLogger(name) of that interpreter stands for it.";

const REDUCE_DOC: &CStr = c"__reduce__()
--

Pickle and copy the logger, by its name.";

static mut METHODS: [ffi::PyMethodDef; 2] = [
    ffi::PyMethodDef {
        ml_name: c"__reduce__".as_ptr(),
        ml_meth: Some(reduce),
        ml_flags: ffi::METH_NOARGS as c_int,
        ml_doc: REDUCE_DOC.as_ptr(),
    },
    ffi::PyMethodDef { ml_name: ptr::null(), ml_meth: None, ml_flags: 0, ml_doc: ptr::null() },
];

static mut TYPE: ffi::PyTypeObject = ffi::PyTypeObject {
    tp_name: c"captured_logger".as_ptr(),
    tp_basicsize: size_of::<Captured>() as isize,
    tp_doc: DOC.as_ptr(),
    tp_dealloc: Some(dealloc),
    tp_traverse: Some(traverse),
    tp_repr: Some(repr),
    tp_methods: (&raw mut METHODS).cast(),
    tp_flags: (ffi::Py_TPFLAGS_DEFAULT
        | ffi::Py_TPFLAGS_HAVE_GC
        | ffi::Py_TPFLAGS_IMMUTABLETYPE
        | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION) as std::ffi::c_ulong,
    // SAFETY: null pointers, absent functions and numbers.
    ..unsafe { std::mem::zeroed() }
};

/// The type.
pub fn captured_type() -> Type {
    &raw mut TYPE
}

/// True for what stands for a logger.
///
/// # Safety
/// `op` is alive, or null.
pub unsafe fn is_captured(op: Object) -> bool {
    // SAFETY: the caller's.
    unsafe { !op.is_null() && header::type_of(op) == captured_type() }
}

/// A new reference to what a frozen function captures instead of `value`: for most objects, themselves.
///
/// # Errors
/// MemoryError is set.
///
/// # Safety
/// A GIL is held, and `value` alive. No Python code runs.
pub unsafe fn capture(value: Object) -> Result<Object, Raised> {
    // SAFETY: the caller's. Nobody else has seen the new object, whose memory is zero.
    unsafe {
        if !may_be_logger(value) {
            return Ok(ffi::Py_NewRef(value));
        }
        let Some((module, name)) = place_in_tree(value)? else { return Ok(ffi::Py_NewRef(value)) };
        let op = raise::unless_null(ffi::PyType_GenericAlloc(captured_type(), 0))?;
        ffi::Py_IncRef(module);
        ffi::Py_IncRef(name);
        let fields = &mut *op.cast::<Captured>();
        (fields.module, fields.name) = (module, name);
        Ok(op)
    }
}

/// A new reference to the logger of the running interpreter that `captured` stands for.
///
/// # Errors
/// A Python exception is set.
///
/// # Safety
/// [`is_captured`] is true for it, and a GIL is held. Python code may run (imports).
pub unsafe fn own(captured: Object) -> Result<Object, Raised> {
    // SAFETY: the caller's, who keeps what it holds alive. The tree gets a string of this interpreter.
    unsafe {
        let &Captured { module, name, .. } = &*captured.cast();
        let get = get_logger(module)?;
        let found = if name.is_null() {
            raise::unless_null(ffi::PyObject_CallNoArgs(get))
        } else {
            module::copy_name(name).and_then(|name| {
                let found = ffi::PyObject_CallOneArg(get, name);
                ffi::Py_DecRef(name);
                raise::unless_null(found)
            })
        };
        ffi::Py_DecRef(get);
        found
    }
}

/// `logging.getLogger` of the running interpreter, a new reference.
unsafe fn get_logger(module: Object) -> Result<Object, Raised> {
    // SAFETY: as `own`.
    unsafe {
        let logging = module::own(module)?;
        let get = attribute::get(logging, c"getLogger");
        ffi::Py_DecRef(logging);
        raise::unless_null(get)
    }
}

/// Whether an object may be a logger about which nobody has said anything. What is said of all that a module defines, or of
/// all Python classes, is about what would be frozen.
unsafe fn may_be_logger(op: Object) -> bool {
    // SAFETY: a live object.
    unsafe {
        let ty = header::type_of(op);
        if !header::is_python_class(ty)
            || header::has_feature(ty, ffi::Py_TPFLAGS_TYPE_SUBCLASS)
            || header::flags(op) & (FROZEN | PROXY | OWN_POLICY) != 0
        {
            return false;
        }
        interpreter::existing().is_some_and(|state| {
            matches!(
                policy::for_instances(&state.registry, &state.names, ty).treatment,
                Treatment::Refused(Refusal::Stateful(_) | Refusal::ModuleDefault | Refusal::ProcessDefault)
            ) && declared::Place::of(ty, &state.names).read(op, &state.names).is_none()
        })
    }
}

/// The module `logging`, and the name by which its `getLogger` finds `op`, which is null if `op` is the root. Borrowed; `None`
/// for what it does not find.
///
/// Read where the attributes are, since no Python code may run: `Logger.manager.loggerDict` of the module.
unsafe fn place_in_tree(op: Object) -> Result<Option<(Object, Object)>, Raised> {
    // SAFETY: a GIL is held; borrowed references are used while nothing runs.
    unsafe {
        let Some(module) = logging()? else { return Ok(None) };
        let namespace = (*module.cast::<ffi::PyModuleObject>()).md_dict;
        let Some(class) = item(namespace, c"Logger")? else { return Ok(None) };
        if !header::has_feature(header::type_of(class), ffi::Py_TPFLAGS_TYPE_SUBCLASS)
            || ffi::PyType_IsSubtype(header::type_of(op), class.cast()) == 0
        {
            return Ok(None);
        }
        let Some(root) = item(namespace, c"root")? else { return Ok(None) };
        if op == root {
            return Ok(Some((module, ptr::null_mut())));
        }
        let is_text = |name: &Object| header::type_of(*name) == &raw mut ffi::PyUnicode_Type;
        let named = |op| Ok(attribute_of(op, c"name")?.filter(is_text));
        let Some(name) = named(op)?.filter(|name| ffi::PyUnicode_GetLength(*name) > 0) else { return Ok(None) };
        let Some(manager) = item_of_class(class.cast(), c"manager")? else { return Ok(None) };
        let Some(loggers) = attribute_of(manager, c"loggerDict")? else { return Ok(None) };
        if header::type_of(loggers) != &raw mut ffi::PyDict_Type || declared::find(loggers, name) != Some(op) {
            return Ok(None);
        }
        // By its own name the root is found, whatever else is in the tree.
        let is_hidden = named(root)?.is_some_and(|of_root| ffi::PyUnicode_Equal(of_root, name) != 0);
        Ok((!is_hidden).then_some((module, name)))
    }
}

/// The running interpreter's module, borrowed, if it was imported and has a namespace.
unsafe fn logging() -> Result<Option<Object>, Raised> {
    // SAFETY: as `place_in_tree`. Nobody but its own interpreter reads the namespace of a proxy.
    unsafe {
        let modules = ffi::imm_modules();
        if modules.is_null() || header::type_of(modules) != &raw mut ffi::PyDict_Type {
            return Ok(None);
        }
        let has_namespace = |op: Object| {
            module::is_module(op) && !module::is_foreign(op) && !(*op.cast::<ffi::PyModuleObject>()).md_dict.is_null()
        };
        Ok(item(modules, c"logging")?.filter(|op| has_namespace(*op)))
    }
}

/// What a dict has under that name, borrowed.
unsafe fn item(dict: Object, name: &CStr) -> Result<Option<Object>, Raised> {
    // SAFETY: as `place_in_tree`.
    unsafe { with_name(name, |name| declared::find(dict, name)) }
}

/// The attribute of that name of a class, borrowed.
unsafe fn item_of_class(class: Type, name: &CStr) -> Result<Option<Object>, Raised> {
    // SAFETY: as `place_in_tree`.
    unsafe { with_name(name, |name| declared::find_in_mro(class, name)) }
}

/// The attribute of that name that an instance has of its own, borrowed.
unsafe fn attribute_of(op: Object, name: &CStr) -> Result<Option<Object>, Raised> {
    // SAFETY: as `place_in_tree`.
    unsafe { with_name(name, |name| declared::find_in_instance(op, name)) }
}

unsafe fn with_name(name: &CStr, look: impl FnOnce(Object) -> Option<Object>) -> Result<Option<Object>, Raised> {
    // SAFETY: a GIL is held.
    unsafe {
        let name = raise::unless_null(ffi::PyUnicode_FromString(name.as_ptr()))?;
        let found = look(name);
        ffi::Py_DecRef(name);
        Ok(found)
    }
}

unsafe extern "C" fn dealloc(op: Object) {
    // SAFETY: tp_dealloc.
    unsafe {
        ffi::PyObject_GC_UnTrack(op.cast());
        let &Captured { module, name, .. } = &*op.cast();
        ffi::Py_DecRef(name);
        ffi::Py_DecRef(module);
        if let Some(free) = (*header::type_of(op)).tp_free {
            free(op.cast());
        }
    }
}

unsafe extern "C" fn traverse(op: Object, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: tp_traverse.
    unsafe {
        let (&Captured { module, name, .. }, Some(visit)) = (&*op.cast(), visit) else { return 0 };
        for part in [module, name] {
            let stopped = if part.is_null() { 0 } else { visit(part, arg) };
            if stopped != 0 {
                return stopped;
            }
        }
        0
    }
}

unsafe extern "C" fn repr(op: Object) -> Object {
    // SAFETY: tp_repr.
    unsafe {
        let name = (*op.cast::<Captured>()).name;
        if name.is_null() {
            ffi::PyUnicode_FromString(c"<captured root logger>".as_ptr())
        } else {
            ffi::PyUnicode_FromFormat(c"<captured logger %R>".as_ptr(), name)
        }
    }
}

unsafe extern "C" fn reduce(op: Object, _: Object) -> Object {
    // SAFETY: METH_NOARGS; "N" takes over the reference.
    unsafe {
        let &Captured { module, name, .. } = &*op.cast();
        let Ok(get) = get_logger(module) else { return ptr::null_mut() };
        if name.is_null() {
            ffi::Py_BuildValue(c"N()".as_ptr(), get)
        } else {
            ffi::Py_BuildValue(c"N(O)".as_ptr(), get, name)
        }
    }
}
