//! References that types of extensions own and their `tp_traverse` does not report.
//!
//! An extension registers a function for them (`PyImmutable_RegisterReachable`). They are edges like any other, at freeze and
//! at teardown, whichever interpreter does it: so there is one table for the process. A type in the table has a
//! flag in its own header. The flag goes with the type, and so tells an entry from what another type has left at the
//! same address; no entry is ever looked up for a type without it. While nobody registers anything the cost is one load.

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;

use super::ffi;
use super::header::{self, FROZEN, Object, REACHABLE, Type};
use super::memory::OutOfMemory;

/// A `traverseproc` that reports owned references, and is not null.
pub type Traverse = unsafe extern "C" fn(Object, ffi::visitproc, *mut c_void) -> c_int;

struct Entry {
    /// The address of the type: not a reference.
    ty: usize,
    traverse: Traverse,
}

/// Sorted by address.
static TABLE: RwLock<Vec<Entry>> = RwLock::new(Vec::new());

/// True once the table has had an entry.
static USED: AtomicBool = AtomicBool::new(false);

/// Why a function was not registered.
pub enum Refusal {
    /// The type was made by a `class` statement.
    PythonClass,
    /// The type is frozen, and so may be its instances, with fewer edges.
    Frozen,
    /// Another function is registered, and instances may be frozen with its edges.
    Other,
    /// There is no memory for the entry.
    OutOfMemory(OutOfMemory),
}

/// Makes `traverse` report further edges of the instances of `ty` and its subclasses. Does nothing if it does already.
///
/// # Errors
/// A [`Refusal`]; nothing has changed.
///
/// # Safety
/// `ty` is a live type, and the caller holds the GIL of its interpreter. For the same object `traverse` reports the same owned
/// references each time, as often as the object owns them, and none that `tp_traverse` reports; it runs no Python code.
pub unsafe fn register(ty: Type, traverse: Traverse) -> Result<(), Refusal> {
    // SAFETY: the caller's. The flags of a type that is not frozen belong to its interpreter; those of a static type, which
    // several have, are only written here, under the lock.
    unsafe {
        if header::is_python_class(ty) {
            return Err(Refusal::PythonClass);
        }
        let mut table = TABLE.write();
        let flags = header::flags(ty.cast());
        let place = table.binary_search_by_key(&ty.addr(), |entry| entry.ty);
        if flags & REACHABLE != 0 {
            let is_same = place.is_ok_and(|i| std::ptr::fn_addr_eq(table[i].traverse, traverse));
            return if is_same { Ok(()) } else { Err(Refusal::Other) };
        }
        if flags & FROZEN != 0 {
            return Err(Refusal::Frozen);
        }
        let entry = Entry { ty: ty.addr(), traverse };
        match place {
            Ok(i) => table[i] = entry,
            Err(i) => {
                table.try_reserve(1).map_err(|error| Refusal::OutOfMemory(error.into()))?;
                table.insert(i, entry);
            }
        }
        header::set_flags(ty.cast(), flags | REACHABLE);
        // Relaxed: whoever has an instance of the type has synchronised with its registration.
        USED.store(true, Ordering::Relaxed);
        Ok(())
    }
}

/// Calls `visit` for the registered references of `op`, an instance of `ty`.
///
/// # Safety
/// As [`super::edges::for_each`].
#[inline]
pub unsafe fn for_each<F: FnMut(Object)>(op: Object, ty: Type, visit: &mut F) {
    // Relaxed: as in `register`.
    if USED.load(Ordering::Relaxed) {
        // SAFETY: the caller's.
        unsafe { of_bases(op, ty, visit) };
    }
}

#[cold]
unsafe fn of_bases<F: FnMut(Object)>(op: Object, ty: Type, visit: &mut F) {
    unsafe extern "C" fn report<F: FnMut(Object)>(target: Object, arg: *mut c_void) -> c_int {
        // SAFETY: arg is the closure below.
        unsafe { (*arg.cast::<F>())(target) };
        0
    }
    let mut base = ty;
    // SAFETY: a live type has live bases; the function was registered for one of them, so op has its layout.
    unsafe {
        while !base.is_null() {
            if header::flags(base.cast()) & REACHABLE != 0
                && let Some(traverse) = find(base)
            {
                traverse(op, Some(report::<F>), (&raw mut *visit).cast());
            }
            base = (*base).tp_base;
        }
    }
}

fn find(ty: Type) -> Option<Traverse> {
    let table = TABLE.read();
    let place = table.binary_search_by_key(&ty.addr(), |entry| entry.ty).ok()?;
    Some(table[place].traverse)
}
