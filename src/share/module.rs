//! Modules in several interpreters.
//!
//! A module that a freeze reaches becomes a *proxy*: it is counted atomically, gets the type `ImmutableModule`, and may
//! pass to other interpreters. For the interpreter that it belongs to it stays the module that it was, and so do its
//! namespace and state, which nobody else reads. Everywhere else it stands for that interpreter's own module of the
//! same name: see [`own`].
//!
//! ```text
//!   interpreter 0                          interpreter 1
//!   json (ImmutableModule) <-- frozen -->  the same object
//!     | is its own                           | stands for
//!     +-> namespace of 0                     +-> sys.mut_modules["json"] -> namespace of 1
//! ```
//!
//! Who a proxy belongs to is in its header (`header::owner`), where specialised bytecode compares it too
//! (`_PyModule_IsOwn`). A module whose class is written in Python keeps it in a *twin*, an ordinary module object that
//! shares the namespace.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::atomic::Ordering;

use parking_lot::{Mutex, MutexGuard};

use super::{c_type, class, idle, interpreter, module_type};
use crate::lifetime::count;
use crate::object::header::{self, FROZEN, Object, PROXY, Type};
use crate::object::memory::OutOfMemory;
use crate::object::raise::{self, Raised};
use crate::object::{attribute, ffi};

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

/// The mark of the main interpreter.
const MAIN: u16 = 1;

/// What freezes of one subinterpreter have left mutable, and others may hold: modules, locks, registries. Owned, and
/// kept until that interpreter ends. The main interpreter, whose end is that of the process, keeps no such list.
#[derive(Default)]
pub struct Proxies {
    objects: HashSet<Object>,
}

impl Proxies {
    /// Makes room for `n` more objects.
    ///
    /// # Errors
    /// There is no memory.
    pub fn reserve(&mut self, n: usize) -> Result<(), OutOfMemory> {
        Ok(self.objects.try_reserve(n)?)
    }

    /// Notes an object, for which there is room.
    ///
    /// # Safety
    /// `op` is a proxy of the running interpreter.
    pub unsafe fn insert(&mut self, op: Object) {
        if self.objects.insert(op) {
            // SAFETY: given up by `orphan`.
            unsafe { ffi::Py_IncRef(op) };
        }
    }

    /// Takes over the objects of another list.
    ///
    /// # Safety
    /// Both lists are of the running interpreter.
    pub unsafe fn extend(&mut self, others: Self) {
        for op in others.objects {
            // Without memory it is never given up.
            if self.objects.try_reserve(1).is_ok() && !self.objects.insert(op) {
                // SAFETY: owned, and not the last reference.
                unsafe { ffi::Py_DecRef(op) };
            }
        }
    }

    /// Takes from every module what it holds by name, which is garbage of the interpreter unless something else has it. True
    /// if one held anything.
    ///
    /// # Safety
    /// As [`Proxies::orphan`].
    pub unsafe fn drop_namespaces(&self) -> bool {
        let mut dropped = false;
        for &op in &self.objects {
            // SAFETY: owned. Nobody but this interpreter uses what is inside a proxy.
            unsafe {
                if is_module(op) && header::flags(op) & PROXY != 0 && !c_type::is_home(op) {
                    let namespace = &mut (*op.cast::<ffi::PyModuleObject>()).md_dict;
                    let namespace = std::mem::replace(namespace, ptr::null_mut());
                    dropped |= !namespace.is_null();
                    ffi::Py_DecRef(namespace);
                }
            }
        }
        dropped
    }

