//! Freezability: what a freeze may do with an object of a given type.
//!
//! Looked up once per type and freeze. Python classes are freezable; types made
//! in C are not, unless the table in `builtin` or `register_freezable` says so,
//! since only their authors know whether every write asks the barrier.

mod builtin;
mod registry;

pub use builtin::Nature;
pub use registry::Registry;

use crate::object::ffi;
use crate::object::header::{self, Type};

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
        if header::is_python_class(ty)
            && let Some(advice) = builtin::advice(ty)
        {
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
