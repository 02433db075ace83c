//! What an object needs when the search enters it, and after the commit.
//!
//! Some objects refuse for what they are doing just then; some make parts on
//! demand that must be there before; functions are detached. All of it is kept
//! aside here until the commit, and given up after a rollback.

use std::collections::HashMap;

use super::detach::Detached;
use super::graph::Stop;
use super::weak::WeakReferences;
use crate::object::edges;
use crate::object::ffi;
use crate::object::header::{self, FROZEN, Object, Type};
use crate::object::memory::OutOfMemory;
use crate::object::raise::{self, Raised};
use crate::policy::Refusal;
use crate::share::{class, interpreter};

/// list.sort() empties the list, and marks it, while it runs.
const SORTING: &str = "it is being sorted: freeze it when that is done";
/// Why a bytearray or memory view refuses.
pub const EXPORTED: &str = "something that is not frozen with it could write through a buffer of it: \
    release its memory views first";

const VITAL: &str = "it is a dict that the interpreter itself writes (sys.modules, the namespace of sys or builtins): \
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
    /// It gets a table of its own; the namespaces of vital modules refuse.
    Dict,
    /// It refuses while something outside the graph could write it.
    Bytearray,
    /// As a bytearray.
    MemoryView,
    /// Its parts that are made on demand are made.
    Code,
    /// It will own its referent.
    WeakReference,
}

impl Preparation {
    /// What instances of `ty` need.
    ///
    /// # Safety
    /// `ty` is a live type.
    pub unsafe fn of(ty: Type) -> Self {
        // SAFETY: the caller's.
        unsafe {
            if edges::is_weak_reference(ty) {
                Self::WeakReference
            } else if header::has_feature(ty, ffi::Py_TPFLAGS_TYPE_SUBCLASS) {
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
    /// The functions that were entered, with what they will refer to; after the commit, with what they referred to.
    detached: HashMap<Object, Detached>,
    /// The classes that were entered.
    classes: Vec<Object>,
    /// The dicts of classes in which None stands for the cached annotations meanwhile, and these, owned.
    annotations: Vec<(Object, Object)>,
    /// `sys.modules`, and the dicts of `builtins` and `sys`, without which nothing runs.
    vital: [Object; 3],
    /// The bytearrays that were entered while buffers of them were in use.
    exporting: Vec<Object>,
    /// The memory views that were entered.
    views: Vec<Object>,
    /// The objects of a subinterpreter that become proxies.
    proxies: Vec<Object>,
    /// The weak references in the graph, and to its objects.
    pub weak: WeakReferences,
    /// For some functions, a tuple of names to capture beside those in their code: a dict, borrowed, or null.
    named: Object,
    /// Nothing will be frozen: what is made is taken back.
    is_dry_run: bool,
    /// In a dry run, code objects that were given parts, and what they had before: see `imm_forget_code_parts`.
    codes: Vec<(Object, bool, i32)>,
}

impl Prepared {
    /// Nothing yet. `named` is null, or a dict from functions to tuples of names that they capture as well.
    ///
    /// # Safety
    /// The caller holds the GIL, and keeps it, and `named`, until this is dropped.
    pub unsafe fn new(is_dry_run: bool, named: Object) -> Self {
        Prepared {
            detached: HashMap::new(),
            classes: Vec::new(),
            annotations: Vec::new(),
            // SAFETY: the caller's; borrowed, and as long-lived as the interpreter.
            vital: unsafe { [ffi::imm_builtins_dict(), ffi::imm_sys_dict(), ffi::PyImport_GetModuleDict()] },
            exporting: Vec::new(),
            views: Vec::new(),
            proxies: Vec::new(),
            weak: WeakReferences::default(),
            named,
            is_dry_run,
            codes: Vec::new(),
        }
    }

    /// True if nothing will be frozen.
    pub fn is_dry_run(&self) -> bool {
        self.is_dry_run
    }

    /// The functions that were entered, and the dict of names that each has captured.
    pub fn detached(&self) -> impl Iterator<Item = (Object, Object)> {
        self.detached.iter().map(|(function, parts)| (*function, parts.namespace))
    }

    /// The classes that were entered.
    pub fn classes(&self) -> &[Object] {
        &self.classes
    }

    /// What is in those cells of the entered functions that nothing but their function refers to. A reference in such a
    /// cell is inside the graph: it goes with the closure that the freeze replaces.
    pub fn own_cells(&self) -> impl Iterator<Item = Object> {
        self.detached.keys().flat_map(|function| {
            // SAFETY: functions that were entered; a closure is a tuple of cells, or null.
            unsafe {
                let closure = (*function.cast::<ffi::PyFunctionObject>()).func_closure;
                let own = !closure.is_null() && header::refcnt(closure) == 1;
                (0..if own { ffi::PyTuple_Size(closure) } else { 0 })
                    .map(move |i| ffi::PyTuple_GetItem(closure, i))
                    .filter(|cell| header::refcnt(*cell) == 1)
                    .map(|cell| (*cell.cast::<ffi::PyCellObject>()).ob_ref)
                    .filter(|content| !content.is_null())
            }
        })
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
                    self.classes.try_reserve(1)?;
                    self.classes.push(op);
                    interpreter::current().ok_or(Stop::Raised)?.subclasses.reserve(self.classes.len())?;
                    self.put_annotations_aside(op.cast())
                }
                Preparation::List if (*op.cast::<ffi::PyListObject>()).allocated < 0 => Err(refused(SORTING)),
                Preparation::List => Ok(()),
                Preparation::Dict if self.vital.contains(&op) => Err(refused(VITAL)),
                Preparation::Dict if self.is_dry_run => Ok(()),
                Preparation::Dict if ffi::imm_own_table(op.cast()) < 0 => Err(Stop::Raised),
                Preparation::Dict => Ok(()),
                Preparation::Bytearray => {
                    if (*op.cast::<ffi::PyByteArrayObject>()).ob_exports > 0 {
                        self.exporting.try_reserve(1)?;
                        self.exporting.push(op);
                    }
                    Ok(())
                }
                Preparation::MemoryView if (*op.cast::<ffi::PyMemoryViewObject>()).exports > 0 => {
                    Err(refused(EXPORTED))
                }
                Preparation::MemoryView => {
                    self.views.try_reserve(1)?;
                    self.views.push(op);
                    Ok(())
                }
                Preparation::Code => {
                    if self.is_dry_run {
                        self.note_code_parts(op)?;
                    }
                    Ok(make_code_parts(op.cast())?)
                }
                Preparation::WeakReference => self.weak.enter_reference(op),
            }
        }
    }

