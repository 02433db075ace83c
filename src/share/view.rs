//! Local views: how an interpreter runs a frozen function.
//!
//! Bytecode specialises itself in place, so the code object of a frozen
//! function is never run. On the first call in an interpreter the function is
//! *linked* there, as a dynamic linker fills its table: an ordinary function is
//! made from a private copy of the code, a private copy of the captured names,
//! and this interpreter's builtins. A frozen function's `vectorcall` is
//! [`call`], which finds that view and calls it. Specialised bytecode finds the
//! views of the latest calls in a table of the interpreter (`frozen_calls`), by
//! the function's version, which no other function has.
//!
//! A view holds what its function captured, so a function that captured itself
//! (recursion) is kept by its own view. Views are therefore only a cache: one
//! that was not called between two full collections is dropped, and made again
//! should it be called after all.

use std::ffi::CStr;
use std::ptr;

use super::library::{self, Own};
use super::{cfunction, code, idle, interpreter, logger, module, namesake};
use crate::freeze::detach::{self, Load};
use crate::lifetime::count;
use crate::object::address::AddressMap;
use crate::object::answer::or_null;
use crate::object::ffi;
use crate::object::header::{self, Object};
use crate::object::memory::OutOfMemory;
use crate::object::raise::{self, Raised};
use crate::policy;

struct View {
    /// The frozen namespace, owned. It belongs to one function only, so it
    /// tells whether the function at that address is still the same.
    namespace: Object,
    /// The ordinary function, owned.
    function: Object,
    /// Of the frozen function.
    version: u32,
    /// Called since the last full collection.
    recent: bool,
}

impl View {
    /// Where bytecode looks for the view of this function: there may be another one.
    unsafe fn latest(&self) -> *mut ffi::_PyImmutable_Call {
        // SAFETY: a GIL is held; the index is below the table's length.
        unsafe { ffi::imm_frozen_calls().add((self.version % ffi::_Py_FROZEN_CALLS) as usize) }
    }

    /// Notes a call.
    unsafe fn note(&mut self) {
        self.recent = true;
        if self.version >= ffi::_Py_FROZEN_VERSION {
            // SAFETY: a GIL is held. The entry goes before this view does: see `release`.
            unsafe { *self.latest() = ffi::_PyImmutable_Call { version: self.version, used: 0, view: self.function } };
        }
    }

    /// Whether there was a call since the last time.
    unsafe fn take_recent(&mut self) -> bool {
        // SAFETY: a GIL is held.
        unsafe {
            let latest = &mut *self.latest();
            let used = latest.view == self.function && std::mem::take(&mut latest.used) != 0;
            std::mem::take(&mut self.recent) || used
        }
    }
}

/// What a function that evaluates annotations has left in the interpreter that froze it.
struct AtHome {
    /// As of a [`View`].
    namespace: Object,
    /// A tuple, owned: null for a cell that was frozen with the function, else a weak reference to what it held, or a
    /// tuple of that.
    contents: Object,
}

/// The views of one interpreter, by address of the frozen function.
#[derive(Default)]
pub struct Views {
    views: AddressMap<Object, View>,
    /// By the version of the function, which no other has.
    at_home: AddressMap<usize, AtHome>,
}

impl Views {
    /// Makes room for `n` more calls of [`Views::keep_at_home`].
    ///
    /// # Errors
    /// There is no memory.
    pub fn reserve_at_home(&mut self, n: usize) -> Result<(), OutOfMemory> {
        Ok(self.at_home.try_reserve(n)?)
    }

    /// Keeps what cells of `function`, which was just frozen, have held, for its views here. There is room. Returns what of
    /// the reference that is taken over is not kept.
    ///
    /// # Safety
    /// The caller holds the interpreter's GIL; `contents` is a tuple as [`AtHome`] has it.
    pub unsafe fn keep_at_home(&mut self, function: &ffi::PyFunctionObject, contents: Object) -> Object {
        if function.func_version < ffi::_Py_FROZEN_VERSION {
            return contents; // there are no versions any more
        }
        // SAFETY: given up with the entry.
        unsafe { ffi::Py_IncRef(function.func_globals) };
        let entry = AtHome { namespace: function.func_globals, contents };
        self.at_home.insert(function.func_version as usize, entry);
        ptr::null_mut()
    }

    /// What was kept for `function`, borrowed, or null.
    fn contents_of(&self, function: &ffi::PyFunctionObject) -> Object {
        self.at_home.get(&(function.func_version as usize)).map_or(ptr::null_mut(), |kept| kept.contents)
    }

