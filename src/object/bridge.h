/* What the core needs of CPython's private headers, and the few private inline
 * functions it calls. No policy here: see object/, freeze/ and lifetime/. */
#ifndef IMMUTABLE_BRIDGE_H
#define IMMUTABLE_BRIDGE_H

#ifndef Py_BUILD_CORE_MODULE
#  define Py_BUILD_CORE_MODULE 1
#endif
#include <Python.h>
#include <datetime.h>
#include "pycore_code.h"
#include "pycore_descrobject.h"
#include "pycore_dict.h"
#include "pycore_function.h"
#include "pycore_gc.h"
#include "pycore_instruments.h"
#include "pycore_lazyimportobject.h"
#include "pycore_moduleobject.h"
#include "pycore_object.h"
#include "pycore_setobject.h"

/* Changes when the monitoring tool of this number in the current interpreter
 * gives up its place: what it has set then counts no more. */
uintptr_t imm_tool_version(int tool);

/* The events that this tool has set on code itself. */
_PyMonitoringEventSet imm_local_events(PyCodeObject *code, int tool);

/* The number of objects that the collector of the current interpreter tracks:
 * changed with every object that is untracked by hand. */
Py_ssize_t *imm_gc_heap_size(void);

/* Let some thread of interp call function(NULL) soon; from any thread, while
 * interp exists. False if too many calls are pending there. */
int imm_add_pending_call(PyInterpreterState *interp, int (*function)(void *));

/* Make a static type, still zero but for what it can do, ready in the current
 * interpreter, unless it is. 0, or -1 with an exception. */
int imm_init_static_type(PyTypeObject *type);

/* Make a static type ready, for the whole process, unless it is. Unlike a type
 * of imm_init_static_type it has one namespace, which the caller freezes.
 * 1 if it was made ready just now, 0 if before, or -1 with an exception. */
int imm_ready_frozen_type(PyTypeObject *type);

/* A new list of the direct subclasses that the current interpreter knows. */
PyObject *imm_subclasses(PyTypeObject *type);

/* Where the bases of type know it by the weak reference before, have them know
 * it by after from now on. Allocates nothing and never fails. */
void imm_change_subclass(PyTypeObject *type, PyObject *before, PyObject *after);

/* Takes the class that was at this address, and is gone, off what the current
 * interpreter knows as the subclasses of type, a static or frozen one. Never fails. */
void imm_forget_subclass(PyTypeObject *type, void *address);

/* True for a contextvars.Context in which code is running. */
int imm_is_entered(PyObject *context);

/* True if the current thread is the one that handles signals. */
int imm_handles_signals(void);

/* The namespaces of builtins and sys, without which the current interpreter
 * cannot run. Borrowed; NULL before they are made. */
PyObject *imm_builtins_dict(void);
PyObject *imm_sys_dict(void);

/* Where dict keeps the value of a string that it has: good as long as its ma_keys
 * is the same. NULL if that cannot be told; no exception is set. */
PyObject **imm_value_place(PyDictObject *dict, PyObject *name);

/* _Py_Dealloc, but for exact str, int and float: specialised bytecode drops those
 * without saying how far its stack reaches, and their destructors do not ask. */
void imm_dealloc(PyObject *op);

/* True if one interpreter may release what another allocated. */
int imm_allocator_is_shared(void);

/* The bytes that a frozen op takes: what sys.getsizeof() tells where its type says
 * so in C, else its own block. No Python code runs; an exception may be lost. */
size_t imm_size(PyObject *op);

/* What tells whether a module is the one that a C type was made for, or the
 * same of another interpreter. */
const void *imm_module_token(PyObject *module);

/* The instruction that the running Python code is in: its number as compiled, the
 * name that it is about or NULL, and what it calls or NULL, both borrowed. 1, or 0
 * if none is running. */
struct imm_instruction {
    int opcode;
    PyObject *name;
    PyObject *callable;
};
int imm_running_instruction(struct imm_instruction *instruction);

/* How many references to obj the Python code that is running holds for the call
 * that it is in: on its evaluation stack, or in a tuple of arguments there. */
Py_ssize_t imm_stack_references(PyObject *obj);

/* Drop the cached parts of code that it did not have before they were made: bit i
 * of had for co_code, co_varnames, co_cellvars, co_freevars. */
void imm_forget_code_parts(PyCodeObject *code, int had_cache, int had);

/* sys.modules of the running interpreter, borrowed; near its end NULL. */
PyObject *imm_modules(void);

