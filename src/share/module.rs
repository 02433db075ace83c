//! Modules, and functions of C modules, in several interpreters.
//!
//! A module that a freeze reaches is not frozen: it belongs to the interpreter that made it, and every other one has a
//! module of the same name. Code that is linked in an interpreter gets that one's own.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use crate::lifetime::count;
use crate::object::ffi;
use crate::object::header::{self, Object, PROXY};
use crate::object::memory::OutOfMemory;
use crate::object::raise::{self, Raised};

/// The number that marks what belongs to the running interpreter, as `header::owner` gives it; 0 for an interpreter
/// whose number is too high for the mark.
///
/// # Safety
/// A GIL is held.
pub unsafe fn owner_mark() -> u16 {
    // SAFETY: the caller's.
    let interpreter = unsafe { ffi::PyInterpreterState_GetID(ffi::PyInterpreterState_Get()) };
    u16::try_from(interpreter + 1).unwrap_or(0)
}

/// What freezes of one subinterpreter have left mutable, and others may hold: modules, locks, registries. Owned, and
/// kept until that interpreter ends. The main interpreter, whose end is that of the process, keeps no such list.
#[derive(Default)]
pub struct Proxies {
    objects: HashSet<Object>,
}

impl Proxies {
    /// Makes room for `n` more objects.
    ///
    /// # Errors
    /// There is no memory.
    pub fn reserve(&mut self, n: usize) -> Result<(), OutOfMemory> {
        Ok(self.objects.try_reserve(n)?)
    }

    /// Notes an object, for which there is room.
    ///
    /// # Safety
    /// `op` is a proxy of the running interpreter.
    pub unsafe fn insert(&mut self, op: Object) {
        if self.objects.insert(op) {
            // SAFETY: given up by `orphan`.
            unsafe { ffi::Py_IncRef(op) };
        }
    }

    /// Cuts every object off from the interpreter, which is about to end: whoever else holds it may release it, and no
    /// collector knows it any more. Clears it too, unless the interpreter still `needs` it.
    ///
    /// # Safety
    /// The caller holds the GIL of the interpreter. Python code may run.
    pub unsafe fn orphan(&mut self, needs: impl Fn(Object) -> bool) {
        for op in std::mem::take(&mut self.objects) {
            // SAFETY: owned. Nobody but this interpreter uses what is inside a proxy.
            unsafe {
                let is_held_elsewhere =
                    count::count_of(header::count_word(op).load(Ordering::Relaxed)).is_some_and(|held| held > 1);
                if is_held_elsewhere && header::has_gc_head(op) {
                    if !needs(op)
                        && let Some(clear) = (*header::type_of(op)).tp_clear
                    {
                        clear(op);
                    }
                    if ffi::PyObject_GC_IsTracked(op) != 0 {
                        ffi::PyObject_GC_UnTrack(op.cast());
                    }
                }
                ffi::Py_DecRef(op);
            }
        }
    }
}

/// True if `op` is counted as frozen objects are, and left mutable for another interpreter.
unsafe fn is_foreign(op: Object) -> bool {
    // SAFETY: op is alive, and was marked before it could be shared.
    unsafe { header::flags(op) & PROXY != 0 && (header::owner(op) == 0 || header::owner(op) != owner_mark()) }
}

unsafe fn is_module(op: Object) -> bool {
    // SAFETY: op is alive.
    unsafe { ffi::PyType_IsSubtype(header::type_of(op), &raw mut ffi::PyModule_Type) != 0 }
}

/// A new reference to what stands for `value` in the running interpreter: its own module of that name, or its own
/// function of that C module; in all other cases `value` itself.
///
/// # Errors
/// A Python exception is set: there is no such module here, and it could not be imported.
///
/// # Safety
/// A GIL is held and `value` alive. Python code may run (imports).
pub unsafe fn resolve(value: Object) -> Result<Object, Raised> {
    // SAFETY: the caller's. Of a foreign module only its name is read, which never changes.
    unsafe {
        if is_module(value) {
            if is_foreign(value) {
                return own(value);
            }
        } else if header::type_of(value) == &raw mut ffi::PyCFunction_Type {
            let function = &*value.cast::<ffi::PyCFunctionObject>();
            if !function.m_self.is_null() && is_module(function.m_self) && is_foreign(function.m_self) {
                let module = own(function.m_self)?;
                let found = ffi::PyObject_GetAttrString(module, (*function.m_ml).ml_name);
                ffi::Py_DecRef(module);
                return raise::unless_null(found);
            }
        }
        ffi::Py_IncRef(value);
        Ok(value)
    }
}

/// A new reference to the running interpreter's module of the same name.
unsafe fn own(module: Object) -> Result<Object, Raised> {
    // SAFETY: a module keeps the name that it was made with.
    unsafe {
        let name = (*module.cast::<ffi::PyModuleObject>()).md_name;
        let mut length = 0;
        let text = ffi::PyUnicode_AsUTF8AndSize(name, &raw mut length);
        if text.is_null() {
            return Err(Raised);
        }
        let name = raise::unless_null(ffi::PyUnicode_FromStringAndSize(text, length))?;
        // Returns the module that a dotted name ends in, and not its package.
        let imported = ffi::PyImport_Import(name);
        let found = if imported.is_null() { imported } else { ffi::PyImport_GetModule(name) };
        ffi::Py_DecRef(imported);
        ffi::Py_DecRef(name);
        if found.is_null() && ffi::PyErr_Occurred().is_null() {
            ffi::PyErr_SetString(
                ffi::PyExc_ImportError,
                c"a frozen function refers to a module that this interpreter cannot import".as_ptr(),
            );
        }
        raise::unless_null(found)
    }
}
