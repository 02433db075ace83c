//! What the runtime keeps for one interpreter.
//!
//! Owned by a capsule in the interpreter's own dict, so that it ends with its
//! interpreter; found again through a per-thread cache. It is only ever touched
//! under that interpreter's GIL, which is why a plain pointer to it is enough.

use std::cell::Cell;
use std::ffi::CStr;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

use super::c_type::Extensions;
use super::cfunction::Counterparts;
use super::class::Subclasses;
use super::code::Codes;
use super::exception::Exceptions;
use super::local::Locals;
use super::module::{Modules, Proxies};
use super::monitor::Monitors;
use super::part::Parts;
use super::sentinel::Sentinels;
use super::view::Views;
use crate::lifetime::weak;
use crate::object::ffi;
use crate::object::header::Object;
use crate::object::memory::{self, OutOfMemory};
use crate::object::raise::{self, Raised};
use crate::policy::hook::Hooks;
use crate::policy::{Names, Registry, option};

const KEY: &CStr = c"_immutable.interpreter";

/// The runtime's state for one interpreter.
pub struct Interpreter {
    /// Types registered as freezable, or not.
    pub registry: Registry,
    /// Attribute names.
    pub names: Names,
    /// What the freezes of this interpreter's threads have called so far.
    pub hooks: Hooks,
    /// Local views of the frozen functions that were called here.
    pub views: Views,
    /// Copies of frozen code that functions were made from here.
    pub codes: Codes,
    /// Copies of frozen code that were made here in any way, and the events that are monitored in them.
    pub monitors: Monitors,
    /// What is called here for functions of C modules that others have frozen.
    pub counterparts: Counterparts,
    /// What frozen modules stand for here.
    pub modules: Modules,
    /// Subclasses that frozen classes have here.
    pub subclasses: Subclasses,
    /// What others may hold of this interpreter, and is not frozen.
    pub proxies: Proxies,
    /// Parts of frozen objects, which are this interpreter's own.
    pub parts: Parts,
    /// C modules whose types all interpreters share.
    pub extensions: Extensions,
    /// Sentinels that all interpreters share.
    pub sentinels: Sentinels,
    /// Values of `InterpreterLocal` objects.
    pub locals: Locals,
    /// The package `immutable` was imported, and not only `_immutable`, which the library imports too.
    pub uses_runtime: bool,
    /// Exception classes.
    pub exceptions: Exceptions,
}

impl Interpreter {
    /// Drops what is only kept to be found again, and was not used since the last time.
    ///
    /// # Safety
    /// The caller holds the interpreter's GIL; `self` may have changed on return.
    pub unsafe fn drop_idle(&mut self) {
        // SAFETY: the caller's.
        unsafe {
            self.views.drop_idle();
            self.codes.drop_idle();
            self.monitors.drop_idle();
            self.counterparts.drop_idle();
            self.subclasses.drop_idle();
            self.locals.drop_idle();
            self.parts.drop_idle();
        }
    }
}

/// What a thread has found last.
#[derive(Clone, Copy)]
struct Found {
    interpreter: i64,
    released: u64,
    state: *mut Interpreter,
}

thread_local! {
    static FOUND: Cell<Found> = const { Cell::new(Found { interpreter: -1, released: 0, state: ptr::null_mut() }) };
}

/// How many states were released: what a thread has found before may be one of them.
static RELEASED: AtomicU64 = AtomicU64::new(0);

/// The state of the running interpreter, made if need be.
///
/// `None` with a Python exception set: no memory, or the interpreter is so far
/// gone that it has no dict any more.
///
/// # Safety
/// The caller holds a GIL, and does not keep the reference across a call that
/// may run Python code.
#[inline]
pub unsafe fn current<'a>() -> Option<&'a mut Interpreter> {
    // SAFETY: as `found`.
    unsafe {
        match found() {
            Some(state) => Some(&mut *state),
            None => {
                let state = find_or_create()?;
                remember(state);
                Some(&mut *state)
            }
        }
    }
}

/// The state of the running interpreter, if it was made and not yet released.
///
/// For deallocation, which must not create anything.
///
/// # Safety
/// As [`current`].
#[inline]
pub unsafe fn existing<'a>() -> Option<&'a mut Interpreter> {
    // SAFETY: as `found`.
    unsafe {
        match found() {
            Some(state) => Some(&mut *state),
            None => {
                let error = ffi::PyErr_GetRaisedException();
                let state = find();
                ffi::PyErr_SetRaisedException(error);
                let state = state.ok()??;
                remember(state);
                Some(&mut *state)
            }
        }
    }
}

/// What this thread has found before.
#[inline]
unsafe fn found() -> Option<*mut Interpreter> {
    // SAFETY: the caller's.
    unsafe { found_of(ffi::PyInterpreterState_GetID(ffi::PyInterpreterState_Get())) }
}

