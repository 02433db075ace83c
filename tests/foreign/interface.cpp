// Uses every name of immutability.h, in C++.
#include <Python.h>

namespace {

int no_references(PyObject *, visitproc, void *)
{
    return 0;
}

PyObject *use(PyObject *, PyObject *op)
{
#ifndef Py_IMMUTABILITY
#  error "the headers of this interpreter define Py_IMMUTABILITY"
#endif
    Py_REQUIRE_WRITE(op, nullptr);
    if (!Py_CHECKWRITE(op) || !PyImmutable_CheckWrite(op)) {
        PyErr_WriteToImmutable(op);
        return nullptr;
    }
    if (!PyImmutable_IsFrozen(op) && PyImmutable_Freeze(&op, 1) < 0) {
        return nullptr;
    }
    return Py_NewRef(op);
}

PyObject *register_type(PyObject *, PyObject *op)
{
    PyTypeObject *type = reinterpret_cast<PyTypeObject *>(op);
    if (PyImmutable_RegisterReachable(type, no_references) < 0
        || PyImmutable_RegisterFreezable(type, PyImmutable_FREEZABLE_EXPLICIT) < 0
        || PyImmutable_RegisterShallowImmutable(type) < 0)
    {
        return nullptr;
    }
    Py_RETURN_NONE;
}

PyObject *make_type(PyObject *, PyObject *)
{
    PyType_Slot type_slots[] = {{0, nullptr}};
    PyType_Spec spec = {"interface.Type", sizeof(PyObject), 0, Py_TPFLAGS_DEFAULT, type_slots};
    return PyType_FromSpec(&spec);
}

PyMethodDef methods[] = {
    {"make_type", make_type, METH_NOARGS, nullptr},
    {"use", use, METH_O, nullptr},
    {"register_type", register_type, METH_O, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

PyModuleDef_Slot slots[] = {
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
    {0, nullptr},
};

PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "interface", nullptr, 0, methods, slots, nullptr, nullptr, nullptr,
};

}  // namespace

PyMODINIT_FUNC PyInit_interface()
{
    return PyModuleDef_Init(&definition);
}
