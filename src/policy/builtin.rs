//! What the runtime knows of the types that CPython itself makes in C.

use std::ffi::CStr;

use super::standard_library::STANDARD_LIBRARY;
use crate::object::edges::Temporal;
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
const QUEUE: &str = "a queue changes with every message: use immutable.channel() to pass frozen objects";
const RANDOM: &str = "its state changes with every number: use the module's, through `import random`, or keep one per \
    interpreter in immutable.InterpreterLocal";

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
    (c"array.array", Nature::Container),
    (c"collections.defaultdict", Nature::Container),
    (c"collections.deque", Nature::Container),
    (c"functools.KeyWrapper", Nature::Container),
    (c"functools._PlaceholderType", Nature::Container),
    (c"functools.partial", Nature::Container),
    (c"string.templatelib.Interpolation", Nature::Container),
    (c"string.templatelib.Template", Nature::Container),
    // Their state is in parts, one for each interpreter (see `share::part`).
    (c"_abc._abc_data", Nature::Container),
    (c"functools._lru_cache_wrapper", Nature::Container),
    (c"_thread._local", Nature::Container),
    // What synchronises threads goes on doing so, for the threads of all interpreters: their state is outside the
    // object, or changed atomically.
    (c"_thread.lock", Nature::Container),
    (c"_thread.RLock", Nature::Container),
    (c"immutable.ImmutableModule", Nature::Proxy),
    // The type that functions of C modules have once frozen, beside the one that they have before.
    (c"builtin_function_or_method", Nature::Container),
    // The name of a logger; who uses it gets the logger of its own interpreter.
    (c"captured_logger", Nature::Container),
    // Says what to import; who uses it imports it for its own interpreter.
    (c"lazy_import", Nature::Container),
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
    (c"_queue.SimpleQueue", Nature::Stateful(QUEUE)),
    (c"_asyncio.Future", Nature::Stateful(RUNNING)),
    (c"_asyncio.Task", Nature::Stateful(RUNNING)),
];

/// Types whose instances refuse, but not the classes that derive from them.
const BASES_OF_FROZEN_CLASSES: &[&CStr] = &[c"_ctypes._Pointer", c"_ctypes.CFuncPtr"];

/// Types of `datetime` with references that only their layout tells.
const TEMPORAL: &[(&CStr, Temporal)] = &[
    (c"datetime.time", Temporal::Time),
    (c"datetime.datetime", Temporal::DateTime),
    (c"datetime.timezone", Temporal::TimeZone),
];

/// True for the types of C modules that all interpreters share (`share::c_type`): their instances can be frozen, or those
/// of classes that derive from them.
pub fn is_shared_by_name(name: &CStr) -> bool {
    matches!(by_name(name), Some(Nature::Leaf | Nature::Container)) || BASES_OF_FROZEN_CLASSES.contains(&name)
}

fn by_name(name: &CStr) -> Option<Nature> {
    BY_NAME.iter().chain(STANDARD_LIBRARY).find(|(known, _)| *known == name).map(|(_, nature)| *nature)
}

/// True for the types of `PyStructSequence_NewType` and its like, whose items, hidden ones too, nothing changes.
unsafe fn is_record(base: Type) -> bool {
    // SAFETY: the caller's: a live type. Its dict has strings for keys; an error is none of the caller's.
    unsafe {
        if (*base).tp_base != &raw mut ffi::PyTuple_Type || (*base).tp_dictoffset != 0 {
            return false;
        }
        let dict = ffi::PyType_GetDict(base);
        if dict.is_null() {
            return false;
        }
        let found = ffi::PyDict_ContainsString(dict, c"n_unnamed_fields".as_ptr());
        ffi::Py_DecRef(dict);
        if found < 0 {
            ffi::PyErr_Clear();
        }
        found == 1
    }
}

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
        PyODict_Type
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
        if let Some((_, temporal)) = TEMPORAL.iter().find(|(known, _)| *known == name) {
            if header::has_feature(base, ffi::Py_TPFLAGS_HEAPTYPE) {
                return Nature::Unknown;
            }
            temporal.note(base);
            return Nature::Container;
        }
        if let Some(nature) = by_name(name) {
            return nature;
        }
        if is_record(base) {
            return Nature::Container;
        }
        if (*base).tp_flags & std::ffi::c_ulong::from(ffi::Py_TPFLAGS_BASE_EXC_SUBCLASS) != 0 {
            return Nature::Container;
        }
        if (*base).tp_iternext.is_some() {
            return Nature::Stateful(ITERATOR);
        }
    }
    Nature::Unknown
}
