//! Policies as Python sets and reads them.

use std::ffi::{CStr, c_void};
use std::ptr;

use super::static_type::{LAST_METHOD, method};
use crate::capi;
use crate::freeze::report;
use crate::freeze::run::{self, Terms};
use crate::object::answer::{none, or_null};
use crate::object::ffi;
use crate::object::header::{self, FROZEN, Object, PROXY, Type};
use crate::object::memory;
use crate::object::raise::{self, Raised};
use crate::policy::{self, Policy, Scope};
use crate::share::interpreter;

const SET_DOC: &CStr = c"set_freezable(obj, policy, /)
--

Set the policy of obj, one of the FREEZABLE_ constants.

Of a class it is the policy of the class and of its instances, those of
subclasses included that say nothing else. It goes before an attribute
__freezable__, is kept beside the object, and holds in this interpreter until
unset_freezable(obj). Raises TypeError if obj is frozen already, or of a type
such as str whose instances never change; ValueError if policy is none of the
constants.";

const GET_DOC: &CStr = c"get_freezable(obj, /)
--

Return the number of the policy that freeze() follows for obj; for a class, for
its instances.";

const UNSET_DOC: &CStr = c"_unset_freezable(obj, /)
--

Forget what set_freezable() has set for obj.";

const BEGIN_DOC: &CStr = c"_begin_override(obj, policy, /)
--

Set a policy of obj that goes before all others, until _end_override() gets the
number that this returns. Raises as set_freezable() does.";

const END_DOC: &CStr = c"_end_override(obj, number, /)
--

End what _begin_override() has begun, whatever became of obj.";

const SHALLOW_DOC: &CStr = c"_register_shallow_immutable(type, /)
--

Say that the instances of exactly this type never change after construction.";

const FREEZE_DOC: &CStr = c"_freeze_capturing(obj, names, /)
--

freeze(obj), where names is None or a dict from functions to tuples of names of
globals that they capture beside those in their code.";

const IS_FREEZABLE_DOC: &CStr = c"is_freezable(obj, /)
--

Return whether freeze(obj) would succeed now. Changes nothing.

Methods __pre_freeze__ are not called: what they would change, or raise, is not
known. Raises MemoryError if there is no memory to look.";

const EXPLAIN_DOC: &CStr = c"_explain(*objs)
--

Return what explain() tells, as a dict: see src/freeze/report.rs.";

/// The arguments, if there are as many as that.
unsafe fn arguments<'a>(args: *const Object, n: isize, expected: usize) -> Result<&'a [Object], Raised> {
    // SAFETY: METH_FASTCALL.
    unsafe {
        if n.unsigned_abs() != expected {
            let text = format_args!("expected {expected} arguments, got {n}");
            raise::with_attributes(ffi::PyExc_TypeError, text, &[]);
            return Err(Raised);
        }
        Ok(std::slice::from_raw_parts(args, expected))
    }
}

/// The policy that a number stands for.
unsafe fn policy_of(number: Object) -> Result<Policy, Raised> {
    // SAFETY: a GIL is held.
    unsafe {
        let number = ffi::PyLong_AsLong(number);
        if number == -1 && !ffi::PyErr_Occurred().is_null() {
            return Err(Raised);
        }
        Policy::from_number(number).ok_or_else(|| {
            ffi::PyErr_SetString(ffi::PyExc_ValueError, c"policy must be one of the FREEZABLE_ constants".as_ptr());
            Raised
        })
    }
}

unsafe fn is_type(op: Object) -> bool {
    // SAFETY: op is alive.
    unsafe { header::has_feature(header::type_of(op), ffi::Py_TPFLAGS_TYPE_SUBCLASS) }
}

/// Raises TypeError unless `op` can have a policy.
unsafe fn require_policy_holder(op: Object) -> Result<(), Raised> {
    let values: [Type; 6] = [
        &raw mut ffi::PyUnicode_Type,
        &raw mut ffi::PyLong_Type,
        &raw mut ffi::PyFloat_Type,
        &raw mut ffi::PyComplex_Type,
        &raw mut ffi::PyBytes_Type,
        &raw mut ffi::PyBool_Type,
    ];
    // SAFETY: op is alive; a GIL is held.
    unsafe {
        let ty = header::type_of(op);
        let (name, reason) = (header::type_name(ty), header::flags(op) & (FROZEN | PROXY));
        if is_type(op) {
            return Ok(());
        }
        let problem = if values.contains(&ty) {
            memory::text(format_args!("'{name}' objects never change: they have no policy of their own"))
        } else if reason & PROXY != 0 {
            memory::text(format_args!("it is too late to set a policy: this '{name}' object is a proxy already"))
        } else if reason != 0 || header::is_immortal_or_shared(op) {
            memory::text(format_args!("it is too late to set a policy: this '{name}' object is frozen already"))
        } else {
            return Ok(());
        };
        match problem {
            Ok(text) => raise::with_attributes(ffi::PyExc_TypeError, format_args!("{text}"), &[]),
            Err(error) => return Err(raise::no_memory(error)),
        }
        Err(Raised)
    }
}

unsafe extern "C" fn set_freezable(_: Object, args: *const Object, n: isize) -> Object {
    // SAFETY: METH_FASTCALL.
    or_null(unsafe {
        (|| {
            let args = arguments(args, n, 2)?;
            let policy = policy_of(args[1])?;
            require_policy_holder(args[0])?;
            interpreter::current().ok_or(Raised)?.registry.set(args[0], policy, Scope::Whole)?;
            Ok(none())
        })()
    })
}

