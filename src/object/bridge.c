#include "bridge.h"
#include "pycore_ceval.h"
#include "pycore_context.h"
#include "pycore_crossinterp.h"
#include "pycore_global_objects.h"
#include "pycore_interp.h"
#include "pycore_interpframe.h"
#include "pycore_object.h"
#include "pycore_runtime.h"
#include "pycore_signal.h"
#include "pycore_sysmodule.h"
#include "pycore_typeobject.h"
#include "pycore_unicodeobject.h"
#include "pycore_weakref.h"
#include "pycore_opcode_metadata.h"
#include "pycore_opcode_utils.h"
#include "pycore_pystate.h"
#include "opcode_ids.h"

Py_ssize_t *
imm_gc_heap_size(void)
{
    return &PyInterpreterState_Get()->gc.heap_size;
}

uintptr_t
imm_tool_version(int tool)
{
    return PyInterpreterState_Get()->monitoring_tool_versions[tool];
}

_PyMonitoringEventSet
imm_local_events(PyCodeObject *code, int tool)
{
    _PyMonitoringEventSet events = 0;
    _PyCoMonitoringData *data = code->_co_monitoring;
    if (data != NULL && data->tool_versions[tool] == imm_tool_version(tool)) {
        for (int i = 0; i < _PY_MONITORING_UNGROUPED_EVENTS; i++) {
            events |= (_PyMonitoringEventSet)((data->local_monitors.tools[i] >> tool) & 1) << i;
        }
    }
    return events;
}

PyObject *
imm_modules(void)
{
    return PyInterpreterState_Get()->imports.modules;
}

void **
imm_state_slot(PyInterpreterState *interp)
{
    return &interp->immutable_state;
}

PyObject *
imm_gc_callbacks(void)
{
    return PyInterpreterState_Get()->gc.callbacks;
}

int
imm_add_pending_call(PyInterpreterState *interp, int (*function)(void *))
{
    return _PyEval_AddPendingCall(interp, function, NULL, 0) == _Py_ADD_PENDING_SUCCESS;
}

int
imm_number_interpreters_from(int64_t number)
{
    HEAD_LOCK(&_PyRuntime);
    int unused = number >= _PyRuntime.interpreters.next_id;
    if (unused) {
        _PyRuntime.interpreters.next_id = number;
    }
    HEAD_UNLOCK(&_PyRuntime);
    return unused;
}

int
imm_init_static_type(PyTypeObject *type)
{
    PyInterpreterState *interp = PyInterpreterState_Get();
    if (!(type->tp_flags & Py_TPFLAGS_READY)) {
        *(PyObject *)type = (PyObject) { { _Py_STATIC_IMMORTAL_INITIAL_REFCNT }, NULL };
    }
    else if (_PyStaticType_GetState(interp, type)->type == type) {
        return 0;
    }
    return _PyStaticType_InitForExtension(interp, type);
}

int
imm_ready_frozen_type(PyTypeObject *type)
{
    if (type->tp_flags & Py_TPFLAGS_READY) {
        return 0;
    }
    *(PyObject *)type = (PyObject) { { _Py_STATIC_IMMORTAL_INITIAL_REFCNT }, NULL };
    if (PyType_Ready(type) < 0) {
        return -1;
    }
    // None, where the type says nothing, would hide the __doc__ of instances.
    if (type->tp_doc == NULL && PyDict_Pop(type->tp_dict, &_Py_ID(__doc__), NULL) < 0) {
        return -1;
    }
    PyType_Modified(type);
    // The first to look an attribute up would store it otherwise.
    (void)PyUnstable_Type_AssignVersionTag(type);
    return 1;
}

PyObject *
imm_subclasses(PyTypeObject *type)
{
    return _PyType_GetSubclasses(type);
}

void
imm_change_subclass(PyTypeObject *type, PyObject *before, PyObject *after)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(type->tp_bases); i++) {
        PyObject *subclasses = _PyType_LookupSubclasses((PyTypeObject *)PyTuple_GET_ITEM(type->tp_bases, i));
        PyObject *key, *reference;
        Py_ssize_t at = 0;
        while (subclasses != NULL && PyDict_Next(subclasses, &at, &key, &reference)) {
            if (reference == before) {
                /* Of a key that is there, the value is changed in place. */
                (void)PyDict_SetItem(subclasses, key, after);
                break;
            }
        }
    }
}

