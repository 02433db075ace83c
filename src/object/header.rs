//! The header of an object, and of the collector's word before it.
//!
//! ```text
//! object header                      collector header, 16 bytes before it
//!   0  refcnt   u32  (see count.rs)    -16  next  tracked: list link; 0: untracked
//!   4  overflow u16  (see owner)         -8  prev  tracked: list link
//!   6  flags    u16  (immutability.h)             exploring: index of the search
//!   8  type     *                                 frozen member: its component
//!                                                 bit 0: finalizer has run
//!                                                 bit 1: the collector's own
//! ```
//!
//! The layout is CPython's (`struct _object`, `PyGC_Head`); `immutability.h`
//! describes the bits that are ours.

use std::ffi::CStr;
use std::mem::offset_of;
use std::sync::atomic::{AtomicU32, Ordering};

use super::ffi;

/// A pointer to a Python object; never null unless said so.
pub type Object = *mut ffi::PyObject;
/// An object as the search and the records know it.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct PyNode(pub Object);

impl PyNode {
    /// The same objects, as nodes.
    pub fn slice(objects: &[Object]) -> &[PyNode] {
        // SAFETY: the two types have one representation.
        unsafe { std::slice::from_raw_parts(objects.as_ptr().cast(), objects.len()) }
    }
}

/// A pointer to a type object.
pub type Type = *mut ffi::PyTypeObject;

/// The object may no longer be written.
pub const FROZEN: u16 = ffi::_Py_FROZEN_FLAG as u16;
/// Seen by the freeze in progress.
pub const VISITED: u16 = ffi::_Py_VISITED_FLAG as u16;
/// Member of a component with a cycle.
pub const MEMBER: u16 = ffi::_Py_MEMBER_FLAG as u16;
/// Not allocated, but part of CPython itself.
pub const STATIC: u16 = ffi::_Py_STATICALLY_ALLOCATED_FLAG as u16;
/// Counted as frozen objects are, yet mutable.
pub const PROXY: u16 = ffi::_Py_PROXY_FLAG as u16;
/// On a mutable weak reference: its referent is frozen (see `lifetime::weak`).
pub const FROZEN_REFERENT: u16 = ffi::_Py_FROZEN_REFERENT_FLAG as u16;
/// Frozen, with state that each interpreter has for itself (see `share::part`).
pub const PARTED: u16 = ffi::_Py_PARTED_FLAG as u16;
/// On a type: its instances own references that only [`super::reachable`] knows.
pub const REACHABLE: u16 = ffi::_Py_REACHABLE_FLAG as u16;

/// On a frozen class: other interpreters have a class of the same name (see `share::namesake`).
pub const NAMESAKES: u16 = ffi::_Py_NAMESAKES_FLAG as u16;

/// A policy was set for this very object in its interpreter (`policy::Registry`).
pub const OWN_POLICY: u16 = 1 << 7;

#[repr(C)]
struct Header {
    refcnt: u32,
    overflow: u16,
    flags: u16,
    ty: Type,
}

/// Offset of the upper byte of an object's flags.
pub const UPPER_FLAGS: usize = offset_of!(Header, flags) + 1;

const _: () = assert!(size_of::<Header>() == size_of::<ffi::PyObject>());
const _: () = assert!(size_of::<ffi::PyGC_Head>() == 16);

/// CPython's `PyGC_Head`.
#[repr(C)]
pub struct GcHead {
    /// Next tracked object, or 0 while untracked.
    pub next: usize,
    /// Previous tracked object and two flag bits; ours while untracked.
    pub prev: usize,
}

/// `_PyGC_PREV_MASK_FINALIZED`
pub const GC_FINALIZED: usize = 1;
/// Bits of [`GcHead::prev`] that are not a pointer (or an index, or a record).
pub const GC_PREV_BITS: usize = 3;

/// The count word, for atomic use.
///
/// # Safety
/// `op` points to a live object for as long as the result is used.
#[inline(always)]
pub unsafe fn count_word<'a>(op: Object) -> &'a AtomicU32 {
    // SAFETY: the field is 4-byte aligned and lives as long as the object.
    unsafe { AtomicU32::from_ptr(&raw mut (*op.cast::<Header>()).refcnt) }
}

/// The raw count field.
///
/// # Safety
/// `op` points to a live object.
#[inline(always)]
pub unsafe fn refcnt(op: Object) -> u32 {
    // SAFETY: the caller's. Relaxed: other interpreters may be counting a frozen object, whose word stays in the range of
    // frozen and immortal ones meanwhile.
    unsafe { count_word(op).load(Ordering::Relaxed) }
}

/// Overwrites the raw count field.
///
/// # Safety
/// `op` is live and nothing else changes its count at the same time.
#[inline(always)]
pub unsafe fn set_refcnt(op: Object, value: u32) {
    // SAFETY: the caller's.
    unsafe { (*op.cast::<Header>()).refcnt = value }
}

