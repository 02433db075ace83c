/* uncounted: takes and gives up references in each way that extension modules
 * have. Compiled with the headers of stock CPython it takes a frozen object for
 * an immortal one, and counts none of these. */
#include <Python.h>

static PyObject *held;

static PyObject *
hold(PyObject *module, PyObject *op)
{
    (void)module;
    Py_INCREF(op);
    Py_XDECREF(held);
    held = op;
    Py_RETURN_NONE;
}

static PyObject *
get_held(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    if (held == NULL) {
        Py_RETURN_NONE;
    }
    Py_INCREF(held);
    return held;
}

static PyObject *
let_go(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    Py_CLEAR(held);
    Py_RETURN_NONE;
}

/* A tuple that owns a reference which this module has taken: whoever releases the
 * tuple gives it up. */
static PyObject *
wrap(PyObject *module, PyObject *op)
{
    (void)module;
    PyObject *tuple = PyTuple_New(1);
    if (tuple != NULL) {
        Py_INCREF(op);
        PyTuple_SetItem(tuple, 0, op);
    }
    return tuple;
}

/* Takes a reference that the interpreter has counted, and gives it up here. */
static PyObject *
look_at_first(PyObject *module, PyObject *sequence)
{
    (void)module;
    PyObject *item = PySequence_GetItem(sequence, 0);
    Py_XDECREF(item);
    return item == NULL ? NULL : PyBool_FromLong(1);
}

static PyMethodDef methods[] = {
    {"hold", hold, METH_O, NULL},
    {"held", get_held, METH_NOARGS, NULL},
    {"let_go", let_go, METH_NOARGS, NULL},
    {"wrap", wrap, METH_O, NULL},
    {"look_at_first", look_at_first, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
#if !defined(Py_LIMITED_API) || Py_LIMITED_API + 0 >= 0x030c0000
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "uncounted", NULL, 0, methods, slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC
PyInit_uncounted(void)
{
    return PyModuleDef_Init(&definition);
}
