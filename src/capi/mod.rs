//! The C ABI: what `immutability.h` declares.
//!
//! Thin: each function turns its arguments into the core's and back. No panic
//! leaves it (a panic in an `extern "C"` function aborts with its message,
//! which is what a count at stake asks for; freezing catches it first and
//! raises SystemError).

mod operation;
#[cfg(target_arch = "x86_64")]
mod x86_64;

use std::ffi::{CStr, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::slice;
use std::sync::atomic::Ordering;

use crate::foreign;
use crate::freeze::run::{self, Terms};
use crate::lifetime::{count, references, release, site, weak};
use crate::object::answer::or_null;
use crate::object::ffi;
use crate::object::header::{self, FROZEN, Object, Type};
use crate::object::raise::{self, Raised, Value};
use crate::object::reachable;
use crate::policy::{Policy, Scope, examine};
use crate::python::static_type::_PyImmutable_InitTypes;
use crate::share::{self, c_type, ending, exception, interpreter, monitor, namesake, sentinel, string};

/// `PyImmutable_CheckWrite`: `Py_CHECKWRITE` as a function.
///
/// # Safety
/// `op` is alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyImmutable_CheckWrite(op: Object) -> c_int {
    // SAFETY: the caller's.
    c_int::from(unsafe { header::flags(op) } & FROZEN == 0)
}

/// `_PyImmutable_IncRef`: the frozen branch of `Py_INCREF`.
///
/// # Safety
/// `op` has a frozen count and is alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyImmutable_IncRef(op: Object) {
    // SAFETY: the caller's.
    unsafe { references::take(op) }
}

/// `_PyImmutable_DecRef`: the frozen branch of `Py_DECREF`. On x86-64 what is exported comes before it (`x86_64.rs`).
///
/// # Safety
/// `op` has a frozen count, and the reference is the caller's, who holds a GIL; or it is immortal.
#[cfg_attr(any(not(target_arch = "x86_64"), py_ref_debug), unsafe(export_name = "_PyImmutable_DecRef"))]
pub unsafe extern "C" fn dec_ref(op: Object) {
    // SAFETY: the caller's. Relaxed: what is immortal stays so, and with a reference in our hands the object is alive.
    unsafe {
        if header::count_word(op).load(Ordering::Relaxed) >= count::FROZEN {
            references::give_up(op);
        }
    }
}

/// `_PyImmutable_RefcntAdd`: the frozen branch of `_Py_RefcntAdd`.
///
/// # Safety
/// As [`_PyImmutable_IncRef`]; `n` is not negative.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyImmutable_RefcntAdd(op: Object, n: isize) {
    // SAFETY: the caller's.
    unsafe { references::take_many(op, n.unsigned_abs()) }
}

/// `_PyImmutable_ResurrectEnd`: the frozen branch of `_PyObject_ResurrectEnd`.
///
/// # Safety
/// `op` is frozen and being deallocated; the caller holds a GIL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyImmutable_ResurrectEnd(op: Object) -> c_int {
    // SAFETY: the caller's.
    c_int::from(unsafe { release::end_resurrection(op) })
}

/// `_PyImmutable_NewWeakrefList`
///
/// # Safety
/// As [`weak::make_list`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyImmutable_NewWeakrefList(op: Object) -> c_int {
    // SAFETY: the caller's.
    match unsafe { weak::make_list(op) } {
        Some(()) => 0,
        None => {
            // SAFETY: a GIL is held.
            unsafe { ffi::PyErr_NoMemory() };
            -1
        }
    }
}

/// `_PyImmutable_WeakrefList`
///
/// # Safety
/// As [`weak::list`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyImmutable_WeakrefList(op: Object) -> *mut Object {
    // SAFETY: the caller's.
    unsafe { weak::list(op) }
}

/// `_PyImmutable_WeakrefGet`
///
/// # Safety
/// As [`weak::promote`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyImmutable_WeakrefGet(reference: Object) -> Object {
    // SAFETY: the caller's.
    unsafe { weak::promote(reference).unwrap_or(std::ptr::null_mut()) }
}

/// `_PyImmutable_WeakrefIsDead`
///
/// # Safety
/// As [`weak::promote`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyImmutable_WeakrefIsDead(reference: Object) -> c_int {
    // SAFETY: the caller's.
    c_int::from(unsafe { weak::is_dead(reference) })
}

/// `_PyImmutable_WeakrefClear`
///
/// # Safety
/// As [`weak::promote`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyImmutable_WeakrefClear(reference: Object) {
    // SAFETY: the caller's.
    unsafe { weak::clear(reference) }
}