/// The flag bits.
///
/// # Safety
/// `op` points to a live object.
#[inline(always)]
pub unsafe fn flags(op: Object) -> u16 {
    // SAFETY: the caller's.
    unsafe { (*op.cast::<Header>()).flags }
}

/// Overwrites the flag bits.
///
/// # Safety
/// As [`set_refcnt`].
#[inline(always)]
pub unsafe fn set_flags(op: Object, value: u16) {
    // SAFETY: the caller's.
    unsafe { (*op.cast::<Header>()).flags = value }
}

/// For a proxy, the mark of the interpreter that it belongs to (`share::module`), in a field that CPython does not use
/// on 64-bit builds.
///
/// # Safety
/// `op` points to a live object.
#[inline(always)]
pub unsafe fn owner(op: Object) -> u16 {
    // SAFETY: the caller's.
    unsafe { (*op.cast::<Header>()).overflow }
}

/// Sets [`owner`].
///
/// # Safety
/// As [`set_refcnt`].
#[inline(always)]
pub unsafe fn set_owner(op: Object, mark: u16) {
    // SAFETY: the caller's.
    unsafe { (*op.cast::<Header>()).overflow = mark }
}

/// The object's type.
///
/// # Safety
/// `op` points to a live object.
#[inline(always)]
pub unsafe fn type_of(op: Object) -> Type {
    // SAFETY: the caller's.
    unsafe { (*op.cast::<Header>()).ty }
}

/// True for immortal objects and for all that are counted atomically: neither
/// is ever entered by a freeze.
///
/// # Safety
/// `op` points to a live object.
#[inline(always)]
pub unsafe fn is_immortal_or_shared(op: Object) -> bool {
    // SAFETY: the caller's.
    unsafe { (refcnt(op) as i32) < 0 }
}

/// True for what may not be written any more, nor anything that it refers to.
///
/// The flag alone does not say so: the namespace that the view of a frozen function runs with refuses writes too, but
/// holds what is its interpreter's own, and is counted as mutable objects are.
///
/// # Safety
/// `op` points to a live object.
#[inline(always)]
pub unsafe fn is_frozen(op: Object) -> bool {
    // SAFETY: the caller's.
    unsafe { flags(op) & FROZEN != 0 && is_immortal_or_shared(op) }
}

/// The full name of a type. C code could name a type in no known encoding: then it is "?".
///
/// # Safety
/// `ty` points to a type that lives as long as the name is used.
pub unsafe fn type_name<'a>(ty: Type) -> &'a str {
    // SAFETY: the caller's; a type's name ends with a zero byte.
    unsafe { CStr::from_ptr((*ty).tp_name).to_str().unwrap_or("?") }
}

/// True if `name` is the `tp_name` of a type.
///
/// # Safety
/// `ty` points to a live type.
pub unsafe fn is_named(ty: Type, name: &CStr) -> bool {
    // SAFETY: the caller's; a type's name ends with a zero byte.
    unsafe { CStr::from_ptr((*ty).tp_name) == name }
}

/// Tests a `tp_flags` bit.
///
/// # Safety
/// `ty` points to a live type.
#[inline(always)]
pub unsafe fn has_feature(ty: Type, feature: u32) -> bool {
    // SAFETY: the caller's.
    unsafe { (*ty).tp_flags & feature as std::ffi::c_ulong != 0 }
}

/// True if a [`GcHead`] stands before the object.
///
/// # Safety
/// `op` points to a live object.
#[inline(always)]
pub unsafe fn has_gc_head(op: Object) -> bool {
    // SAFETY: the caller's; tp_is_gc runs no Python code.
    unsafe {
        let ty = type_of(op);
        has_feature(ty, ffi::Py_TPFLAGS_HAVE_GC) && (*ty).tp_is_gc.is_none_or(|is_gc| is_gc(op) != 0)
    }
}

/// The collector's header.
///
/// # Safety
/// [`has_gc_head`] is true for `op`.
#[inline(always)]
pub unsafe fn gc_head(op: Object) -> *mut GcHead {
    // SAFETY: the caller's.
    unsafe { op.cast::<GcHead>().sub(1) }
}

/// True if `ty` was made by a `class` statement or by `type(...)`, not by C.
///
/// Types that C makes from a spec own a copy of their name (`_ht_tpname`);
/// those that `type.__new__` makes never do (typeobject.c).
///
/// # Safety
/// `ty` points to a live type.
pub unsafe fn is_python_class(ty: Type) -> bool {
    // SAFETY: the flag says that ty is a PyHeapTypeObject.
    unsafe { has_feature(ty, ffi::Py_TPFLAGS_HEAPTYPE) && (*ty.cast::<ffi::PyHeapTypeObject>())._ht_tpname.is_null() }
}

/// The nearest base that C code made: what decides the layout of `ty`.
///
/// # Safety
/// `ty` points to a live, ready type.
pub unsafe fn solid_c_base(mut ty: Type) -> Type {
    // SAFETY: every Python class has a base, and the chain ends in `object`.
    unsafe {
        while is_python_class(ty) {
            ty = (*ty).tp_base;
        }
        ty
    }
}
