//! Modules that every interpreter's import finds (`share_module`).
//!
//! The process has one list of them, which only grows. An import looks a name up here before it looks for a file; an
//! interpreter that imported another module of that name before gets this one into `sys.modules` by its next import.

use std::sync::atomic::{AtomicI32, Ordering};

use parking_lot::{Mutex, MutexGuard};

use super::interpreter;
use super::reference::Reference;
use crate::object::ffi;
use crate::object::header::Object;
use crate::object::memory::OutOfMemory;
use crate::object::raise::{self, Raised};

struct Shared {
    name: Box<str>,
    module: Reference,
}

struct List {
    shared: Vec<Shared>,
    /// Names of modules that are being frozen.
    pending: Vec<Box<str>>,
}

fn list() -> MutexGuard<'static, List> {
    static LIST: Mutex<List> = Mutex::new(List { shared: Vec::new(), pending: Vec::new() });
    LIST.lock()
}

/// `_PyImmutable_SharedModules`: how many there are.
#[unsafe(no_mangle)]
pub static _PyImmutable_SharedModules: AtomicI32 = AtomicI32::new(0);

/// The right to share a module under one name, until it is dropped.
pub struct Claim {
    name: Box<str>,
}

/// Why a name cannot be claimed.
pub enum Denied {
    /// Another module of that name is shared, or being shared.
    Taken,
    /// The very module is shared already.
    Done,
    /// There is no memory.
    OutOfMemory,
}

impl From<OutOfMemory> for Denied {
    fn from(_: OutOfMemory) -> Self {
        Denied::OutOfMemory
    }
}

impl Claim {
    /// Claims a name for `module`.
    ///
    /// # Errors
    /// See [`Denied`].
    pub fn new(name: &str, module: Object) -> Result<Self, Denied> {
        let owned = || -> Result<Box<str>, OutOfMemory> {
            let mut text = String::new();
            text.try_reserve_exact(name.len())?;
            text.push_str(name);
            Ok(text.into_boxed_str())
        };
        let claim = Claim { name: owned()? };
        let noted = owned()?;
        let mut list = list();
        let taken = match list.shared.iter().find(|shared| &*shared.name == name) {
            Some(shared) if shared.module.as_ptr() == module => Some(Denied::Done),
            Some(_) => Some(Denied::Taken),
            None => list.pending.iter().any(|pending| &**pending == name).then_some(Denied::Taken),
        };
        let List { shared, pending } = &mut *list;
        let room = shared.try_reserve(pending.len() + 1).and_then(|()| pending.try_reserve(1));
        if let Some(denied) = taken.or(room.is_err().then_some(Denied::OutOfMemory)) {
            drop(list);
            std::mem::forget(claim); // another's name, or none
            return Err(denied);
        }
        pending.push(noted);
        Ok(claim)
    }

    /// Shares the module, for which there is room.
    pub fn publish(mut self, module: Reference) {
        let mut list = list();
        let name = std::mem::take(&mut self.name);
        list.pending.retain(|pending| *pending != name);
        list.shared.push(Shared { name, module });
        // Relaxed: who is to know of the module hears of it by means that order more than this number.
        _PyImmutable_SharedModules.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.name.is_empty() {
            list().pending.retain(|pending| *pending != self.name);
        }
    }
}

/// The shared module of that name.
///
/// Whoever calls holds a GIL.
pub fn find(name: &str) -> Option<Reference> {
    list().shared.iter().find(|shared| &*shared.name == name).map(|shared| shared.module.clone())
}

fn nth(n: usize) -> Result<Option<(String, Reference)>, OutOfMemory> {
    let list = list();
    let Some(shared) = list.shared.get(n) else { return Ok(None) };
    let mut name = String::new();
    name.try_reserve_exact(shared.name.len())?;
    name.push_str(&shared.name);
    Ok(Some((name, shared.module.clone())))
}

/// Replaces what `sys.modules` holds under the names of modules that were shared since the last call.
///
/// # Errors
/// A Python exception is set.
///
/// # Safety
/// A GIL is held. Python code may run.
pub unsafe fn adopt() -> Result<(), Raised> {
    // SAFETY: the state is looked up again each time, since Python code may run.
    unsafe {
        loop {
            let modules = &mut interpreter::current().ok_or(Raised)?.modules;
            if modules.adopted >= _PyImmutable_SharedModules.load(Ordering::Relaxed) as usize {
                return Ok(());
            }
            let Some((name, module)) = nth(modules.adopted).map_err(|error| raise::no_memory(error))? else {
                return Ok(());
            };
            modules.adopted += 1;
            replace(&name, module.as_ptr())?;
        }
    }
}

unsafe fn replace(name: &str, module: Object) -> Result<(), Raised> {
    // SAFETY: a GIL is held; new references are given back.
    unsafe {
        let modules = ffi::imm_modules();
        if modules.is_null() {
            return Ok(()); // the interpreter ends
        }
        let key = raise::unless_null(ffi::PyUnicode_FromStringAndSize(name.as_ptr().cast(), name.len() as isize))?;
        let mut older = std::ptr::null_mut();
        let replaced = if ffi::PyMapping_GetOptionalItem(modules, key, &raw mut older) < 0 {
            Err(Raised)
        } else if older.is_null() || older == module {
            Ok(())
        } else {
            raise::unless_negative(ffi::PyObject_SetItem(modules, key, module))
                .and_then(|()| replace_in_package(modules, name, older, module))
        };
        ffi::Py_DecRef(older);
        ffi::Py_DecRef(key);
        replaced
    }
}

/// A submodule is an attribute of its package too.
unsafe fn replace_in_package(modules: Object, name: &str, older: Object, module: Object) -> Result<(), Raised> {
    let Some((package, child)) = name.rsplit_once('.') else { return Ok(()) };
    // SAFETY: as `replace`.
    unsafe {
        let new_text = |text: &str| {
            raise::unless_null(ffi::PyUnicode_FromStringAndSize(text.as_ptr().cast(), text.len() as isize))
        };
        let (package, child) = (new_text(package)?, new_text(child)?);
        let (mut parent, mut before) = (std::ptr::null_mut(), std::ptr::null_mut());
        let replaced = if ffi::PyMapping_GetOptionalItem(modules, package, &raw mut parent) < 0
            || !parent.is_null() && ffi::PyObject_GetOptionalAttr(parent, child, &raw mut before) < 0
        {
            Err(Raised)
        } else if before == older {
            raise::unless_negative(ffi::PyObject_SetAttr(parent, child, module))
        } else {
            Ok(())
        };
        for op in [before, parent, child, package] {
            ffi::Py_DecRef(op);
        }
        replaced
    }
}
