//! What the runtime knows of the types that CPython itself makes in C.

use std::ffi::CStr;

use crate::object::ffi;
use crate::object::header::{self, Type};

/// What kind of state the instances of a C type hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    /// No references; never changes, or asks the barrier.
    Leaf,
    /// References; never changes, or asks the barrier.
    Container,
    /// `types.FunctionType`.
    Function,
    /// Stays as it is for the interpreter that made it.
    Proxy,
    /// Useless without change; the text says what to do instead.
    Stateful(&'static str),
    /// Nothing is known.
    Unknown,
}

macro_rules! statics {
    ($($name:ident)*) => { [$(&raw mut ffi::$name),*] };
}

const ITERATOR: &str = "an iterator is consumed by use: freeze what it iterates over";
const RUNNING: &str = "it is a running computation: freeze the function that starts it";
const RESOURCE: &str = "it stands for a resource of this process: keep it outside, and open it where it is used";
const RANDOM: &str = "its state changes with every number: keep one per interpreter in immutable.InterpreterLocal";
const EXCEPTION: &str = "exceptions collect tracebacks and context when raised: freeze its type and args instead";

const LOGGING: &str = "loggers and handlers belong to an interpreter: call logging.getLogger(name) where the logger is \
    used, or keep it in immutable.InterpreterLocal";

/// Classes written in Python, with their modules, whose instances must change to be of use.
const CLASSES: &[(&CStr, &CStr, &str)] = &[(c"logging", c"Filterer", LOGGING), (c"logging", c"Manager", LOGGING)];

/// Why instances of the Python class `ty` refuse, and what to do instead; `None` if they need not.
///
/// # Safety
/// `ty` is a live, ready type of the running interpreter.
pub unsafe fn advice(ty: Type) -> Option<&'static str> {
    // SAFETY: a ready type's tp_mro is a tuple of types; the dict of a Python class is an exact one.
    unsafe {
        let mro = (*ty).tp_mro;
        (0..ffi::PyTuple_Size(mro)).find_map(|i| {
            let base: Type = ffi::PyTuple_GetItem(mro, i).cast();
            let name = CStr::from_ptr((*base).tp_name);
            let known = CLASSES.iter().filter(|(_, class, _)| *class == name);
            known.into_iter().find(|(module, ..)| is_of_module(base, module)).map(|(.., advice)| *advice)
        })
    }
}

unsafe fn is_of_module(class: Type, module: &CStr) -> bool {
    // SAFETY: as `advice`; the borrowed reference is used at once.
    unsafe {
        if !header::is_python_class(class) {
            return false;
        }
        let name = ffi::PyDict_GetItemWithError((*class).tp_dict, ffi::imm_name_module);
        !name.is_null()
            && header::type_of(name) == &raw mut ffi::PyUnicode_Type
            && ffi::PyUnicode_EqualToUTF8(name, module.as_ptr()) != 0
    }
}