/// `_PyImmutable_ShareCounts`
#[unsafe(no_mangle)]
pub extern "C" fn _PyImmutable_ShareCounts() {
    references::share();
}

/// `_PyImmutable_EndInterpreter`
///
/// # Safety
/// As [`ending::step`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyImmutable_EndInterpreter(interpreter: *mut ffi::PyInterpreterState) -> c_int {
    // SAFETY: the caller's.
    c_int::from(unsafe { ending::step(interpreter) })
}

/// `_PyImmutable_DropCaches`
///
/// # Safety
/// The caller holds a GIL, and the interpreter ends. Python code may run.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyImmutable_DropCaches() -> c_int {
    // SAFETY: the caller's.
    c_int::from(unsafe { ending::drop_caches() })
}

/// `_PyImmutable_LoadExtension`
///
/// # Safety
/// As [`foreign::load`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyImmutable_LoadExtension(name: Object, path: Object) -> c_int {
    // SAFETY: the caller's.
    match unsafe { foreign::load(name, path) } {
        Ok(()) => 0,
        Err(Raised) => -1,
    }
}

/// `_PyImmutable_BeginSharing`
///
/// # Safety
/// As [`share::begin_sharing`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyImmutable_BeginSharing() {
    references::share();
    // SAFETY: the caller's, and without sharing this is the only interpreter.
    unsafe {
        if !share::is_sharing() && _PyImmutable_InitTypes() != 0 {
            ffi::PyErr_Clear(); // those who need the types will not find them
        }
        share::begin_sharing();
    }
}

/// `_PyImmutable_TakeType`
///
/// # Safety
/// As [`c_type::take`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyImmutable_TakeType(spec: *const ffi::PyType_Spec, module: Object) -> Object {
    // SAFETY: the caller's; a spec has a name.
    unsafe { c_type::take(CStr::from_ptr((*spec).name), module) }
}

/// `_PyImmutable_OfferType`
///
/// # Safety
/// As [`c_type::offer`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyImmutable_OfferType(_: *const ffi::PyType_Spec, ty: Object) -> Object {
    // SAFETY: the caller's.
    unsafe { c_type::offer(ty.cast()) }
}

/// `_PyImmutable_MadeSentinel`
///
/// # Safety
/// As [`sentinel::made`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyImmutable_MadeSentinel(op: Object) -> Object {
    // SAFETY: the caller's.
    unsafe { sentinel::made(op) }
}

/// `_PyImmutable_ModuleOf`
///
/// # Safety
/// As [`c_type::module_of`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyImmutable_ModuleOf(ty: Type, may_import: c_int) -> Object {
    // SAFETY: the caller's.
    unsafe { c_type::module_of(ty, may_import != 0) }
}

/// `_PyImmutable_ClassHere`
///
/// # Safety
/// As [`namesake::class_here`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyImmutable_ClassHere(ty: Type) -> Object {
    // SAFETY: the caller's.
    unsafe { namesake::class_here(ty) }
}

/// `_PyImmutable_ObjectHere`
///
/// # Safety
/// As [`namesake::object_here`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyImmutable_ObjectHere(op: Object) -> Object {
    // SAFETY: the caller's.
    unsafe { namesake::object_here(op) }
}

/// `_PyImmutable_BaseHere`
///
/// # Safety
/// As [`namesake::base_here`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyImmutable_BaseHere(ty: Type, base: Type) -> Type {
    // SAFETY: the caller's.
    unsafe { namesake::base_here(ty, base) }
}

/// `_PyImmutable_ForgetModule`
///
/// # Safety
/// As [`c_type::forget_module`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyImmutable_ForgetModule(module: Object) {
    // SAFETY: the caller's.
    unsafe { c_type::forget_module(module) }
}

/// `_PyImmutable_GetSubclasses`
///
/// # Safety
/// `class` is a live frozen class; the caller holds a GIL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyImmutable_GetSubclasses(class: Type) -> Object {
    // SAFETY: the caller's.
    unsafe { interpreter::existing().map_or(std::ptr::null_mut(), |state| state.subclasses.get(class)) }
}

/// `_PyImmutable_SetSubclasses`
///
/// # Safety
/// As [`_PyImmutable_GetSubclasses`]; `subclasses` is an owned reference to a dict, or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyImmutable_SetSubclasses(class: Type, subclasses: Object) -> c_int {
    // SAFETY: the caller's. The old dict is given up when the table is no longer used.
    unsafe {
        let Some(state) = interpreter::current() else {
            ffi::Py_DecRef(subclasses);
            return -1;
        };
        if !subclasses.is_null() && state.subclasses.reserve(1).is_err() {
            ffi::Py_DecRef(subclasses);
            return -1;
        }
        let before = state.subclasses.set(class, subclasses);
        ffi::Py_DecRef(before);
        0
    }
}

