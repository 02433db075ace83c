/* Deep immutability: what C code may ask of, and tell, the immutable runtime.
 *
 * A frozen object is recognised by a bit of its flags, and counted by an
 * encoding of its reference count:
 *
 *     ob_refcnt, 32 bits
 *       0x00000001 .. 0x7FFFFFFF   mortal: the count itself
 *       0x80000000 .. 0xDFFFFFFF   immortal (0xC0000000 when new)
 *       0xE0000000 .. 0xFFFFFFFF   frozen: 0xE0000000 + count, changed atomically
 *
 *     ob_flags, 16 bits (stock CPython uses bits 0 to 3)
 *       bit 8    frozen: no write to the object may begin
 *       bit 9    visited: set only while a freeze explores
 *       bit 10   member of a component that holds a cycle; its count then is
 *                the count of references from outside that component
 *       bit 11   proxy: counted like a frozen object, but mutable (modules)
 *
 * Stock's own tests, "unsigned >= 3<<30" in Py_INCREF and "signed < 0" in
 * Py_DECREF, already leave the fast path for a frozen object, so only the
 * branch taken for immortal objects asks further.
 *
 * One source can serve stock CPython too: guard uses with
 * "#ifdef Py_IMMUTABILITY".
 */
#ifndef Py_IMMUTABILITY_H
#define Py_IMMUTABILITY_H

#if defined(Py_GIL_DISABLED) && !defined(_Py_OPAQUE_PYOBJECT)
#  error "The immutable runtime supports the default (GIL) build of CPython only."
#endif
#if SIZEOF_VOID_P < 8
#  error "The immutable runtime needs a 64-bit build."
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define Py_IMMUTABILITY 1

#define _Py_FROZEN_REFCNT 0xE0000000U
#define _Py_FROZEN_FLAG   (1 << 8)
#define _Py_VISITED_FLAG  (1 << 9)
#define _Py_MEMBER_FLAG   (1 << 10)
#define _Py_PROXY_FLAG    (1 << 11)

/* Between the test of a count and its change: makes the compiler test and
 * change it in memory, three instructions for a reference taken or dropped,
 * where it would load, test, change and store: five. */
#if defined(__GNUC__) && !defined(_Py_OPAQUE_PYOBJECT)
#  define _Py_COUNT_IN_MEMORY(op) __asm__("" : "+m"((op)->ob_refcnt))
#else
#  define _Py_COUNT_IN_MEMORY(op) ((void)0)
#endif

/* ---- Write barrier ---------------------------------------------------- */

/* True if op may be written. Ask before every write to an object's own state.
 * Any thread that holds a GIL may ask; never fails. */
#ifdef _Py_OPAQUE_PYOBJECT
#  define Py_CHECKWRITE(op) (!PyImmutable_IsFrozen(_Py_CAST(PyObject*, (op))))
#else
#  define Py_CHECKWRITE(op) \
    ((_Py_CAST(PyObject*, (op))->ob_flags & _Py_FROZEN_FLAG) == 0)
#endif

/* Raise immutable.MutationError (a TypeError) for an attempted write to op,
 * and return -1. op is borrowed; it becomes the exception's "obj". */
PyAPI_FUNC(int) PyErr_WriteToImmutable(PyObject *op);

/* The two together: return result from the calling function, with
 * MutationError set, unless op may be written. op is evaluated twice. */
#define Py_REQUIRE_WRITE(op, result) \
    do { \
        if (!Py_CHECKWRITE(op)) { \
            PyErr_WriteToImmutable(_Py_CAST(PyObject*, (op))); \
            return result; \
        } \
    } while (0)

/* ---- Freezing ---------------------------------------------------------- */

typedef enum {
    PyImmutable_FREEZABLE_YES = 0,
    PyImmutable_FREEZABLE_NO = 1,
    PyImmutable_FREEZABLE_EXPLICIT = 2,
    PyImmutable_FREEZABLE_PROXY = 3,
} PyImmutable_Policy;

/* Freeze the n objects at objs and everything that they reach, or nothing.
 * Returns 0, or -1 with immutable.NotFreezableError, MemoryError, or what a
 * __pre_freeze__ hook raised. References are borrowed. */
PyAPI_FUNC(int) PyImmutable_Freeze(PyObject *const *objs, Py_ssize_t n);

/* 1 if op is frozen, or immutable by nature with only frozen parts; else 0.
 * Never fails. */
PyAPI_FUNC(int) PyImmutable_IsFrozen(PyObject *op);

/* Say whether instances of type may be frozen. Its every mutator must then ask
 * Py_CHECKWRITE. Returns 0, or -1 with an exception. type is borrowed. */
PyAPI_FUNC(int) PyImmutable_RegisterFreezable(PyTypeObject *type,
                                              PyImmutable_Policy policy);

/* ---- Private: called by inline functions of CPython's own headers ------- */

/* The out-of-line halves of Py_INCREF and Py_DECREF, for a frozen count. */
PyAPI_FUNC(void) _PyImmutable_IncRef(PyObject *op);
PyAPI_FUNC(void) _PyImmutable_DecRef(PyObject *op);
PyAPI_FUNC(void) _PyImmutable_RefcntAdd(PyObject *op, Py_ssize_t n);

/* Ends the resurrection of an object that its own finalizer froze: 1 if it
 * lives on, 0 if its deallocation must go on. */
PyAPI_FUNC(int) _PyImmutable_ResurrectEnd(PyObject *op);

/* A new reference to a new, frozen dict that equals obj's attributes, for a
 * frozen obj whose dict was never made: CPython makes it on demand, and stores
 * it, which would be a write. NULL with MemoryError. */
PyAPI_FUNC(PyObject *) _PyImmutable_InstanceDict(PyObject *obj);

/* The real count behind the encoding of ob_refcnt. */
static inline Py_ssize_t
_PyImmutable_DecodeRefcnt(Py_ssize_t refcnt)
{
    return refcnt >= (Py_ssize_t)_Py_FROZEN_REFCNT
           ? refcnt - (Py_ssize_t)_Py_FROZEN_REFCNT : refcnt;
}

#ifdef __cplusplus
}
#endif
#endif  /* Py_IMMUTABILITY_H */
