//! What an object needs when the search enters it, and after the commit.
//!
//! Some objects refuse for what they are doing just then; some make parts on
//! demand that must be there before; functions are detached. All of it is kept
//! aside here until the commit, and given up after a rollback.

use std::collections::HashMap;

use super::detach::Detached;
use super::graph::Stop;
use super::parts::PreparedParts;
use super::weak::WeakReferences;
use crate::lifetime::{count, release};
use crate::object::address::AddressSet;
use crate::object::edges;
use crate::object::ffi;
use crate::object::header::{self, FROZEN, Object, Type};
use crate::object::memory::OutOfMemory;
use crate::object::raise::{self, Raised};
use crate::policy::examine::{self, Examined};
use crate::policy::{self, Refusal, declared};
use crate::share::part::{self, Kind};
use crate::share::{cfunction, class, idle, interpreter, module, module_type, monitor, string};

/// list.sort() empties the list, and marks it, while it runs.
const SORTING: &str = "it is being sorted: freeze it when that is done";
/// Why a bytearray, array or memory view refuses.
pub const EXPORTED: &str = "something that is not frozen with it could write through a buffer of it: \
    release its memory views first";

const ENTERED: &str = "code is running in it, and sets its variables: freeze context.copy()";

const RAISED: &str = "it has a traceback, which holds running code: freeze error.with_traceback(None)";

/// Why an object refuses whose type is not the one that all interpreters share.
pub const TWIN: &str = "its C module was imported twice, and the first import made the type that all interpreters share: \
    freeze objects of that one";

const CROWDED_MODULE: &str = "its class adds slots to a module, which a proxy of it has no room for: \
    import the module where it is used";

const SPECIAL_MODULE: &str = "it is a module whose class defines operators, or is called, compared or iterated over, which a proxy \
    of it could not be: import the module where it is used";

const MODULE_CLASS: &str = "it is a module whose class is written in Python, and cannot be frozen as a whole";
/// Why a module made in C is not frozen as a whole.
pub const MODULE_STATE: &str =
    "it is a module made in C, which keeps state for its interpreter, and cannot be frozen as a whole";

