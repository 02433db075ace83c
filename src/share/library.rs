//! The state that modules of the standard library keep, which their frozen functions use in place.
//!
//! A frozen function captures the globals that its code names. For functions of the standard library that would freeze, by
//! accident, what their module goes on writing: the cache of `re`, the tables of `copyreg`, the counters of `uuid`. So of
//! such a function these are left out, and found by name, in the module of whoever links it:
//!
//! - a table, or anything else that is of no use frozen ([`is_state`]), is looked up when the function is linked;
//! - a function that names what code of its module rebinds by `global`, or calls `globals()`, runs in the namespace of the
//!   module itself ([`Library::runs_in`]), and captures nothing.
//!
//! Both are decided by the code alone and what the module holds, so whoever links comes to the same answer. A
//! module counts as one of the library by its name, if it was loaded from the library's folder, and while `sys.modules` has
//! it: a function of another namespace captures what it names.

use std::collections::{HashMap, HashSet};
use std::ptr;

use super::{idle, interpreter, module, view};
use crate::freeze::detach;
use crate::object::header::{self, FROZEN, Object, PROXY, Type};
use crate::object::memory::{OutOfMemory, try_format};
use crate::object::raise::{self, Raised};
use crate::object::{attribute, ffi};
use crate::policy::{self, Names, Refusal, Treatment, declared};

/// What one interpreter knows of the library's modules.
#[derive(Default)]
pub struct Libraries {
    /// By the address of the namespace.
    known: HashMap<Object, Library>,
    /// Where functions of modules that are frozen as a whole run: copies of their namespaces. Both are owned.
    copies: HashMap<Object, Object>,
}

/// A module of the standard library.
pub struct Library {
    /// Its name, so that another module whose namespace comes to the same address is not taken for it.
    name: String,
    /// The names of its globals that its functions rebind.
    rebound: HashSet<String>,
}

impl Library {
    /// Whether a function with this code, of this module, runs in the namespace of the module itself.
    ///
    /// # Errors
    /// MemoryError is set.
    ///
    /// # Safety
    /// A GIL is held; `code` is a code object.
    pub unsafe fn runs_in(&self, code: Object) -> Result<bool, Raised> {
        let mut runs_in = false;
        // SAFETY: the caller's.
        unsafe {
            detach::for_each_global(code, |name, how| {
                runs_in |= how.rebinds()
                    || policy::text(name).is_some_and(|name| name == "globals" || self.rebound.contains(name));
                Ok(())
            })?;
        }
        Ok(runs_in)
    }
}

impl Libraries {
    /// The module of the standard library that `globals` is the namespace of, if it is.
    ///
    /// Runs no Python code.
    ///
    /// # Errors
    /// MemoryError is set.
    ///
    /// # Safety
    /// The caller holds the interpreter's GIL; `globals` is an exact dict.
    pub unsafe fn of(&mut self, globals: Object, names: &Names) -> Result<Option<&Library>, Raised> {
        // SAFETY: the caller's; borrowed references are used at once.
        unsafe {
            let name = ffi::PyDict_GetItemWithError(globals, ffi::imm_name_name);
            let Some(text) = policy::text(name) else { return Ok(None) };
            if !policy::is_of_standard_library(name, names)?
                || !module::is_namespace_of(globals, name)
                || !is_in_folder(globals, names)?
            {
                return Ok(None);
            }
            if self.known.get(&globals).is_none_or(|known| known.name != text) {
                let mut rebound = HashSet::new();
                note_rebound(globals, text, &mut rebound)?;
                self.known.try_reserve(1).map_err(|error| raise::no_memory(error.into()))?;
                self.known.insert(globals, Library { name: owned(text)?, rebound });
            }
            Ok(self.known.get(&globals))
        }
    }

    /// The copy, borrowed, of the namespace of a module that is frozen as a whole.
    fn copy_of(&self, namespace: Object) -> Option<Object> {
        self.copies.get(&namespace).copied()
    }

