//! Monitoring of frozen code: events that debuggers and coverage tools set on code objects.
//!
//! Instrumentation writes into bytecode, and frozen code is shared: it is neither run nor written. An interpreter runs
//! copies of it (see `code` and `view`), of which there may be several. Events that are set on the frozen code object, or
//! on a copy of it, are noted for the interpreter and set on all the copies that it has, and on each that it makes later.
//!
//! A copy has a weak reference, whose callback is a builtin function with the frozen code object as its `__self__`. By it
//! a copy knows its original, and a copy that dies leaves the table. A copy that is frozen itself stays in the family, and
//! so do the copies that are made of it: were each the first of a family of its own, each family would keep the next alive.

use std::ffi::c_int;
use std::ptr;

use super::{idle, interpreter};
use crate::object::address::AddressMap;
use crate::object::answer::none;
use crate::object::ffi;
use crate::object::header::{self, FROZEN, Object};
use crate::object::raise::{self, Raised};

const TOOLS: usize = ffi::PY_MONITORING_TOOL_IDS as usize;

/// The count of a frozen object that is referred to once.
const ONE_FROZEN: u32 = ffi::_Py_FROZEN_REFCNT + 1;

/// What one tool has set.
#[derive(Clone, Copy, Default)]
struct Events {
    set: u32,
    /// Of the tool when it did: another one has set nothing.
    version: usize,
}

struct Copy {
    /// A weak reference to it, owned.
    weak: Object,
    address: Object,
}

/// A frozen code object, and its copies.
struct Family {
    /// The callback of the weak references, owned. It owns the frozen code object.
    callback: Object,
    copies: Vec<Copy>,
    events: [Events; TOOLS],
}

/// The families of one interpreter, by address of the frozen code object.
#[derive(Default)]
pub struct Monitors {
    families: AddressMap<Object, Family>,
    /// The originals of copies that were to be frozen, by address of the copy.
    originals: AddressMap<Object, Object>,
}

impl Family {
    /// What `tool`, which has this version, has set.
    fn events(&self, tool: usize, version: usize) -> u32 {
        let events = self.events[tool];
        if events.version == version { events.set } else { 0 }
    }

    /// Whether `code`, which the caller holds, is one of the copies.
    unsafe fn has(&self, code: Object) -> bool {
        self.copies.iter().filter(|copy| copy.address == code).any(|copy| {
            let mut alive = ptr::null_mut();
            // SAFETY: a weak reference that the family owns.
            unsafe {
                ffi::PyWeakref_GetRef(copy.weak, &raw mut alive);
                ffi::Py_DecRef(alive);
            }
            !alive.is_null()
        })
    }
}

impl Monitors {
    /// Drops the events of code objects that nothing else refers to.
    ///
    /// # Safety
    /// The caller holds the interpreter's GIL; `self` may have changed on return.
    pub unsafe fn drop_idle(&mut self) {
        let is_idle = |code: &Object, family: &mut Family| {
            // SAFETY: the callback owns the code object. A freeze that failed has left it mutable.
            family.copies.is_empty() && matches!(unsafe { header::refcnt(*code) }, 1 | ONE_FROZEN)
        };
        // SAFETY: the entry owned it, and is gone from the table.
        idle::take_idle(&mut self.families, is_idle).into_iter().for_each(|family| unsafe { release(family) });
    }

    /// Drops everything. True if there was a family.
    ///
    /// # Safety
    /// As [`Monitors::drop_idle`].
    pub unsafe fn clear(&mut self) -> bool {
        // SAFETY: as in `drop_idle`.
        idle::release_all(&mut self.families, |_, family| unsafe { release(family) })
    }

    /// As [`original`], for frozen code.
    unsafe fn original_of_frozen(&self, code: Object) -> Object {
        match self.originals.get(&code) {
            // SAFETY: the caller's. Another code object may have come to the address before `leave` was called.
            Some(original) if self.families.get(original).is_some_and(|family| unsafe { family.has(code) }) => {
                *original
            }
            _ => code,
        }
    }

