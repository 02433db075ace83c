//! Policies that a program declares with an attribute `__freezable__`.
//!
//! Read from where the attribute would be, and not through `getattr`: while a freeze explores, no descriptor and no
//! `__getattr__` may run. A value that is no policy makes the object refuse.

use super::{Names, Policy, Refusal, Registry, Word};
use crate::object::edges;
use crate::object::ffi;
use crate::object::header::{self, Object, PROXY, Type};
use crate::object::raise::{self, Raised};
use crate::policy::option;

/// Where instances of one type would have their own `__freezable__`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nowhere.
    None,
    /// In their managed dict; while their values lie inline, at this index of them, if the type knows the name at all.
    Managed(Option<u8>),
    /// In a dict of their own.
    Dict,
    /// In a slot, so many bytes from the object.
    Slot(isize),
    /// They are functions: in their dict, which few have.
    Function,
    /// They are classes: in the namespace of the nearest of their MRO.
    Class,
    /// They are modules, whose attribute speaks for what they define, and says of themselves at most that they are
    /// frozen too.
    Module,
}

impl Place {
    /// The place for instances of `ty`.
    ///
    /// # Safety
    /// `ty` is a live type of the running interpreter.
    pub unsafe fn of(ty: Type, names: &Names) -> Self {
        // SAFETY: the caller's; each layout is used for types that have it.
        unsafe {
            if ty == &raw mut ffi::PyFunction_Type {
                return Place::Function;
            }
            if header::has_feature(ty, ffi::Py_TPFLAGS_TYPE_SUBCLASS) {
                return Place::Class;
            }
            if ffi::PyType_IsSubtype(ty, &raw mut ffi::PyModule_Type) != 0 {
                return Place::Module;
            }
            if let Some(found) = find_in_mro(ty, names.freezable)
                && header::type_of(found) == &raw mut ffi::PyMemberDescr_Type
            {
                return Place::Slot((*(*found.cast::<ffi::PyMemberDescrObject>()).d_member).offset);
            }
            if header::has_feature(ty, ffi::Py_TPFLAGS_MANAGED_DICT) {
                let inline = header::has_feature(ty, ffi::Py_TPFLAGS_INLINE_VALUES);
                Place::Managed(if inline { shared_index(ty, names.freezable) } else { None })
            } else if (*ty).tp_dictoffset != 0 {
                Place::Dict
            } else {
                Place::None
            }
        }
    }

    /// What the object's own attribute says, if it has one. Not for classes and functions.
    ///
    /// # Safety
    /// `op` is live, and of the type that this place is of.
    #[inline]
    pub unsafe fn read(self, op: Object, names: &Names) -> Option<Word> {
        // SAFETY: the caller's.
        unsafe {
            match self {
                Place::None | Place::Function | Place::Class => None,
                // Nobody but its own interpreter reads the namespace of a proxy.
                Place::Module if header::flags(op) & PROXY != 0 => None,
                Place::Module => in_module(op, names).filter(|word| *word == Ok(Policy::Yes)),
                Place::Managed(index) => managed(op, index, names),
                Place::Dict => in_dict(*ffi::imm_dict_slot(op), names.freezable),
                Place::Slot(offset) => word_of(*op.byte_offset(offset).cast::<Object>()),
            }
        }
    }
}

#[inline]
unsafe fn managed(op: Object, index: Option<u8>, names: &Names) -> Option<Word> {
    // SAFETY: op has a managed dict; valid inline values have room for every name that their type knows, or it is
    // beyond their capacity.
    unsafe {
        let values = ffi::imm_inline_values(op);
        if values.is_null() {
            return in_dict(edges::managed_dict(op), names.freezable);
        }
        let index = index.filter(|index| *index < (*values).capacity)?;
        word_of(*(&raw const (*values).values).cast::<Object>().add(index.into()))
    }
}