    /// Drops everything. True if there were copies of namespaces.
    ///
    /// # Safety
    /// The caller holds the interpreter's GIL. Python code may run.
    pub unsafe fn clear(&mut self) -> bool {
        // SAFETY: owned.
        idle::release_all(&mut self.copies, |namespace, copy| unsafe {
            ffi::Py_DecRef(copy);
            ffi::Py_DecRef(namespace);
        })
    }
}

/// Whether the module with this namespace was loaded from the library's folder, as far as is known.
unsafe fn is_in_folder(globals: Object, names: &Names) -> Result<bool, Raised> {
    // SAFETY: as `Libraries::of`.
    unsafe {
        let is_string = |op: Object| !op.is_null() && header::type_of(op) == &raw mut ffi::PyUnicode_Type;
        let file = ffi::PyDict_GetItemWithError(globals, ffi::imm_name_file);
        let sys = ffi::imm_sys_dict();
        let folder = if sys.is_null() { None } else { declared::find(sys, names.library_folder) };
        match folder.filter(|folder| is_string(*folder)) {
            Some(folder) if is_string(file) => {
                let found = ffi::PyUnicode_Tailmatch(file, folder, 0, isize::MAX, -1);
                raise::unless_negative(found as i32).map(|()| found == 1)
            }
            _ => Ok(true),
        }
    }
}

fn owned(text: &str) -> Result<String, Raised> {
    // SAFETY: a GIL is held wherever this is called.
    try_format!("{text}").map_err(|error| unsafe { raise::no_memory(error) })
}

/// Notes the globals that the functions of the module `name`, and the methods of its classes, rebind: `namespace` is that
/// of the module, or of a class.
unsafe fn note_rebound(namespace: Object, name: &str, rebound: &mut HashSet<String>) -> Result<(), Raised> {
    let is_of = |op: Object| {
        // SAFETY: a live string, or null.
        unsafe { policy::text(op) == Some(name) }
    };
    // SAFETY: exact dicts, which nobody changes meanwhile; borrowed references.
    unsafe {
        let (mut place, mut value) = (0, ptr::null_mut());
        while ffi::PyDict_Next(namespace, &raw mut place, ptr::null_mut(), &raw mut value) != 0 {
            if header::type_of(value) == &raw mut ffi::PyFunction_Type {
                let function = &*value.cast::<ffi::PyFunctionObject>();
                if is_of(ffi::PyDict_GetItemWithError(function.func_globals, ffi::imm_name_name)) {
                    detach::for_each_global(function.func_code, |name, how| {
                        if how.rebinds()
                            && let Some(name) = policy::text(name)
                        {
                            rebound.try_reserve(1).map_err(|_| raise::no_memory(OutOfMemory))?;
                            rebound.insert(owned(name)?);
                        }
                        Ok(())
                    })?;
                }
            } else if header::has_feature(header::type_of(value), ffi::Py_TPFLAGS_TYPE_SUBCLASS)
                && header::is_python_class(value.cast())
            {
                let dict = (*value.cast::<ffi::PyTypeObject>()).tp_dict;
                // Not the classes inside it, which may lead back here.
                if dict != namespace
                    && is_of(ffi::PyDict_GetItemWithError(dict, ffi::imm_name_module))
                    && ffi::PyDict_GetItemWithError(namespace, ffi::imm_name_module).is_null()
                {
                    note_rebound(dict, name, rebound)?;
                }
            }
        }
        Ok(())
    }
}

