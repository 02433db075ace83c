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

use std::ptr;

use super::{cfunction, code, interpreter, module};
use crate::freeze::detach::{self, Load};
use crate::object::address::AddressMap;
use crate::object::answer::or_null;
use crate::object::ffi;
use crate::object::header::{self, Object};
use crate::object::raise::{self, Raised};

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

/// The views of one interpreter, by address of the frozen function.
#[derive(Default)]
pub struct Views {
    views: AddressMap<Object, View>,
    collector_watched: bool,
}

impl Views {
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
        if let Some(view) = self.views.remove(&function) {
            // SAFETY: the entry owned both, and is gone from the table.
            unsafe { release(view) };
        }
    }

    /// Drops every view that was not called since the last time.
    ///
    /// # Safety
    /// As [`Views::forget`].
    pub unsafe fn drop_idle(&mut self) {
        let mut idle = Vec::new();
        if idle.try_reserve_exact(self.views.len()).is_err() {
            return; // the next collection comes
        }
        // SAFETY: the caller's.
        idle.extend(self.views.extract_if(|_, view| unsafe { !view.take_recent() }).map(|(_, view)| view));
        for view in idle {
            // SAFETY: as in `forget`.
            unsafe { release(view) };
        }
    }

    /// Drops every view.
    ///
    /// # Safety
    /// As [`Views::forget`].
    pub unsafe fn clear(&mut self) {
        for (_, view) in std::mem::take(&mut self.views) {
            // SAFETY: as in `forget`.
            unsafe { release(view) };
        }
    }

    /// The number of views.
    pub fn count(&self) -> usize {
        self.views.len()
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
        watch_collector()?;
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
        for (slot, value) in [
            (&mut local.func_name, frozen.func_name),
            (&mut local.func_defaults, frozen.func_defaults),
            (&mut local.func_kwdefaults, frozen.func_kwdefaults),
            (&mut local.func_closure, frozen.func_closure),
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
/// writes. An annotation function runs in its module's own globals.
unsafe fn local_globals(frozen: &ffi::PyFunctionObject) -> Option<Object> {
    // SAFETY: a GIL is held; borrowed references are used at once.
    unsafe {
        if detach::is_annotation_code(frozen.func_code)
            && let Some(globals) = module_globals(frozen.func_globals).ok()?
        {
            return Some(globals);
        }
        let globals = ffi::PyDict_Copy(frozen.func_globals);
        if globals.is_null() {
            return None;
        }
        // Of the interpreter's state: the module is no longer found while the interpreter ends.
        let builtins = ffi::imm_builtins_dict();
        // `warnings` notes in the caller's globals what it has shown.
        let shown = ffi::PyDict_New();
        let filled = !shown.is_null()
            && ffi::PyDict_SetItemString(globals, c"__builtins__".as_ptr(), builtins) == 0
            && ffi::PyDict_SetItemString(globals, c"__warningregistry__".as_ptr(), shown) == 0
            && set_file(frozen, globals).is_ok();
        ffi::Py_DecRef(shown);
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

/// Gives captured names the values that they have here: modules, and functions of C modules, are this interpreter's;
/// what was captured before its lazy import had happened is imported (PEP 810), since the globals of a view cannot be
/// filled in later.
unsafe fn resolve_values(globals: Object) -> Result<(), Raised> {
    // SAFETY: a GIL is held. The items are a list of our own, since importing
    // runs Python code.
    unsafe {
        let items = raise::unless_null(ffi::PyDict_Items(globals))?;
        let resolved = (0..ffi::PyList_Size(items)).try_for_each(|i| {
            let item = ffi::PyList_GetItem(items, i);
            let (name, value) = (ffi::PyTuple_GetItem(item, 0), ffi::PyTuple_GetItem(item, 1));
            let here = own_value(value)?;
            let stored = if here == value { 0 } else { ffi::PyDict_SetItem(globals, name, here) };
            ffi::Py_DecRef(here);
            raise::unless_negative(stored).map(|_| ())
        });
        ffi::Py_DecRef(items);
        resolved
    }
}

/// A new reference to what stands for a captured value in the running interpreter.
unsafe fn own_value(value: Object) -> Result<Object, Raised> {
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
        ffi::Py_IncRef(value);
        Ok(value)
    }
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

/// Has the collector of this interpreter call `_drop_idle_views`.
pub(super) unsafe fn watch_collector() -> Option<()> {
    // SAFETY: a GIL is held.
    unsafe {
        let views = &mut interpreter::current()?.views;
        if views.collector_watched {
            return Some(());
        }
        views.collector_watched = true;
        let gc = ffi::PyImport_ImportModule(c"gc".as_ptr());
        let module = ffi::PyImport_ImportModule(c"_immutable".as_ptr());
        let mut appended = ptr::null_mut();
        if !gc.is_null() && !module.is_null() {
            let callbacks = ffi::PyObject_GetAttrString(gc, c"callbacks".as_ptr());
            let hook = ffi::PyObject_GetAttrString(module, c"_drop_idle_views".as_ptr());
            if !callbacks.is_null() && !hook.is_null() {
                appended = ffi::PyObject_CallMethod(callbacks, c"append".as_ptr(), c"O".as_ptr(), hook);
            }
            ffi::Py_DecRef(callbacks);
            ffi::Py_DecRef(hook);
        }
        ffi::Py_DecRef(gc);
        ffi::Py_DecRef(module);
        ffi::Py_DecRef(appended);
        if appended.is_null() {
            interpreter::current()?.views.collector_watched = false;
            // While the interpreter ends nothing can be imported, and views need no longer be dropped.
            if ffi::PyErr_ExceptionMatches(ffi::PyExc_ImportError) == 0 {
                return None;
            }
            ffi::PyErr_Clear();
        }
        Some(())
    }
}
