/* What the frozen branch of Py_INCREF leaves alone. It is a call that the compiler does not see (see immutability.h), so a
 * register that it changes would be a wrong value anywhere. */
#include <Python.h>

/* Calls it with a value in each register that an ordinary call may change, at an odd or an even alignment of the stack.
 * Returns the bits of those that have another value afterwards. */
static unsigned long
changed(PyObject *op, unsigned long odd)
{
    unsigned long bits;
    __asm__ volatile(
        "push %%rbx\n\t"
        "mov %%rsp, %%rbx\n\t"
        "sub $256, %%rsp\n\t"
        "and $-16, %%rsp\n\t"
        "shl $3, %%rdx\n\t"
        "sub %%rdx, %%rsp\n\t"
        "mov $101, %%rcx\n\t"
        "mov $102, %%rdx\n\t"
        "mov $103, %%rsi\n\t"
        "mov $104, %%rdi\n\t"
        "mov $105, %%r8\n\t"
        "mov $106, %%r9\n\t"
        "mov $107, %%r10\n\t"
        "mov $108, %%r11\n\t"
        "push %%rax\n\t"
        "call *_PyImmutable_IncRefUnseen@GOTPCREL(%%rip)\n\t"
        "sub %%rax, (%%rsp)\n\t"
        "pop %%rax\n\t"
        "sub $101, %%rcx\n\t"
        "or %%rcx, %%rax\n\t"
        "sub $102, %%rdx\n\t"
        "or %%rdx, %%rax\n\t"
        "sub $103, %%rsi\n\t"
        "or %%rsi, %%rax\n\t"
        "sub $104, %%rdi\n\t"
        "or %%rdi, %%rax\n\t"
        "sub $105, %%r8\n\t"
        "or %%r8, %%rax\n\t"
        "sub $106, %%r9\n\t"
        "or %%r9, %%rax\n\t"
        "sub $107, %%r10\n\t"
        "or %%r10, %%rax\n\t"
        "sub $108, %%r11\n\t"
        "or %%r11, %%rax\n\t"
        "mov %%rbx, %%rsp\n\t"
        "pop %%rbx"
        : "=a"(bits), "+d"(odd)
        : "0"(op)
        : "rcx", "rsi", "rdi", "r8", "r9", "r10", "r11", "cc", "memory");
    return bits;
}

/* take(op, odd): takes a reference and drops it again; returns what changed. */
static PyObject *
take(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *op;
    int odd;
    if (!PyArg_ParseTuple(args, "Op", &op, &odd)) {
        return NULL;
    }
    unsigned long bits = changed(op, (unsigned long)odd);
    Py_DECREF(op);
    return PyLong_FromUnsignedLong(bits);
}

/* A function that calls nothing: its values are in registers, and in the red zone, while it takes the reference. */
static Py_NO_INLINE long
added(PyObject *op, const long *n, long *taken)
{
    long a = n[0], b = n[1], c = n[2], d = n[3], e = n[4], f = n[5], g = n[6], h = n[7];
    long i = a * b, j = b * c, k = c * d, l = d * e, m = e * f, o = f * g, p = g * h, q = h * a;
    Py_INCREF(op);
    *taken += 1;
    return a + b + c + d + e + f + g + h + i + j + k + l + m + o + p + q;
}

/* sum(op, n, ...): what follows from eight numbers, with a reference to op taken in between, and dropped again. */
static PyObject *
sum(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *op;
    long n[8], taken = 0;
    if (!PyArg_ParseTuple(args, "Ollllllll", &op, &n[0], &n[1], &n[2], &n[3], &n[4], &n[5], &n[6], &n[7])) {
        return NULL;
    }
    long result = added(op, n, &taken);
    while (taken--) {
        Py_DECREF(op);
    }
    return PyLong_FromLong(result);
}

static PyMethodDef methods[] = {
    {"take", take, METH_VARARGS, NULL},
    {"sum", sum, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
    {0, NULL},
};

static PyModuleDef module = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "registers",
    .m_size = 0,
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC
PyInit_registers(void)
{
    return PyModuleDef_Init(&module);
}