/// What this thread has found before of the running interpreter, whose id the caller knows.
///
/// # Safety
/// As [`current`].
#[inline]
pub unsafe fn found_of(id: i64) -> Option<*mut Interpreter> {
    // Interpreter ids are never used twice, and a state of the running interpreter that was released was so under the GIL
    // that the caller holds. Relaxed: for the same reason.
    let found = FOUND.get();
    (found.interpreter == id && found.released == RELEASED.load(Ordering::Relaxed)).then_some(found.state)
}

unsafe fn remember(state: *mut Interpreter) {
    // SAFETY: a GIL is held.
    let interpreter = unsafe { ffi::PyInterpreterState_GetID(ffi::PyInterpreterState_Get()) };
    FOUND.set(Found { interpreter, released: RELEASED.load(Ordering::Relaxed), state });
}

/// The state that the interpreter's dict holds, if any.
unsafe fn find() -> Result<Option<*mut Interpreter>, Raised> {
    // SAFETY: a GIL is held; the dict owns the capsule, which owns the state.
    unsafe {
        let dict = ffi::PyInterpreterState_GetDict(ffi::PyInterpreterState_Get());
        if dict.is_null() {
            if ffi::PyErr_Occurred().is_null() {
                ffi::PyErr_SetString(ffi::PyExc_RuntimeError, c"the interpreter is shutting down".as_ptr());
            }
            return Err(Raised);
        }
        let mut capsule = ptr::null_mut();
        raise::unless_negative(ffi::PyDict_GetItemStringRef(dict, KEY.as_ptr(), &raw mut capsule))?;
        if capsule.is_null() {
            return Ok(None);
        }
        let found = ffi::PyCapsule_GetPointer(capsule, KEY.as_ptr());
        ffi::Py_DecRef(capsule);
        if found.is_null() { Err(Raised) } else { Ok(Some(found.cast())) }
    }
}

#[cold]
unsafe fn find_or_create() -> Option<*mut Interpreter> {
    // SAFETY: a GIL is held.
    unsafe {
        if let Some(state) = find().ok()? {
            return Some(state);
        }
        // Who imports the module is told of an option that means nothing.
        let _ = option::read();
        let mut names = Names::NONE;
        if names.make().is_err() {
            names.clear();
            return None;
        }
        let state = Interpreter {
            registry: Registry::default(),
            names,
            hooks: Hooks::default(),
            views: Views::default(),
            codes: Codes::default(),
            monitors: Monitors::default(),
            counterparts: Counterparts::default(),
            modules: Modules::default(),
            subclasses: Subclasses::default(),
            proxies: Proxies::default(),
            parts: Parts::default(),
            extensions: Extensions::default(),
            sentinels: Sentinels::default(),
            locals: Locals::default(),
            uses_runtime: false,
            exceptions: Exceptions::NONE,
        };
        let Ok(state) = memory::boxed(state) else {
            names.clear();
            raise::no_memory(OutOfMemory);
            return None;
        };
        let state = Box::into_raw(state);
        let capsule = ffi::PyCapsule_New(state.cast(), KEY.as_ptr(), Some(release));
        if capsule.is_null() {
            Box::from_raw(state).names.clear();
            return None;
        }
        let dict = ffi::PyInterpreterState_GetDict(ffi::PyInterpreterState_Get());
        let stored = ffi::PyDict_SetItemString(dict, KEY.as_ptr(), capsule);
        ffi::Py_DecRef(capsule);
        (stored == 0).then_some(state)
    }
}

/// Runs when the interpreter clears its dict, at its end.
unsafe extern "C" fn release(capsule: Object) {
    // SAFETY: the pointer is the one that `find_or_create` boxed, and the
    // interpreter's GIL is held. The count comes first, so that Python
    // code run by the releases below cannot find a state half gone.
    unsafe {
        let state: *mut Interpreter = ffi::PyCapsule_GetPointer(capsule, KEY.as_ptr()).cast();
        RELEASED.fetch_add(1, Ordering::Relaxed);
        let mut state = Box::from_raw(state);
        let proxies = std::mem::take(&mut state.proxies);
        proxies.while_ending(|proxies| {
            state.monitors.clear();
            state.views.clear();
            state.codes.clear();
            state.counterparts.clear();
            state.subclasses.clear();
            state.parts.clear();
            state.locals.clear();
            state.registry.clear();
            state.names.clear();
            state.modules.clear();
            proxies.orphan(|op| state.extensions.holds(op));
            // Last, since what is released here may be of a type that they define.
            state.extensions.clear();
        });
        if ffi::PyInterpreterState_Get() == ffi::PyInterpreterState_Main() {
            super::end_sharing();
        }
        state.exceptions.clear();
        weak::end_interpreter(ffi::PyInterpreterState_GetID(ffi::PyInterpreterState_Get()));
    }
}
