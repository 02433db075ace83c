//! What somebody has said of types and objects, in one interpreter.
//!
//! A type is found by its address, and an entry for it holds a weak reference: it does not keep a class, and another
//! one may come to its address. Any other object carries a flag, `header::OWN_POLICY`, while it has an entry: the flag goes
//! with the object, so an entry whose object is gone is never found again by another one at its address. Such an entry
//! stays until that address is used once more.

use std::collections::HashMap;
use std::ptr;

use super::vital::Vital;
use super::{Policy, Refusal, Word};
use crate::lifetime::weak;
use crate::object::ffi;
use crate::object::header::{self, FROZEN, OWN_POLICY, Object, Type};
use crate::object::raise::{self, Raised};

/// The policies set in one interpreter.
#[derive(Default)]
pub struct Registry {
    entries: HashMap<Object, Entry>,
    /// The number of the last override.
    serial: u64,
    /// What refuses although nobody said so.
    pub vital: Vital,
}

struct Entry {
    /// What was set last, and whether it was set for the object itself or, of a type, for its instances alone.
    set: Option<(Policy, Scope)>,
    /// Those that stand for a time, the latest last, with their numbers.
    overrides: Vec<(u64, Policy)>,
    /// Instances of this very type never change, whatever they refer to.
    shallow_immutable: bool,
    /// For a type: a weak reference to it, owned. Otherwise null.
    class: Object,
}

/// What a policy of a type is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// The object, and the instances of it if it is a type.
    Whole,
    /// The instances of a type; the type itself as far as it is permitted.
    Instances,
}

impl Entry {
    /// True if the entry is for the object that is at its address now.
    unsafe fn is_for(&self, op: Object) -> bool {
        if self.class.is_null() {
            // SAFETY: op is alive.
            return unsafe { header::flags(op) } & OWN_POLICY != 0;
        }
        // SAFETY: a weak reference.
        unsafe {
            let mut class = ptr::null_mut();
            ffi::PyWeakref_GetRef(self.class, &raw mut class);
            ffi::Py_DecRef(class);
            class == op
        }
    }

    fn says_nothing(&self) -> bool {
        self.set.is_none() && self.overrides.is_empty() && !self.shallow_immutable
    }

    fn for_instances(&self) -> Option<Policy> {
        self.overrides.last().map(|(_, policy)| *policy).or(self.set.map(|(policy, _)| policy))
    }

    fn for_itself(&self) -> Option<Policy> {
        let set = self.set.filter(|(policy, scope)| *scope == Scope::Whole || *policy == Policy::Yes);
        self.overrides.last().map(|(_, policy)| *policy).or(set.map(|(policy, _)| policy))
    }
}

impl Registry {
    /// Sets the policy of `op`, replacing one that was set earlier.
    ///
    /// # Errors
    /// MemoryError is set: the earlier policy stays.
    ///
    /// # Safety
    /// The caller holds the GIL of the registry's interpreter. `op` is a live type, or an object of that interpreter
    /// that is not frozen, immortal or shared.
    pub unsafe fn set(&mut self, op: Object, policy: Policy, scope: Scope) -> Result<(), Raised> {
        // SAFETY: the caller's.
        unsafe { self.entry(op)? }.set = Some((policy, scope));
        Ok(())
    }

    /// Says that the instances of this very type never change.
    ///
    /// # Errors
    /// MemoryError is set.
    ///
    /// # Safety
    /// As [`Registry::set`].
    pub unsafe fn set_shallow_immutable(&mut self, ty: Type) -> Result<(), Raised> {
        // SAFETY: the caller's.
        unsafe { self.entry(ty.cast())? }.shallow_immutable = true;
        Ok(())
    }

    /// Takes back what [`Registry::set`] did.
    ///
    /// # Safety
    /// As [`Registry::set`], but `op` may be in any state.
    pub unsafe fn unset(&mut self, op: Object) {
        // SAFETY: the caller's.
        unsafe {
            if let Some(entry) = self.find_mut(op) {
                entry.set = None;
                self.drop_if_empty(op);
            }
        }
    }

    /// Sets a policy of `op` for a time, until [`Registry::end_override`] gets the number that this returns. The latest
    /// of those that stand counts.
    ///
    /// # Errors
    /// MemoryError is set.
    ///
    /// # Safety
    /// As [`Registry::set`].
    pub unsafe fn begin_override(&mut self, op: Object, policy: Policy) -> Result<u64, Raised> {
        let serial = self.serial + 1;
        // SAFETY: the caller's.
        unsafe {
            let entry = self.entry(op)?;
            if let Err(error) = entry.overrides.try_reserve(1) {
                self.drop_if_empty(op);
                return Err(raise::no_memory(error.into()));
            }
            entry.overrides.push((serial, policy));
        }
        self.serial = serial;
        Ok(serial)
    }

    /// Ends one override.
    ///
    /// # Safety
    /// As [`Registry::unset`], for the object of that override.
    pub unsafe fn end_override(&mut self, op: Object, serial: u64) {
        // By its address alone: a freeze that came between has taken the flag.
        if let Some(entry) = self.entries.get_mut(&op) {
            entry.overrides.retain(|(other, _)| *other != serial);
            if entry.overrides.is_empty() {
                entry.overrides = Vec::new(); // the entry may stay until the table is full
            }
            // SAFETY: the caller's.
            unsafe { self.drop_if_empty(op) };
        }
    }