unsafe extern "C" fn get_freezable(_: Object, op: Object) -> Object {
    // SAFETY: METH_O.
    or_null(unsafe {
        interpreter::current().ok_or(Raised).and_then(|state| {
            let policy = policy::of(&state.registry, &state.names, op);
            raise::unless_null(ffi::PyLong_FromLong(policy as std::ffi::c_long))
        })
    })
}

unsafe extern "C" fn unset_freezable(_: Object, op: Object) -> Object {
    // SAFETY: METH_O.
    or_null(unsafe {
        interpreter::current().ok_or(Raised).map(|state| {
            state.registry.unset(op);
            none()
        })
    })
}

unsafe extern "C" fn begin_override(_: Object, args: *const Object, n: isize) -> Object {
    // SAFETY: METH_FASTCALL.
    or_null(unsafe {
        (|| {
            let args = arguments(args, n, 2)?;
            let policy = policy_of(args[1])?;
            require_policy_holder(args[0])?;
            let registry = &mut interpreter::current().ok_or(Raised)?.registry;
            let number = registry.begin_override(args[0], policy)?;
            raise::unless_null(ffi::PyLong_FromUnsignedLongLong(number)).inspect_err(|_| {
                registry.end_override(args[0], number);
            })
        })()
    })
}

unsafe extern "C" fn end_override(_: Object, args: *const Object, n: isize) -> Object {
    // SAFETY: METH_FASTCALL.
    or_null(unsafe {
        (|| {
            let args = arguments(args, n, 2)?;
            let number = ffi::PyLong_AsUnsignedLongLong(args[1]);
            if !ffi::PyErr_Occurred().is_null() {
                return Err(Raised);
            }
            interpreter::current().ok_or(Raised)?.registry.end_override(args[0], number);
            Ok(none())
        })()
    })
}

unsafe extern "C" fn register_shallow_immutable(_: Object, ty: Object) -> Object {
    // SAFETY: METH_O.
    or_null(unsafe {
        (|| {
            if !is_type(ty) || header::is_python_class(ty.cast()) {
                ffi::PyErr_SetString(
                    ffi::PyExc_TypeError,
                    c"register_shallow_immutable() takes a type made in C: instances of a Python class have attributes \
                      that can be set"
                        .as_ptr(),
                );
                return Err(Raised);
            }
            interpreter::current().ok_or(Raised)?.registry.set_shallow_immutable(ty.cast())?;
            Ok(none())
        })()
    })
}

unsafe extern "C" fn freeze_capturing(_: Object, args: *const Object, n: isize) -> Object {
    // SAFETY: METH_FASTCALL.
    or_null(unsafe {
        (|| {
            let args = arguments(args, n, 2)?;
            let named = if args[1] == none() { ptr::null_mut() } else { args[1] };
            if !named.is_null() && header::type_of(named) != &raw mut ffi::PyDict_Type {
                ffi::PyErr_SetString(ffi::PyExc_TypeError, c"expected a dict of names to capture".as_ptr());
                return Err(Raised);
            }
            capi::freeze(&args[..1], Terms { named, ..Terms::NONE })?;
            ffi::Py_IncRef(args[0]);
            Ok(args[0])
        })()
    })
}

unsafe extern "C" fn is_freezable(_: Object, op: Object) -> Object {
    // SAFETY: METH_O.
    or_null(unsafe { run::is_freezable(&[op]).map(|freezable| ffi::PyBool_FromLong(freezable.into())) })
}

unsafe extern "C" fn explain(_: Object, args: *const Object, n: isize) -> Object {
    // SAFETY: METH_FASTCALL.
    or_null(unsafe { report::explain(std::slice::from_raw_parts(args, n.unsigned_abs())) })
}

/// Adds the functions to the module. False with an exception if that fails.
///
/// # Safety
/// The caller holds the GIL; `module` is the `_immutable` module being made.
pub unsafe fn add_functions(module: Object) -> bool {
    const FASTCALL: u32 = ffi::METH_FASTCALL;
    static mut FUNCTIONS: [ffi::PyMethodDef; 10] = [
        method(c"set_freezable", set_freezable as *const c_void, FASTCALL, SET_DOC),
        method(c"get_freezable", get_freezable as *const c_void, ffi::METH_O, GET_DOC),
        method(c"_unset_freezable", unset_freezable as *const c_void, ffi::METH_O, UNSET_DOC),
        method(c"_begin_override", begin_override as *const c_void, FASTCALL, BEGIN_DOC),
        method(c"_end_override", end_override as *const c_void, FASTCALL, END_DOC),
        method(c"_register_shallow_immutable", register_shallow_immutable as *const c_void, ffi::METH_O, SHALLOW_DOC),
        method(c"_freeze_capturing", freeze_capturing as *const c_void, FASTCALL, FREEZE_DOC),
        method(c"is_freezable", is_freezable as *const c_void, ffi::METH_O, IS_FREEZABLE_DOC),
        method(c"_explain", explain as *const c_void, FASTCALL, EXPLAIN_DOC),
        LAST_METHOD,
    ];
    // SAFETY: the caller's; CPython only reads the table.
    unsafe { ffi::PyModule_AddFunctions(module, (&raw mut FUNCTIONS).cast()) == 0 }
}
