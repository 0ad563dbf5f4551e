/* The twin of stead.monitor.frames and of the plain way through a block of
 * stead.monitor.impersonation, which are the reference (docs/adr/0058, 0111).
 *
 * How a block is entered, left, and entered again on a pass, is in files of their own.
 *
 * It decides nothing. It does whole what Python would do where there is nothing to ask
 * anybody: a client's block outside any server, or on a pass that is good, entered and
 * left in order on its own thread. Of anything else it changes nothing, and takes
 * Python's way.
 *
 * No handler of a signal runs in the middle of a function of C: a block is entered
 * whole or not at all. What can run Python code (a watch, a finalizer) comes when all is
 * done. All of it relies on the interpreter's lock, as _fast.c does.
 */
#include "_frames.h"

static const char *const spelled[NAMES] = {
    "token", "level", "clients", "entered", "left", "_enter", "_undo", "leave",
    "_forgotten", "f_globals", "__name__", "f_back", "f_lasti", "passes", "enter",
    "kernels", "meta_path", "trio.lowlevel", "is_over", "lease_ends", "over",
};

static struct PyModuleDef module;

/* There is one module in an interpreter; it is found by whatever type is asked. */
State *state(void)
{
    PyObject *mine = PyState_FindModule(&module);
    if (!mine)
        PyErr_SetString(PyExc_RuntimeError, "the twin is not loaded here");
    return mine ? PyModule_GetState(mine) : NULL;
}

/* Which process this is: what is written here reads 0 in a fork, however it was made. */
static volatile int *the_process;

int this_process(void)
{
    if (!the_process)
        return getpid();
    if (!*the_process)
        *the_process = getpid();
    return *the_process;
}

static void watch_for_forks(void)
{
#ifdef MADV_WIPEONFORK
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    void *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page != MAP_FAILED && !madvise(page, size, MADV_WIPEONFORK))
        the_process = page;
    else if (page != MAP_FAILED)
        munmap(page, size);
#endif
}

static PyObject *process(PyObject *Py_UNUSED(mine), PyObject *Py_UNUSED(nothing))
{
    return PyLong_FromLong(this_process());
}

/* --- the fields of a frame ------------------------------------------------------------ */

static int fields_init(PyObject *it, PyObject *args, PyObject *named)
{
    static char *names[] = {"kind", "subject", "guard", "outer", "place", "task",
                            "grip", "at",      "code",  "last",  NULL};
    Fields *self = (Fields *)it;
    PyObject *given[9];
    if (!PyArg_ParseTupleAndKeywords(args, named, "$OOOOOOOUOi", names, &given[0],
                                     &given[1], &given[2], &given[3], &given[4],
                                     &given[5], &given[6], &given[7], &given[8],
                                     &self->last))
        return -1;
    PyObject **place = &self->kind;
    for (int i = 0; i < 9; i++) {
        PyObject *old = place[i];
        place[i] = Py_NewRef(given[i]);
        Py_XDECREF(old);
    }
    self->process = this_process();
    return 0;
}

static int fields_traverse(PyObject *it, visitproc visit, void *arg)
{
    Fields *self = (Fields *)it;
    for (PyObject **place = &self->kind; place <= &self->revert; place++)
        Py_VISIT(*place);
    Py_VISIT(Py_TYPE(it));
    return 0;
}

static int fields_clear(PyObject *it)
{
    Fields *self = (Fields *)it;
    for (PyObject **place = &self->kind; place <= &self->revert; place++)
        Py_CLEAR(*place);
    return 0;
}

void let_go(PyObject *it, PyObject *weak, inquiry clear)
{
    PyTypeObject *type = Py_TYPE(it);
    PyObject_GC_UnTrack(it);
    if (weak)
        PyObject_ClearWeakRefs(it);
    clear(it);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(it);
    Py_DECREF(type);
}

static void fields_dealloc(PyObject *it)
{
    let_go(it, ((Fields *)it)->weak, fields_clear);
}

#define FIELD(name) {#name, T_OBJECT, offsetof(Fields, name), 0, NULL}
#define FACT(name, kind) {#name, kind, offsetof(Fields, name), 0, NULL}

