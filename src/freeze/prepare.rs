//! What an object needs when the search enters it, and after the commit.
//!
//! Some objects refuse for what they are doing just then; some make parts on
//! demand that must be there before; functions are detached. All of it is kept
//! aside here until the commit, and given up after a rollback.

use std::collections::HashMap;
use std::ffi::CStr;

use super::detach::{self, Detached};
use super::graph::Stop;
use crate::object::ffi;
use crate::object::header::{self, FROZEN, Object, Type};
use crate::policy::Refusal;

/// list.sort() empties the list, and marks it, while it runs.
const SORTING: &str = "it is being sorted: freeze it when that is done";
/// Why a bytearray or memory view refuses.
pub const EXPORTED: &str = "something that is not frozen with it could write through a buffer of it: \
    release its memory views first";

const VITAL: &str = "it is the namespace of a module that the interpreter itself needs: \
    freeze a copy, or refer to the module";

/// What must be looked at, or made, when an object is entered.
#[derive(Clone, Copy)]
pub enum Preparation {
    /// Nothing.
    None,
    /// Its cached annotations are dropped.
    Class,
    /// It refuses while it is sorted.
    List,
    /// It gets values of its own; the namespaces of vital modules refuse.
    Dict,
    /// It refuses while something outside the graph could write it.
    Bytearray,
    /// As a bytearray.
    MemoryView,
    /// Its parts that are made on demand are made.
    Code,
}

impl Preparation {
    /// What instances of `ty` need.
    ///
    /// # Safety
    /// `ty` is a live type.
    pub unsafe fn of(ty: Type) -> Self {
        // SAFETY: the caller's.
        unsafe {
            if header::has_feature(ty, ffi::Py_TPFLAGS_TYPE_SUBCLASS) {
                Self::Class
            } else if header::has_feature(ty, ffi::Py_TPFLAGS_LIST_SUBCLASS) {
                Self::List
            } else if header::has_feature(ty, ffi::Py_TPFLAGS_DICT_SUBCLASS) {
                Self::Dict
            } else if ffi::PyType_IsSubtype(ty, &raw mut ffi::PyByteArray_Type) != 0 {
                Self::Bytearray
            } else if ty == &raw mut ffi::PyMemoryView_Type {
                Self::MemoryView
            } else if ty == &raw mut ffi::PyCode_Type {
                Self::Code
            } else {
                Self::None
            }
        }
    }
}

/// What one search has prepared.
pub struct Prepared {
    /// The functions that were entered, with what they will refer to.
    detached: HashMap<Object, Detached>,
    /// The classes that were entered.
    classes: Vec<Object>,
    /// References to give up when the freeze is over.
    dropped: Vec<Object>,
    /// The dicts of `builtins` and `sys`, without which nothing runs.
    vital: [Object; 2],
    /// The bytearrays that were entered while buffers of them were in use.
    exporting: Vec<Object>,
    /// The memory views that were entered.
    views: Vec<Object>,
}

impl Prepared {
    /// Nothing yet.
    ///
    /// # Safety
    /// The caller holds the GIL, and keeps it until this is dropped.
    pub unsafe fn new() -> Self {
        Prepared {
            detached: HashMap::new(),
            classes: Vec::new(),
            dropped: Vec::new(),
            // SAFETY: the caller's; borrowed, and as long-lived as the interpreter.
            vital: unsafe { [c"builtins", c"sys"].map(|name| module_dict(name)) },
            exporting: Vec::new(),
            views: Vec::new(),
        }
    }

