//! The references that an object owns.
//!
//! What counts as an edge must be the same when a component's internal edges
//! are counted at freeze and when they are given back at teardown, and must
//! never be more than the references really owned: an edge missed only delays
//! the release, an edge invented releases early.
//!
//! Three sources: the layouts of the hottest builtin types, read directly; the
//! type's `tp_traverse`; and, for references that it does not report, the
//! table in [`unreported`]. The reference to the type itself is counted once
//! for heap types, whether or not their `tp_traverse` reports it.

use std::ffi::{c_int, c_void};
use std::ptr;

use super::ffi;
use super::header::{self, FROZEN, Object, Type, VISITED};

/// Calls `visit` for each owned reference of `op`.
///
/// # Safety
/// `op` is a live object of the running interpreter or a frozen one; the caller
/// holds a GIL. `visit` must not change the object's references.
#[inline]
pub unsafe fn for_each<F: FnMut(Object)>(op: Object, visit: &mut F) {
    // SAFETY: each branch checks the exact type before it uses its layout.
    unsafe {
        let ty = header::type_of(op);
        if ty == &raw mut ffi::PyTuple_Type {
            let tuple = op.cast::<ffi::PyTupleObject>();
            let items = (&raw mut (*tuple).ob_item).cast::<Object>();
            slots(items, (*tuple).ob_base.ob_size as usize, visit);
        } else if ty == &raw mut ffi::PyList_Type {
            let list = op.cast::<ffi::PyListObject>();
            slots((*list).ob_item, (*list).ob_base.ob_size as usize, visit);
        } else if ty == &raw mut ffi::PyDict_Type || ty == &raw mut ffi::PyFrozenDict_Type {
            dict(op.cast(), visit);
        } else if is_plain_instance(ty) {
            inline_values(op, ty, visit);
            let dict = *op.cast::<Object>().offset(MANAGED_DICT_SLOT);
            if !dict.is_null() {
                visit(dict);
            }
            visit(ty.cast());
        } else {
            traverse(op, ty, visit);
            unreported(op, ty, visit);
        }
    }
}

/// `dk_kind` of a table with keys other than strings (pycore_dict.h).
pub const DICT_KEYS_GENERAL: u32 = 0;

/// Slot of the managed dict, in words from the object (`MANAGED_DICT_OFFSET`).
const MANAGED_DICT_SLOT: isize = -3;

#[inline]
unsafe fn slots<F: FnMut(Object)>(items: *mut Object, n: usize, visit: &mut F) {
    for i in 0..n {
        // SAFETY: the caller's: n readable slots.
        let item = unsafe { *items.add(i) };
        if !item.is_null() {
            visit(item);
        }
    }
}

/// Direct subclasses of `object` without `__slots__`, whose values lie inline.
#[inline(always)]
unsafe fn is_plain_instance(ty: Type) -> bool {
    // SAFETY: ty is a live type.
    unsafe {
        header::has_feature(ty, ffi::Py_TPFLAGS_INLINE_VALUES)
            && (*ty).tp_base == &raw mut ffi::PyBaseObject_Type
            && (*ty).ob_base.ob_size == 0
            && header::is_python_class(ty)
    }
}

#[inline]
unsafe fn inline_values<F: FnMut(Object)>(op: Object, ty: Type, visit: &mut F) {
    // SAFETY: a type with INLINE_VALUES puts PyDictValues right behind the
    // basic size (_PyObject_InlineValues).
    unsafe {
        let values = op.byte_add((*ty).tp_basicsize as usize).cast::<ffi::PyDictValues>();
        if (*values).valid != 0 {
            // There is room for more values than the class has names.
            let names = (*(*ty.cast::<ffi::PyHeapTypeObject>()).ht_cached_keys).dk_nentries;
            let items = (&raw mut (*values).values).cast::<Object>();
            slots(items, (names as usize).min((*values).capacity as usize), visit);
        }
    }
}

