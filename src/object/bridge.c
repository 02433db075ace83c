#include "bridge.h"
#include "pycore_interp.h"
#include "pycore_opcode_metadata.h"
#include "pycore_opcode_utils.h"
#include "pycore_pystate.h"
#include "opcode_ids.h"

Py_ssize_t *
imm_gc_heap_size(void)
{
    return &PyInterpreterState_Get()->gc.heap_size;
}

PyObject **
imm_weakrefs(PyObject *op)
{
    return _PyType_SUPPORTS_WEAKREFS(Py_TYPE(op))
           ? (PyObject **)_PyObject_GET_WEAKREFS_LISTPTR(op) : NULL;
}

PyObject *
imm_code_bytes(PyObject *code)
{
    return PyCode_GetCode((PyCodeObject *)code);
}

_Static_assert(DICT_KEYS_GENERAL == 0, "edges.rs");
_Static_assert(MANAGED_DICT_OFFSET == -3 * (Py_ssize_t)sizeof(PyObject *), "edges.rs");

const int imm_op_load_global = LOAD_GLOBAL;
const int imm_op_load_name = LOAD_NAME;
const int imm_op_delete_global = DELETE_GLOBAL;
const int imm_op_load_from_dict_or_globals = LOAD_FROM_DICT_OR_GLOBALS;
const int imm_op_extended_arg = EXTENDED_ARG;

PyDictKeysObject *
imm_shared_keys(PyTypeObject *type)
{
    return (PyDictKeysObject *)((PyHeapTypeObject *)type)->ht_cached_keys;
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

int
imm_own_values(PyDictObject *dict)
{
    PyDictValues *embedded = dict->ma_values;
    if (embedded == NULL || !embedded->embedded) {
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