/// What the attribute of that name says, of the namespace of a module or object; null for none.
unsafe fn in_dict(dict: Object, name: Object) -> Option<Word> {
    // SAFETY: dict is a dict or null.
    unsafe { if dict.is_null() { None } else { word_of(find(dict, name)?) } }
}

/// What a value of `__freezable__` says; null says nothing.
unsafe fn word_of(value: Object) -> Option<Word> {
    if value.is_null() {
        return None;
    }
    // SAFETY: a live object. Reading the value of an int runs no code, of a subclass neither.
    unsafe {
        let ty = header::type_of(value);
        if !header::has_feature(ty, ffi::Py_TPFLAGS_LONG_SUBCLASS) || ty == &raw mut ffi::PyBool_Type {
            return Some(Err(Refusal::NoPolicy));
        }
        let mut overflow = 0;
        let number = ffi::PyLong_AsLongAndOverflow(value, &raw mut overflow);
        Some(Policy::from_number(number).filter(|_| overflow == 0).ok_or(Refusal::NoPolicy))
    }
}

/// The value that a dict holds under a name, borrowed. Runs no code, whatever other keys there are.
///
/// # Safety
/// `dict` is a live dict, `name` an exact string.
pub unsafe fn find(dict: Object, name: Object) -> Option<Object> {
    // SAFETY: a table whose keys are all exact strings compares no others; of another, exact strings are compared here.
    unsafe {
        let keys = (*dict.cast::<ffi::PyDictObject>()).ma_keys;
        if u32::from((*keys).dk_kind) != edges::DICT_KEYS_GENERAL {
            let value = ffi::PyDict_GetItemWithError(dict, name);
            return (!value.is_null()).then_some(value);
        }
        let entries = ffi::imm_general_entries(keys);
        (0..(*keys).dk_nentries as usize)
            .map(|i| &*entries.add(i))
            .find(|entry| {
                !entry.me_value.is_null()
                    && (entry.me_key == name
                        || header::type_of(entry.me_key) == &raw mut ffi::PyUnicode_Type
                            && ffi::PyUnicode_Equal(entry.me_key, name) == 1)
            })
            .map(|entry| entry.me_value)
    }
}

/// The value of an attribute that an instance has in its dict, or inline, borrowed. Runs no code.
///
/// # Safety
/// `op` is alive, of the running interpreter; `name` an exact string.
pub unsafe fn find_in_instance(op: Object, name: Object) -> Option<Object> {
    // SAFETY: the caller's; values have room for every key, or it is beyond them. The keys are exact strings.
    unsafe {
        let values = ffi::imm_inline_values(op);
        if values.is_null() {
            let slot = ffi::imm_dict_slot(op);
            return if slot.is_null() || (*slot).is_null() { None } else { find(*slot, name) };
        }
        let keys = ffi::imm_shared_keys(header::type_of(op));
        let entries = ffi::imm_unicode_entries(keys);
        let items = (&raw const (*values).values).cast::<Object>();
        (0..((*keys).dk_nentries as usize).min((*values).capacity as usize))
            .find(|&i| ffi::PyUnicode_Equal((*entries.add(i)).me_key, name) == 1)
            .map(|i| *items.add(i))
            .filter(|value| !value.is_null())
    }
}

/// The attribute of that name of the nearest class in the MRO that has it, borrowed.
///
/// # Safety
/// `ty` is a live type; `name` an exact string.
pub unsafe fn find_in_mro(ty: Type, name: Object) -> Option<Object> {
    // SAFETY: the caller's.
    unsafe { mro(ty).find_map(|base| find_in_class(base, name)) }
}

/// The attribute of that name of the class itself, borrowed. A static type declares nothing.
unsafe fn find_in_class(ty: Type, name: Object) -> Option<Object> {
    // SAFETY: a ready heap type has a dict.
    unsafe {
        if header::has_feature(ty, ffi::Py_TPFLAGS_HEAPTYPE) && !(*ty).tp_dict.is_null() {
            find((*ty).tp_dict, name)
        } else {
            None
        }
    }
}

