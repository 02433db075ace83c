/* tally: three types that opt in to deep immutability, each in another way.
 *
 *   Counter  changes: every write asks the barrier, and then it is registered;
 *   Point    never changes once it is made: a shallow immutable;
 *   Box      owns a reference that the collector does not know: reachability.
 *
 * The same source builds on stock CPython, where the parts between
 * "#ifdef Py_IMMUTABILITY" and "#endif" fall away, and with the limited API.
 */
#include <Python.h>
#include <stddef.h>

/* True, with MutationError set, if op is frozen. Never so on stock CPython. */
static int
is_write_refused(PyObject *op)
{
#ifdef Py_IMMUTABILITY
    if (!Py_CHECKWRITE(op)) {
        PyErr_WriteToImmutable(op);
        return 1;
    }
#endif
    (void)op;
    return 0;
}

static PyObject *
new_object(PyTypeObject *type)
{
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    return allocate(type, 0);
}

/* The end of an object of a heap type. */
static void
release_object(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(op);
    Py_DECREF((PyObject *)type);
}

/* ---- Counter: barrier --------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    long count;
    PyObject *label;
} Counter;

static PyObject *
counter_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *label;
    if (kwargs != NULL && PyDict_Size(kwargs) > 0) {
        PyErr_SetString(PyExc_TypeError, "Counter() takes no keyword arguments");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "O:Counter", &label)) {
        return NULL;
    }
    Counter *self = (Counter *)new_object(type);
    if (self != NULL) {
        /* No barrier: nobody else has seen the new object. */
        Py_INCREF(label);
        self->label = label;
    }
    return (PyObject *)self;
}

static int
counter_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT((PyObject *)Py_TYPE(op));
    Py_VISIT(((Counter *)op)->label);
    return 0;
}

static int
counter_clear(PyObject *op)
{
    /* No barrier: the runtime calls this on what is mutable again, at its end. */
    Py_CLEAR(((Counter *)op)->label);
    return 0;
}

static void
counter_dealloc(PyObject *op)
{
    PyObject_GC_UnTrack(op);
    counter_clear(op);
    release_object(op);
}

static PyObject *
counter_add(PyObject *op, PyObject *amount)
{
    long n = PyLong_AsLong(amount);
    if (n == -1 && PyErr_Occurred()) {
        return NULL;
    }
    /* The barrier stands where the write is certain, after what may fail. */
    if (is_write_refused(op)) {
        return NULL;
    }
    ((Counter *)op)->count += n;
    Py_RETURN_NONE;
}

static PyObject *
counter_get_count(PyObject *op, void *closure)
{
    (void)closure;
    return PyLong_FromLong(((Counter *)op)->count);
}

static PyObject *
counter_get_label(PyObject *op, void *closure)
{
    (void)closure;
    PyObject *label = ((Counter *)op)->label;
    Py_INCREF(label);
    return label;
}

static int
counter_set_label(PyObject *op, PyObject *value, void *closure)
{
    (void)closure;
    if (value == NULL) {
        PyErr_SetString(PyExc_AttributeError, "label cannot be deleted");
        return -1;
    }
    if (is_write_refused(op)) {
        return -1;
    }
    PyObject *before = ((Counter *)op)->label;
    Py_INCREF(value);
    ((Counter *)op)->label = value;
    Py_DECREF(before);
    return 0;
}

static PyMethodDef counter_methods[] = {
    {"add", counter_add, METH_O, "Add a number to the count."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef counter_getset[] = {
    {"count", counter_get_count, NULL, "The sum of what was added.", NULL},
    {"label", counter_get_label, counter_set_label, "Any object.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot counter_slots[] = {
    {Py_tp_doc, (void *)"Counter(label)\n--\n\nA label and a number that grows."},
    {Py_tp_new, (void *)counter_new},
    {Py_tp_dealloc, (void *)counter_dealloc},
    {Py_tp_traverse, (void *)counter_traverse},
    {Py_tp_clear, (void *)counter_clear},
    {Py_tp_methods, counter_methods},
    {Py_tp_getset, counter_getset},
    {0, NULL},
};

static PyType_Spec counter_spec = {
    "tally.Counter", sizeof(Counter), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, counter_slots,
};

/* ---- Point: shallow immutable ------------------------------------------- */

typedef struct {
    PyObject_HEAD
    PyObject *x;
    PyObject *y;
} Point;

static PyObject *
point_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *x, *y;
    if (kwargs != NULL && PyDict_Size(kwargs) > 0) {
        PyErr_SetString(PyExc_TypeError, "Point() takes no keyword arguments");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "OO:Point", &x, &y)) {
        return NULL;
    }
    Point *self = (Point *)new_object(type);
    if (self != NULL) {
        Py_INCREF(x);
        Py_INCREF(y);
        self->x = x;
        self->y = y;
    }
    return (PyObject *)self;
}

static int
point_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT((PyObject *)Py_TYPE(op));
    Py_VISIT(((Point *)op)->x);
    Py_VISIT(((Point *)op)->y);
    return 0;
}