    /// Cuts every object off from the interpreter, which is about to end: whoever else holds it may release it, and no
    /// collector knows it any more. So it is cleared too, since what is inside ends with the interpreter, and a cycle through
    /// it would stay for ever; last what the interpreter still `needs` to release the others. What shared types were made
    /// for is not cleared, since they keep it, nor a module that was frozen as a whole later. True if there was an object.
    ///
    /// # Safety
    /// The caller holds the GIL of the interpreter. Python code may run.
    pub unsafe fn orphan(&self, needs: impl Fn(Object) -> bool) -> bool {
        for last in [false, true] {
            for &op in self.objects.iter().filter(|op| needs(**op) == last) {
                // SAFETY: owned. Nobody but this interpreter uses what is inside a proxy.
                unsafe {
                    let held = count::count_of(header::count_word(op).load(Ordering::Relaxed));
                    if held.is_some_and(|held| held > 1) && header::has_gc_head(op) && header::flags(op) & PROXY != 0 {
                        if !c_type::is_home(op)
                            && let Some(clear) = (*header::type_of(op)).tp_clear
                        {
                            clear(op);
                        }
                        if ffi::PyObject_GC_IsTracked(op) != 0 {
                            ffi::PyObject_GC_UnTrack(op.cast());
                        }
                    }
                }
            }
        }
        for &op in &self.objects {
            // SAFETY: owned.
            unsafe { ffi::Py_DecRef(op) };
        }
        !self.objects.is_empty()
    }

    /// Notes that the running interpreter, whose proxies these are, ends while `act` runs: they stay its own.
    ///
    /// # Safety
    /// The caller holds the GIL of the interpreter.
    pub unsafe fn while_ending<T>(&self, act: impl FnOnce(&Self) -> T) -> T {
        // SAFETY: the caller's.
        let interpreter = unsafe { ffi::PyInterpreterState_GetID(ffi::PyInterpreterState_Get()) };
        let outer = ENDING.replace(Ending { interpreter, proxies: self });
        let outcome = act(self);
        ENDING.set(outer);
        outcome
    }
}

/// An interpreter that ends in this thread.
#[derive(Clone, Copy)]
struct Ending {
    interpreter: i64,
    proxies: *const Proxies,
}

thread_local! {
    static ENDING: Cell<Ending> = const { Cell::new(Ending { interpreter: -1, proxies: ptr::null() }) };
}

/// True if `op`, whose owner has a number too high for the mark, is a proxy of the running interpreter, which has such a
/// number too. So it is no main one, and keeps a list.
unsafe fn is_listed(op: Object) -> bool {
    // SAFETY: a GIL is held; `while_ending` has the proxies for as long as it shows them.
    unsafe {
        let ending = ENDING.get();
        if ending.interpreter == ffi::PyInterpreterState_GetID(ffi::PyInterpreterState_Get()) {
            return (*ending.proxies).objects.contains(&op);
        }
        interpreter::existing().is_some_and(|state| state.proxies.objects.contains(&op))
    }
}

/// Hands a proxy of the main interpreter, whose last reference was given up, to that interpreter: what is inside it may
/// only be released there. Returns false, and does nothing, if the caller may release it.
///
/// A proxy of a subinterpreter is held by that interpreter's [`Proxies`], and empty once it is not.
///
/// # Safety
/// The count of `op` is zero; the caller holds the GIL of some interpreter.
pub unsafe fn send_home(op: Object) -> bool {
    // SAFETY: nobody else has a reference.
    unsafe {
        if header::owner(op) != MAIN || owner_mark() == MAIN {
            return false;
        }
        header::count_word(op).store(count::encode(1), Ordering::Relaxed);
        let mut returned = returned();
        if returned.0.try_reserve(1).is_ok() {
            returned.0.push(op);
            drop(returned);
            // Too many calls may be pending there: then the next proxy that comes home takes this one along.
            ffi::imm_add_pending_call(ffi::PyInterpreterState_Main(), Some(release_returned));
        } // else it is never released
        true
    }
}

struct Returned(Vec<Object>);
// SAFETY: each is an owned reference, counted atomically, and only given up by the interpreter that may.
unsafe impl Send for Returned {}

fn returned() -> MutexGuard<'static, Returned> {
    static RETURNED: Mutex<Returned> = Mutex::new(Returned(Vec::new()));
    RETURNED.lock()
}

unsafe extern "C" fn release_returned(_: *mut c_void) -> c_int {
    // SAFETY: called by CPython, with the GIL of the main interpreter.
    unsafe {
        let error = ffi::PyErr_GetRaisedException();
        let home = std::mem::take(&mut returned().0);
        for op in home {
            ffi::Py_DecRef(op);
        }
        ffi::PyErr_SetRaisedException(error);
    }
    0
}