/* Where an interpreter has the address of what the core keeps for it, NULL until
 * there is something. */
void **imm_state_slot(PyInterpreterState *interp);

/* gc.callbacks of the running interpreter, borrowed. */
PyObject *imm_gc_callbacks(void);

/* For tests: give the next interpreter this number. Returns 0, and does nothing, if
 * that number or a later one was given before. */
int imm_number_interpreters_from(int64_t number);

/* The value of "-X option", the last one given, else of the environment variable:
 * 1 and at most size - 1 bytes of it, "" for an option without a value; 0 if it
 * is not given, or the variable is empty, or the environment ignored. */
int imm_option(const char *option, const char *variable, char *value, Py_ssize_t size);

/* The receiving end of a frozen object that is passed by reference. */
PyObject *imm_receive(struct _xidata *data);

/* Take a string out of the interpreter's table of interned strings. The string
 * was mutable; its count is right when this returns. */
int imm_unintern(PyObject *string);

int imm_is_ascii(PyObject *string);

/* The instruction stream of code as compiled, before specialisation.
 * A new reference to bytes, or NULL with MemoryError. */
PyObject *imm_code_bytes(PyObject *code);

extern const Py_ssize_t imm_array_exports_offset;

/* Names that the core looks up, immortal: using them allocates nothing. */
extern PyObject *const imm_name_annotate_func;
extern PyObject *const imm_name_annotations_cache;
extern PyObject *const imm_name_abc_impl;
extern PyObject *const imm_name_module;
extern PyObject *const imm_name_first_line;
extern PyObject *const imm_name_name;
extern PyObject *const imm_name_package;
extern PyObject *const imm_name_file;
extern PyObject *const imm_name_builtins;
extern PyObject *const imm_name_build_class;
extern PyObject *const imm_name_import;
extern PyObject *const imm_name_loader;
extern PyObject *const imm_name_spec;

/* Numbers of the instructions that write. */
extern const int imm_op_store_attr;
extern const int imm_op_delete_attr;
extern const int imm_op_store_subscr;
extern const int imm_op_delete_subscr;
extern const int imm_op_store_slice;
extern const int imm_op_store_global;
extern const int imm_op_store_deref;
extern const int imm_op_delete_deref;
extern const int imm_op_binary_op;

/* Numbers of the instructions that name a global. */
extern const int imm_op_load_global;
extern const int imm_op_load_attr;
extern const int imm_op_cache;
extern const int imm_op_load_name;
extern const int imm_op_delete_global;
extern const int imm_op_load_from_dict_or_globals;
extern const int imm_op_extended_arg;

/* Numbers of the instructions that use a builtin without naming it. */
extern const int imm_op_import_name;
extern const int imm_op_load_build_class;

/* The key table that the instances of a heap type share, or NULL. */
PyDictKeysObject *imm_shared_keys(PyTypeObject *type);

/* Whether keys are shared by several interpreters: no name is added to them any
 * more, and they are counted atomically. Seal makes it so. */
int imm_keys_are_sealed(PyDictKeysObject *keys);
void imm_seal_keys(PyDictKeysObject *keys);

/* Have functions that run frozen code take a copy of it at their next call: its
 * version is never up to date. Forget it in the running interpreter's cache of
 * code by version, which holds no reference, since any interpreter may release it. */
void imm_retire_code(PyCodeObject *code);

/* The running interpreter's table of the frozen functions that it called lately:
 * _Py_FROZEN_CALLS of them. */
_PyImmutable_Call *imm_frozen_calls(void);

/* Give dict a table of its own, if it shares the keys of a class, to which
 * instances may go on adding names, or the values of an instance, which reads
 * its attributes through dict from then on. 0, or -1 with MemoryError. */
int imm_own_table(PyDictObject *dict);

/* Where obj keeps its attribute dict, be it made yet or not; NULL if it never
 * has one. */
PyObject **imm_dict_slot(PyObject *obj);

/* The inline values of obj, or NULL if obj has none that are valid. */
PyDictValues *imm_inline_values(PyObject *obj);

/* The time zone of a datetime.time, or of a datetime.datetime; NULL if it has
 * none. Borrowed. */
PyObject *imm_zone_of_time(PyObject *time);
PyObject *imm_zone_of_datetime(PyObject *datetime);

PyDictUnicodeEntry *imm_unicode_entries(PyDictKeysObject *keys);
PyDictKeyEntry *imm_general_entries(PyDictKeysObject *keys);

#endif