    unsafe fn find(&mut self, function: Object, namespace: Object) -> Option<Object> {
        let view = self.views.get_mut(&function)?;
        if view.namespace != namespace {
            return None;
        }
        // SAFETY: the caller holds the interpreter's GIL.
        unsafe { view.note() };
        Some(view.function)
    }

    /// Drops the view of a function that is being deallocated.
    ///
    /// # Safety
    /// The caller holds the interpreter's GIL; `self` may have changed on return.
    pub unsafe fn forget(&mut self, function: Object) {
        // SAFETY: a function that still has its fields.
        let version = unsafe { (*function.cast::<ffi::PyFunctionObject>()).func_version };
        let kept = self.at_home.remove(&(version as usize));
        if let Some(view) = self.views.remove(&function) {
            // SAFETY: the entry owned both, and is gone from the table.
            unsafe { release(view) };
        }
        // SAFETY: as above.
        kept.into_iter().for_each(|kept| unsafe { kept.give_up() });
    }

    /// Drops every view that was not called since the last time, and what is kept of functions that others have released.
    ///
    /// # Safety
    /// As [`Views::forget`].
    pub unsafe fn drop_idle(&mut self) {
        // SAFETY: the caller's; what was owned is released as in `forget`, when both tables are as they stay.
        unsafe {
            let idle = idle::take_idle(&mut self.views, |_, view| !view.take_recent());
            let orphans = idle::take_idle(&mut self.at_home, |_, kept| kept.is_orphan());
            idle.into_iter().for_each(|view| release(view));
            orphans.into_iter().for_each(|kept| kept.give_up());
        }
    }

    /// Drops every view. True if there was one.
    ///
    /// # Safety
    /// As [`Views::forget`].
    pub unsafe fn clear(&mut self) -> bool {
        let mut at_home = std::mem::take(&mut self.at_home);
        // SAFETY: as in `forget`.
        unsafe {
            let had_views = idle::release_all(&mut self.views, |_, view| release(view));
            idle::release_all(&mut at_home, |_, kept| kept.give_up()) || had_views
        }
    }

    /// The frozen namespace, borrowed, that `globals` stand for in the view that runs with them; or null.
    unsafe fn namespace_of(&self, globals: Object) -> Object {
        // SAFETY: the functions are the views' own.
        let of_view =
            |view: &&View| unsafe { (*view.function.cast::<ffi::PyFunctionObject>()).func_globals } == globals;
        self.views.values().find(of_view).map_or(ptr::null_mut(), |view| view.namespace)
    }

    /// The number of views.
    pub fn count(&self) -> usize {
        self.views.len()
    }
}

impl AtHome {
    /// Whether the function is gone, which alone had its namespace.
    unsafe fn is_orphan(&self) -> bool {
        // SAFETY: owned.
        count::count_of(unsafe { header::refcnt(self.namespace) }) == Some(1)
    }

    unsafe fn give_up(self) {
        // SAFETY: both are owned.
        unsafe {
            ffi::Py_DecRef(self.contents);
            ffi::Py_DecRef(self.namespace);
        }
    }
}

unsafe fn release(view: View) {
    // SAFETY: the caller's: both references were the view's own.
    unsafe {
        let latest = view.latest();
        if (*latest).view == view.function {
            *latest = ffi::_PyImmutable_Call { version: 0, used: 0, view: ptr::null_mut() };
        }
        ffi::Py_DecRef(view.function);
        ffi::Py_DecRef(view.namespace);
    }
}

/// The `vectorcall` of a frozen function.
///
/// # Safety
/// CPython's contract for `vectorcallfunc`; `function` is a frozen function.
pub unsafe extern "C" fn call(function: Object, args: *const Object, nargsf: usize, kwnames: Object) -> Object {
    // SAFETY: the view is kept alive across the call by our own reference,
    // since the table may drop it meanwhile.
    unsafe {
        let Some(view) = own(function) else {
            return ptr::null_mut();
        };
        let result = ffi::_PyFunction_Vectorcall(view, args, nargsf, kwnames);
        ffi::Py_DecRef(view);
        result
    }
}