/// What one interpreter knows of modules that are proxies.
pub struct Modules {
    /// `sys.mut_modules`: a dict from names to this interpreter's own modules. Owned, null until it is needed.
    table: Object,
    /// For each proxy of this interpreter whose class is written in Python, its twin, owned; the proxy gives it up.
    twins: HashMap<Object, Object>,
    /// How many of the shared modules are known here.
    pub adopted: usize,
}

impl Default for Modules {
    fn default() -> Self {
        Modules { table: ptr::null_mut(), twins: HashMap::new(), adopted: 0 }
    }
}

impl Modules {
    /// `sys.mut_modules`, borrowed; made, and put into `sys`, on first use.
    ///
    /// # Errors
    /// MemoryError is set.
    ///
    /// # Safety
    /// The caller holds the interpreter's GIL.
    pub unsafe fn table(&mut self) -> Result<Object, Raised> {
        // SAFETY: the namespace of sys is an exact dict, its keys exact strings: no Python code runs.
        unsafe {
            if self.table.is_null() {
                let table = raise::unless_null(ffi::PyDict_New())?;
                let sys = ffi::imm_sys_dict();
                if !sys.is_null() && ffi::PyDict_SetItemString(sys, c"mut_modules".as_ptr(), table) < 0 {
                    ffi::Py_DecRef(table);
                    return Err(Raised);
                }
                self.table = table;
            }
            Ok(self.table)
        }
    }

    /// `sys.mut_modules`, borrowed, or null.
    pub fn existing_table(&self) -> Object {
        self.table
    }

    /// Makes room for `n` more twins.
    ///
    /// # Errors
    /// There is no memory.
    pub fn reserve_twins(&mut self, n: usize) -> Result<(), OutOfMemory> {
        Ok(self.twins.try_reserve(n)?)
    }

    /// Notes the twin of a proxy, for which there is room; takes over the reference to the twin.
    ///
    /// # Safety
    /// `proxy` belongs to the running interpreter, which frees it, and has no twin yet.
    pub unsafe fn insert_twin(&mut self, proxy: Object, twin: Object) {
        self.twins.insert(proxy, twin);
    }

    /// Drops the twin of a proxy, which is about to be released, if it has one.
    ///
    /// # Safety
    /// The caller holds a GIL; `proxy` has no references left. Python code may run.
    pub unsafe fn drop_twin(proxy: Object) {
        // SAFETY: owned. The proxies of another interpreter are not in the map.
        unsafe {
            if let Some(twin) = interpreter::existing().and_then(|state| state.modules.twins.remove(&proxy)) {
                ffi::Py_DecRef(twin);
            }
        }
    }

    /// Drops `sys.mut_modules`. True if a module was in it.
    ///
    /// # Safety
    /// As [`Modules::table`]. Python code may run.
    pub unsafe fn drop_table(&mut self) -> bool {
        let table = std::mem::replace(&mut self.table, ptr::null_mut());
        // SAFETY: owned, and a dict, or null.
        unsafe {
            let had_modules = !table.is_null() && ffi::PyDict_Size(table) > 0;
            ffi::Py_DecRef(table);
            had_modules
        }
    }

    /// Drops the twins. True if there was one.
    ///
    /// # Safety
    /// As [`Modules::table`]. Python code may run.
    pub unsafe fn drop_twins(&mut self) -> bool {
        // SAFETY: owned.
        idle::release_all(&mut self.twins, |_, twin| unsafe { ffi::Py_DecRef(twin) })
    }
}

/// True if `op` is a module object.
///
/// # Safety
/// `op` is alive.
pub unsafe fn is_module(op: Object) -> bool {
    // SAFETY: the caller's.
    unsafe { ffi::PyType_IsSubtype(header::type_of(op), &raw mut ffi::PyModule_Type) != 0 }
}

/// True if `op` is a proxy of another interpreter than the running one.
///
/// # Safety
/// A GIL is held and `op` alive.
pub unsafe fn is_foreign(op: Object) -> bool {
    // SAFETY: op was marked before it could be shared.
    unsafe {
        if header::flags(op) & PROXY == 0 {
            return false;
        }
        match (header::owner(op), owner_mark()) {
            (0, 0) => !is_listed(op),
            (owner, running) => owner != running,
        }
    }
}

