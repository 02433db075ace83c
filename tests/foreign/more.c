/* A second translation unit that includes the headers. */
#include <Python.h>

int more(PyObject *op);

int
more(PyObject *op)
{
    Py_INCREF(op);
    Py_DECREF(op);
    return 0;
}