unsafe fn dict<F: FnMut(Object)>(dict: *mut ffi::PyDictObject, visit: &mut F) {
    // SAFETY: the layout of dict tables (pycore_dict.h): a split table keeps
    // its values apart, a combined one beside the keys. Values embedded in an
    // instance belong to the instance.
    unsafe {
        let keys = (*dict).ma_keys;
        let n = (*keys).dk_nentries as usize;
        if u32::from((*keys).dk_kind) == DICT_KEYS_GENERAL {
            let entries = ffi::imm_general_entries(keys);
            for i in 0..n {
                let entry = &*entries.add(i);
                if !entry.me_value.is_null() {
                    visit(entry.me_key);
                    visit(entry.me_value);
                }
            }
            return;
        }
        let entries = ffi::imm_unicode_entries(keys);
        let values = (*dict).ma_values;
        for i in 0..n {
            let entry = &*entries.add(i);
            if !entry.me_key.is_null() {
                visit(entry.me_key);
            }
            if values.is_null() && !entry.me_value.is_null() {
                visit(entry.me_value);
            }
        }
        if !values.is_null() && (*values).embedded == 0 {
            let items = (&raw mut (*values).values).cast::<Object>();
            slots(items, (*values).capacity as usize, visit);
        }
    }
}

/// Calls `visit` for each key and value of the dict of an instance that shares the table of its keys, and returns
/// true; for any other object, does nothing and returns false.
///
/// They are what a dict that is frozen refers to, in a table of its own. Before, the values may belong to the instance.
///
/// # Safety
/// As [`for_each`].
pub unsafe fn for_each_shared_item<F: FnMut(Object)>(op: Object, visit: &mut F) -> bool {
    // SAFETY: the type is checked before its layout is used; values have room for every key, or it is beyond them.
    unsafe {
        if header::type_of(op) != &raw mut ffi::PyDict_Type {
            return false;
        }
        let dict = &*op.cast::<ffi::PyDictObject>();
        if dict.ma_values.is_null() {
            return false;
        }
        let entries = ffi::imm_unicode_entries(dict.ma_keys);
        let items = (&raw mut (*dict.ma_values).values).cast::<Object>();
        let names = ((*dict.ma_keys).dk_nentries as usize).min((*dict.ma_values).capacity as usize);
        for i in 0..names {
            let value = *items.add(i);
            if !value.is_null() {
                visit((*entries.add(i)).me_key);
                visit(value);
            }
        }
        true
    }
}

/// Calls `visit` for what the type's own `tp_traverse` reports, as the
/// collector's `gc.get_referents` does.
///
/// # Safety
/// As [`for_each`], for an object with a collector header.
pub unsafe fn traverse_only<F: FnMut(Object)>(op: Object, visit: &mut F) {
    unsafe extern "C" fn report<F: FnMut(Object)>(target: Object, arg: *mut c_void) -> c_int {
        // SAFETY: arg is the closure below.
        unsafe { (*arg.cast::<F>())(target) };
        0
    }
    // SAFETY: the caller's.
    unsafe {
        if let Some(tp_traverse) = (*header::type_of(op)).tp_traverse {
            tp_traverse(op, Some(report::<F>), (&raw mut *visit).cast());
        }
    }
}

struct Traversal<'a, F> {
    visit: &'a mut F,
    ty: Object,
    type_reported: bool,
}

