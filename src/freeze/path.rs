//! Where a refused object is: a Python expression that leads there from `root`, or one of `roots`.
//!
//! Worked out only when a freeze is refused, from the objects along the way:
//! how does each refer to the next? What no attribute or item shows is found
//! through `gc.get_referents`.

use std::collections::HashMap;
use std::ffi::CStr;
use std::ptr;

use crate::object::edges;
use crate::object::ffi;
use crate::object::header::{self, Object, Type};
use crate::object::memory::{OutOfMemory, try_format};
use crate::share::module;

/// What a step adds before and behind the expression so far.
type Step = (&'static str, String);

/// What was looked for, if it is there; whoever looks clears Python's exceptions.
type Found<T> = Result<Option<T>, OutOfMemory>;

/// The expression for the last object of `route`, whose first one is one of `roots`: `root`, or of several `roots[0]` and so on.
///
/// # Errors
/// [`OutOfMemory`]; no exception is set.
///
/// # Safety
/// The caller holds a GIL; the objects are alive, each referring to the next.
pub unsafe fn describe(route: &[Object], roots: &[Object]) -> Result<String, OutOfMemory> {
    let name = match roots.iter().position(|root| route.first() == Some(root)) {
        Some(place) if roots.len() > 1 => try_format!("roots[{place}]")?,
        _ => try_format!("root")?,
    };
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
    expression.try_reserve(before.iter().map(|prefix| prefix.len()).sum::<usize>() + name.len() + behind.len())?;
    expression.extend(before.into_iter().rev());
    expression.push_str(&name);
    expression.push_str(&behind);
    Ok(expression)
}

/// The steps from one object to those that it refers to, worked out for many at a time.
pub struct Steps {
    parent: Object,
    /// The object is the dict of an instance.
    is_attributes: bool,
    /// Where in the iteration order of a collection each object comes first.
    positions: HashMap<Object, usize>,
    /// Under which key a dict holds each value first: the key and its position.
    keys: HashMap<Object, (Object, usize)>,
}

/// One of [`Steps`].
pub struct Way {
    /// What comes before the expression so far.
    pub before: &'static str,
    /// What comes behind it.
    pub behind: String,
    /// It leads from the instance, and not from its dict.
    pub is_attribute: bool,
}

impl Steps {
    /// The steps from `parent`, which is the dict of an instance if `is_attributes`.
    ///
    /// # Errors
    /// [`OutOfMemory`]; no exception is set.
    ///
    /// # Safety
    /// The caller holds a GIL. The object is not changed before the steps are dropped.
    pub unsafe fn from(parent: Object, is_attributes: bool) -> Result<Self, OutOfMemory> {
        let mut steps = Steps { parent, is_attributes, positions: HashMap::new(), keys: HashMap::new() };
        let collections = [
            &raw mut ffi::PyTuple_Type,
            &raw mut ffi::PyList_Type,
            &raw mut ffi::PySet_Type,
            &raw mut ffi::PyFrozenSet_Type,
        ];
        // SAFETY: the caller's; iterating builtin collections runs no Python code.
        unsafe {
            let ty = header::type_of(parent);
            if collections.contains(&ty) {
                let items = ffi::PySequence_Tuple(parent);
                if items.is_null() {
                    clear_exception()?;
                    return Ok(steps);
                }
                let reserved = steps.positions.try_reserve(ffi::PyTuple_Size(items) as usize);
                if reserved.is_ok() {
                    for i in 0..ffi::PyTuple_Size(items) {
                        steps.positions.entry(ffi::PyTuple_GetItem(items, i)).or_insert(i as usize);
                    }
                }
                ffi::Py_DecRef(items);
                reserved?;
            } else if ty == &raw mut ffi::PyDict_Type || ty == &raw mut ffi::PyFrozenDict_Type {
                let (mut place, mut key, mut value, mut n) = (0, ptr::null_mut(), ptr::null_mut(), 0);
                while ffi::PyDict_Next(parent, &mut place, &mut key, &mut value) != 0 {
                    steps.keys.try_reserve(1)?;
                    steps.keys.entry(value).or_insert((key, n));
                    steps.positions.try_reserve(1)?;
                    steps.positions.entry(key).or_insert(n);
                    n += 1;
                }
            }
        }
        Ok(steps)
    }

    /// The step to `child`.
    ///
    /// # Errors
    /// [`OutOfMemory`]; no exception is set.
    ///
    /// # Safety
    /// As [`Steps::from`]; the object refers to `child`.
    pub unsafe fn to(&self, child: Object) -> Result<Way, OutOfMemory> {
        let way = |(before, behind)| Way { before, behind, is_attribute: false };
        // SAFETY: the caller's.
        unsafe {
            if let Some(&(key, n)) = self.keys.get(&child) {
                if self.is_attributes && is(key, &raw mut ffi::PyUnicode_Type) {
                    ffi::Py_IncRef(key);
                    if let Some(name) = text_of(key)? {
                        return Ok(Way { is_attribute: true, ..way(select(&name)?) });
                    }
                }
                return Ok(way(item_at(key, n)?));
            }
            if let Some(&n) = self.positions.get(&child) {
                let ty = header::type_of(self.parent);
                let is_sequence = ty == &raw mut ffi::PyTuple_Type || ty == &raw mut ffi::PyList_Type;
                let (before, bracket) = if is_sequence { ("", "[") } else { ("[*", "][") };
                return Ok(way((before, try_format!("{bracket}{n}]")?)));
            }
            Ok(way(step(self.parent, child)?))
        }
    }
}

/// To the value at that key, which comes `n`-th.
unsafe fn item_at(key: Object, n: usize) -> Result<Step, OutOfMemory> {
    // SAFETY: as `describe`; the repr of a builtin key runs no Python code.
    unsafe {
        if is_text_or_number(key)
            && let Some(key) = text_of(ffi::PyObject_Repr(key))?
        {
            return Ok(("", try_format!("[{key}]")?));
        }
        Ok(("[*", try_format!(".values()][{n}]")?))
    }
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
    // SAFETY: as `describe`.
    unsafe {
        let (mut place, mut key, mut value) = (0, ptr::null_mut(), ptr::null_mut());
        let mut n = 0;
        while ffi::PyDict_Next(dict, &mut place, &mut key, &mut value) != 0 {
            if value == child {
                return item_at(key, n).map(Some);
            }
            if key == child {
                return Ok(Some(("[*", try_format!("][{n}]")?)));
            }
            n += 1;
        }
        Ok(None)
    }
}

/// Whether `child` is the attribute dict of the instance `parent`, from which attributes can be selected.
///
/// # Safety
/// Both are live.
pub unsafe fn is_instance_dict(parent: Object, child: Object) -> bool {
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
///
/// Of functions, classes and code the fields are read: to ask for an attribute may make what it stands for.
unsafe fn attribute(parent: Object, child: Object) -> Found<String> {
    const KNOWN: [&CStr; 12] = [
        c"__self__",
        c"__func__",
        c"__wrapped__",
        c"__objclass__",
        c"__origin__",
        c"__args__",
        c"__parameters__",
        c"cell_contents",
        c"fget",
        c"fset",
        c"fdel",
        c"obj",
    ];
    // SAFETY: as `describe`; the type is checked before a layout is used.
    unsafe {
        let field = if is(parent, &raw mut ffi::PyFunction_Type) {
            Some(function_field(parent, child))
        } else if is(parent, &raw mut ffi::PyCode_Type) {
            Some(code_field(parent, child))
        } else if header::has_feature(header::type_of(parent), ffi::Py_TPFLAGS_TYPE_SUBCLASS) {
            Some(class_field(parent, child))
        } else if module::is_module(parent) && (*parent.cast::<ffi::PyModuleObject>()).md_name == child {
            Some(Some("__name__"))
        } else {
            None
        };
        if let Some(name) = field {
            return name.map(|name| try_format!("{name}")).transpose();
        }
        if let Some(name) = instance_attribute(parent, child)? {
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

/// The name of the field that is `child`.
fn named(child: Object, fields: &[(&'static str, Object)]) -> Option<&'static str> {
    fields.iter().find(|(_, field)| *field == child).map(|(name, _)| *name)
}

unsafe fn class_field(class: Object, child: Object) -> Option<&'static str> {
    // SAFETY: as `describe`.
    unsafe {
        let fields = &*class.cast::<ffi::PyTypeObject>();
        let found = named(
            child,
            &[
                ("__dict__", fields.tp_dict),
                ("__mro__", fields.tp_mro),
                ("__bases__", fields.tp_bases),
                ("__base__", fields.tp_base.cast()),
            ],
        );
        if found.is_some() || !header::has_feature(class.cast(), ffi::Py_TPFLAGS_HEAPTYPE) {
            return found;
        }
        let heap = &*class.cast::<ffi::PyHeapTypeObject>();
        named(child, &[("__name__", heap.ht_name), ("__qualname__", heap.ht_qualname)])
    }
}

unsafe fn code_field(code: Object, child: Object) -> Option<&'static str> {
    // SAFETY: as `describe`.
    unsafe {
        let fields = &*code.cast::<ffi::PyCodeObject>();
        let found = named(
            child,
            &[
                ("co_consts", fields.co_consts),
                ("co_names", fields.co_names),
                ("co_filename", fields.co_filename),
                ("co_name", fields.co_name),
                ("co_qualname", fields.co_qualname),
                ("co_linetable", fields.co_linetable),
                ("co_exceptiontable", fields.co_exceptiontable),
            ],
        );
        found.or_else(|| {
            let cached = fields._co_cached.as_ref()?;
            named(
                child,
                &[
                    ("co_code", cached._co_code),
                    ("co_varnames", cached._co_varnames),
                    ("co_cellvars", cached._co_cellvars),
                    ("co_freevars", cached._co_freevars),
                ],
            )
        })
    }
}

/// What a freeze will give the function stands where it has its globals and closure.
unsafe fn function_field(function: Object, child: Object) -> Option<&'static str> {
    // SAFETY: as `describe`.
    unsafe {
        let fields = &*function.cast::<ffi::PyFunctionObject>();
        let found = named(
            child,
            &[
                ("__code__", fields.func_code),
                ("__defaults__", fields.func_defaults),
                ("__kwdefaults__", fields.func_kwdefaults),
                ("__dict__", fields.func_dict),
                ("__doc__", fields.func_doc),
                ("__name__", fields.func_name),
                ("__qualname__", fields.func_qualname),
                ("__module__", fields.func_module),
                ("__annotations__", fields.func_annotations),
                ("__annotate__", fields.func_annotate),
                ("__type_params__", fields.func_typeparams),
            ],
        );
        found.or_else(|| {
            if is(child, &raw mut ffi::PyDict_Type) {
                Some(if is_taken_from(child, fields.func_globals) { "__globals__" } else { "__builtins__" })
            } else if is(child, &raw mut ffi::PyTuple_Type) {
                Some("__closure__")
            } else if is(child, &raw mut ffi::PyCode_Type) {
                Some("__code__")
            } else {
                None
            }
        })
    }
}

/// Whether what a dict holds is from another one.
unsafe fn is_taken_from(dict: Object, other: Object) -> bool {
    // SAFETY: as `describe`. The keys are exact strings, so no Python code runs.
    unsafe {
        let (mut position, mut key, mut value) = (0, std::ptr::null_mut(), std::ptr::null_mut());
        let found = ffi::PyDict_Next(dict, &raw mut position, &raw mut key, &raw mut value) != 0;
        !found || ffi::PyDict_GetItemWithError(other, key) == value
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
