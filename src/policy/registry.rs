//! Types that somebody registered, in one interpreter.

use std::collections::HashMap;
use std::ptr;

use super::Policy;
use crate::object::ffi;
use crate::object::header::{self, Object, Type};
use crate::object::raise::{self, Raised};

/// The policies registered in one interpreter.
#[derive(Default)]
pub struct Registry {
    policies: HashMap<Type, Entry>,
}

struct Entry {
    policy: Policy,
    /// Instances never change once they are constructed.
    is_shallow_immutable: bool,
    /// A weak reference to the type, owned: an entry does not keep a class, and another one may come to its address.
    class: Object,
}

impl Entry {
    /// True if the entry is for the type that is at its address now.
    unsafe fn is_for(&self, ty: Type) -> bool {
        // SAFETY: a weak reference.
        unsafe {
            let mut class = ptr::null_mut();
            ffi::PyWeakref_GetRef(self.class, &raw mut class);
            ffi::Py_DecRef(class);
            class.cast() == ty
        }
    }
}

impl Registry {
    /// Sets the policy of `ty`, replacing an earlier one. What is known of its being a shallow immutable stays.
    ///
    /// # Errors
    /// MemoryError is set: the earlier policy stays.
    ///
    /// # Safety
    /// The caller holds the GIL of the registry's interpreter.
    pub unsafe fn register(&mut self, ty: Type, policy: Policy) -> Result<(), Raised> {
        // SAFETY: the caller's.
        unsafe { self.set(ty, policy, self.is_shallow_immutable(ty)) }
    }

    /// Notes that the direct instances of `ty`, a type made in C, never change once they are constructed, and that they
    /// and those of its subclasses are freezable.
    ///
    /// # Errors
    /// A TypeError is set for a Python class, whose instances and attributes can always be assigned to; or a MemoryError.
    ///
    /// # Safety
    /// As [`Registry::register`].
    pub unsafe fn register_shallow_immutable(&mut self, ty: Type) -> Result<(), Raised> {
        // SAFETY: the caller's.
        unsafe {
            if header::is_python_class(ty) {
                ffi::PyErr_SetString(
                    ffi::PyExc_TypeError,
                    c"only a type made in C can be a shallow immutable: register a class with register_freezable()"
                        .as_ptr(),
                );
                return Err(Raised);
            }
            self.set(ty, Policy::Yes, true)
        }
    }

    unsafe fn set(&mut self, ty: Type, policy: Policy, is_shallow_immutable: bool) -> Result<(), Raised> {
        // SAFETY: ty is a live type; weak references to types have no callbacks of ours, so nothing runs.
        unsafe {
            self.drop_dead();
            self.policies.try_reserve(1).map_err(|error| raise::no_memory(error.into()))?;
            let class = raise::unless_null(ffi::PyWeakref_NewRef(ty.cast(), ptr::null_mut()))?;
            if let Some(before) = self.policies.insert(ty, Entry { policy, is_shallow_immutable, class }) {
                ffi::Py_DecRef(before.class);
            }
            Ok(())
        }
    }

    /// Whether `ty` itself, and not a base of it, was registered as a shallow immutable.
    ///
    /// # Safety
    /// `ty` is a live type.
    pub unsafe fn is_shallow_immutable(&self, ty: Type) -> bool {
        // SAFETY: the caller's.
        self.policies.get(&ty).is_some_and(|entry| entry.is_shallow_immutable && unsafe { entry.is_for(ty) })
    }

    /// The policy of the nearest registered type in `ty`'s method resolution
    /// order, if any.
    ///
    /// # Safety
    /// `ty` is a live, ready type.
    pub unsafe fn nearest(&self, ty: Type) -> Option<Policy> {
        if self.policies.is_empty() {
            return None;
        }
        // SAFETY: a ready type's tp_mro is a tuple of types.
        unsafe {
            let mro = (*ty).tp_mro;
            (0..ffi::PyTuple_Size(mro)).find_map(|i| {
                let base: Type = ffi::PyTuple_GetItem(mro, i).cast();
                self.policies.get(&base).filter(|entry| entry.is_for(base)).map(|entry| entry.policy)
            })
        }
    }

    /// Drops the entries of types that are gone.
    unsafe fn drop_dead(&mut self) {
        self.policies.retain(|_, entry| {
            // SAFETY: the entry owns its weak reference, and gives it back when it goes.
            unsafe {
                let is_alive = ffi::PyWeakref_IsDead(entry.class) == 0;
                if !is_alive {
                    ffi::Py_DecRef(entry.class);
                }
                is_alive
            }
        });
    }

    /// Drops every entry.
    ///
    /// # Safety
    /// As [`Registry::register`].
    pub unsafe fn clear(&mut self) {
        for (_, entry) in self.policies.drain() {
            // SAFETY: owned.
            unsafe { ffi::Py_DecRef(entry.class) };
        }
    }
}
