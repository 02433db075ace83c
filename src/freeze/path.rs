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
use crate::object::memory::{OutOfMemory, try_format};

/// What a step adds before and behind the expression so far.
type Step = (&'static str, String);

/// What was looked for, if it is there; whoever looks clears Python's exceptions.
type Found<T> = Result<Option<T>, OutOfMemory>;

/// The expression for the last object of `route`, whose first one is `root`.
///
/// # Errors
/// [`OutOfMemory`]; no exception is set.
///
/// # Safety
/// The caller holds a GIL; the objects are alive, each referring to the next.
pub unsafe fn describe(route: &[Object]) -> Result<String, OutOfMemory> {
    let (mut before, mut behind) = (Vec::new(), String::new());
    let mut rest = route;
    while let [parent, child, ..] = *rest {
        rest = &rest[1..];
        // SAFETY: the caller's.
        let (prefix, suffix) = unsafe {
            match attribute_in_dict(parent, child, rest.get(1))? {
                Some(name) => {
                    rest = &rest[1..];
                    select(&name)?
                }
                None => step(parent, child)?,
            }
        };
        before.try_reserve(1)?;
        before.push(prefix);
        behind.try_reserve(suffix.len())?;
        behind.push_str(&suffix);
    }
    let mut expression = String::new();
    expression.try_reserve(before.iter().map(|prefix| prefix.len()).sum::<usize>() + "root".len() + behind.len())?;
    expression.extend(before.into_iter().rev());
    expression.push_str("root");
    expression.push_str(&behind);
    Ok(expression)
}

/// The name of the attribute `value` of `parent`, if `child` is the dict of this instance.
unsafe fn attribute_in_dict(parent: Object, child: Object, value: Option<&Object>) -> Found<String> {
    // SAFETY: as `describe`.
    unsafe {
        match value {
            Some(&value) if is_instance_dict(parent, child) => key_of(child, value),
            _ => Ok(None),
        }
    }
}

/// From `parent` to `child`, which it refers to.
unsafe fn step(parent: Object, child: Object) -> Result<Step, OutOfMemory> {
    // SAFETY: as `describe`.
    unsafe {
        let ty = header::type_of(parent);
        if is(parent, &raw mut ffi::PyTuple_Type) || is(parent, &raw mut ffi::PyList_Type) {
            if let Some(i) = position(parent, child)? {
                return Ok(("", try_format!("[{i}]")?));
            }
        } else if header::has_feature(ty, ffi::Py_TPFLAGS_DICT_SUBCLASS) || is(parent, &raw mut ffi::PyFrozenDict_Type)
        {
            if let Some(step) = item(parent, child)? {
                return Ok(step);
            }
        } else if is(parent, &raw mut ffi::PySet_Type) || is(parent, &raw mut ffi::PyFrozenSet_Type) {
            if let Some(i) = position(parent, child)? {
                return Ok(("[*", try_format!("][{i}]")?));
            }
        } else if edges::is_weak_reference(ty) && (*parent.cast::<ffi::PyWeakReference>()).wr_object == child {
            return Ok(("", try_format!("()")?));
        } else if let Some(name) = attribute(parent, child)? {
            return select(&name);
        }
        if child == ty.cast() {
            return Ok(("type(", try_format!(")")?));
        }
        match referent(parent, child) {
            Some(i) => Ok(("gc.get_referents(", try_format!(")[{i}]")?)),
            None => Ok(("<part of ", try_format!(">")?)),
        }
    }
}

/// To the attribute of that name: not every name in an instance's dict can be
/// written after a dot.
fn select(name: &str) -> Result<Step, OutOfMemory> {
    const KEYWORDS: &str = "False None True and as assert async await break class continue def del \
        elif else except finally for from global if import in is lambda nonlocal not or pass raise \
        return try while with yield";
    let identifier = name.chars().all(|c| c.is_alphanumeric() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && !KEYWORDS.split(' ').any(|keyword| keyword == name);
    let suffix = if identifier { try_format!(".{name}")? } else { try_format!(".__dict__[{name:?}]")? };
    Ok(("", suffix))
}

/// Clears the exception that is set, if any. It is an error if it says that there is no memory.
unsafe fn clear_exception() -> Result<(), OutOfMemory> {
    // SAFETY: as `describe`.
    unsafe {
        let no_memory = ffi::PyErr_ExceptionMatches(ffi::PyExc_MemoryError) != 0;
        ffi::PyErr_Clear();
        if no_memory { Err(OutOfMemory) } else { Ok(()) }
    }
}

unsafe fn is(op: Object, ty: Type) -> bool {
    // SAFETY: as `describe`.
    unsafe { header::type_of(op) == ty }
}

/// The place of `child` in the iteration order of a builtin collection.
unsafe fn position(collection: Object, child: Object) -> Found<usize> {
    // SAFETY: as `describe`; iterating builtin collections runs no Python code.
    unsafe {
        let items = ffi::PySequence_Tuple(collection);
        if items.is_null() {
            clear_exception()?;
            return Ok(None);
        }
        let found = (0..ffi::PyTuple_Size(items)).find(|&i| ffi::PyTuple_GetItem(items, i) == child);
        ffi::Py_DecRef(items);
        Ok(found.map(|i| i as usize))
    }
}

unsafe fn item(dict: Object, child: Object) -> Found<Step> {
    // SAFETY: as `describe`. repr() of a key may run Python code: all marks
    // are gone by now.
    unsafe {
        let (mut place, mut key, mut value) = (0, ptr::null_mut(), ptr::null_mut());
        let mut n = 0;
        while ffi::PyDict_Next(dict, &mut place, &mut key, &mut value) != 0 {
            if value == child {
                if is_text_or_number(key)
                    && let Some(key) = text_of(ffi::PyObject_Repr(key))?
                {
                    return Ok(Some(("", try_format!("[{key}]")?)));
                }
                return Ok(Some(("[*", try_format!(".values()][{n}]")?)));
            }
            if key == child {
                return Ok(Some(("[*", try_format!("][{n}]")?)));
            }
            n += 1;
        }
        Ok(None)
    }
}

unsafe fn is_instance_dict(parent: Object, child: Object) -> bool {
    // SAFETY: as `describe`.
    unsafe {
        if is(parent, &raw mut ffi::PyModule_Type) {
            return (*parent.cast::<ffi::PyModuleObject>()).md_dict == child;
        }
        header::has_feature(header::type_of(parent), ffi::Py_TPFLAGS_MANAGED_DICT)
            && edges::managed_dict(parent) == child
    }
}

/// The string under which `dict` holds `child`.
unsafe fn key_of(dict: Object, child: Object) -> Found<String> {
    // SAFETY: as `describe`.
    unsafe {
        let (mut place, mut key, mut value) = (0, ptr::null_mut(), ptr::null_mut());
        while ffi::PyDict_Next(dict, &mut place, &mut key, &mut value) != 0 {
            if value == child && is(key, &raw mut ffi::PyUnicode_Type) {
                ffi::Py_IncRef(key);
                return text_of(key);
            }
        }
        Ok(None)
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
unsafe fn attribute(parent: Object, child: Object) -> Found<String> {
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
            return try_format!("{name}").map(Some);
        }
        if header::has_feature(header::type_of(parent), ffi::Py_TPFLAGS_TYPE_SUBCLASS) {
            if (*parent.cast::<ffi::PyTypeObject>()).tp_dict == child {
                return try_format!("__dict__").map(Some);
            }
        } else if let Some(name) = instance_attribute(parent, child)? {
            return Ok(Some(name));
        }
        // Only builtin types: their attributes run no Python code.
        if header::is_python_class(header::type_of(parent)) {
            return Ok(None);
        }
        for name in KNOWN {
            let name = ffi::PyUnicode_FromString(name.as_ptr());
            if let Some(name) = if_attribute(parent, name, child)? {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }
}

/// What a freeze will give the function stands where these attributes are.
unsafe fn function_attribute(function: Object, child: Object) -> Option<&'static str> {
    // SAFETY: as `describe`.
    unsafe {
        let fields = &*function.cast::<ffi::PyFunctionObject>();
        if child == fields.func_dict {
            Some("__dict__")
        } else if is(child, &raw mut ffi::PyDict_Type)
            && child != fields.func_kwdefaults
            && child != fields.func_annotations
        {
            Some("__globals__")
        } else if is(child, &raw mut ffi::PyTuple_Type)
            && child != fields.func_defaults
            && child != fields.func_typeparams
        {
            Some("__closure__")
        } else {
            None
        }
    }
}

/// The name of an instance variable or slot of `parent` that is `child`.
unsafe fn instance_attribute(parent: Object, child: Object) -> Found<String> {
    // SAFETY: as `describe`. The generic getattr does not run a class's own
    // `__getattribute__`, and the names tried are instance variables or slots.
    unsafe {
        let ty = header::type_of(parent);
        if header::has_feature(ty, ffi::Py_TPFLAGS_MANAGED_DICT) {
            if edges::managed_dict(parent) == child {
                return try_format!("__dict__").map(Some);
            }
            if header::has_feature(ty, ffi::Py_TPFLAGS_INLINE_VALUES) {
                let keys = ffi::imm_shared_keys(ty);
                for i in 0..(*keys).dk_nentries as usize {
                    let name = (*ffi::imm_unicode_entries(keys).add(i)).me_key;
                    ffi::Py_IncRef(name);
                    if let Some(name) = if_attribute(parent, name, child)? {
                        return Ok(Some(name));
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
                    if let Some(name) = if_attribute(parent, name, child)? {
                        return Ok(Some(name));
                    }
                }
            }
        }
        Ok(None)
    }
}

/// The text of `name` (a reference that is used up), if the attribute of that name is `child`.
unsafe fn if_attribute(parent: Object, name: Object, child: Object) -> Found<String> {
    // SAFETY: as `describe`.
    unsafe {
        if name.is_null() {
            clear_exception()?;
            return Ok(None);
        }
        let value = ffi::PyObject_GenericGetAttr(parent, name);
        ffi::Py_DecRef(value);
        if value == child {
            return text_of(name);
        }
        ffi::Py_DecRef(name);
        clear_exception()?;
        Ok(None)
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
unsafe fn text_of(string: Object) -> Found<String> {
    // SAFETY: as `describe`.
    unsafe {
        let utf8 = if string.is_null() { ptr::null() } else { ffi::PyUnicode_AsUTF8(string) };
        let owned = if utf8.is_null() {
            clear_exception().map(|()| None)
        } else {
            try_format!("{}", CStr::from_ptr(utf8).to_str().unwrap_or("?")).map(Some)
        };
        ffi::Py_DecRef(string);
        owned
    }
}