static PyMemberDef fields_members[] = {
    FIELD(kind), FIELD(subject), FIELD(guard), FIELD(outer), FIELD(place), FIELD(task),
    FIELD(grip), FIELD(at), FIELD(code), FIELD(look), FIELD(revert), FACT(last, T_INT),
    FACT(process, T_INT), FACT(is_kernel, T_BOOL), FACT(is_closed, T_BOOL),
    FACT(is_left, T_BOOL),
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Fields, weak), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot fields_slots[] = {
    {Py_tp_doc, "What is known of one entered identity."},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, fields_init},
    {Py_tp_traverse, fields_traverse},
    {Py_tp_clear, fields_clear},
    {Py_tp_dealloc, fields_dealloc},
    {Py_tp_members, fields_members},
    {0, NULL},
};

PyType_Spec fields_spec = {
    "stead.monitor._frames.Fields", sizeof(Fields), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, fields_slots,
};

/* --- what a block is asked ------------------------------------------------------------- */

int is_adrift(PyObject *grip)
{
    return !is_none(grip)
           && (!PyWeakref_CheckRef(grip) || PyWeakref_GetObject(grip) == Py_None);
}

/* Tell whether a frame is one in force, in which another can be entered. */
int is_in_force(State *my, PyObject *it)
{
    Fields *frame = (Fields *)it;
    return Py_TYPE(it) == (PyTypeObject *)my->of[FRAME] && !frame->is_closed
           && !is_adrift(frame->grip);
}

int no_loop_runs(State *my)
{
    PyObject *loop = PyObject_CallNoArgs(my->of[LOOP]);
    Py_XDECREF(loop);
    return loop ? loop == Py_None : FAILED;
}

/* Tell whether no tasks run here that Python cannot tell apart. */
int no_trio_runs(State *my)
{
    PyObject *modules = PyImport_GetModuleDict();
    if (!PyDict_GetItemWithError(modules, my->name[TRIO]))
        return PyErr_Occurred() ? FAILED : 1;
    PyObject *runs = PyObject_CallNoArgs(my->of[IN_TRIO]);
    Py_XDECREF(runs);
    return runs ? runs == Py_False : FAILED;
}

int is_tripwire_up(State *my)
{
    PyObject *finders = PyDict_GetItemWithError(my->system, my->name[META_PATH]);
    Py_ssize_t many = finders && PyList_Check(finders) ? PyList_Size(finders) : 0;
    for (Py_ssize_t i = 0; i < many; i++) /* others may have put theirs before it */
        if (Py_TYPE(PyList_GetItem(finders, i)) == (PyTypeObject *)my->of[FINDER])
            return 1;
    return 0;
}

int has_level(State *my, PyObject *subject)
{
    PyObject *token = ask(my, subject, TOKEN);
    PyObject *level = token ? ask(my, token, ITS_LEVEL) : NULL;
    int found = level ? PyObject_RichCompareBool(level, my->of[LEVEL], Py_GE) : FAILED;
    Py_XDECREF(token);
    Py_XDECREF(level);
    return found;
}

/* --- who calls -------------------------------------------------------------------------- */

/* Tell whether what runs with these globals is Stead's own, or hands on what is. */
static int is_ours(State *my, PyObject *globals)
{
    PyObject *name = PyDict_GetItemWithError(globals, my->name[NAME]);
    if (!name || !PyUnicode_Check(name))
        return PyErr_Occurred() ? FAILED : 0;
    Py_ssize_t size;
    const char *text = PyUnicode_AsUTF8AndSize(name, &size);
    if (!text)
        return FAILED;
    return !strncmp(text, "stead.", 6) || !strcmp(text, "stead")
           || !strcmp(text, "contextlib");
}

/* Step outward from a frame, which is given up: 1, 0 if it is the outermost, or -1. */
static int step_out(State *my, PyObject **frame)
{
    PyObject *back = ask(my, *frame, BACK);
    if (!back || back == Py_None) {
        Py_XDECREF(back);
        return back ? 0 : FAILED;
    }
    Py_DECREF(*frame);
    *frame = back;
    return 1;
}