    /// Drops the family of `code` if it has neither events nor copies.
    unsafe fn drop_empty(&mut self, code: Object) {
        let is_empty = |family: &Family| family.copies.is_empty() && family.events.iter().all(|events| events.set == 0);
        if self.families.get(&code).is_some_and(is_empty)
            && let Some(family) = self.families.remove(&code)
        {
            // SAFETY: as in `drop_idle`.
            unsafe { release(family) };
        }
    }
}

unsafe fn release(family: Family) {
    // SAFETY: the caller's. A weak reference that goes before its referent does not call back.
    unsafe {
        for copy in family.copies {
            ffi::Py_DecRef(copy.weak);
        }
        ffi::Py_DecRef(family.callback);
    }
}

/// The family of the frozen `code`, an original, in the running interpreter, made if need be.
unsafe fn family<'a>(code: Object) -> Result<&'a mut Family, Raised> {
    // SAFETY: a GIL is held; the state is looked up again after making the callback, which may run Python code.
    unsafe {
        let known = interpreter::current().ok_or(Raised)?.monitors.families.contains_key(&code);
        let callback = if known {
            ptr::null_mut()
        } else {
            raise::unless_null(ffi::PyCMethod_New(&raw mut LEAVE, code, ptr::null_mut(), ptr::null_mut()))?
        };
        let Some(state) = interpreter::current() else {
            ffi::Py_DecRef(callback);
            return Err(Raised);
        };
        let families = &mut state.monitors.families;
        if let Err(error) = families.try_reserve(1) {
            ffi::Py_DecRef(callback);
            return Err(raise::no_memory(error.into()));
        }
        if families.contains_key(&code) {
            ffi::Py_DecRef(callback);
        }
        Ok(families.entry(code).or_insert_with(|| Family { callback, copies: Vec::new(), events: Default::default() }))
    }
}

static mut LEAVE: ffi::PyMethodDef = ffi::PyMethodDef {
    ml_name: c"_copy_of_code_is_gone".as_ptr(),
    ml_meth: Some(leave),
    ml_flags: ffi::METH_O as c_int,
    ml_doc: ptr::null(),
};

/// A copy of `code` is gone: called with the weak reference that it had.
unsafe extern "C" fn leave(code: Object, weak: Object) -> Object {
    // SAFETY: a GIL is held, and the caller holds both.
    unsafe {
        if let Some(state) = interpreter::existing()
            && let Some(family) = state.monitors.families.get_mut(&code)
            && let Some(place) = family.copies.iter().position(|copy| copy.weak == weak)
        {
            let copy = family.copies.swap_remove(place);
            state.monitors.originals.remove(&copy.address);
            state.monitors.drop_empty(code);
            ffi::Py_DecRef(copy.weak);
        }
        none()
    }
}

/// Notes that `copy` is a copy of the frozen `code` in the running interpreter, and sets the events that are set on that.
///
/// # Errors
/// A Python exception is set.
///
/// # Safety
/// A GIL is held; `copy` is new.
pub unsafe fn join(copy: Object, code: Object) -> Result<(), Raised> {
    // SAFETY: a GIL is held; the family is looked up again after making the weak reference, which may run Python code.
    unsafe {
        let code = original(code);
        let callback = family(code)?.callback;
        ffi::Py_IncRef(callback);
        let weak = ffi::PyWeakref_NewRef(copy, callback);
        ffi::Py_DecRef(callback);
        let weak = raise::unless_null(weak)?;
        let joined = family(code).and_then(|family| {
            family.copies.try_reserve(1).map_err(|error| raise::no_memory(error.into()))?;
            family.copies.push(Copy { weak, address: copy });
            Ok(family.events)
        });
        let events = joined.inspect_err(|_| ffi::Py_DecRef(weak))?;
        for (tool, events) in (0..).zip(events) {
            if events.set != 0 && events.version == ffi::imm_tool_version(tool) {
                raise::unless_negative(ffi::_PyMonitoring_SetLocalEvents(copy.cast(), tool, events.set))?;
            }
        }
        Ok(())
    }
}