/// Types without an exported symbol, and heap types of extension modules of
/// the standard library, by `tp_name`.
const BY_NAME: &[(&CStr, Nature)] = &[
    (c"types.SimpleNamespace", Nature::Container),
    (c"types.UnionType", Nature::Container),
    (c"typing.Union", Nature::Container),
    (c"types.GenericAlias", Nature::Container),
    (c"method-wrapper", Nature::Container),
    (c"instancemethod", Nature::Container),
    (c"NotImplementedType", Nature::Leaf),
    (c"managedbuffer", Nature::Container),
    (c"collections._tuplegetter", Nature::Container),
    (c"_collections._tuplegetter", Nature::Container),
    (c"typing.TypeVar", Nature::Container),
    (c"typing.ParamSpec", Nature::Container),
    (c"typing.TypeVarTuple", Nature::Container),
    (c"typing.ParamSpecArgs", Nature::Container),
    (c"typing.ParamSpecKwargs", Nature::Container),
    (c"typing.TypeAliasType", Nature::Container),
    (c"typing.Generic", Nature::Container),
    (c"_typing._ConstEvaluator", Nature::Container),
    (c"operator.attrgetter", Nature::Container),
    (c"operator.itemgetter", Nature::Container),
    (c"operator.methodcaller", Nature::Container),
    // Registries and caches, and what synchronises threads, go on working for
    // the interpreter that made them.
    (c"_abc._abc_data", Nature::Proxy),
    (c"functools._lru_cache_wrapper", Nature::Proxy),
    (c"lazy_import", Nature::Proxy),
    (c"_thread.lock", Nature::Proxy),
    (c"_thread.RLock", Nature::Proxy),
    (c"_thread._local", Nature::Proxy),
    (c"generator", Nature::Stateful(RUNNING)),
    (c"coroutine", Nature::Stateful(RUNNING)),
    (c"async_generator", Nature::Stateful(RUNNING)),
    (c"frame", Nature::Stateful(RUNNING)),
    (c"traceback", Nature::Stateful(RUNNING)),
    (c"_thread._ThreadHandle", Nature::Stateful(RUNNING)),
    (c"_io.FileIO", Nature::Stateful(RESOURCE)),
    (c"_io.TextIOWrapper", Nature::Stateful(RESOURCE)),
    (c"_io.BufferedReader", Nature::Stateful(RESOURCE)),
    (c"_io.BufferedWriter", Nature::Stateful(RESOURCE)),
    (c"_io.BufferedRandom", Nature::Stateful(RESOURCE)),
    (c"_io.BytesIO", Nature::Stateful(RESOURCE)),
    (c"_io.StringIO", Nature::Stateful(RESOURCE)),
    (c"_socket.socket", Nature::Stateful(RESOURCE)),
    (c"mmap.mmap", Nature::Stateful(RESOURCE)),
    (c"_random.Random", Nature::Stateful(RANDOM)),
];

/// What is known of the C type `base`.
///
/// # Safety
/// `base` is a live type that is not a Python class.
pub unsafe fn nature(base: Type) -> Nature {
    let leaves = statics!(
        PyLong_Type PyBool_Type PyFloat_Type PyComplex_Type PyUnicode_Type
        PyBytes_Type PyByteArray_Type PyEllipsis_Type
    );
    if leaves.contains(&base) {
        return Nature::Leaf;
    }
    let containers = statics!(
        PyBaseObject_Type PyType_Type PyTuple_Type PyList_Type PyDict_Type
        PyFrozenDict_Type PySet_Type PyFrozenSet_Type PyRange_Type PySlice_Type
        PyMemoryView_Type PyCode_Type PyCell_Type PyMethod_Type PyProperty_Type
        PyClassMethod_Type PyStaticMethod_Type PyCFunction_Type PyCMethod_Type
        PyDictProxy_Type PySuper_Type PyMethodDescr_Type PyClassMethodDescr_Type
        PyMemberDescr_Type PyGetSetDescr_Type PyWrapperDescr_Type PySentinel_Type
        _PyWeakref_RefType _PyWeakref_ProxyType _PyWeakref_CallableProxyType
    );
    if containers.contains(&base) {
        return Nature::Container;
    }
    if base == &raw mut ffi::PyFunction_Type {
        return Nature::Function;
    }
    if base == &raw mut ffi::PyModule_Type {
        return Nature::Proxy;
    }
    // SAFETY: a live type has a name; tp_iternext and the subclass flags are
    // plain fields.
    unsafe {
        let name = CStr::from_ptr((*base).tp_name);
        if let Some((_, nature)) = BY_NAME.iter().find(|(known, _)| *known == name) {
            return *nature;
        }
        if (*base).tp_flags & std::ffi::c_ulong::from(ffi::Py_TPFLAGS_BASE_EXC_SUBCLASS) != 0 {
            return Nature::Stateful(EXCEPTION);
        }
        if (*base).tp_iternext.is_some() {
            return Nature::Stateful(ITERATOR);
        }
    }
    Nature::Unknown
}