static int
point_clear(PyObject *op)
{
    Py_CLEAR(((Point *)op)->x);
    Py_CLEAR(((Point *)op)->y);
    return 0;
}

static void
point_dealloc(PyObject *op)
{
    PyObject_GC_UnTrack(op);
    point_clear(op);
    release_object(op);
}

static PyObject *
point_get(PyObject *op, void *offset)
{
    PyObject *value = *(PyObject **)((char *)op + (size_t)offset);
    Py_INCREF(value);
    return value;
}

static PyGetSetDef point_getset[] = {
    {"x", point_get, NULL, NULL, (void *)offsetof(Point, x)},
    {"y", point_get, NULL, NULL, (void *)offsetof(Point, y)},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot point_slots[] = {
    {Py_tp_doc, (void *)"Point(x, y)\n--\n\nTwo objects, for ever."},
    {Py_tp_new, (void *)point_new},
    {Py_tp_dealloc, (void *)point_dealloc},
    {Py_tp_traverse, (void *)point_traverse},
    {Py_tp_clear, (void *)point_clear},
    {Py_tp_getset, point_getset},
    {0, NULL},
};

static PyType_Spec point_spec = {
    "tally.Point", sizeof(Point), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, point_slots,
};

/* ---- Box: reachability -------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    PyObject *content;  /* the collector does not know: the type has no tp_traverse */
} Box;

static PyObject *
box_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *content;
    if (kwargs != NULL && PyDict_Size(kwargs) > 0) {
        PyErr_SetString(PyExc_TypeError, "Box() takes no keyword arguments");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "O:Box", &content)) {
        return NULL;
    }
    Box *self = (Box *)new_object(type);
    if (self != NULL) {
        Py_INCREF(content);
        self->content = content;
    }
    return (PyObject *)self;
}

static void
box_dealloc(PyObject *op)
{
    Py_DECREF(((Box *)op)->content);
    release_object(op);
}

#ifdef Py_IMMUTABILITY
static int
box_reachable(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(((Box *)op)->content);
    return 0;
}
#endif

static PyObject *
box_swap(PyObject *op, PyObject *content)
{
    if (is_write_refused(op)) {
        return NULL;
    }
    PyObject *before = ((Box *)op)->content;
    Py_INCREF(content);
    ((Box *)op)->content = content;
    return before;
}

static PyObject *
box_get_content(PyObject *op, void *closure)
{
    (void)closure;
    PyObject *content = ((Box *)op)->content;
    Py_INCREF(content);
    return content;
}

static PyMethodDef box_methods[] = {
    {"swap", box_swap, METH_O, "Put an object in; return the one that was there."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef box_getset[] = {
    {"content", box_get_content, NULL, "What is in the box.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot box_slots[] = {
    {Py_tp_doc, (void *)"Box(content)\n--\n\nHolds one object, outside the collector's view."},
    {Py_tp_new, (void *)box_new},
    {Py_tp_dealloc, (void *)box_dealloc},
    {Py_tp_methods, box_methods},
    {Py_tp_getset, box_getset},
    {0, NULL},
};

static PyType_Spec box_spec = {
    "tally.Box", sizeof(Box), 0, Py_TPFLAGS_DEFAULT, box_slots,
};

/* ---- The module --------------------------------------------------------- */

/* Make a type and add it to the module. A borrowed reference, or NULL. */
static PyTypeObject *
add_type(PyObject *module, const char *name, PyType_Spec *spec)
{
    PyObject *type = PyType_FromSpec(spec);
    if (type == NULL) {
        return NULL;
    }
    int added = PyModule_AddObjectRef(module, name, type);
    Py_DECREF(type);
    return added < 0 ? NULL : (PyTypeObject *)type;
}

static int
tally_exec(PyObject *module)
{
    PyTypeObject *counter = add_type(module, "Counter", &counter_spec);
    PyTypeObject *point = add_type(module, "Point", &point_spec);
    PyTypeObject *box = add_type(module, "Box", &box_spec);
    if (counter == NULL || point == NULL || box == NULL) {
        return -1;
    }
#ifdef Py_IMMUTABILITY
    if (PyImmutable_RegisterFreezable(counter, PyImmutable_FREEZABLE_YES) < 0
        || PyImmutable_RegisterShallowImmutable(point) < 0
        || PyImmutable_RegisterReachable(box, box_reachable) < 0
        || PyImmutable_RegisterFreezable(box, PyImmutable_FREEZABLE_YES) < 0)
    {
        return -1;
    }
    /* A point is immutable when all that it refers to is, and so must its type be. */
    PyObject *types[] = {(PyObject *)point};
    if (PyImmutable_Freeze(types, 1) < 0) {
        return -1;
    }
#endif
    return 0;
}

static PyModuleDef_Slot tally_slots[] = {
    {Py_mod_exec, (void *)tally_exec},
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
    {0, NULL},
};

static struct PyModuleDef tally_module = {
    PyModuleDef_HEAD_INIT, "tally", "Types that opt in to deep immutability.", 0, NULL, tally_slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC
PyInit_tally(void)
{
    return PyModuleDef_Init(&tally_module);
}