    /// Prepares an object that is being entered.
    ///
    /// # Errors
    /// It refuses, or there is no memory.
    ///
    /// # Safety
    /// `op` is live, and `preparation` that of its type.
    #[inline]
    pub unsafe fn prepare(&mut self, op: Object, preparation: Preparation) -> Result<(), Stop> {
        // SAFETY: op is of a type that has this preparation; none runs Python code.
        unsafe {
            match preparation {
                Preparation::None => Ok(()),
                Preparation::Class => {
                    self.classes.push(op);
                    self.drop_cached_annotations(op.cast())
                }
                Preparation::List if (*op.cast::<ffi::PyListObject>()).allocated < 0 => Err(refused(SORTING)),
                Preparation::List => Ok(()),
                Preparation::Dict if self.vital.contains(&op) => Err(refused(VITAL)),
                Preparation::Dict if ffi::imm_own_values(op.cast()) < 0 => Err(Stop::Raised),
                Preparation::Dict => Ok(()),
                Preparation::Bytearray => {
                    if (*op.cast::<ffi::PyByteArrayObject>()).ob_exports > 0 {
                        self.exporting.push(op);
                    }
                    Ok(())
                }
                Preparation::MemoryView if (*op.cast::<ffi::PyMemoryViewObject>()).exports > 0 => {
                    Err(refused(EXPORTED))
                }
                Preparation::MemoryView => {
                    self.views.push(op);
                    Ok(())
                }
                Preparation::Code => make_code_parts(op.cast()),
            }
        }
    }

    /// Annotations that can be evaluated again do not extend the reach of a class.
    unsafe fn drop_cached_annotations(&mut self, class: Type) -> Result<(), Stop> {
        // SAFETY: a heap type's dict is an exact dict, its keys here exact
        // strings. The annotations are kept until the freeze is over, so that
        // nothing is deallocated meanwhile.
        unsafe {
            let dict = (*class).tp_dict;
            let annotate = ffi::PyDict_GetItemString(dict, detach::ANNOTATE.as_ptr());
            let cached = ffi::PyDict_GetItemString(dict, detach::ANNOTATIONS_CACHE.as_ptr());
            if !cached.is_null() && !annotate.is_null() && annotate != &raw mut ffi::_Py_NoneStruct {
                ffi::Py_IncRef(cached);
                self.dropped.push(cached);
                if ffi::PyDict_DelItemString(dict, detach::ANNOTATIONS_CACHE.as_ptr()) < 0 {
                    return Err(Stop::Raised);
                }
            }
            Ok(())
        }
    }

    /// Detaches a function that is being entered.
    ///
    /// # Errors
    /// There is no memory.
    ///
    /// # Safety
    /// `op` is a live function.
    pub unsafe fn prepare_function(&mut self, op: Object) -> Result<(), Stop> {
        // SAFETY: op is a function.
        unsafe {
            let parts = Detached::prepare(&*op.cast()).ok_or(Stop::Raised)?;
            self.detached.insert(op, parts);
        }
        Ok(())
    }

    /// The references that a function will own once it is frozen, null ones
    /// among them; `None` for a function that was not entered.
    ///
    /// # Safety
    /// `function` is a live function.
    pub unsafe fn detached_edges(&self, function: Object) -> Option<[Object; 13]> {
        let parts = self.detached.get(&function)?;
        // SAFETY: a function.
        let fields = unsafe { &*function.cast::<ffi::PyFunctionObject>() };
        let annotations = if fields.func_annotate.is_null() { fields.func_annotations } else { std::ptr::null_mut() };
        Some([
            fields.func_code,
            parts.namespace,
            parts.closure,
            fields.func_defaults,
            fields.func_kwdefaults,
            fields.func_doc,
            fields.func_name,
            fields.func_dict,
            fields.func_module,
            annotations,
            fields.func_annotate,
            fields.func_qualname,
            fields.func_typeparams,
        ])
    }

