//! Types of C modules that all interpreters share.
//!
//! A C module makes its types anew in each interpreter that imports it. A frozen instance would keep the type of the
//! interpreter that made it, foreign to the module of every other: `Decimal` there would not be its class, and its
//! methods would find the first interpreter's module state. So the types that policy knows to be sound
//! exist once in the process: the first interpreter to import the module makes them, the others take them over.
//!
//! ```text
//!   type_from_spec(spec, module)     take()   made before, by whichever interpreter: that type
//!                                    offer()  else the new type, now or later frozen, immortal and published
//!   PyType_GetModuleState(type) ...  module_of()  the module that took, or offered, the type here
//! ```
//!
//! The type holds the module that it was made for, and nothing else of its interpreter. Each interpreter works with its
//! own module's state; what a module keeps there, and may change, is never shared.
//!
//! Until [sharing has begun](super::begin_sharing), types are only noted: they are as CPython makes them.

use std::collections::HashMap;
use std::ffi::CStr;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

use super::{idle, interpreter, is_sharing, module};
use crate::freeze::run;
use crate::lifetime::{count, weak};
use crate::object::ffi;
use crate::object::header::{self, FROZEN, Object, Type};
use crate::object::memory::{self, OutOfMemory};
use crate::object::raise::{self, Raised};
use crate::policy;

/// A type that was published. Never freed.
struct Shared {
    ty: Type,
    /// An instance was frozen: whoever may be handed one needs the module.
    needed: AtomicBool,
    next: *const Shared,
}

/// The types that were published, the newest first.
static FIRST: AtomicPtr<Shared> = AtomicPtr::new(ptr::null_mut());

/// Changes whenever a type begins to be needed.
static NEEDS: AtomicU64 = AtomicU64::new(0);

fn published() -> impl Iterator<Item = &'static Shared> {
    // Acquire: what the publisher wrote.
    let mut next: *const Shared = FIRST.load(Ordering::Acquire);
    std::iter::from_fn(move || {
        // SAFETY: entries are never freed, nor changed once published.
        let entry = unsafe { next.as_ref()? };
        next = entry.next;
        Some(entry)
    })
}

/// Forgets every type: the main interpreter ends, and the next one of this process begins anew.
///
/// What was published is kept for ever, since frozen objects that outlive the interpreter may be of such types.
pub fn end() {
    FIRST.store(ptr::null_mut(), Ordering::Release);
}

/// The type of that full name. Policy knows each name, and so that there is one such type.
fn named(name: &CStr) -> Option<&'static Shared> {
    // SAFETY: a published type is never freed, nor is its name.
    published().find(|entry| unsafe { CStr::from_ptr((*entry.ty).tp_name) } == name)
}

/// True if all interpreters share `ty`.
pub fn is_shared(ty: Type) -> bool {
    published().any(|entry| entry.ty == ty)
}

/// True for a module that a type was made for: it lives as long as the type, and so does what is inside.
pub fn is_home(module: Object) -> bool {
    // SAFETY: a published type has a module, which never changes.
    published().any(|entry| unsafe { (*entry.ty.cast::<ffi::PyHeapTypeObject>()).ht_module } == module)
}

/// True for what shares its name, but nothing else, with a type that all interpreters share: its module was imported
/// twice in one interpreter.
///
/// # Safety
/// `ty` is a live type that C made.
pub unsafe fn is_twin(ty: Type) -> bool {
    // SAFETY: the caller's.
    unsafe { is_of_module(ty) && named(CStr::from_ptr((*ty).tp_name)).is_some_and(|entry| entry.ty != ty) }
}

/// Adds an immortal type, unless there is one of that name. Returns the one that is published.
fn publish(ty: Type) -> Result<Type, OutOfMemory> {
    let entry = memory::boxed(Shared { ty, needed: AtomicBool::new(false), next: ptr::null() })?;
    let entry = Box::into_raw(entry);
    let mut first = FIRST.load(Ordering::Acquire);
    loop {
        // SAFETY: an immortal type.
        if let Some(other) = named(unsafe { CStr::from_ptr((*ty).tp_name) }) {
            // SAFETY: not published.
            drop(unsafe { Box::from_raw(entry) });
            return Ok(other.ty);
        }
        // SAFETY: not yet published.
        unsafe { (*entry).next = first };
        // Release: the entry, and the type, to whoever finds it. If nobody else has published since `first` was read, and
        // it was read before the entries were looked at, then the name is new.
        match FIRST.compare_exchange(first, entry, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return Ok(ty),
            Err(now) => first = now,
        }
    }
}

