//! Detaching: what a function refers to once it is frozen.
//!
//! Freezing a function must not freeze its module. The global names that its
//! code, and all code nested in it, can load are looked up now, and the values
//! found make a private namespace; cells are copied the same way. Both are made
//! aside: the function itself changes at commit, or not at all.
//!
//! Annotations do not extend the reach. An annotation function captures
//! nothing but the name of its module, and the annotations of code nested in a
//! function are left out of the search for names.

use std::mem::swap;
use std::ptr;

use super::graph::Stop;
use super::work::WordStack;
use crate::object::ffi;
use crate::object::header::Object;
use crate::object::raise::{self, Raised};
use crate::share::monitor;

/// What a function gets, and gives, at commit. All are owned, and may be null but for the namespace.
pub struct Detached {
    /// Takes the place of `func_globals`: a dict.
    pub namespace: Object,
    /// Takes the place of `func_closure`: a tuple of cells, or null.
    pub closure: Object,
    /// Takes the place of `func_code`: the frozen code object that it is a copy of, or itself.
    pub code: Object,
    /// What the function had, and has nothing instead of.
    builtins: Object,
    annotations: Object,
}

impl Detached {
    /// Makes the parts for `function`. `named`, a tuple of strings or null, names more globals to capture.
    ///
    /// Runs no Python code: names are exact strings, tables are exact dicts.
    ///
    /// # Errors
    /// There is no memory.
    ///
    /// # Safety
    /// The caller holds the GIL of the function's interpreter.
    pub unsafe fn prepare(function: &ffi::PyFunctionObject, named: Object) -> Result<Self, Stop> {
        // SAFETY: a function's parts have the types that funcobject.c checks.
        unsafe {
            let namespace = raise::unless_null(ffi::PyDict_New())?;
            let null = ptr::null_mut();
            let mut detached = Detached { namespace, closure: null, code: null, builtins: null, annotations: null };
            match detached.fill(function, named) {
                Ok(()) => Ok(detached),
                Err(stop) => {
                    detached.discard();
                    Err(stop)
                }
            }
        }
    }

    unsafe fn fill(&mut self, function: &ffi::PyFunctionObject, named: Object) -> Result<(), Stop> {
        // SAFETY: as `prepare`.
        unsafe {
            self.code = monitor::original(function.func_code);
            ffi::Py_IncRef(self.code);
            self.capture_module(function.func_globals)?;
            if !is_annotation_code(function.func_code) {
                self.capture_names(function.func_code, function.func_globals)?;
            }
            if !named.is_null() {
                for i in 0..ffi::PyTuple_Size(named) {
                    self.capture(ffi::PyTuple_GetItem(named, i), function.func_globals)?;
                }
            }
            Ok(self.copy_cells(function.func_closure)?)
        }
    }

    /// Gives the function these parts, and takes those that it had instead. Cannot fail.
    ///
    /// # Safety
    /// As [`Detached::prepare`], for the function that these parts are for, once.
    pub unsafe fn exchange(&mut self, function: &mut ffi::PyFunctionObject) {
        swap(&mut self.namespace, &mut function.func_globals);
        swap(&mut self.closure, &mut function.func_closure);
        swap(&mut self.code, &mut function.func_code);
        swap(&mut self.builtins, &mut function.func_builtins);
        if !function.func_annotate.is_null() {
            swap(&mut self.annotations, &mut function.func_annotations);
        }
    }

    /// Gives the parts back.
    ///
    /// # Safety
    /// The caller holds the GIL. Python code may run.
    pub unsafe fn discard(self) {
        for part in [self.namespace, self.closure, self.code, self.builtins, self.annotations] {
            // SAFETY: owned.
            unsafe { ffi::Py_DecRef(part) };
        }
    }

    /// The names that relative imports inside the function need.
    unsafe fn capture_module(&self, globals: Object) -> Result<(), Raised> {
        // SAFETY: as `prepare`.
        unsafe {
            self.capture(ffi::imm_name_name, globals)?;
            self.capture(ffi::imm_name_package, globals)
        }
    }

    unsafe fn capture(&self, name: Object, globals: Object) -> Result<(), Raised> {
        // SAFETY: as `prepare`; the borrowed reference is used at once.
        unsafe {
            let value = ffi::PyDict_GetItemWithError(globals, name);
            if value.is_null() {
                return if ffi::PyErr_Occurred().is_null() { Ok(()) } else { Err(Raised) };
            }
            raise::unless_negative(ffi::PyDict_SetItem(self.namespace, name, value))
        }
    }

    unsafe fn capture_names(&self, code: Object, globals: Object) -> Result<(), Stop> {
        // SAFETY: as `prepare`. The words are addresses of code objects that `code` keeps alive.
        unsafe {
            let mut pending = WordStack::new();
            pending.push(code.expose_provenance())?;
            while let Some(address) = pending.pop() {
                let code: *mut ffi::PyCodeObject = ptr::with_exposed_provenance_mut(address);
                for_each_global_name(code, |name| self.capture(name, globals))?;
                let consts = (*code).co_consts;
                for i in 0..ffi::PyTuple_Size(consts) {
                    let nested = ffi::PyTuple_GetItem(consts, i);
                    if (*nested).ob_type == &raw mut ffi::PyCode_Type && !is_annotation_code(nested) {
                        pending.push(nested.expose_provenance())?;
                    }
                }
            }
            Ok(())
        }
    }

