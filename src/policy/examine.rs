//! Types of which one instance can be frozen and another not, for what it holds: each is examined as a search enters it.

use std::ffi::CStr;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use crate::object::ffi;
use crate::object::header::{self, Object, Type};

/// How such a type is told, and its instances examined: `_PyImmutable_ExaminedType` in `immutability.h`.
pub type Examined = ffi::_PyImmutable_ExaminedType;

/// What `_ctypes` has announced: a static structure, the same for every interpreter.
static CDATA: AtomicPtr<Examined> = AtomicPtr::new(ptr::null_mut());

/// Announces a type; once is enough, and more do not matter.
pub fn announce(examined: *mut Examined) {
    // Release: who finds the pointer reads what it points to.
    CDATA.store(examined, Ordering::Release);
}

/// What examines the instances of `ty`, if something does.
///
/// # Safety
/// `ty` is a live type.
pub unsafe fn of(ty: Type) -> Option<&'static Examined> {
    // SAFETY: the caller's; what was announced is static.
    unsafe {
        let traverse = (*header::solid_c_base(ty)).tp_traverse;
        let known = CDATA.load(Ordering::Acquire).as_ref()?;
        (known.traverse.map(|known| known as usize) == traverse.map(|traverse| traverse as usize)).then_some(known)
    }
}

/// Why `op` cannot be frozen, if so.
///
/// # Safety
/// `op` is live, mutable and of a type that `examined` is for.
pub unsafe fn refusal(op: Object, examined: &Examined) -> Option<&'static str> {
    // SAFETY: the caller's; the answer is null or a static string.
    unsafe {
        let reason = examined.examine?(op);
        if reason.is_null() { None } else { CStr::from_ptr(reason).to_str().ok() }
    }
}