/// The method resolution order of a type.
///
/// # Safety
/// `ty` is a live type, and its bases do not change meanwhile.
pub unsafe fn mro(ty: Type) -> impl Iterator<Item = Type> {
    // SAFETY: the caller's: a tuple of types.
    unsafe {
        // Null while a metaclass still works it out.
        let mro = (*ty).tp_mro;
        (0..if mro.is_null() { 0 } else { ffi::PyTuple_Size(mro) }).map(move |i| ffi::PyTuple_GetItem(mro, i).cast())
    }
}

/// The index at which instances of `ty` have the attribute of that name inline, if one ever had it.
unsafe fn shared_index(ty: Type, name: Object) -> Option<u8> {
    // SAFETY: a type with inline values has a table of shared keys. Attribute names are interned.
    unsafe {
        let keys = ffi::imm_shared_keys(ty);
        if keys.is_null() {
            return None;
        }
        let entries = ffi::imm_unicode_entries(keys);
        (0..(*keys).dk_nentries as usize)
            .find(|&i| (*entries.add(i)).me_key == name)
            .and_then(|index| u8::try_from(index).ok())
    }
}

/// What is said of the instances of `ty`: by the nearest in its MRO, by its module, or for the process.
///
/// # Safety
/// `ty` is a live type of the running interpreter.
pub unsafe fn word_for_instances(registry: &Registry, ty: Type, names: &Names) -> Option<Word> {
    // SAFETY: the caller's.
    unsafe {
        mro(ty)
            .find_map(|base| registry.for_instances(base).map(Ok).or_else(|| class_attribute(base, names)))
            .or_else(|| default_of(ty, names))
    }
}

/// What is said of a class as an object: by the nearest in its own MRO, by its module, or for the process.
///
/// # Safety
/// As [`word_for_instances`].
pub unsafe fn word_for_class(registry: &Registry, class: Type, names: &Names) -> Option<Word> {
    // SAFETY: the caller's.
    unsafe {
        mro(class)
            .find_map(|base| registry.for_itself(base).map(Ok).or_else(|| class_attribute(base, names)))
            .or_else(|| default_of(class, names))
    }
}

/// What the class itself declares. A slot of that name is for its instances.
unsafe fn class_attribute(class: Type, names: &Names) -> Option<Word> {
    // SAFETY: as `word_for_instances`.
    unsafe {
        let value = find_in_class(class, names.freezable)?;
        if header::type_of(value) == &raw mut ffi::PyMemberDescr_Type { None } else { word_of(value) }
    }
}

/// What the module of a Python class says, or the process for all of them.
///
/// The classes of the standard library are left to the former: `-X immutable_default=no` asks the authors of programs,
/// and without `dataclasses` or `enum` their consent would not reach far.
unsafe fn default_of(class: Type, names: &Names) -> Option<Word> {
    // SAFETY: as `word_for_instances`; a Python class has a dict.
    unsafe {
        if !header::is_python_class(class) {
            return None;
        }
        let module = find((*class).tp_dict, ffi::imm_name_module);
        let module = module.filter(|name| header::type_of(*name) == &raw mut ffi::PyUnicode_Type);
        let declared = module.and_then(|name| {
            let modules = ffi::imm_modules();
            if modules.is_null() { None } else { in_module(find(modules, name)?, names) }
        });
        match declared {
            Some(word) => Some(forbidding(word, Refusal::ModuleDefault)),
            None if option::default_is_no() && !module.is_some_and(|name| is_known_of_library(name, names)) => {
                Some(Err(Refusal::ProcessDefault))
            }
            None => None,
        }
    }
}

/// A default that says NO, as a refusal that says where it comes from.
fn forbidding(word: Word, refusal: Refusal) -> Word {
    match word {
        Ok(Policy::No) => Err(refusal),
        // Only modules are proxies: it speaks for what is defined in one.
        Ok(Policy::Proxy) => Err(Refusal::NoModule),
        other => other,
    }
}