/// The running interpreter's view of a frozen function: borrowed, or null if the function was not called here, or not by
/// this thread. Never an exception.
///
/// # Safety
/// The caller holds the GIL of the interpreter with this id. Whatever runs Python code may drop the view.
pub unsafe fn find(function: Object, interpreter: i64) -> Object {
    // SAFETY: the caller's.
    unsafe {
        let namespace = (*function.cast::<ffi::PyFunctionObject>()).func_globals;
        interpreter::found_of(interpreter)
            .and_then(|state| (*state).views.find(function, namespace))
            .unwrap_or(ptr::null_mut())
    }
}

/// What a write to something of a view of the running interpreter is shown to have written. For the globals that it runs with
/// that is the frozen namespace, `f.__globals__`; None if the view is gone, and only a frame of it still runs. A cell is
/// shown as it is. Borrowed.
///
/// # Safety
/// A GIL is held. Whatever runs Python code may drop the view.
pub unsafe fn shown(op: Object) -> Object {
    // SAFETY: the caller's.
    unsafe {
        if header::type_of(op) == &raw mut ffi::PyCell_Type {
            return op;
        }
        let namespace = interpreter::existing().map(|state| state.views.namespace_of(op));
        namespace.filter(|namespace| !namespace.is_null()).unwrap_or(&raw mut ffi::_Py_NoneStruct)
    }
}

/// A new reference to the running interpreter's view of a frozen function, or
/// `None` with a Python exception.
///
/// # Safety
/// The caller holds a GIL; `function` is a frozen function. Python code may run.
pub unsafe fn own(function: Object) -> Option<Object> {
    // SAFETY: a GIL is held.
    unsafe {
        let namespace = (*function.cast::<ffi::PyFunctionObject>()).func_globals;
        let found = interpreter::current()?.views.find(function, namespace);
        let view = match found {
            Some(view) => {
                ffi::Py_IncRef(view);
                view
            }
            None => link(function, namespace)?,
        };
        Some(view)
    }
}

/// Makes the view of `function` in the running interpreter. New reference.
#[cold]
unsafe fn link(function: Object, namespace: Object) -> Option<Object> {
    // SAFETY: a GIL is held; every new reference is given back or passed on.
    // The state is looked up again after each call that may run Python code.
    unsafe {
        idle::watch_collector().ok()?;
        let frozen = &*function.cast::<ffi::PyFunctionObject>();
        let globals = local_globals(frozen)?;
        // A copy for this view alone: another function may have the same code and other globals.
        let code = or_null(code::copy(frozen.func_code));
        let view = if code.is_null() {
            ptr::null_mut()
        } else {
            ffi::PyFunction_NewWithQualName(code, globals, frozen.func_qualname)
        };
        ffi::Py_DecRef(code);
        ffi::Py_DecRef(globals);
        if view.is_null() {
            return None;
        }
        let local = &mut *view.cast::<ffi::PyFunctionObject>();
        let Ok(closure) = local_closure(frozen) else {
            ffi::Py_DecRef(view);
            return None;
        };
        ffi::Py_DecRef(std::mem::replace(&mut local.func_closure, closure));
        for (slot, value) in [
            (&mut local.func_name, frozen.func_name),
            (&mut local.func_defaults, frozen.func_defaults),
            (&mut local.func_kwdefaults, frozen.func_kwdefaults),
            (&mut local.func_module, frozen.func_module),
            (&mut local.func_doc, frozen.func_doc),
        ] {
            ffi::Py_IncRef(value);
            ffi::Py_DecRef(std::mem::replace(slot, value));
        }
        let Some(state) = interpreter::current() else {
            ffi::Py_DecRef(view);
            return None;
        };
        if let Err(error) = state.views.views.try_reserve(1) {
            raise::no_memory(error.into());
            ffi::Py_DecRef(view);
            return None;
        }
        ffi::Py_IncRef(namespace);
        ffi::Py_IncRef(view);
        let mut entry = View { namespace, function: view, version: frozen.func_version, recent: true };
        entry.note();
        let previous = state.views.views.insert(function, entry);
        if let Some(previous) = previous {
            release(previous);
        }
        Some(view)
    }
}

/// A new reference to the namespace of the running interpreter's module that `captured`, the globals of a frozen function,
/// are of; `None` if there is no such module, nor can it be imported.
///
/// # Errors
/// A Python exception is set.
///
/// # Safety
/// A GIL is held; `captured` is a dict. Python code may run.
pub unsafe fn module_globals(captured: Object) -> Result<Option<Object>, Raised> {
    // SAFETY: the caller's; the name is borrowed from a dict that never changes.
    unsafe {
        let name = ffi::PyDict_GetItemWithError(captured, ffi::imm_name_name);
        if name.is_null() || !header::has_feature(header::type_of(name), ffi::Py_TPFLAGS_UNICODE_SUBCLASS) {
            return if ffi::PyErr_Occurred().is_null() { Ok(None) } else { Err(Raised) };
        }
        let module = module::named(name)?;
        if module.is_null() || !module::is_module(module) {
            ffi::Py_DecRef(module);
            return Ok(None);
        }
        let globals = ffi::PyModule_GetDict(module);
        if !globals.is_null() {
            ffi::Py_IncRef(globals);
        }
        ffi::Py_DecRef(module);
        raise::unless_null(globals).map(Some)
    }
}