void
imm_forget_subclass(PyTypeObject *type, void *address)
{
    /* Of a module that was not imported here. */
    if ((type->tp_flags & _Py_TPFLAGS_STATIC_BUILTIN)
        && _PyStaticType_GetState(PyInterpreterState_Get(), type) == NULL) {
        return;
    }
    PyObject *subclasses = _PyType_LookupSubclasses(type);
    PyObject *key = subclasses == NULL ? NULL : PyLong_FromVoidPtr(address);
    PyObject *reference = key == NULL ? NULL : PyDict_GetItemWithError(subclasses, key);
    /* Another class may be at that address by now. */
    if (reference != NULL && _PyWeakref_IS_DEAD(reference)) {
        (void)PyDict_DelItem(subclasses, key);
    }
    PyErr_Clear();
    Py_XDECREF(key);
}

int
imm_is_entered(PyObject *context)
{
    return ((PyContext *)context)->ctx_entered;
}

int
imm_handles_signals(void)
{
    return _PyOS_IsMainThread() && _Py_IsMainInterpreter(PyInterpreterState_Get());
}

PyObject *
imm_builtins_dict(void)
{
    return PyInterpreterState_Get()->builtins;
}

PyObject *
imm_sys_dict(void)
{
    return PyInterpreterState_Get()->sysdict;
}

PyObject **
imm_value_place(PyDictObject *dict, PyObject *name)
{
    PyObject *value = NULL;
    Py_hash_t hash = PyObject_Hash(name);
    if (hash == -1 || dict->ma_values != NULL || !DK_IS_UNICODE(dict->ma_keys)) {
        PyErr_Clear();
        return NULL;
    }
    Py_ssize_t i = _Py_dict_lookup(dict, name, hash, &value);
    if (i < 0) {
        PyErr_Clear();
        return NULL;
    }
    return &DK_UNICODE_ENTRIES(dict->ma_keys)[i].me_value;
}

void
imm_dealloc(PyObject *op)
{
    if (PyUnicode_CheckExact(op) || PyLong_CheckExact(op) || PyFloat_CheckExact(op)) {
        _PyReftracerTrack(op, PyRefTracer_DESTROY);
        Py_TYPE(op)->tp_dealloc(op);
        return;
    }
    _Py_Dealloc(op);
}

int
imm_allocator_is_shared(void)
{
#ifdef WITH_PYMALLOC
    int allocator = _PyRuntime.preconfig.allocator;
    return allocator != PYMEM_ALLOCATOR_PYMALLOC
           && allocator != PYMEM_ALLOCATOR_PYMALLOC_DEBUG;
#else
    return 1;
#endif
}

size_t
imm_size(PyObject *op)
{
    PyObject *method = _PyType_Lookup(Py_TYPE(op), &_Py_ID(__sizeof__));
    if (method != NULL && Py_IS_TYPE(method, &PyMethodDescr_Type)) {
        size_t size = _PySys_GetSizeOf(op);
        if (size != (size_t)-1) {
            return size;
        }
        PyErr_Clear();
    }
    return _PyType_PreHeaderSize(Py_TYPE(op)) + (size_t)Py_TYPE(op)->tp_basicsize;
}

const void *
imm_module_token(PyObject *module)
{
    return ((PyModuleObject *)module)->md_token;
}

/* _PyXIData_t holds a reference of its own: what is received needs another. */
PyObject *
imm_receive(_PyXIData_t *data)
{
    return Py_NewRef(data->obj);
}