/// Whether a global of a library's module is state of that module, which its functions use in place.
///
/// That is what items can be assigned to, sets, and what refuses to be frozen; and methods bound to such an object. A
/// table whose keys are instances of Python classes, such as members of an enumeration, is not: only with those keys is it
/// of use.
///
/// # Safety
/// A GIL is held, and `value` alive. No Python code runs.
pub unsafe fn is_state(value: Object) -> bool {
    // SAFETY: the caller's.
    unsafe {
        if header::flags(value) & (FROZEN | PROXY) != 0 || header::is_immortal_or_shared(value) {
            return false;
        }
        let ty = header::type_of(value);
        let never = [
            &raw mut ffi::PyFunction_Type,
            &raw mut ffi::PyUnicode_Type,
            &raw mut ffi::PyTuple_Type,
            &raw mut ffi::PyLong_Type,
            &raw mut ffi::PyFrozenSet_Type,
        ];
        if never.contains(&ty) || header::has_feature(ty, ffi::Py_TPFLAGS_TYPE_SUBCLASS) || module::is_module(value) {
            return false;
        }
        if is_table(ty) {
            return !is_keyed_by_instances(value);
        }
        if ty == &raw mut ffi::PyMethod_Type || ty == &raw mut ffi::PyCFunction_Type {
            let bound = attribute::get(value, c"__self__");
            if bound.is_null() {
                ffi::PyErr_Clear();
                return false;
            }
            ffi::Py_DecRef(bound); // the method keeps it
            return is_state(bound);
        }
        interpreter::existing().is_some_and(|state| {
            matches!(
                policy::for_instances(&state.registry, &state.names, ty).treatment,
                Treatment::Refused(Refusal::Stateful(_) | Refusal::Unregistered)
            )
        })
    }
}

unsafe fn is_table(ty: Type) -> bool {
    // SAFETY: a ready type.
    unsafe {
        (*ty).tp_as_mapping.as_ref().is_some_and(|mapping| mapping.mp_ass_subscript.is_some())
            || (*ty).tp_as_sequence.as_ref().is_some_and(|sequence| sequence.sq_ass_item.is_some())
            || ffi::PyType_IsSubtype(ty, &raw mut ffi::PySet_Type) != 0
    }
}

unsafe fn is_keyed_by_instances(table: Object) -> bool {
    // SAFETY: a live object; borrowed keys. Nothing changes the table meanwhile.
    unsafe {
        let is_instance = |key: Object| {
            let ty = header::type_of(key);
            header::is_python_class(ty) && !header::has_feature(ty, ffi::Py_TPFLAGS_TYPE_SUBCLASS)
        };
        let (mut place, mut key, mut hash) = (0, ptr::null_mut(), 0);
        if header::has_feature(header::type_of(table), ffi::Py_TPFLAGS_DICT_SUBCLASS) {
            while ffi::PyDict_Next(table, &raw mut place, &raw mut key, ptr::null_mut()) != 0 {
                if is_instance(key) {
                    return true;
                }
            }
        } else if ffi::PyType_IsSubtype(header::type_of(table), &raw mut ffi::PySet_Type) != 0 {
            while ffi::_PySet_NextEntry(table, &raw mut place, &raw mut key, &raw mut hash) != 0 {
                if is_instance(key) {
                    return true;
                }
            }
        }
        false
    }
}

/// What a function of the library uses in place, where it is linked.
pub enum Own {
    /// Nothing.
    Nothing,
    /// It runs in this namespace: a new reference to a dict.
    Runs(Object),
    /// What it has not captured is here: a new reference to a dict.
    Finds(Object),
}