/// The globals that the view runs with: new reference to a dict that refuses
/// writes. An annotation function runs in its module's own globals, and so do
/// some functions of the standard library.
unsafe fn local_globals(frozen: &ffi::PyFunctionObject) -> Option<Object> {
    // SAFETY: a GIL is held; borrowed references are used at once.
    unsafe {
        if detach::is_evaluator_code(frozen.func_code)
            && let Some(globals) = module_globals(frozen.func_globals).ok()?
        {
            return Some(globals);
        }
        let own = library::own(frozen.func_code, frozen.func_globals).ok()?;
        if let Own::Runs(globals) = own {
            return Some(globals);
        }
        let globals = ffi::PyDict_Copy(frozen.func_globals);
        let mut filled = !globals.is_null();
        if let Own::Finds(namespace) = own {
            filled = filled && library::add_found(frozen.func_code, globals, namespace).is_ok();
            ffi::Py_DecRef(namespace);
        }
        filled = filled && add_annotated(frozen, globals).is_ok();
        let builtins = local_builtins(frozen).unwrap_or(ptr::null_mut());
        // `warnings` notes in the caller's globals what it has shown.
        let shown = ffi::PyDict_New();
        filled = filled
            && !shown.is_null()
            && !builtins.is_null()
            && ffi::PyDict_SetItemString(globals, c"__builtins__".as_ptr(), builtins) == 0
            && ffi::PyDict_SetItemString(globals, c"__warningregistry__".as_ptr(), shown) == 0
            && set_file(frozen, globals).is_ok();
        ffi::Py_DecRef(shown);
        ffi::Py_DecRef(builtins);
        if !filled {
            ffi::Py_DecRef(globals);
            return None;
        }
        if resolve_values(globals).and_then(|()| import_submodules(frozen, globals)).is_err() {
            ffi::Py_DecRef(globals);
            return None;
        }
        header::set_flags(globals, header::flags(globals) | header::FROZEN);
        Some(globals)
    }
}

/// Adds to `globals` what the annotations of nested code name and nothing else does: found in the module of the running
/// interpreter, as other annotations are. If that module cannot be imported they find nothing.
unsafe fn add_annotated(frozen: &ffi::PyFunctionObject, globals: Object) -> Result<(), Raised> {
    // SAFETY: as `local_globals`: exact dicts, and exact strings for keys.
    unsafe {
        let mut missing = false;
        detach::for_each_annotated(frozen.func_code, |name| {
            missing |=
                ffi::PyDict_Contains(globals, name) == 0 && ffi::PyDict_Contains(ffi::imm_builtins_dict(), name) == 0;
            Ok(())
        })?;
        if !missing || ffi::imm_modules().is_null() {
            return Ok(());
        }
        let namespace = match module_globals(frozen.func_globals) {
            Ok(Some(namespace)) => namespace,
            Ok(None) => return Ok(()),
            Err(Raised) => return raise::suppress_failure(),
        };
        let added = detach::for_each_annotated(frozen.func_code, |name| library::add_missing(name, globals, namespace));
        ffi::Py_DecRef(namespace);
        added
    }
}

/// The closure that the view runs with, a new reference, or null: that of the frozen function, but for cells whose contents
/// were left in this interpreter, and are still there, and for those of loggers.
unsafe fn local_closure(frozen: &ffi::PyFunctionObject) -> Result<Object, Raised> {
    // SAFETY: a GIL is held; PyTuple_SetItem takes over the new reference.
    unsafe {
        let contents = interpreter::existing().map_or(ptr::null_mut(), |state| state.views.contents_of(frozen));
        let original = frozen.func_closure;
        let n = if original.is_null() { 0 } else { ffi::PyTuple_Size(original) };
        let is_own = |i| logger::is_captured(content_of(ffi::PyTuple_GetItem(original, i)));
        if contents.is_null() && !(0..n).any(is_own) {
            ffi::Py_IncRef(original);
            return Ok(original);
        }
        ffi::Py_IncRef(contents);
        let closure = ffi::PyTuple_New(n);
        let filled = raise::unless_null(closure).and_then(|closure| {
            (0..n).try_for_each(|i| {
                let held = if contents.is_null() { contents } else { ffi::PyTuple_GetItem(contents, i) };
                let cell = local_cell(ffi::PyTuple_GetItem(original, i), held)?;
                raise::unless_negative(ffi::PyTuple_SetItem(closure, i, cell))
            })
        });
        ffi::Py_DecRef(contents);
        if filled.is_err() {
            ffi::Py_DecRef(closure);
        }
        filled.map(|()| closure)
    }
}