    /// What was said of the object itself, which has the flag.
    ///
    /// # Safety
    /// `op` is alive, and no type.
    pub unsafe fn of_object(&self, op: Object) -> Option<Word> {
        // SAFETY: the caller's.
        let entry = self.entries.get(&op).filter(|entry| unsafe { entry.is_for(op) });
        let said = entry.and_then(Entry::for_itself).map(Ok);
        said.or_else(|| self.vital.advice(op).map(|advice| Err(Refusal::Stateful(advice))))
    }

    /// Gives an object of `vital` the flag.
    ///
    /// # Safety
    /// `op` is alive, not frozen, and no type.
    pub unsafe fn give_flag(&mut self, op: Object) {
        // SAFETY: the caller's.
        unsafe {
            // An entry for an object without the flag is that of another one, which is gone.
            if header::flags(op) & OWN_POLICY == 0 {
                self.entries.remove(&op);
            }
            header::set_flags(op, header::flags(op) | OWN_POLICY);
        }
    }

    /// Takes the flag from an object that is not in `vital` any more.
    ///
    /// # Safety
    /// `op` is alive, had the flag from `give_flag`, and no type.
    pub unsafe fn take_flag(&self, op: Object) {
        // SAFETY: the caller's. A frozen object has lost the flag, and is not written.
        unsafe {
            let flags = header::flags(op);
            if flags & (OWN_POLICY | FROZEN) == OWN_POLICY && !self.entries.contains_key(&op) {
                header::set_flags(op, flags & !OWN_POLICY);
            }
        }
    }

    /// What was said of the instances of exactly this type.
    ///
    /// # Safety
    /// `ty` is a live type.
    pub unsafe fn for_instances(&self, ty: Type) -> Option<Policy> {
        // SAFETY: the caller's.
        unsafe { self.find(ty)?.for_instances() }
    }

    /// What was said of the type as an object.
    ///
    /// # Safety
    /// As [`Registry::for_instances`].
    pub unsafe fn for_itself(&self, ty: Type) -> Option<Policy> {
        // SAFETY: the caller's.
        unsafe { self.find(ty)?.for_itself() }
    }

    /// Whether the instances of exactly this type never change.
    ///
    /// # Safety
    /// As [`Registry::for_instances`].
    pub unsafe fn is_shallow_immutable(&self, ty: Type) -> bool {
        // SAFETY: the caller's.
        unsafe { self.find(ty) }.is_some_and(|entry| entry.shallow_immutable)
    }

    /// The number of entries, for tests.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    unsafe fn find(&self, ty: Type) -> Option<&Entry> {
        if self.entries.is_empty() {
            return None;
        }
        // SAFETY: the caller's.
        self.entries.get(&ty.cast()).filter(|entry| unsafe { entry.is_for(ty.cast()) })
    }

    unsafe fn find_mut(&mut self, op: Object) -> Option<&mut Entry> {
        // SAFETY: the caller's. An object that was frozen since has no flag any more.
        self.entries.get_mut(&op).filter(|entry| unsafe { entry.is_for(op) || header::flags(op) & FROZEN != 0 })
    }

    /// The entry for `op`, made if need be; then it says nothing yet.
    unsafe fn entry(&mut self, op: Object) -> Result<&mut Entry, Raised> {
        // SAFETY: as `set`; the callbacks of the weak references to types run nothing.
        unsafe {
            // Before the table grows, so that an entry costs the same however many there are.
            if self.entries.len() == self.entries.capacity() {
                self.drop_dead();
            }
            if self.entries.get(&op).is_none_or(|entry| !entry.is_for(op)) {
                self.entries.try_reserve(1).map_err(|error| raise::no_memory(error.into()))?;
                let is_type = header::has_feature(header::type_of(op), ffi::Py_TPFLAGS_TYPE_SUBCLASS);
                let class = if is_type {
                    weak::own_reference(op)?
                } else {
                    header::set_flags(op, header::flags(op) | OWN_POLICY);
                    ptr::null_mut()
                };
                let fresh = Entry { set: None, overrides: Vec::new(), shallow_immutable: false, class };
                if let Some(before) = self.entries.insert(op, fresh) {
                    ffi::Py_DecRef(before.class);
                }
            }
            // It was found, or inserted.
            self.entries.get_mut(&op).ok_or(Raised)
        }
    }

    unsafe fn drop_if_empty(&mut self, op: Object) {
        if self.entries.get(&op).is_some_and(Entry::says_nothing)
            && let Some(entry) = self.entries.remove(&op)
        {
            // SAFETY: the entry owned its weak reference. A frozen object has lost the flag, and is not written.
            unsafe {
                ffi::Py_DecRef(entry.class);
                let flags = header::flags(op);
                let goes = entry.class.is_null() && self.vital.advice(op).is_none();
                if goes && flags & (OWN_POLICY | FROZEN) == OWN_POLICY {
                    header::set_flags(op, flags & !OWN_POLICY);
                }
            }
        }
    }

    /// Drops the entries of types that are gone.
    unsafe fn drop_dead(&mut self) {
        // SAFETY: the entry owns its weak reference, and gives it back when it goes.
        self.entries.retain(|_, entry| unsafe { entry.class.is_null() || !weak::release_if_dead(entry.class) });
    }

    /// Drops every entry.
    ///
    /// # Safety
    /// The caller holds the GIL of the registry's interpreter.
    pub unsafe fn clear(&mut self) {
        // SAFETY: the caller's.
        unsafe { self.vital.clear() };
        for (_, entry) in std::mem::take(&mut self.entries) {
            // SAFETY: owned.
            unsafe { ffi::Py_DecRef(entry.class) };
        }
    }
}
