//! Frozen objects whose class every interpreter has under the same name.
//!
//! Each interpreter that imports a module of the standard library makes the module's classes for itself, and may write into
//! them. A frozen `Fraction` keeps the class of the interpreter that made it, which others would take for a stranger. So
//! when it is asked for its `__class__` it answers with the *namesake*, the class of the same module and name in
//! the interpreter that asks. That is what `isinstance`, patterns, copying and pickling go by, and methods that return
//! `NotImplemented` for a stranger leave the answer to the other operand, which knows it.
//!
//! Types that exist once in the process (see [`super::c_type`]) need no namesake. Two interpreters that import one module
//! of a program may have imported two versions of it: its classes have none.

use std::collections::HashMap;
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};

use super::{c_type, idle, interpreter};
use crate::object::header::{self, FROZEN, NAMESAKES, Object, Type};
use crate::object::raise::{self, Raised};
use crate::object::{attribute, ffi};
use crate::policy;

/// The namesakes that one interpreter has found, by the version of the frozen class, which no other class ever has.
#[derive(Default)]
pub struct Namesakes {
    /// Owned.
    found: HashMap<u32, Object>,
}

impl Namesakes {
    /// Forgets them all: they are soon found again. True if there were some.
    ///
    /// # Safety
    /// The caller holds the interpreter's GIL; `self` may have changed on return.
    pub unsafe fn clear(&mut self) -> bool {
        // SAFETY: owned by the entry, which is gone.
        idle::release_all(&mut self.found, |_, class| unsafe { ffi::Py_DecRef(class) })
    }
}

/// Whether any class was ever marked.
#[unsafe(no_mangle)]
pub static _PyImmutable_HasNamesakes: AtomicI32 = AtomicI32::new(0);

/// Marks a class that has namesakes.
///
/// # Safety
/// `class` is a heap type, just frozen and seen by nobody else; a GIL is held. No exception is set. No Python code runs.
pub unsafe fn mark(class: Type) {
    // SAFETY: the caller's.
    unsafe {
        let Some(state) = interpreter::existing() else { return };
        if !c_type::exists_once(class) && policy::defined_in_standard_library(class, &state.names) {
            header::set_flags(class.cast(), header::flags(class.cast()) | NAMESAKES);
            // Relaxed: whoever is handed the class is so after this.
            _PyImmutable_HasNamesakes.store(1, Ordering::Relaxed);
        }
    }
}

/// Undoes [`mark`].
///
/// # Safety
/// `class` is a heap type that nobody else sees; a GIL is held.
pub unsafe fn unmark(class: Type) {
    // SAFETY: the caller's.
    unsafe { header::set_flags(class.cast(), header::flags(class.cast()) & !NAMESAKES) };
}

/// What instances of a class give as their `__class__` here. New reference; never fails.
///
/// # Safety
/// `class` is alive; the caller holds a GIL. Python code may run, and an exception that is set stays.
pub unsafe fn class_here(class: Type) -> Object {
    // SAFETY: the caller's.
    unsafe {
        if !has_namesakes(class) {
            return ffi::Py_NewRef(class.cast());
        }
        let version = (*class).tp_version_tag;
        let known = interpreter::existing().and_then(|state| state.namesakes.found.get(&version).copied());
        if let Some(known) = known {
            ffi::Py_IncRef(known);
            return known;
        }
        found_or_itself(class.cast(), || {
            let found = find(class)?;
            if version != 0 {
                remember(version, found);
            }
            Ok(found)
        })
    }
}

/// What `find` gives, or a new reference to `op`; an exception that is set stays.
unsafe fn found_or_itself(op: Object, find: impl FnOnce() -> Result<Object, Raised>) -> Object {
    // SAFETY: as `class_here`.
    unsafe {
        let error = ffi::PyErr_GetRaisedException();
        let found = find();
        ffi::PyErr_Clear();
        ffi::PyErr_SetRaisedException(error);
        found.unwrap_or_else(|Raised| ffi::Py_NewRef(op))
    }
}

