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
 *     ob_flags, 16 bits (stock CPython uses bits 0 to 3; bit 15 is the sign of
 *     the whole word, which debug builds test)
 *       bit 7    own policy: somebody said whether this very object may freeze
 *       bit 8    frozen: no write to the object may begin
 *       bit 9    visited: set only while a freeze explores
 *       bit 10   member of a component that holds a cycle; its count then is
 *                the count of references from outside that component
 *       bit 11   proxy: counted like a frozen object, but mutable (modules)
 *       bit 12   frozen referent: on a mutable weak reference, to a frozen object
 *       bit 13   parted: frozen, with state that each interpreter has for itself
 *       bit 14   reachable: on a type, with PyImmutable_RegisterReachable
 *
 * Stock's own tests, "unsigned >= 3<<30" in Py_INCREF and "signed < 0" in
 * Py_DECREF, already leave the fast path for a frozen object, so only the
 * branch taken for immortal objects asks further.
 *
 * For authors of extensions are the parts "Write barrier", "Freezing" and
 * "Registration"; the rest is for CPython's own headers. One source can serve
 * stock CPython too: guard uses with "#ifdef Py_IMMUTABILITY". C and C++, full
 * and limited API; with Py_LIMITED_API everything is a function call.
 *
 * Rules of all these functions, unless they say otherwise: the caller holds the
 * GIL of the running interpreter, arguments are borrowed and not NULL, and a
 * function that returns -1 has set an exception, and has changed nothing.
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
#define _Py_FROZEN_REFERENT_FLAG  (1 << 12)
#define _Py_PARTED_FLAG   (1 << 13)
#define _Py_REACHABLE_FLAG        (1 << 14)
#define _Py_NAMESAKES_FLAG        (1 << 6)

/* Between the test of a count and its change: makes the compiler test and
 * change it in memory, three instructions for a reference taken or dropped,
 * where it would load, test, change and store: five. To the compiler the first
 * may change all memory. Where a reference is dropped the second hides the
 * object's address instead, which is in a register there anyway, so that what
 * is known of other memory is not loaded again: the interpreter's loop drops
 * references between writing and reading where its stack ends. */
#if defined(__GNUC__) && !defined(_Py_OPAQUE_PYOBJECT)
#  define _Py_COUNT_IN_MEMORY(op) __asm__("" : "+m"((op)->ob_refcnt))
#  define _Py_DROP_IN_MEMORY(op) __asm__("" : "+r"(op))
#else
#  define _Py_COUNT_IN_MEMORY(op) ((void)0)
#  define _Py_DROP_IN_MEMORY(op) ((void)0)
#endif

/* The encoded count, read. Other interpreters may be changing that of a frozen
 * object meanwhile; it stays in the range of frozen and immortal ones. */
#if defined(_Py_THREAD_SANITIZER)
#  define _Py_COUNT(op) __atomic_load_n(&(op)->ob_refcnt, __ATOMIC_RELAXED)
#else
#  define _Py_COUNT(op) ((op)->ob_refcnt)
#endif

/* The test for negative words, that is immortal and frozen objects. No word lies
 * between the highest frozen one and -1, and for another bound than zero the
 * compiler tests in memory: for zero it loads the word. */
#define _Py_BEYOND_REFCNT 0xFFFF0000U
#define _Py_IS_NEGATIVE(op) \
    (_Py_CAST(int32_t, _Py_COUNT(op)) < _Py_CAST(int32_t, _Py_BEYOND_REFCNT))

/* ---- Marker --------------------------------------------------------------
 *
 * A note in every module compiled with this header, by which the runtime knows
 * that the module counts frozen objects. A module without it, unless it counts
 * by function calls of the stable ABI, is foreign: see "Foreign extensions" in
 * the guide. It is an allocated note and not a symbol, so that link-time
 * optimisation, --gc-sections, version scripts and strip leave it where it is,
 * and several of them in one module do not clash. Its type is the version of the
 * encoding above.
 *
 * An object file compiled with the headers of stock CPython must not be linked
 * into a module that has the note: its counting is not seen. */
#if defined(__GNUC__) && defined(__ELF__) \
    && (!defined(Py_BUILD_CORE) || defined(Py_BUILD_CORE_MODULE))
__asm__(".pushsection .note.immutable, \"a\", %note\n"
        "\t.balign 4\n"
        "\t.long 10, 0, 1\n"   /* size of the name, of the description; type */
        "\t.asciz \"Immutable\"\n"
        "\t.balign 4\n"
        "\t.popsection\n");
