//! Modules, and functions of C modules, in several interpreters.
//!
//! A module that a freeze reaches is not frozen: it belongs to the interpreter that made it, and every other one has a
//! module of the same name. Code that is linked in an interpreter gets that one's own.

use crate::object::ffi;
use crate::object::header::{self, Object, PROXY};
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