    /// Notes which of its parts a code object has, for [`Prepared::give_up`].
    unsafe fn note_code_parts(&mut self, code: Object) -> Result<(), Stop> {
        self.codes.try_reserve(1)?;
        // SAFETY: a code object.
        unsafe {
            let had = (*code.cast::<ffi::PyCodeObject>())._co_cached.as_ref().map_or(0, |cached| {
                [cached._co_code, cached._co_varnames, cached._co_cellvars, cached._co_freevars]
                    .iter()
                    .enumerate()
                    .fold(0, |had, (bit, part)| had | i32::from(!part.is_null()) << bit)
            });
            let had_cache = !(*code.cast::<ffi::PyCodeObject>())._co_cached.is_null();
            ffi::Py_IncRef(code);
            self.codes.push((code, had_cache, had));
        }
        Ok(())
    }

    /// Annotations that can be evaluated again do not extend the reach of a class.
    unsafe fn put_annotations_aside(&mut self, class: Type) -> Result<(), Stop> {
        // SAFETY: a heap type's dict is an exact dict, its keys here exact
        // strings. A value that takes the place of another needs no memory.
        unsafe {
            let dict = (*class).tp_dict;
            let none = &raw mut ffi::_Py_NoneStruct;
            let annotate = ffi::PyDict_GetItemWithError(dict, ffi::imm_name_annotate_func);
            let cached = ffi::PyDict_GetItemWithError(dict, ffi::imm_name_annotations_cache);
            let again = !annotate.is_null() && annotate != none;
            if again && !cached.is_null() && header::flags(dict) & FROZEN == 0 {
                self.annotations.try_reserve(1)?;
                ffi::Py_IncRef(cached);
                self.annotations.push((dict, cached));
                raise::unless_negative(ffi::PyDict_SetItem(dict, ffi::imm_name_annotations_cache, none))?;
            }
            Ok(())
        }
    }

