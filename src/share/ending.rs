//! The end of an interpreter.
//!
//! CPython calls finalizers up to its last collection, and they may use whatever the runtime keeps for the interpreter:
//! they call frozen functions, read what modules hold that have become proxies, close files, which takes the state of
//! `_io`. But what is kept cannot be garbage. So it is given up in steps, with a collection after each, which
//! is left out if there was nothing to give up:
//!
//! ```text
//!   step         gives up                                        finalizers that follow find
//!   Caches       views, parts, values, policies of types         everything; caches begin anew
//!   Namespaces   the names in modules that others may hold       these modules without names, but with their state
//!   Modules      the modules themselves, and their state         an interpreter without modules
//!   Rest         the state of the runtime                        none: it was the last collection
//! ```
//!
//! The caches go once more before, as soon as modules are only held by what refers to them: finalizers of what a cache or a
//! value holds then still find the builtins, and `sys.stdout`.

use super::interpreter::{self, Interpreter, Known};
use crate::lifetime::weak;
use crate::object::ffi;

/// What is given up next.
#[derive(Clone, Copy, Default)]
pub enum Step {
    /// What is made again if need be.
    #[default]
    Caches,
    /// The namespaces of proxies.
    Namespaces,
    /// Proxies, and modules that shared types work with.
    Modules,
    /// Everything.
    Rest,
}

/// Gives up, for the running interpreter, what the first step does, when modules still are what they were. True if there
/// was anything.
///
/// # Safety
/// Called by CPython while the interpreter ends, with its GIL. Python code may run.
pub unsafe fn drop_caches() -> bool {
    // SAFETY: the caller's. The state goes in the last step only.
    unsafe {
        match interpreter::known_of(ffi::PyInterpreterState_Get()) {
            Known::State(state) => Interpreter::drop_caches(state),
            Known::Nothing | Known::Ended => false,
        }
    }
}

/// Takes the next step that gives something up. True if a collection is to follow, and then the next call.
///
/// # Safety
/// Called by CPython near the end of the interpreter, with its GIL, or that of another one which clears it. Python code
/// may run.
pub unsafe fn step(ending: *mut ffi::PyInterpreterState) -> bool {
    // SAFETY: the caller's.
    unsafe {
        match interpreter::known_of(ending) {
            Known::State(state) if ending == ffi::PyInterpreterState_Get() => step_of(state),
            Known::Ended => false,
            // Another interpreter cannot release what the state holds: it stays.
            Known::State(_) | Known::Nothing => {
                interpreter::end(ending);
                true // the one collection that CPython makes anyway
            }
        }
    }
}

/// As [`step`], for the running interpreter, which has this state.
unsafe fn step_of(state: *mut Interpreter) -> bool {
    // SAFETY: the state stays where it is until the last line; no reference to it outlives a call that may run Python
    // code.
    unsafe {
        loop {
            let had_caches = Interpreter::drop_caches(state);
            match (*state).next_step {
                Step::Caches => {
                    (*state).next_step = Step::Namespaces;
                    // They would outlive the last collection, and are called no more.
                    let callbacks = ffi::imm_gc_callbacks();
                    if !callbacks.is_null() {
                        ffi::PyList_SetSlice(callbacks, 0, isize::MAX, std::ptr::null_mut());
                    }
                    return true; // the collection that CPython makes anyway
                }
                Step::Namespaces => {
                    (*state).next_step = Step::Modules;
                    let had_exceptions = (*state).exceptions.clear();
                    let had_twins = (*state).modules.drop_twins();
                    let had_names = empty_proxies(state);
                    if had_caches || had_exceptions || had_twins || had_names {
                        return true;
                    }
                }
                Step::Modules => {
                    (*state).next_step = Step::Rest;
                    let had_proxies = orphan_proxies(state);
                    // After the proxies, which may be of types that need these modules.
                    let had_modules = (*state).extensions.clear();
                    if had_caches || had_proxies || had_modules {
                        return true;
                    }
                }
                Step::Rest => break,
            }
        }
        // What finalizers have added since then.
        orphan_proxies(state);
        (*state).extensions.clear();
        (*state).exceptions.clear();
        (*state).modules.drop_twins();
        (*state).registry.clear();
        (*state).names.clear();
        let running = ffi::PyInterpreterState_Get();
        if running == ffi::PyInterpreterState_Main() {
            super::end_sharing();
        }
        weak::end_interpreter(ffi::PyInterpreterState_GetID(running));
        interpreter::end(running);
        drop(Box::from_raw(state));
        false
    }
}

/// Takes the namespaces of the interpreter's proxies away. True if there was one.
unsafe fn empty_proxies(state: *mut Interpreter) -> bool {
    // SAFETY: as `step_of`. The list is out of reach of Python code meanwhile, which may begin another one.
    unsafe {
        let proxies = std::mem::take(&mut (*state).proxies);
        let had_namespaces = proxies.while_ending(|proxies| proxies.drop_namespaces());
        let added = std::mem::replace(&mut (*state).proxies, proxies);
        (*state).proxies.extend(added);
        had_namespaces
    }
}

/// Gives the interpreter's proxies up. True if there was one.
unsafe fn orphan_proxies(state: *mut Interpreter) -> bool {
    // SAFETY: as `empty_proxies`.
    unsafe {
        let proxies = std::mem::take(&mut (*state).proxies);
        proxies.while_ending(|proxies| proxies.orphan(|op| (*state).extensions.holds(op)))
    }
}