/// What is in a cell, borrowed, or null.
unsafe fn content_of(cell: Object) -> Object {
    // SAFETY: a live cell.
    unsafe { (*cell.cast::<ffi::PyCellObject>()).ob_ref }
}

/// A new reference to a cell with what `held` leads to, or, if that is nothing, with what `cell` has here.
unsafe fn local_cell(cell: Object, held: Object) -> Result<Object, Raised> {
    // SAFETY: as `local_closure`.
    unsafe {
        if logger::is_captured(content_of(cell)) {
            let logger = logger::own(content_of(cell))?;
            let own = ffi::PyCell_New(logger);
            ffi::Py_DecRef(logger);
            // It refuses writes, as the frozen one does.
            header::set_flags(raise::unless_null(own)?, header::flags(own) | header::FROZEN);
            return Ok(own);
        }
        let mut content = ptr::null_mut();
        if held.is_null() {
        } else if header::type_of(held) == &raw mut ffi::PyTuple_Type {
            content = ffi::Py_NewRef(ffi::PyTuple_GetItem(held, 0));
        } else {
            raise::unless_negative(ffi::PyWeakref_GetRef(held, &raw mut content))?;
        }
        if content.is_null() {
            return Ok(ffi::Py_NewRef(cell));
        }
        let own = ffi::PyCell_New(content);
        ffi::Py_DecRef(content);
        raise::unless_null(own)
    }
}

/// The builtins that the view runs with: new reference to the interpreter's, or, for a function that was made with others,
/// to a dict that refuses writes.
unsafe fn local_builtins(frozen: &ffi::PyFunctionObject) -> Result<Object, Raised> {
    // SAFETY: as `local_globals`.
    unsafe {
        if frozen.func_builtins.is_null() {
            // Of the interpreter's state: the module is no longer found while the interpreter ends.
            return Ok(ffi::Py_NewRef(ffi::imm_builtins_dict()));
        }
        let builtins = raise::unless_null(ffi::PyDict_Copy(frozen.func_builtins))?;
        if let Err(raised) = resolve_values(builtins) {
            ffi::Py_DecRef(builtins);
            return Err(raised);
        }
        header::set_flags(builtins, header::flags(builtins) | header::FROZEN);
        Ok(builtins)
    }
}

/// Tells tools that ask a frame's globals, such as `trace`, which file the function is of.
unsafe fn set_file(frozen: &ffi::PyFunctionObject, globals: Object) -> Result<(), Raised> {
    const NO_FILE: u32 = '<' as u32;
    // SAFETY: a GIL is held; the name of a code object's file is a string.
    unsafe {
        let name = (*frozen.func_code.cast::<ffi::PyCodeObject>()).co_filename;
        if ffi::PyUnicode_GetLength(name) == 0 || ffi::PyUnicode_ReadChar(name, 0) == NO_FILE {
            return Ok(());
        }
        let file = raise::unless_null(ffi::PyUnicode_FromString(c"__file__".as_ptr()))?;
        let set = ffi::PyDict_SetDefault(globals, file, name);
        ffi::Py_DecRef(file);
        raise::unless_null(set).map(|_| ())
    }
}

