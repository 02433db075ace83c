//! Freezability: what a freeze may do with an object.
//!
//! Asked in this order, and the first answer counts:
//!
//! ```text
//!   the object    set_freezable, then its own attribute __freezable__
//!   its type      nearest in the MRO: register_freezable or set_freezable, then __freezable__ of that class
//!   its module    __freezable__ of the module that a Python class, or a function, belongs to
//!   the process   -X immutable_default, for Python classes
//!   its nature    the table in `builtin`: types made in C refuse unless it, or somebody, says otherwise, since only
//!                 their authors know whether every write asks the barrier
//! ```
//!
//! All but the first step is decided once per type and freeze. The first costs a test of a flag, and a lookup
//! only where the type leaves room for an attribute of that name (`declared::Place`). Nothing here runs Python code.

mod builtin;
pub mod declared;
pub mod examine;
pub mod hook;
pub mod option;
mod registry;
mod standard_library;
mod stateful;
pub mod vital;

use std::ptr;

pub use builtin::{Nature, is_shared_by_name};
use declared::Place;
pub use declared::{defined_in_standard_library, is_of_standard_library};
pub use registry::{Registry, Scope};

use crate::object::ffi;
use crate::object::header::{self, OWN_POLICY, Object, Type};
use crate::object::raise::{self, Raised};

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

/// The attribute names that the runtime looks up, interned in one interpreter; owned by its state.
#[derive(Clone, Copy)]
pub struct Names {
    /// `__freezable__`
    pub freezable: Object,
    /// `__pre_freeze__`
    pub pre_freeze: Object,
    /// `stdlib_module_names`, of `sys`
    pub library: Object,
    /// `_stdlib_dir`, of `sys`
    pub library_folder: Object,
}

impl Names {
    /// None yet.
    pub const NONE: Names = Names {
        freezable: ptr::null_mut(),
        pre_freeze: ptr::null_mut(),
        library: ptr::null_mut(),
        library_folder: ptr::null_mut(),
    };

    /// Makes the names, unless they are there.
    ///
    /// # Errors
    /// MemoryError is set.
    ///
    /// # Safety
    /// The caller holds the interpreter's GIL.
    pub unsafe fn make(&mut self) -> Result<(), Raised> {
        for (name, text) in [
            (&mut self.freezable, c"__freezable__"),
            (&mut self.pre_freeze, c"__pre_freeze__"),
            (&mut self.library, c"stdlib_module_names"),
            (&mut self.library_folder, c"_stdlib_dir"),
        ] {
            if name.is_null() {
                // SAFETY: the caller's.
                *name = raise::unless_null(unsafe { ffi::PyUnicode_InternFromString(text.as_ptr()) })?;
            }
        }
        Ok(())
    }

    /// Gives the names up.
    ///
    /// # Safety
    /// As [`Names::make`].
    pub unsafe fn clear(&mut self) {
        for name in [&mut self.freezable, &mut self.pre_freeze, &mut self.library, &mut self.library_folder] {
            // SAFETY: owned.
            unsafe { ffi::Py_DecRef(std::mem::replace(name, ptr::null_mut())) };
        }
    }
}

/// How a freeze treats an object.
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
    /// Refused.
    Refused(Refusal),
}

/// What a freeze may do with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// How it is treated.
    pub treatment: Treatment,
    /// Only if it was named as a root.
    pub explicit: bool,
}

/// Why an object refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Somebody said so of the object or its type.
    Policy,
    /// Somebody said so of all that its module defines.
    ModuleDefault,
    /// Somebody said so of all Python classes.
    ProcessDefault,
    /// Its `__freezable__` is no policy.
    NoPolicy,
    /// Its policy is PROXY, but it is not a module.
    NoModule,
    /// A C type that nobody registered.
    Unregistered,
    /// Its state must change for it to be of use; the text names the way out.
    Stateful(&'static str),
}

/// Why an object that was not named as a root refuses.
pub const NOT_A_ROOT: &str = "its policy is FREEZABLE_EXPLICIT: pass it to freeze() by name";

