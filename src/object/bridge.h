/* What the core needs of CPython's private headers, and the few private inline
 * functions it calls. No policy here: see object/, freeze/ and lifetime/. */
#ifndef IMMUTABLE_BRIDGE_H
#define IMMUTABLE_BRIDGE_H

#ifndef Py_BUILD_CORE_MODULE
#  define Py_BUILD_CORE_MODULE 1
#endif
#include <Python.h>
#include "pycore_code.h"
#include "pycore_descrobject.h"
#include "pycore_dict.h"
#include "pycore_function.h"
#include "pycore_gc.h"
#include "pycore_lazyimportobject.h"
#include "pycore_moduleobject.h"
#include "pycore_object.h"

/* The number of objects that the collector of the current interpreter tracks:
 * changed with every object that is untracked by hand. */
Py_ssize_t *imm_gc_heap_size(void);

/* Where op's list of weak references begins; NULL if its type supports none. */
PyObject **imm_weakrefs(PyObject *op);

/* The instruction stream of code as compiled, before specialisation.
 * A new reference to bytes, or NULL with MemoryError. */
PyObject *imm_code_bytes(PyObject *code);

/* Numbers of the instructions that name a global. */
extern const int imm_op_load_global;
extern const int imm_op_load_name;
extern const int imm_op_delete_global;
extern const int imm_op_load_from_dict_or_globals;
extern const int imm_op_extended_arg;
/* The key table that the instances of a heap type share, or NULL. */
PyDictKeysObject *imm_shared_keys(PyTypeObject *type);

/* Give dict values of its own, if it shares those embedded in an instance; the
 * instance reads its attributes through dict from then on. 0, or -1 with
 * MemoryError (detach_dict_from_object in dictobject.c, which needs the owner). */
int imm_own_values(PyDictObject *dict);

/* The inline values of obj, or NULL if obj has none that are valid. */
PyDictValues *imm_inline_values(PyObject *obj);
PyDictUnicodeEntry *imm_unicode_entries(PyDictKeysObject *keys);
PyDictKeyEntry *imm_general_entries(PyDictKeysObject *keys);

#endif