/// A new reference to the module that `module` stands for here: itself, unless it is a proxy of another interpreter.
///
/// That is what `sys.mut_modules` holds under its name; a name that is not there is imported.
///
/// # Errors
/// A Python exception is set: there is no such module here, and it could not be imported.
///
/// # Safety
/// A GIL is held and `module` alive. Python code may run (imports).
pub unsafe fn own(module: Object) -> Result<Object, Raised> {
    // SAFETY: the caller's. Of a foreign module only its name is read, which never changes.
    unsafe {
        if !is_foreign(module) {
            ffi::Py_IncRef(module);
            return Ok(module);
        }
        if ffi::imm_modules().is_null() {
            return Err(ended());
        }
        let name = local_name(module)?;
        let found = find_or_import(name);
        ffi::Py_DecRef(name);
        found
    }
}

/// Raises that the running interpreter ends, and has no such module any more.
unsafe fn ended() -> Raised {
    // SAFETY: a GIL is held.
    unsafe { ffi::PyErr_SetString(ffi::PyExc_ImportError, c"the interpreter is shutting down".as_ptr()) };
    Raised
}

/// The namespace of a module that is its own target, borrowed.
///
/// # Errors
/// ImportError is set: the interpreter ends, and has given the namespace up.
///
/// # Safety
/// A GIL is held, and `module` a live module that [`target`] has no other for.
pub unsafe fn namespace(module: Object) -> Result<Object, Raised> {
    // SAFETY: the caller's.
    unsafe {
        let namespace = (*module.cast::<ffi::PyModuleObject>()).md_dict;
        if namespace.is_null() { Err(ended()) } else { Ok(namespace) }
    }
}

/// A new string of the running interpreter with the name that a module was made with.
unsafe fn local_name(module: Object) -> Result<Object, Raised> {
    // SAFETY: as `own`.
    unsafe {
        let name = (*module.cast::<ffi::PyModuleObject>()).md_name;
        if name.is_null() {
            ffi::PyErr_SetString(
                ffi::PyExc_ImportError,
                c"a frozen object refers to a module without a name, which has no counterpart in this interpreter"
                    .as_ptr(),
            );
            return Err(Raised);
        }
        copy_name(name)
    }
}

/// A new string of the running interpreter.
///
/// # Errors
/// A Python exception is set.
///
/// # Safety
/// A GIL is held; `name` is a string, which may be of another interpreter.
pub(super) unsafe fn copy_name(name: Object) -> Result<Object, Raised> {
    // SAFETY: the caller's.
    unsafe {
        let mut length = 0;
        let text = ffi::PyUnicode_AsUTF8AndSize(name, &raw mut length);
        if text.is_null() {
            return Err(Raised);
        }
        raise::unless_null(ffi::PyUnicode_FromStringAndSize(text, length))
    }
}

/// Whether the module that `sys.modules` holds under a name here has this namespace.
///
/// # Safety
/// A GIL is held; `name` is an exact string, and `sys.modules` may be anything. No Python code runs.
pub unsafe fn is_namespace_of(namespace: Object, name: Object) -> bool {
    // SAFETY: the caller's; borrowed references are used at once.
    unsafe {
        let table = interpreter::existing().map_or(ptr::null_mut(), |state| state.modules.table);
        [ffi::imm_modules(), table].into_iter().any(|modules| {
            if modules.is_null() || header::type_of(modules) != &raw mut ffi::PyDict_Type {
                return false;
            }
            let module = ffi::PyDict_GetItemWithError(modules, name);
            if module.is_null() {
                ffi::PyErr_Clear();
            }
            !module.is_null() && is_module(module) && (*module.cast::<ffi::PyModuleObject>()).md_dict == namespace
        })
    }
}

