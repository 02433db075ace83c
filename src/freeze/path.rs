//! Where a refused object is: a Python expression that leads there from `root`.
//!
//! Worked out only when a freeze is refused, from the objects along the way:
//! how does each refer to the next? What no attribute or item shows is found
//! through `gc.get_referents`.

use std::ffi::CStr;
use std::ptr;

use crate::object::edges;
use crate::object::ffi;
use crate::object::header::{self, Object, Type};

/// What a step adds before and behind the expression so far.
type Step = (&'static str, String);

/// The expression for the last object of `route`, whose first one is `root`.
///
/// # Safety
/// The caller holds a GIL; the objects are alive, each referring to the next.
pub unsafe fn describe(route: &[Object]) -> String {
    let (mut before, mut behind) = (Vec::new(), String::new());
    let mut rest = route;
    while let [parent, child, ..] = *rest {
        rest = &rest[1..];
        // SAFETY: the caller's.
        let (prefix, suffix) = unsafe {
            // Through the dict of an instance to an attribute.
            if let Some(&value) = rest.get(1)
                && is_instance_dict(parent, child)
                && let Some(name) = key_of(child, value)
            {
                rest = &rest[1..];
                select(&name)
            } else {
                step(parent, child)
            }
        };
        before.push(prefix);
        behind.push_str(&suffix);
    }
    // SAFETY: as above.
    unsafe { ffi::PyErr_Clear() };
    before.reverse();
    before.concat() + "root" + &behind
}

/// From `parent` to `child`, which it refers to.
unsafe fn step(parent: Object, child: Object) -> Step {
    // SAFETY: as `describe`.
    unsafe {
        let ty = header::type_of(parent);
        let found = if is(parent, &raw mut ffi::PyTuple_Type) || is(parent, &raw mut ffi::PyList_Type) {
            position(parent, child).map(|i| ("", format!("[{i}]")))
        } else if header::has_feature(ty, ffi::Py_TPFLAGS_DICT_SUBCLASS) || is(parent, &raw mut ffi::PyFrozenDict_Type)
        {
            item(parent, child)
        } else if is(parent, &raw mut ffi::PySet_Type) || is(parent, &raw mut ffi::PyFrozenSet_Type) {
            position(parent, child).map(|i| ("[*", format!("][{i}]")))
        } else {
            attribute(parent, child).map(|name| select(&name))
        };
        found
            .or_else(|| (child == ty.cast()).then(|| ("type(", ")".into())))
            .or_else(|| referent(parent, child).map(|i| ("gc.get_referents(", format!(")[{i}]"))))
            .unwrap_or_else(|| ("<part of ", ">".into()))
    }
}

/// To the attribute of that name: not every name in an instance's dict can be
/// written after a dot.
fn select(name: &str) -> Step {
    const KEYWORDS: &str = " False None True and as assert async await break class continue def del \
        elif else except finally for from global if import in is lambda nonlocal not or pass raise \
        return try while with yield ";
    let identifier = name.chars().all(|c| c.is_alphanumeric() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && !KEYWORDS.contains(&format!(" {name} "));
    if identifier { ("", format!(".{name}")) } else { ("", format!(".__dict__[{name:?}]")) }
}

unsafe fn is(op: Object, ty: Type) -> bool {
    // SAFETY: as `describe`.
    unsafe { header::type_of(op) == ty }
}

/// The place of `child` in the iteration order of a builtin collection.
unsafe fn position(collection: Object, child: Object) -> Option<usize> {
    // SAFETY: as `describe`; iterating builtin collections runs no Python code.
    unsafe {
        let items = ffi::PySequence_Tuple(collection);
        if items.is_null() {
            return None;
        }
        let found = (0..ffi::PyTuple_Size(items)).find(|&i| ffi::PyTuple_GetItem(items, i) == child);
        ffi::Py_DecRef(items);
        found.map(|i| i as usize)
    }
}

unsafe fn item(dict: Object, child: Object) -> Option<Step> {
    // SAFETY: as `describe`. repr() of a key may run Python code: all marks
    // are gone by now.
    unsafe {
        let (mut place, mut key, mut value) = (0, ptr::null_mut(), ptr::null_mut());
        let mut n = 0;
        while ffi::PyDict_Next(dict, &mut place, &mut key, &mut value) != 0 {
            if value == child {
                return if is_text_or_number(key) {
                    Some(("", format!("[{}]", text_of(ffi::PyObject_Repr(key))?)))
                } else {
                    Some(("[*", format!(".values()][{n}]")))
                };
            }
            if key == child {
                return Some(("[*", format!("][{n}]")));
            }
            n += 1;
        }
        None
    }
}

unsafe fn is_instance_dict(parent: Object, child: Object) -> bool {
    // SAFETY: as `describe`.
    unsafe {
        header::has_feature(header::type_of(parent), ffi::Py_TPFLAGS_MANAGED_DICT)
            && edges::managed_dict(parent) == child
    }
}

/// The string under which `dict` holds `child`.
unsafe fn key_of(dict: Object, child: Object) -> Option<String> {
    // SAFETY: as `describe`.
    unsafe {
        let (mut place, mut key, mut value) = (0, ptr::null_mut(), ptr::null_mut());
        while ffi::PyDict_Next(dict, &mut place, &mut key, &mut value) != 0 {
            if value == child && is(key, &raw mut ffi::PyUnicode_Type) {
                ffi::Py_IncRef(key);
                return text_of(key);
            }
        }
        None
    }
}

unsafe fn is_text_or_number(key: Object) -> bool {
    let types = [
        &raw mut ffi::PyUnicode_Type,
        &raw mut ffi::PyLong_Type,
        &raw mut ffi::PyBytes_Type,
        &raw mut ffi::PyBool_Type,
    ];
    // SAFETY: as `describe`.
    unsafe { types.contains(&header::type_of(key)) }
}

/// An attribute of `parent` that is `child`.
unsafe fn attribute(parent: Object, child: Object) -> Option<String> {
    const KNOWN: [&CStr; 22] = [
        c"__self__",
        c"__func__",
        c"__wrapped__",
        c"__code__",
        c"__closure__",
        c"__defaults__",
        c"__kwdefaults__",
        c"__annotations__",
        c"__annotate__",
        c"__type_params__",
        c"__mro__",
        c"__bases__",
        c"__base__",
        c"__objclass__",
        c"__origin__",
        c"__args__",
        c"cell_contents",
        c"co_consts",
        c"fget",
        c"fset",
        c"fdel",
        c"obj",
    ];
    // SAFETY: as `describe`; the type is checked before a layout is used.
    unsafe {
        if is(parent, &raw mut ffi::PyFunction_Type)
            && let Some(name) = function_attribute(parent, child)
        {
            return Some(name);
        }
        if header::has_feature(header::type_of(parent), ffi::Py_TPFLAGS_TYPE_SUBCLASS) {
            if (*parent.cast::<ffi::PyTypeObject>()).tp_dict == child {
                return Some("__dict__".into());
            }
        } else if let Some(name) = instance_attribute(parent, child) {
            return Some(name);
        }
        // Only builtin types: their attributes run no Python code.
        if header::is_python_class(header::type_of(parent)) {
            return None;
        }
        KNOWN
            .iter()
            .find(|name| yields(parent, ffi::PyUnicode_FromString(name.as_ptr()), child))
            .and_then(|name| name.to_str().ok())
            .map(str::to_owned)
    }
}

/// What a freeze will give the function stands where these attributes are.
unsafe fn function_attribute(function: Object, child: Object) -> Option<String> {
    // SAFETY: as `describe`.
    unsafe {
        let fields = &*function.cast::<ffi::PyFunctionObject>();
        let name = if child == fields.func_dict {
            "__dict__"
        } else if is(child, &raw mut ffi::PyDict_Type)
            && child != fields.func_kwdefaults
            && child != fields.func_annotations
        {
            "__globals__"
        } else if is(child, &raw mut ffi::PyTuple_Type)
            && child != fields.func_defaults
            && child != fields.func_typeparams
        {
            "__closure__"
        } else {
            return None;
        };
        Some(name.into())
    }
}

/// The name of an instance variable or slot of `parent` that is `child`.
unsafe fn instance_attribute(parent: Object, child: Object) -> Option<String> {
    // SAFETY: as `describe`. The generic getattr does not run a class's own
    // `__getattribute__`, and the names tried are instance variables or slots.
    unsafe {
        let ty = header::type_of(parent);
        if header::has_feature(ty, ffi::Py_TPFLAGS_MANAGED_DICT) {
            if edges::managed_dict(parent) == child {
                return Some("__dict__".into());
            }
            if header::has_feature(ty, ffi::Py_TPFLAGS_INLINE_VALUES) {
                let keys = ffi::imm_shared_keys(ty);
                for i in 0..(*keys).dk_nentries as usize {
                    let name = (*ffi::imm_unicode_entries(keys).add(i)).me_key;
                    ffi::Py_IncRef(name);
                    if yields(parent, name, child) {
                        ffi::Py_IncRef(name);
                        return text_of(name);
                    }
                }
            }
        }
        let mro = (*ty).tp_mro;
        for i in 0..ffi::PyTuple_Size(mro) {
            let base: Type = ffi::PyTuple_GetItem(mro, i).cast();
            if !header::is_python_class(base) {
                continue;
            }
            let (mut place, mut name, mut descriptor) = (0, ptr::null_mut(), ptr::null_mut());
            while ffi::PyDict_Next((*base).tp_dict, &mut place, &mut name, &mut descriptor) != 0 {
                if is(descriptor, &raw mut ffi::PyMemberDescr_Type) {
                    ffi::Py_IncRef(name);
                    if yields(parent, name, child) {
                        ffi::Py_IncRef(name);
                        return text_of(name);
                    }
                }
            }
        }
        None
    }
}

/// True if the attribute `name` (a reference that is used up) is `child`.
unsafe fn yields(parent: Object, name: Object, child: Object) -> bool {
    // SAFETY: as `describe`.
    unsafe {
        if name.is_null() {
            ffi::PyErr_Clear();
            return false;
        }
        let value = ffi::PyObject_GenericGetAttr(parent, name);
        ffi::Py_DecRef(name);
        if value.is_null() {
            ffi::PyErr_Clear();
        }
        ffi::Py_DecRef(value);
        value == child
    }
}

/// The place of `child` in `gc.get_referents(parent)`.
unsafe fn referent(parent: Object, child: Object) -> Option<usize> {
    let mut place = None;
    let mut n = 0;
    // SAFETY: as `describe`; a collected type's tp_traverse is what
    // gc.get_referents calls.
    unsafe {
        if header::has_gc_head(parent) {
            edges::traverse_only(parent, &mut |target| {
                if target == child && place.is_none() {
                    place = Some(n);
                }
                n += 1;
            });
        }
    }
    place
}

/// The text of a new reference to a string, which is given back.
unsafe fn text_of(text: Object) -> Option<String> {
    // SAFETY: as `describe`.
    unsafe {
        if text.is_null() {
            ffi::PyErr_Clear();
            return None;
        }
        let utf8 = ffi::PyUnicode_AsUTF8(text);
        let owned = (!utf8.is_null()).then(|| CStr::from_ptr(utf8).to_string_lossy().into_owned());
        ffi::Py_DecRef(text);
        owned
    }
}
