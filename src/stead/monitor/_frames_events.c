/* Audited events, of which the tripwire is told (docs/adr/0127). */
#include "_frames.h"

#include <stdlib.h>

/* Not in the stable interface, though documented since Python 3.8 and 3.11: where a later
 * Python has one no more, Python's own hook does instead. */
#define WEAK __attribute__((weak))
extern WEAK int PySys_AddAuditHook(int (*)(const char *, PyObject *, void *), void *);
extern WEAK void PyThreadState_EnterTracing(PyThreadState *);
extern WEAK void PyThreadState_LeaveTracing(PyThreadState *);

typedef struct {
    PyInterpreterState *of;
    PyObject *told, *kept; /* `kept` has the bytes of the names */
    Py_ssize_t count;
    const char *names[];
} Sieve;

static int in_order(const void *one, const void *other)
{
    return strcmp(*(const char *const *)one, *(const char *const *)other);
}

/* Called below Python for each event. For those that nobody asks for it makes no object:
 * making one may collect garbage, which may let other threads run, and one of those could
 * then neither set a trace function nor be born with one (CPython 3.11). */
static int on_event(const char *event, PyObject *arguments, void *given)
{
    Sieve *sieve = given;
    if (!bsearch(&event, sieve->names, (size_t)sieve->count, sizeof *sieve->names, in_order)
        || PyInterpreterState_Get() != sieve->of)
        return 0;
    PyObject *name = PyUnicode_FromString(event);
    if (!name)
        return -1;
    PyThreadState *here = PyThreadState_Get();
    PyThreadState_EnterTracing(here); /* no debugger steps into a hook, as in Python's own */
    PyObject *answer = PyObject_CallFunctionObjArgs(sieve->told, name, arguments, NULL);
    PyThreadState_LeaveTracing(here);
    Py_DECREF(name);
    Py_XDECREF(answer);
    return answer ? 0 : -1;
}

/* Return what the hook is given, or NULL with an error. */
static Sieve *sieve_of(PyObject *events, PyObject *told)
{
    PyObject *kept = PySequence_List(events);
    Py_ssize_t count = kept ? PyList_Size(kept) : 0;
    Sieve *made = kept ? calloc(1, sizeof *made + (size_t)count * sizeof *made->names) : NULL;
    if (kept && !made)
        PyErr_NoMemory();
    for (Py_ssize_t i = 0; made && i < count; i++) {
        PyObject *bytes = PyUnicode_AsUTF8String(PyList_GetItem(kept, i));
        if (!bytes || PyList_SetItem(kept, i, bytes)) {
            free(made);
            made = NULL;
        } else {
            made->names[i] = PyBytes_AsString(bytes);
        }
    }
    if (!made) {
        Py_XDECREF(kept);
        return NULL;
    }
    qsort(made->names, (size_t)count, sizeof *made->names, in_order);
    made->of = PyInterpreterState_Get();
    made->told = Py_NewRef(told);
    made->kept = kept;
    made->count = count;
    return made;
}

/* What is added stays as long as the process, or the interpreter's end. */
PyObject *add_hook(PyObject *Py_UNUSED(mine), PyObject *args)
{
    PyObject *events, *told;
    if (!PyArg_ParseTuple(args, "O!O", &PyFrozenSet_Type, &events, &told))
        return NULL;
    if (!PySys_AddAuditHook || !PyThreadState_EnterTracing || !PyThreadState_LeaveTracing)
        return PyObject_CallFunctionObjArgs(PySys_GetObject("addaudithook"), told, NULL);
    Sieve *sieve = sieve_of(events, told);
    if (!sieve || PySys_AddAuditHook(on_event, sieve))
        return NULL;
    return Py_NewRef(Py_None);
}
