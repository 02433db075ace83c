//! Types that somebody registered, in one interpreter.

use std::collections::HashMap;
use std::ptr;

use super::Policy;
use crate::object::ffi;
use crate::object::header::{Object, Type};
use crate::object::raise::{self, Raised};

/// The policies registered in one interpreter.
#[derive(Default)]
pub struct Registry {
    policies: HashMap<Type, Entry>,
}

struct Entry {
    policy: Policy,
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
    /// Sets the policy of `ty`, replacing an earlier one.
    ///
    /// # Errors
    /// MemoryError is set: the earlier policy stays.
    ///
    /// # Safety
    /// The caller holds the GIL of the registry's interpreter.
    pub unsafe fn register(&mut self, ty: Type, policy: Policy) -> Result<(), Raised> {
        // SAFETY: ty is a live type; weak references to types have no callbacks of ours, so nothing runs.
        unsafe {
            self.drop_dead();
            self.policies.try_reserve(1).map_err(|error| raise::no_memory(error.into()))?;
            let class = raise::unless_null(ffi::PyWeakref_NewRef(ty.cast(), ptr::null_mut()))?;
            if let Some(before) = self.policies.insert(ty, Entry { policy, class }) {
                ffi::Py_DecRef(before.class);
            }
            Ok(())
        }
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