int
imm_unintern(PyObject *string)
{
    if (PyUnicode_CHECK_INTERNED(string) != SSTATE_INTERNED_MORTAL) {
        return 0;
    }
    PyObject *interned = _Py_INTERP_CACHED_OBJECT(PyInterpreterState_Get(), interned_strings);
    _PyASCIIObject_CAST(string)->state.interned = SSTATE_NOT_INTERNED;
    /* The dict's two references are not counted while the string is interned. */
    Py_SET_REFCNT(string, Py_REFCNT(string) + 2);
#ifdef Py_REF_DEBUG
    _Py_INCREF_IncRefTotal();
    _Py_INCREF_IncRefTotal();
#endif
    if (PyDict_DelItem(interned, string) < 0) {
        PyErr_WriteUnraisable(NULL);
        return 0;
    }
    return 1;
}

int
imm_is_ascii(PyObject *string)
{
    return PyUnicode_IS_ASCII(string);
}

static _PyInterpreterFrame *
running_frame(void)
{
    _PyInterpreterFrame *frame = PyThreadState_GET()->current_frame;
    while (frame != NULL && frame->owner == FRAME_OWNED_BY_INTERPRETER) {
        frame = frame->previous;
    }
    return frame;
}

int
imm_running_instruction(struct imm_instruction *instruction)
{
    _PyInterpreterFrame *frame = running_frame();
    if (frame == NULL) {
        return 0;
    }
    PyCodeObject *code = _PyFrame_GetCode(frame);
    int offset = _PyInterpreterFrame_LASTI(frame);
    if (offset < 0) {
        return 0;
    }
    /* As compiled: what runs may be specialised, or instrumented. */
    _Py_CODEUNIT unit = _Py_GetBaseCodeUnit(code, offset);
    int opcode = unit.op.code;
    int oparg = unit.op.arg;
    for (int shift = 8; offset > 0 && shift < 32; shift += 8) {
        unit = _Py_GetBaseCodeUnit(code, --offset);
        if (unit.op.code != EXTENDED_ARG) {
            break;
        }
        oparg |= unit.op.arg << shift;
    }
    instruction->opcode = opcode;
    instruction->name = NULL;
    instruction->callable = NULL;
    switch (opcode) {
    case STORE_ATTR:
    case DELETE_ATTR:
    case STORE_GLOBAL:
    case DELETE_GLOBAL:
        instruction->name = PyTuple_GetItem(code->co_names, oparg);
        break;
    case STORE_DEREF:
    case DELETE_DEREF:
        instruction->name = PyTuple_GetItem(code->co_localsplusnames, oparg);
        break;
    case CALL:
    case CALL_KW: {
        _PyStackRef *top = frame->stackpointer;
        Py_ssize_t depth = oparg + 2 + (opcode == CALL_KW);
        if (top != NULL && top - _PyFrame_Stackbase(frame) >= depth
            && !PyStackRef_IsNullOrInt(top[-depth])) {
            instruction->callable = PyStackRef_AsPyObjectBorrow(top[-depth]);
        }
        break;
    }
    }
    return 1;
}

Py_ssize_t
imm_stack_references(PyObject *obj)
{
    _PyInterpreterFrame *frame = running_frame();
    if (frame == NULL || frame->stackpointer == NULL) {
        return 0;
    }
    Py_ssize_t found = 0;
    for (_PyStackRef *ref = _PyFrame_Stackbase(frame); ref < frame->stackpointer; ref++) {
        if (PyStackRef_IsNullOrInt(*ref)) {
            continue;
        }
        PyObject *held = PyStackRef_AsPyObjectBorrow(*ref);
        if (held == obj) {
            found += PyStackRef_RefcountOnObject(*ref);
        }
        else if (held != NULL && PyTuple_CheckExact(held)) {
            for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(held); i++) {
                found += PyTuple_GET_ITEM(held, i) == obj;
            }
        }
    }
    return found;
}

void
imm_forget_code_parts(PyCodeObject *code, int had_cache, int had)
{
    _PyCoCached *cached = code->_co_cached;
    PyObject **parts[4] = {
        &cached->_co_code, &cached->_co_varnames, &cached->_co_cellvars, &cached->_co_freevars,
    };
    for (int i = 0; i < 4; i++) {
        if (!(had & 1 << i)) {
            Py_CLEAR(*parts[i]);
        }
    }
    if (!had_cache) {
        code->_co_cached = NULL;
        PyMem_Free(cached);
    }
}