/// `_PyImmutable_AnnounceParted`
///
/// # Safety
/// `kind` points to a static structure.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyImmutable_AnnounceParted(kind: *mut share::part::Kind) {
    // SAFETY: the caller's.
    unsafe { share::part::announce(kind) }
}

/// `_PyImmutable_AnnounceExamined`
///
/// # Safety
/// `examined` points to a static structure.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyImmutable_AnnounceExamined(examined: *mut examine::Examined) {
    examine::announce(examined);
}

/// `_PyImmutable_Part`
///
/// # Safety
/// `op` is alive; the caller holds a GIL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyImmutable_Part(op: Object) -> Object {
    // SAFETY: the caller's.
    unsafe { share::part::part(op).unwrap_or(std::ptr::null_mut()) }
}

/// `_PyImmutable_IsRegistered`
///
/// # Safety
/// Both are live types; the caller holds a GIL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyImmutable_IsRegistered(abc: Type, subclass: Type) -> c_int {
    // SAFETY: the caller's.
    match unsafe { share::part::is_registered(abc, subclass) } {
        Ok(answer) => c_int::from(answer),
        Err(Raised) => -1,
    }
}

/// `_PyImmutable_OwnModule`
///
/// # Safety
/// `module` is alive; the caller holds a GIL. Python code may run.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyImmutable_OwnModule(module: Object) -> Object {
    // SAFETY: the caller's. The table of this interpreter's modules, or the twin's proxy, keeps what is returned.
    unsafe {
        match share::module::target(module) {
            Ok(Some(target)) => {
                ffi::Py_DecRef(target);
                target
            }
            Ok(None) => module,
            Err(Raised) => std::ptr::null_mut(),
        }
    }
}

/// `_PyImmutable_IsForeign`
///
/// # Safety
/// As [`_PyImmutable_OwnModule`]; no Python code runs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyImmutable_IsForeign(module: Object) -> c_int {
    // SAFETY: the caller's.
    c_int::from(unsafe { share::module::is_foreign(module) })
}

/// `_PyImmutable_KeepString`
///
/// # Safety
/// As [`string::keep`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyImmutable_KeepString(string: Object) {
    // SAFETY: the caller's.
    unsafe { string::keep(string) }
}

/// `_PyImmutable_InternInstead`
///
/// # Safety
/// As [`string::intern_instead`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyImmutable_InternInstead(string: Object) -> Object {
    // SAFETY: the caller's.
    unsafe { string::intern_instead(string).unwrap_or(std::ptr::null_mut()) }
}

/// `_PyImmutable_LocalCode`
///
/// # Safety
/// `code` is a frozen code object; the caller holds a GIL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyImmutable_LocalCode(code: Object) -> Object {
    // SAFETY: the caller's.
    unsafe { or_null(share::code::local(code)) }
}

/// `_PyImmutable_SetLocalEvents`
///
/// # Safety
/// `code` is a code object; the caller holds a GIL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyImmutable_SetLocalEvents(code: Object, tool: c_int, events: c_int) -> c_int {
    // SAFETY: the caller's.
    match unsafe { monitor::set_events(code, tool, events.cast_unsigned()) } {
        Ok(()) => 0,
        Err(Raised) => -1,
    }
}

/// `_PyImmutable_GetLocalEvents`
///
/// # Safety
/// `code` is a frozen code object; the caller holds a GIL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyImmutable_GetLocalEvents(code: Object, tool: c_int) -> c_int {
    // SAFETY: the caller's.
    unsafe { monitor::events(code, tool) }.cast_signed()
}

/// `_PyImmutable_FindView`
///
/// # Safety
/// `function` is a frozen function; the caller holds the GIL of the interpreter with this id.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyImmutable_FindView(function: Object, interpreter: i64) -> Object {
    // SAFETY: the caller's.
    unsafe { share::view::find(function, interpreter) }
}

/// The receiving end of what is passed to another interpreter (`xid_newobjfunc`).
type Receive = unsafe extern "C" fn(*mut ffi::_xidata) -> Object;

/// `_PyImmutable_Share`
///
/// # Safety
/// The caller holds a GIL and `op` alive; `receive` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyImmutable_Share(op: Object, receive: *mut Option<Receive>) -> c_int {
    // SAFETY: the caller's.
    unsafe {
        match share::transfer::is_shared(op) {
            Ok(true) => {
                *receive = Some(receive_object);
                1
            }
            Ok(false) => 0,
            Err(Raised) => -1,
        }
    }
}

