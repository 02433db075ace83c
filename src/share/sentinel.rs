//! Sentinels (PEP 661) that all interpreters share.
//!
//! A module makes its sentinels anew in each interpreter that imports it, and its code compares them by identity. A frozen
//! object that refers to one would not be understood there: `field.default is MISSING` would be false of a frozen
//! dataclass. So once interpreters share, a sentinel that the body of a module makes exists once in the process, as the
//! types of C modules do (see [`super::c_type`]): the first interpreter to run the module makes it, the others take it over.
//! It is frozen, and lives as long as the process. A module that runs a second time in one interpreter makes its own.

use std::ffi::CStr;
use std::ptr;

use parking_lot::{Mutex, MutexGuard};

use super::{interpreter, is_sharing, module};
use crate::freeze::run;
use crate::lifetime::count;
use crate::object::header::{self, FROZEN, Object};
use crate::object::raise::{self, Raised};
use crate::object::{attribute, ffi};

/// A frozen, immortal sentinel.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Shared(Object);

// SAFETY: frozen and immortal.
unsafe impl Send for Shared {}

fn list() -> MutexGuard<'static, Vec<Shared>> {
    static LIST: Mutex<Vec<Shared>> = Mutex::new(Vec::new());
    LIST.lock()
}

/// Forgets every sentinel: the main interpreter ends, and the next one of this process begins anew.
pub fn end() {
    list().clear();
}

/// The shared sentinels that one interpreter has made or taken over.
#[derive(Default)]
pub struct Sentinels(Vec<Shared>);

/// Shares the sentinels that the running interpreter's modules hold.
///
/// # Safety
/// The caller holds the only GIL. No exception is set.
pub unsafe fn settle() {
    // SAFETY: the caller's. No Python code runs and no namespace changes: freezing a sentinel freezes three strings.
    unsafe {
        let (mut at, mut name, mut held) = (0, ptr::null_mut(), ptr::null_mut());
        let modules = ffi::imm_modules();
        while !modules.is_null() && ffi::PyDict_Next(modules, &raw mut at, &raw mut name, &raw mut held) != 0 {
            if module::is_module(held) {
                share_those_of(name, ffi::PyModule_GetDict(held));
            }
        }
    }
}

/// Shares the sentinels that a module has made and holds under their names.
unsafe fn share_those_of(module_name: Object, namespace: Object) {
    // SAFETY: as `settle`.
    unsafe {
        let (mut at, mut name, mut value) = (0, ptr::null_mut(), ptr::null_mut());
        while ffi::PyDict_Next(namespace, &raw mut at, &raw mut name, &raw mut value) != 0 {
            if is_sentinel(value)
                && let Some(found) = Names::of(value)
                && same_text(found.module, module_name)
                && same_text(found.name, name)
            {
                // Without memory it stays with its interpreter.
                if share(value, &found).is_err() {
                    ffi::PyErr_Clear();
                }
            }
        }
    }
}

/// Called with each new sentinel. Takes over the reference to `op`; returns a new one to the sentinel to use.
///
/// # Safety
/// The caller holds a GIL. No exception is set.
pub unsafe fn made(op: Object) -> Object {
    // SAFETY: the caller's. Without memory, the sentinel stays with its interpreter.
    unsafe {
        if !is_sharing() || ffi::imm_allocator_is_shared() == 0 || !is_in_body_of_module() {
            return op;
        }
        let Some(names) = Names::of(op) else { return op };
        match share(op, &names) {
            Ok(shared) if shared != op => {
                ffi::Py_DecRef(op);
                shared
            }
            Ok(_) => op,
            Err(Raised) => {
                ffi::PyErr_Clear();
                op
            }
        }
    }
}

/// The sentinel of these names that all interpreters share, which may be `op` from now on. It is `op` itself, not shared, if
/// this interpreter has had that one before.
unsafe fn share(op: Object, names: &Names) -> Result<Object, Raised> {
    // SAFETY: a GIL is held, `op` alive, and counted by this interpreter alone until it is published.
    unsafe {
        let known = |list: &[Shared]| list.iter().copied().find(|shared| names.fit(shared.0));
        let mut found = known(&list());
        if found.is_none() {
            if header::flags(op) & FROZEN == 0 {
                run::freeze(&[op], run::Terms::NONE)?;
            }
            let mut list = list();
            found = known(&list);
            if found.is_none() {
                list.try_reserve(1).map_err(|error| raise::no_memory(error.into()))?;
                header::set_refcnt(op, count::IMMORTAL);
                list.push(Shared(op));
            }
        }
        let shared = found.unwrap_or(Shared(op));
        let own = &mut interpreter::current().ok_or(Raised)?.sentinels.0;
        if own.contains(&shared) {
            return Ok(op);
        }
        own.try_reserve(1).map_err(|error| raise::no_memory(error.into()))?;
        own.push(shared);
        Ok(shared.0)
    }
}

/// The names of a sentinel, borrowed from it.
struct Names {
    module: Object,
    name: Object,
}

impl Names {
    /// None if its module is not known.
    unsafe fn of(op: Object) -> Option<Self> {
        // SAFETY: op is a sentinel, alive, which keeps what its attributes return.
        unsafe {
            let attribute = |name: &CStr| {
                let value = attribute::get(op, name);
                if value.is_null() {
                    ffi::PyErr_Clear();
                    return None;
                }
                ffi::Py_DecRef(value);
                header::has_feature(header::type_of(value), ffi::Py_TPFLAGS_UNICODE_SUBCLASS).then_some(value)
            };
            Some(Names { module: attribute(c"__module__")?, name: attribute(c"__name__")? })
        }
    }

    unsafe fn fit(&self, shared: Object) -> bool {
        // SAFETY: a shared sentinel is immortal.
        unsafe {
            Names::of(shared)
                .is_some_and(|other| same_text(other.name, self.name) && same_text(other.module, self.module))
        }
    }
}

unsafe fn is_sentinel(op: Object) -> bool {
    // SAFETY: op is alive.
    unsafe { header::type_of(op) == &raw mut ffi::PySentinel_Type }
}

/// False for what is not text.
unsafe fn same_text(one: Object, other: Object) -> bool {
    // SAFETY: both are alive, and a GIL is held.
    unsafe {
        let same = ffi::PyUnicode_Equal(one, other);
        if same < 0 {
            ffi::PyErr_Clear();
        }
        same > 0
    }
}

/// True if the innermost Python code is the body of a module.
unsafe fn is_in_body_of_module() -> bool {
    // SAFETY: a GIL is held; new references are given back.
    unsafe {
        let (globals, locals) = (ffi::PyEval_GetFrameGlobals(), ffi::PyEval_GetFrameLocals());
        ffi::PyErr_Clear();
        ffi::Py_DecRef(globals);
        ffi::Py_DecRef(locals);
        !globals.is_null() && globals == locals
    }
}