/// A new reference to what `sys.modules` holds under a name here, importing it if need be; null if nothing could be
/// imported.
///
/// # Errors
/// A Python exception is set.
///
/// # Safety
/// A GIL is held; `name` is a string, which may be of another interpreter. Python code may run (imports).
pub unsafe fn named(name: Object) -> Result<Object, Raised> {
    // SAFETY: the caller's.
    unsafe {
        let name = copy_name(name)?;
        let mut found = ffi::PyImport_GetModule(name);
        if found.is_null() && ffi::PyErr_Occurred().is_null() {
            let imported = ffi::PyImport_Import(name); // the module that a dotted name begins with
            if !imported.is_null() {
                ffi::Py_DecRef(imported);
                found = ffi::PyImport_GetModule(name);
            } else if ffi::PyErr_ExceptionMatches(ffi::PyExc_ImportError) != 0 {
                ffi::PyErr_Clear();
            }
        }
        ffi::Py_DecRef(name);
        if found.is_null() && !ffi::PyErr_Occurred().is_null() { Err(Raised) } else { Ok(found) }
    }
}

unsafe fn find_or_import(name: Object) -> Result<Object, Raised> {
    // SAFETY: as `own`. The table is looked up again after the import, which runs Python code.
    unsafe {
        let mut found = ptr::null_mut();
        let table = interpreter::current().ok_or(Raised)?.modules.table()?;
        raise::unless_negative(ffi::PyDict_GetItemRef(table, name, &raw mut found))?;
        if !found.is_null() {
            // It would lead on by its name, perhaps back to here.
            return if is_foreign(found) { Err(refuse_foreign(found, name)) } else { Ok(found) };
        }
        let found = import(name)?;
        let stored = match interpreter::current() {
            Some(state) => state.modules.table().map(|table| ffi::PyDict_SetItem(table, name, found)),
            None => Err(Raised),
        };
        match stored.and_then(raise::unless_negative) {
            Ok(()) => Ok(found),
            Err(error) => {
                ffi::Py_DecRef(found);
                Err(error)
            }
        }
    }
}

unsafe fn import(name: Object) -> Result<Object, Raised> {
    // SAFETY: as `own`.
    unsafe {
        // Not PyImport_GetModule, which reads attributes of what it finds: that may be the very proxy.
        let mut found = ptr::null_mut();
        raise::unless_negative(ffi::PyMapping_GetOptionalItem(ffi::imm_modules(), name, &raw mut found))?;
        if found.is_null() || !is_foreign(found) {
            ffi::Py_DecRef(found);
            // Returns the module that a dotted name begins with.
            ffi::Py_DecRef(raise::unless_null(ffi::PyImport_Import(name))?);
            found = ffi::PyImport_GetModule(name);
        }
        if found.is_null() || is_foreign(found) {
            return Err(refuse_foreign(found, name));
        }
        Ok(found)
    }
}

/// Raises ImportError, unless an exception is set already, for a name under which there is a proxy of another
/// interpreter, or nothing. Gives `found` up.
#[cold]
unsafe fn refuse_foreign(found: Object, name: Object) -> Raised {
    // SAFETY: as `own`.
    unsafe {
        ffi::Py_DecRef(found);
        if ffi::PyErr_Occurred().is_null() {
            ffi::PyErr_Format(
                ffi::PyExc_ImportError,
                c"a frozen object refers to the module %R, which this interpreter has no own one of".as_ptr(),
                name,
            );
        }
        Raised
    }
}

/// A new reference to the object whose attributes a module object shows here: the module that it stands for, or its
/// twin; `None` if that is the module object itself.
///
/// # Errors
/// As [`own`].
///
/// # Safety
/// As [`own`].
pub unsafe fn target(module: Object) -> Result<Option<Object>, Raised> {
    // SAFETY: as `own`.
    unsafe {
        if is_foreign(module) {
            return own(module).map(Some);
        }
        Ok(twin(module).inspect(|&twin| ffi::Py_IncRef(twin)))
    }
}