    /// A bytearray or memory view that was entered although something outside
    /// the graph holds a buffer of it, and so could go on writing.
    pub fn exported_outside(&self) -> Option<Object> {
        // SAFETY: these are memory views, which keep their buffers.
        let buffer_of = |view: Object| unsafe { (*view.cast::<ffi::PyMemoryViewObject>()).mbuf };
        let mut views_of: HashMap<*mut ffi::_PyManagedBufferObject, isize> = HashMap::new();
        for &view in &self.views {
            *views_of.entry(buffer_of(view)).or_default() += 1;
        }
        views_of.remove(&std::ptr::null_mut()); // views that were released
        let mut buffers_of: HashMap<Object, isize> = HashMap::new();
        for &buffer in views_of.keys() {
            // SAFETY: as above.
            *buffers_of.entry(unsafe { (*buffer).master.obj }).or_default() += 1;
        }
        let held_outside = |&view: &Object| {
            let buffer = buffer_of(view);
            // SAFETY: as above.
            views_of.get(&buffer).is_some_and(|&inside| unsafe { (*buffer).exports } > inside)
        };
        let exported_outside = |&op: &Object| {
            let inside = buffers_of.get(&op).copied().unwrap_or(0);
            // SAFETY: a bytearray.
            unsafe { (*op.cast::<ffi::PyByteArrayObject>()).ob_exports > inside }
        };
        let view = self.views.iter().copied().find(held_outside);
        view.or_else(|| self.exporting.iter().copied().find(exported_outside))
    }

    /// What must follow a commit before any Python code runs again. Returns
    /// references to be given up at the very end.
    pub fn finish(&mut self) -> Vec<Object> {
        let mut dropped = std::mem::take(&mut self.dropped);
        for (function, parts) in self.detached.drain() {
            // SAFETY: the function is frozen and not yet seen by anybody else;
            // the plan counted the parts as its edges.
            unsafe {
                let fields = &mut *function.cast::<ffi::PyFunctionObject>();
                let flags = header::flags(function);
                header::set_flags(function, flags & !FROZEN);
                ffi::PyFunction_SetVectorcall(fields, Some(crate::share::view::call));
                header::set_flags(function, flags);
                let null = std::ptr::null_mut();
                dropped.push(std::mem::replace(&mut fields.func_globals, parts.namespace));
                dropped.push(std::mem::replace(&mut fields.func_closure, parts.closure));
                dropped.push(std::mem::replace(&mut fields.func_builtins, null));
                if !fields.func_annotate.is_null() {
                    dropped.push(std::mem::replace(&mut fields.func_annotations, null));
                }
            }
        }
        for class in self.classes.drain(..) {
            // Call sites that were specialised for the class would run its
            // functions directly, and not their views.
            // SAFETY: class is a heap type.
            unsafe { ffi::PyType_Modified(class.cast()) };
        }
        dropped
    }

    /// After a rollback: the references to be given up, what was detached among them.
    pub fn abandon(&mut self) -> Vec<Object> {
        let mut dropped = std::mem::take(&mut self.dropped);
        dropped.extend(self.detached.drain().flat_map(|(_, parts)| [parts.namespace, parts.closure]));
        dropped
    }
}

fn refused(advice: &'static str) -> Stop {
    Stop::Refused(Refusal::Stateful(advice))
}

/// Makes the parts that a code object otherwise makes, and stores, on demand.
unsafe fn make_code_parts(code: *mut ffi::PyCodeObject) -> Result<(), Stop> {
    // SAFETY: a code object; the references are given back.
    unsafe {
        for part in [
            ffi::PyCode_GetCode(code),
            ffi::PyCode_GetVarnames(code),
            ffi::PyCode_GetCellvars(code),
            ffi::PyCode_GetFreevars(code),
        ] {
            if part.is_null() {
                return Err(Stop::Raised);
            }
            ffi::Py_DecRef(part);
        }
        Ok(())
    }
}

/// The dict of an imported module, or null.
unsafe fn module_dict(name: &CStr) -> Object {
    // SAFETY: sys.modules holds the module.
    unsafe {
        let modules = ffi::PyImport_GetModuleDict();
        let module = ffi::PyDict_GetItemString(modules, name.as_ptr());
        if module.is_null() { module } else { ffi::PyModule_GetDict(module) }
    }
}