#endif

/* ---- Write barrier ---------------------------------------------------- */

/* True if op may be written. Ask before every write to an object's own state:
 * not where op is made, but in each method, setter and slot that changes it
 * later. Any thread that holds a GIL may ask; never fails. The function is for
 * the limited API and for other languages than C. */
PyAPI_FUNC(int) PyImmutable_CheckWrite(PyObject *op);
#if defined(Py_LIMITED_API) || defined(_Py_OPAQUE_PYOBJECT)
#  define Py_CHECKWRITE(op) PyImmutable_CheckWrite(_Py_CAST(PyObject*, (op)))
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
 * Freezing is for ever. Nothing happens if n is 0.
 *
 * Returns 0, or -1 with immutable.NotFreezableError, MemoryError, or what a
 * __pre_freeze__ hook raised. */
PyAPI_FUNC(int) PyImmutable_Freeze(PyObject *const *objs, Py_ssize_t n);

/* 1 if op is frozen, or immutable by nature with only frozen parts; else 0.
 * Never fails; 0 also if there is no memory to look at the parts. */
PyAPI_FUNC(int) PyImmutable_IsFrozen(PyObject *op);

/* ---- Registration -------------------------------------------------------
 *
 * Types made in C refuse to be frozen until somebody registers them, since only
 * their authors know whether every write asks Py_CHECKWRITE. Register in the
 * Py_mod_exec slot, or wherever the type is made: policies hold in the running
 * interpreter, and each one that imports the module runs that slot. */

/* Set whether instances of type, and of subclasses that have no policy of their
 * own, may be frozen. With PyImmutable_FREEZABLE_YES and _EXPLICIT this promises
 * that all code which changes an instance asks Py_CHECKWRITE first, that
 * tp_traverse reports every owned reference to another object (or see
 * PyImmutable_RegisterReachable), and that tp_dealloc may run in another
 * interpreter than the one that made the instance.
 *
 * Replaces an earlier policy. Returns 0, or -1 with ValueError for an unknown
 * policy, or MemoryError. */
PyAPI_FUNC(int) PyImmutable_RegisterFreezable(PyTypeObject *type,
                                              PyImmutable_Policy policy);

/* As PyImmutable_RegisterFreezable(type, PyImmutable_FREEZABLE_YES), for a type
 * whose instances never change once they are constructed: an instance then
 * counts as frozen as soon as all that it refers to is, and nobody has to name
 * it to freeze(). A heap type is one of those things: freeze it where it is
 * registered. Holds for direct instances; a subclass adds state.
 *
 * Returns 0, or -1 with TypeError for a class written in Python, or
 * MemoryError. */
PyAPI_FUNC(int) PyImmutable_RegisterShallowImmutable(PyTypeObject *type);

/* Register a function that visits the references which instances of type, and of
 * its subclasses, own and its tp_traverse does not report: those of a type
 * without Py_TPFLAGS_HAVE_GC, or some that were left out because they can make
 * no cycle. A reference that nobody reports is not frozen with its owner.
 *
 * traverse must visit each such reference as often as it is owned, none that
 * tp_traverse visits, and not the type; it must visit the same ones whenever it
 * is asked about a frozen object; and it must run no Python code. It is called
 * from any interpreter, as long as the process runs: also after the interpreter
 * that registered it has ended. If such references can be part of a cycle,
 * tp_clear must drop them, as it does all others.
 *
 * Register before the first instance is frozen. To register the same function
 * again does nothing, so a static type may be registered by each interpreter.
 *
 * Returns 0, or -1 with TypeError for a class written in Python, ValueError if
 * traverse is NULL or another one is registered, MutationError if type is frozen
 * already, or MemoryError. */
PyAPI_FUNC(int) PyImmutable_RegisterReachable(
    PyTypeObject *type,
    /* a traverseproc */
    int (*traverse)(PyObject *self, int (*visit)(PyObject *, void *), void *arg));

/* ---- Private: called by inline functions of CPython's own headers ------- */

/* The out-of-line halves of Py_INCREF, for a frozen count, and of Py_DECREF, for
 * any negative word: that of an immortal object stays as it is. */
PyAPI_FUNC(void) _PyImmutable_IncRef(PyObject *op);
PyAPI_FUNC(void) _PyImmutable_DecRef(PyObject *op);