/// Imports the submodule `name` of the module that a foreign proxy stands for, if that is a package without an attribute
/// of that name: whoever froze the package may have had the submodule imported. A new reference, or `None`.
///
/// # Errors
/// A Python exception is set: the submodule is there, and its import failed.
///
/// # Safety
/// A GIL is held, and the references alive. Python code may run (imports).
pub unsafe fn import_submodule(package: Object, name: Object) -> Result<Option<Object>, Raised> {
    // SAFETY: the caller's.
    unsafe {
        if !is_module(package) || is_private(name) {
            return Ok(None);
        }
        let path = attribute::get(package, c"__path__");
        ffi::Py_DecRef(path);
        let parent = if path.is_null() { path } else { ffi::PyModule_GetNameObject(package) };
        if parent.is_null() {
            ffi::PyErr_Clear();
            return Ok(None);
        }
        let full = ffi::PyUnicode_FromFormat(c"%U.%U".as_ptr(), parent, name);
        ffi::Py_DecRef(parent);
        let full = raise::unless_null(full)?;
        let imported = ffi::PyImport_Import(full);
        let found = if imported.is_null() { imported } else { ffi::PyImport_GetModule(full) };
        ffi::Py_DecRef(imported);
        let outcome = if !found.is_null() {
            Ok(Some(found))
        } else if ffi::PyErr_Occurred().is_null() || is_not_found(full) {
            ffi::PyErr_Clear();
            Ok(None)
        } else {
            Err(Raised)
        };
        ffi::Py_DecRef(full);
        outcome
    }
}

/// Names that Python itself asks for, and no submodule has.
unsafe fn is_private(name: Object) -> bool {
    // SAFETY: a string.
    unsafe {
        !header::has_feature(header::type_of(name), ffi::Py_TPFLAGS_UNICODE_SUBCLASS)
            || ffi::PyUnicode_GetLength(name) > 2
                && ffi::PyUnicode_ReadChar(name, 0) == u32::from(b'_')
                && ffi::PyUnicode_ReadChar(name, 1) == u32::from(b'_')
    }
}

/// True if the exception that is set says that there is no module of this very name.
unsafe fn is_not_found(name: Object) -> bool {
    // SAFETY: a GIL is held. The exception is set again.
    unsafe {
        if ffi::PyErr_ExceptionMatches(ffi::PyExc_ModuleNotFoundError) == 0 {
            return false;
        }
        let error = ffi::PyErr_GetRaisedException();
        let missing = attribute::get(error, c"name");
        let same = !missing.is_null() && ffi::PyUnicode_Equal(missing, name) > 0;
        ffi::Py_DecRef(missing);
        ffi::PyErr_SetRaisedException(error);
        same
    }
}

/// Whether a class of modules defines what CPython looks for in the type of an object only, where a proxy has nothing.
///
/// # Safety
/// `ty` is a ready type that derives from that of modules.
pub unsafe fn has_operators(ty: Type) -> bool {
    unsafe fn is_empty<T>(suite: *const T) -> bool {
        // SAFETY: null, or a suite of functions, which is an array of pointers.
        suite.is_null()
            || unsafe { std::slice::from_raw_parts(suite.cast::<usize>(), size_of::<T>() / size_of::<usize>()) }
                .iter()
                .all(|&function| function == 0)
    }
    // SAFETY: the caller's.
    unsafe {
        let (ty, plain) = (&*ty, &*ptr::addr_of!(ffi::PyModule_Type));
        ty.tp_call.is_some()
            || ty.tp_iter.is_some()
            || ty.tp_hash.map(|hash| hash as usize) != plain.tp_hash.map(|hash| hash as usize)
            || ty.tp_richcompare.map(|compare| compare as usize) != plain.tp_richcompare.map(|compare| compare as usize)
            || ty.tp_str.map(|show| show as usize) != plain.tp_str.map(|show| show as usize)
            || !is_empty(ty.tp_as_async)
            || !is_empty(ty.tp_as_number)
            || !is_empty(ty.tp_as_sequence)
            || !is_empty(ty.tp_as_mapping)
    }
}

/// The twin of a module of this interpreter, borrowed.
///
/// # Safety
/// A GIL is held.
pub unsafe fn twin(module: Object) -> Option<Object> {
    // SAFETY: the caller's.
    unsafe { interpreter::existing() }.and_then(|state| state.modules.twins.get(&module).copied())
}