/// The shared types of one interpreter.
#[derive(Default)]
pub struct Extensions {
    /// The module, owned, that made or took each type.
    modules: HashMap<Type, Object>,
    /// Types that were made while nobody could share them: weak references, owned.
    noted: Vec<Object>,
    /// The value of [`NEEDS`] up to which the modules were imported.
    linked: u64,
}

impl Extensions {
    unsafe fn set_module(&mut self, ty: Type, module: Object) -> Result<(), Raised> {
        // SAFETY: a GIL is held.
        unsafe {
            self.modules.try_reserve(1).map_err(|error| raise::no_memory(error.into()))?;
            ffi::Py_IncRef(module);
            if let Some(before) = self.modules.insert(ty, module) {
                ffi::Py_DecRef(before);
            }
            Ok(())
        }
    }

    unsafe fn forget(&mut self, ty: Type) {
        if let Some(module) = self.modules.remove(&ty) {
            // SAFETY: owned.
            unsafe { ffi::Py_DecRef(module) };
        }
    }

    /// True for a module whose state the methods of a shared type use here, also while the interpreter ends.
    pub fn holds(&self, module: Object) -> bool {
        self.modules.values().any(|held| *held == module)
    }

    /// Gives up everything. True if there was a module.
    ///
    /// # Safety
    /// The caller holds the interpreter's GIL.
    pub unsafe fn clear(&mut self) -> bool {
        for noted in std::mem::take(&mut self.noted) {
            // SAFETY: owned.
            unsafe { ffi::Py_DecRef(noted) };
        }
        // SAFETY: owned.
        idle::release_all(&mut self.modules, |_, module| unsafe { ffi::Py_DecRef(module) })
    }
}

unsafe fn is_of_module(ty: Type) -> bool {
    // SAFETY: ty is live; the flag says that it is a PyHeapTypeObject.
    unsafe {
        header::has_feature(ty, ffi::Py_TPFLAGS_HEAPTYPE) && !(*ty.cast::<ffi::PyHeapTypeObject>()).ht_module.is_null()
    }
}

/// True for a type that all interpreters share, or are going to, when it is frozen as part of something else.
///
/// # Safety
/// `ty` is a live type.
pub unsafe fn exists_once(ty: Type) -> bool {
    // SAFETY: the caller's.
    unsafe {
        is_of_module(ty)
            && header::has_feature(ty, ffi::Py_TPFLAGS_IMMUTABLETYPE)
            && policy::is_shared_by_name(CStr::from_ptr((*ty).tp_name))
    }
}

/// Nothing of `ty` depends on the interpreter but its module.
unsafe fn can_be_shared(ty: Type) -> bool {
    // SAFETY: ty is ready, so its mro is a tuple of types.
    unsafe {
        header::has_feature(ty, ffi::Py_TPFLAGS_IMMUTABLETYPE)
            && ffi::imm_allocator_is_shared() != 0
            && (1..ffi::PyTuple_Size((*ty).tp_mro)).all(|i| {
                let base: Type = ffi::PyTuple_GetItem((*ty).tp_mro, i).cast();
                !header::has_feature(base, ffi::Py_TPFLAGS_HEAPTYPE) || is_shared(base)
            })
    }
}

/// The type of that name which another interpreter has made, for `module`. New reference, or null without an exception.
///
/// # Safety
/// The caller holds a GIL; `module` is a module of the running interpreter.
pub unsafe fn take(name: &CStr, module: Object) -> Object {
    // SAFETY: the caller's. A published type is immortal, so that any number of references may be given out.
    unsafe {
        let Some(entry) = named(name) else { return ptr::null_mut() };
        let Some(state) = interpreter::current() else {
            ffi::PyErr_Clear();
            return ptr::null_mut();
        };
        // A module that is imported once more has types of its own, as it has a state of its own.
        if state.extensions.modules.contains_key(&entry.ty) {
            return ptr::null_mut();
        }
        if state.extensions.set_module(entry.ty, module).is_err() {
            ffi::PyErr_Clear();
            return ptr::null_mut();
        }
        entry.ty.cast()
    }
}