/// What a module says of all that it defines.
///
/// # Safety
/// `module` is an object whose namespace, if it is a module, the running interpreter may read.
pub unsafe fn in_module(module: Object, names: &Names) -> Option<Word> {
    // SAFETY: a module's namespace is a dict, or not yet made.
    unsafe {
        if ffi::PyType_IsSubtype(header::type_of(module), &raw mut ffi::PyModule_Type) == 0 {
            return None;
        }
        in_dict((*module.cast::<ffi::PyModuleObject>()).md_dict, names.freezable)
    }
}

/// What is said of a function: by its own attribute, or by the module that it was defined in.
///
/// A method follows its class: its module's word on the class is asked when the class is reached.
///
/// # Safety
/// `function` is a live function.
pub unsafe fn word_for_function(function: Object, names: &Names) -> Option<Word> {
    // SAFETY: the parts have the types that funcobject.c checks.
    unsafe {
        let fields = &*function.cast::<ffi::PyFunctionObject>();
        if let Some(own) = in_dict(fields.func_dict, names.freezable) {
            return Some(own);
        }
        let word = in_dict(fields.func_globals, names.freezable)?;
        (!is_method_name(fields.func_qualname)).then(|| forbidding(word, Refusal::ModuleDefault))
    }
}

/// True if the qualified name is that of a function in the body of a class.
unsafe fn is_method_name(qualname: Object) -> bool {
    const DOT: u32 = '.' as u32;
    // SAFETY: an exact string; indexes are within its length.
    unsafe {
        let length = ffi::PyUnicode_GetLength(qualname);
        let last = ffi::PyUnicode_FindChar(qualname, DOT, 0, length, -1);
        // "f.<locals>.g" is defined in a function, "C.g" and "f.<locals>.C.g" in a class.
        last > 0 && ffi::PyUnicode_ReadChar(qualname, last - 1) != u32::from(b'>')
    }
}

/// True for a class that names a module of the standard library as the one that defines it.
///
/// # Safety
/// `class` is a live heap type; a GIL is held. No Python code runs.
pub unsafe fn defined_in_standard_library(class: Type, names: &Names) -> bool {
    // SAFETY: the caller's; a heap type has a dict.
    unsafe {
        find((*class).tp_dict, ffi::imm_name_module).is_some_and(|name| {
            header::type_of(name) == &raw mut ffi::PyUnicode_Type && is_known_of_library(name, names)
        })
    }
}

/// As [`is_of_standard_library`]; without memory the module is not known.
unsafe fn is_known_of_library(name: Object, names: &Names) -> bool {
    // SAFETY: as there.
    unsafe {
        is_of_standard_library(name, names).unwrap_or_else(|_| {
            ffi::PyErr_Clear();
            false
        })
    }
}

/// Whether the module of that name, or its package, belongs to the standard library.
///
/// # Errors
/// MemoryError is set.
///
/// # Safety
/// `name` is an exact string; a GIL is held. No Python code runs.
pub unsafe fn is_of_standard_library(name: Object, names: &Names) -> Result<bool, Raised> {
    // SAFETY: sys.stdlib_module_names is a frozenset of exact strings, which is never replaced while it is used here.
    unsafe {
        let sys = ffi::imm_sys_dict();
        if sys.is_null() {
            return Ok(false);
        }
        let Some(library) = find(sys, names.library) else { return Ok(false) };
        if header::type_of(library) != &raw mut ffi::PyFrozenSet_Type {
            return Ok(false);
        }
        let length = ffi::PyUnicode_GetLength(name);
        let dot = ffi::PyUnicode_FindChar(name, '.' as u32, 0, length, 1);
        let top = raise::unless_null(ffi::PyUnicode_Substring(name, 0, if dot < 0 { length } else { dot }))?;
        let found = ffi::PySet_Contains(library, top);
        ffi::Py_DecRef(top);
        raise::unless_negative(found).map(|()| found == 1)
    }
}
