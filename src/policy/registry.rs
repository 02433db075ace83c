//! Types that somebody registered, in one interpreter.

use std::collections::HashMap;

use super::Policy;
use crate::object::ffi;
use crate::object::header::{Object, Type};
use crate::object::memory::OutOfMemory;

/// The policies registered in one interpreter. Holds a reference to each type.
#[derive(Default)]
pub struct Registry {
    policies: HashMap<Type, Policy>,
}

impl Registry {
    /// Sets the policy of `ty`, replacing an earlier one.
    ///
    /// # Errors
    /// [`OutOfMemory`]: the earlier policy stays.
    ///
    /// # Safety
    /// The caller holds the GIL of the registry's interpreter.
    pub unsafe fn register(&mut self, ty: Type, policy: Policy) -> Result<(), OutOfMemory> {
        self.policies.try_reserve(1)?;
        if self.policies.insert(ty, policy).is_none() {
            // SAFETY: ty is live; the reference is given back by `clear`.
            unsafe { ffi::Py_IncRef(ty.cast()) };
        }
        Ok(())
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
                let base: Object = ffi::PyTuple_GetItem(mro, i);
                self.policies.get(&base.cast()).copied()
            })
        }
    }

    /// Gives the references back.
    ///
    /// # Safety
    /// As [`Registry::register`].
    pub unsafe fn clear(&mut self) {
        for (ty, _) in self.policies.drain() {
            // SAFETY: taken by `register`.
            unsafe { ffi::Py_DecRef(ty.cast()) };
        }
    }
}