/// Notes, or shares, a type that the running interpreter has made for a module. Takes over the reference to `ty`; returns
/// a new one to the type to use.
///
/// # Safety
/// The caller holds a GIL; `ty` is a ready heap type with a module. No exception is set.
pub unsafe fn offer(ty: Type) -> Object {
    // SAFETY: the caller's. Without memory the type stays with its interpreter.
    unsafe {
        let name = CStr::from_ptr((*ty).tp_name);
        if !policy::is_shared_by_name(name) || named(name).is_some() {
            return ty.cast();
        }
        if note(ty).is_err() {
            ffi::PyErr_Clear();
            return ty.cast();
        }
        if is_sharing() {
            settle();
            // Another interpreter may have been quicker.
            let module = (*ty.cast::<ffi::PyHeapTypeObject>()).ht_module;
            let taken = take(name, module);
            if !taken.is_null() {
                ffi::Py_DecRef(ty.cast());
                return taken;
            }
        }
        ty.cast()
    }
}

unsafe fn note(ty: Type) -> Result<(), Raised> {
    // SAFETY: the caller's; the callback of the weak reference runs nothing.
    unsafe {
        let noted = &mut interpreter::current().ok_or(Raised)?.extensions.noted;
        if noted.len() == noted.capacity() {
            // Before the list grows, those of modules that are gone.
            noted.retain(|&class| !weak::release_if_dead(class));
        }
        noted.try_reserve(1).map_err(|error| raise::no_memory(error.into()))?;
        let class = weak::own_reference(ty.cast())?;
        noted.push(class);
        Ok(())
    }
}

/// Freezes and publishes the types that were noted in the running interpreter, before one of them is frozen as part of
/// something else, or another interpreter could make its own.
///
/// # Safety
/// The caller holds a GIL. No exception is set.
pub unsafe fn settle() {
    // SAFETY: the caller's. No Python code runs: a weak reference to a type has no callback of ours.
    unsafe {
        let Some(state) = interpreter::existing() else { return };
        if state.extensions.noted.is_empty() {
            return;
        }
        let mut noted = std::mem::take(&mut state.extensions.noted);
        noted.retain(|&noted| {
            let mut class = ptr::null_mut();
            ffi::PyWeakref_GetRef(noted, &raw mut class);
            if !class.is_null() && can_be_shared(class.cast()) && share(class.cast()).is_err() {
                // Without memory now, the next freeze tries again.
                ffi::PyErr_Clear();
                ffi::Py_DecRef(class);
                return true;
            }
            ffi::Py_DecRef(class);
            ffi::Py_DecRef(noted);
            false
        });
        if let Some(state) = interpreter::existing() {
            state.extensions.noted = noted;
        }
    }
}

unsafe fn share(ty: Type) -> Result<(), Raised> {
    // SAFETY: a GIL is held and ty alive. Nobody else counts it yet but this interpreter, so its count may be written;
    // the caller's reference makes it a live member of its component, which it stays for ever.
    unsafe {
        if named(CStr::from_ptr((*ty).tp_name)).is_some() {
            return Ok(()); // its module was imported twice
        }
        if header::flags(ty.cast()) & FROZEN == 0 {
            run::freeze(&[ty.cast()], run::Terms::NONE)?;
        }
        let module = (*ty.cast::<ffi::PyHeapTypeObject>()).ht_module;
        interpreter::current().ok_or(Raised)?.extensions.set_module(ty, module)?;
        // By which its interpreter knows it without a look-up: `_PyType_ModuleHere`.
        header::set_owner(module, module::owner_mark());
        header::set_refcnt(ty.cast(), count::IMMORTAL);
        let published = publish(ty).map_err(|error| raise::no_memory(error))?;
        if published != ty {
            interpreter::current().ok_or(Raised)?.extensions.forget(ty);
        }
        Ok(())
    }
}