const VITAL: &str = "it is a dict that the interpreter itself writes (sys.modules, sys.mut_modules, the namespace of sys or builtins): \
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
    Array,
    /// As a bytearray.
    MemoryView,
    /// Its parts that are made on demand are made.
    Code,
    /// It will own its referent.
    WeakReference,
    /// It may hold what cannot be frozen.
    Examined(&'static Examined),
    /// Some of its state moves to the interpreter's part of it.
    Parted(&'static Kind),
    /// It refuses while code runs in it.
    Context,
    /// It refuses while it has a traceback.
    Exception,
    /// It will call with the module of whoever calls it.
    CFunction,
    /// What its namespace holds for its interpreter is put aside.
    Module,
    /// It keeps what to import, and not on whose behalf.
    LazyImport,
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
            } else if header::is_named(header::solid_c_base(ty), c"array.array") {
                Self::Array
            } else if header::has_feature(ty, ffi::Py_TPFLAGS_BASE_EXC_SUBCLASS) {
                Self::Exception
            } else if let Some(kind) = part::kind_of(ty) {
                Self::Parted(kind)
            } else if let Some(examined) = examine::of(ty) {
                Self::Examined(examined)
            } else if ty == &raw mut ffi::PyContext_Type {
                Self::Context
            } else if ty == &raw mut ffi::PyCode_Type {
                Self::Code
            } else if ty == &raw mut ffi::PyCFunction_Type {
                Self::CFunction
            } else if ty == &raw mut ffi::PyLazyImport_Type {
                Self::LazyImport
            } else if ffi::PyType_IsSubtype(ty, &raw mut ffi::PyModule_Type) != 0 {
                Self::Module
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
    /// What is no part of the graph: None stands for it meanwhile.
    aside: Vec<Aside>,
    /// What the lazy imports that were entered had of their interpreter.
    lazy_imports: Vec<LazyImport>,
    /// `sys.modules`, `sys.mut_modules`, and the dicts of `builtins` and `sys`, without which nothing runs.
    vital: [Object; 4],
    /// The bytearrays and arrays that were entered while buffers of them were in use, with the number of those.
    exporting: Vec<(Object, isize)>,
    /// The memory views that were entered.
    views: Vec<Object>,
    /// The objects that were entered, and keep some state in parts.
    parts: PreparedParts,
    /// The objects of a subinterpreter that become proxies.
    proxies: Vec<Object>,
    /// The modules that become proxies.
    modules: Vec<ModuleProxy>,
    /// Their addresses.
    known_modules: AddressSet<Object>,
    /// The modules that are frozen as a whole.
    whole_modules: Vec<Object>,
    /// The functions of C that were entered.
    cfunctions: Vec<Object>,
    /// The weak references in the graph, and to its objects.
    pub weak: WeakReferences,
    /// For some functions, a tuple of names to capture beside those in their code: a dict, borrowed, or null.
    named: Object,
    /// What will be frozen whatever the cells of annotations hold.
    inside: AddressSet<Object>,
    /// How many functions leave something at home.
    partial: usize,
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
            aside: Vec::new(),
            lazy_imports: Vec::new(),
            // SAFETY: the caller's; borrowed, and as long-lived as the interpreter.
            vital: unsafe {
                let own_modules =
                    interpreter::existing().map_or(std::ptr::null_mut(), |state| state.modules.existing_table());
                [ffi::imm_builtins_dict(), ffi::imm_sys_dict(), ffi::imm_modules(), own_modules]
            },
            exporting: Vec::new(),
            views: Vec::new(),
            parts: PreparedParts::default(),
            proxies: Vec::new(),
            modules: Vec::new(),
            known_modules: AddressSet::default(),
            whole_modules: Vec::new(),
            cfunctions: Vec::new(),
            weak: WeakReferences::default(),
            named,
            inside: AddressSet::default(),
            partial: 0,
            is_dry_run,
            codes: Vec::new(),
        }
    }

    /// Says what an earlier search has found, so that annotations may refer to it.
    pub fn expect(&mut self, inside: AddressSet<Object>) {
        self.inside = inside;
    }

    /// What the search has found and cells of annotations would refer to, had that been known when those were copied.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    ///
    /// # Safety
    /// A search has found everything, and its marks are still there.
    pub unsafe fn missed(&self) -> Result<Vec<Object>, OutOfMemory> {
        let mut missed = Vec::new();
        if self.partial > 0 {
            for (&function, parts) in self.detached.iter().filter(|(_, parts)| !parts.at_home.is_null()) {
                // SAFETY: a function that was entered; contents of its cells are alive.
                unsafe {
                    missed.try_reserve(ffi::PyTuple_Size(parts.closure).max(0).unsigned_abs())?;
                    parts.for_each_missed(&*function.cast(), |content| missed.push(content));
                }
            }
        }
        Ok(missed)
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
                    let state = interpreter::current().ok_or(Stop::Raised)?;
                    if let Some(advice) = policy::class_advice(op.cast())
                        && declared::word_for_class(&state.registry, op.cast(), &state.names).is_none()
                    {
                        return Err(refused(advice));
                    }
                    self.classes.try_reserve(1)?;
                    self.classes.push(op);
                    interpreter::current().ok_or(Stop::Raised)?.subclasses.reserve(self.classes.len())?;
                    self.parts.prepare_class(op.cast())?;
                    self.put_annotations_aside(op.cast())
                }
                Preparation::List if (*op.cast::<ffi::PyListObject>()).allocated < 0 => Err(refused(SORTING)),
                Preparation::List => Ok(()),
                Preparation::Dict if self.vital.contains(&op) => Err(refused(VITAL)),
                Preparation::Dict if self.is_dry_run => Ok(()),
                Preparation::Dict if ffi::imm_own_table(op.cast()) < 0 => Err(Stop::Raised),
                Preparation::Dict => Ok(()),
                Preparation::Bytearray => self.note_exports(op, (*op.cast::<ffi::PyByteArrayObject>()).ob_exports),
                Preparation::Array => {
                    self.note_exports(op, *op.byte_offset(ffi::imm_array_exports_offset).cast::<isize>())
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
                    } else {
                        monitor::adopt_events(op)?;
                    }
                    Ok(make_code_parts(op.cast())?)
                }
                Preparation::WeakReference => self.weak.enter_reference(op),
                Preparation::Parted(kind) => self.parts.prepare(op, kind),
                Preparation::Examined(examined) => {
                    examine::refusal(op, examined).map_or(Ok(()), |reason| Err(refused(reason)))
                }
                Preparation::Context if ffi::imm_is_entered(op) != 0 => Err(refused(ENTERED)),
                Preparation::Context => Ok(()),
                Preparation::Exception if (*op.cast::<ffi::PyBaseExceptionObject>()).traceback.is_null() => Ok(()),
                Preparation::Exception => Err(refused(RAISED)),
                Preparation::CFunction => {
                    self.cfunctions.try_reserve(1)?;
                    self.cfunctions.push(op);
                    Ok(())
                }
                Preparation::Module => self.prepare_whole_module(op),
                Preparation::LazyImport => {
                    self.lazy_imports.try_reserve(1)?;
                    self.lazy_imports.push(LazyImport::take(op));
                    Ok(())
                }
            }
        }
    }

    fn note_exports(&mut self, op: Object, buffers: isize) -> Result<(), Stop> {
        if buffers > 0 {
            self.exporting.try_reserve(1)?;
            self.exporting.push((op, buffers));
        }
        Ok(())
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
            if !annotate.is_null() && annotate != none && !cached.is_null() && header::flags(dict) & FROZEN == 0 {
                self.put_aside(dict, ffi::imm_name_annotations_cache, cached, true)?;
            }
            Ok(())
        }
    }

    /// Puts `value`, which `dict` holds under `name`, aside.
    unsafe fn put_aside(&mut self, dict: Object, name: Object, value: Object, goes: bool) -> Result<(), Stop> {
        // SAFETY: an exact dict, and an exact string. A value that takes the place of another needs no memory.
        unsafe {
            self.aside.try_reserve(1)?;
            ffi::Py_IncRef(value);
            self.aside.push(Aside { dict, name, value, goes });
            Ok(raise::unless_negative(ffi::PyDict_SetItem(dict, name, &raw mut ffi::_Py_NoneStruct))?)
        }
    }

    /// Prepares a module that is frozen as a whole: its builtins, loader and specification are its interpreter's.
    unsafe fn prepare_whole_module(&mut self, op: Object) -> Result<(), Stop> {
        // SAFETY: a live module.
        unsafe {
            let fields = &*op.cast::<ffi::PyModuleObject>();
            if header::type_of(op) != &raw mut ffi::PyModule_Type {
                return Err(refused(MODULE_CLASS));
            }
            if module::has_state(op) || fields.md_dict.is_null() {
                return Err(refused(MODULE_STATE));
            }
            if self.vital.contains(&fields.md_dict) {
                return Err(refused(VITAL));
            }
            self.whole_modules.try_reserve(1)?;
            self.whole_modules.push(op);
            for (name, goes) in
                [(ffi::imm_name_builtins, true), (ffi::imm_name_loader, false), (ffi::imm_name_spec, false)]
            {
                let value = ffi::PyDict_GetItemWithError(fields.md_dict, name);
                if !value.is_null()
                    && value != &raw mut ffi::_Py_NoneStruct
                    && header::flags(value) & FROZEN == 0
                    && header::flags(fields.md_dict) & FROZEN == 0
                {
                    self.put_aside(fields.md_dict, name, value, goes)?;
                }
            }
            Ok(())
        }
    }

    /// Gives a lazy import that is not frozen after all what [`Prepared::prepare`] took from it.
    ///
    /// # Safety
    /// `op` was entered as a lazy import.
    pub unsafe fn put_back_lazy_import(&mut self, op: Object) {
        if let Some(place) = self.lazy_imports.iter().position(|parts| parts.op == op) {
            let LazyImport { builtins, code, .. } = self.lazy_imports.swap_remove(place);
            // SAFETY: the caller's: its fields are null since, and these references owned.
            unsafe {
                let fields = &mut *op.cast::<ffi::PyLazyImportObject>();
                (fields.lz_builtins, fields.lz_code) = (builtins, code.cast());
            }
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

    /// Prepares a module that will be a proxy.
    ///
    /// # Errors
    /// It refuses, or there is no memory.
    ///
    /// # Safety
    /// `op` is a live module of the running interpreter.
    pub unsafe fn prepare_module(&mut self, op: Object) -> Result<(), Stop> {
        // An earlier search of the same freeze may have prepared it.
        if self.known_modules.contains(&op) {
            return Ok(());
        }
        // SAFETY: the caller's. No Python code runs: names are exact strings, tables exact dicts.
        unsafe {
            let fields = &*op.cast::<ffi::PyModuleObject>();
            let ty = header::type_of(op);
            let is_plain = ty == &raw mut ffi::PyModule_Type || ty == module_type::module_type();
            if !is_plain && (*ty).tp_basicsize != size_of::<ffi::PyModuleObject>() as isize || fields.md_dict.is_null()
            {
                return Err(refused(CROWDED_MODULE));
            }
            if !is_plain && module::has_operators(ty) {
                return Err(refused(SPECIAL_MODULE));
            }
            let state = interpreter::current().ok_or(Stop::Raised)?;
            self.modules.try_reserve(1)?;
            self.known_modules.try_reserve(1)?;
            state.modules.reserve_twins(self.modules.len() + 1)?;
            let table = state.modules.table()?;
            let null = std::ptr::null_mut();
            let mut proxy = ModuleProxy { module: op, twin: null, class: null, table, name: null, before: null };
            if !is_plain {
                proxy.twin = raise::unless_null(module::new_twin(op))?;
            }
            let entry = if proxy.twin.is_null() { op } else { proxy.twin };
            let (name, modules) = (fields.md_name, ffi::imm_modules());
            if !name.is_null()
                && !modules.is_null()
                && ffi::PyDict_GetItemWithError(modules, name) == op
                && ffi::PyDict_GetItemRef(table, name, &raw mut proxy.before) >= 0
                && ffi::PyDict_SetItem(table, name, entry) == 0
            {
                ffi::Py_IncRef(name);
                proxy.name = name;
            }
            self.modules.push(proxy);
            self.known_modules.insert(op);
            if ffi::PyErr_Occurred().is_null() { Ok(()) } else { Err(Stop::Raised) }
        }
    }

    /// Detaches a function that is being entered.
    ///
    /// # Errors
    /// It belongs to a stateful module of the standard library, or there is no memory.
    ///
    /// # Safety
    /// `op` is a live function.
    pub unsafe fn prepare_function(&mut self, op: Object) -> Result<(), Stop> {
        // SAFETY: op is a function.
        if let Some(advice) = unsafe { policy::function_advice(&*op.cast()) } {
            return Err(refused(advice));
        }
        // An earlier search of the same freeze may have left its parts.
        if !self.detached.contains_key(&op) {
            self.detached.try_reserve(1)?;
            // SAFETY: op is a function; functions are compared by identity.
            let parts = unsafe {
                let named =
                    if self.named.is_null() { self.named } else { ffi::PyDict_GetItemWithError(self.named, op) };
                Detached::prepare(&*op.cast(), named, &self.inside)?
            };
            self.partial += usize::from(!parts.at_home.is_null());
            self.detached.insert(op, parts);
            if self.partial > 0 {
                // SAFETY: a GIL is held.
                unsafe { interpreter::current().ok_or(Stop::Raised)?.views.reserve_at_home(self.partial)? };
            }
        }
        Ok(())
    }

    /// The references that a function will own once it is frozen, null ones
    /// among them; `None` for a function that was not entered.
    ///
    /// # Safety
    /// `function` is a live function.
    pub unsafe fn detached_edges(&self, function: Object) -> Option<[Object; 14]> {
        let parts = self.detached.get(&function)?;
        // SAFETY: a function.
        let fields = unsafe { &*function.cast::<ffi::PyFunctionObject>() };
        let annotations = if fields.func_annotate.is_null() { fields.func_annotations } else { std::ptr::null_mut() };
        Some([
            parts.code,
            parts.namespace,
            parts.closure,
            parts.builtins,
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

    /// A bytearray, array or memory view that was entered although something outside
    /// the graph holds a buffer of it, and so could go on writing. Views of a buffer
    /// that its owner gave out for reading only may stay outside.
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
            views_of
                .get(&buffer)
                .is_some_and(|&inside| unsafe { (*buffer).master.readonly == 0 && (*buffer).exports > inside })
        };
        let exported_outside = |&&(op, buffers): &&(Object, isize)| buffers > buffers_of.get(&op).copied().unwrap_or(0);
        let view = self.views.iter().copied().find(held_outside);
        Ok(view.or_else(|| self.exporting.iter().find(exported_outside).map(|&(op, _)| op)))
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
                fields.func_version = class::new_version();
                header::set_flags(function, flags);
                parts.exchange(fields);
                if !parts.at_home.is_null()
                    && let Some(state) = interpreter::existing()
                {
                    parts.at_home = state.views.keep_at_home(fields, parts.at_home);
                }
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
        for proxy in &mut self.modules {
            // SAFETY: nobody has seen it as a proxy.
            unsafe { proxy.finish() };
        }
        // SAFETY: a GIL is held.
        let owner_mark = unsafe { module::owner_mark() };
        for op in self.cfunctions.drain(..) {
            // SAFETY: frozen, and seen by nobody else yet.
            unsafe {
                if cfunction::needs_own_module(op) {
                    cfunction::settle(op, owner_mark);
                }
            }
        }
        for &Aside { dict, name, .. } in self.aside.iter().filter(|aside| aside.goes) {
            // SAFETY: as above. The dict has this key, so nothing can fail.
            unsafe {
                let flags = header::flags(dict);
                header::set_flags(dict, flags & !FROZEN);
                ffi::PyDict_DelItem(dict, name);
                header::set_flags(dict, flags);
            }
        }
        for op in self.whole_modules.drain(..) {
            // SAFETY: frozen, and seen by nobody else yet.
            unsafe { module::settle_whole(op) };
        }
        // SAFETY: what was entered is frozen, and was seen by nobody else; room was made.
        unsafe {
            self.parts.settle();
            for &class in &self.classes {
                class::settle(class.cast());
            }
            self.parts.settle_classes(&self.classes);
            self.weak.finish_classes();
        }
        self.classes.clear();
    }

    /// Gives up every reference that is left: after a rollback what was detached,
    /// after [`Prepared::finish`] what the detached parts have replaced.
    ///
    /// # Safety
    /// The caller holds the GIL. Python code may run: no search is under way.
    pub unsafe fn give_up(self) {
        // SAFETY: these references are owned.
        unsafe {
            if self.partial > 0 && idle::watch_collector().is_err() {
                ffi::PyErr_Clear(); // what is left at home stays there longer
            }
            for parts in self.detached.into_values() {
                parts.discard();
            }
            self.parts.give_up();
            self.weak.give_up();
            for proxy in self.modules {
                proxy.give_up();
            }
            // The first of two for the same name has what was there.
            for Aside { dict, name, value, .. } in self.aside.into_iter().rev() {
                if header::flags(dict) & FROZEN == 0 {
                    // As in `put_aside`: it cannot fail.
                    ffi::PyDict_SetItem(dict, name, value);
                }
                ffi::Py_DecRef(value);
            }
            for LazyImport { builtins, code, .. } in self.lazy_imports {
                ffi::Py_DecRef(builtins);
                ffi::Py_DecRef(code);
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

/// A value that is taken out of a dict, by `goes` for good, or put back after a rollback.
struct Aside {
    dict: Object,
    /// Immortal.
    name: Object,
    /// Owned.
    value: Object,
    /// The key goes with it at commit; otherwise None stays.
    goes: bool,
}

/// The builtins that a lazy import (PEP 810) would be resolved with, and the code that asked for it: mutable, and of one
/// interpreter. Without them it is resolved with the builtins of whoever uses it. Owned, or null.
struct LazyImport {
    op: Object,
    builtins: Object,
    code: Object,
}

impl LazyImport {
    unsafe fn take(op: Object) -> Self {
        let null = std::ptr::null_mut;
        // SAFETY: the caller's: a lazy import that is not frozen.
        unsafe {
            let fields = &mut *op.cast::<ffi::PyLazyImportObject>();
            let builtins = std::mem::replace(&mut fields.lz_builtins, null());
            LazyImport { op, builtins, code: std::mem::replace(&mut fields.lz_code, std::ptr::null_mut()).cast() }
        }
    }
}

/// A module that becomes a proxy at commit.
struct ModuleProxy {
    module: Object,
    /// For a module whose class is written in Python: what will have that class, owned. Else null.
    twin: Object,
    /// After the commit, the class that the module had, owned. Else null.
    class: Object,
    /// `sys.mut_modules`, borrowed.
    table: Object,
    /// The name under which the module was put there, owned; null if it was not.
    name: Object,
    /// What was there before, owned, or null.
    before: Object,
}

/// The name of a module, borrowed, that is not frozen yet, and would be if the module became a proxy.
///
/// # Safety
/// `op` is alive.
pub unsafe fn name_to_freeze(op: Object) -> Option<Object> {
    // SAFETY: a module's name is null, or a live string.
    unsafe {
        if !module::is_module(op) {
            return None;
        }
        let name = (*op.cast::<ffi::PyModuleObject>()).md_name;
        let is_exact = !name.is_null() && header::type_of(name) == &raw mut ffi::PyUnicode_Type;
        (is_exact && !header::is_immortal_or_shared(name)).then_some(name)
    }
}

/// Freezes the name of a module that becomes a proxy: other interpreters read it, also after the end of the one that made
/// it.
unsafe fn freeze_name(name: Object) {
    // SAFETY: null, or alive; a mutable string belongs to the running interpreter.
    unsafe {
        if name.is_null() || header::type_of(name) != &raw mut ffi::PyUnicode_Type {
            return;
        }
        if header::is_immortal_or_shared(name) {
            string::keep_immortal(name);
        } else {
            string::settle(name);
            header::set_refcnt(name, count::encode(header::refcnt(name) as usize));
            header::set_flags(name, header::flags(name) | FROZEN);
            release::note_frozen(1);
        }
    }
}

impl ModuleProxy {
    /// Cannot fail: there is room.
    unsafe fn finish(&mut self) {
        // SAFETY: the caller's: the module was just committed.
        unsafe {
            if !self.twin.is_null()
                && let Some(state) = interpreter::existing()
            {
                self.class = header::type_of(self.module).cast();
                let twin = std::mem::replace(&mut self.twin, std::ptr::null_mut());
                state.modules.insert_twin(self.module, twin);
                // Only the twin shows the namespace, by the rules of its class.
                let fields = &mut *self.module.cast::<ffi::PyModuleObject>();
                ffi::Py_DecRef(std::mem::replace(&mut fields.md_dict, std::ptr::null_mut()));
            }
            (*self.module).ob_type = module_type::module_type();
            freeze_name((*self.module.cast::<ffi::PyModuleObject>()).md_name);
        }
    }

    unsafe fn is_committed(&self) -> bool {
        // SAFETY: alive: somebody else holds it, or the table.
        unsafe { header::flags(self.module) & header::PROXY != 0 }
    }

    unsafe fn give_up(self) {
        // SAFETY: owned references; the caller holds the GIL. The table has the name, so changing what is there needs
        // no memory.
        unsafe {
            if !self.name.is_null() && !self.is_committed() {
                if self.before.is_null() {
                    ffi::PyDict_DelItem(self.table, self.name);
                } else {
                    ffi::PyDict_SetItem(self.table, self.name, self.before);
                }
            }
            for op in [self.twin, self.class, self.name, self.before] {
                ffi::Py_DecRef(op);
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