    /// Notes an object that will be a proxy.
    ///
    /// # Errors
    /// There is no memory.
    ///
    /// # Safety
    /// `op` is live.
    pub unsafe fn prepare_proxy(&mut self, op: Object) -> Result<(), Stop> {
        // SAFETY: a GIL is held.
        unsafe {
            if ffi::PyInterpreterState_Get() != ffi::PyInterpreterState_Main() {
                self.proxies.try_reserve(1)?;
                self.proxies.push(op);
                interpreter::current().ok_or(Stop::Raised)?.proxies.reserve(self.proxies.len())?;
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
        // An earlier search of the same freeze may have left its parts.
        if !self.detached.contains_key(&op) {
            self.detached.try_reserve(1)?;
            // SAFETY: op is a function; functions are compared by identity.
            let parts = unsafe {
                let named =
                    if self.named.is_null() { self.named } else { ffi::PyDict_GetItemWithError(self.named, op) };
                Detached::prepare(&*op.cast(), named)?
            };
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
            parts.code,
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
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn exported_outside(&self) -> Result<Option<Object>, OutOfMemory> {
        // SAFETY: these are memory views, which keep their buffers.
        let buffer_of = |view: Object| unsafe { (*view.cast::<ffi::PyMemoryViewObject>()).mbuf };
        let mut views_of: HashMap<*mut ffi::_PyManagedBufferObject, isize> = HashMap::new();
        views_of.try_reserve(self.views.len())?;
        for &view in &self.views {
            *views_of.entry(buffer_of(view)).or_default() += 1;
        }
        views_of.remove(&std::ptr::null_mut()); // views that were released
        let mut buffers_of: HashMap<Object, isize> = HashMap::new();
        buffers_of.try_reserve(views_of.len())?;
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
        Ok(view.or_else(|| self.exporting.iter().copied().find(exported_outside)))
    }

    /// What must follow a commit before any Python code runs again. Allocates nothing and cannot fail.
    pub fn finish(&mut self) {
        for (&function, parts) in &mut self.detached {
            // SAFETY: the function is frozen and not yet seen by anybody else;
            // the plan counted the parts as its edges.
            unsafe {
                let fields = &mut *function.cast::<ffi::PyFunctionObject>();
                let flags = header::flags(function);
                header::set_flags(function, flags & !FROZEN);
                ffi::PyFunction_SetVectorcall(fields, Some(crate::share::view::call));
                header::set_flags(function, flags);
                parts.exchange(fields);
            }
        }
        // SAFETY: nobody has seen these frozen; room was made for the proxies.
        unsafe {
            self.weak.finish();
            if !self.proxies.is_empty()
                && let Some(state) = interpreter::existing()
            {
                self.proxies.drain(..).for_each(|op| state.proxies.insert(op));
            }
        }
        for &(dict, _) in &self.annotations {
            // SAFETY: as above. The dict has this key, so nothing can fail.
            unsafe {
                let flags = header::flags(dict);
                header::set_flags(dict, flags & !FROZEN);
                ffi::PyDict_DelItem(dict, ffi::imm_name_annotations_cache);
                header::set_flags(dict, flags);
            }
        }
        for class in self.classes.drain(..) {
            // SAFETY: class is a heap type, and room was made.
            unsafe { class::settle(class.cast()) };
        }
    }

    /// Gives up every reference that is left: after a rollback what was detached,
    /// after [`Prepared::finish`] what the detached parts have replaced.
    ///
    /// # Safety
    /// The caller holds the GIL. Python code may run: no search is under way.
    pub unsafe fn give_up(self) {
        // SAFETY: these references are owned.
        unsafe {
            for parts in self.detached.into_values() {
                parts.discard();
            }
            self.weak.give_up();
            for (dict, cached) in self.annotations {
                if header::flags(dict) & FROZEN == 0 {
                    // As in `put_annotations_aside`: it cannot fail.
                    ffi::PyDict_SetItem(dict, ffi::imm_name_annotations_cache, cached);
                }
                ffi::Py_DecRef(cached);
            }
            for (code, had_cache, had) in self.codes {
                let fields = code.cast::<ffi::PyCodeObject>();
                // Something else may have frozen it meanwhile.
                if header::flags(code) & FROZEN == 0 && !(*fields)._co_cached.is_null() {
                    ffi::imm_forget_code_parts(fields, had_cache.into(), had);
                }
                ffi::Py_DecRef(code);
            }
        }
    }
}

fn refused(advice: &'static str) -> Stop {
    Stop::Refused(Refusal::Stateful(advice))
}

/// Makes the parts that a code object otherwise makes, and stores, on demand.
unsafe fn make_code_parts(code: *mut ffi::PyCodeObject) -> Result<(), Raised> {
    // SAFETY: a code object; the references are given back.
    unsafe {
        type Make = unsafe extern "C" fn(*mut ffi::PyCodeObject) -> Object;
        let parts: [Make; 4] =
            [ffi::PyCode_GetCode, ffi::PyCode_GetVarnames, ffi::PyCode_GetCellvars, ffi::PyCode_GetFreevars];
        for make in parts {
            ffi::Py_DecRef(raise::unless_null(make(code))?);
        }
        Ok(())
    }
}