/// A new module object of the class of `module` that shares its namespace. Null with MemoryError.
///
/// # Safety
/// A GIL is held; the class adds no fields of its own to a module's.
pub unsafe fn new_twin(module: Object) -> Object {
    // SAFETY: the memory of a new object is zero, which is how a module begins (new_module_notrack in moduleobject.c).
    unsafe {
        let twin = ffi::PyType_GenericAlloc(header::type_of(module), 0);
        if !twin.is_null() {
            let (from, to) = (&*module.cast::<ffi::PyModuleObject>(), &mut *twin.cast::<ffi::PyModuleObject>());
            ffi::Py_IncRef(from.md_dict);
            ffi::Py_IncRef(from.md_name);
            to.md_dict = from.md_dict;
            to.md_name = from.md_name;
        }
        twin
    }
}

/// Gives a module that was frozen as a whole its type. Cannot fail.
///
/// # Safety
/// `op` is a frozen module without a twin; its GIL is held.
pub unsafe fn settle_whole(op: Object) {
    // SAFETY: the caller's. The namespace is an exact dict.
    unsafe {
        (*op).ob_type = module_type::module_type();
        let namespace = (*op.cast::<ffi::PyModuleObject>()).md_dict.cast::<ffi::PyDictObject>();
        (*(*namespace).ma_keys).dk_version = class::new_keys_version();
    }
}

/// Makes a module that was frozen as a whole an ordinary one again.
///
/// # Safety
/// `op` is of the type `ImmutableModule`, and nobody else sees it.
pub unsafe fn unsettle(op: Object) {
    // SAFETY: the caller's.
    unsafe { (*op).ob_type = &raw mut ffi::PyModule_Type };
}

/// Makes a proxy, whose namespace was frozen meanwhile, a module that is frozen as a whole.
///
/// # Safety
/// `op` is a proxy of the running interpreter without a twin.
pub unsafe fn become_whole(op: Object) {
    // SAFETY: the caller's. Whoever reads the flags at the same time takes it for a proxy once more.
    unsafe {
        settle_whole(op);
        header::set_flags(op, header::flags(op) & !PROXY);
        header::set_owner(op, 0);
    }
}

/// True if `op` is a module made in C, which keeps state for its interpreter.
///
/// # Safety
/// `op` is a live module.
pub unsafe fn has_state(op: Object) -> bool {
    // SAFETY: the caller's.
    let fields = unsafe { &*op.cast::<ffi::PyModuleObject>() };
    !fields.md_token.is_null() || !fields.md_state.is_null()
}

/// True if `op` has a twin here.
///
/// # Safety
/// A GIL is held.
pub unsafe fn has_twin(op: Object) -> bool {
    // SAFETY: the caller's.
    unsafe { interpreter::existing().is_some_and(|state| state.modules.twins.contains_key(&op)) }
}

/// A new reference to the submodule `name` of a package that is frozen as a whole, and so cannot be given attributes:
/// what the running interpreter has imported under that name; or null.
///
/// # Errors
/// A Python exception is set.
///
/// # Safety
/// A GIL is held, and the references alive.
pub unsafe fn imported_submodule(package: Object, name: Object) -> Result<Object, Raised> {
    // SAFETY: the caller's.
    unsafe {
        if is_private(name) {
            return Ok(ptr::null_mut());
        }
        let parent = raise::unless_null(ffi::PyModule_GetNameObject(package))?;
        let full = ffi::PyUnicode_FromFormat(c"%U.%U".as_ptr(), parent, name);
        ffi::Py_DecRef(parent);
        let full = raise::unless_null(full)?;
        let found = ffi::PyImport_GetModule(full);
        ffi::Py_DecRef(full);
        if found.is_null() && !ffi::PyErr_Occurred().is_null() { Err(Raised) } else { Ok(found) }
    }
}

/// True if the module is frozen itself, and no proxy.
///
/// # Safety
/// `op` is a live module.
pub unsafe fn is_frozen_whole(op: Object) -> bool {
    // SAFETY: the caller's.
    unsafe { header::flags(op) & (FROZEN | PROXY) == FROZEN }
}