int
imm_option(const char *option, const char *variable, char *value, Py_ssize_t size)
{
    const PyConfig *config = &PyInterpreterState_Get()->config;
    size_t length = strlen(option);
    const wchar_t *wide = NULL;
    for (Py_ssize_t i = 0; i < config->xoptions.length; i++) {
        const wchar_t *item = config->xoptions.items[i];
        size_t same = 0;
        while (same < length && item[same] == (wchar_t)(unsigned char)option[same]) {
            same++;
        }
        if (same == length && (item[same] == L'\0' || item[same] == L'=')) {
            wide = item + same + (item[same] == L'=');
        }
    }
    const char *narrow = NULL;
    if (wide == NULL && config->use_environment) {
        narrow = getenv(variable);
    }
    if (wide == NULL && (narrow == NULL || *narrow == '\0')) {
        return 0;
    }
    Py_ssize_t i = 0;
    for (; i < size - 1; i++) {
        value[i] = wide ? (wide[i] < 128 ? (char)wide[i] : '?') : narrow[i];
        if (value[i] == '\0') {
            return 1;
        }
    }
    value[i] = '\0';
    return 1;
}

PyObject *
imm_code_bytes(PyObject *code)
{
    return PyCode_GetCode((PyCodeObject *)code);
}

_Static_assert(DICT_KEYS_GENERAL == 0, "edges.rs");
_Static_assert(MANAGED_DICT_OFFSET == -3 * (Py_ssize_t)sizeof(PyObject *), "edges.rs");

const Py_ssize_t imm_array_exports_offset = _Py_ARRAY_EXPORTS_OFFSET;

PyObject *const imm_name_annotate_func = &_Py_ID(__annotate_func__);
PyObject *const imm_name_annotations_cache = &_Py_ID(__annotations_cache__);
PyObject *const imm_name_abc_impl = &_Py_ID(_abc_impl);
PyObject *const imm_name_module = &_Py_ID(__module__);
PyObject *const imm_name_first_line = &_Py_ID(__firstlineno__);
PyObject *const imm_name_name = &_Py_ID(__name__);
PyObject *const imm_name_package = &_Py_ID(__package__);
PyObject *const imm_name_file = &_Py_ID(__file__);
PyObject *const imm_name_builtins = &_Py_ID(__builtins__);
PyObject *const imm_name_build_class = &_Py_ID(__build_class__);
PyObject *const imm_name_import = &_Py_ID(__import__);
PyObject *const imm_name_loader = &_Py_ID(__loader__);
PyObject *const imm_name_spec = &_Py_ID(__spec__);

const int imm_op_store_attr = STORE_ATTR;
const int imm_op_delete_attr = DELETE_ATTR;
const int imm_op_store_subscr = STORE_SUBSCR;
const int imm_op_delete_subscr = DELETE_SUBSCR;
const int imm_op_store_slice = STORE_SLICE;
const int imm_op_store_global = STORE_GLOBAL;
const int imm_op_store_deref = STORE_DEREF;
const int imm_op_delete_deref = DELETE_DEREF;
const int imm_op_binary_op = BINARY_OP;
const int imm_op_load_global = LOAD_GLOBAL;
const int imm_op_load_attr = LOAD_ATTR;
const int imm_op_cache = CACHE;
const int imm_op_load_name = LOAD_NAME;
const int imm_op_delete_global = DELETE_GLOBAL;
const int imm_op_load_from_dict_or_globals = LOAD_FROM_DICT_OR_GLOBALS;
const int imm_op_import_name = IMPORT_NAME;
const int imm_op_load_build_class = LOAD_BUILD_CLASS;
const int imm_op_extended_arg = EXTENDED_ARG;

PyDictKeysObject *
imm_shared_keys(PyTypeObject *type)
{
    return (PyDictKeysObject *)((PyHeapTypeObject *)type)->ht_cached_keys;
}

void
imm_retire_code(PyCodeObject *code)
{
    code->_co_instrumentation_version = ~(uintptr_t)_PY_EVAL_EVENTS_MASK;
    struct _func_version_cache_item *slot =
        PyInterpreterState_Get()->func_state.func_version_cache
        + code->co_version % FUNC_VERSION_CACHE_SIZE;
    if (slot->code == (PyObject *)code) {
        slot->code = NULL;
        slot->func = NULL;
    }
}