/// What stands here for a class or function of the library, or for a form of `typing`, such as `Literal`; anything else for
/// itself. New reference; never fails.
///
/// # Safety
/// `op` is alive; the caller holds a GIL. Python code may run, and an exception that is set stays.
pub unsafe fn object_here(op: Object) -> Object {
    // SAFETY: the caller's.
    unsafe {
        let ty = header::type_of(op);
        if header::has_feature(ty, ffi::Py_TPFLAGS_TYPE_SUBCLASS) {
            return class_here(op.cast());
        }
        let is_function = ty == &raw mut ffi::PyFunction_Type;
        let is_form = has_namesakes(ty) && is_of_typing(ty);
        if header::flags(op) & FROZEN == 0 || !(is_function || is_form) {
            return ffi::Py_NewRef(op);
        }
        found_or_itself(op, || if is_form { find_form(op) } else { find_function(&*op.cast()) })
    }
}

/// Whether a class is made by a class statement, which notes where it stands.
unsafe fn has_statement(class: Type) -> bool {
    // SAFETY: the caller's. The namespace of a heap type is an exact dict; others are not made so.
    unsafe {
        header::has_feature(class, ffi::Py_TPFLAGS_HEAPTYPE)
            && ffi::PyDict_Contains((*class).tp_dict, ffi::imm_name_first_line) == 1
    }
}

/// Whether `class`, which has namesakes, is of the module `typing`, which compares its own classes and forms by identity.
unsafe fn is_of_typing(class: Type) -> bool {
    // SAFETY: the caller's. The namespace of a heap type is an exact dict.
    unsafe {
        let module = ffi::PyDict_GetItemWithError((*class).tp_dict, ffi::imm_name_module);
        policy::text(module) == Some("typing")
    }
}

/// The name of the module that a frozen function is of, or null. Borrowed.
unsafe fn module_of(function: &ffi::PyFunctionObject) -> Object {
    // SAFETY: a frozen function's globals are an exact dict.
    unsafe { ffi::PyDict_GetItemWithError(function.func_globals, ffi::imm_name_name) }
}

/// The library's function of that module and name here. New reference.
unsafe fn find_function(function: &ffi::PyFunctionObject) -> Result<Object, Raised> {
    // SAFETY: as `object_here`.
    unsafe {
        let name = module_of(function);
        let names = interpreter::current().ok_or(Raised)?.names;
        if policy::text(name).is_none() || !policy::is_of_standard_library(name, &names)? {
            return Err(Raised);
        }
        find_named(name, function.func_qualname, |found| header::type_of(found) == &raw mut ffi::PyFunction_Type)
    }
}

/// The form of `typing` that has the name of `form` here. New reference.
unsafe fn find_form(form: Object) -> Result<Object, Raised> {
    // SAFETY: as `object_here`.
    unsafe {
        let name = raise::unless_null(attribute::get(form, c"_name"))?;
        if policy::text(name).is_none() {
            ffi::Py_DecRef(name);
            return Err(Raised);
        }
        let module = ffi::PyDict_GetItemWithError((*header::type_of(form)).tp_dict, ffi::imm_name_module);
        let found = find_named(module, name, |found| {
            let class = class_here(header::type_of(form));
            ffi::Py_DecRef(class); // its instance keeps it
            header::type_of(found) == class.cast()
        });
        ffi::Py_DecRef(name);
        found
    }
}

/// Keeps what was found until the next full collections. Without memory it is only found again.
unsafe fn remember(version: u32, found: Object) {
    // SAFETY: as `class_here`.
    unsafe {
        if idle::watch_collector().is_ok()
            && let Some(state) = interpreter::existing()
            && state.namesakes.found.try_reserve(1).is_ok()
        {
            ffi::Py_IncRef(found);
            if let Some(before) = state.namesakes.found.insert(version, found) {
                ffi::Py_DecRef(before);
            }
        }
    }
}

/// The class in the MRO of `ty` that has the same namesake here as `base`; null if there is none. Borrowed from `ty`.
///
/// # Safety
/// As [`class_here`], for two live types of any kind.
pub unsafe fn base_here(ty: Type, base: Type) -> Type {
    // SAFETY: the caller's. Python code may run, but neither the caller's types nor the MRO go meanwhile: it is owned here.
    unsafe {
        let mro = (*ty).tp_mro;
        if mro.is_null() || !header::has_feature(base, ffi::Py_TPFLAGS_HEAPTYPE) {
            return ptr::null_mut();
        }
        ffi::Py_IncRef(mro);
        let wanted = class_here(base);
        let mut found = ptr::null_mut();
        for i in 0..ffi::PyTuple_Size(mro) {
            let class = ffi::PyTuple_GetItem(mro, i);
            // Of two classes that are not the same, one at least is another interpreter's, and frozen.
            if wanted == class
                || has_namesakes(class.cast()) && {
                    let here = class_here(class.cast());
                    ffi::Py_DecRef(here);
                    here == wanted
                }
            {
                found = class.cast();
                break;
            }
        }
        ffi::Py_DecRef(wanted);
        ffi::Py_DecRef(mro);
        found
    }
}