/* Two ways to take a reference, for inline functions, where a word is negative:
 * to a frozen object; an immortal one stays as it is, and in the second one its
 * address, an integer, gets a tag.
 *
 * Where the compiler sees a call it saves registers around it, and a function
 * that calls nothing else gets a frame. So this is a call that it does not see, of
 * a function that takes the object in rax and changes no register but those named
 * here. It steps over the red zone, in which a function without calls may keep
 * something. Nor is the branch seen: GCC leaves out passes where a function has
 * too many of them, and the interpreter's loop is one that may. For an immortal
 * object, the more frequent case, no branch is taken. */
#if defined(__GNUC__) && defined(__x86_64__) && !defined(_Py_OPAQUE_PYOBJECT) \
    && !defined(Py_DEBUG) && !defined(Py_REF_DEBUG) && !defined(_Py_THREAD_SANITIZER)
PyAPI_FUNC(void) _PyImmutable_IncRefUnseen(void);
#  define _PyImmutable_TAKE_REF(otherwise) \
    "cmpl %1, (%%rax)\n\t" \
    "jae 1f\n\t" \
    otherwise \
    "\n2:\t.subsection 1\n" \
    "1:\tlea -128(%%rsp), %%rsp\n\t" \
    "call *_PyImmutable_IncRefUnseen@GOTPCREL(%%rip)\n\t" \
    "lea 128(%%rsp), %%rsp\n\t" \
    "jmp 2b\n\t" \
    ".previous"
#  ifdef __AVX512F__
#    define _PyImmutable_AVX512_REGISTERS \
        , "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22" \
        , "xmm23", "xmm24", "xmm25", "xmm26", "xmm27", "xmm28", "xmm29" \
        , "xmm30", "xmm31", "k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7"
#  else
#    define _PyImmutable_AVX512_REGISTERS
#  endif
#  define _PyImmutable_TAKE_REF_CHANGES \
    "cc", "memory" \
    , "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7" \
    , "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15" \
    _PyImmutable_AVX512_REGISTERS
#  define _PyImmutable_TakeRef(op) \
    __asm__ volatile(_PyImmutable_TAKE_REF("") \
                     : : "a"(op), "i"(_Py_FROZEN_REFCNT) \
                     : _PyImmutable_TAKE_REF_CHANGES)
#  define _PyImmutable_TakeRefOrTag(address, tag) \
    __asm__ volatile(_PyImmutable_TAKE_REF("or %2, %%rax") \
                     : "+a"(address) : "i"(_Py_FROZEN_REFCNT), "i"(tag) \
                     : _PyImmutable_TAKE_REF_CHANGES)
#else
#  define _PyImmutable_TakeRef(op) \
    do { \
        if (_Py_COUNT(op) >= _Py_FROZEN_REFCNT) { \
            _PyImmutable_IncRef(op); \
        } \
    } while (0)
#  define _PyImmutable_TakeRefOrTag(address, tag) \
    do { \
        if (_Py_COUNT((PyObject *)(address)) >= _Py_FROZEN_REFCNT) { \
            _PyImmutable_IncRef((PyObject *)(address)); \
        } \
        else { \
            (address) |= (tag); \
        } \
    } while (0)
#endif

/* Drops a reference to an object whose word is negative and that is likely to be
 * immortal. */
#define _PyImmutable_DropRef(op) \
    do { \
        _Py_DROP_IN_MEMORY(op); \
        if (_Py_COUNT(op) >= _Py_FROZEN_REFCNT) { \
            _PyImmutable_DecRef(op); \
        } \
    } while (0)

PyAPI_FUNC(void) _PyImmutable_RefcntAdd(PyObject *op, Py_ssize_t n);

/* Ends the resurrection of an object that its own finalizer froze: 1 if it
 * lives on, 0 if its deallocation must go on. */
PyAPI_FUNC(int) _PyImmutable_ResurrectEnd(PyObject *op);

/* A new reference to a new, frozen dict that equals obj's attributes, for a
 * frozen obj whose dict was never made: CPython makes it on demand, and stores
 * it, which would be a write. NULL with MemoryError. */
PyAPI_FUNC(PyObject *) _PyImmutable_InstanceDict(PyObject *obj);

/* Where an array.array counts the buffers that it has given out: the core looks
 * whether something outside a graph could write through one. */
#define _Py_ARRAY_EXPORTS_OFFSET \
    ((Py_ssize_t)(sizeof(PyVarObject) + 4 * sizeof(void *)))

/* Called once, before the second interpreter of the process is made: from now
 * on counts change atomically. The caller holds the only GIL. */
PyAPI_FUNC(void) _PyImmutable_ShareCounts(void);

