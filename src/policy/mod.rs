//! Freezability: what a freeze may do with an object of a given type.
//!
//! Looked up once per type and freeze. Python classes are freezable; types made
//! in C are not, unless the table in `builtin` or `register_freezable` says so,
//! since only their authors know whether every write asks the barrier.

mod builtin;
mod registry;
mod stateful;
mod standard_library;

pub use builtin::{Nature, is_shared_by_name};
pub use registry::Registry;

use crate::object::ffi;
use crate::object::header::{self, Object, Type};

/// The user's word on a type or object (PEP 795, "Freezability").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Policy {
    /// Frozen when reached.
    Yes = 0,
    /// Never frozen.
    No = 1,
    /// Frozen only when named as a root.
    Explicit = 2,
    /// Shared as a proxy (modules).
    Proxy = 3,
}

impl Policy {
    /// The policy of that number, as C and Python write it.
    pub fn from_number(number: i64) -> Option<Self> {
        [Self::Yes, Self::No, Self::Explicit, Self::Proxy].into_iter().find(|policy| *policy as i64 == number)
    }
}

/// How a freeze treats the instances of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// Frozen; refers to nothing, not even a heap type.
    Leaf,
    /// Frozen with all that it refers to.
    Container,
    /// A Python function: detached from its globals and cells.
    Function,
    /// Counted atomically, and left mutable.
    Proxy,
    /// Frozen only as a root.
    Explicit,
    /// Refused.
    Refused(Refusal),
}

/// Why a type refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Somebody said so.
    Policy,
    /// A C type that nobody registered.
    Unregistered,
    /// Its state must change for it to be of use; the text names the way out.
    Stateful(&'static str),
}

/// The treatment of instances of `ty`.
///
/// # Safety
/// `ty` is a live type of the running interpreter.
pub unsafe fn treatment(registry: &Registry, ty: Type) -> Treatment {
    // SAFETY: the caller's.
    unsafe {
        if let Some(policy) = registry.nearest(ty) {
            return match policy {
                Policy::Yes => Treatment::Container,
                Policy::No => Treatment::Refused(Refusal::Policy),
                Policy::Explicit => Treatment::Explicit,
                Policy::Proxy => Treatment::Proxy,
            };
        }
        if let Some(advice) = stateful_base(ty) {
            return Treatment::Refused(Refusal::Stateful(advice));
        }
        let base = header::solid_c_base(ty);
        match builtin::nature(base) {
            Nature::Leaf if ty == base && !header::has_feature(ty, ffi::Py_TPFLAGS_HEAPTYPE) => Treatment::Leaf,
            Nature::Leaf | Nature::Container => Treatment::Container,
            Nature::Function => Treatment::Function,
            Nature::Proxy => Treatment::Proxy,
            Nature::Stateful(advice) => Treatment::Refused(Refusal::Stateful(advice)),
            Nature::Unknown => Treatment::Refused(Refusal::Unregistered),
        }
    }
}

/// Why the instances of `ty` refuse, if it is or derives from one of the standard library's stateful classes.
unsafe fn stateful_base(ty: Type) -> Option<&'static str> {
    // SAFETY: the caller's; a ready type's tp_mro is a tuple of types.
    unsafe {
        let mro = (*ty).tp_mro;
        (0..ffi::PyTuple_Size(mro)).find_map(|i| class_advice(ffi::PyTuple_GetItem(mro, i).cast()))
    }
}

/// Why a class itself refuses, if it is one of the standard library's stateful ones.
///
/// # Safety
/// `class` is a live, ready type; the caller holds a GIL.
pub unsafe fn class_advice(class: Type) -> Option<&'static str> {
    // SAFETY: a heap type's dict is an exact dict; borrowed references are used at once.
    unsafe {
        if !header::is_python_class(class) || header::has_feature(class, ffi::Py_TPFLAGS_BASE_EXC_SUBCLASS) {
            return None;
        }
        let module = ffi::PyDict_GetItemWithError((*class).tp_dict, ffi::imm_name_module);
        stateful::advice(text(module)?, text((*class.cast::<ffi::PyHeapTypeObject>()).ht_qualname)?)
    }
}

/// Why a function itself refuses, if it is one of a stateful module of the standard library.
///
/// # Safety
/// The caller holds a GIL.
pub unsafe fn function_advice(function: &ffi::PyFunctionObject) -> Option<&'static str> {
    // SAFETY: the caller's.
    unsafe { stateful::advice(text(function.func_module)?, text(function.func_qualname)?) }
}

/// What an ASCII string says; `None` for everything else.
unsafe fn text<'a>(op: Object) -> Option<&'a str> {
    // SAFETY: the caller's. The text of an ASCII string is its own, so this writes nothing, and cannot fail.
    unsafe {
        if op.is_null() || header::type_of(op) != &raw mut ffi::PyUnicode_Type || ffi::imm_is_ascii(op) == 0 {
            return None;
        }
        let mut length = 0;
        let bytes = ffi::PyUnicode_AsUTF8AndSize(op, &raw mut length);
        str::from_utf8(std::slice::from_raw_parts(bytes.cast(), length.unsigned_abs())).ok()
    }
}