/// Whether the namesake of an abstract base class takes `subclass` for one, which may be registered there.
///
/// # Errors
/// A Python exception is set.
///
/// # Safety
/// As [`class_here`], for two live types.
pub unsafe fn knows(class: Type, subclass: Type) -> Result<bool, Raised> {
    // SAFETY: the caller's; the namesake is owned here.
    unsafe {
        if !has_namesakes(class) {
            return Ok(false);
        }
        let here = class_here(class);
        let answer = if here == class.cast() { 0 } else { ffi::PyObject_IsSubclass(subclass.cast(), here) };
        ffi::Py_DecRef(here);
        raise::unless_negative(answer).map(|()| answer == 1)
    }
}

/// Whether the library knows `op` by identity, and each interpreter has one of its own ([`object_here`]): classes that are
/// made in C, of which `PyErr_NewException` has `type` make exceptions, and what `typing` defines.
///
/// # Safety
/// `op` is alive; a GIL is held.
pub unsafe fn is_known_by_identity(op: Object) -> bool {
    // SAFETY: the caller's.
    unsafe {
        let ty = header::type_of(op);
        if ty == &raw mut ffi::PyFunction_Type {
            return header::flags(op) & FROZEN != 0 && policy::text(module_of(&*op.cast())) == Some("typing");
        }
        if !header::has_feature(ty, ffi::Py_TPFLAGS_TYPE_SUBCLASS) {
            return has_namesakes(ty) && is_of_typing(ty);
        }
        let class: Type = op.cast();
        has_namesakes(class) && (!header::is_python_class(class) || !has_statement(class) || is_of_typing(class))
    }
}

unsafe fn has_namesakes(class: Type) -> bool {
    // SAFETY: the caller's: a live type.
    unsafe { header::flags(class.cast()) & NAMESAKES != 0 }
}

/// The class of that module and name here. New reference.
unsafe fn find(class: Type) -> Result<Object, Raised> {
    // SAFETY: as `class_here`.
    unsafe {
        let module_name = raise::unless_null(attribute::get(class.cast(), c"__module__"))?;
        // Some modules have a class twice, in C and in Python, and show the one in C.
        let found = find_named(module_name, (*class.cast::<ffi::PyHeapTypeObject>()).ht_qualname, |found| {
            header::has_feature(header::type_of(found), ffi::Py_TPFLAGS_TYPE_SUBCLASS)
                && header::is_python_class(found.cast()) == header::is_python_class(class)
                && has_statement(found.cast()) == has_statement(class)
        });
        ffi::Py_DecRef(module_name);
        found
    }
}

/// What the running interpreter has in a module under a dotted name, if it fits. New reference.
unsafe fn find_named(module: Object, name: Object, fits: impl FnOnce(Object) -> bool) -> Result<Object, Raised> {
    // SAFETY: as `class_here`; the dotted name is a string.
    unsafe {
        let module = raise::unless_null(ffi::PyImport_Import(module))?;
        let found = look_up(module, name);
        ffi::Py_DecRef(module);
        let found = found?;
        if fits(found) {
            return Ok(found);
        }
        ffi::Py_DecRef(found);
        Err(Raised)
    }
}

/// What a dotted name leads to from a module. New reference.
unsafe fn look_up(module: Object, qualname: Object) -> Result<Object, Raised> {
    const DOT: u32 = '.' as u32;
    // SAFETY: as `class_here`; the qualified name of a class is a string, and indexes are within its length.
    unsafe {
        let length = ffi::PyUnicode_GetLength(qualname);
        let (mut start, mut found) = (0, module);
        ffi::Py_IncRef(found);
        while start <= length {
            let dot = ffi::PyUnicode_FindChar(qualname, DOT, start, length, 1);
            let end = if dot < 0 { length } else { dot };
            let name = ffi::PyUnicode_Substring(qualname, start, end);
            let next = if name.is_null() { ptr::null_mut() } else { ffi::PyObject_GetAttr(found, name) };
            ffi::Py_DecRef(name);
            ffi::Py_DecRef(found);
            found = raise::unless_null(next)?;
            start = end + 1;
        }
        Ok(found)
    }
}