/* Find the nearest code outside Stead and how far it is, as `frames.spot` does. */
PyObject *find_spot(State *my, int *last)
{
    PyObject *globals = Py_XNewRef(PyEval_GetGlobals()), *code = NULL, *how_far = NULL;
    PyObject *frame = Py_XNewRef((PyObject *)PyEval_GetFrame());
    int ours = globals && frame ? is_ours(my, globals) : FAILED;
    while (ours == 1 && (ours = step_out(my, &frame)) == 1) {
        Py_DECREF(globals);
        globals = ask(my, frame, GLOBALS);
        ours = globals ? is_ours(my, globals) : FAILED;
    }
    if (ours != FAILED) {
        code = (PyObject *)PyFrame_GetCode((PyFrameObject *)frame);
        how_far = ask(my, frame, LAST);
        *last = how_far ? (int)PyLong_AsLong(how_far) : 0;
    }
    else if (!PyErr_Occurred())
        PyErr_NoMemory(); /* Python has a frame, and could not show it */
    Py_XDECREF(globals);
    Py_XDECREF(frame);
    Py_XDECREF(how_far);
    if (PyErr_Occurred())
        Py_CLEAR(code);
    return code;
}

static PyObject *spot(PyObject *mine, PyObject *Py_UNUSED(nothing))
{
    int last = 0;
    PyObject *code = find_spot(PyModule_GetState(mine), &last);
    return code ? Py_BuildValue("Ni", code, last) : NULL;
}

/* --- the module ------------------------------------------------------------------------------ */

static PyObject *connect(PyObject *mine, PyObject *args)
{
    State *my = PyModule_GetState(mine);
    PyObject *of[CONNECTED];
    if (!PyArg_ParseTuple(args, "O!OOOO!OOOOOOOO", &PyType_Type, &of[FRAME], &of[GET],
                          &of[SET], &of[HERE], &PyList_Type, &of[WATCHES], &of[LOOP],
                          &of[FINDER], &of[CLIENT], &of[HANDLER], &of[LEVEL], &of[COVER],
                          &of[DISORDER], &of[IN_TRIO]))
        return NULL;
    if (!PyType_IsSubtype((PyTypeObject *)of[FRAME], my->fields)) {
        PyErr_SetString(PyExc_TypeError, "a frame has other fields");
        return NULL;
    }
    for (int i = 0; i < CONNECTED; i++) {
        PyObject *old = my->of[i];
        my->of[i] = Py_NewRef(of[i]);
        Py_XDECREF(old);
    }
    return Py_NewRef(Py_None);
}

static PyTypeObject *add_type(PyObject *mine, PyType_Spec *spec)
{
    PyObject *type = PyType_FromModuleAndSpec(mine, spec, NULL);
    if (type && PyModule_AddType(mine, (PyTypeObject *)type))
        Py_CLEAR(type);
    return (PyTypeObject *)type;
}

static PyMethodDef methods[] = {
    {"spot", spot, METH_NOARGS, "Return the nearest code outside Stead, and how far."},
    {"process", process, METH_NOARGS, "Return the number of this process."},
    {"made", (PyCFunction)(void (*)(void))made, METH_FASTCALL, "Make a block."},
    {"connect", connect, METH_VARARGS, "Take what is asked, in the order of the C."},
    {"add_hook", add_hook, METH_VARARGS, "Add an audit hook that tells of some events."},
    {NULL, NULL, 0, NULL},
};

/* Its state lives as long as the process: types of Python's are made of its own. */
static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_frames", "The twin of frames.", sizeof(State), methods,
    NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__frames(void)
{
    PyObject *mine = PyModule_Create(&module);
    State *my = mine ? PyModule_GetState(mine) : NULL;
    if (!my)
        return NULL;
    for (int i = 0; i < NAMES; i++)
        if (!(my->name[i] = PyUnicode_InternFromString(spelled[i])))
            return NULL;
    for (int i = 0; i < CONNECTED; i++)
        my->of[i] = Py_NewRef(Py_None);
    watch_for_forks();
    my->fields = add_type(mine, &fields_spec);
    my->door = add_type(mine, &door_spec);
    my->pass = add_type(mine, &pass_spec);
    my->standing = add_type(mine, &standing_spec);
    my->grip = add_type(mine, &grip_spec);
    PyTypeObject *the_exit = add_type(mine, &exit_spec);
    Py_XDECREF((PyObject *)the_exit);
    PyObject *system = PyImport_AddModule("sys");
    my->system = system ? Py_XNewRef(PyModule_GetDict(system)) : NULL;
    my->empty = PyUnicode_FromString("");
    return my->fields && my->door && my->pass && my->standing && my->grip && the_exit
                   && my->system && my->empty
               ? mine
               : NULL;
}