/// What a frozen function with this code and these captured globals uses in place in the running interpreter.
///
/// # Errors
/// A Python exception is set.
///
/// # Safety
/// A GIL is held; `code` is a code object and `captured` a dict. Python code may run (imports).
pub unsafe fn own(code: Object, captured: Object) -> Result<Own, Raised> {
    // SAFETY: the caller's. The state is looked up again after the import.
    unsafe {
        let name = ffi::PyDict_GetItemWithError(captured, ffi::imm_name_name);
        if policy::text(name).is_none() {
            return Ok(Own::Nothing);
        }
        let names = interpreter::current().ok_or(Raised)?.names;
        if !policy::is_of_standard_library(name, &names)? || !leaves_out(code, captured)? {
            return Ok(Own::Nothing);
        }
        if ffi::imm_modules().is_null() {
            return Ok(Own::Nothing); // the interpreter ends, and finds no module any more
        }
        let Some(namespace) = view::module_globals(captured)? else { return Ok(Own::Nothing) };
        let runs_in = match interpreter::current().ok_or(Raised)?.libraries.of(namespace, &names) {
            Ok(Some(library)) => library.runs_in(code).map(Some),
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        match runs_in {
            Ok(Some(false)) => Ok(Own::Finds(namespace)),
            Ok(Some(true)) if header::flags(namespace) & FROZEN == 0 => Ok(Own::Runs(namespace)),
            Ok(Some(true)) => {
                let copy = mutable_copy(namespace);
                ffi::Py_DecRef(namespace);
                copy.map(Own::Runs)
            }
            Ok(None) => {
                ffi::Py_DecRef(namespace);
                Ok(Own::Nothing)
            }
            Err(error) => {
                ffi::Py_DecRef(namespace);
                Err(error)
            }
        }
    }
}

/// Whether code names a global that was not captured, and is no builtin, or writes one.
unsafe fn leaves_out(code: Object, captured: Object) -> Result<bool, Raised> {
    let mut leaves_out = false;
    // SAFETY: the caller's: exact dicts, and exact strings for keys.
    unsafe {
        let builtins = ffi::imm_builtins_dict();
        detach::for_each_global(code, |name, how| {
            if how.rebinds() || policy::text(name) == Some("globals") {
                leaves_out = true;
            } else if !leaves_out {
                let known = ffi::PyDict_Contains(captured, name) + ffi::PyDict_Contains(builtins, name);
                raise::unless_negative(known)?;
                leaves_out = known == 0;
            }
            Ok(())
        })?;
    }
    Ok(leaves_out)
}

/// A new reference to what stands for the namespace of a module that is frozen as a whole where its functions write it.
unsafe fn mutable_copy(namespace: Object) -> Result<Object, Raised> {
    // SAFETY: a GIL is held. The state is looked up again after Python code may have run.
    unsafe {
        if let Some(copy) = interpreter::current().ok_or(Raised)?.libraries.copy_of(namespace) {
            ffi::Py_IncRef(copy);
            return Ok(copy);
        }
        let copy = raise::unless_null(ffi::PyDict_Copy(namespace))?;
        let filled =
            raise::unless_negative(ffi::PyDict_SetItem(copy, ffi::imm_name_builtins, ffi::imm_builtins_dict()))
                .and_then(|()| view::resolve_values(copy));
        let copies = filled.and_then(|()| Ok(&mut interpreter::current().ok_or(Raised)?.libraries.copies));
        let copies = match copies.map(|copies| copies.try_reserve(1).map(|()| copies)) {
            Ok(Ok(copies)) => copies,
            failed => {
                ffi::Py_DecRef(copy);
                return Err(failed.map_or_else(|raised| raised, |_| raise::no_memory(OutOfMemory)));
            }
        };
        // Another thread may have been faster.
        let kept = *copies.entry(namespace).or_insert_with(|| {
            ffi::Py_IncRef(namespace);
            ffi::Py_IncRef(copy);
            copy
        });
        ffi::Py_IncRef(kept);
        ffi::Py_DecRef(copy);
        Ok(kept)
    }
}

/// Adds to `globals`, a dict, what code names and `namespace` has.
///
/// # Errors
/// MemoryError is set.
///
/// # Safety
/// A GIL is held; `code` is a code object.
pub unsafe fn add_found(code: Object, globals: Object, namespace: Object) -> Result<(), Raised> {
    // SAFETY: exact dicts, and exact strings for keys; borrowed references are used at once.
    unsafe { detach::for_each_global(code, |name, _| add_missing(name, globals, namespace)) }
}

/// Adds the item of that name to `globals`, if only `namespace` has one.
///
/// # Errors
/// MemoryError is set.
///
/// # Safety
/// As [`add_found`], for an exact string.
pub unsafe fn add_missing(name: Object, globals: Object, namespace: Object) -> Result<(), Raised> {
    // SAFETY: the caller's.
    unsafe {
        let missing = ffi::PyDict_Contains(globals, name) == 0;
        let value = if missing { ffi::PyDict_GetItemWithError(namespace, name) } else { ptr::null_mut() };
        if value.is_null() {
            return if ffi::PyErr_Occurred().is_null() { Ok(()) } else { Err(Raised) };
        }
        raise::unless_negative(ffi::PyDict_SetItem(globals, name, value))
    }
}