    unsafe fn copy_cells(&mut self, closure: Object) -> Result<(), Raised> {
        if closure.is_null() {
            return Ok(());
        }
        // SAFETY: as `prepare`; PyTuple_SetItem takes over the new cell.
        unsafe {
            let n = ffi::PyTuple_Size(closure);
            self.closure = raise::unless_null(ffi::PyTuple_New(n))?;
            for i in 0..n {
                let original = ffi::PyTuple_GetItem(closure, i);
                let cell = ffi::PyCell_New((*original.cast::<ffi::PyCellObject>()).ob_ref);
                raise::unless_negative(ffi::PyTuple_SetItem(self.closure, i, raise::unless_null(cell)?))?;
            }
            Ok(())
        }
    }
}

/// True for the code of an `__annotate__` function.
///
/// # Safety
/// `code` is a code object.
pub unsafe fn is_annotation_code(code: Object) -> bool {
    // SAFETY: the caller's; a code object's name is a string.
    unsafe {
        let name = (*code.cast::<ffi::PyCodeObject>()).co_name;
        ffi::PyUnicode_EqualToUTF8(name, c"__annotate__".as_ptr()) != 0
    }
}

/// What an instruction loads, as far as modules go.
pub enum Load {
    /// A global of that name.
    Global(Object),
    /// The attribute of that name of what the instruction before has loaded.
    Attribute(Object),
    /// Something else, or nothing.
    Other,
}

/// Calls `visit` for each instruction of `code` and of the code nested in it.
///
/// # Errors
/// A Python exception is set, by `visit` or for want of memory.
///
/// # Safety
/// `code` is a code object that the caller keeps alive; a GIL is held.
pub unsafe fn for_each_load(code: Object, mut visit: impl FnMut(Load) -> Result<(), Raised>) -> Result<(), Raised> {
    // SAFETY: the words are addresses of code objects that `code` keeps alive.
    unsafe {
        let mut pending = WordStack::new();
        pending.push(code.expose_provenance()).map_err(|error| raise::no_memory(error))?;
        while let Some(address) = pending.pop() {
            let code: *mut ffi::PyCodeObject = ptr::with_exposed_provenance_mut(address);
            let name = |index| ffi::PyTuple_GetItem((*code).co_names, index);
            for_each_instruction(code, |opcode, argument| {
                if opcode == ffi::imm_op_cache {
                    return Ok(());
                }
                visit(if opcode == ffi::imm_op_load_global {
                    Load::Global(name(argument >> 1))
                } else if opcode == ffi::imm_op_load_attr {
                    Load::Attribute(name(argument >> 1))
                } else {
                    Load::Other
                })
            })?;
            let consts = (*code).co_consts;
            for i in 0..ffi::PyTuple_Size(consts) {
                let nested = ffi::PyTuple_GetItem(consts, i);
                if (*nested).ob_type == &raw mut ffi::PyCode_Type && !is_annotation_code(nested) {
                    pending.push(nested.expose_provenance()).map_err(|error| raise::no_memory(error))?;
                }
            }
        }
        Ok(())
    }
}

/// Calls `visit` with each name that `code` itself may look up among the globals.
unsafe fn for_each_global_name(
    code: *mut ffi::PyCodeObject,
    mut visit: impl FnMut(Object) -> Result<(), Raised>,
) -> Result<(), Raised> {
    // SAFETY: names are borrowed.
    unsafe {
        for_each_instruction(code, |opcode, argument| {
            let index = if opcode == ffi::imm_op_load_global {
                argument >> 1
            } else if opcode == ffi::imm_op_load_name
                || opcode == ffi::imm_op_load_from_dict_or_globals
                // Captured, so that deleting it is a write to the namespace.
                || opcode == ffi::imm_op_delete_global
            {
                argument
            } else {
                return Ok(());
            };
            visit(ffi::PyTuple_GetItem((*code).co_names, index))
        })
    }
}

/// Calls `visit` with number and argument of each instruction as it was compiled.
unsafe fn for_each_instruction(
    code: *mut ffi::PyCodeObject,
    mut visit: impl FnMut(i32, isize) -> Result<(), Raised>,
) -> Result<(), Raised> {
    // SAFETY: the bytes are ours while we read them.
    unsafe {
        let bytes = raise::unless_null(ffi::imm_code_bytes(code.cast()))?;
        let units =
            std::slice::from_raw_parts(ffi::PyBytes_AsString(bytes).cast::<u8>(), ffi::PyBytes_Size(bytes) as usize);
        let mut argument = 0;
        let outcome = units.chunks_exact(2).try_for_each(|unit| {
            let opcode = i32::from(unit[0]);
            argument = argument << 8 | isize::from(unit[1]);
            if opcode == ffi::imm_op_extended_arg {
                return Ok(());
            }
            visit(opcode, std::mem::take(&mut argument))
        });
        ffi::Py_DecRef(bytes);
        outcome
    }
}