/// Forgets a module that could not be initialised.
///
/// # Safety
/// The caller holds a GIL; `module` is alive. An exception may be set.
pub unsafe fn forget_module(module: Object) {
    // SAFETY: the caller's; the references are the table's own, and not the last ones.
    unsafe {
        if let Some(state) = interpreter::existing() {
            for _ in state.extensions.modules.extract_if(|_, owned| *owned == module) {
                ffi::Py_DecRef(module);
            }
        }
    }
}

/// The module of a frozen type in the running interpreter, borrowed. `_PyType_ModuleHere` asks only where that is not the
/// one which the type was made for, or not known to be.
///
/// `may_import` permits to import it if this interpreter has none; without, and when that fails, it is the module that the
/// type was made for.
///
/// # Safety
/// `ty` is a live heap type with a module; the caller holds a GIL.
pub unsafe fn module_of(ty: Type, may_import: bool) -> Object {
    // SAFETY: the caller's. Of a foreign module only what never changes is read: the name and token.
    unsafe {
        let home = (*ty.cast::<ffi::PyHeapTypeObject>()).ht_module;
        let Some(state) = interpreter::existing() else { return home };
        if let Some(&found) = state.extensions.modules.get(&ty)
            && ffi::imm_module_token(found) == ffi::imm_module_token(home)
        {
            return found;
        }
        if may_import { import(ty, home) } else { home }
    }
}

/// Imports the module of `ty`, and keeps it for [`module_of`].
#[cold]
unsafe fn import(ty: Type, home: Object) -> Object {
    // SAFETY: as `module_of`. An exception that is set stays.
    unsafe {
        let error = ffi::PyErr_GetRaisedException();
        let mut found = home;
        if let Ok(module) = module::own(home) {
            if ffi::imm_module_token(module) == ffi::imm_module_token(home)
                && let Some(state) = interpreter::existing()
                && (state.extensions.modules.get(&ty) == Some(&module)
                    || state.extensions.set_module(ty, module).is_ok())
            {
                found = module;
            }
            ffi::Py_DecRef(module);
        }
        ffi::PyErr_SetRaisedException(error);
        found
    }
}

/// Notes that instances of `ty` are about to be frozen.
pub fn need(ty: Type) {
    if let Some(entry) = published().find(|entry| entry.ty == ty)
        && !entry.needed.swap(true, Ordering::Relaxed)
    {
        // Release: the flag. What is passed later passes after this.
        NEEDS.fetch_add(1, Ordering::Release);
    }
}

/// Sees to it that the running interpreter has the modules of all types that a frozen object which it is handed may
/// contain: their methods must find a module state.
///
/// # Errors
/// A Python exception is set: a module cannot be imported here.
///
/// # Safety
/// The caller holds a GIL. Python code may run.
#[inline]
pub unsafe fn link() -> Result<(), Raised> {
    let needs = NEEDS.load(Ordering::Acquire);
    // SAFETY: the caller's.
    unsafe {
        if needs == 0 || interpreter::current().ok_or(Raised)?.extensions.linked == needs {
            return Ok(());
        }
        link_all(needs)
    }
}

#[cold]
unsafe fn link_all(needs: u64) -> Result<(), Raised> {
    // SAFETY: as `link`; the state is looked up again after each import.
    unsafe {
        for entry in published().filter(|entry| entry.needed.load(Ordering::Relaxed)) {
            if !interpreter::current().ok_or(Raised)?.extensions.modules.contains_key(&entry.ty) {
                let home = (*entry.ty.cast::<ffi::PyHeapTypeObject>()).ht_module;
                let module = module::own(home)?;
                let state = interpreter::current();
                let known = state.is_some_and(|state| state.extensions.modules.contains_key(&entry.ty));
                ffi::Py_DecRef(module);
                if !known {
                    ffi::PyErr_Format(
                        ffi::PyExc_ImportError,
                        c"frozen '%s' objects need their C module, and this interpreter has another one of that name"
                            .as_ptr(),
                        (*entry.ty).tp_name,
                    );
                    return Err(Raised);
                }
            }
        }
        interpreter::current().ok_or(Raised)?.extensions.linked = needs;
        Ok(())
    }
}
