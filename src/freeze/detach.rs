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

use std::ffi::CStr;
use std::ptr;

use crate::object::ffi;
use crate::object::header::Object;

/// The parts that replace a function's own at commit. Both are owned.
pub struct Detached {
    /// Replaces `func_globals`: a dict.
    pub namespace: Object,
    /// Replaces `func_closure`: a tuple of cells, or null.
    pub closure: Object,
}

impl Detached {
    /// Makes the parts for `function`, or `None` with MemoryError.
    ///
    /// Runs no Python code: names are exact strings, tables are exact dicts.
    ///
    /// # Safety
    /// The caller holds the GIL of the function's interpreter.
    pub unsafe fn prepare(function: &ffi::PyFunctionObject) -> Option<Self> {
        // SAFETY: a function's parts have the types that funcobject.c checks.
        unsafe {
            let namespace = ffi::PyDict_New();
            if namespace.is_null() {
                return None;
            }
            let mut detached = Detached { namespace, closure: ptr::null_mut() };
            let captured = detached.capture_module(function.func_globals)
                && (is_annotation_code(function.func_code)
                    || detached.capture_names(function.func_code, function.func_globals))
                && detached.copy_cells(function.func_closure);
            if !captured {
                detached.discard();
                return None;
            }
            Some(detached)
        }
    }

    /// Gives the parts back.
    ///
    /// # Safety
    /// They were not given to the function.
    pub unsafe fn discard(self) {
        // SAFETY: owned.
        unsafe {
            ffi::Py_DecRef(self.namespace);
            ffi::Py_DecRef(self.closure);
        }
    }

    /// The names that relative imports inside the function need.
    unsafe fn capture_module(&self, globals: Object) -> bool {
        // SAFETY: as `prepare`.
        unsafe {
            [c"__name__", c"__package__"].into_iter().all(|name| {
                match ffi::PyDict_GetItemString(globals, name.as_ptr()) {
                    value if value.is_null() => true,
                    value => ffi::PyDict_SetItemString(self.namespace, name.as_ptr(), value) == 0,
                }
            })
        }
    }

    unsafe fn capture_names(&self, code: Object, globals: Object) -> bool {
        // SAFETY: as `prepare`; borrowed references are used at once.
        unsafe {
            let mut pending = vec![code.cast::<ffi::PyCodeObject>()];
            while let Some(code) = pending.pop() {
                let captured = for_each_global_name(code, |name| match ffi::PyDict_GetItemWithError(globals, name) {
                    value if value.is_null() => true,
                    value => ffi::PyDict_SetItem(self.namespace, name, value) == 0,
                });
                if !captured {
                    return false;
                }
                let consts = (*code).co_consts;
                for i in 0..ffi::PyTuple_Size(consts) {
                    let nested = ffi::PyTuple_GetItem(consts, i);
                    if (*nested).ob_type == &raw mut ffi::PyCode_Type && !is_annotation_code(nested) {
                        pending.push(nested.cast());
                    }
                }
            }
            true
        }
    }

    unsafe fn copy_cells(&mut self, closure: Object) -> bool {
        if closure.is_null() {
            return true;
        }
        // SAFETY: as `prepare`; PyTuple_SetItem takes over the new cell.
        unsafe {
            let n = ffi::PyTuple_Size(closure);
            self.closure = ffi::PyTuple_New(n);
            !self.closure.is_null()
                && (0..n).all(|i| {
                    let original = ffi::PyTuple_GetItem(closure, i);
                    let cell = ffi::PyCell_New((*original.cast::<ffi::PyCellObject>()).ob_ref);
                    !cell.is_null() && ffi::PyTuple_SetItem(self.closure, i, cell) == 0
                })
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

/// Calls `visit` with each name that `code` itself may look up among the
/// globals, until `visit` returns false. Returns false then, or with MemoryError.
unsafe fn for_each_global_name(code: *mut ffi::PyCodeObject, mut visit: impl FnMut(Object) -> bool) -> bool {
    // SAFETY: the bytes are ours while we read them; names are borrowed.
    unsafe {
        let bytes = ffi::imm_code_bytes(code.cast());
        if bytes.is_null() {
            return false;
        }
        let units =
            std::slice::from_raw_parts(ffi::PyBytes_AsString(bytes).cast::<u8>(), ffi::PyBytes_Size(bytes) as usize);
        let mut argument = 0;
        let mut complete = true;
        for unit in units.chunks_exact(2) {
            let opcode = i32::from(unit[0]);
            argument = argument << 8 | isize::from(unit[1]);
            if opcode == ffi::imm_op_extended_arg {
                continue;
            }
            let index = if opcode == ffi::imm_op_load_global {
                Some(argument >> 1)
            } else if opcode == ffi::imm_op_load_name
                || opcode == ffi::imm_op_load_from_dict_or_globals
                // Captured, so that deleting it is a write to the namespace.
                || opcode == ffi::imm_op_delete_global
            {
                Some(argument)
            } else {
                None
            };
            argument = 0;
            if let Some(index) = index
                && !visit(ffi::PyTuple_GetItem((*code).co_names, index))
            {
                complete = false;
                break;
            }
        }
        ffi::Py_DecRef(bytes);
        complete
    }
}

/// The evaluated annotations of a function or class that can evaluate them
/// again: they are dropped, so that they do not extend the reach.
pub const ANNOTATIONS_CACHE: &CStr = c"__annotations_cache__";
/// Where a class keeps its annotation function.
pub const ANNOTATE: &CStr = c"__annotate_func__";