_PyImmutable_Call *
imm_frozen_calls(void)
{
    return PyInterpreterState_Get()->frozen_calls;
}

int
imm_keys_are_sealed(PyDictKeysObject *keys)
{
    return keys->dk_refcnt >= _Py_FROZEN_KEYS_REFCNT;
}

void
imm_seal_keys(PyDictKeysObject *keys)
{
    if (keys->dk_nentries == 0) {
        /* CPython cannot do with room for no value at all. */
        PyObject *name = &_Py_ID(__name__);
        size_t hash = (size_t)PyObject_Hash(name);
        ((int8_t *)keys->dk_indices)[hash & (DK_SIZE(keys) - 1)] = 0;
        DK_UNICODE_ENTRIES(keys)[0].me_key = name;
        keys->dk_nentries = 1;
    }
    keys->dk_usable = 0;
    keys->dk_refcnt += _Py_FROZEN_KEYS_REFCNT;
}

PyObject **
imm_dict_slot(PyObject *obj)
{
    if (Py_TYPE(obj)->tp_flags & Py_TPFLAGS_MANAGED_DICT) {
        return (PyObject **)&_PyObject_ManagedDictPointer(obj)->dict;
    }
    return _PyObject_GetDictPtr(obj);
}

PyDictValues *
imm_inline_values(PyObject *obj)
{
    if (!(Py_TYPE(obj)->tp_flags & Py_TPFLAGS_INLINE_VALUES)) {
        return NULL;
    }
    PyDictValues *values = _PyObject_InlineValues(obj);
    return values->valid ? values : NULL;
}

/* Give a dict over the inline values of an instance values of its own. */
static int
own_values(PyDictObject *dict)
{
    PyDictValues *embedded = dict->ma_values;
    if (!embedded->embedded) {
        return 0;
    }
    // The values, then the order in which they were inserted, a byte each.
    size_t size = offsetof(PyDictValues, values)
                  + embedded->capacity * (sizeof(PyObject *) + 1);
    PyDictValues *own = PyMem_Malloc(_Py_SIZE_ROUND_UP(size, sizeof(PyObject *)));
    if (own == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    memcpy(own, embedded, size);
    own->embedded = 0;
    dict->ma_values = own;
    embedded->valid = 0;
    return 0;
}

int
imm_own_table(PyDictObject *dict)
{
    if (dict->ma_values == NULL) {
        return 0;
    }
    PyObject *combined = PyDict_New();
    if (combined == NULL) {
        return -1;
    }
    Py_ssize_t pos = 0;
    PyObject *key, *value;
    while (PyDict_Next((PyObject *)dict, &pos, &key, &value)) {
        if (PyDict_SetItem(combined, key, value) < 0) {
            Py_DECREF(combined);
            return -1;
        }
    }
    if (own_values(dict) < 0) {
        Py_DECREF(combined);
        return -1;
    }
    PyDictObject *other = (PyDictObject *)combined;
    PyDictKeysObject *keys = dict->ma_keys;
    PyDictValues *values = dict->ma_values;
    dict->ma_keys = other->ma_keys;
    dict->ma_values = other->ma_values;
    other->ma_keys = keys;
    other->ma_values = values;
    Py_DECREF(combined);
    return 0;
}

PyObject *
imm_zone_of_time(PyObject *time)
{
    return _PyDateTime_HAS_TZINFO(time) ? ((PyDateTime_Time *)time)->tzinfo : NULL;
}

PyObject *
imm_zone_of_datetime(PyObject *datetime)
{
    return _PyDateTime_HAS_TZINFO(datetime) ? ((PyDateTime_DateTime *)datetime)->tzinfo : NULL;
}

PyDictUnicodeEntry *
imm_unicode_entries(PyDictKeysObject *keys)
{
    return DK_UNICODE_ENTRIES(keys);
}

PyDictKeyEntry *
imm_general_entries(PyDictKeysObject *keys)
{
    return DK_ENTRIES(keys);
}