/// `_PyImmutable_PickleAround`
///
/// # Safety
/// The caller holds a GIL and `op` alive, with no exception set; `receive` may be written. Python code runs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyImmutable_PickleAround(op: Object, receive: *mut Option<Receive>) -> Object {
    // SAFETY: the caller's.
    unsafe {
        let Some(pickled) = share::transfer::pickled(op) else { return std::ptr::null_mut() };
        *receive = Some(receive_pickled);
        pickled
    }
}

/// The receiving end of an object that was pickled around what is frozen in it.
unsafe extern "C" fn receive_pickled(data: *mut ffi::_xidata) -> Object {
    // SAFETY: as `receive_object`.
    unsafe {
        let pickled = receive_object(data);
        if pickled.is_null() {
            return pickled;
        }
        let made = share::transfer::unpickled(pickled).unwrap_or(std::ptr::null_mut());
        ffi::Py_DecRef(pickled);
        made
    }
}

/// The receiving end of a frozen object that is passed by reference.
unsafe extern "C" fn receive_object(data: *mut ffi::_xidata) -> Object {
    // SAFETY: called by CPython with a GIL held, and data that holds an object. The object may be of a type of the
    // runtime, or contain such, and this interpreter may not have imported `_immutable`.
    unsafe {
        if _PyImmutable_InitTypes() != 0 || c_type::link().is_err() {
            return std::ptr::null_mut();
        }
        ffi::imm_receive(data)
    }
}

/// `_PyImmutable_IsShared`
///
/// # Safety
/// `op` is null or alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyImmutable_IsShared(op: Object) -> c_int {
    // SAFETY: the caller's.
    c_int::from(unsafe { !op.is_null() && share::transfer::passes(op) })
}

/// `_PyImmutable_MustShare`
///
/// # Safety
/// The caller holds a GIL and `op` alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyImmutable_MustShare(op: Object) -> c_int {
    // SAFETY: the caller's.
    c_int::from(unsafe { share::transfer::must_share(op) })
}

/// `PyErr_WriteToImmutable`: raises MutationError, returns -1.
///
/// # Safety
/// The caller holds a GIL and `op` alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyErr_WriteToImmutable(op: Object) -> c_int {
    // SAFETY: the caller's.
    unsafe {
        if let Ok(error) = exception::class(|exceptions| exceptions.mutation) {
            let op = if header::is_frozen(op) { op } else { share::view::shown(op) };
            let ty = header::type_of(op);
            let (before, name, behind) = if header::has_feature(ty, ffi::Py_TPFLAGS_TYPE_SUBCLASS) {
                ("class ", header::type_name(op.cast()), "")
            } else {
                ("", header::type_name(ty), " object")
            };
            let texts = operation::describe().and_then(|during| Ok((during, site::describe(op)?)));
            match texts {
                Ok((during, place)) => {
                    let message = format_args!("cannot modify frozen {before}'{name}'{behind}{during}{place}");
                    raise::with_attributes(error, message, &[(c"obj", Value::Object(op))]);
                }
                Err(error) => {
                    raise::no_memory(error);
                }
            }
        }
        -1
    }
}

/// `PyImmutable_Freeze`
///
/// # Safety
/// `objects` points to `n` borrowed references; the caller holds a GIL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyImmutable_Freeze(objects: *const Object, n: isize) -> c_int {
    if n <= 0 {
        return 0;
    }
    // SAFETY: the caller's.
    unsafe {
        let roots = slice::from_raw_parts(objects, n.unsigned_abs());
        // Who calls need not have imported the module.
        if _PyImmutable_InitTypes() == 0 && freeze(roots, Terms::NONE).is_ok() { 0 } else { -1 }
    }
}

/// Freezes, and turns a panic into SystemError.
///
/// # Errors
/// As [`run::freeze`].
///
/// # Safety
/// As there.
pub unsafe fn freeze(roots: &[Object], terms: Terms) -> Result<(), Raised> {
    // SAFETY: the caller's. A panic leaves marks behind, which is a defect of
    // the core that the message reports; no count is touched before the commit.
    catch_unwind(AssertUnwindSafe(|| unsafe { run::freeze(roots, terms) })).unwrap_or_else(|_| {
        // SAFETY: a GIL is held.
        unsafe {
            ffi::PyErr_SetString(
                ffi::PyExc_SystemError,
                c"the immutable runtime failed inside freeze(): see the message on stderr".as_ptr(),
            );
        }
        Err(Raised)
    })
}