impl Refusal {
    /// The reason, and the way out, for the user.
    pub fn reason(self) -> &'static str {
        match self {
            Refusal::Policy => "its policy is FREEZABLE_NO",
            Refusal::ModuleDefault => {
                "its module sets __freezable__ to a policy that forbids it: keep it out of the graph, \
                 or say otherwise for it with @immutable.freezable or immutable.set_freezable()"
            }
            Refusal::ProcessDefault => {
                "this process runs with immutable_default=no, and nobody said that it may be frozen: \
                 @immutable.freezable or immutable.register_freezable(type) says so"
            }
            Refusal::NoPolicy => "its __freezable__ must be one of the FREEZABLE_ constants",
            Refusal::NoModule => "its policy is FREEZABLE_PROXY, and only modules can become proxies",
            Refusal::Unregistered => {
                "it is made in C and nobody said that its writes respect freezing: \
                 immutable.register_freezable(type) says so"
            }
            Refusal::Stateful(advice) => advice,
        }
    }
}

/// What is said of an object: a policy, or that nothing may be done with it.
pub type Word = Result<Policy, Refusal>;

impl Treatment {
    /// What may be done with an object that is by nature treated like this, given what was said of it.
    pub fn under(self, word: Option<Word>, is_absolute: bool) -> Decision {
        let plain = |treatment| Decision { treatment, explicit: false };
        let willing = match self {
            // Whoever opts a type in promises that its writes ask the barrier.
            Treatment::Refused(_) if !is_absolute => Treatment::Container,
            Treatment::Proxy => Treatment::Container,
            other => other,
        };
        match word {
            None => plain(self),
            Some(Err(refusal)) => plain(Treatment::Refused(refusal)),
            Some(Ok(Policy::No)) => plain(Treatment::Refused(Refusal::Policy)),
            Some(Ok(Policy::Yes)) => plain(willing),
            Some(Ok(Policy::Explicit)) => Decision { treatment: willing, explicit: true },
            Some(Ok(Policy::Proxy)) if self == Treatment::Proxy => plain(self),
            Some(Ok(Policy::Proxy)) => plain(Treatment::Refused(Refusal::NoModule)),
        }
    }
}

/// How instances of `ty` are treated if nobody has said anything.
///
/// # Safety
/// `ty` is a live type of the running interpreter.
pub unsafe fn by_nature(ty: Type) -> Treatment {
    // SAFETY: the caller's.
    unsafe {
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
    unsafe { declared::mro(ty).find_map(|base| advice_on(base, stateful::instance_advice)) }
}

/// Why a class itself refuses, if it is one of the standard library's stateful ones.
///
/// # Safety
/// `class` is a live, ready type; the caller holds a GIL.
pub unsafe fn class_advice(class: Type) -> Option<&'static str> {
    // SAFETY: the caller's.
    unsafe { advice_on(class, stateful::advice) }
}

/// What `advice` says of a class, by its module and name.
unsafe fn advice_on(class: Type, advice: impl FnOnce(&str, &str) -> Option<&'static str>) -> Option<&'static str> {
    // SAFETY: a heap type's dict is an exact dict; borrowed references are used at once.
    unsafe {
        if !header::is_python_class(class) || header::has_feature(class, ffi::Py_TPFLAGS_BASE_EXC_SUBCLASS) {
            return None;
        }
        let module = ffi::PyDict_GetItemWithError((*class).tp_dict, ffi::imm_name_module);
        advice(text(module)?, text((*class.cast::<ffi::PyHeapTypeObject>()).ht_qualname)?)
    }
}

/// Why a function itself refuses, if it is one of a stateful module of the standard library, and no method of an exception.
///
/// # Safety
/// The caller holds a GIL.
pub unsafe fn function_advice(function: &ffi::PyFunctionObject) -> Option<&'static str> {
    // SAFETY: the caller's.
    unsafe {
        let name = text(function.func_qualname)?;
        let advice = stateful::advice(text(function.func_module)?, name)?;
        let is_of_exception = name.split_once('.').is_some_and(|(class, _)| is_exception(function.func_globals, class));
        (!is_of_exception).then_some(advice)
    }
}