/// The frozen code object that `code` is a copy of, borrowed, or `code` itself.
///
/// # Safety
/// `code` is a code object; the caller holds a GIL.
pub unsafe fn original(code: Object) -> Object {
    // SAFETY: the weak references to a mutable object are a list that its interpreter's GIL protects.
    unsafe {
        if header::flags(code) & FROZEN != 0 {
            return interpreter::existing().map_or(code, |state| state.monitors.original_of_frozen(code));
        }
        let mut weak: *mut ffi::PyWeakReference = (*code.cast::<ffi::PyCodeObject>()).co_weakreflist.cast();
        while let Some(reference) = weak.as_ref() {
            let callback: *mut ffi::PyCFunctionObject = reference.wr_callback.cast();
            if !callback.is_null()
                && header::type_of(callback.cast()) == &raw mut ffi::PyCFunction_Type
                && (*callback).m_ml == &raw mut LEAVE
            {
                return (*callback).m_self;
            }
            weak = reference.wr_next;
        }
        code
    }
}

/// Has `tool` monitor these events in `code`: in the running interpreter's copies, present and future, if it is frozen or
/// a copy of frozen code.
///
/// # Errors
/// A Python exception is set: the tool is not in use, or there is no memory.
///
/// # Safety
/// `code` is a code object; the caller holds a GIL.
pub unsafe fn set_events(code: Object, tool: c_int, set: u32) -> Result<(), Raised> {
    // SAFETY: a GIL is held. What is taken from the table is owned before anything else happens to it.
    unsafe {
        let original = original(code);
        if header::flags(original) & FROZEN == 0 {
            return raise::unless_negative(ffi::_PyMonitoring_SetLocalEvents(code.cast(), tool, set));
        }
        // Asks whether the tool is in use.
        raise::unless_negative(ffi::_PyMonitoring_GetLocalEvents(original.cast(), tool, &mut 0))?;
        let family = family(original)?;
        let mut copies = Vec::new();
        copies.try_reserve_exact(family.copies.len()).map_err(|error| raise::no_memory(error.into()))?;
        family.events[tool as usize] = Events { set, version: ffi::imm_tool_version(tool) };
        for Copy { weak, .. } in &family.copies {
            let mut copy = ptr::null_mut();
            if ffi::PyWeakref_GetRef(*weak, &raw mut copy) > 0 {
                copies.push(copy);
            }
        }
        let monitored = copies
            .iter()
            .filter(|copy| header::flags(**copy) & FROZEN == 0)
            .try_for_each(|copy| raise::unless_negative(ffi::_PyMonitoring_SetLocalEvents(copy.cast(), tool, set)));
        for copy in copies {
            ffi::Py_DecRef(copy);
        }
        interpreter::current().ok_or(Raised)?.monitors.drop_empty(original);
        monitored
    }
}

/// The events that `tool` monitors in the frozen `code`, in the running interpreter.
///
/// # Safety
/// The caller holds a GIL; `tool` is a number of a tool.
pub unsafe fn events(code: Object, tool: c_int) -> u32 {
    // SAFETY: a GIL is held.
    unsafe {
        let code = original(code);
        interpreter::existing()
            .and_then(|state| state.monitors.families.get(&code))
            .map_or(0, |family| family.events(tool as usize, ffi::imm_tool_version(tool)))
    }
}

/// Notes the events that are set on `code`, which is about to be frozen, or whose copy it is.
///
/// # Errors
/// A Python exception is set.
///
/// # Safety
/// `code` is a code object; the caller holds a GIL.
pub unsafe fn adopt_events(code: Object) -> Result<(), Raised> {
    // SAFETY: a GIL is held.
    unsafe {
        let first = original(code);
        if first != code {
            let originals = &mut interpreter::current().ok_or(Raised)?.monitors.originals;
            originals.try_reserve(1).map_err(|error| raise::no_memory(error.into()))?;
            originals.insert(code, first);
            return Ok(());
        }
        let mut events = [Events::default(); TOOLS];
        for (tool, events) in (0..).zip(&mut events) {
            *events = Events { set: ffi::imm_local_events(code.cast(), tool), version: ffi::imm_tool_version(tool) };
        }
        if events.iter().any(|events| events.set != 0) {
            family(code)?.events = events;
        }
        Ok(())
    }
}