/// Gives captured names the values that they have here: modules, loggers, functions of C modules, and what the library knows
/// by identity, are this interpreter's; what was captured before its lazy import had happened is imported (PEP 810), since
/// the globals of a view cannot be filled in later.
///
/// # Errors
/// A Python exception is set.
///
/// # Safety
/// A GIL is held; `globals` is a dict. Python code may run (imports).
pub(super) unsafe fn resolve_values(globals: Object) -> Result<(), Raised> {
    // SAFETY: a GIL is held. The items are a list of our own, since importing
    // runs Python code.
    unsafe {
        // What `typing` has frozen of itself is of one piece.
        let of_typing = policy::text(ffi::PyDict_GetItemWithError(globals, ffi::imm_name_name)) == Some("typing");
        let items = raise::unless_null(ffi::PyDict_Items(globals))?;
        let resolved = (0..ffi::PyList_Size(items)).try_for_each(|i| {
            let item = ffi::PyList_GetItem(items, i);
            let (name, value) = (ffi::PyTuple_GetItem(item, 0), ffi::PyTuple_GetItem(item, 1));
            let here = own_value(value, of_typing)?;
            let stored = if here == value { 0 } else { ffi::PyDict_SetItem(globals, name, here) };
            ffi::Py_DecRef(here);
            raise::unless_negative(stored).map(|_| ())
        });
        ffi::Py_DecRef(items);
        resolved
    }
}

/// A new reference to what stands for a captured value in the running interpreter.
unsafe fn own_value(value: Object, of_typing: bool) -> Result<Object, Raised> {
    // SAFETY: as `resolve_values`.
    unsafe {
        if header::type_of(value) == &raw mut ffi::PyLazyImport_Type {
            return raise::unless_null(ffi::PyObject_CallMethod(value, c"resolve".as_ptr(), ptr::null()));
        }
        if header::type_of(value) == cfunction::frozen_type() {
            return cfunction::own(value);
        }
        if module::is_module(value) {
            return module::own(value);
        }
        if !of_typing && namesake::is_known_by_identity(value) {
            return Ok(namesake::object_here(value));
        }
        if is_placeholder(value) {
            let class = namesake::class_here(header::type_of(value));
            let here = ffi::PyObject_CallNoArgs(class);
            ffi::Py_DecRef(class);
            return raise::unless_null(here);
        }
        if logger::is_captured(value) {
            return logger::own(value);
        }
        ffi::Py_IncRef(value);
        Ok(value)
    }
}

/// Whether it is `functools.Placeholder`, of which each interpreter has one.
unsafe fn is_placeholder(value: Object) -> bool {
    // SAFETY: as `resolve_values`.
    unsafe { CStr::from_ptr((*header::type_of(value)).tp_name) == c"functools._PlaceholderType" }
}

/// Imports the submodules that code spells out, as in `urllib.request.urlopen`, of packages that were captured in another
/// interpreter: the package is captured, and the submodule an attribute that its import sets.
unsafe fn import_submodules(frozen: &ffi::PyFunctionObject, globals: Object) -> Result<(), Raised> {
    // SAFETY: as `resolve_values`; the names are borrowed from code that the caller keeps.
    unsafe {
        let mut module: Object = ptr::null_mut();
        let outcome = detach::for_each_load(frozen.func_code, |load| {
            let next = match load {
                Load::Global(name) => captured_elsewhere(frozen.func_globals, globals, name)?,
                Load::Attribute(name) if !module.is_null() => own_submodule(module, name)?,
                Load::Attribute(_) | Load::Other => ptr::null_mut(),
            };
            ffi::Py_DecRef(std::mem::replace(&mut module, next));
            Ok(())
        });
        ffi::Py_DecRef(module);
        outcome
    }
}

/// A new reference to the value of `name` here, if a module of another interpreter was captured under it; else null.
unsafe fn captured_elsewhere(captured: Object, globals: Object, name: Object) -> Result<Object, Raised> {
    // SAFETY: exact dicts with exact strings.
    unsafe {
        let value = ffi::PyDict_GetItemWithError(captured, name);
        if value.is_null() || !module::is_foreign(value) || !module::is_module(value) {
            return if ffi::PyErr_Occurred().is_null() { Ok(ptr::null_mut()) } else { Err(Raised) };
        }
        let mut here = ptr::null_mut();
        raise::unless_negative(ffi::PyDict_GetItemRef(globals, name, &raw mut here))?;
        Ok(here)
    }
}

/// A new reference to the attribute `name` of a module, or null if it is no module.
unsafe fn own_submodule(package: Object, name: Object) -> Result<Object, Raised> {
    // SAFETY: as `import_submodules`.
    unsafe {
        if !module::is_module(package) {
            return Ok(ptr::null_mut());
        }
        let mut found = ptr::null_mut();
        raise::unless_negative(ffi::PyObject_GetOptionalAttr(package, name, &raw mut found))?;
        if found.is_null() {
            return Ok(module::import_submodule(package, name)?.unwrap_or(ptr::null_mut()));
        }
        Ok(found)
    }
}