/// The edges that `tp_traverse` reports, and the type of a heap type's instance.
unsafe fn traverse<F: FnMut(Object)>(op: Object, ty: Type, visit: &mut F) {
    unsafe extern "C" fn report<F: FnMut(Object)>(target: Object, arg: *mut c_void) -> c_int {
        // SAFETY: arg is the Traversal below.
        let traversal = unsafe { &mut *arg.cast::<Traversal<'_, F>>() };
        traversal.type_reported |= target == traversal.ty;
        (traversal.visit)(target);
        0
    }
    // SAFETY: tp_traverse of a live object runs no Python code (C API contract).
    unsafe {
        let mut traversal = Traversal { visit, ty: ty.cast(), type_reported: false };
        if let Some(tp_traverse) = (*ty).tp_traverse
            && header::has_gc_head(op)
        {
            tp_traverse(op, Some(report::<F>), (&raw mut traversal).cast());
        }
        if header::has_feature(ty, ffi::Py_TPFLAGS_HEAPTYPE) && !traversal.type_reported {
            visit(ty.cast());
        }
    }
}

/// References of builtin types that their `tp_traverse` leaves out, because
/// alone they can make no cycle.
unsafe fn unreported<F: FnMut(Object)>(op: Object, ty: Type, visit: &mut F) {
    let mut some = |target: Object| {
        if !target.is_null() {
            visit(target);
        }
    };
    // SAFETY: each branch checks the type before it uses its layout.
    unsafe {
        if header::flags(op) & (FROZEN | VISITED) != 0 && is_weak_reference(ty) {
            let referent = (*op.cast::<ffi::PyWeakReference>()).wr_object;
            if referent != &raw mut ffi::_Py_NoneStruct {
                some(referent);
            }
        } else if header::has_feature(ty, ffi::Py_TPFLAGS_TYPE_SUBCLASS) {
            let heap = op.cast::<ffi::PyHeapTypeObject>();
            some((*heap).ht_name);
            some((*heap).ht_qualname);
            some((*heap).ht_slots);
            shared_keys(op.cast(), &mut some);
        } else if header::has_feature(ty, ffi::Py_TPFLAGS_DICT_SUBCLASS) {
            string_keys(op.cast(), &mut some);
        } else if ty == &raw mut ffi::PyCode_Type {
            let code = &*op.cast::<ffi::PyCodeObject>();
            for part in [
                code.co_consts,
                code.co_names,
                code.co_exceptiontable,
                code.co_localsplusnames,
                code.co_localspluskinds,
                code.co_filename,
                code.co_name,
                code.co_qualname,
                code.co_linetable,
            ] {
                some(part);
            }
            if let Some(cached) = code._co_cached.as_ref() {
                some(cached._co_code);
                some(cached._co_varnames);
                some(cached._co_cellvars);
                some(cached._co_freevars);
            }
        } else if ty == &raw mut ffi::PyRange_Type {
            let parts = op.add(1).cast::<Object>(); // start, stop, step, length
            slots(parts, 4, visit);
        } else if is_descriptor(ty) {
            let descr = op.cast::<ffi::PyDescrObject>();
            some((*descr).d_name);
            some((*descr).d_qualname);
        }
    }
}

/// True for the types of weak references and proxies, and their subclasses.
///
/// # Safety
/// `ty` is a live type.
#[inline]
pub unsafe fn is_weak_reference(ty: Type) -> bool {
    const VECTORCALL: isize = std::mem::offset_of!(ffi::PyWeakReference, vectorcall) as isize;
    // SAFETY: the caller's. The proxy types cannot be subclassed; subclasses of the other inherit where it keeps its
    // vectorcall, which few other types keep there.
    unsafe {
        ty == &raw mut ffi::_PyWeakref_ProxyType
            || ty == &raw mut ffi::_PyWeakref_CallableProxyType
            || (*ty).tp_vectorcall_offset == VECTORCALL
                && ffi::PyType_IsSubtype(ty, &raw mut ffi::_PyWeakref_RefType) != 0
    }
}

/// The strings of the key table that instances of a class share.
unsafe fn shared_keys<F: FnMut(Object)>(ty: Type, visit: &mut F) {
    // SAFETY: called for types; only heap types have the field.
    unsafe {
        if header::has_feature(ty, ffi::Py_TPFLAGS_HEAPTYPE) {
            let keys = ffi::imm_shared_keys(ty);
            if !keys.is_null() {
                let entries = ffi::imm_unicode_entries(keys);
                for i in 0..(*keys).dk_nentries as usize {
                    visit((*entries.add(i)).me_key);
                }
            }
        }
    }
}

/// dict_traverse skips the keys of a table that holds only strings.
unsafe fn string_keys<F: FnMut(Object)>(dict: *mut ffi::PyDictObject, visit: &mut F) {
    // SAFETY: as `dict`.
    unsafe {
        let keys = (*dict).ma_keys;
        if u32::from((*keys).dk_kind) != DICT_KEYS_GENERAL {
            let entries = ffi::imm_unicode_entries(keys);
            for i in 0..(*keys).dk_nentries as usize {
                visit((*entries.add(i)).me_key);
            }
        }
    }
}

/// True for the descriptors that begin with a `PyDescrObject`.
pub fn is_descriptor(ty: Type) -> bool {
    let descriptors: [Type; 5] = [
        &raw mut ffi::PyMethodDescr_Type,
        &raw mut ffi::PyClassMethodDescr_Type,
        &raw mut ffi::PyMemberDescr_Type,
        &raw mut ffi::PyGetSetDescr_Type,
        &raw mut ffi::PyWrapperDescr_Type,
    ];
    descriptors.contains(&ty)
}

/// The dict behind a managed dict slot, or null.
///
/// # Safety
/// The type of `op` has `Py_TPFLAGS_MANAGED_DICT`.
pub unsafe fn managed_dict(op: Object) -> Object {
    // SAFETY: the caller's.
    unsafe { ptr::read(op.cast::<Object>().offset(MANAGED_DICT_SLOT)) }
}