/* Called before each of an interpreter's last collections, with its GIL: gives
 * up what the core keeps for it, in steps, since finalizers may need the rest. 1
 * if the collector is to run, and this to be called again; 0 if nothing is left.
 * Python code may run. */
struct _is;
PyAPI_FUNC(int) _PyImmutable_EndInterpreter(struct _is *interp);

/* Called while the running interpreter ends and its modules are not cleared yet:
 * gives up what _PyImmutable_EndInterpreter would first, so that finalizers of it
 * find what they need. 1 if a collection may now find more. Python code may run. */
PyAPI_FUNC(int) _PyImmutable_DropCaches(void);

/* Weak references to a frozen object: each interpreter has a list of its own,
 * kept by the core, since the object's own slot would be written by all.
 *
 * Make the running interpreter's list for a frozen op, if it has none: 0, or -1
 * with MemoryError. */
PyAPI_FUNC(int) _PyImmutable_NewWeakrefList(PyObject *op);
/* Where that list begins, never NULL; for reading only, unless it was made.
 * Whoever uses it holds a reference to op, and the GIL. */
PyAPI_FUNC(PyObject **) _PyImmutable_WeakrefList(PyObject *op);

/* For a weak reference with the flag "frozen referent": a new reference to its
 * referent, or NULL without an exception if that is gone; whether it is gone;
 * and take the weak reference off its list, so that its referent is None. */
PyAPI_FUNC(PyObject *) _PyImmutable_WeakrefGet(PyObject *ref);
PyAPI_FUNC(int) _PyImmutable_WeakrefIsDead(PyObject *ref);
PyAPI_FUNC(void) _PyImmutable_WeakrefClear(PyObject *ref);

/* Called when an extension module was loaded, before any of its code runs: name
 * is a str, path the file as bytes. 0, or -1 with an exception if the module is
 * foreign and shall not be used. */
PyAPI_FUNC(int) _PyImmutable_LoadExtension(PyObject *name, PyObject *path);

/* The types of modules that several interpreters may hold, and of frozen
 * functions of C modules: see pycore_moduleobject.h. */
PyAPI_DATA(struct _typeobject) _PyImmutable_ModuleType;
PyAPI_DATA(struct _typeobject) _PyImmutable_CFunctionType;

/* The module that m, a module, stands for in the running interpreter: borrowed
 * from sys.mut_modules, or m itself; NULL with an exception if there is none. */
PyAPI_FUNC(PyObject *) _PyImmutable_OwnModule(PyObject *m);
/* 1 if m is a proxy of another interpreter's module. Never fails. */
PyAPI_FUNC(int) _PyImmutable_IsForeign(PyObject *m);

/* How many modules are shared (share_module): not zero only if an import must
 * ask. SharedModule gives the one of that name, or None; NULL with an exception.
 * Adopt puts those that were shared since the last call into sys.modules,
 * where an older module of the same name is: 0, or -1 with an exception. */
PyAPI_DATA(int) _PyImmutable_SharedModules;
PyAPI_FUNC(PyObject *) _PyImmutable_SharedModule(PyObject *name);
PyAPI_FUNC(int) _PyImmutable_AdoptSharedModules(void);

/* Make the static types of the runtime ready in the running interpreter, unless
 * they are: 0, or -1 with an exception. */
PyAPI_FUNC(int) _PyImmutable_InitTypes(void);

/* ---- Private: sharing between interpreters ------------------------------ */

/* Versions of frozen types, and of frozen functions: one range for the process,
 * from this number up. */
#define _Py_FROZEN_VERSION 0x80000000U

/* Added to the count of a key table that several interpreters use. */
#define _Py_FROZEN_KEYS_REFCNT ((Py_ssize_t)1 << 48)

/* The dict of the subclasses of a frozen class that the running interpreter
 * has: borrowed, or NULL without an exception if there is none. Set takes over
 * the reference (NULL: none from now on); 0, or -1 with MemoryError. */
PyAPI_FUNC(PyObject *) _PyImmutable_GetSubclasses(PyTypeObject *type);
PyAPI_FUNC(int) _PyImmutable_SetSubclasses(PyTypeObject *type, PyObject *subclasses);

/* What the interpreter with this id, the running one, calls for a frozen
 * function: borrowed, or NULL if it has nothing yet. The function's vectorcall
 * makes it. */
PyAPI_FUNC(PyObject *) _PyImmutable_FindView(PyObject *function, int64_t interpreter);

/* Where an interpreter finds the view of a function that it called lately, by
 * the function's version, without asking the core. */
