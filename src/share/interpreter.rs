//! What the runtime keeps for one interpreter.
//!
//! The interpreter has its address, and it ends with its interpreter, in the
//! steps that [`ending`](super::ending) tells; it is found again through a
//! per-thread cache. It is only ever touched under that interpreter's GIL, which
//! is why a plain pointer to it is enough.

use std::cell::Cell;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

use super::c_type::Extensions;
use super::cfunction::Counterparts;
use super::class::Subclasses;
use super::code::Codes;
use super::ending::Step;
use super::exception::Exceptions;
use super::library::Libraries;
use super::local::Locals;
use super::module::{Modules, Proxies};
use super::monitor::Monitors;
use super::namesake::Namesakes;
use super::part::Parts;
use super::sentinel::Sentinels;
use super::string;
use super::view::Views;
use crate::object::ffi;
use crate::object::memory::{self, OutOfMemory};
use crate::object::raise;
use crate::policy::hook::Hooks;
use crate::policy::{Names, Registry, option};

/// The runtime's state for one interpreter.
pub struct Interpreter {
    /// Types registered as freezable, or not.
    pub registry: Registry,
    /// Attribute names.
    pub names: Names,
    /// What the freezes of this interpreter's threads have called so far.
    pub hooks: Hooks,
    /// The collector calls [`Interpreter::drop_idle`].
    pub collector_watched: bool,
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
    /// What is known of the standard library's modules here.
    pub libraries: Libraries,
    /// Subclasses that frozen classes have here.
    pub subclasses: Subclasses,
    /// Classes of this interpreter that have the names of frozen ones.
    pub namesakes: Namesakes,
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
    /// What is given up next when the interpreter ends.
    pub next_step: Step,
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
            self.namesakes.clear();
            self.locals.drop_idle();
            self.parts.drop_idle();
        }
    }

    /// Drops what is made again if need be, or is of no use to finalizers. True if there was anything.
    ///
    /// # Safety
    /// The caller holds the interpreter's GIL, and no reference to its state. Python code may run, which may add to it.
    pub unsafe fn drop_caches(state: *mut Self) -> bool {
        // SAFETY: the caller's.
        unsafe {
            [
                (*state).views.clear(),
                (*state).codes.clear(),
                (*state).monitors.clear(),
                (*state).registry.vital.clear(),
                (*state).counterparts.clear(),
                (*state).subclasses.clear(),
                (*state).namesakes.clear(),
                (*state).libraries.clear(),
                (*state).parts.clear(),
                (*state).locals.clear(),
                (*state).modules.drop_table(),
            ]
            .contains(&true)
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
/// `None` with a Python exception set: no memory, or the state was released,
/// since the interpreter is about to be gone.
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
                let Known::State(state) = known_of(ffi::PyInterpreterState_Get()) else { return None };
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

/// What an interpreter has of its state.
pub enum Known {
    /// None yet.
    Nothing,
    /// This.
    State(*mut Interpreter),
    /// None any more.
    Ended,
}

/// What an interpreter has instead of the address of its state, once that was released.
const ENDED: *mut Interpreter = ptr::without_provenance_mut(1);

/// What the interpreter has of its state.
///
/// # Safety
/// A GIL is held, and the interpreter exists.
pub unsafe fn known_of(interpreter: *mut ffi::PyInterpreterState) -> Known {
    // SAFETY: the caller's; only `find_or_create` and `end` write there.
    let state: *mut Interpreter = unsafe { *ffi::imm_state_slot(interpreter) }.cast();
    if state.is_null() {
        Known::Nothing
    } else if state == ENDED {
        Known::Ended
    } else {
        Known::State(state)
    }
}

/// Has the interpreter forget its state, and get none any more.
///
/// # Safety
/// As [`known_of`]; whoever calls releases the state.
pub unsafe fn end(interpreter: *mut ffi::PyInterpreterState) {
    // SAFETY: the caller's.
    unsafe {
        *ffi::imm_state_slot(interpreter) = ENDED.cast();
        if interpreter == ffi::PyInterpreterState_Main() {
            string::forget();
        }
    }
    RELEASED.fetch_add(1, Ordering::Relaxed);
}

#[cold]
unsafe fn find_or_create() -> Option<*mut Interpreter> {
    // SAFETY: a GIL is held.
    unsafe {
        let interpreter = ffi::PyInterpreterState_Get();
        match known_of(interpreter) {
            Known::Nothing => {}
            Known::State(state) => return Some(state),
            Known::Ended => {
                ffi::PyErr_SetString(ffi::PyExc_RuntimeError, c"the interpreter is shutting down".as_ptr());
                return None;
            }
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
            collector_watched: false,
            views: Views::default(),
            codes: Codes::default(),
            monitors: Monitors::default(),
            counterparts: Counterparts::default(),
            modules: Modules::default(),
            libraries: Libraries::default(),
            subclasses: Subclasses::default(),
            namesakes: Namesakes::default(),
            proxies: Proxies::default(),
            parts: Parts::default(),
            extensions: Extensions::default(),
            sentinels: Sentinels::default(),
            locals: Locals::default(),
            uses_runtime: false,
            exceptions: Exceptions::NONE,
            next_step: Step::default(),
        };
        let Ok(state) = memory::boxed(state) else {
            names.clear();
            raise::no_memory(OutOfMemory);
            return None;
        };
        let state = Box::into_raw(state);
        *ffi::imm_state_slot(interpreter) = state.cast();
        Some(state)
    }
}