/// `PyImmutable_IsFrozen`
///
/// # Safety
/// The caller holds a GIL and `op` alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyImmutable_IsFrozen(op: Object) -> c_int {
    // SAFETY: the caller's. The exception that may be set on entry is set again.
    unsafe {
        let error = ffi::PyErr_GetRaisedException();
        let frozen = run::is_frozen(op).unwrap_or(false);
        ffi::PyErr_SetRaisedException(error);
        c_int::from(frozen)
    }
}

/// `PyImmutable_RegisterFreezable`
///
/// # Safety
/// The caller holds a GIL; `ty` is a borrowed reference to a type.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyImmutable_RegisterFreezable(ty: Type, policy: c_int) -> c_int {
    // SAFETY: the caller's.
    unsafe {
        let Some(policy) = Policy::from_number(policy.into()) else {
            ffi::PyErr_SetString(ffi::PyExc_ValueError, c"policy must be one of the FREEZABLE_ constants".as_ptr());
            return -1;
        };
        let Some(state) = interpreter::current() else {
            return -1;
        };
        match state.registry.set(ty.cast(), policy, Scope::Instances) {
            Ok(()) => 0,
            Err(Raised) => -1,
        }
    }
}

/// `PyImmutable_RegisterShallowImmutable`
///
/// # Safety
/// As [`PyImmutable_RegisterFreezable`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyImmutable_RegisterShallowImmutable(ty: Type) -> c_int {
    // SAFETY: the caller's.
    unsafe {
        let Some(state) = interpreter::current() else {
            return -1;
        };
        if header::is_python_class(ty) {
            ffi::PyErr_SetString(
                ffi::PyExc_TypeError,
                c"only a type made in C can be a shallow immutable: register a class with register_freezable()"
                    .as_ptr(),
            );
            return -1;
        }
        match state.registry.set_shallow_immutable(ty) {
            Ok(()) => 0,
            Err(Raised) => -1,
        }
    }
}

/// `PyImmutable_RegisterReachable`
///
/// # Safety
/// The caller holds a GIL; `ty` is a borrowed reference to a type, and `traverse` keeps the promises that
/// `immutability.h` asks for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyImmutable_RegisterReachable(ty: Type, traverse: ffi::traverseproc) -> c_int {
    // SAFETY: the caller's.
    unsafe {
        let raised = |error: Object, message: &CStr| {
            ffi::PyErr_SetString(error, message.as_ptr());
            -1
        };
        let Some(function) = traverse else {
            return raised(ffi::PyExc_ValueError, c"the traverse function must not be NULL");
        };
        match reachable::register(ty, function) {
            Ok(()) => 0,
            Err(reachable::Refusal::PythonClass) => raised(
                ffi::PyExc_TypeError,
                c"only a type made in C has references that its tp_traverse does not report",
            ),
            Err(reachable::Refusal::Frozen) => PyErr_WriteToImmutable(ty.cast()),
            Err(reachable::Refusal::Other) => raised(
                ffi::PyExc_ValueError,
                c"another traverse function is registered for this type, and instances may be frozen with it",
            ),
            Err(reachable::Refusal::OutOfMemory(error)) => {
                raise::no_memory(error);
                -1
            }
        }
    }
}

/// `_PyImmutable_InstanceDict`: a new frozen dict with the attributes of `op`.
///
/// # Safety
/// `op` is frozen, has room for a dict and no dict yet; a GIL is held.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyImmutable_InstanceDict(op: Object) -> Object {
    // SAFETY: the inline values of a frozen object do not change. The new dict
    // is marked like one of its own component, which is what it is.
    unsafe {
        let dict = ffi::PyDict_New();
        if dict.is_null() {
            return dict;
        }
        let values = ffi::imm_inline_values(op);
        if !values.is_null() {
            let keys = ffi::imm_shared_keys(header::type_of(op));
            let items = (&raw const (*values).values).cast::<Object>();
            let order = items.add((*values).capacity as usize).cast::<u8>();
            for i in 0..(*values).size as usize {
                // The insertion order lies behind the values (get_insertion_order_array).
                let place = *order.add(i) as usize;
                let name = (*ffi::imm_unicode_entries(keys).add(place)).me_key;
                if ffi::PyDict_SetItem(dict, name, *items.add(place)) < 0 {
                    ffi::Py_DecRef(dict);
                    return std::ptr::null_mut();
                }
            }
        }
        let root = [dict];
        if run::freeze(&root, Terms::NONE).is_err() {
            ffi::Py_DecRef(dict);
            return std::ptr::null_mut();
        }
        debug_assert!(header::flags(dict) & FROZEN != 0);
        dict
    }
}