#define _Py_FROZEN_CALLS 1024 /* a power of two */
typedef struct {
    uint32_t version;
    int used;       /* called since the core last asked */
    PyObject *view; /* borrowed from the core's table */
} _PyImmutable_Call;

/* Immortal interned strings that frozen objects may hold are kept when their
 * interpreter, which is not the main one, ends: it tells them one by one. Most
 * processes keep none.
 *
 * The other function gives what the running interpreter interns in place of the
 * exact string s, whose reference it steals: one that is kept, the only one that
 * is frozen, or a copy of a frozen string, or s itself. Without memory NULL,
 * without an exception, and s is still the caller's. */
PyAPI_DATA(int) _PyImmutable_KeepsStrings;
PyAPI_FUNC(void) _PyImmutable_KeepString(PyObject *s);
PyAPI_FUNC(PyObject *) _PyImmutable_InternInstead(PyObject *s);

/* A new reference to the running interpreter's copy of a frozen code object,
 * or NULL with an exception. */
PyAPI_FUNC(PyObject *) _PyImmutable_LocalCode(PyObject *code);

/* sys.monitoring.set_local_events() for any code object: 0, or -1 with an
 * exception. Frozen code is not instrumented, but the copies of it that the
 * running interpreter has and will have. Get is for frozen code; never fails. */
PyAPI_FUNC(int) _PyImmutable_SetLocalEvents(PyObject *code, int tool, int events);
PyAPI_FUNC(int) _PyImmutable_GetLocalEvents(PyObject *code, int tool);

/* State of a frozen object that each interpreter has for itself, such as a
 * cache, is in the object's part there: an ordinary object of the same type.
 * A module announces such types of its own, and asks for the part wherever it
 * reads or writes that state. */
typedef struct {
    /* tp_traverse of the type, by which it is known. */
    int (*traverse)(PyObject *, int (*visit)(PyObject *, void *), void *);
    /* Offset of a pointer in its instances, NULL when new, which the core sets. */
    Py_ssize_t token;
    /* Offset of a set of weak references to classes that were registered with
     * an abstract base class, or NULL; 0 if the type has none. */
    Py_ssize_t registry;
    /* A new object of op's type, as op but without its state; NULL with
     * MemoryError. Runs no Python code. */
    PyObject *(*make)(PyObject *op);
    /* Exchange the state of two objects of the type. Cannot fail. */
    void (*exchange)(PyObject *op, PyObject *part);
} _PyImmutable_PartedType;

/* type_info is static. Any interpreter may announce it again. */
PyAPI_FUNC(void) _PyImmutable_AnnounceParted(_PyImmutable_PartedType *type_info);
/* A new reference to the running interpreter's part of op, made if need be; to
 * op itself if that is not frozen. NULL with an exception. */
PyAPI_FUNC(PyObject *) _PyImmutable_Part(PyObject *op);
/* Was subclass registered with the class abc before that was frozen? 1, 0, or
 * -1 with MemoryError. */
PyAPI_FUNC(int) _PyImmutable_IsRegistered(PyTypeObject *abc, PyTypeObject *subclass);

/* A type whose instances are examined one by one, as a freeze reaches them. */
typedef struct {
    /* tp_traverse of the type, by which it is known. */
    int (*traverse)(PyObject *, int (*visit)(PyObject *, void *), void *);
    /* Why op, which is mutable, cannot be frozen just now, and the way out: a
     * static string in ASCII; or NULL. Runs no Python code, changes nothing. */
    const char *(*examine)(PyObject *op);
} _PyImmutable_ExaminedType;

/* type_info is static. Any interpreter may announce it again. */
PyAPI_FUNC(void) _PyImmutable_AnnounceExamined(_PyImmutable_ExaminedType *type_info);

/* Can op pass to another interpreter by reference? 1: yes, and *receive makes
 * the received object; 0: no, as it is not frozen; -1: it is frozen, but an
 * exception says why it cannot. */
struct _xidata;
PyAPI_FUNC(int) _PyImmutable_Share(PyObject *op,
                                   PyObject *(**receive)(struct _xidata *));
/* 1 if op, which was sent, passes by reference. op may be NULL. */
PyAPI_FUNC(int) _PyImmutable_IsShared(PyObject *op);
/* 1 if no pickled copy may stand for op, which could not be sent: it is frozen, or a
 * tuple with something frozen. */
PyAPI_FUNC(int) _PyImmutable_MustShare(PyObject *op);

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