/// Whether `namespace`, an exact dict, has a class of exceptions under that name. Nothing is allocated.
unsafe fn is_exception(namespace: Object, name: &str) -> bool {
    // SAFETY: the caller's; nobody changes the dict meanwhile; borrowed references.
    unsafe {
        let (mut place, mut key, mut value) = (0, ptr::null_mut(), ptr::null_mut());
        while ffi::PyDict_Next(namespace, &raw mut place, &raw mut key, &raw mut value) != 0 {
            if text(key) == Some(name) {
                return header::has_feature(header::type_of(value), ffi::Py_TPFLAGS_TYPE_SUBCLASS)
                    && header::has_feature(value.cast(), ffi::Py_TPFLAGS_BASE_EXC_SUBCLASS);
            }
        }
        false
    }
}

/// What an ASCII string says; `None` for everything else, and for null.
///
/// # Safety
/// The caller holds a GIL, and keeps the string as long as the text is used.
pub unsafe fn text<'a>(op: Object) -> Option<&'a str> {
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

/// What may be done with instances of `ty` that say nothing for themselves.
///
/// # Safety
/// As [`by_nature`].
pub unsafe fn for_instances(registry: &Registry, names: &Names, ty: Type) -> Decision {
    // SAFETY: the caller's.
    unsafe {
        let word = declared::word_for_instances(registry, ty, names);
        let word = word.or_else(|| registry.is_shallow_immutable(ty).then_some(Ok(Policy::Yes)));
        by_nature(ty).under(word, is_absolute(ty))
    }
}

/// Why a module is not frozen as a whole although the program asks for it: it was said of the module itself, by
/// `word`, or by the module of all that it defines.
///
/// # Safety
/// `module` is a live module of the running interpreter.
pub unsafe fn refusal_of_whole(word: Option<Word>, module: Object, names: &Names) -> Option<Refusal> {
    // SAFETY: the caller's.
    match word.or_else(|| unsafe { declared::in_module(module, names) }) {
        Some(Ok(Policy::No)) => Some(Refusal::Policy),
        Some(Err(refusal)) => Some(refusal),
        _ => None,
    }
}

/// True for types that nobody's word can make freezable: what their instances refer to changes behind every barrier.
///
/// # Safety
/// As [`by_nature`].
pub unsafe fn is_absolute(ty: Type) -> bool {
    let running = [
        &raw mut ffi::PyGen_Type,
        &raw mut ffi::PyCoro_Type,
        &raw mut ffi::PyAsyncGen_Type,
        &raw mut ffi::PyFrame_Type,
        &raw mut ffi::PyTraceBack_Type,
    ];
    // SAFETY: the caller's.
    unsafe { running.contains(&ty) || header::has_feature(ty, ffi::Py_TPFLAGS_BASE_EXC_SUBCLASS) }
}

/// The policy that a freeze follows for `op`, or for the instances of `op` if it is a type.
///
/// # Safety
/// `op` is live; its interpreter's GIL is held.
pub unsafe fn of(registry: &Registry, names: &Names, op: Object) -> Policy {
    // SAFETY: the caller's.
    unsafe {
        let own_type = header::type_of(op);
        let place = Place::of(own_type, names);
        let (ty, own) = if place == Place::Class {
            (op.cast(), None)
        } else if header::flags(op) & OWN_POLICY != 0 {
            (own_type, registry.of_object(op))
        } else {
            (own_type, None)
        };
        let own = own.or_else(|| match place {
            Place::Function => declared::word_for_function(op, names),
            other => other.read(op, names),
        });
        let word = own.or_else(|| declared::word_for_instances(registry, ty, names));
        let decision = by_nature(ty).under(word, is_absolute(ty));
        match decision.treatment {
            Treatment::Refused(Refusal::NoModule) => Policy::Proxy,
            Treatment::Refused(_) => Policy::No,
            Treatment::Proxy => Policy::Proxy,
            _ if decision.explicit => Policy::Explicit,
            _ => Policy::Yes,
        }
    }
}
